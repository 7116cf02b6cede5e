"""Mailboxes: List, Create, Delete, Rename, Status."""

from __future__ import annotations

from grpclib.const import Status

from pymap.admin.proto import admin_pb2 as m
from pymap.limits import Limits

from .calls import append, fails
from .conftest import Admin, Connect, StartAdmin

USER = "demouser"


async def names(admin: Admin) -> list[str]:
    answer = await admin.mailboxes.List(m.MailboxListRequest(user=USER))
    return [mailbox.name for mailbox in answer.mailboxes]


async def test_list_shows_what_list_of_imap_shows(admin: Admin) -> None:
    answer = await admin.mailboxes.List(m.MailboxListRequest(user=USER))
    found = {mailbox.name: mailbox for mailbox in answer.mailboxes}
    assert list(found) == sorted(found)
    assert found["INBOX"].id
    assert list(found["Sent"].special_use) == ["\\Sent"]
    assert found["Sent"].subscribed


async def test_create_rename_delete(admin: Admin, connect: Connect) -> None:
    boxes = admin.mailboxes
    created = await boxes.Create(m.MailboxCreateRequest(user=USER, name="Neu/Tür/"))
    status = await boxes.Status(m.MailboxStatusRequest(user=USER, name="Neu/Tu\u0308r"))
    assert (status.id, status.name, status.messages) == (created.id, "Neu/Tür", 0)
    await boxes.Rename(m.MailboxRenameRequest(user=USER, name="Neu", new_name="Alt"))
    assert "Alt/Tür" in await names(admin)
    client = await (await connect(admin)).login()
    await client.ok("SELECT Alt/Tür".encode())
    await boxes.Delete(m.MailboxDeleteRequest(user=USER, name="Alt/Tür"))
    assert not [name for name in await names(admin) if name.startswith(("Alt", "Neu"))]


async def test_create_with_a_special_use(admin: Admin) -> None:
    request = m.MailboxCreateRequest(user=USER, name="Alte", special_use=["\\ARCHIVE"])
    await admin.mailboxes.Create(request)
    answer = await admin.mailboxes.List(m.MailboxListRequest(user=USER))
    (found,) = (mailbox for mailbox in answer.mailboxes if mailbox.name == "Alte")
    assert list(found.special_use) == ["\\Archive"]
    request = m.MailboxCreateRequest(user=USER, name="Andere", special_use=["\\Other"])
    failed = await fails(admin.mailboxes.Create, request)
    assert failed[:2] == (Status.INVALID_ARGUMENT, "USEATTR")


async def test_renaming_inbox_moves_its_messages(admin: Admin) -> None:
    boxes = admin.mailboxes
    before = await boxes.Status(m.MailboxStatusRequest(user=USER, name="INBOX"))
    await boxes.Rename(m.MailboxRenameRequest(user=USER, name="inbox", new_name="Old"))
    after = await boxes.Status(m.MailboxStatusRequest(user=USER, name="Old"))
    assert (after.messages, after.size) == (before.messages, before.size)
    assert (await boxes.Status(m.MailboxStatusRequest(user=USER, name="INBOX"))).messages == 0


async def test_status_counts(admin: Admin) -> None:
    await admin.mailboxes.Create(m.MailboxCreateRequest(user=USER, name="Box"))
    await append(admin, b"Subject: a\r\n\r\nb", mailbox="Box", flags=["\\Seen"])
    answer = await append(admin, b"Subject: b\r\n\r\n", mailbox="Box", flags=["\\Deleted"])
    status = await admin.mailboxes.Status(m.MailboxStatusRequest(user=USER, name="Box"))
    assert (status.messages, status.unseen, status.deleted, status.size) == (2, 1, 1, 15 + 14)
    assert (status.uid_validity, status.uid_next) == (answer.uid_validity, answer.uid + 1)
    assert status.highest_modseq > 0


async def test_what_does_not_exist(admin: Admin) -> None:
    boxes = admin.mailboxes
    for method, request in (
        (boxes.Status, m.MailboxStatusRequest(user=USER, name="x")),
        (boxes.Status, m.MailboxStatusRequest(user=USER)),
        (boxes.Delete, m.MailboxDeleteRequest(user=USER, name="x")),
        (boxes.Rename, m.MailboxRenameRequest(user=USER, name="x", new_name="y")),
    ):
        assert (await fails(method, request))[:2] == (Status.NOT_FOUND, "NONEXISTENT")
    for method, request in (
        (boxes.List, m.MailboxListRequest(user="nobody")),
        (boxes.Status, m.MailboxStatusRequest(user="nobody", name="INBOX")),
        (boxes.Create, m.MailboxCreateRequest(user="nobody", name="x")),
        (boxes.Delete, m.MailboxDeleteRequest(user="nobody", name="x")),
        (boxes.Rename, m.MailboxRenameRequest(user="nobody", name="x", new_name="y")),
    ):
        assert (await fails(method, request))[:2] == (Status.NOT_FOUND, "NOUSER")


async def test_what_the_engine_refuses(admin: Admin) -> None:
    boxes, limits = admin.mailboxes, Limits()
    create = {
        "": "CANNOT",
        "/": "CANNOT",
        "a//b": "CANNOT",
        "a//": "CANNOT",
        "a\r\nb": "CANNOT",
        "x" * (limits.mailbox_name + 1): "LIMIT",
        "/".join("x" * (limits.mailbox_levels + 1)): "LIMIT",
        "inbox": "ALREADYEXISTS",
        "Sent": "ALREADYEXISTS",
    }
    for name, code in create.items():
        request = m.MailboxCreateRequest(user=USER, name=name)
        assert (await fails(boxes.Create, request)).code == code, name
    await boxes.Create(m.MailboxCreateRequest(user=USER, name="above/below"))
    assert (await fails(boxes.Delete, m.MailboxDeleteRequest(user=USER, name="above"))).code in (
        "HASCHILDREN",
        None,
    )
    failed = await fails(boxes.Delete, m.MailboxDeleteRequest(user=USER, name="Inbox"))
    assert failed[:2] == (Status.FAILED_PRECONDITION, "CANNOT")
    for new_name, code in (("Sent/x", "CANNOT"), ("Sent", "ALREADYEXISTS"), ("", "CANNOT")):
        request = m.MailboxRenameRequest(user=USER, name="Sent", new_name=new_name)
        assert (await fails(boxes.Rename, request)).code == code


async def test_a_selected_mailbox_can_be_deleted(start_admin: StartAdmin, connect: Connect) -> None:
    admin = await start_admin("demo")
    client = await (await connect(admin)).login(b"Sent")
    await admin.mailboxes.Delete(m.MailboxDeleteRequest(user=USER, name="Sent"))
    answer = await client.command(b"NOOP")
    assert answer.untagged[-1].startswith(b"* BYE") or answer.condition != b"OK"


async def test_names_have_a_slash_whatever_clients_see(
    start_admin: StartAdmin, connect: Connect
) -> None:
    admin = await start_admin()
    admin.imap.backend.delimiter = "."
    await admin.mailboxes.Create(m.MailboxCreateRequest(user=USER, name="a/b.c"))
    client = await (await connect(admin)).login()
    (line,) = await client.ok(b'LIST "" a.%')
    assert line.endswith(b'"." a.b/c\r\n')
    assert await names(admin) == ["INBOX", "a/b.c"]
