"""Import and Export."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from grpclib.client import Channel
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from server.client import becomes

from pymap.admin import imports
from pymap.admin.proto import admin_pb2 as m
from pymap.admin.proto.admin_grpc import MailboxesStub
from pymap.admin.service import AdminService
from pymap.backend.dict import DictMailbox
from pymap.backend.errors import MailboxGone, OverQuota
from pymap.config import ExtensionConfig
from pymap.observer import Observer
from pymap.wire.types import UidSet

from .calls import append, content_of, fails
from .conftest import Admin, StartAdmin

USER = "demouser"


def message(content: bytes, pieces: int = 1, **head: Any) -> list[m.ImportRequest]:
    first = m.ImportRequest(message=m.MessageHead(**{"size": len(content), **head}))
    step = -(-len(content) // pieces) or 1
    parts = [content[start : start + step] for start in range(0, len(content), step)]
    return [first, *(m.ImportRequest(content=part) for part in parts)]


def requests(*messages: Iterable[m.ImportRequest], **head: Any) -> list[m.ImportRequest]:
    first = m.ImportRequest(head=m.ImportHead(**{"user": USER, **head}))
    return [first, *(part for parts in messages for part in parts)]


async def status_of(admin: Admin, name: str) -> m.MailboxStatus:
    return await admin.mailboxes.Status(m.MailboxStatusRequest(user=USER, name=name))


async def test_messages_come_in_order_with_all_they_have(admin: Admin) -> None:
    given = [
        message(b"A: 1\r\n\r\n1", mailbox="New", flags=["\\Flagged"], uid=77),
        message(b"A: 2\r\n\r\n22", pieces=3, mailbox="New"),
        message(b"A: 3\n\n3", mailbox="INBOX", internal_date="24-Nov-2026 14:00:00 +0100"),
        message(b"A: 4\n\n4", mailbox="New"),
    ]
    answers = await admin.mailboxes.Import(requests(*given, create=True))
    assert (answers[-1].messages, answers[-1].octets) == (4, 9 + 10 + 7 + 7)
    assert sorted(answer.messages for answer in answers) == [answer.messages for answer in answers]
    assert (await status_of(admin, "New")).messages == 3
    contents = [await content_of(admin, "New", uid) for uid in (1, 2, 3)]
    assert contents == [b"A: 1\r\n\r\n1", b"A: 2\r\n\r\n22", b"A: 4\n\n4"]
    async with admin.imap.backend.account(USER) as account:
        rows = await (await account.open("New")).metadata(UidSet.of(1))
        assert {flag.name for flag in rows[0].flags} == {"\\Flagged"}
        inbox = await account.open("INBOX")
        uid = (await inbox.snapshot()).uid_next - 1
        assert await inbox.content(uid) == b"A: 3\n\n3"  # octet for octet
        (row,) = await inbox.metadata(UidSet.of(uid))
        assert (row.internal_date.seconds, row.internal_date.zone) in (
            (1795525200, 60), (1795525200, 0),
        )  # fmt: skip


async def test_many_messages_go_in_batches(start_admin: StartAdmin) -> None:
    admin = await start_admin()
    told = []

    class Note(Observer):
        def appended(self, messages: int, octets: int, source: str) -> None:
            told.append((messages, octets, source))

    admin.imap.observers.append(Note())
    given = [message(b"%03d\r\n" % n) for n in range(250)]
    answers = await admin.mailboxes.Import(requests(*given))
    assert [answer.messages for answer in answers] == [100, 200, 250, 250]
    assert told == [(100, 500, "admin"), (100, 500, "admin"), (50, 250, "admin")]
    assert await content_of(admin, "INBOX", 250) == b"249\r\n"


async def test_what_came_before_a_bad_message_is_in(admin: Admin) -> None:
    before = (await status_of(admin, "INBOX")).messages
    good, bad = message(b"good\r\n"), message(b"bad\r\n", flags=["\\Other"])
    answers = []

    async def importing() -> None:
        async with admin.mailboxes.Import.open() as stream:
            for request in requests(good, good, bad, good):
                await stream.send_message(request)
            await stream.end()
            while (answer := await stream.recv_message()) is not None:
                answers.append(answer.messages)

    with pytest.raises(GRPCError, match="not a flag") as caught:
        await importing()
    assert caught.value.status is Status.INVALID_ARGUMENT
    assert answers == [2]
    assert (await status_of(admin, "INBOX")).messages == before + 2


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ([], None),
        ([m.ImportRequest(content=b"x")], None),
        ([m.ImportRequest()], None),
        (message(b"x")[:1], None),
        (message(b"x", size=2), None),
        (message(b"xx", size=1), None),
        (message(b"", size=0), None),
        ([*message(b"x", size=2), *message(b"x")], None),
        ([*message(b"x"), m.ImportRequest(content=b"")], None),
        ([*message(b"x"), *requests()], None),
        (message(b"x", internal_date="soon"), None),
        (message(b"x", size=1 << 40), "TOOBIG"),
        (message(b"x", mailbox="Nowhere"), "NONEXISTENT"),
    ],
)
async def test_what_is_no_import(
    start_admin: StartAdmin, parts: list[m.ImportRequest], code: str | None
) -> None:
    admin = await start_admin()
    if not parts:
        assert (await admin.mailboxes.Import(requests()))[-1].messages == 0
        assert (await fails(admin.mailboxes.Import)).status is Status.INVALID_ARGUMENT
        return
    failed = await fails(admin.mailboxes.Import, *requests(parts))
    assert failed.code == code
    if code is None:
        assert failed.status is Status.INVALID_ARGUMENT
        assert (await fails(admin.mailboxes.Import, *parts)).status is Status.INVALID_ARGUMENT


async def test_names_are_checked_when_they_are_created(admin: Admin) -> None:
    bad = requests(message(b"x", mailbox="a//b"), create=True)
    assert (await fails(admin.mailboxes.Import, *bad)).code == "CANNOT"
    unknown = requests(message(b"x"), user="nobody", create=True)
    assert (await fails(admin.mailboxes.Import, *unknown)).code == "NOUSER"


async def test_a_mailbox_that_another_makes_at_the_same_time(
    admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_mailbox = imports.create_mailbox

    async def late(*what: Any) -> Any:
        await create_mailbox(*what)  # the other
        return await create_mailbox(*what)

    monkeypatch.setattr(imports, "create_mailbox", late)
    await admin.mailboxes.Import(requests(message(b"x", mailbox="New"), create=True))
    assert (await status_of(admin, "New")).messages == 1


async def test_a_store_that_is_full_says_so(
    start_admin: StartAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = await start_admin()

    async def full(self: Any, messages: Any) -> Any:
        raise OverQuota

    monkeypatch.setattr(DictMailbox, "append", full)
    given = [message(b"x") for _ in range(150)]
    failed = await fails(admin.mailboxes.Import, *requests(*given))
    assert failed[:2] == (Status.RESOURCE_EXHAUSTED, "OVERQUOTA")


async def test_a_quota_counts_for_what_the_admin_service_adds_as_well(
    start_admin: StartAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "BATCH_MESSAGES", 2)
    limits = ExtensionConfig(quota_messages=5, quota_mailboxes=2)
    admin = await start_admin(extensions=limits)
    given = [message(b"x") for _ in range(6)]
    await admin.mailboxes.Import(requests(*given[:3]))
    full = Status.RESOURCE_EXHAUSTED, "OVERQUOTA"
    assert (await fails(admin.mailboxes.Import, *requests(*given[:3])))[:2] == full
    assert (await status_of(admin, "INBOX")).messages == 5  # a batch of two had room
    head = m.AppendRequest(head=m.AppendHead(user="demouser"))
    assert (await fails(admin.mailboxes.Append, head, m.AppendRequest(content=b"x: y\r\n\r\n")))[
        :2
    ] == full
    await admin.mailboxes.Create(m.MailboxCreateRequest(user="demouser", name="one"))
    two = m.MailboxCreateRequest(user="demouser", name="two")
    assert (await fails(admin.mailboxes.Create, two))[:2] == full
    rename = m.MailboxRenameRequest(user="demouser", name="INBOX", new_name="two")
    assert (await fails(admin.mailboxes.Rename, rename))[:2] == full
    new = requests(message(b"x", mailbox="two"), create=True)
    assert (await fails(admin.mailboxes.Import, *new))[:2] == full


async def test_a_batch_ends_by_octets(
    start_admin: StartAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "BATCH_OCTETS", 1000)
    admin = await start_admin()
    given = [message(b"x" * 400 + b"\r\n") for _ in range(5)]
    answers = await admin.mailboxes.Import(requests(*given))
    assert [answer.messages for answer in answers] == [3, 5, 5]


async def test_a_client_that_goes_away_ends_the_import(start_admin: StartAdmin) -> None:
    admin = await start_admin()
    stream = admin.mailboxes.Import.open()
    async with stream:
        for request in requests(message(b"x")):
            await stream.send_message(request)
        await stream.cancel()
    await admin.server.Ping(m.PingRequest())
    assert (await status_of(admin, "INBOX")).messages == 0


async def test_what_is_in_is_told_though_the_server_stops(
    start_admin: StartAdmin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is stopped while a batch is being appended."""
    admin = await start_admin()
    append, reached, goes_on = DictMailbox.append, asyncio.Event(), asyncio.Event()

    async def slow(self: DictMailbox, messages: Any) -> Any:
        uids = await append(self, messages)
        reached.set()
        await goes_on.wait()
        return uids

    async def stop(service: Any) -> None:
        await service.__aexit__(None, None, None)

    monkeypatch.setattr(DictMailbox, "append", slow)
    service = AdminService(tmp_path / "other").run(admin.imap)
    await service.__aenter__()
    told = []

    async def importing(channel: Channel) -> None:
        async with MailboxesStub(channel).Import.open() as stream:
            for request in requests(*(message(b"x") for _ in range(130))):
                await stream.send_message(request)
            while (answer := await stream.recv_message()) is not None:
                told.append(answer.messages)

    async with asyncio.timeout(10), Channel(path=str(tmp_path / "other")) as channel:
        client = asyncio.create_task(importing(channel))
        await reached.wait()
        stopping = asyncio.create_task(stop(service))
        assert await becomes(lambda: any(task.cancelling() for task in asyncio.all_tasks()))
        goes_on.set()
        with pytest.raises(GRPCError, match="shutting down"):
            await client
        await stopping
    assert told == [100]
    assert (await status_of(admin, "INBOX")).messages == 100


