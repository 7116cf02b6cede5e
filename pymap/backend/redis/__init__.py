"""Mail in Redis, Valkey or a cluster of them: many pymap processes over one store."""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from secrets import token_hex
from typing import TYPE_CHECKING, Self

from pymap.backend.api import Account, Backend, Properties
from pymap.backend.errors import BackendError, Unavailable
from pymap.backend.redis.users import RedisUsers, UsersAt
from pymap.limits import Limits

if TYPE_CHECKING:
    from pymap.backend.redis.store import RedisStore

__all__ = ["RedisBackend", "UsersAt"]

# The library takes half a second to import, so that waits for `start`; whether it is there must
# be known now (`plugin`).
for _needed in ("redis", "hiredis"):
    if find_spec(_needed) is None:
        raise ModuleNotFoundError(f"No module named {_needed!r}", name=_needed)

LAYOUT = 1
"""Of all keys; docs/redis.md says what they are."""
TIMEOUT_S = 10.0
LAST_SWEEP_S = 2.0


class RedisBackend(Backend):
    """Mail in Redis: many servers over one store.

    `url` says where Redis is, `prefix` what all keys begin with, `users_at` where passwords are.
    `timeout_s` is how long an answer may take.
    """

    eager = True

    users: RedisUsers

    def __init__(
        self,
        url: str = "redis://localhost",
        *,
        database: int | None = None,
        prefix: str = "pymap:",
        users_at: UsersAt | None = None,
        timeout_s: float = TIMEOUT_S,
        limits: Limits | None = None,
    ) -> None:
        if not prefix or set("{}") & set(prefix):
            raise ValueError("the prefix must not be empty or hold braces")
        self.url = url
        self.database = database
        self.prefix = prefix
        self.timeout_s = timeout_s
        self.limits = limits or Limits()
        self.users = RedisUsers(users_at or UsersAt(), prefix, self._running)
        self._store: RedisStore | None = None
        self._sweeping: asyncio.Task[None] | None = None

    def _running(self) -> RedisStore:
        assert self._store is not None, "start() comes first"
        return self._store

    async def start(self) -> None:
        from pymap.backend.redis.connect import server_of
        from pymap.backend.redis.store import RedisStore
        from pymap.backend.redis.sweep import sweep_forever

        server = server_of(self.url, self.database, self.timeout_s)
        self._store = store = RedisStore(server, self.prefix, self.limits)
        try:
            await self._check_layout(store)
        except BaseException:
            await self.stop()
            raise
        self._sweeping = asyncio.get_running_loop().create_task(sweep_forever(store))

    async def _check_layout(self, store: RedisStore) -> None:
        key = self.prefix + "layout"
        found = await store.call("HGET", key, "version")
        if found is None:  # only then: a full store takes no writes, but can be served
            await store.call("HSETNX", key, "version", LAYOUT)
            found = await store.call("HGET", key, "version")
        if found != str(LAYOUT).encode():
            raise ValueError(
                f"the keys in Redis have layout {found.decode()}, this pymap has {LAYOUT}"
            )

    async def stop(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.wait((self._sweeping,))
            self._sweeping = None
        store, self._store = self._store, None
        if store is not None:
            from pymap.backend.redis.sweep import sweep_dirty

            with suppress(BackendError, TimeoutError):
                async with asyncio.timeout(LAST_SWEEP_S):
                    await sweep_dirty(store)
            await store.close()

    async def ping(self) -> None:
        # Not PING: a cluster has to find the node of a key, and that one may be without a master.
        try:
            await self._running().call("HGET", self.prefix + "layout", "version")
        except Unavailable:
            raise
        except BackendError as error:
            raise Unavailable(str(error)) from error

    @asynccontextmanager
    async def account(self, user: str) -> AsyncIterator[Account]:
        from pymap.backend.redis.account import RedisAccount, new_id

        store = self._running()
        users = self.prefix + "users"
        user_id = await store.call("HGET", users, user)
        if user_id is None:
            await store.call("HSETNX", users, user, token_hex(8))
            user_id = await store.call("HGET", users, user)
        base = store.base(user_id.decode())
        await store.run("enter", base, new_id())
        yield RedisAccount(store, base)

    def properties(self, scope: str) -> Properties:
        from pymap.backend.redis.properties import RedisProperties

        store = self._running()
        # No user's id has a colon.
        return RedisProperties(self._running, store.base(f"scope:{scope}"))

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        parser.description = "Mail in Redis or Valkey, shared by any number of pymap processes."
        parser.add_argument(
            "url",
            nargs="?",
            default="redis://localhost",
            help="redis://, rediss:// (TLS) or unix://, with user:password@ if need be; "
            "redis+sentinel://HOST,HOST/SERVICE; redis+cluster://HOST,HOST "
            "(default: redis://localhost)",
        )
        parser.add_argument("--select", metavar="DB", type=int, help="the number of the database")
        parser.add_argument(
            "--prefix",
            metavar="VAL",
            default="pymap:",
            help="what the keys of mail begin with (default: pymap:)",
        )
        parser.add_argument(
            "--users-hash", metavar="KEY", help="a hash of passwords by name of user"
        )
        parser.add_argument(
            "--users-key",
            metavar="FORMAT",
            default="{name}",
            help="the key of a user's password (default: {name})",
        )
        parser.add_argument(
            "--users-json",
            action="store_true",
            help='passwords are in JSON objects: {"password": "..."}',
        )
        parser.add_argument(
            "--timeout",
            metavar="SECONDS",
            type=float,
            default=TIMEOUT_S,
            help=f"how long Redis may take to answer (default: {TIMEOUT_S:g})",
        )

    @classmethod
    def from_args(cls, args: Namespace) -> Self:
        return cls(
            args.url,
            database=args.select,
            prefix=args.prefix,
            users_at=UsersAt(args.users_hash, args.users_key, args.users_json),
            timeout_s=args.timeout,
        )
