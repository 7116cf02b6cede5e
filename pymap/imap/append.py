"""APPEND, also of many messages; how messages of clients come into a mailbox."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable, Sequence

from pymap.backend.api import Account, Mailbox, NewMessage, digest
from pymap.backend.errors import TooBig
from pymap.imap.catenate import assemble
from pymap.imap.mailboxes import open_target
from pymap.imap.message_limit import check_saved
from pymap.imap.session import THREAD, Done, Session
from pymap.imap.store import check_flags
from pymap.wire.commands import Append, Message
from pymap.wire.errors import Refused
from pymap.wire.types import Flag, InternalDate, UidSet

__all__ = ["add", "append", "new_message", "prepare"]

BREATH = 32  # messages parsed until others get their turn
_HEADER_END = re.compile(rb"\r?\n\r?\n|\A\r?\n")
_NOT_ASCII = re.compile(rb"[\x80-\xff]")


async def append(session: Session, command: Append) -> Done:
    """RFC 9051 6.3.12, RFC 3502; APPENDUID RFC 4315 3"""
    target, messages = await prepare(session, command.mailbox, command.messages)
    owner = await session.owner(command.mailbox)
    uids = await add(session, owner, target, messages)
    return Done("APPEND completed", f"APPENDUID {target.uid_validity} {uids}")


async def prepare(
    session: Session, mailbox: str, messages: Sequence[Message]
) -> tuple[Mailbox, list[NewMessage]]:
    """Where the messages of an APPEND or REPLACE go, and what they are. Nothing is changed yet."""
    check_saved(session, len(messages))
    for message in messages:
        check_flags(message.flags)
    target = await open_target(session, mailbox)
    contents = await assemble(session, messages)
    for content in contents:
        if not content:
            raise Refused(None, "An empty message cannot be appended")  # RFC 3502 6.3.11
        if not session.connection.utf8:
            _refuse_utf8_header(content)
    now = InternalDate(int(time.time()))
    prepared: list[NewMessage] = []
    for message, content in zip(messages, contents, strict=True):
        date = message.internal_date or now
        prepared.append(await new_message(content, message.flags, date))
        if len(prepared) % BREATH == 0:
            await session.peer.breathe()
    return target, prepared


async def add(
    session: Session,
    owner: Account,
    target: Mailbox,
    messages: Sequence[NewMessage],
    replaced: Iterable[int] = (),
) -> UidSet:
    """Add the messages of one command to a mailbox, all or none: the one way by which what clients
    send comes in, and so the place for what bounds it. `owner` is whose mailbox it
    is, `replaced` are the sizes of messages of his that go for it. Raises what `Mailbox.append`
    does."""
    if max(len(message.content) for message in messages) > session.limits.append:
        raise TooBig
    sizes = (len(message.content) for message in messages)
    await session.quotas.check(owner, sizes, replaced)
    uids = await target.append(messages)
    session.brought(target, uids)
    octets = sum(len(message.content) for message in messages)
    for observer in session.peer.observers:
        observer.appended(len(messages), octets, "append")
    return uids


async def new_message(
    content: bytes, flags: frozenset[Flag], internal_date: InternalDate
) -> NewMessage:
    """With its digest; a large one is taken apart in a thread."""
    made = digest(content) if len(content) < THREAD else await asyncio.to_thread(digest, content)
    return NewMessage(content, flags, internal_date, made)


def _refuse_utf8_header(content: bytes) -> None:
    """8-bit octets in the header come from clients that have said so.   RFC 6855 4"""
    if content.isascii():
        return
    end = _HEADER_END.search(content)
    if _NOT_ASCII.search(content, 0, end.start() if end else len(content)):
        raise Refused("CANNOT", "8-bit header: ENABLE UTF8=ACCEPT or IMAP4rev2 first")
