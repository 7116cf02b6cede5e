"""Who may log in, by which mechanism, for whom; what it costs, and what the log says."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import re
from collections.abc import Awaitable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scramp import ScramClient
from scramp.core import ClientStage, Gs2Header

from pymap.auth import keys, passwords
from pymap.auth.authenticator import MECHANISMS, Authenticator, Login, LoginFailed
from pymap.auth.channel import Channel
from pymap.auth.passwords import Passwords
from pymap.auth.throttle import Throttle, Throttled
from pymap.auth.tokens import TokenChecker, TokenRefused, TokenUnavailable
from pymap.backend.api import User, UserStore
from pymap.backend.errors import Unavailable
from pymap.config import AuthConfig, OAuthConfig

END_POINT = hashlib.sha256(b"the certificate").digest()
CLEAR = Channel("192.0.2.1")
PRIVATE = Channel("192.0.2.1", private=True)
TLS = Channel("192.0.2.1", private=True, tls=True, end_point=END_POINT)
ALICE = Login("alice", "alice")
SCRAMS = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1"]
TOKENS = {"good": "alice", "root": "root", "nobody's": "nobody"}


class Users(UserStore):
    """`asked` are the names that were looked up; `down` is what is raised instead."""

    def __init__(self, *users: User, schemes: frozenset[str] | None = None) -> None:
        self.users = {user.name: user for user in users}
        self.known = schemes
        self.asked: list[str] = []
        self.down: BaseException | None = None

    async def get(self, name: str) -> User | None:
        self.asked.append(name)
        if self.down:
            raise self.down
        return self.users.get(name)

    async def put(self, user: User) -> None:
        raise NotImplementedError

    async def delete(self, name: str) -> None:
        raise NotImplementedError

    def schemes(self) -> frozenset[str] | None:
        return self.known


class Records(Throttle):
    """Admits everybody unless `refuses`, and keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str]] = []
        self.refuses = False

    async def admit(self, address: str, user: str) -> None:
        self.told.append(("admit", address, user))
        if self.refuses:
            raise Throttled

    def failed(self, address: str, user: str) -> None:
        self.told.append(("failed", address, user))

    def succeeded(self, address: str, user: str) -> None:
        self.told.append(("succeeded", address, user))

    def spared(self, address: str, user: str) -> None:
        self.told.append(("spared", address, user))


class Checker(TokenChecker):
    def __init__(self) -> None:
        self.down = False
        self.reloads = 0

    @classmethod
    def from_config(cls, config: OAuthConfig) -> Checker:
        return cls()

    async def check(self, token: str) -> str:
        if self.down:
            raise TokenUnavailable("the issuer is away")
        if token not in TOKENS:
            raise TokenRefused("no such token")
        return TOKENS[token]

    user_of = check  # without looking at its form

    async def reload(self) -> None:
        self.reloads += 1


class Counting(Passwords):
    """How often a password was checked, for whom."""

    def __init__(self) -> None:
        super().__init__()
        self.checked: list[tuple[str | None, str]] = []

    async def verify(self, user: User | None, password: str) -> bool:
        self.checked.append((user.name if user else None, password))
        return await super().verify(user, password)


class Wanting(Gs2Header):
    """The header of a client that wants to act for somebody, which scramp's cannot."""

    def __init__(self, header: Gs2Header, wanted: str) -> None:
        super().__init__(header.gs2_char, header.cb_name)
        self.wanted = wanted

    def __bytes__(self) -> bytes:
        return str(self).replace(",,", f",a={self.wanted},").encode()


class World:
    """An Authenticator with all that it depends on."""

    def __init__(self, *users: User, schemes: str | None = "PLAIN", **config: object) -> None:
        people = users or (User("alice", "secret"), User("bob", "bob's"))
        known = None if schemes is None else frozenset(schemes.split())
        self.users = Users(*people, schemes=known)
        self.throttle = Records()
        self.tokens = Checker()
        self.passwords = Counting()
        self.auth = Authenticator(
            self.users, AuthConfig(**config),  # type: ignore[arg-type]
            throttle=self.throttle, tokens=self.tokens, passwords=self.passwords,
        )  # fmt: skip
        self.observed: list[tuple[str, str]] = []
        self.auth.observe = lambda mechanism, result: self.observed.append((mechanism, result))

    async def say(
        self, mechanism: str, *said: bytes | None, channel: Channel = TLS
    ) -> bytes | Login:
        """What the last response brings."""
        exchange = self.auth.start(channel, mechanism)
        for response in said:
            answer = await exchange.step(response)
        return answer

    async def scram(
        self, mechanism: str, user: str, password: str, wanted: str = "", channel: Channel = TLS
    ) -> Login:
        """With scramp as the client."""
        bound = ("tls-server-end-point", END_POINT) if mechanism.endswith("-PLUS") else None
        client = ScramClient([mechanism], user, password, channel_binding=bound)
        said = client.get_client_first().encode()
        if wanted:
            client.gs2_header = Wanting(client.gs2_header, wanted)
            said = bytes(client.gs2_header) + client.client_first_bare.encode()
        exchange = self.auth.start(channel, mechanism)
        assert await exchange.step(None) == b""
        client.set_server_first((await exchange.step(said)).decode())
        client.set_server_final((await exchange.step(client.get_client_final().encode())).decode())
        login = await exchange.step(b"")
        assert isinstance(login, Login)
        return login


async def code(login: Awaitable[object]) -> str:
    with pytest.raises(LoginFailed) as failed:
        await login
    return failed.value.code


def plain(user: str, password: str, wanted: str = "") -> bytes:
    return f"{wanted}\0{user}\0{password}".encode()


# -- what is offered --


