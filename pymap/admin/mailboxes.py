"""The methods of the service Mailboxes; those that carry messages have files of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymap.admin.append import append
from pymap.admin.calls import first
from pymap.admin.check import check
from pymap.admin.export import export
from pymap.admin.imports import import_
from pymap.admin.proto import admin_pb2 as m
from pymap.admin.proto.admin_grpc import MailboxesBase
from pymap.admin.requests import account_of, mailbox_name, naming, open_mailbox
from pymap.imap.mailboxes import create_mailbox, delete_mailbox, rename_mailbox
from pymap.imap.server import Server

if TYPE_CHECKING:
    from grpclib.server import Stream

__all__ = ["MailboxesMethods"]


class MailboxesMethods(MailboxesBase):
    def __init__(self, server: Server) -> None:
        self._server = server
        self._backend = server.backend
        self._limits = server.limits
        self._quotas = server.quotas

    async def List(self, stream: Stream[m.MailboxListRequest, m.MailboxListResponse]) -> None:
        request = await first(stream)
        async with account_of(self._backend, request.user) as account:
            subscribed = await account.subscriptions()
            mailboxes = [
                m.MailboxInfo(
                    name=info.name,
                    id=info.id or "",
                    special_use=info.special_use,
                    subscribed=info.name in subscribed,
                )
                for info in sorted(await account.mailboxes())
            ]
        await stream.send_message(m.MailboxListResponse(mailboxes=mailboxes))

    async def Create(self, stream: Stream[m.MailboxCreateRequest, m.MailboxCreateResponse]) -> None:
        request = await first(stream)
        name = mailbox_name(request.name)
        async with account_of(self._backend, request.user) as account:
            _, made = await create_mailbox(
                account, self._quotas, self._limits, name, request.special_use
            )
        await stream.send_message(m.MailboxCreateResponse(id=made.id))

    async def Delete(self, stream: Stream[m.MailboxDeleteRequest, m.MailboxDeleteResponse]) -> None:
        request = await first(stream)
        name = mailbox_name(request.name)
        async with account_of(self._backend, request.user) as account:
            with naming(name):
                await delete_mailbox(account, name)
        await stream.send_message(m.MailboxDeleteResponse())

    async def Rename(self, stream: Stream[m.MailboxRenameRequest, m.MailboxRenameResponse]) -> None:
        request = await first(stream)
        name, new_name = mailbox_name(request.name), mailbox_name(request.new_name)
        async with account_of(self._backend, request.user) as account:
            with naming(name):
                await rename_mailbox(account, self._quotas, self._limits, name, new_name)
        await stream.send_message(m.MailboxRenameResponse())

    async def Status(self, stream: Stream[m.MailboxStatusRequest, m.MailboxStatus]) -> None:
        request = await first(stream)
        name = mailbox_name(request.name)
        async with account_of(self._backend, request.user) as account:
            mailbox = await open_mailbox(account, name)
            status = await mailbox.status()
        await stream.send_message(
            m.MailboxStatus(
                name=name,
                id=mailbox.id,
                uid_validity=mailbox.uid_validity,
                uid_next=status.uid_next,
                messages=status.messages,
                unseen=status.unseen,
                deleted=status.deleted,
                size=status.size,
                highest_modseq=status.modseq,
            )
        )

    async def Append(self, stream: Stream[m.AppendRequest, m.AppendResponse]) -> None:
        await append(self._server, stream)

    async def Import(self, stream: Stream[m.ImportRequest, m.ImportResponse]) -> None:
        await import_(self._server, stream)

    async def Export(self, stream: Stream[m.ExportRequest, m.ExportResponse]) -> None:
        await export(self._server, stream)

    async def Check(self, stream: Stream[m.CheckRequest, m.CheckResponse]) -> None:
        await check(self._server, stream)