# -- export --


async def exported(admin: Admin, **what: Any) -> list[m.ExportResponse]:
    return await admin.mailboxes.Export(m.ExportRequest(**{"user": USER, **what}))


def in_parts(answers: list[m.ExportResponse]) -> dict[str, list[tuple[m.MessageHead, bytes]]]:
    """Messages by mailbox."""
    found: dict[str, list[tuple[m.MessageHead, bytes]]] = {}
    for answer in answers:
        match answer.WhichOneof("part"):
            case "mailbox":
                messages = found[answer.mailbox.name] = []
            case "message":
                messages.append((answer.message, b""))
            case "content":
                head, content = messages.pop()
                messages.append((head, content + answer.content))
    return found


async def test_export_has_everything(admin: Admin) -> None:
    answers = await exported(admin)
    found = in_parts(answers)
    heads = {part.mailbox.name: part.mailbox for part in answers if part.HasField("mailbox")}
    listed = await admin.mailboxes.List(m.MailboxListRequest(user=USER))
    assert list(found) == [mailbox.name for mailbox in listed.mailboxes if mailbox.id]
    assert list(heads["Sent"].special_use) == ["\\Sent"]
    assert heads["Sent"].subscribed
    async with admin.imap.backend.account(USER) as account:
        for name, messages in found.items():
            mailbox = await account.open(name)
            snapshot = await mailbox.snapshot()
            assert heads[name].uid_validity == mailbox.uid_validity
            assert heads[name].uid_next == snapshot.uid_next
            assert heads[name].messages == len(messages)
            assert [head.uid for head, _ in messages] == list(snapshot.uids)
            for head, content in messages:
                (row,) = await mailbox.metadata(UidSet.of(head.uid))
                assert content == await mailbox.content(head.uid)
                assert head.size == len(content)
                assert set(head.flags) == {flag.name for flag in row.flags}