@pytest.mark.parametrize(
    ("channel", "schemes", "names"),
    [
        (CLEAR, None, []),
        (PRIVATE, None, ["PLAIN", "LOGIN"]),
        (TLS, None, ["PLAIN", "LOGIN"]),
        (CLEAR, "PLAIN", ["SCRAM-SHA-256", "SCRAM-SHA-1"]),
        (TLS, "PLAIN", [*SCRAMS, "PLAIN", "LOGIN"]),
        (TLS, "", [*SCRAMS, "PLAIN", "LOGIN"]),
        (TLS, "SCRAM-SHA-256", ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"]),
        (PRIVATE, "CLEARTEXT SCRAM-SHA-1", ["SCRAM-SHA-1", "PLAIN", "LOGIN"]),
        (TLS, "SCRAM-SHA-1 SCRAM-SHA-256", ["PLAIN", "LOGIN"]),
        (TLS, "PLAIN ARGON2ID", ["PLAIN", "LOGIN"]),
    ],
)
def test_what_is_announced(channel: Channel, schemes: str | None, names: list[str]) -> None:
    auth = Authenticator(Users(schemes=None if schemes is None else frozenset(schemes.split())))
    assert auth.mechanisms(channel) == names
    assert auth.takes_passwords(channel) is channel.private


def test_certificates_and_tokens_are_announced_where_they_are() -> None:
    world = World(schemes=None)
    assert world.auth.mechanisms(CLEAR) == []
    assert world.auth.mechanisms(PRIVATE) == ["OAUTHBEARER", "XOAUTH2", "PLAIN", "LOGIN"]
    certified = Channel("192.0.2.1", tls=True, certificate=("alice",))
    assert world.auth.mechanisms(certified) == ["EXTERNAL"]


def test_the_configuration_says_which_and_in_what_order() -> None:
    world = World(schemes="ARGON2ID", mechanisms=("LOGIN", "CRAM-MD5", *SCRAMS))
    assert world.auth.mechanisms(CLEAR) == ["CRAM-MD5", "SCRAM-SHA-256", "SCRAM-SHA-1"]
    assert world.auth.mechanisms(TLS) == ["LOGIN", "CRAM-MD5", *SCRAMS]
    everything = World(mechanisms=MECHANISMS).auth
    assert everything.mechanisms(Channel(private=True, end_point=b"x", certificate=("a",))) == list(
        MECHANISMS
    )
    without = Authenticator(Users(), AuthConfig(mechanisms=("OAUTHBEARER",)))
    assert without.mechanisms(TLS) == []
    with pytest.raises(ValueError, match="GSSAPI"):
        World(mechanisms=("GSSAPI",))


async def test_what_is_not_offered_is_refused() -> None:
    world = World(schemes="ARGON2ID")
    for channel, mechanism, answer in (
        (TLS, "GSSAPI", "CANNOT"), (TLS, "CRAM-MD5", "CANNOT"), (TLS, "SCRAM-SHA-256", "CANNOT"),
        (TLS, "EXTERNAL", "CANNOT"), (CLEAR, "GSSAPI", "CANNOT"),
        (CLEAR, "PLAIN", "PRIVACYREQUIRED"), (CLEAR, "OAUTHBEARER", "PRIVACYREQUIRED"),
    ):  # fmt: skip
        with pytest.raises(LoginFailed) as failed:
            world.auth.start(channel, mechanism)
        assert failed.value.code == answer
    assert await code(world.auth.login(CLEAR, "alice", "secret")) == "PRIVACYREQUIRED"
    tokens_only = World(mechanisms=("OAUTHBEARER",))
    assert not tokens_only.auth.takes_passwords(TLS)
    for channel in (TLS, CLEAR):
        assert await code(tokens_only.auth.login(channel, "alice", "secret")) == "CANNOT"
    assert world.observed == []


# -- passwords --


async def test_login() -> None:
    world = World()
    assert await world.auth.login(PRIVATE, "alice", "secret") == ALICE
    for name, password in (("alice", "Secret"), ("alice", ""), ("carol", "secret"), ("", "")):
        assert await code(world.auth.login(PRIVATE, name, password)) == "AUTHENTICATIONFAILED"


async def test_plain_with_and_without_initial_response() -> None:
    world = World(User("tim", "tanstaaftanstaaf"))
    tim = b"\0tim\0tanstaaftanstaaf"  # RFC 4616 4
    assert await world.say("PLAIN", None) == b""
    assert await world.say("PLAIN", None, tim) == Login("tim", "tim")
    assert await world.say("PLAIN", tim) == Login("tim", "tim")
    assert await code(world.say("PLAIN", b"\0tim\0x")) == "AUTHENTICATIONFAILED"


async def test_the_mechanism_login() -> None:
    world = World()
    assert await world.say("LOGIN", None) == b"Username:"
    assert await world.say("LOGIN", None, b"alice") == b"Password:"
    assert await world.say("LOGIN", None, b"alice", b"secret") == ALICE
    assert await world.say("LOGIN", b"alice", b"secret") == ALICE
    assert await code(world.say("LOGIN", b"alice", b"")) == "AUTHENTICATIONFAILED"


async def test_cram_md5() -> None:
    people = [
        User("alice", "secret"),
        User("bob", "I\u00adX"),
        User("carol", "{ARGON2ID}x"),
        User("dave", ""),
        User("erin", "{PLAIN.HEX}7365"),
    ]
    world = World(*people, mechanisms=("CRAM-MD5",))

    async def cram(name: str, password: str) -> bytes | Login:
        exchange = world.auth.start(CLEAR, "CRAM-MD5")
        challenge = await exchange.step(None)
        assert isinstance(challenge, bytes)
        digest = hmac.new(password.encode(), challenge, "md5").hexdigest()
        return await exchange.step(f"{name} {digest}".encode())

    assert await cram("alice", "secret") == ALICE
    assert await cram("bob", "I\u00adX") == Login("bob", "bob")
    assert await cram("bob", "IX") == Login("bob", "bob")
    assert await cram("erin", "se") == Login("erin", "erin")
    for name, password in (
        ("alice", "x"),
        ("nobody", "?"),
        ("carol", "{ARGON2ID}x"),
        ("carol", "?"),
        ("dave", ""),
    ):
        assert await code(cram(name, password)) == "AUTHENTICATIONFAILED"
    with pytest.raises(ValueError):  # the server speaks first; RFC 4959 3
        await world.say("CRAM-MD5", b"alice 00", channel=CLEAR)


# -- SASLprep --


async def test_a_name_as_it_is_and_as_it_is_prepared() -> None:
    world = World(User("fish", "one"), User("\ufb02ow", "two"))
    assert await world.auth.login(TLS, "\ufb01sh", "one") == Login("fish", "fish")
    assert await world.auth.login(TLS, "\ufb02ow", "two") == Login("\ufb02ow", "\ufb02ow")
    assert await code(world.auth.login(TLS, "flow", "two")) == "AUTHENTICATIONFAILED"
    # One user, one count, and one salt.
    assert {user for _, _, user in world.throttle.told} == {"fish", "flow"}


@pytest.mark.parametrize(
    "stored", ["IX", "I\u00adX", "\u2168", passwords.hash("IX", "SSHA256")],
    ids=["plain", "hyphen", "roman", "hashed"],
)  # fmt: skip
async def test_passwords_that_are_prepared_to_the_same(stored: str) -> None:
    world = World(User("alice", stored))
    for right in ("IX", "I\u00adX", "\u2168"):
        assert await world.auth.login(TLS, "alice", right) == ALICE
    for wrong in ("ix", "I X", "\u00ad", ""):
        assert await code(world.auth.login(TLS, "alice", wrong)) == "AUTHENTICATIONFAILED"


@pytest.mark.parametrize("password", ["\u00ad", "\7", "\u0627\u0031", "\ue000"])
async def test_what_cannot_be_prepared_still_logs_in(password: str) -> None:
    for stored in (password, passwords.hash(password, "SSHA256")):
        world = World(User(password, stored))
        assert await world.auth.login(TLS, password, password) == Login(password, password)


async def test_a_hash_of_what_was_not_prepared_still_counts() -> None:
    world = World(User("alice", passwords.hash("I\u00adX", "SSHA256")))
    assert await world.auth.login(TLS, "alice", "I\u00adX") == ALICE
    assert await code(world.auth.login(TLS, "alice", "IX")) == "AUTHENTICATIONFAILED"


# -- SCRAM --

SECRET = "pässword 1"


@pytest.mark.parametrize("mechanism", SCRAMS)
@pytest.mark.parametrize(
    "stored", [SECRET, "{PLAIN}" + SECRET, "{PLAIN.B64}cMOkc3N3b3JkIDE=", "stored"]
)
async def test_scram(mechanism: str, stored: str) -> None:
    if stored == "stored":
        stored = passwords.hash(SECRET, mechanism.removesuffix("-PLUS"))
    world = World(User("a,l=ice", stored), mechanisms=tuple(SCRAMS))
    who = Login("a,l=ice", "a,l=ice")
    for _ in range(2):
        assert await world.scram(mechanism, "a,l=ice", SECRET) == who
    for name, password in (("a,l=ice", "x"), ("nobody", SECRET), ("nobody", "?")):
        assert await code(world.scram(mechanism, name, password)) == "AUTHENTICATIONFAILED"
    assert world.observed == [(mechanism, "ok")] * 2 + [(mechanism, "failed")] * 3


async def test_scram_without_initial_response_and_with_it() -> None:
    world = World()
    assert await world.say("SCRAM-SHA-1", None) == b""
    challenge = await world.say("SCRAM-SHA-1", b"n,,n=alice,r=abc")
    assert isinstance(challenge, bytes)
    assert challenge.startswith(b"r=abc")


async def test_scram_prepares_names_and_passwords() -> None:
    world = World(User("fish", "I\u00adX"), User("emoji", "\U0001f511\7"))
    assert await world.scram("SCRAM-SHA-256", "\ufb01sh", "\u2168") == Login("fish", "fish")
    for unprepared in (b"n,,n=\7,r=x", "n,,n=\u00ad,r=x".encode(), b"n,,n=a\xc2\x80,r=x"):
        with pytest.raises(ValueError):
            await world.say("SCRAM-SHA-256", unprepared)


@pytest.mark.parametrize(
    ("mechanism", "first"),
    [
        ("SCRAM-SHA-256", "y,,n=alice,r=x"),
        ("SCRAM-SHA-256", "p=tls-server-end-point,,n=alice,r=x"),
        ("SCRAM-SHA-256-PLUS", "n,,n=alice,r=x"),
        ("SCRAM-SHA-256-PLUS", "y,,n=alice,r=x"),
        ("SCRAM-SHA-256-PLUS", "p=tls-unique,,n=alice,r=x"),
    ],
)
async def test_a_flag_that_does_not_fit(
    mechanism: str, first: str, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    assert await code(world.say(mechanism, first.encode())) == "AUTHENTICATIONFAILED"
    assert "reason=wrong channel binding" in caplog.text


async def test_y_is_believed_where_plus_is_not_announced() -> None:
    assert await World().say("SCRAM-SHA-256", b"y,,n=alice,r=x", channel=PRIVATE)
    world = World(mechanisms=("SCRAM-SHA-256",))
    assert await world.say("SCRAM-SHA-256", b"y,,n=alice,r=x", channel=TLS)


async def test_another_certificate_is_somebody_in_between() -> None:
    world = World()
    client = ScramClient(
        ["SCRAM-SHA-256-PLUS"],
        "alice",
        "secret",
        channel_binding=("tls-server-end-point", b"other"),
    )
    exchange = world.auth.start(TLS, "SCRAM-SHA-256-PLUS")
    client.set_server_first((await exchange.step(client.get_client_first().encode())).decode())
    assert await code(exchange.step(client.get_client_final().encode())) == "AUTHENTICATIONFAILED"


async def test_the_last_response_of_scram_is_empty() -> None:
    world = World()
    client = ScramClient(["SCRAM-SHA-256"], "alice", "secret")
    exchange = world.auth.start(TLS, "SCRAM-SHA-256")
    client.set_server_first((await exchange.step(client.get_client_first().encode())).decode())
    client.set_server_final((await exchange.step(client.get_client_final().encode())).decode())
    with pytest.raises(ValueError):
        await exchange.step(b"x")
    assert world.observed == [("SCRAM-SHA-256", "failed")]


async def shown(world: World, name: str, mechanism: str = "SCRAM-SHA-256") -> tuple[bytes, int]:
    """The salt and the iterations of a name."""
    challenge = await world.say(mechanism, f"n,,n={name},r=x".encode())
    assert isinstance(challenge, bytes)
    found = re.fullmatch(rb"r=.*,s=(.*),i=(\d+)", challenge)
    assert found is not None
    return base64.b64decode(found[1], validate=True), int(found[2])


async def test_a_name_that_nobody_has_looks_like_a_user() -> None:
    world = World()
    names = ["alice", "bob", *(f"nobody{n}" for n in range(50))]
    first = [await shown(world, name) for name in names]
    assert first == [await shown(world, name) for name in names]
    assert len(set(first)) == len(names)
    assert {(len(salt), iterations) for salt, iterations in first} == {(16, keys.ITERATIONS)}
    assert await shown(world, "no\u00adbody") == await shown(world, "nobody")
    assert await shown(world, "nobody") != await shown(world, "nobody", "SCRAM-SHA-1")
    assert await shown(World(), "nobody") != await shown(world, "nobody")


def stored(iterations: int, salt: bytes) -> str:
    made = [base64.b64encode(part).decode() for part in (salt, b"x" * 32, b"y" * 32)]
    return f"{{SCRAM-SHA-256}}{iterations},{','.join(made)}"


async def test_nobody_has_the_iterations_that_users_have() -> None:
    world = World(
        User("old", stored(5000, b"eight888")), User("new", stored(70_000, b"x" * 24)),
        schemes="SCRAM-SHA-256",
    )  # fmt: skip
    nobody = [f"nobody{n}" for n in range(30)]

    async def shapes(names: list[str]) -> list[tuple[int, int]]:
        return [
            (len(salt), iterations) for salt, iterations in [await shown(world, n) for n in names]
        ]

    assert set(await shapes(nobody)) == {(16, 600_000)}  # what `passwords.hash` makes
    assert await shapes(["old"]) == [(8, 5000)]
    assert set(await shapes(nobody)) == {(8, 5000)}
    assert await shapes(["new"]) == [(24, 70_000)]
    assert set(mixed := await shapes(nobody)) == {(8, 5000), (24, 70_000)}
    assert await shapes(["old", "new"]) == [(8, 5000), (24, 70_000)]
    assert await shapes(nobody) == mixed


async def test_a_store_with_as_many_shapes_as_users_takes_no_memory() -> None:
    people = [User(f"u{n}", stored(5000 + n, b"salt")) for n in range(100)]
    world = World(*people, schemes="SCRAM-SHA-256")
    for user in people:
        assert await shown(world, user.name) == (b"salt", 5000 + int(user.name[1:]))
    assert len(world.auth._keys._shapes["sha256"]) == keys.SHAPES


@pytest.mark.parametrize(
    "value",
    [
        "{ARGON2ID}x",
        "{SCRAM-SHA-1}4096,x",
        "{SCRAM-SHA-256}4096,x,x,x",
        "{SCRAM-SHA-256}",
        "{PLAIN}",
        "{PLAIN.HEX}x",
        "{PLAIN.FOO}61",
        "a\0b",
        "x" * 5000,
    ],
)
async def test_who_has_no_value_for_scram_looks_like_nobody(
    value: str, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(User("alice", value), mechanisms=tuple(SCRAMS))
    assert await shown(world, "alice") == await shown(world, "alice")
    assert await code(world.scram("SCRAM-SHA-256", "alice", "secret")) == "AUTHENTICATIONFAILED"
    assert "reason=stored password does not serve the mechanism" in caplog.text
    if value.startswith("{SCRAM-SHA-256}"):
        assert (
            "user 'alice' cannot log in: what stands behind {SCRAM-SHA-256} is malformed"
            in caplog.text
        )


# -- for whom --

PEOPLE = (
    User("alice", "secret"), User("bob", "bob's"), User("root", "toor", frozenset({"master"})),
    User("boss", "ssob"), User("a*b", "literal"),
)  # fmt: skip
MASTERS = {"masters": frozenset({"boss"})}


@pytest.mark.parametrize(
    ("user", "password", "wanted", "acts_for"),
    [
        ("alice", "secret", "alice", "alice"),
        ("root", "toor", "alice", "alice"),
        ("root", "toor", "", "root"),
        ("root", "toor", "root", "root"),
        ("boss", "ssob", "alice", "alice"),
        ("root", "toor", "al\u00adice", "alice"),
    ],
)
async def test_a_master_acts_for_others(
    user: str, password: str, wanted: str, acts_for: str
) -> None:
    world = World(*PEOPLE, **MASTERS)
    expected = Login(acts_for, user)
    assert await world.say("PLAIN", plain(user, password, wanted)) == expected
    for mechanism in SCRAMS:
        assert await world.scram(mechanism, user, password, wanted) == expected
    if wanted:
        assert await world.auth.login(TLS, f"{wanted}*{user}", password) == expected
        assert await world.say("LOGIN", f"{wanted}*{user}".encode(), password.encode()) == expected


@pytest.mark.parametrize(
    ("user", "password", "wanted"),
    [
        ("alice", "secret", "bob"),
        ("alice", "secret", "nobody"),
        ("root", "toor", "nobody"),
        ("root", "toor", "boss"),
        ("boss", "ssob", "root"),
    ],
)
async def test_who_may_not_act_for_another(user: str, password: str, wanted: str) -> None:
    world = World(*PEOPLE, **MASTERS)
    said = set()
    for attempt in (
        world.say("PLAIN", plain(user, password, wanted)),
        world.auth.login(TLS, f"{wanted}*{user}", password),
        world.scram("SCRAM-SHA-256", user, password, wanted),
    ):
        with pytest.raises(LoginFailed) as failed:
            await attempt
        said.add((failed.value.code, str(failed.value)))
    assert said == {("AUTHORIZATIONFAILED", "May not act for that user")}
    # The password was right: nothing was guessed, and nothing is forgiven.
    assert {event for event, _, _ in world.throttle.told} == {"admit", "spared"}
    assert await code(world.say("PLAIN", plain(user, "x", wanted))) == "AUTHENTICATIONFAILED"


async def test_the_separator() -> None:
    world = World(*PEOPLE)
    assert await world.auth.login(TLS, "a*b", "literal") == Login("a*b", "a*b")
    assert await world.auth.login(TLS, "a*b*root", "toor") == Login("a*b", "root")
    for name in ("*root", "root*", "*", "alice*"):
        assert await code(world.auth.login(TLS, name, "toor")) == "AUTHENTICATIONFAILED"
    # It counts for the master, whoever is tried with it.
    world.throttle.told.clear()
    for name in ("alice*root", "bob*root"):
        assert await code(world.auth.login(TLS, name, "x")) == "AUTHENTICATIONFAILED"
    assert {user for _, _, user in world.throttle.told} == {"root"}
    # An authorization identity leaves nothing to separate.
    assert (
        await code(world.say("PLAIN", plain("alice*root", "toor", "bob"))) == "AUTHENTICATIONFAILED"
    )
    never = World(*PEOPLE, master_separator="")
    assert await code(never.auth.login(TLS, "alice*root", "toor")) == "AUTHENTICATIONFAILED"
    other = World(*PEOPLE, master_separator="%%")
    assert await other.auth.login(TLS, "alice%%root", "toor") == Login("alice", "root")


async def test_external() -> None:
    world = World(*PEOPLE)

    async def external(wanted: str, *names: str) -> bytes | Login:
        channel = Channel("192.0.2.1", tls=True, certificate=names)
        assert await world.say("EXTERNAL", None, channel=channel) == b""
        with_initial = await world.say("EXTERNAL", wanted.encode(), channel=channel)
        assert await world.say("EXTERNAL", None, wanted.encode(), channel=channel) == with_initial
        return with_initial

    assert await external("", "alice") == ALICE
    assert await external("", "alice@example.com", "alice", "bob") == ALICE
    assert await external("bob", "alice", "bob") == Login("bob", "bob")
    assert await external("alice", "root") == Login("alice", "root")
    assert await external("bob", "alice", "root") == Login("bob", "root")
    assert await code(external("bob", "alice")) == "AUTHORIZATIONFAILED"
    assert await code(external("nobody", "alice")) == "AUTHORIZATIONFAILED"
    assert await code(external("nobody", "root")) == "AUTHORIZATIONFAILED"
    assert await code(external("", "nobody")) == "AUTHENTICATIONFAILED"
    assert await code(external("alice", "nobody")) == "AUTHENTICATIONFAILED"


# -- tokens --


def oauthbearer(token: str, wanted: str = "") -> bytes:
    authzid = f"a={wanted}" if wanted else ""
    return f"n,{authzid},\1host=x\1port=143\1auth=Bearer {token}\1\1".encode()


def xoauth2(token: str, wanted: str) -> bytes:
    return f"user={wanted}\1auth=Bearer {token}\1\1".encode()


async def test_tokens() -> None:
    world = World(*PEOPLE)
    assert await world.say("OAUTHBEARER", None) == b""
    assert await world.say("OAUTHBEARER", oauthbearer("good")) == ALICE
    assert await world.say("OAUTHBEARER", None, oauthbearer("good", "alice")) == ALICE
    assert await world.say("XOAUTH2", xoauth2("good", "alice")) == ALICE
    assert await world.say("OAUTHBEARER", oauthbearer("root", "alice")) == Login("alice", "root")
    assert await world.say("XOAUTH2", xoauth2("root", "alice")) == Login("alice", "root")
    assert await code(world.say("OAUTHBEARER", oauthbearer("good", "bob"))) == "AUTHORIZATIONFAILED"
    assert await code(world.say("XOAUTH2", xoauth2("good", "bob"))) == "AUTHORIZATIONFAILED"


@pytest.mark.parametrize("token", ["bad", "nobodys"])
async def test_a_token_that_is_not_valid_is_said_in_json_first(token: str) -> None:
    oauth = OAuthConfig(scope="mail", issuer="https://id.example.com")
    world = World(*PEOPLE, oauth=oauth)
    for mechanism, said, dummy, error in (
        ("OAUTHBEARER", oauthbearer(token, "alice"), b"\1", {
            "status": "invalid_token", "scope": "mail",
            "openid-configuration": "https://id.example.com/.well-known/openid-configuration",
        }),
        ("XOAUTH2", xoauth2(token, "alice"), b"", {"status": "401", "schemes": "bearer", "scope": "mail"}),
    ):  # fmt: skip
        for last in (dummy, b"anything else"):
            world.observed.clear()
            exchange = world.auth.start(TLS, mechanism)
            answer = await exchange.step(said)
            assert isinstance(answer, bytes)
            assert json.loads(answer) == error
            assert world.observed == [(mechanism, "failed")]
            assert await code(exchange.step(last)) == "AUTHENTICATIONFAILED"
            exchange.cancel()
            assert world.observed == [(mechanism, "failed")]


async def test_asking_what_token_it_should_be_is_no_guess() -> None:
    world = World()
    said = b"n,a=alice,\1host=x\1port=143\1auth=\1\1"  # RFC 7628 4.3
    assert await world.say("OAUTHBEARER", said) == b'{"status": "invalid_token"}'
    assert [event for event, _, _ in world.throttle.told] == ["admit", "spared"]


async def test_tokens_that_cannot_be_checked_are_no_failure_of_the_user() -> None:
    world = World()
    world.tokens.down = True
    assert await code(world.say("OAUTHBEARER", oauthbearer("good"))) == "UNAVAILABLE"
    assert [event for event, _, _ in world.throttle.told] == ["admit", "spared"]
    assert world.observed == [("OAUTHBEARER", "failed")]


def test_the_configuration_says_how_tokens_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TokenChecker, "from_config", Checker.from_config)
    auth = Authenticator(Users(), AuthConfig(oauth=OAuthConfig(issuer="x")))
    assert "OAUTHBEARER" in auth.mechanisms(TLS)


async def test_reload() -> None:
    world = World()
    await world.auth.reload()
    assert world.tokens.reloads == 1
    await Authenticator(Users()).reload()


# -- Rule 2: what a failure costs and says --


async def test_a_wrong_password_costs_the_same_whoever_it_is_for() -> None:
    slow = f"{{PBKDF2}}$1$salt$1000${'0' * 40}"
    world = World(User("alice", slow), User("bob", "plain"), User("carol", "pl\u00e4in"))
    for password, times in (("wrong", 1), ("wr\u00f6ng", 1), ("wr\u00adong", 2)):
        for name in ("alice", "bob", "carol", "nobody", "alice*nobody", ""):
            world.passwords.checked.clear()
            assert await code(world.auth.login(TLS, name, password)) == "AUTHENTICATIONFAILED"
            assert len(world.passwords.checked) == times
    assert world.passwords.checked == [(None, "wr\u00adong"), (None, "wrong")]


async def test_a_wrong_proof_costs_the_same_whoever_it_is_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    computed: list[tuple[str, int]] = []

    def derive(algorithm: str, password: bytes, salt: bytes, iterations: int) -> keys.Keys:
        computed.append((algorithm, iterations))
        return original(algorithm, password, salt, iterations)

    original = keys.derive
    monkeypatch.setattr(keys, "derive", derive)
    people = [
        User("alice", "secret"),
        User("bob", passwords.hash("secret", "SCRAM-SHA-1")),
        User("carol", "{ARGON2ID}x"),
    ]
    world = World(*people, mechanisms=("SCRAM-SHA-1",))
    for _ in range(2):
        for name in ("alice", "bob", "carol", "nobody"):
            computed.clear()
            said = set()
            with pytest.raises(LoginFailed) as failed:
                await world.scram("SCRAM-SHA-1", name, "wrong")
            said.add((failed.value.code, str(failed.value)))
            assert computed == [("sha1", keys.ITERATIONS)]
            assert len(said) == 1
        # A right one is remembered.
        computed.clear()
        for name in ("alice", "bob"):
            assert await world.scram("SCRAM-SHA-1", name, "secret") == Login(name, name)
        assert len(computed) == (1 if _ == 0 else 0)
    # The password is a part of what is remembered.
    world.users.users["alice"] = User("alice", "changed")
    assert await code(world.scram("SCRAM-SHA-1", "alice", "secret")) == "AUTHENTICATIONFAILED"
    assert await world.scram("SCRAM-SHA-1", "alice", "changed") == ALICE


async def test_nothing_is_derived_before_there_is_a_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "derive", None)
    world = World()
    for name in ("alice", "nobody"):
        assert await shown(world, name)


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "REMEMBERED", 3)
    world = World(*(User(f"u{n}", "secret") for n in range(6)))
    for n in range(6):
        await world.scram("SCRAM-SHA-256", f"u{n}", "secret")
    assert len(world.auth._keys._right) == 3


