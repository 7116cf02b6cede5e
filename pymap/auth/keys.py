"""What SCRAM and CRAM-MD5 need of a user, who never shows the password.

A user serves either of them with a password in the clear, and SCRAM with a stored value of the same
hash. Whoever does not, or does not exist, is led through the same exchange and fails at its end:

Rule 1: the salt of a name that nobody has is made from it under a key of this process, and so is
        that of a password in the clear; the number of iterations is one of those that users have.
        So names look the same as long as the process lives. After a restart, or at another server
        of the same users, they do so only if no user has a stored value: the salts of these stay.
Rule 2: a wrong proof costs the same work, whoever it is for: one derivation. A right one may cost
        less: who gives it knows that the user exists.
Rule 3: keys are derived in a thread of their own, one for all: a flood of logins takes neither the
        event loop nor the threads that check passwords.
Rule 4: keys that were right are remembered, the last 4096 of them, under a digest of the password
        they are of; a changed password is not found.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from binascii import a2b_base64
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from pymap.auth.preparation import prepare_or_keep
from pymap.auth.schemes import LONGEST, Unusable, octets, parse, take_apart
from pymap.auth.scram import Conversation, Keys, derive
from pymap.backend.api import User

__all__ = ["CLEAR", "SCRAM", "KeyRing", "Shown", "clear_password"]

log = logging.getLogger("pymap.passwords")

SCRAM = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-1": "sha1"}
"""The schemes whose values are keys, and their hashes."""

CLEAR = frozenset({"PLAIN", "CLEARTEXT", "CLEAR"})
"""The schemes of a password that is stored as it is."""

ITERATIONS = 10_000
"""For a password in the clear, some 4 ms. More would help only who listens without TLS: whoever
reads the store has the password anyway.   RFC 7677 4"""
SALT = 16
REMEMBERED = 4096  # of some 300 octets each
SHAPES = 8


def clear_password(user: User) -> str | None:
    """The password of a user for whom it is stored as it is, if anybody may log in with it."""
    if user.scheme not in CLEAR:
        return None
    try:
        _, password = take_apart(user.password)
        text = password.decode("utf-8", "surrogatepass")
    except (Unusable, ValueError):
        return None
    return text if 0 < len(password) <= LONGEST and 0 not in password else None


class Shown(NamedTuple):
    """What the client is shown of a user, `salt` and `iterations`, and what is to come of it:
    `keys` if they are known, or the `password` to derive them from, or neither for nobody."""

    salt: bytes
    iterations: int
    keys: Keys | None = None
    password: str | None = None

    @property
    def is_decoy(self) -> bool:
        return self.keys is None and self.password is None


class KeyRing:
    """What a process remembers from one exchange to the next. `algorithm` is a name of hashlib."""

    def __init__(self) -> None:
        self._key = os.urandom(32)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scram")
        self._right: dict[bytes, Keys] = {}
        self._shapes: dict[str, list[tuple[int, int]]] = {}  # iterations, length of the salt

    def show(
        self, algorithm: str, user: User | None, name: str, schemes: frozenset[str] | None
    ) -> Shown:
        """`schemes` are those of the store: until a user has come, they tell what users have."""
        shown = None if user is None else _stored(algorithm, user)
        if shown is None and user is not None:
            password = clear_password(user)
            if password is not None:
                salt = self._salt(algorithm, user.name, SALT)
                shown = Shown(salt, ITERATIONS, password=password)
        if shown is None:
            return self._decoy(algorithm, name, schemes or frozenset())
        shapes, shape = self._shapes.setdefault(algorithm, []), (shown.iterations, len(shown.salt))
        if shape not in shapes and len(shapes) < SHAPES:
            shapes.append(shape)
        return shown

    async def answer(
        self, algorithm: str, shown: Shown, conversation: Conversation
    ) -> bytes | None:
        """What to send to a client that has given its proof, None if it is wrong."""
        remembered = self._digest(algorithm, shown)
        known = shown.keys or self._right.get(remembered)
        if known is not None and (answer := conversation.answer(known)) is not None:
            return answer
        derived = await asyncio.get_running_loop().run_in_executor(
            self._thread, _derive, algorithm, shown
        )
        answer = conversation.answer(derived)
        if answer is None or shown.password is None:
            return None
        self._right[remembered] = derived
        if len(self._right) > REMEMBERED:
            del self._right[next(iter(self._right))]
        return answer

    def _decoy(self, algorithm: str, name: str, schemes: frozenset[str]) -> Shown:
        # 600,000 is what `schemes.hash` takes; 4096 is what `doveadm pw` does.
        usual = (ITERATIONS if CLEAR & schemes else 600_000, SALT)
        # Of several, each name has its own for as long as there are no more of them.
        iterations, length = max(
            self._shapes.get(algorithm) or [usual],
            key=lambda shape: self._salt(f"{algorithm} {shape}", name, 8),
        )
        return Shown(self._salt(algorithm, name, length), iterations)

    def _salt(self, purpose: str, name: str, length: int) -> bytes:
        text = self._key + octets(f"{purpose} {name}")
        return hashlib.shake_256(text).digest(length)  # keyed, as nothing can follow the text

    def _digest(self, algorithm: str, shown: Shown) -> bytes:
        text = b"%b %b %b" % (algorithm.encode(), shown.salt, octets(shown.password or ""))
        return hashlib.blake2b(text, key=self._key, digest_size=32).digest()


def _derive(algorithm: str, shown: Shown) -> Keys:
    """The client has prepared the password. One that cannot be prepared, no client can have
    prepared.   RFC 5802 2.2"""
    password = octets(prepare_or_keep(shown.password or "?"))
    return derive(algorithm, password, shown.salt, ITERATIONS)


def _stored(algorithm: str, user: User) -> Shown | None:
    """``{SCRAM-...}iterations,salt,StoredKey,ServerKey``, if it is of this hash."""
    if SCRAM.get(user.scheme) != algorithm:
        return None
    try:
        parse(user.password)
    except Unusable as error:
        log.error("user %r cannot log in: %s", user.name, error)
        return None
    iterations, *encoded = take_apart(user.password)[1].split(b",")
    salt, stored, server = (a2b_base64(field, strict_mode=True) for field in encoded)
    return Shown(salt, int(iterations), Keys(stored, server))
