"""NOTIFY of what others than this server do to the store."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis_server import RedisServer

from pymap.backend.maildir import MaildirBackend
from pymap.backend.maildir.users import UsersFile
from pymap.backend.redis import RedisBackend
from pymap.imap.server import serve

from .client import Client

NOTIFY = (
    b"NOTIFY SET (SELECTED (MessageNew (UID) MessageExpunge FlagChange))"
    b" (PERSONAL (MessageNew MessageExpunge MailboxName SubscriptionChange))"
)
MESSAGE = b"Subject: news\r\n\r\nbody\r\n"


def deliver(mailbox: Path, name: str) -> None:
    """As delivery agents do."""
    (mailbox / "tmp" / name).write_bytes(MESSAGE)
    os.rename(mailbox / "tmp" / name, mailbox / "new" / name)


async def told(client: Client, *starts: bytes) -> None:
    """These lines come, in this order; RECENT may come as well."""
    for start in starts:
        while (line := await client.line()).endswith(b" RECENT\r\n"):
            pass
        assert line.startswith(start), (line, start)


async def test_a_delivery_agent_and_maildirmake(tmp_path: Path) -> None:
    (tmp_path / "users").write_text("demouser::demopass\n")
    async with serve(MaildirBackend(UsersFile(tmp_path / "users"))) as server:
        client = await (await Client.connect(server.addresses[0])).login(b"INBOX")
        await client.ok(b"CREATE Lists")
        await client.ok(NOTIFY)
        root = tmp_path / "demouser"
        deliver(root, "1.a.host")
        await told(client, b"* 1 EXISTS", b"* 1 FETCH (UID 1)")
        deliver(root / ".Lists", "2.a.host")
        await told(client, b"* STATUS Lists (MESSAGES 1 UIDNEXT 2 ")
        (taken,) = (root / "cur").iterdir()
        os.rename(taken, root / "cur" / "1.a.host:2,S")
        await told(client, b"* 1 FETCH (UID 1 FLAGS (\\Seen")
        os.unlink(root / "cur" / "1.a.host:2,S")
        await told(client, b"* 1 EXPUNGE")
        made = root / ".Lists.New"
        for path in (made, made / "tmp", made / "new", made / "cur"):
            os.mkdir(path)
        lists = b'* LIST (\\HasChildren) "/" Lists'
        await told(client, lists, b'* LIST (\\HasNoChildren) "/" Lists/New')
        deliver(made, "3.a.host")
        await told(client, b"* STATUS Lists/New (MESSAGES 1 UIDNEXT 2 ")
        os.rename(made, root / ".Other")
        await told(client, b'* LIST (\\HasNoChildren) "/" Other ("OLDNAME" (Lists/New))')
        (root / "subscriptions.lock").write_text("V\t2\n\nOther\n")
        os.rename(root / "subscriptions.lock", root / "subscriptions")
        await told(client, b'* LIST (\\Subscribed \\HasNoChildren) "/" Other')
        await client.close()


@pytest.fixture
async def redis_url() -> AsyncIterator[str]:
    server = RedisServer()
    await asyncio.to_thread(server.start)
    server.ask("SET", "demouser", "demopass")
    yield server.url
    await asyncio.to_thread(server.close)


async def test_another_server_on_the_same_redis(redis_url: str) -> None:
    async with serve(RedisBackend(redis_url)) as ours, serve(RedisBackend(redis_url)) as theirs:
        client = await (await Client.connect(ours.addresses[0])).login(b"INBOX")
        other = await (await Client.connect(theirs.addresses[0])).login()
        await client.ok(NOTIFY)
        await other.ok(b"CREATE Lists")
        await told(client, b'* LIST (\\HasNoChildren) "/" Lists')
        await other.append(MESSAGE, b"Lists")
        await told(client, b"* STATUS Lists (MESSAGES 1 UIDNEXT 2 ")
        await other.append(MESSAGE)
        await told(client, b"* 1 EXISTS", b"* 1 FETCH (UID 1)")
        await other.ok(b"RENAME Lists News")
        await told(client, b'* LIST (\\HasNoChildren) "/" News ("OLDNAME" (Lists))')
        await other.append(MESSAGE, b"News")
        await told(client, b"* STATUS News (MESSAGES 2 UIDNEXT 3 ")
        await other.ok(b"SUBSCRIBE News")
        await told(client, b'* LIST (\\Subscribed \\HasNoChildren) "/" News')
        await other.ok(b"DELETE News")
        await told(client, b'* LIST (\\NonExistent \\Subscribed \\HasNoChildren) "/" News')
        for each in (client, other):
            await each.close()
