"""Stored passwords: what Dovecot wrote, what it reads, what is malformed, what it costs."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import subprocess
import sys
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pymap.auth import passwords
from pymap.auth.passwords import Passwords, verify
from pymap.auth.schemes import LONGEST, SCHEMES, Unusable, parse
from pymap.backend.api import User
from pymap.backend.dict import DictBackend
from pymap.imap.server import serve

PASSWORD = "pässword 1"

# Each line is what `doveadm pw -s SCHEME -p 'pässword 1'` of Dovecot 2.3.19 printed; some of them
# were made with `-r`, for other rounds than the default.
DOVECOT = """
{PLAIN}pässword 1
{CLEARTEXT}pässword 1
{CLEAR}pässword 1
{PLAIN.HEX}70c3a47373776f72642031
{SHA}wBFJYYjnh5eS5Eft5JORpd7Gkko=
{SHA1}wBFJYYjnh5eS5Eft5JORpd7Gkko=
{SSHA}+fSLbziLg9sGx6EgtMooC6Es+1nxn8TU
{SSHA.HEX}77a680ea225f4f3d7ec3768f8ad9e5b72fa9b8117ce9541c
{SHA256}f7RERuWhObO3oHciFhtpNCnGhD0FNBL7CyE3AkK4vbA=
{SHA256.HEX}7fb44446e5a139b3b7a07722161b693429c6843d053412fb0b21370242b8bdb0
{SSHA256}nL6OGlPZQt23bxk+DTRLfAjR/c0rtX9LzwEbDQuyzoZDv+bD
{SSHA256.HEX}71209d3702a1e0633b51914f09ed076096b5120e28aa5d4f734b204b81aeb667e424ab5f
{SHA512}CKWQ1bFe+6HuV0fkV78KrhRH5bOjFVbkHBnd8vTWw2lc3YVFx8X2I6wtGQoVpZVuVsftC++RLO5GPIvd7H4Lyg==
{SSHA512}yIlaLdQsQzfu4fTMnLncCkBKq8IwcjpTFlZyyWHRwmPfnf/aui5ahskfZkiIgTqBxVLdQuvJluUfYXAFpMSXoHH+BCM=
{SSHA512.B64}A9VSlaIxm+HfQh+D6fFUVYVIafP+TfF8A4mrCyP8VClBJ+Tl9vWt/HJPwJmJoh1a6KHfjpQuiHRo1BEmuzDYVr96gdc=
{PBKDF2}$1$Ig4OrpvLaFGTDUjL$5000$9614db8d0aac12365d08e2f14f18fc69f587e4b9
{PBKDF2}$1$HeeEJkKTa/PjedwM$1000$7c12012d1ada3732dc45b8f9b9573c3b9ce75ecf
{PBKDF2.B64}JDEka29ReE1QeW5HMG44YVVMYSQ1MDAwJGNiOTk5M2M2ZDE5NjQyNjE3ODYxYmQ2YWNmNDRjYzRjNzM1ZGYyYWQ=
{SCRAM-SHA-1}4096,Hb4fq4ToVdKavpKCLSG7pg==,n5OUmUEgkUlRMNaXBdYiY3t8HdM=,9Nlz0+fufb7l+VMDE0OgjcYrmdw=
{SCRAM-SHA-256}4096,YrMf2VPHS0Q5CaI6DXNPxw==,Jk6MXuqbEC9DK+zYMrSqGNisUSCGsMIRpxH3GPK0Ld0=,jjPVkafhbuAovBcNzX4hXgZXQBMGwMoc5aLs1D1eE3Y=
{ARGON2I}$argon2i$v=19$m=32768,t=4,p=1$UUeWNH0urzDOe4Bavf3RZQ$5UO94NwZ2SMB3/FhHBkAGn6/gMAyU9oFRAq2nsWJJIE
{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$7YQAgz51Mc514HpmgzfHqQ$VJ1uCEAKkkFnt520cPUiz8FZyYwZ9YaT813ptzguaJA
{BLF-CRYPT}$2y$05$s952DdLNs19D1bDaNrLcwuvdymVv79rKU1ZStNE7g.XKVUD0QPF3S
{BLF-CRYPT}$2y$04$sjYaSPjrdlCJQYsj9nDHwOlVnJbLngK7n.b63UlZTXMNfC5ygrj6a
{SHA256-CRYPT}$5$0yQp5u4yptVymudM$GmHX5m9/SYgJx2FVtNLRnPf9l4Voqvr3cgyl2Dv6dZC
{SHA256-CRYPT}$5$rounds=1000$qrQ8spQ6enwJB70r$szoquVlwP..vRoxFPJTr5k7rj52bF87ounvj2yDwoIA
{SHA512-CRYPT}$6$ckrA.FUOu4tiIgcw$iVuvMlSaatjRPObXUvtR8JQBOwWlzZkIba.sx/02cy8LzLAlymPPXqnwaKsdFS72qG8uEpHRraQl.6s0ZrBaA0
{SHA512-CRYPT}$6$rounds=1000$vRD6FgtBfiTLVzG8$NlDMnU8.lopRdTyTkyiS/7cQ1cIUrp0t8x1oQp.soEPzSOb1jrrXkbgpZOQGpv141onit6TEIu6o./SH..5py/
{MD5-CRYPT}$1$VjWfmFD1$3Qy8YiPbwK.7VoLz/1ZMm/
{CRYPT}$2y$05$qWBl0LYZyN0MNHIkoPGPhO.SzOgrvFr7gxv3E4Cb.BAF4js/xU8kq
""".strip().splitlines()

# What Dovecot takes for "secret" without ever writing it so: asked with `doveadm pw -t`.
TAKEN = [
    "secret",
    "{plain}secret",
    "{PLAIN.b64}c2VjcmV0",
    "{CLEARTEXT.Hex}736563726574",
    "{sha}5en6G6MezRroT3XKqkdPOmY/BfQ=",
    "{SHA}e5e9fa1ba31ecd1ae84f75caaa474f3a663f05f4",
    "{SHA256}2BB80D537B1DA3E38BD30361AA855686BDE0EACD7162FEF6A25FE97BF527A25B",
    "{SHA256.base64}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=",
    "{SHA256} K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols= ",
    "{SSHA}gVK8WC9YyFT1gMsQHTGCgT3sSv5zYWx0",
    "{PBKDF2}$1$salt$5000$557DFEB042D0DC4FD7122799934D799BAEC2514B",
    "{PBKDF2}$1$$5000$3d99b8c5ff6eeacaa615d569d3a6eb2fb51008e7",
    "{PBKDF2}$1$a-b c/+=$5000$6967cf1357e543577e676780008b9db653505e2e",
    "{SCRAM-SHA-1}4096,,Fsqo3v+ArqlwJf2vPpR9ftYjoJw=,VLsutfEAWBwXlzasLCdvJW7vnTg=",
    "{CRYPT.HEX}243124794d6c7374442f58243134774831336d7279724678785665384b63656e7031",
    "{CRYPT}$1$abc$iCQ2D3nhptRYi27fDYv2s1",
    "{SHA512-CRYPT}$5$abc$qsg6EHbUzHQzF1POlD7zUwBINSELQxypPaeDcZe6vH0",
    "{CRYPT}$6$$2M9DchxW4txWyTYoZrH9D3VvAAQxBpEezYsLY6Cao.jwzEXpyL9xwip9hiUZX7GqTqe/E/z6iKvZqXUuqniQH.",
    "{BLF-CRYPT}$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
    "{ARGON2I}$argon2id$v=19$m=8192,t=2,p=1$eXl5eXl5eXk$SlY/oTJ0skGXHv9En7bPoA",
    "{ARGON2ID}$argon2id$v=19$m=8,t=1,p=1$eXl5eXl5eXl5eXl5eXl5eQ$5xkbrp+76U2mIZdeRtDLLvC3HsdJQ/flDWibRC/1bfI",
]

MALFORMED = [
    "{SHA}",
    "{SHA}5en6G6MezRroT3XKqkdPOmY/BfR4",
    "{SHA256}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols",
    "{SHA256}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=xx",
    "{SHA256.HEX}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=",
    "{SHA256}ä",
    "{SSHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
    "{SSHA}c2hvcnQ=",
    "{PLAIN.HEX}7G",
    "{PBKDF2}",
    "{PBKDF2}$2$salt$5000$557dfeb042d0dc4fd7122799934d799baec2514b",
    "{PBKDF2}$1$salt$5000$557dfeb042d0dc4fd712",
    "{PBKDF2}$1$salt$99999999999$557dfeb042d0dc4fd7122799934d799baec2514b",
    "{PBKDF2}$1$salt$0$0000000000000000000000000000000000000000",  # Dovecot lets everybody in
    "{SCRAM-SHA-256}1,MDEyMzQ1Njc4OWFiY2RlZg==,rb2i4FWE8CCi1HDhnBxhv8/uERf3QN6tiTjE4qSdliQ=,gWfVquF9Vgm4YA/KIyjllA==",
    "{SCRAM-SHA-256}4096,YrMf2VPHS0Q5CaI6DXNPxw==,,",
    "{SCRAM-SHA-1}4096,x,x,x",
    "{ARGON2ID}$argon2d$v=19$m=8192,t=2,p=1$eXl5eXl5eXl5eXl5eXl5eQ$pMEI65Y5d/KEVDgw0N+lnIqw74SS/6ovY9weQc190LA",
    "{ARGON2ID}$argon2id$v=19$m=99999999,t=1,p=1$eXl5eXl5eXl5eXl5eXl5eQ$5xkbrp+76U2mIZdeRtDLLvC3HsdJQ/flDWibRC/1bfI",
    "{ARGON2ID}$argon2id$v=19$m=8,t=1,p=1$eXl5eXl5eXl5eXl5eXl5eQ$",
    "{BLF-CRYPT}$2y$31$s952DdLNs19D1bDaNrLcwuvdymVv79rKU1ZStNE7g.XKVUD0QPF3S",
    "{BLF-CRYPT}$2y$05$s952DdLNs19D1bDaNrLcwuvdymVv79rKU1ZStNE7g.XKVUD0QPF3Sx",
    "{SHA512-CRYPT}$6$rounds=999999999$vRD6FgtBfiTLVzG8$NlDMnU8",
    "{CRYPT}",
    "{CRYPT}abNANd1rDfiNc",
    "{CRYPT}$y$j9T$abcdefgh$IUWJt2doU4Kf6E/JP1UkAT3S5O3Q7SSA8SJirXIlEu9",
]
# Of the right form, and yet refused by the library that computes it.
REFUSED = [
    "{ARGON2ID}$argon2id$v=19$m=7,t=1,p=1$eXl5eXl5eXl5eXl5eXl5eQ$5xkbrp+76U2mIZdeRtDLLvC3HsdJQ/flDWibRC/1bfI",
    "{SHA512-CRYPT}$6$rounds=1000$vRD6FgtBfiTLVzG8$0yQp5u4yptVymudM0yQp5u4yptVymudM0yQp5u4yptV",
]

SLOW = f"{{PBKDF2}}$1$salt$200000${'0' * 40}"  # some 50 ms, for whatever password


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def of(scheme: str) -> str:
    """The first that Dovecot wrote of this scheme."""
    return next(line for line in DOVECOT if line.startswith(f"{{{scheme}}}"))


# -- what is stored --


@pytest.mark.parametrize("stored", DOVECOT)
async def test_what_dovecot_wrote(stored: str) -> None:
    keeper, user = Passwords(), User("alice", stored)
    assert await keeper.verify(user, PASSWORD)
    for wrong in ("pässword 1 ", stored):
        assert not await keeper.verify(user, wrong)


@pytest.mark.parametrize("stored", TAKEN)
async def test_what_dovecot_takes(stored: str) -> None:
    keeper, user = Passwords(), User("alice", stored)
    assert await keeper.verify(user, "secret")
    assert not await keeper.verify(user, "Secret")


@pytest.mark.parametrize(
    "stored", ["{", "{}x", "{ }x", "{a b}x", "{ä}x", "{-}x", "{PLAIN", f"{{{'A' * 33}}}x"]
)
async def test_braces_around_what_is_no_name_belong_to_the_password(stored: str) -> None:
    assert await verify(User("alice", stored), stored)


async def test_plain_holds_whatever_looks_like_a_scheme() -> None:
    assert await verify(User("alice", "{PLAIN}{SHA}x"), "{SHA}x")


async def test_bcrypt_looks_at_72_octets() -> None:
    """`doveadm pw -s BLF-CRYPT` of 80 times x."""
    user = User("alice", "{BLF-CRYPT}$2y$04$yGXsj7oRUDnnpoWCpOO8ZuNUgVtBQzXnQTaQ3v7DRZbY0a.FG2YD.")
    assert await verify(user, "x" * 80)
    assert await verify(user, "x" * 72)
    assert not await verify(user, "x" * 71)


# -- what cannot be used --


@pytest.mark.parametrize("stored", [*MALFORMED, *REFUSED])
async def test_malformed_value_is_one_line_in_the_log(
    stored: str, caplog: pytest.LogCaptureFixture
) -> None:
    scheme, _, value = stored[1:].partition("}")
    for _ in range(2):
        assert not await Passwords().verify(User("alice", stored), "secret")
    first, second = logged(caplog)
    assert first == second
    assert "alice" in first
    assert f"{{{scheme.partition('.')[0]}}}" in first
    assert not value or value not in first
    assert not caplog.records[0].exc_info


@pytest.mark.parametrize(
    "stored", ["{NOSUCH}x", "{NTLM}x", "{SHA256.foo}x", "{CRAM-MD5}secret", "{PLAIN.B64.HEX}x"]
)
async def test_unknown_scheme_is_named(stored: str, caplog: pytest.LogCaptureFixture) -> None:
    for password in ("secret", stored):
        assert not await Passwords().verify(User("alice", stored), password)
    assert stored[: stored.index("}") + 1] in logged(caplog)[0]


async def test_what_may_begin_a_password_is_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    assert not await verify(User("alice", "{hunter2}x"), "{hunter2}x")
    (line,) = logged(caplog)
    assert "hunter2" not in line
    assert "scheme" in line


@pytest.mark.parametrize(
    ("scheme", "module", "package"),
    [
        ("ARGON2ID", "argon2", "argon2-cffi"),
        ("ARGON2I", "argon2", "argon2-cffi"),
        ("BLF-CRYPT", "bcrypt", "bcrypt"),
        ("SHA256-CRYPT", "passlib.hash", "libpass"),
        ("SHA512-CRYPT", "passlib.hash", "libpass"),
        ("CRYPT", "bcrypt", "bcrypt"),
    ],
)
async def test_missing_library_is_named(
    scheme: str, module: str, package: str,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setitem(sys.modules, module, None)
    stored = of(scheme)
    assert not await Passwords().verify(User("alice", stored), PASSWORD)
    (line,) = logged(caplog)
    assert f"{{{scheme}}} needs {package}" in line
    assert "pip install 'pymap[passwords]'" in line
    assert stored.partition("}")[2] not in line
    with pytest.raises(ValueError, match=package):
        passwords.hash(PASSWORD, scheme)


BEGINNINGS = st.sampled_from(
    ["", "{", *(f"{{{name}}}" for name in SCHEMES), "{SHA.HEX}", "{PBKDF2.B64}"]
)
PIECES = st.sampled_from(["$", "$1$", "$2y$04$", "$5$", "$6$", "rounds=1000", "$argon2id$v=19$m=8,t=1,p=1$", "4096,", "AAAA", "=", "0" * 40, "/" * 53, "\0"])  # fmt: skip
VALUES = st.text(st.characters(), max_size=100) | st.lists(PIECES, max_size=8).map("".join)


@given(BEGINNINGS, VALUES, st.text(st.characters(), max_size=20))
@example("{PLAIN}", "\ud800", "\ud800")
@example("", "\0", "\0")
@example("{PLAIN}", "", "")
@example("", "", "")
@settings(deadline=None)
async def test_no_string_raises(beginning: str, value: str, password: str) -> None:
    user = User("alice", beginning + value)
    right = await Passwords().verify(user, password)
    if not password or "\0" in password:
        assert not right
    elif beginning in ("{PLAIN}", "{CLEARTEXT}"):
        assert right is (value == password)


@pytest.mark.parametrize("stored", ["", "{PLAIN}", "{PLAIN}\0", "\0", "x" * (LONGEST + 1)])
async def test_nobody_gets_in_with_no_password_nor_with_an_impossible_one(stored: str) -> None:
    keeper = Passwords()
    for password in ("", "\0", "{PLAIN}", "x" * (LONGEST + 1)):
        assert not await keeper.verify(User("alice", stored), password)
    assert not await keeper.verify(None, "\0")


# -- what is made --


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_made_here_is_read_here(scheme: str) -> None:
    stored = passwords.hash(PASSWORD, scheme.lower())
    assert stored.startswith(f"{{{scheme}}}")
    keeper, user = Passwords(), User("alice", stored)
    assert await keeper.verify(user, PASSWORD)
    assert not await keeper.verify(user, "wrong")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_made_here_is_read_by_dovecot(scheme: str) -> None:
    doveadm = shutil.which("doveadm")
    if doveadm is None:
        pytest.fail(
            "doveadm is not installed (Debian package dovecot-core); scripts/test installs it"
        )
    command = [doveadm, "pw", "-t", passwords.hash(PASSWORD, scheme), "-p", PASSWORD]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "(verified)" in done.stdout, done.stderr


def test_salt_is_new_each_time() -> None:
    for scheme in ("SSHA512", "PBKDF2", "SCRAM-SHA-1", "ARGON2I", "BLF-CRYPT", "SHA256-CRYPT"):
        assert passwords.hash("secret", scheme) != passwords.hash("secret", scheme)


def test_default_is_the_best_that_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert passwords.hash("secret").startswith("{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$")
    monkeypatch.setitem(sys.modules, "argon2", None)
    assert passwords.hash("secret").startswith("{SCRAM-SHA-256}600000,")


@pytest.mark.parametrize("password", ["", "\0", "a\0b", "x" * (LONGEST + 1)])
def test_no_value_is_made_that_lets_nobody_in(password: str) -> None:
    for scheme in (None, "PLAIN"):
        with pytest.raises(ValueError):
            passwords.hash(password, scheme)


def test_what_a_scheme_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="72"):
        passwords.hash("x" * 73, "BLF-CRYPT")
    with pytest.raises(ValueError, match="SSHA512"):
        passwords.hash("x", "NOSUCH")


# -- what it costs --


async def processor_s(keeper: Passwords, user: User | None, password: str, times: int = 1) -> float:
    """What a login takes of the processor, in all threads; not what others take meanwhile. The
    best of so many times: a core that is shared is slower."""
    taken = []
    for _ in range(times):
        before = time.process_time()
        await keeper.verify(user, password)
        taken.append(time.process_time() - before)
    return min(taken)


async def refusal_s(keeper: Passwords, stored: str | None, password: str = "x") -> float:
    return await processor_s(keeper, None if stored is None else User("bob", stored), password, 3)


async def test_unknown_user_costs_what_a_known_one_does() -> None:
    keeper = Passwords()
    assert await refusal_s(keeper, None) < 0.01  # nothing slow has been seen
    known = await refusal_s(keeper, SLOW)
    assert 0.5 < await refusal_s(keeper, None) / known < 2
    # And so does every other way to be refused.
    for stored in ("plain", "{SSHA}gVK8WC9YyFT1gMsQHTGCgT3sSv5zYWx0", "{NOSUCH}x", "{SHA}x"):
        assert 0.5 < await refusal_s(keeper, stored) / known < 2
    for password in ("", "\0", "x" * (LONGEST + 1)):
        assert 0.5 < await refusal_s(keeper, SLOW, password) / known < 2


async def test_missing_library_costs_what_a_wrong_password_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keeper = Passwords()
    known = await refusal_s(keeper, SLOW)
    monkeypatch.setitem(sys.modules, "argon2", None)
    assert 0.5 < await refusal_s(keeper, of("ARGON2ID")) / known < 2


async def test_decoy_whose_library_goes_away_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = Passwords()
    assert await keeper.verify(User("alice", of("BLF-CRYPT")), PASSWORD)
    monkeypatch.setitem(sys.modules, "bcrypt", None)
    assert not await keeper.verify(None, PASSWORD)
    assert not await keeper.verify(None, PASSWORD)


async def test_the_costliest_scheme_is_forgotten_when_nobody_has_it_any_more() -> None:
    now = 0.0
    keeper = Passwords(lambda: now)
    slow = await refusal_s(keeper, SLOW)
    await keeper.verify(User("bob", of("MD5-CRYPT")), "x")
    assert await refusal_s(keeper, None) > slow / 2
    now = passwords.LATELY_S + 1
    assert await refusal_s(keeper, None) < slow / 5
    await keeper.verify(User("bob", of("MD5-CRYPT")), "x")
    assert await refusal_s(keeper, None) < slow / 5


async def test_the_decoy_lets_nobody_in() -> None:
    keeper = Passwords()
    assert await keeper.verify(User("alice", of("PBKDF2")), PASSWORD)
    for user in (None, User("bob", "other"), User("bob", "{SHA}x")):
        assert not await keeper.verify(user, PASSWORD)


async def test_a_right_password_is_computed_once_a_minute() -> None:
    now = 0.0
    keeper = Passwords(lambda: now)
    user = User("alice", passwords.hash("secret", "PBKDF2"))
    first = await processor_s(keeper, user, "secret")
    assert await processor_s(keeper, user, "secret") < first / 10
    assert await keeper.verify(user, "secret")
    assert await processor_s(keeper, user, "wrong") > first / 5
    now = passwords.REMEMBERED_S - 1
    assert await processor_s(keeper, user, "secret") < first / 10
    now = passwords.REMEMBERED_S
    assert await processor_s(keeper, user, "secret") > first / 5


async def test_connections_that_come_at_once_compute_once_a_thread() -> None:
    keeper = Passwords()
    user = User("alice", passwords.hash("secret", "PBKDF2"))
    once = await processor_s(Passwords(), user, "secret")
    before = time.process_time()
    assert all(await asyncio.gather(*(keeper.verify(user, "secret") for _ in range(20))))
    assert time.process_time() - before < (passwords.THREADS + 2) * once


async def test_a_changed_value_is_not_remembered() -> None:
    keeper = Passwords()
    old, new = passwords.hash("old", "BLF-CRYPT"), passwords.hash("new", "BLF-CRYPT")
    assert await keeper.verify(User("alice", old), "old")
    assert not await keeper.verify(User("alice", new), "old")
    assert await keeper.verify(User("alice", new), "new")


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "REMEMBERED", 10)
    keeper = Passwords()
    for n in range(1000, 1030):
        salted = hashlib.pbkdf2_hmac("sha1", b"secret", b"salt", n).hex()
        assert await keeper.verify(User("alice", f"{{PBKDF2}}$1$salt${n}${salted}"), "secret")
    assert len(keeper._right) == 10


@pytest.mark.parametrize(
    "scheme", ["PBKDF2", "SCRAM-SHA-256", "ARGON2ID", "BLF-CRYPT", "SHA512-CRYPT"]
)
async def test_the_loop_goes_on_while_a_slow_hash_runs(scheme: str) -> None:
    keeper, stored = Passwords(), passwords.hash("secret", scheme)
    for user, password in (
        (User("alice", stored), "wrong"),
        (None, "wrong"),
        (User("alice", stored), "secret"),
    ):
        login = asyncio.create_task(keeper.verify(user, password))
        turns = 0
        while not login.done():
            await asyncio.sleep(0)
            turns += 1
        assert turns > 5  # in the loop itself, it would be done after one or two


@pytest.mark.parametrize("stored", [line for line in DOVECOT if parse(line).cost == 0])
async def test_a_cheap_one_does_not_wait(stored: str) -> None:
    """What runs through without a Task stays so: a plain password is no reason for one."""
    login = Passwords().verify(User("alice", stored), PASSWORD)
    with pytest.raises(StopIteration) as done:
        login.send(None)
    assert done.value.value is True


def test_cost_is_that_of_scheme_and_parameters() -> None:
    def cost(text: str) -> int:
        return parse(text).cost

    assert cost(of("PLAIN")) == cost(of("SSHA512")) == cost(of("SHA256.HEX")) == 0
    assert cost(of("ARGON2ID")) > cost(of("ARGON2I")) > cost(of("SHA512-CRYPT")) > 0
    assert cost(SLOW) == 2 * cost(SLOW.replace("200000", "100000"))
    with pytest.raises(Unusable):
        parse("{NOSUCH}x")


@pytest.mark.parametrize("scheme", ["SSHA512", "PBKDF2"])
async def test_login_with_a_stored_hash(scheme: str) -> None:
    backend = DictBackend({"alice": passwords.hash(PASSWORD, scheme)})
    async with serve(backend) as server:
        reader, writer = await asyncio.open_connection(*server.addresses[0][:2])
        try:
            await reader.readline()
            for tag, password, answer in (("a1", "wrong", "NO"), ("a2", PASSWORD, "OK")):
                said = password.encode()
                writer.write(b"%b LOGIN alice {%d+}\r\n%b\r\n" % (tag.encode(), len(said), said))
                assert (await reader.readline()).startswith(f"{tag} {answer} ".encode())
        finally:
            writer.close()
            await writer.wait_closed()


async def test_the_first_refusal_costs_what_users_cost_where_the_store_knows() -> None:
    slow = Passwords()
    slow.schemes = frozenset({"PLAIN", "SCRAM-SHA-256"})
    assert not await slow.verify(None, "guess")
    assert slow._costliest.cost == parse(passwords.hash("x", "SCRAM-SHA-256")).cost
    cheap = Passwords()
    cheap.schemes = frozenset({"PLAIN", "SSHA512"})
    assert not await cheap.verify(None, "guess")
    assert cheap._costliest.cost == 0