def test_a_cheap_login_does_not_wait() -> None:
    """What runs through without a Task stays so."""
    world = World()
    with pytest.raises(StopIteration) as done:
        world.auth.login(TLS, "alice", "secret").send(None)
    assert done.value.value == ALICE


# -- Rule 1: the throttle --


async def test_nothing_is_looked_at_before_the_throttle_admits() -> None:
    certified = Channel("192.0.2.1", private=True, certificate=("alice",))
    world = World(*PEOPLE, mechanisms=MECHANISMS)
    world.throttle.refuses = True
    attempts: list[Awaitable[object]] = [
        world.auth.login(TLS, "alice", "secret"),
        world.auth.login(TLS, "bob*alice", "secret"),
        world.say("PLAIN", plain("alice", "secret")),
        world.say("CRAM-MD5", None, b"alice 00"),
        world.say("EXTERNAL", b"", channel=certified),
        world.say("OAUTHBEARER", oauthbearer("good", "alice")),
        world.say("XOAUTH2", xoauth2("good", "alice")),
    ]
    for attempt in attempts:
        assert await code(attempt) == "UNAVAILABLE"
    assert world.users.asked == []
    by_token = "\0" + hashlib.sha256(b"good").hexdigest()
    counted = ["alice"] * 5 + [by_token] * 2
    assert world.throttle.told == [("admit", "192.0.2.1", user) for user in counted]
    assert {result for _, result in world.observed} == {"throttled"}


