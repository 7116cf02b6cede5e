"""Public keys that tokens are signed with: a JSON Web Key Set.   RFC 7517

Rule 1: a key does what its kind and its "alg" say, and a token has no say in it: signatures only,
        with a public key. There is no "none" and no HS256, whatever the set holds.   RFC 8725 3.1
Rule 2: what is not understood in a set is passed over; a set without any key that could check a
        signature is wrong.   RFC 7517 5
"""

from __future__ import annotations

import asyncio
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pymap.auth.sources import FileSource, ServerSource, TokenUnavailable, json_object

if TYPE_CHECKING:
    from jwt import PyJWK

__all__ = ["ALGORITHMS", "Key", "KeyFile", "KeyServer", "KeySet", "parse_key_set", "pyjwt"]

OLD_S = 60 * 60  # a set from a URL is fetched again,
AGAIN_S = 60  # but not sooner, also for a key that it does not have,
MISSING_S = 5  # unless there is none at all
KEYS = 100  # in one set
TRIED = 10  # for one token

_ALGORITHMS = {
    ("RSA", None): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
ALGORITHMS = tuple(name for names in _ALGORITHMS.values() for name in names)
"""By kind and curve of a key.   RFC 7518 3.1, RFC 8037 3.1"""
_PUBLIC = ("kty", "crv", "n", "e", "x", "y")


class Key(NamedTuple):
    kid: str | None
    algorithm: str
    key: PyJWK


class KeySet(ABC):
    """Keys that may come and go."""

    keys: Sequence[Key] = ()

    async def find(self, kid: str | None, algorithm: str) -> Sequence[Key]:
        """Those that a token may have been signed with: the one of that name, any if there is no
        name. Raises TokenUnavailable."""
        await self.refresh()
        found = self._fitting(kid, algorithm)
        if not found and await self.look_again():
            found = self._fitting(kid, algorithm)
        return found

    def _fitting(self, kid: str | None, algorithm: str) -> Sequence[Key]:
        fitting = [
            key for key in self.keys if key.algorithm == algorithm and kid in (None, key.kid)
        ]
        return fitting[:TRIED]

    @abstractmethod
    async def refresh(self) -> None:
        """Bring `keys` up to date. Raises TokenUnavailable if there are none."""

    async def look_again(self) -> bool:
        """Whether there may be other keys now, as one is missing."""
        return False

    @abstractmethod
    async def reload(self) -> None:
        """Raises OSError and ValueError; the keys are then those that they were."""


class KeyFile(KeySet):
    def __init__(self, path: Path) -> None:
        """Raises OSError and ValueError."""
        self._file = FileSource(path, parse_key_set)

    async def refresh(self) -> None:
        self.keys = await asyncio.to_thread(self._file.current)

    async def reload(self) -> None:
        self.keys = await asyncio.to_thread(self._file.read)


class KeyServer(KeySet):
    """Fetched for the first token, for a key that is not known, and every hour: the server need not
    be there when pymap starts, and whoever begins to sign with a new key is known in a minute."""

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises ValueError."""
        self._server = ServerSource(url)
        self._clock = clock
        self._tried = self._fetched = -math.inf
        self._fetching: asyncio.Task[None] | None = None

    async def refresh(self) -> None:
        now = self._clock()
        if not self.keys:
            if now - self._tried < MISSING_S and self._fetching is None:
                raise TokenUnavailable(f"{self._server.host}: there are no keys yet")
            await self._fetch()
        elif now - self._fetched >= OLD_S and now - self._tried >= AGAIN_S:
            self._begin()  # nobody need wait for it

    async def look_again(self) -> bool:
        if self._clock() - self._tried < AGAIN_S and self._fetching is None:
            return False
        try:
            await self._fetch()
        except TokenUnavailable:
            return False
        return True

    async def reload(self) -> None:
        try:
            await self._fetch()
        except TokenUnavailable as error:
            raise ValueError(str(error)) from error

    async def _fetch(self) -> None:
        await asyncio.shield(self._begin())

    def _begin(self) -> asyncio.Task[None]:
        """One at a time, whoever waits for it."""
        if self._fetching is None:
            self._tried = self._clock()
            self._fetching = asyncio.get_running_loop().create_task(self._ask())
            self._fetching.add_done_callback(self._ended)
        return self._fetching

    async def _ask(self) -> None:
        headers = {"Accept": "application/jwk-set+json, application/json"}
        self.keys = await self._server.ask(None, headers, parse_key_set)
        self._fetched = self._clock()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._fetching = None
        if not task.cancelled():
            task.exception()  # whoever waited has it


def pyjwt() -> Any:
    """The library, imported when it is first needed. Untyped, so that the checks of a checkout
    pass without it. Raises ValueError."""
    try:
        import cryptography  # noqa: F401  PyJWT does without, but for what we need
        import jwt
    except ImportError:
        raise ValueError(
            "a key set needs PyJWT, which is not installed: pip install 'pymap[oauth]'"
        ) from None
    return jwt


def parse_key_set(octets: bytes) -> list[Key]:
    """Raises ValueError."""
    found = json_object(octets).get("keys")
    if not isinstance(found, list):
        raise ValueError("not a JSON Web Key Set")
    keys = [key for one in found[:KEYS] if isinstance(one, dict) for key in _keys_of(one)]
    if not keys:
        raise ValueError("no key that could check a signature")
    return keys


def _keys_of(one: dict[str, Any]) -> list[Key]:
    """One for each algorithm that the key may be used with.   RFC 7517 4"""
    kind, curve, kid = one.get("kty"), one.get("crv"), one.get("kid")
    operations = one.get("key_ops", ["verify"])
    if not isinstance(kind, str) or not isinstance(kid, str | None):
        return []
    if not isinstance(curve, str | None) or not isinstance(operations, list):
        return []
    if one.get("use", "sig") != "sig" or "verify" not in operations:
        return []
    names = _ALGORITHMS.get((kind, None if kind == "RSA" else curve), ())
    public = {name: one[name] for name in _PUBLIC if name in one}
    made = [(name, _key(public, name)) for name in names if one.get("alg", name) == name]
    return [Key(kid, name, key) for name, key in made if key is not None]


def _key(public: dict[str, Any], algorithm: str) -> PyJWK | None:
    jwt = pyjwt()
    try:
        key: PyJWK = jwt.PyJWK(public, algorithm)
        size = getattr(key.key, "key_size", 0)
    except jwt.PyJWTError:
        return None
    weak = public["kty"] == "RSA" and size < 2048  # RFC 7518 3.3
    return None if weak else key
