"""Is this the user's password?

Rule 1: how long a refusal takes does not tell whether the user exists. What holds exactly:
        * Whoever is refused, whether unknown, known with a wrong password, or known with a stored
          value that cannot be used, costs at least the work of the costliest scheme lately seen:
          the same computation, on the value of the user who has it.
        * Where all users have the same scheme and parameters, that is all. Where schemes are
          mixed, a user of a cheaper one is refused after that work and the one of the own scheme.
        * "Lately seen" is tried by an existing user within the last hour. Until then it is the
          costliest scheme that the store says its users have; where it does not know, and where
          there are only cheap schemes, a refusal costs nothing.
        * A right password may be answered sooner: who gives it knows that the user exists.
        * Not covered is how long the store takes to look the user up.
Rule 2: nor does it tell how much of the password is right: comparison is in constant time.
Rule 3: an empty password is always wrong, and so is one with NUL or of more than 4096 octets.
Rule 4: slow hashes run in threads of their own, no more than there are cores: a flood of logins
        takes neither the event loop nor the threads that serve files.
Rule 5: a password that was right is right for a minute without computing it again, as clients open
        several connections at once and come back often. What is remembered is a digest, under a
        key of this process, of the stored value and the password; a changed value is not found.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from pymap.auth.schemes import LONGEST, SLOW, Check, Unusable, hash, octets, parse
from pymap.backend.api import User

__all__ = ["Passwords", "hash", "verify"]

log = logging.getLogger("pymap.passwords")

REMEMBERED_S = 60
REMEMBERED = 4096  # passwords, of some 150 octets each
LATELY_S = 60 * 60
THREADS = min(4, os.cpu_count() or 1)  # Argon2 takes 64 MiB in each

_NOBODY = Check(0, lambda secret: False)


async def verify(user: User | None, password: str) -> bool:
    """Whether this is the user's password; None, no such user, is always wrong.

    Never raises: a stored value that cannot be used is one line in the log.
    """
    return await _passwords.verify(user, password)


class Passwords:
    """What a process remembers from one login to the next."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="passwords")
        self._lock = threading.Lock()  # over all below
        self._key = os.urandom(32)
        self._right: dict[bytes, float] = {}  # digest -> until when, which ascends
        self._costliest = _NOBODY
        self._seen = 0.0
        self.schemes: frozenset[str] = frozenset()
        """Those of the users, as far as that is known."""

    async def verify(self, user: User | None, password: str) -> bool:
        secret = octets(password)
        if not 0 < len(secret) <= LONGEST or 0 in secret:
            user, secret = None, b"?"
        check = _NOBODY if user is None else _parse(user)
        if user is None or check.cost == 0:
            if check.matches(secret):
                return True
            idle = self._decoy().cost == 0 and self.schemes.isdisjoint(SLOW)
            return not idle and await self._in_thread(lambda: self._waste(secret))
        known, digest = user, self._digest(user, secret)
        return self._remembers(digest) or await self._in_thread(
            lambda: self._compute(known, check, secret, digest)
        )

    async def _in_thread(self, call: Callable[[], bool]) -> bool:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    # -- in a thread --

    def _compute(self, user: User, check: Check, secret: bytes, digest: bytes) -> bool:
        # Several connections of one client come at once: the later ones find it computed.
        if self._remembers(digest):
            return True
        spent = 0
        try:
            right = check.matches(secret)
            spent = check.cost
            self._see(check)
        except Unusable as error:
            _complain(user, error)
            right = False
        if right:
            self._remember(digest)
        elif spent < self._decoy().cost:
            return self._waste(secret)
        return right

    def _waste(self, secret: bytes) -> bool:
        """The work of somebody else's login; False."""
        if self._decoy().cost == 0:
            self._expect()
        try:
            self._decoy().matches(secret)
        except Unusable:  # it was not a moment ago
            with self._lock:
                self._costliest = _NOBODY
        return False

    def _expect(self) -> None:
        """Nobody has come yet: make a value as users have."""
        for scheme in self.schemes.intersection(SLOW):
            with suppress(ValueError):  # its library is missing: nobody logs in with it
                self._see(parse(hash("decoy", scheme)))

    # -- what is remembered --

    def _decoy(self) -> Check:
        with self._lock:
            if self._clock() - self._seen > LATELY_S:
                self._costliest = _NOBODY
            return self._costliest

    def _see(self, check: Check) -> None:
        with self._lock:
            now = self._clock()
            if check.cost >= self._costliest.cost or now - self._seen > LATELY_S:
                self._costliest, self._seen = check, now

    def _digest(self, user: User, secret: bytes) -> bytes:
        stored = octets(user.password)
        text = b"%d:%b%b" % (len(stored), stored, secret)
        return hashlib.blake2b(text, key=self._key, digest_size=32).digest()

    def _remembers(self, digest: bytes) -> bool:
        with self._lock:
            self._forget()
            return digest in self._right

    def _remember(self, digest: bytes) -> None:
        with self._lock:
            self._forget()
            self._right.pop(digest, None)
            self._right[digest] = self._clock() + REMEMBERED_S
            if len(self._right) > REMEMBERED:
                del self._right[next(iter(self._right))]

    def _forget(self) -> None:
        now = self._clock()
        while self._right:
            oldest = next(iter(self._right))
            if self._right[oldest] > now:
                break
            del self._right[oldest]


def _parse(user: User) -> Check:
    try:
        return parse(user.password)
    except Unusable as error:
        _complain(user, error)
        return _NOBODY


def _complain(user: User, error: Unusable) -> None:
    """One line for each login that fails by it."""
    log.error("user %r cannot log in: %s", user.name, error)


_passwords = Passwords()
