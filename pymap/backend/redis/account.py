"""One user's mailboxes by name."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from secrets import token_hex

from pymap.backend.api import Account, Listing, MailboxInfo, Quota, Usage
from pymap.backend.errors import CannotDo, LimitReached, MailboxNotFound
from pymap.backend.redis.mailbox import LOOK_S, RedisMailbox
from pymap.backend.redis.properties import RedisProperties
from pymap.backend.redis.store import Channel, RedisStore
from pymap.backend.rights import PROPERTY_KEYS, AccessList, from_properties

__all__ = ["RedisAccount", "new_id"]

INBOX = "INBOX"
AT_ONCE = 500  # mailboxes looked at in one script


def _access_list(flat: Sequence[bytes]) -> AccessList:
    pairs = zip(flat[::2], flat[1::2], strict=True)
    return from_properties({key.decode(): value for key, value in pairs})


def new_id() -> str:
    """A mailbox's id."""
    return "F" + token_hex(8)


class RedisAccount(Account):
    def __init__(self, store: RedisStore, base: str) -> None:
        self._store = store
        self._base = base
        self.properties = RedisProperties(lambda: store, base)
        self._channel: Channel | None = None  # held while this account is

    async def mailboxes(self) -> Sequence[MailboxInfo]:
        names, uses = await self._store.run("list", self._base)
        by_id = dict(zip(uses[::2], uses[1::2], strict=True))
        return [
            MailboxInfo(name.decode(), box.decode(), tuple(by_id.get(box, b"").decode().split()))
            for name, box in zip(names[::2], names[1::2], strict=True)
        ]

    def _mailbox(self, mailbox_id: str, uid_validity: int) -> RedisMailbox:
        return self._store.mailbox(
            mailbox_id,
            uid_validity,
            lambda: RedisMailbox(self._store, self._base, mailbox_id, uid_validity),
        )

    async def open(self, name: str) -> RedisMailbox:
        found = await self._store.run("open", self._base, name)
        if not found:
            raise MailboxNotFound
        return self._mailbox(found[0].decode(), found[1])

    async def create(self, name: str, special_use: tuple[str, ...] = ()) -> RedisMailbox:
        mailbox_id = new_id()
        try:
            uid_validity = await self._store.run(
                "create", self._base, name, mailbox_id, " ".join(special_use),
                self._store.limits.mailboxes,
            )  # fmt: skip
        except LimitReached:
            raise LimitReached("Too many mailboxes") from None
        return self._mailbox(mailbox_id, uid_validity)

    async def delete(self, name: str) -> None:
        if name == INBOX:
            raise CannotDo("INBOX cannot be deleted")
        await self._store.run("delete", self._base, name)
        self._store.soil(self._base)

    async def count_mailboxes(self) -> int:
        count: int = await self._store.call("HLEN", self._base + "mailboxes")
        return count

    async def usage(self, quota: Quota, again: bool = False) -> Usage:
        return Usage(*await self._store.run("usage", self._base))

    async def rename(self, name: str, new_name: str) -> None:
        await self._store.run("rename", self._base, name, new_name)

    async def access_list(self, name: str) -> AccessList:
        (entries,) = await self._store.run("access", self._base, PROPERTY_KEYS, name)
        if entries is None:
            raise MailboxNotFound
        return _access_list(entries)

    async def access_lists(self) -> Mapping[str, AccessList]:
        names = [info.name for info in await self.mailboxes()]
        found = {}
        for start in range(0, len(names), AT_ONCE):
            some = names[start : start + AT_ONCE]
            lists = await self._store.run("access", self._base, PROPERTY_KEYS, *some)
            for name, entries in zip(some, lists, strict=True):
                if entries:
                    found[name] = _access_list(entries)
        return found

    async def subscriptions(self) -> frozenset[str]:
        names = await self._store.call("SMEMBERS", self._base + "subscribed")
        return frozenset(name.decode() for name in names)

    async def subscribe(self, name: str) -> None:
        try:
            await self._store.run("subscribe", self._base, name, self._store.limits.mailboxes)
        except LimitReached:
            raise LimitReached("Too many subscriptions") from None

    async def unsubscribe(self, name: str) -> None:
        await self._store.run("unsubscribe", self._base, name)

    async def wait(self, known: Listing) -> None:
        # What happened before this process was on the channel is told by the channel itself, as
        # it is joined: see `pubsub`.
        self._channel = self._channel or self._store.names_channel(self._base)
        heard = self._store.listener.join(self._channel.name)
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await heard.wait()
        heard.clear()
