"""APPEND, also of many messages."""

from __future__ import annotations

import asyncio
import re
import time

from pymap.backend.api import NewMessage, digest
from pymap.imap.mailboxes import open_target
from pymap.imap.message_limit import check_saved
from pymap.imap.session import THREAD, Done, Session
from pymap.imap.store import check_flags
from pymap.wire.commands import Append
from pymap.wire.errors import Refused
from pymap.wire.types import Flag, InternalDate

__all__ = ["append", "new_message"]

BREATH = 32  # messages parsed until others get their turn
_HEADER_END = re.compile(rb"\r?\n\r?\n|\A\r?\n")
_NOT_ASCII = re.compile(rb"[\x80-\xff]")


async def append(session: Session, command: Append) -> Done:
    """RFC 9051 6.3.12, RFC 3502; APPENDUID RFC 4315 3"""
    check_saved(session, len(command.messages))
    for message in command.messages:
        check_flags(message.flags)
        if not message.content:
            raise Refused(None, "An empty message cannot be appended")  # RFC 3502 6.3.11
        if not session.connection.utf8:
            _refuse_utf8_header(message.content)
    target = await open_target(session, command.mailbox)
    now = InternalDate(int(time.time()))
    messages = []
    for message in command.messages:
        date = message.internal_date or now
        messages.append(await new_message(message.content, message.flags, date))
        if len(messages) % BREATH == 0:
            await session.peer.breathe()
    uids = await target.append(messages)
    session.brought(target, uids)
    octets = sum(len(message.content) for message in messages)
    for observer in session.peer.observers:
        observer.appended(len(messages), octets, "append")
    return Done("APPEND completed", f"APPENDUID {target.uid_validity} {uids}")


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
