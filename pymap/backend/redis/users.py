"""Who may log in: passwords as keys of Redis, plain or hashed.

Rule 1: a name is never taken for a pattern, and never leads to a key of pymap's own, which are
        told by their prefix: what lies there is no password.
Rule 2: what is not a password where one was looked for (another type, JSON without one) is no
        user. The log says so, without the value.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from pymap.backend.api import User, UserStore
from pymap.backend.errors import CannotDo, Unavailable

if TYPE_CHECKING:
    from pymap.backend.redis.store import RedisStore

__all__ = ["RedisUsers", "UsersAt"]

log = logging.getLogger("pymap.redis")


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

    async def _read(self, name: str) -> str | None:
        place = self._place(name)
        if place is None:
            return None
        try:
            found: bytes | None = await self._store().call(
                "GET" if len(place) == 1 else "HGET", *place
            )
        except WrongType:
            found = None
        try:
            return None if found is None else found.decode()
        except UnicodeDecodeError:
            log.error("the password of a user is not UTF-8")
            return None

    async def get(self, name: str) -> User | None:
        found = await self._read(name)
        if found and self.at.json:
            password = _object(found).get("password")
            found = password if isinstance(password, str) else None
        return User(name, found) if found else None

    async def put(self, user: User) -> None:
        place = self._place(user.name)
        if place is None:
            raise CannotDo("This name cannot be that of a user")
        value = user.password
        if self.at.json:
            fields = _object(await self._read(user.name) or "{}")
            value = json.dumps({**fields, "password": value}, ensure_ascii=False)
        await self._store().call("SET" if len(place) == 1 else "HSET", *place, value)

    async def delete(self, name: str) -> None:
        """The mail stays."""
        place = self._place(name)
        if place is not None:
            await self._store().call("DEL" if len(place) == 1 else "HDEL", *place)


class WrongType(Unavailable):
    """A key holds something else than was looked for."""


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        log.error("a user is not a JSON object")
        return {}
    return found
