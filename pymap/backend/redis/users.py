"""Who may log in: passwords as keys of Redis, plain or hashed.

Rule 1: a name is never taken for a pattern, and never leads to a key of pymap's own, which are
        told by their prefix: what lies there is no password.
Rule 2: what is not a password where one was looked for (another type, JSON without one) is no
        user. The log says so, without the value.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from pymap.backend.api import User, UserStore
from pymap.backend.errors import CannotDo, Unavailable

if TYPE_CHECKING:
    from pymap.backend.redis.store import RedisStore

__all__ = ["RedisUsers", "UsersAt"]

log = logging.getLogger("pymap.redis")

AT_ONCE = 200  # names; what Redis looks at in one go while others wait


class UsersAt(NamedTuple):
    """Where passwords are: the field `{name}` of the hash `hash`, or the key `key`."""

    hash: str | None = None
    key: str = "{name}"
    json: bool = False
    """Whether they are JSON objects with a field "password", or strings."""


class RedisUsers(UserStore):
    def __init__(self, at: UsersAt, prefix: str, store: Callable[[], RedisStore]) -> None:
        if "{name}" not in at.key:
            raise ValueError("the key of a user must hold {name}")
        if at.hash is not None and at.hash.startswith(prefix):
            raise ValueError("the hash of users has the prefix of mail")
        self.at = at
        self._prefix = prefix
        self._store = store

    def _place(self, name: str) -> tuple[str, ...] | None:
        """The arguments that name it to HGET or GET; None for what can be no user."""
        if not name or "\0" in name:
            return None
        if self.at.hash is not None:
            return self.at.hash, name
        key = self.at.key.replace("{name}", name)
        return None if key.startswith(self._prefix) else (key,)

    async def _read(self, name: str) -> bytes | None:
        place = self._place(name)
        if place is None:
            return None
        try:
            found: bytes | None = await self._store().call(
                "GET" if len(place) == 1 else "HGET", *place
            )
        except WrongType:
            return None
        return found

    async def get(self, name: str) -> User | None:
        value = await self._read(name)
        try:
            return None if value is None else self._user(name, value)
        except ValueError as error:
            log.error("%s", error)
            return None

    def _user(self, name: str, value: bytes) -> User | None:
        """None for an empty value. Raises ValueError."""
        if not self.at.json:
            text = _text(value)
            return User(name, text) if text else None
        fields = _object(value)
        password, roles = fields.get("password"), fields.get("roles", [])
        if not isinstance(password, str):
            raise ValueError("a user has no password that is a string")
        if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
            log.error("the roles of a user are not a list of strings, and do not count")
            roles = []
        return User(name, password, frozenset(roles)) if password else None

    async def put(self, user: User) -> None:
        """What JSON holds besides stays. Raises CannotDo for roles that are not in JSON."""
        place = self._place(user.name)
        if place is None:
            raise CannotDo("This name cannot be that of a user")
        value = user.password
        if self.at.json:
            fields = {**await self._fields(user.name), "password": value}
            fields.pop("roles", None)
            if user.roles:
                fields["roles"] = sorted(user.roles)
            value = json.dumps(fields, ensure_ascii=False)
        elif user.roles:
            raise CannotDo("Roles are kept only where users are JSON")
        await self._store().call("SET" if len(place) == 1 else "HSET", *place, value)

    async def _fields(self, name: str) -> dict[str, Any]:
        try:
            return _object(await self._read(name) or b"{}")
        except ValueError as error:
            log.error("%s; it is replaced", error)
            return {}

    async def delete(self, name: str) -> None:
        """The mail stays."""
        place = self._place(name)
        if place is not None:
            await self._store().call("DEL" if len(place) == 1 else "HDEL", *place)

    # -- all of them --

    async def names(self) -> AsyncIterator[str]:
        """Of a hash quickly; of keys, the whole database is gone through. Raises CannotDo for keys
        in a cluster, where each node knows only its own."""
        seen: set[str] = set()  # while the table is resized, Redis tells some of them twice
        pages = self._hash_pages(self.at.hash) if self.at.hash is not None else self._key_pages()
        async for page in pages:
            for name, value in page.items():
                user = None
                with suppress(ValueError):
                    user = self._user(name, value)
                if user is not None and name not in seen:
                    seen.add(name)
                    yield name

    async def _hash_pages(self, key: str) -> AsyncIterator[dict[str, bytes]]:
        cursor = b"0"
        while True:
            try:
                cursor, found = await self._store().call("HSCAN", key, cursor, "COUNT", AT_ONCE)
            except WrongType:
                return
            yield self._named(dict(zip(found[::2], found[1::2], strict=True)))
            if cursor == b"0":
                return

    async def _key_pages(self) -> AsyncIterator[dict[str, bytes]]:
        from pymap.backend.redis.cluster import ClusterLane

        store = self._store()
        if isinstance(store.quick, ClusterLane):
            raise CannotDo("Users that are keys of a cluster cannot be listed; a hash can be")
        pattern = "*".join(map(_literally, self.at.key.split("{name}")))
        cursor = b"0"
        while True:
            cursor, keys = await store.call("SCAN", cursor, "MATCH", pattern, "COUNT", AT_ONCE)
            keys = [key for key in keys if not key.startswith(self._prefix.encode())]
            if keys:  # of what is no string, MGET says that there is nothing
                values = await store.call("MGET", *keys)
                pairs = zip(keys, values, strict=True)
                yield self._named({key: value for key, value in pairs if value is not None})
            if cursor == b"0":
                return

    def _named(self, found: dict[bytes, bytes]) -> dict[str, bytes]:
        """Values by name of user instead of by field or key; what can be no user is left out."""
        named: dict[str, bytes] = {}
        for raw, value in found.items():
            with suppress(ValueError):
                text = _text(raw)
                name = text if self.at.hash is not None else self._name_in(text)
                place = self._place(name)
                if place is not None and place[-1] == text:
                    named[name] = value
        return named

    def _name_in(self, key: str) -> str:
        """The name of which this may be the key; `_place` tells whether it is."""
        before, *others = self.at.key.split("{name}")
        length = (len(key) - len(before) - sum(map(len, others))) // len(others)
        return key[len(before) :][: max(length, 0)]


class WrongType(Unavailable):
    """A key holds something else than was looked for."""


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise ValueError("the password of a user is not UTF-8") from None


def _object(value: bytes) -> dict[str, Any]:
    """Raises ValueError, which tells nothing of what was found."""
    try:
        found = json.loads(_text(value))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError("a user is not a JSON object")
    return found


def _literally(text: str) -> str:
    """A pattern that only this text matches."""
    return re.sub(r"([*?\[\]\\^-])", r"\\\1", text)
