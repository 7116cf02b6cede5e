"""Who may log in: the one place that says so.

Each mechanism is a conversation: it yields challenges, is given responses, and ends with
`Attempt.succeeded` or by raising what `Attempt.failed` returns.

Rule 1: nothing is checked before the throttle has admitted who asks, and what comes of it is
        logged, told to the throttle and observed, once. Who gives up is only observed. An error of
        the store passes through: it counts as nothing, and is for the engine to log.
Rule 2: how long a failure takes, and what it says, does not tell whether the user exists; see
        `passwords` and `keys` for what exactly that means.
Rule 3: a name or a password is taken as it is given, and then as SASLprep makes it (RFC 4013), so
        whoever could log in before that was done still can. Two ways to write a password that are
        prepared to the same one are right both, where it is stored in the clear; of a hash it is
        not known what was hashed, so both ways are tried, and a refusal costs twice the work where
        they differ: that depends on what was given, not on the user.
Rule 4: to act for somebody else takes a master, and a master is not acted for. Who is refused does
        not learn whether the other one exists.
"""

from __future__ import annotations

import hashlib
import hmac
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace

from pymap.auth import sasl, scram
from pymap.auth.attempt import Attempt, Login, LoginFailed, Reason
from pymap.auth.channel import Channel
from pymap.auth.keys import CLEAR, SCRAM, KeyRing, clear_password
from pymap.auth.passwords import Passwords
from pymap.auth.preparation import prepare, prepare_or_keep
from pymap.auth.schemes import octets
from pymap.auth.throttle import Throttle
from pymap.auth.tokens import TokenChecker, TokenRefused, TokenUnavailable
from pymap.backend.api import User, UserStore
from pymap.config import AuthConfig

__all__ = ["MECHANISMS", "Authenticator", "Exchange", "Login", "LoginFailed"]

MECHANISMS = (
    "EXTERNAL",
    "SCRAM-SHA-256-PLUS",
    "SCRAM-SHA-1-PLUS",
    "SCRAM-SHA-256",
    "SCRAM-SHA-1",
    "OAUTHBEARER",
    "XOAUTH2",
    "CRAM-MD5",
    "PLAIN",
    "LOGIN",
)
"""In the order of preference. SASL leaves the choice to the client (RFC 4422 3.1), and one without
a mind of its own takes the first that it knows: so what tells the server least comes first. A
binding to the channel is worth more than the better hash, and PLAIN is last but for LOGIN."""

Conversation = AsyncGenerator[bytes, bytes]


class Exchange(ABC):
    """One SASL exchange.   RFC 4422"""

    @abstractmethod
    async def step(self, response: bytes | None) -> bytes | Login:
        """Give the client's response, None when it has sent none yet; returns the next challenge,
        or who has logged in. Raises LoginFailed, and ValueError for a malformed response."""

    @abstractmethod
    def cancel(self) -> None:
        """The client has given up, with ``*`` or by going away, which is no failure; nothing if
        the exchange has ended. Always call it in the end: the throttle counts those that still
        run.   RFC 9051 6.2.2"""