async def test_scram_takes_a_turn_once_there_is_a_proof() -> None:
    """A client that says no more after the first message would keep it from others."""
    world = World(*PEOPLE, mechanisms=MECHANISMS)
    exchange = world.auth.start(TLS, "SCRAM-SHA-256")
    assert (await exchange.step(b"n,,n=alice,r=x")).startswith(b"r=x")  # type: ignore[union-attr]
    assert world.throttle.told == []
    exchange.cancel()
    world.throttle.refuses = True
    assert await code(world.scram("SCRAM-SHA-256", "alice", "secret")) == "UNAVAILABLE"


async def test_what_the_throttle_is_told() -> None:
    world = World()
    await code(world.auth.login(TLS, "alice", "x"))
    await world.auth.login(TLS, "al\u00adice", "secret")
    await code(world.scram("SCRAM-SHA-256", "nobody", "x"))
    await world.scram("SCRAM-SHA-256", "alice", "secret")
    assert world.throttle.told == [
        (event, "192.0.2.1", user)
        for event, user in [
            ("admit", "alice"), ("failed", "alice"), ("admit", "alice"), ("succeeded", "alice"),
            ("admit", "nobody"), ("failed", "nobody"), ("admit", "alice"), ("succeeded", "alice"),
        ]
    ]  # fmt: skip