async def test_what_was_exported_can_be_imported(admin: Admin) -> None:
    before = in_parts(await exported(admin))
    given = []
    for name, messages in before.items():
        for head, content in messages:
            head.mailbox = f"Copy/{name}"
            given += [m.ImportRequest(message=head), m.ImportRequest(content=content)]
    answers = await admin.mailboxes.Import(requests(given, create=True))
    assert answers[-1].messages == sum(map(len, before.values()))
    after = in_parts(
        await exported(admin, mailboxes=[f"Copy/{n}" for n, ms in before.items() if ms])
    )
    for name, messages in after.items():
        assert messages == [
            (m.MessageHead.FromString(head.SerializeToString()), content)
            for head, content in messages
        ]
        expected = before[name.removeprefix("Copy/")]
        for (head, content), (old, old_content) in zip(messages, expected, strict=True):
            assert content == old_content
            assert (head.flags, head.internal_date) == (old.flags, old.internal_date)


async def test_export_of_some_mailboxes(admin: Admin) -> None:
    assert list(in_parts(await exported(admin, mailboxes=["Sent", "inbox"]))) == ["Sent", "INBOX"]
    failed = await fails(
        admin.mailboxes.Export, m.ExportRequest(user=USER, mailboxes=["Sent", "Nowhere"])
    )
    assert failed[:2] == (Status.NOT_FOUND, "NONEXISTENT")
    failed = await fails(admin.mailboxes.Export, m.ExportRequest(user="nobody"))
    assert failed[:2] == (Status.NOT_FOUND, "NOUSER")


