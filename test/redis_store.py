"""A redis backend that holds what a dict backend holds: it takes the mail over when it starts, so
that ids, UIDs and modseqs are its own."""

from __future__ import annotations

import atexit
from pathlib import Path
from secrets import token_hex

from redis_server import RedisServer

from pymap.backend.api import NewMessage
from pymap.backend.dict import DictAccount, DictBackend, DictMailbox
from pymap.backend.redis import RedisBackend
from pymap.limits import Limits
from pymap.wire.types import UidSet

__all__ = ["redis_of"]

ALL = UidSet(((1, 0xFFFFFFFF),))
_server: RedisServer | None = None


def _running() -> RedisServer:
    """One for all tests of the process; it ends with the process."""
    global _server
    if _server is None:
        _server = RedisServer()
        _server.start()
        atexit.register(_server.close)
    return _server


class FilledRedisBackend(RedisBackend):
    """`local` is taken over by `start`."""

    local: DictBackend

    async def start(self) -> None:
        await super().start()
        self.login_hint, self.loopback_only = self.local.login_hint, self.local.loopback_only
        for user in self.local.users._users.values():
            await self.users.put(user)
            await self._fill(self.local.account_of(user.name), user.name)

    async def _fill(self, local: DictAccount, user: str) -> None:
        async with self.account(user) as account:
            for name, mailbox in local._mailboxes.items():
                if name != "INBOX":
                    await account.create(name, local._special_use.get(name, ()))
                await self._fill_mailbox(mailbox, await account.open(name))
            for name in local.subscribed:
                await account.subscribe(name)

    @staticmethod
    async def _fill_mailbox(local: DictMailbox, mailbox: object) -> None:
        from pymap.backend.redis.mailbox import RedisMailbox

        assert isinstance(mailbox, RedisMailbox)
        for row in local.index.rows(ALL):
            content, digest = local.messages[row.uid]
            while True:  # until it has the UID that it has there
                (uid,) = await mailbox.append(
                    [NewMessage(content, row.flags, row.internal_date, digest)]
                )
                if uid == row.uid:
                    break
                await mailbox.expunge(UidSet.of(uid))
            if uid < local._recent_from:
                await mailbox.claim_recent()


def redis_of(local: DictBackend, directory: Path, limits: Limits | None = None) -> RedisBackend:
    made = FilledRedisBackend(
        _running().url,
        prefix=f"{token_hex(4)}:",
        limits=limits,
    )
    made.local = local
    return made