class Authenticator:
    """Mechanisms, passwords, tokens, masters and throttling over the users of one store.

    `observe` is told of the end of each attempt: its mechanism, and ``ok``, ``failed``,
    ``throttled`` or ``cancelled``.
    """

    def __init__(
        self,
        users: UserStore,
        config: AuthConfig | None = None,
        *,
        throttle: Throttle | None = None,
        tokens: TokenChecker | None = None,
        passwords: Passwords | None = None,
    ) -> None:
        """Raises ValueError for an unknown mechanism, and what `TokenChecker.from_config` does."""
        self.users = users
        self.config = config or AuthConfig()
        if unknown := set(self.config.mechanisms or ()).difference(MECHANISMS):
            known = ", ".join(MECHANISMS)
            raise ValueError(f"unknown mechanism {min(unknown)!r}; pymap knows {known}")
        if tokens is None and self.config.oauth is not None:
            tokens = TokenChecker.from_config(self.config.oauth)
        self.observe: Callable[[str, str], None] = lambda mechanism, result: None
        self._throttle = throttle or Throttle(self.config)
        self._tokens = tokens
        self._passwords = passwords or Passwords()
        self._keys = KeyRing()
        self._conversations: dict[str, Callable[[Attempt], Conversation]] = {
            "EXTERNAL": self._external,
            "OAUTHBEARER": self._token,
            "XOAUTH2": self._token,
            "CRAM-MD5": self._cram_md5,
            "PLAIN": self._plain,
            "LOGIN": self._login,
        }

    def mechanisms(self, channel: Channel) -> Sequence[str]:
        """The SASL mechanisms to announce on this connection, in the order of preference; in that
        of the configuration, if it names them."""
        chosen = self.config.mechanisms
        names = self._automatic() if chosen is None else chosen
        return [name for name in names if self._can(name, channel)]

    def takes_passwords(self, channel: Channel) -> bool:
        """Whether LOGIN is allowed; otherwise LOGINDISABLED is announced.   RFC 9051 6.2.3"""
        chosen = self.config.mechanisms
        return channel.private and (chosen is None or "PLAIN" in chosen or "LOGIN" in chosen)

    async def login(self, channel: Channel, name: str, password: str) -> Login:
        """The LOGIN command. Raises LoginFailed."""
        if not self.takes_passwords(channel):
            if self.takes_passwords(replace(channel, private=True)):
                raise LoginFailed("PRIVACYREQUIRED", "Log in over TLS")
            raise LoginFailed("CANNOT", "LOGIN is not allowed here")
        attempt = self._attempt(channel, "LOGIN")
        try:
            return await self._password(attempt, sasl.Credentials(name, password))
        except BaseException as error:
            attempt.dropped(error)
            raise

    def start(self, channel: Channel, mechanism: str) -> Exchange:
        """Begin an exchange of that mechanism, in upper case. Raises LoginFailed with CANNOT, or
        PRIVACYREQUIRED, if it is not offered here."""
        if mechanism not in self.mechanisms(channel):
            if mechanism in self.mechanisms(replace(channel, private=True)):
                raise LoginFailed("PRIVACYREQUIRED", "Log in over TLS")
            raise LoginFailed("CANNOT", "SASL mechanism is not offered")
        attempt = self._attempt(channel, mechanism)
        conversation = self._conversations.get(mechanism, self._scram)(attempt)
        return _Exchange(attempt, conversation)

    async def reload(self) -> None:
        """Read again what the configuration names: token keys. Raises OSError, ValueError; what
        was read before then still counts."""
        if self._tokens is not None:
            await self._tokens.reload()

    # -- what is offered --

    def _automatic(self) -> list[str]:
        """Never CRAM-MD5, which asks for passwords in the clear. SCRAM only if every user can use
        it: a client that prefers it does not come back with PLAIN when it fails."""
        schemes = self.users.schemes()
        return [
            name
            for name in MECHANISMS
            if name != "CRAM-MD5"
            if not name.startswith("SCRAM-")
            or (schemes is not None and schemes <= CLEAR | {name.removesuffix("-PLUS")})
        ]

    def _can(self, name: str, channel: Channel) -> bool:
        """Whether the connection has what this mechanism needs."""
        match name:
            case "PLAIN" | "LOGIN":
                return channel.private
            case "OAUTHBEARER" | "XOAUTH2":
                return channel.private and self._tokens is not None
            case "EXTERNAL":
                return bool(channel.certificate)
        return bool(channel.end_point) or not name.endswith("-PLUS")

    def _attempt(self, channel: Channel, mechanism: str) -> Attempt:
        return Attempt(channel, mechanism, self._throttle, self.observe)

    # -- mechanisms: each yields challenges and is given responses --

    async def _plain(self, attempt: Attempt) -> Conversation:
        """RFC 4616"""
        await self._password(attempt, sasl.plain((yield b"")))

    async def _login(self, attempt: Attempt) -> Conversation:
        name = yield sasl.USERNAME
        await self._password(attempt, sasl.login(name, (yield sasl.PASSWORD)))

    async def _cram_md5(self, attempt: Attempt) -> Conversation:
        """RFC 2195"""
        challenge = sasl.cram_md5_challenge()
        digest = sasl.cram_md5(challenge, (yield challenge))
        user, wanted = await self._claimed(attempt, digest.user, "")
        password = None if user is None else clear_password(user)
        known = "?" if password is None else password
        # Both are computed for everybody.
        right = [digest.is_of(known), digest.is_of(prepare_or_keep(known))]
        if user is None or password is None or not any(right):
            unfit = user is not None and password is None
            raise attempt.failed(Reason.UNFIT if unfit else Reason.WRONG)
        attempt.succeeded(await self._authorize(attempt, user, wanted))

    async def _scram(self, attempt: Attempt) -> Conversation:
        """RFC 5802, RFC 7677"""
        without_plus = attempt.mechanism.removesuffix("-PLUS")
        plus = without_plus != attempt.mechanism
        algorithm = SCRAM[without_plus]
        first = scram.client_first((yield b""))
        name = prepare(first.user)  # RFC 5802 5.1, on "n"
        attempt.claim(first.user, first.authorization_id)
        user = await self._find(first.user)
        shown = self._keys.show(algorithm, user, name, self.users.schemes())
        try:
            conversation = scram.Conversation(
                algorithm, first, shown.salt, shown.iterations,
                end_point=attempt.channel.end_point if plus else b"",
                plus_announced=f"{without_plus}-PLUS" in self.mechanisms(attempt.channel),
            )  # fmt: skip
            final = yield conversation.challenge
            # Not before: who is admitted has a turn, and a client that says no more would keep it.
            await attempt.admit(first.user, first.authorization_id)
            conversation.client_final(final)
        except scram.WrongBinding:
            raise attempt.failed(Reason.BINDING) from None
        answer = await self._keys.answer(algorithm, shown, conversation)
        if user is None or answer is None:
            unfit = user is not None and shown.is_decoy
            raise attempt.failed(Reason.UNFIT if unfit else Reason.WRONG)
        login = await self._authorize(attempt, user, first.authorization_id)
        # IMAP has no place for it beside the OK.   RFC 9051 6.2.2, RFC 4422 3.3
        if (yield answer):
            raise ValueError("the last response must be empty")
        attempt.succeeded(login)

    async def _external(self, attempt: Attempt) -> Conversation:
        """RFC 4422 appendix A"""
        wanted = sasl.external((yield b""))
        names = attempt.channel.certificate
        await attempt.admit(names[0], wanted)
        holders = [user for name in names if (user := await self._find(name)) is not None]
        if not holders:
            raise attempt.failed(Reason.CERTIFICATE)
        target = await self._find(wanted) if wanted else None
        for user in holders:
            if target is not None and self._may(user, target):
                attempt.succeeded(Login(target.name, user.name))
                return
        attempt.succeeded(await self._authorize(attempt, holders[0], wanted))

    async def _token(self, attempt: Attempt) -> Conversation:
        """OAUTHBEARER, RFC 7628, and XOAUTH2. A failure is first said in JSON."""
        oauth = self.config.oauth
        scope, issuer = (oauth.scope, oauth.issuer) if oauth else (None, None)
        if attempt.mechanism == "XOAUTH2":
            bearer = sasl.xoauth2((yield b""))
            error = sasl.xoauth2_error(scope)
        else:
            bearer = sasl.oauthbearer((yield b""))
            error = sasl.oauthbearer_error(scope, issuer)
        # Guessing tokens is not guessing at a user, whose name may not even be said. One that has
        # expired and is tried again and again counts under itself; no name begins with NUL.
        token = "\0" + hashlib.sha256(bearer.token.encode()).hexdigest()
        await attempt.admit(bearer.authorization_id, bearer.authorization_id, counted=token)
        user = await self._bearer(attempt, bearer.token)
        if user is None:
            failed = attempt.failed(Reason.TOKEN if bearer.token else Reason.NO_TOKEN)
            yield error
            raise failed  # whatever the client says
        attempt.succeeded(await self._authorize(attempt, user, bearer.authorization_id))

    # -- who it is --

    async def _password(self, attempt: Attempt, given: sasl.Credentials) -> Login:
        user, wanted = await self._claimed(attempt, given.user, given.authorization_id)
        right = await self._is_right(user, given.password)
        if user is None or not right:
            raise attempt.failed(Reason.WRONG)
        login = await self._authorize(attempt, user, wanted)
        attempt.succeeded(login)
        return login

    async def _claimed(self, attempt: Attempt, name: str, wanted: str) -> tuple[User | None, str]:
        """Whose password is to come, and whom that user wants to act for. ``alice*master`` is the
        user of that name if there is one, and otherwise master, who wants to act for alice."""
        separator = "" if wanted else self.config.master_separator
        target, found, master = name.rpartition(separator) if separator else ("", "", name)
        if not (target and found and master):
            await attempt.admit(name, wanted)
            return await self._find(name), wanted
        # It counts for the master, whoever is tried with it.
        await attempt.admit(name, counted=master)
        user = await self._find(name)
        return (await self._find(master), target) if user is None else (user, wanted)

    async def _find(self, name: str) -> User | None:
        if not name:
            return None
        user = await self.users.get(name)
        if user is None and (prepared := prepare_or_keep(name)) != name:
            user = await self.users.get(prepared)
        return user

    async def _is_right(self, user: User | None, password: str) -> bool:
        """Whether this is the user's password, by Rule 3."""
        prepared = prepare_or_keep(password)
        known = None if user is None else clear_password(user)
        if known is not None and hmac.compare_digest(
            octets(prepare_or_keep(known)), octets(prepared)
        ):
            return True
        self._passwords.schemes = self.users.schemes() or frozenset()
        for text in dict.fromkeys((password, prepared)):
            if await self._passwords.verify(user, text):
                return True
        return False

    async def _bearer(self, attempt: Attempt, token: str) -> User | None:
        if not token or self._tokens is None:
            return None
        try:
            return await self._find(await self._tokens.check(token))
        except TokenRefused:
            return None
        except TokenUnavailable as error:
            raise attempt.failed(Reason.UNAVAILABLE) from error

    # -- whom it may act for --

    async def _authorize(self, attempt: Attempt, user: User, wanted: str) -> Login:
        """RFC 4422 2"""
        if wanted in ("", user.name):
            return Login(user.name, user.name)
        target = await self._find(wanted)
        if target is None or not self._may(user, target):
            raise attempt.failed(Reason.ANOTHER)
        return Login(target.name, user.name)

    def _may(self, user: User, target: User) -> bool:
        if target.name == user.name:
            return True
        return self._is_master(user) and not self._is_master(target)

    async def is_master(self, name: str) -> bool:
        """Whether that user may now act for others, and say what concerns them all. Raises
        BackendError."""
        if name in self.config.masters:
            return True
        user = await self._find(name)
        return user is not None and self._is_master(user)

    def _is_master(self, user: User) -> bool:
        return "master" in user.roles or user.name in self.config.masters


class _Exchange(Exchange):
    def __init__(self, attempt: Attempt, conversation: Conversation) -> None:
        self._attempt = attempt
        self._conversation = conversation
        self._begun = False

    async def step(self, response: bytes | None) -> bytes | Login:
        try:
            if not self._begun:
                self._begun = True
                challenge = await anext(self._conversation)
                if response is None:
                    return challenge
                # An initial response answers an empty challenge; that of LOGIN, which asks for
                # nothing else, is answered too. RFC 4959 3
                if challenge not in (b"", sasl.USERNAME):
                    raise ValueError("the server speaks first")
            return await self._conversation.asend(response or b"")
        except StopAsyncIteration:
            assert self._attempt.login is not None
            return self._attempt.login
        except LoginFailed:
            raise
        except ValueError:
            self._attempt.failed(Reason.MALFORMED)
            raise
        except BaseException as error:
            self._attempt.dropped(error)
            raise

    def cancel(self) -> None:
        self._attempt.cancelled()