async def test_a_large_message_leaves_in_pieces(start_admin: StartAdmin) -> None:
    admin = await start_admin()
    content = b"0123456789abcd\r\n" * 100_000
    await append(admin, content)
    answers = await exported(admin)
    assert max(len(answer.content) for answer in answers) <= 128 * 1024
    assert in_parts(answers)["INBOX"][0][1] == content


async def test_what_a_client_does_not_take_is_not_read(
    start_admin: StartAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = await start_admin()
    content = b"0123456789abcd\r\n" * 20_000
    for _ in range(40):
        await append(admin, content)
    asked: list[int] = []
    contents = DictMailbox.contents

    async def count(self: DictMailbox, uids: Any) -> Any:
        asked.extend(uids)
        return await contents(self, uids)

    monkeypatch.setattr(DictMailbox, "contents", count)
    async with admin.mailboxes.Export.open() as stream:
        await stream.send_message(m.ExportRequest(user=USER), end=True)
        await stream.recv_message()
        assert not await becomes(lambda: len(asked) == 40, within_s=0.3)
        assert len(asked) < 30  # the windows hold 4 MiB of these 12
        await stream.cancel()


async def test_what_goes_meanwhile_is_left_out(
    start_admin: StartAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = await start_admin("demo")
    contents = DictMailbox.contents

    async def expunging(self: DictMailbox, uids: Any) -> Any:
        if len(uids) > 1:
            await self.expunge(UidSet.of(uids[0]))
        return await contents(self, uids)

    monkeypatch.setattr(DictMailbox, "contents", expunging)
    before = (await status_of(admin, "INBOX")).messages
    assert len(in_parts(await exported(admin))["INBOX"]) == before - 1

    async def gone(self: DictMailbox, uids: Any) -> Any:
        raise MailboxGone

    monkeypatch.setattr(DictMailbox, "contents", gone)
    assert "Sent" in in_parts(await exported(admin))
    failed = await fails(admin.mailboxes.Export, m.ExportRequest(user=USER, mailboxes=["INBOX"]))
    assert failed[:2] == (Status.NOT_FOUND, "NONEXISTENT")


async def test_others_have_their_turn_meanwhile(start_admin: StartAdmin) -> None:
    admin = await start_admin()
    given = [message(b"Subject: %d\r\n\r\n" % n + b"x" * 1000) for n in range(3000)]
    importing = asyncio.ensure_future(admin.mailboxes.Import(requests(*given)))
    loop = asyncio.get_running_loop()
    longest = 0.0
    while not importing.done():
        began = loop.time()
        await admin.server.Ping(m.PingRequest())
        longest = max(longest, loop.time() - began)
    assert (await importing)[-1].messages == 3000
    assert longest < 1
