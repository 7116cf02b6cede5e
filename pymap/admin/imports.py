"""Import: messages by the thousand, in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from pymap.admin.append import INBOX
from pymap.admin.calls import first
from pymap.admin.proto import admin_pb2 as m
from pymap.admin.requests import (
    Invalid,
    account_of,
    flags_of,
    internal_date_of,
    mailbox_name,
    open_mailbox,
)
from pymap.backend.api import Account, Mailbox, NewMessage
from pymap.backend.errors import BackendError, MailboxExists, MailboxNotFound, TooBig
from pymap.imap.append import new_message
from pymap.imap.mailboxes import create_mailbox
from pymap.imap.server import Server
from pymap.limits import Limits
from pymap.wire.errors import Refused

if TYPE_CHECKING:
    from grpclib.server import Stream

__all__ = ["import_"]

BATCH_MESSAGES = 100
BATCH_OCTETS = 8 * 1024 * 1024
"""A batch is what is appended at once: it ends with the message that reaches one of these."""


async def import_(server: Server, stream: Stream[m.ImportRequest, m.ImportResponse]) -> None:
    """What came before a message that is refused is in its mailbox, and is told of."""
    request = await first(stream)
    if request.WhichOneof("part") != "head":
        raise Invalid("the first request of an import is its head")
    head = request.head
    async with account_of(server.backend, head.user) as account:
        batch = _Batch(server, stream, account, head.create)
        try:
            async for message, content in _messages(stream, server.limits):
                await batch.add(message, content)
        except (Invalid, Refused, BackendError):
            await batch.flush()
            raise
        await batch.flush()
        await batch.tell()


async def _messages(
    stream: Stream[m.ImportRequest, m.ImportResponse], limits: Limits
) -> AsyncIterator[tuple[m.MessageHead, bytes]]:
    """Raises TooBig at the head of a message that is, and Invalid."""
    head = m.MessageHead()
    content = bytearray()
    missing = 0  # octets of its content
    async for request in stream:
        match request.WhichOneof("part"):
            case "message" if not missing:
                head, missing = request.message, request.message.size
                content.clear()
                if missing > limits.append:
                    raise TooBig
                if not missing:
                    raise Invalid("an empty message cannot be appended")
            case "content" if 0 < len(request.content) <= missing:
                content += request.content
                missing -= len(request.content)
                if not missing:
                    yield head, bytes(content)
            case _:
                raise Invalid("a message has a head, then as many octets as that says")
    if missing:
        raise Invalid("the last message is cut off")


class _Batch:
    """Messages that wait to be appended to one mailbox, and how many have been so far."""

    def __init__(
        self,
        server: Server,
        stream: Stream[m.ImportRequest, m.ImportResponse],
        account: Account,
        create: bool,
    ) -> None:
        self._server = server
        self._stream = stream
        self._account = account
        self._create = create
        self._name = ""
        self._mailbox: Mailbox | None = None
        self._waiting: list[NewMessage] = []
        self._octets = 0  # of these, as they came
        self._done_messages = self._done_octets = 0

    async def add(self, head: m.MessageHead, content: bytes) -> None:
        octets = len(content)
        flags = flags_of(head.flags, self._server.limits)
        internal_date = internal_date_of(head.internal_date)
        name = mailbox_name(head.mailbox) or INBOX
        if name != self._name or self._mailbox is None:
            await self.flush()
            self._mailbox = await self._open(name)
            self._name = name
        self._waiting.append(await new_message(content, flags, internal_date))
        self._octets += octets
        if len(self._waiting) >= BATCH_MESSAGES or self._octets >= BATCH_OCTETS:
            await self.flush()

    async def _open(self, name: str) -> Mailbox:
        try:
            return await open_mailbox(self._account, name)
        except MailboxNotFound:
            if not self._create:
                raise
        try:
            _, made = await create_mailbox(
                self._account, self._server.quotas, self._server.limits, name
            )
        except MailboxExists:  # another import or client has made it just now
            return await self._account.open(name)
        return made

    async def flush(self) -> None:
        """Append those that wait, and tell. When the server stops meanwhile, or the client goes,
        both are done first: what is in a mailbox should not go untold."""
        waiting, octets = self._waiting, self._octets
        self._waiting, self._octets = [], 0
        if not waiting or self._mailbox is None:
            return
        appending = asyncio.ensure_future(self._append(self._mailbox, waiting, octets))
        try:
            await asyncio.shield(appending)
        except asyncio.CancelledError:
            # The client may hear no more. Cancelled once more, it ends at once.
            await asyncio.gather(appending, return_exceptions=True)
            raise

    async def _append(self, mailbox: Mailbox, waiting: Sequence[NewMessage], octets: int) -> None:
        sizes = (len(new.content) for new in waiting)
        await self._server.quotas.check(self._account, sizes)
        await mailbox.append(waiting)
        self._done_messages += len(waiting)
        self._done_octets += octets
        for observer in self._server.observers:
            observer.appended(len(waiting), sum(len(new.content) for new in waiting), "admin")
        await self.tell()

    async def tell(self) -> None:
        await self._stream.send_message(
            m.ImportResponse(messages=self._done_messages, octets=self._done_octets)
        )
