"""Export: everything of a user, or some mailboxes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymap.admin.calls import first
from pymap.admin.proto import admin_pb2 as m
from pymap.admin.reading import small_batches
from pymap.admin.requests import account_of, internal_date_text, mailbox_name, open_mailbox
from pymap.backend.api import Mailbox, MailboxInfo, Row
from pymap.backend.errors import MailboxGone, MailboxNotFound
from pymap.imap.server import Server

if TYPE_CHECKING:
    from grpclib.server import Stream

    Out = Stream[m.ExportRequest, m.ExportResponse]

__all__ = ["export"]

PIECE = 128 * 1024  # octets of content in one answer


async def export(server: Server, stream: Out) -> None:
    """A mailbox that is deleted meanwhile is left out, or is short, unless it was asked for by
    name. A message that comes meanwhile is not in it, one that goes may be."""
    request = await first(stream)
    async with account_of(server.backend, request.user) as account:
        known = {info.name: info for info in await account.mailboxes() if info.id is not None}
        subscribed = await account.subscriptions()
        for name in map(mailbox_name, request.mailboxes) if request.mailboxes else sorted(known):
            info = known.get(name, MailboxInfo(name, None))
            try:
                mailbox = await open_mailbox(account, name)
                await _send_mailbox(stream, mailbox, info, name in subscribed)
            except (MailboxNotFound, MailboxGone):
                if request.mailboxes:
                    raise


async def _send_mailbox(stream: Out, mailbox: Mailbox, info: MailboxInfo, subscribed: bool) -> None:
    snapshot = await mailbox.snapshot()
    head = m.MailboxHead(
        name=info.name,
        uid_validity=mailbox.uid_validity,
        uid_next=snapshot.uid_next,
        messages=len(snapshot.uids),
        special_use=info.special_use,
        subscribed=subscribed,
    )
    await stream.send_message(m.ExportResponse(mailbox=head))
    async for rows in small_batches(mailbox, snapshot.uids):
        contents = await mailbox.contents([row.uid for row in rows])
        for row, content in zip(rows, contents, strict=True):
            if content is not None:
                await _send_message(stream, row, content, info.name)


async def _send_message(stream: Out, row: Row, content: bytes, mailbox: str) -> None:
    head = m.MessageHead(
        mailbox=mailbox,
        flags=sorted(flag.name for flag in row.flags),
        internal_date=internal_date_text(row.internal_date),
        size=len(content),
        uid=row.uid,
    )
    await stream.send_message(m.ExportResponse(message=head))
    for start in range(0, len(content), PIECE):
        await stream.send_message(m.ExportResponse(content=content[start : start + PIECE]))
