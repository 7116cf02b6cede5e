"""What a stored password looks like: ``{SCHEME}value``, as Dovecot reads and writes it.

Without a scheme in front it is the password itself. Names of schemes know no case. A suffix says
how the value is written, ``{SSHA256.HEX}`` or ``{PLAIN.B64}``; without one it is text, or base64
for the SHA family, where the hexadecimal form of an unsalted digest is known by its length.

What could be a name, up to 32 letters, digits, hyphens and dots in braces, is taken for one: who
stores a password in the clear that begins so writes ``{PLAIN}`` in front. It is better that one
user cannot log in than that the hash of an unknown scheme becomes a password. Braces around
anything else, ``{ }`` or ``{ä}``, belong to the password.

Each scheme checks the form of a value before it computes anything, with bounds on what it may
cost: rounds below ten million, bcrypt below 2^20, less than 1 GB for Argon2.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from abc import ABC, abstractmethod
from binascii import a2b_base64, a2b_hex, b2a_base64
from collections.abc import Callable
from importlib import import_module
from typing import Any, ClassVar, NamedTuple

from pymap.backend.api import SCHEME_PREFIX

__all__ = [
    "LONGEST", "SCHEMES", "SLOW", "Check", "Unusable", "hash", "octets", "parse", "take_apart",
]  # fmt: skip

LONGEST = 4096
"""Octets of a password; libpass takes no more."""


class Unusable(Exception):
    """A stored value that nobody can log in with. The text is for the operator's log: it tells
    the scheme, and nothing of the value."""


class Check(NamedTuple):
    """A stored value, taken apart.

    `matches` says whether this is the password, in a time that depends on the password given and
    on the cost, not on how much of it is right; it may raise Unusable. `cost` is in microseconds
    on a machine of 2024, rough, but the same for the same scheme and parameters; 0 is not worth
    a thread.
    """

    cost: int
    matches: Callable[[bytes], bool]


def octets(text: str) -> bytes:
    """A password, given or stored, as it is hashed. Never fails."""
    return text.encode("utf-8", "surrogatepass")


def parse(stored: str) -> Check:
    """Take a stored value apart, without computing anything. Raises Unusable."""
    scheme, value = take_apart(stored)
    try:
        return scheme.check(value)
    except ValueError:
        raise _malformed(stored) from None


def take_apart(stored: str) -> tuple[Scheme, bytes]:
    """The scheme of a stored value, and the octets behind its name. Raises Unusable."""
    prefix = SCHEME_PREFIX.match(stored)
    if prefix is None:
        return SCHEMES["PLAIN"], octets(stored)
    name, dot, suffix = prefix[1].upper().partition(".")
    scheme = SCHEMES.get(name)
    if scheme is None or (dot and suffix not in ("HEX", "B64", "BASE64")):
        # In lower case it may be the beginning of somebody's password.
        shown = f"{{{prefix[1]}}}" if prefix[1].isupper() or scheme else "what it begins with"
        raise Unusable(f"{shown} is not a password scheme that pymap knows")
    value = octets(stored[prefix.end() :])
    try:
        if suffix == "HEX" or (not suffix and scheme.size and len(value) == 2 * scheme.size):
            value = a2b_hex(value)
        elif suffix or scheme.base64:
            value = a2b_base64(value.strip(), strict_mode=True)
    except ValueError:
        raise _malformed(stored) from None
    return scheme, value


def _malformed(stored: str) -> Unusable:
    prefix = SCHEME_PREFIX.match(stored)
    name = "PLAIN" if prefix is None else prefix[1].upper().partition(".")[0]
    return Unusable(
        f"what stands behind {{{name}}} is malformed, or of a kind that pymap does not know"
    )


def hash(password: str, scheme: str | None = None) -> str:
    """A value to store, which `parse` and Dovecot read.

    Without a `scheme` it is ARGON2ID if its library is installed, SCRAM-SHA-256 if not. Blocks
    as long as a login takes, some 0.15 s with either. Raises ValueError for a scheme that is
    unknown or whose library is missing, and for a password that nobody could log in with: an
    empty one, one with NUL, one too long.
    """
    secret = octets(password)
    if not 0 < len(secret) <= LONGEST or 0 in secret:
        raise ValueError(f"a password has 1 to {LONGEST} octets, none of them NUL")
    if scheme is None:
        try:
            return hash(password, "ARGON2ID")
        except ValueError:
            scheme = "SCRAM-SHA-256"
    name = scheme.upper()
    if name not in SCHEMES:
        raise ValueError(f"unknown scheme; pymap knows {', '.join(SCHEMES)}")
    try:
        value = SCHEMES[name].make(secret)
    except Unusable as error:
        raise ValueError(str(error)) from error
    text = b2a_base64(value, newline=False) if SCHEMES[name].base64 else value
    return f"{{{name}}}{text.decode('utf-8', 'surrogatepass')}"


class Scheme(ABC):
    """One way to store a password."""

    base64: bool = False
    """Whether the value is octets, written in base64 unless a suffix says otherwise."""
    size: int = 0
    """How many, if that is known."""

    @abstractmethod
    def check(self, value: bytes) -> Check:
        """Raises ValueError for a malformed value."""

    @abstractmethod
    def make(self, secret: bytes) -> bytes:
        """A value for this password. Raises Unusable, or ValueError where it cannot be held."""


class _Plain(Scheme):
    def check(self, value: bytes) -> Check:
        return Check(0, lambda secret: hmac.compare_digest(value, secret))

    def make(self, secret: bytes) -> bytes:
        return secret


class _Digest(Scheme):
    """One round of a hash; what follows the digest is the salt.   RFC 2307 5.3"""

    base64 = True

    def __init__(self, algorithm: str, salted: bool = False) -> None:
        self.algorithm = algorithm
        self.salted = salted
        self.length = hashlib.new(algorithm).digest_size
        self.size = 0 if salted else self.length

    def check(self, value: bytes) -> Check:
        known, salt = value[: self.length], value[self.length :]
        if len(known) < self.length or bool(salt) is not self.salted:
            raise ValueError("length")
        return Check(0, lambda secret: hmac.compare_digest(known, self._digest(secret + salt)))

    def make(self, secret: bytes) -> bytes:
        salt = os.urandom(8) if self.salted else b""
        return self._digest(secret + salt) + salt

    def _digest(self, data: bytes) -> bytes:
        return hashlib.new(self.algorithm, data).digest()


class _Pbkdf2(Scheme):
    """``$1$salt$rounds$hex``, with HMAC-SHA-1.   RFC 8018 5.2

    A value of no rounds is all zeros for every password: Dovecot lets everybody in, we nobody.
    """

    form = re.compile(rb"\$1\$([^$]*)\$([1-9]\d{0,6})\$([0-9A-Fa-f]{40})")
    rounds = 600_000

    def check(self, value: bytes) -> Check:
        salt, rounds, digest = _groups(self.form, value)
        n, known = int(rounds), a2b_hex(digest)
        return Check(n // 4, lambda secret: hmac.compare_digest(known, _sha1(secret, salt, n)))

    def make(self, secret: bytes) -> bytes:
        salt = b2a_base64(os.urandom(12), newline=False)
        digest = _sha1(secret, salt, self.rounds).hex()
        return b"$1$%b$%d$%b" % (salt, self.rounds, digest.encode())


def _sha1(secret: bytes, salt: bytes, rounds: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha1", secret, salt, rounds)


class _Scram(Scheme):
    """``iterations,salt,StoredKey,ServerKey``.   RFC 5802 3, 5.1

    As Dovecot we take the password as it is, without SASLprep, and at least 4096 iterations.
    """

    form = re.compile(rb"([1-9]\d{3,6}),([^,]*),([^,]*),([^,]*)")
    iterations = 600_000

    def __init__(self, algorithm: str) -> None:
        self.algorithm = algorithm
        self.length = hashlib.new(algorithm).digest_size

    def check(self, value: bytes) -> Check:
        iterations, *encoded = _groups(self.form, value)
        salt, stored, server = (a2b_base64(field, strict_mode=True) for field in encoded)
        n = int(iterations)
        if n < 4096 or len(stored) != self.length or len(server) != self.length:
            raise ValueError("iterations or length")
        return Check(
            n // 4, lambda secret: hmac.compare_digest(stored, self._keys(secret, salt, n)[0])
        )

    def make(self, secret: bytes) -> bytes:
        salt = os.urandom(16)
        fields = (salt, *self._keys(secret, salt, self.iterations))
        encoded = b",".join(b2a_base64(field, newline=False) for field in fields)
        return b"%d,%b" % (self.iterations, encoded)

    def _keys(self, secret: bytes, salt: bytes, iterations: int) -> tuple[bytes, bytes]:
        """StoredKey, ServerKey."""
        salted = hashlib.pbkdf2_hmac(self.algorithm, secret, salt, iterations)
        client_key = hmac.digest(salted, b"Client Key", self.algorithm)
        stored = hashlib.new(self.algorithm, client_key).digest()
        return stored, hmac.digest(salted, b"Server Key", self.algorithm)


class _Argon2(Scheme):
    """``$argon2id$v=19$m=KiB,t=passes,p=lanes$salt$digest``.   RFC 9106

    What is made has the parameters that Dovecot's has: 64 MiB, three passes, one lane.
    """

    form = re.compile(
        rb"\$argon2(id?)\$v=19\$m=([1-9]\d{0,5}),t=([1-9]\d{0,2}),p=[1-9]\d?"
        rb"\$[A-Za-z0-9+/]{11,}\$[A-Za-z0-9+/]{16,}"
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.variant = name.removeprefix("ARGON2")

    def check(self, value: bytes) -> Check:
        variant, memory, passes = _groups(self.form, value)

        def matches(secret: bytes) -> bool:
            argon2 = _library("argon2", "argon2-cffi", self.name)
            kind = argon2.low_level.Type[variant.decode().upper()]
            try:
                return bool(argon2.low_level.verify_secret(value, secret, kind))
            except argon2.exceptions.VerifyMismatchError:
                return False

        return Check(int(memory) * int(passes) * 3 // 4, _guarded(self.name, matches))

    def make(self, secret: bytes) -> bytes:
        low_level = _library("argon2", "argon2-cffi", self.name).low_level
        kind = low_level.Type[self.variant]
        made: bytes = low_level.hash_secret(secret, os.urandom(16), 3, 65536, 1, 32, kind)
        return made


class _Crypt(Scheme):
    """The values of crypt(3), which tell themselves what they are. Dovecot hands all of them to
    crypt(3), whichever of these schemes stands in front, so we look at the value as well."""

    bcrypt = re.compile(rb"\$2[aby]\$(0[4-9]|1\d)\$[./A-Za-z0-9]{53}")
    others = re.compile(
        rb"\$([56])\$(?:rounds=([1-9]\d{3,6})\$)?[./A-Za-z0-9]{0,16}\$"
        rb"(?:[./A-Za-z0-9]{43}|[./A-Za-z0-9]{86})"
        rb"|\$(1)\$[./A-Za-z0-9]{0,8}\$[./A-Za-z0-9]{22}"
    )
    libpass: ClassVar[dict[str, str]] = {"1": "md5_crypt", "5": "sha256_crypt", "6": "sha512_crypt"}

    def __init__(self, name: str, makes: str) -> None:
        self.name = name
        self.makes = makes

    def check(self, value: bytes) -> Check:
        if found := self.bcrypt.fullmatch(value):
            return Check(57 << int(found[1]), _guarded(self.name, self._bcrypt(value)))
        kind, rounds, md5 = _groups(self.others, value)
        hasher = self.libpass[(kind or md5).decode()]

        def matches(secret: bytes) -> bool:
            known = getattr(_library("passlib.hash", "libpass", self.name), hasher)
            return bool(known.verify(secret, value.decode()))

        return Check(int(rounds or (5000 if kind else 1000)) // 2, _guarded(self.name, matches))

    def _bcrypt(self, value: bytes) -> Callable[[bytes], bool]:
        def matches(secret: bytes) -> bool:
            # bcrypt has never looked further; the library leaves it to us to say so.
            return bool(_library("bcrypt", "bcrypt", self.name).checkpw(secret[:72], value))

        return matches

    def make(self, secret: bytes) -> bytes:
        if self.makes == "2":
            if len(secret) > 72:
                raise ValueError(f"{{{self.name}}} looks at no more than 72 octets")
            bcrypt = _library("bcrypt", "bcrypt", self.name)
            made: bytes = bcrypt.hashpw(secret, bcrypt.gensalt(11))
            return made
        hasher = getattr(_library("passlib.hash", "libpass", self.name), self.libpass[self.makes])
        if self.makes != "1":  # whose rounds cannot be chosen
            hasher = hasher.using(rounds=200_000)
        text: str = hasher.hash(secret)
        return text.encode()


def _groups(form: re.Pattern[bytes], value: bytes) -> tuple[bytes, ...]:
    """Raises ValueError. What a form leaves out is None, as in `re.Match.groups`."""
    found = form.fullmatch(value)
    if found is None:
        raise ValueError("form")
    return found.groups()


def _library(module: str, package: str, scheme: str) -> Any:
    """An optional library, imported when its first password comes. Untyped, so that the checks of
    a checkout pass without it; libpass has no types to offer anyway."""
    try:
        return import_module(module)
    except ImportError:
        raise Unusable(
            f"{{{scheme}}} needs {package}, which is not installed: pip install 'pymap[passwords]'"
        ) from None


def _guarded(scheme: str, matches: Callable[[bytes], bool]) -> Callable[[bytes], bool]:
    """What a library raises ends here: a value with a form that is right may still be refused,
    or memory be short."""

    def guarded(secret: bytes) -> bool:
        try:
            return matches(secret)
        except Unusable:
            raise
        except Exception as error:
            raise Unusable(
                f"the library for {{{scheme}}} refuses its value: {type(error).__name__}"
            ) from None

    return guarded


SCHEMES: dict[str, Scheme] = {
    "PLAIN": _Plain(),
    "CLEARTEXT": _Plain(),
    "CLEAR": _Plain(),
    "SHA": _Digest("sha1"),
    "SHA1": _Digest("sha1"),
    "SHA256": _Digest("sha256"),
    "SHA512": _Digest("sha512"),
    "SSHA": _Digest("sha1", salted=True),
    "SSHA256": _Digest("sha256", salted=True),
    "SSHA512": _Digest("sha512", salted=True),
    "PBKDF2": _Pbkdf2(),
    "SCRAM-SHA-1": _Scram("sha1"),
    "SCRAM-SHA-256": _Scram("sha256"),
    "ARGON2I": _Argon2("ARGON2I"),
    "ARGON2ID": _Argon2("ARGON2ID"),
    "BLF-CRYPT": _Crypt("BLF-CRYPT", makes="2"),
    "SHA256-CRYPT": _Crypt("SHA256-CRYPT", makes="5"),
    "SHA512-CRYPT": _Crypt("SHA512-CRYPT", makes="6"),
    "MD5-CRYPT": _Crypt("MD5-CRYPT", makes="1"),
    "CRYPT": _Crypt("CRYPT", makes="2"),  # as Dovecot's is
}

SLOW = frozenset(
    name for name, scheme in SCHEMES.items() if not isinstance(scheme, _Plain | _Digest)
)
"""Those that are worth a thread."""