async def test_who_guesses_has_to_wait_and_is_refused() -> None:
    """With the throttle itself."""
    slept: list[float] = []

    async def sleep(delay_s: float) -> None:
        slept.append(delay_s)

    users = Users(User("alice", "secret"), schemes=frozenset({"PLAIN"}))
    auth = Authenticator(users, throttle=Throttle(AuthConfig(), lambda: 0, sleep))
    said = [await code(auth.login(TLS, "alice", f"guess {n}")) for n in range(30)]
    assert said == ["AUTHENTICATIONFAILED"] * 20 + ["UNAVAILABLE"] * 10
    assert sorted(slept) == slept
    assert slept[-1] == AuthConfig().longest_delay_s
    assert await code(auth.login(TLS, "alice", "secret")) == "UNAVAILABLE"
    assert await auth.login(Channel("198.51.100.1", private=True), "alice", "secret") == ALICE


async def test_what_ends_as_no_guess_delays_nobody() -> None:
    async def sleep(delay_s: float) -> None:
        raise AssertionError("nobody waits")

    users = Users(*PEOPLE, schemes=frozenset({"PLAIN"}))
    auth = Authenticator(users, throttle=Throttle(AuthConfig(), lambda: 0, sleep), tokens=Checker())
    for _ in range(50):
        exchange = auth.start(TLS, "SCRAM-SHA-256")
        await exchange.step(b"n,,n=alice,r=x")
        exchange.cancel()
        exchange = auth.start(TLS, "SCRAM-SHA-256")
        await exchange.step(b"n,,n=alice,r=x")
        with pytest.raises(ValueError):
            await exchange.step(b"nonsense")
        assert await code(auth.login(TLS, "bob*alice", "secret")) == "AUTHORIZATIONFAILED"
        assert await auth.login(TLS, "alice", "secret") == ALICE
        users.down = Unavailable()
        with pytest.raises(Unavailable):
            await auth.login(TLS, "alice", "secret")
        with pytest.raises(Unavailable):
            await auth.start(TLS, "PLAIN").step(plain("alice", "secret"))
        users.down = asyncio.CancelledError()
        with pytest.raises(asyncio.CancelledError):
            await auth.login(TLS, "alice", "secret")
        with pytest.raises(asyncio.CancelledError):
            await auth.start(TLS, "PLAIN").step(plain("alice", "secret"))
        users.down = None


