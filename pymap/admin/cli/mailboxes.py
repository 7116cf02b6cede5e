"""Verbs about the mailboxes of a user."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from pymap.admin.cli.exits import Failure
from pymap.admin.cli.messages import as_dict
from pymap.admin.output import Column, Output, octets

if TYPE_CHECKING:
    from pymap.admin.cli.connection import Client
    from pymap.admin.cli.options import Verbs

__all__ = ["add_verbs"]

_LIST = (
    Column("name", "name"),
    Column("special use", "special_use", " ".join),
    Column("subscribed", "subscribed", lambda subscribed: "yes" if subscribed else "no"),
    Column("id", "id"),
)
_STATUS = (
    Column("name", "name"),
    Column("messages", "messages", right=True),
    Column("unseen", "unseen", right=True),
    Column("deleted", "deleted", right=True),
    Column("size", "size", octets, right=True),
    Column("validity", "uid_validity", right=True),
    Column("next", "uid_next", right=True),
    Column("modseq", "highest_modseq", right=True),
)


def add_verbs(verbs: Verbs) -> None:
    mailboxes = verbs.group("mailbox", "list, create, delete, rename and count mailboxes")
    mailboxes.add("list", "list a user's mailboxes", list_).add_argument("user", metavar="USER")
    verb = mailboxes.add("create", "create a mailbox", create)
    verb.add_argument("user", metavar="USER")
    verb.add_argument("name", metavar="NAME", help="levels are separated by /")
    verb.add_argument(
        "--special-use", action="append", default=[], metavar="USE",
        help="what it is for, such as Sent or \\Sent; may be repeated",
    )  # fmt: skip
    verb = mailboxes.add("delete", "delete a mailbox and its messages", delete)
    verb.add_argument("user", metavar="USER")
    verb.add_argument("name", metavar="NAME")
    verb = mailboxes.add("rename", "rename a mailbox and all below it", rename)
    verb.add_argument("user", metavar="USER")
    verb.add_argument("name", metavar="NAME")
    verb.add_argument("new_name", metavar="NEW_NAME")
    verb = mailboxes.add("status", "count the messages of mailboxes", status)
    verb.add_argument("user", metavar="USER")
    verb.add_argument("names", nargs="*", metavar="NAME", help="which (default: all)")


async def list_(client: Client, args: Namespace, output: Output) -> None:
    from pymap.admin.proto.admin_pb2 import MailboxListRequest

    found = await client.call(client.mailboxes.List, MailboxListRequest(user=args.user))
    output.table([as_dict(mailbox) for mailbox in found.mailboxes], _LIST)


async def create(client: Client, args: Namespace, output: Output) -> None:
    from pymap.admin.proto.admin_pb2 import MailboxCreateRequest

    uses = [use if use.startswith("\\") else f"\\{use}" for use in args.special_use]
    request = MailboxCreateRequest(user=args.user, name=args.name, special_use=uses)
    found = await client.call(client.mailboxes.Create, request)
    output.fields(as_dict(found), (Column("id", "id"),))


async def delete(client: Client, args: Namespace, output: Output) -> None:
    from pymap.admin.proto.admin_pb2 import MailboxDeleteRequest

    request = MailboxDeleteRequest(user=args.user, name=args.name)
    await client.call(client.mailboxes.Delete, request)
    if output.as_json:
        output.document({})


async def rename(client: Client, args: Namespace, output: Output) -> None:
    from pymap.admin.proto.admin_pb2 import MailboxRenameRequest

    request = MailboxRenameRequest(user=args.user, name=args.name, new_name=args.new_name)
    await client.call(client.mailboxes.Rename, request)
    if output.as_json:
        output.document({})


async def status(client: Client, args: Namespace, output: Output) -> None:
    from pymap.admin.proto.admin_pb2 import MailboxListRequest, MailboxStatusRequest

    names = args.names
    if not names:
        found = await client.call(client.mailboxes.List, MailboxListRequest(user=args.user))
        names = [mailbox.name for mailbox in found.mailboxes if mailbox.id]
    rows = []
    for name in names:
        request = MailboxStatusRequest(user=args.user, name=name)
        try:
            rows.append(as_dict(await client.call(client.mailboxes.Status, request)))
        except Failure as failure:
            if args.names or failure.code != "NONEXISTENT":
                raise  # otherwise it was deleted or renamed since it was listed
    output.table(rows, _STATUS)
