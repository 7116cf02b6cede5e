"""How an attempt to log in ends: what the client is told, what is logged, what the throttle learns.

Each that ends well or badly has one line in the log ``pymap.auth``, with its data as `fields`:

    login: address=192.0.2.1 mechanism=PLAIN user='alice' as='alice'
    login failed: address=192.0.2.1 mechanism=PLAIN user='mallory' reason=wrong channel binding

The address comes first and the name is quoted, escaped to ASCII and cut off, so that no name can
write what looks like another line or another address. A password never comes near it. Whoever
wants to act for somebody else is shown with ``as`` in the second line as well.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from pymap.auth.channel import Channel
from pymap.auth.preparation import prepare_or_keep
from pymap.auth.throttle import Throttle, Throttled

__all__ = ["Attempt", "Login", "LoginFailed", "Reason"]

log = logging.getLogger("pymap.auth")

SHOWN = 200
"""Characters of a name that are logged, and that tell names apart in the throttle."""


class Login(NamedTuple):
    """Somebody has proved to be `authenticated_as`, and acts for `user`: whose account it is."""

    user: str
    authenticated_as: str


class LoginFailed(Exception):
    """Nobody has logged in. `code` is of RFC 5530: AUTHENTICATIONFAILED, AUTHORIZATIONFAILED,
    PRIVACYREQUIRED, UNAVAILABLE, or CANNOT for a mechanism that is not offered. The text is for
    the client and tells nothing that it may not know."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Reason(Enum):
    """Why a login failed: `log` is for the operator, `code` and `text` are for the client. The
    throttle counts what may have been a `guess`."""

    WRONG = (
        "wrong password or unknown user", "AUTHENTICATIONFAILED", "Wrong user name or password",
    )  # fmt: skip
    GONE = ("gone before the answer", *WRONG[1:])
    # The client may not know that this user exists.
    UNFIT = ("stored password does not serve the mechanism", *WRONG[1:])
    BINDING = ("wrong channel binding", "AUTHENTICATIONFAILED", "Wrong channel binding")
    CERTIFICATE = (
        "certificate is for no user", "AUTHENTICATIONFAILED", "The certificate is for no user",
    )  # fmt: skip
    TOKEN = ("invalid token or unknown user", "AUTHENTICATIONFAILED", "The token is not valid")
    NO_TOKEN = ("no token", "AUTHENTICATIONFAILED", "There was no token", False)
    # Who comes so far has the right password: nothing was guessed, and nothing is forgiven.
    ANOTHER = (
        "may not act for that user", "AUTHORIZATIONFAILED", "May not act for that user", False,
    )  # fmt: skip
    # Of the codes of RFC 5530 it is UNAVAILABLE that says: the same password may work later.
    # After AUTHENTICATIONFAILED a client asks its user for another one.
    THROTTLED = (
        "too many failed logins", "UNAVAILABLE", "Too many failed logins, try again later",
        False, "throttled",
    )  # fmt: skip
    UNAVAILABLE = ("tokens cannot be checked", "UNAVAILABLE", "Tokens cannot be checked now", False)
    MALFORMED = ("malformed response", "CLIENTBUG", "Malformed response", False)

    def __init__(
        self, log: str, code: str, text: str, guess: bool = True, result: str = "failed"
    ) -> None:
        self.log = log
        self.code = code
        self.text = text
        self.guess = guess
        self.result = result


class Attempt:
    """Somebody tries to log in by `mechanism`. It ends once: with `succeeded`, which sets `login`,
    with `failed`, `cancelled` or `dropped`; the latter two are nothing after another end."""

    def __init__(
        self,
        channel: Channel,
        mechanism: str,
        throttle: Throttle,
        observe: Callable[[str, str], None],
    ) -> None:
        self.channel = channel
        self.mechanism = mechanism
        self.login: Login | None = None
        self._throttle = throttle
        self._observe = observe
        self._name = self._wanted = ""
        self._admitted: tuple[str, str] | None = None
        self._over = False

    def claim(self, name: str, wanted: str = "") -> None:
        """Who they say they are, and whom they want to act for: for the log."""
        self._name, self._wanted = name, wanted

    async def admit(self, name: str, wanted: str = "", counted: str | None = None) -> None:
        """The same, and all is there that is to be checked. `counted` is the name that failures
        count under, if it is another. Waits as the throttle wants it; raises LoginFailed."""
        self.claim(name, wanted)
        # One user, one count, however the name is spelled.
        counted = prepare_or_keep(name if counted is None else counted)[:SHOWN]
        try:
            await self._throttle.admit(self.channel.address, counted)
        except Throttled:
            raise self.failed(Reason.THROTTLED) from None
        self._admitted = self.channel.address, counted

    def succeeded(self, login: Login) -> None:
        self.login = login
        fields = self._fields(user=login.authenticated_as, acting_for=login.user)
        self._end("ok", self._throttle.succeeded)
        self._log(logging.INFO, "login", fields)

    def failed(self, reason: Reason) -> LoginFailed:
        """Returns what is to be raised."""
        wanted = "" if self._wanted == self._name else self._wanted
        fields = self._fields(self._name, wanted) | {"reason": reason.log}
        self._end(reason.result, self._throttle.failed if reason.guess else self._throttle.spared)
        self._log(logging.WARNING, "login failed", fields)
        return LoginFailed(reason.code, reason.text)

    def cancelled(self) -> None:
        """The client has given up."""
        if not self._over:
            self._end("cancelled", self._throttle.spared)

    def dropped(self, error: BaseException) -> None:
        """It does not come to an end. If that is the store's fault nobody hears of it. A client
        that goes away while its secret is looked at has guessed: what is right is answered at
        once, so it need not wait to know."""
        if self._over:
            return
        if isinstance(error, asyncio.CancelledError) and self._admitted is not None:
            self.failed(Reason.GONE)
        else:
            self._end(None, self._throttle.spared)

    def _end(self, result: str | None, tell: Callable[[str, str], None]) -> None:
        self._over = True
        if self._admitted is not None:
            tell(*self._admitted)
        if result is not None:
            self._observe(self.mechanism, result)

    def _fields(self, user: str, acting_for: str) -> dict[str, str]:
        fields = {
            "address": self.channel.address or "-",
            "mechanism": self.mechanism,
            "user": user[:SHOWN],
        }
        return fields | ({"as": acting_for[:SHOWN]} if acting_for else {})

    def _log(self, level: int, event: str, fields: dict[str, str]) -> None:
        shown = (
            f"{key}={ascii(value) if key in ('user', 'as') else value}"
            for key, value in fields.items()
        )
        log.log(
            level, "%s: %s", event, " ".join(shown), extra={"fields": {"event": event, **fields}}
        )