async def test_an_error_of_the_store_passes_through_and_counts_as_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(*PEOPLE)
    world.users.down = Unavailable()
    for attempt in (
        world.auth.login(TLS, "alice", "secret"),
        world.say("PLAIN", plain("alice", "secret")),
        world.say("SCRAM-SHA-256", b"n,,n=alice,r=x"),
        world.say("OAUTHBEARER", oauthbearer("good")),
    ):
        with pytest.raises(Unavailable):
            await attempt
    assert [event for event, _, _ in world.throttle.told] == ["admit", "spared"] * 3
    assert world.observed == []
    assert caplog.records == []


async def test_a_client_that_gives_up_has_not_failed(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    for mechanism in ("PLAIN", "LOGIN", "SCRAM-SHA-256"):
        exchange = world.auth.start(TLS, mechanism)
        await exchange.step(None)
        exchange.cancel()
        exchange.cancel()
    exchange = world.auth.start(TLS, "SCRAM-SHA-256")
    await exchange.step(b"n,,n=alice,r=x")
    exchange.cancel()
    assert {result for _, result in world.observed} == {"cancelled"}
    assert len(world.observed) == 4
    assert caplog.records == []
    assert world.throttle.told == []


# -- the log --


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [f"{r.levelname} {r.name} {r.getMessage()}" for r in caplog.records]


async def test_one_line_for_each_login(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pymap.auth")
    world = World(*PEOPLE, mechanisms=MECHANISMS)
    await world.auth.login(TLS, "alice", "secret")
    await world.say("PLAIN", plain("root", "toor", "alice"))
    await world.say("OAUTHBEARER", oauthbearer("good"))
    await code(world.say("PLAIN", plain("mallory", "x")))
    await code(world.say("PLAIN", plain("alice", "secret", "bob")))
    await code(world.scram("SCRAM-SHA-256", "mallory", "x"))
    await code(world.say("XOAUTH2", xoauth2("x", "alice"), b""))
    await code(world.say("EXTERNAL", b"", channel=Channel(certificate=("x",))))
    with pytest.raises(ValueError):
        await world.say("PLAIN", b"x")
    world.tokens.down = True
    await code(world.say("XOAUTH2", xoauth2("x", "alice")))
    world.throttle.refuses = True
    await code(world.auth.login(Channel("2001:db8::1", private=True), "alice", "secret"))
    at = "address=192.0.2.1"
    assert lines(caplog) == [
        f"INFO pymap.auth login: {at} mechanism=LOGIN user='alice' as='alice'",
        f"INFO pymap.auth login: {at} mechanism=PLAIN user='root' as='alice'",
        f"INFO pymap.auth login: {at} mechanism=OAUTHBEARER user='alice' as='alice'",
        f"WARNING pymap.auth login failed: {at} mechanism=PLAIN user='mallory' reason=wrong password or unknown user",
        f"WARNING pymap.auth login failed: {at} mechanism=PLAIN user='alice' as='bob' reason=may not act for that user",
        f"WARNING pymap.auth login failed: {at} mechanism=SCRAM-SHA-256 user='mallory' reason=wrong password or unknown user",
        f"WARNING pymap.auth login failed: {at} mechanism=XOAUTH2 user='alice' reason=invalid token or unknown user",
        "WARNING pymap.auth login failed: address=- mechanism=EXTERNAL user='x' reason=certificate is for no user",
        f"WARNING pymap.auth login failed: {at} mechanism=PLAIN user='' reason=malformed response",
        f"WARNING pymap.auth login failed: {at} mechanism=XOAUTH2 user='alice' reason=tokens cannot be checked",
        "WARNING pymap.auth login failed: address=2001:db8::1 mechanism=LOGIN user='alice' reason=too many failed logins",
    ]
    assert caplog.records[4].fields == {
        "event": "login failed", "address": "192.0.2.1", "mechanism": "PLAIN", "user": "alice",
        "as": "bob", "reason": "may not act for that user",
    }  # fmt: skip
    assert caplog.records[1].fields == {
        "event": "login", "address": "192.0.2.1", "mechanism": "PLAIN", "user": "root", "as": "alice",
    }  # fmt: skip


FAILED = re.compile(
    r"login failed: address=192\.0\.2\.1 mechanism=LOGIN user=(?P<user>'.*'|\".*\") "
    r"reason=wrong password or unknown user"
)


@pytest.mark.parametrize(
    "name",
    [
        "x\r\nlogin failed: address=203.0.113.5 mechanism=PLAIN user='x' reason=malformed response",
        "x' reason=malformed response", "x\" address=203.0.113.5", "\u2028\u2029\x85\x0b\x1b[2J",
        "\ud800\udfff", "\u202egnp.exe", "%s%n{x}", "\\", "'\"", "\0", "ä" * 10_000,
    ],
)  # fmt: skip
async def test_no_name_forges_a_line(name: str, caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    await code(world.auth.login(TLS, name, "secret"))
    (record,) = caplog.records
    line = record.getMessage()
    assert line.isascii()
    assert line.isprintable()
    assert len(line) < 2500
    found = FAILED.fullmatch(line)
    assert found is not None
    assert eval(found["user"]) == name[:200] == record.fields["user"]


async def test_nothing_secret_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    world = World(
        User("alice", "hunter2"), User("root", "toor", frozenset({"master"})), mechanisms=MECHANISMS
    )
    await world.auth.login(TLS, "alice", "hunter2")
    await code(world.auth.login(TLS, "alice", "hunter22"))
    await world.scram("SCRAM-SHA-256", "alice", "hunter2")
    await code(world.say("OAUTHBEARER", oauthbearer("hunter2"), b"\1"))
    with pytest.raises(ValueError):
        await world.say("PLAIN", b"\0alice\0hunter2\xff")
    with pytest.raises(ValueError):
        await world.say("LOGIN", b"alice", b"hunter2\xff")
    assert caplog.records
    for record in caplog.records:
        assert "hunter2" not in record.getMessage()
        assert "hunter2" not in repr(record.__dict__)


# -- hostile clients --

PIECES = st.sampled_from([b"\0", b"alice", b"secret", b"n,", b"y,", b"p=tls-server-end-point,", b",", b"a=", b"n=", b"r=x", b"c=biws", b"p=AAAA", b"\1", b"auth=Bearer ", b"user=", b"good", b"*", b" ", b"\xff", b"\xc3\xa4", b"=2C"])  # fmt: skip
OCTETS = st.binary(max_size=80) | st.lists(PIECES, max_size=12).map(b"".join)


@pytest.mark.parametrize("mechanism", MECHANISMS)
@given(said=st.lists(OCTETS, min_size=1, max_size=4), initial=st.booleans())
@settings(deadline=None)
async def test_any_octets_at_any_step(mechanism: str, said: list[bytes], initial: bool) -> None:
    world = World(*PEOPLE, mechanisms=MECHANISMS)
    channel = Channel("192.0.2.1", True, True, ("alice",), END_POINT)
    exchange = world.auth.start(channel, mechanism)
    try:
        answer = await exchange.step(said[0] if initial else None)
        for response in said[initial:]:
            if isinstance(answer, Login):
                break
            answer = await exchange.step(response)
    except (ValueError, LoginFailed):
        assert [result for _, result in world.observed] == ["failed"]
    else:
        assert isinstance(answer, Login | bytes)


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-1-PLUS"])
@given(change=st.tuples(st.integers(0, 200), st.integers(0, 255)), step=st.integers(0, 1))
@settings(deadline=None, max_examples=50)
async def test_an_octet_changed_on_the_way_lets_nobody_in(
    mechanism: str, change: tuple[int, int], step: int
) -> None:
    world = World()
    bound = ("tls-server-end-point", END_POINT) if mechanism.endswith("-PLUS") else None
    client = ScramClient([mechanism], "alice", "secret", channel_binding=bound)
    exchange = world.auth.start(TLS, mechanism)

    def changed(said: str, at: int) -> bytes:
        octets = bytearray(said.encode())
        if at == step:
            octets[change[0] % len(octets)] ^= change[1] or 1
        return bytes(octets)

    async def talk() -> None:
        challenge = await exchange.step(changed(client.get_client_first(), 0))
        # What scramp itself would refuse, where its own nonce has changed.
        client.nonce, client.salt, client.iterations = _read(challenge)
        client.server_first, client.stage = challenge.decode(), ClientStage.set_server_first
        await exchange.step(changed(client.get_client_final(), 1))

    with pytest.raises((ValueError, LoginFailed)):
        await talk()
    assert [result for _, result in world.observed] == ["failed"]


def _read(challenge: bytes) -> tuple[str, bytes, int]:
    nonce, salt, iterations = challenge.decode().split(",")
    return nonce[2:], base64.b64decode(salt[2:]), int(iterations[2:])
