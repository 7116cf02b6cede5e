"""Append: one message, delivered."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from grpclib.const import Status

from pymap.admin.append import _delivered
from pymap.admin.proto import admin_pb2 as m
from pymap.admin.requests import Invalid
from pymap.backend.dict import DictMailbox
from pymap.backend.errors import Corrupt, OverQuota
from pymap.limits import Limits
from pymap.observer import Observer
from pymap.wire.types import InternalDate, UidSet

from .calls import append, append_requests, content_of, fails
from .conftest import Admin, Connect, StartAdmin

MAIL = b"Subject: hello\r\n\r\nhello\r\n"


async def row_of(admin: Admin, name: str, uid: int) -> Any:
    async with admin.imap.backend.account("demouser") as account:
        (row,) = await (await account.open(name)).metadata(UidSet.of(uid))
        return row


async def test_a_message_is_in_its_mailbox(admin: Admin) -> None:
    before = int(time.time())
    answer = await append(admin, MAIL[:9], MAIL[9:])
    assert answer.mailbox == "INBOX"
    status = await admin.mailboxes.Status(m.MailboxStatusRequest(user="demouser", name="INBOX"))
    assert (answer.uid_validity, answer.uid) == (status.uid_validity, status.uid_next - 1)
    assert await content_of(admin, "INBOX", answer.uid) == MAIL
    row = await row_of(admin, "INBOX", answer.uid)
    assert not row.flags
    assert before <= row.internal_date.seconds <= time.time()


async def test_mailbox_flags_and_date(admin: Admin) -> None:
    answer = await append(
        admin,
        MAIL,
        mailbox="Sent",
        flags=["\\SEEN", "$Forwarded"],
        internal_date="4-Nov-2026 14:00:00 +0130",
    )
    row = await row_of(admin, "Sent", answer.uid)
    assert {flag.name for flag in row.flags} == {"\\Seen", "$Forwarded"}
    assert row.internal_date.seconds == 1793795400
    assert answer.mailbox == "Sent"


async def test_a_client_that_idles_hears_of_it(admin: Admin, connect: Connect) -> None:
    client = await (await connect(admin)).login(b"INBOX")
    await client.idle()
    await append(admin, MAIL)
    async with asyncio.timeout(2):
        assert b" EXISTS" in await client.response()


async def test_observers_are_told(start_admin: StartAdmin) -> None:
    admin = await start_admin()
    told = []

    class Note(Observer):
        def appended(self, messages: int, octets: int, source: str) -> None:
            told.append((messages, octets, source))

        def backend_failed(self, code: str) -> None:
            told.append(code)

    admin.imap.observers.append(Note())
    await append(admin, MAIL)
    assert told == [(1, len(MAIL), "admin")]


@pytest.mark.parametrize(
    ("head", "added"),
    [
        ({"sender": "a@b.example"}, b"Return-Path: <a@b.example>\r\n"),
        ({"sender": "<a@b.example>"}, b"Return-Path: <a@b.example>\r\n"),
        ({"sender": ""}, b"Return-Path: <>\r\n"),
        ({"sender": "<>"}, b"Return-Path: <>\r\n"),
        ({"recipient": "me@x.example"}, b"Delivered-To: me@x.example\r\n"),
        (
            {"sender": "ä@b", "recipient": "me"},
            "Return-Path: <ä@b>\r\nDelivered-To: me\r\n".encode(),
        ),
    ],
)
async def test_the_envelope_is_put_in_front(
    start_admin: StartAdmin, head: dict[str, Any], added: bytes
) -> None:
    admin = await start_admin()
    answer = await append(admin, MAIL, **head)
    assert await content_of(admin, "INBOX", answer.uid) == added + MAIL


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (b"A: b\n\nc\nd", b"A: b\r\n\r\nc\r\nd"),
        (b"A: b\r\n\r\nc\nd", b"A: b\r\n\r\nc\nd"),  # as it is
        (b"A: b\nC: d\n\ne\r\nf\r\r\n", b"A: b\r\nC: d\r\n\r\ne\r\nf\r\r\n"),
        (b"From a@b Thu\nA: b\r\n\r\nc\n", b"A: b\r\n\r\nc\n"),
        (b"From a@b Thu\nA: b\n\nc\n", b"A: b\r\n\r\nc\r\n"),
        (b"From a@b Thu\r\nA: b\r\n\r\nc\r\n", b"A: b\r\n\r\nc\r\n"),
        (b"From: a\n\nFrom c\n", b"From: a\r\n\r\nFrom c\r\n"),
        (b"a\0b\xff\n", b"a\0b\xff\r\n"),
        (b"\n", b"\r\n"),
        (b"no line", b"no line"),
    ],
)
async def test_line_ends(start_admin: StartAdmin, given: bytes, kept: bytes) -> None:
    admin = await start_admin()
    answer = await append(admin, given)
    assert await content_of(admin, "INBOX", answer.uid) == kept


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (b"Return-Path: <x>\nA: b\n\nc", b"A: b\r\n\r\nc"),
        (
            b"A: b\nRETURN-PATH : <x>\n y\n\tz\nC: d\n\nReturn-Path: e",
            b"A: b\r\nC: d\r\n\r\nReturn-Path: e",
        ),
        (b"Return-Path: 1\r\nReturn-Path: 2\r\n\r\n", b"\r\n"),
        (b"A: b\r\nReturn-Path: <x>", b"A: b\r\n"),
        (b"X-Return-Path: 1\n\n", b"X-Return-Path: 1\r\n\r\n"),
        (b"\nReturn-Path: 1\n", b"\r\nReturn-Path: 1\r\n"),
    ],
)
def test_a_return_path_that_was_there_is_replaced(given: bytes, kept: bytes) -> None:
    """RFC 5321 4.4: there is one, of the last delivery."""
    assert _delivered(given, b"", replace_return_path=True) == kept
    untouched = _delivered(given, b"", replace_return_path=False)
    assert untouched.replace(b"\r\n", b"\n") == given.replace(b"\r\n", b"\n")


@pytest.mark.parametrize("field", ["sender", "recipient"])
@pytest.mark.parametrize("value", ["a\r\nBcc: x", "a\nb", "a\rb", "a\0", "x" * 1001])
async def test_no_header_is_slipped_in(start_admin: StartAdmin, field: str, value: str) -> None:
    admin = await start_admin()
    failed = await fails(admin.mailboxes.Append, *append_requests(MAIL, **{field: value}))
    assert failed.status is Status.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "head",
    [
        {"flags": ["\\Recent"]},
        {"flags": ["\\Other"]},
        {"flags": ["a b"]},
        {"flags": [""]},
        {"flags": ["ä"]},
        {"flags": ["a\0"]},
        {"internal_date": "yesterday"},
        {"internal_date": "31-Feb-2026 14:00:00 +0000"},
        {"internal_date": '24-Nov-2026 14:00:00 +0000" x'},
    ],
)
async def test_what_no_message_can_have(start_admin: StartAdmin, head: dict[str, Any]) -> None:
    admin = await start_admin()
    failed = await fails(admin.mailboxes.Append, *append_requests(MAIL, **head))
    assert failed.status is Status.INVALID_ARGUMENT
    assert failed.text.startswith("not a ")


@pytest.mark.parametrize("head", [{"flags": ["a"] * 201}, {"flags": ["x" * 256]}])
async def test_limits_of_flags(start_admin: StartAdmin, head: dict[str, Any]) -> None:
    admin = await start_admin()
    failed = await fails(admin.mailboxes.Append, *append_requests(MAIL, **head))
    assert failed[:2] == (Status.RESOURCE_EXHAUSTED, "LIMIT")


async def test_who_and_where_has_to_exist(admin: Admin) -> None:
    append = admin.mailboxes.Append
    failed = await fails(append, *append_requests(MAIL, user="nobody"))
    assert failed[:2] == (Status.NOT_FOUND, "NOUSER")
    failed = await fails(append, *append_requests(MAIL, mailbox="Nowhere"))
    assert failed[:2] == (Status.NOT_FOUND, "NONEXISTENT")
    names = await admin.mailboxes.List(m.MailboxListRequest(user="demouser"))
    assert "Nowhere" not in [mailbox.name for mailbox in names.mailboxes]


async def test_the_order_of_parts(start_admin: StartAdmin) -> None:
    admin = await start_admin()
    head, content = append_requests(MAIL)
    for requests in (
        [],
        [content],
        [content, head],
        [head],
        [head, m.AppendRequest(content=b"")],
        [head, m.AppendRequest(content=b"From me")],
        [head, head, content],
        [head, content, m.AppendRequest()],
    ):
        failed = await fails(admin.mailboxes.Append, *requests)
        assert failed.status is Status.INVALID_ARGUMENT
    status = await admin.mailboxes.Status(m.MailboxStatusRequest(user="demouser", name="INBOX"))
    assert status.messages == 0


async def test_a_message_that_is_too_big_is_not_read_to_its_end(start_admin: StartAdmin) -> None:
    admin = await start_admin(limits=Limits(append=100_000))
    content = m.AppendRequest(content=b"x" * 60_000)
    head, *_ = append_requests()
    stream = admin.mailboxes.Append.open()
    try:
        async with stream:
            await stream.send_message(head)
            for _ in range(1000):  # more than the windows of HTTP/2 hold
                await stream.send_message(content)
    except Exception as error:
        told = error
    assert getattr(told, "status", None) in (None, Status.RESOURCE_EXHAUSTED)
    failed = await fails(admin.mailboxes.Append, head, content, content)
    assert failed[:2] == (Status.RESOURCE_EXHAUSTED, "TOOBIG")
    # What is added counts, line ends and header fields.
    exact = b"x" * 99_999 + b"\n"
    failed = await fails(admin.mailboxes.Append, *append_requests(exact))
    assert failed.code == "TOOBIG"
    assert (await append(admin, exact[1:])).uid


async def test_a_large_message_in_pieces(admin: Admin) -> None:
    content = MAIL + b"0123456789abcde\r\n" * 200_000
    pieces = [content[start : start + 100_000] for start in range(0, len(content), 100_000)]
    answer = await append(admin, *pieces, sender="a@b")
    kept = await content_of(admin, "INBOX", answer.uid)
    assert kept == b"Return-Path: <a@b>\r\n" + content


async def test_what_the_store_says(
    start_admin: StartAdmin, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    admin = await start_admin()
    told = []

    class Note(Observer):
        def backend_failed(self, code: str) -> None:
            told.append(code)

    admin.imap.observers.append(Note())
    for error, expected in (
        (OverQuota(), (Status.RESOURCE_EXHAUSTED, "OVERQUOTA", "Over quota")),
        (Corrupt(), (Status.DATA_LOSS, "CORRUPTION", "The mailbox is damaged")),
        (ZeroDivisionError("secret"), (Status.INTERNAL, "SERVERBUG", "Internal error")),
    ):

        async def fail(self: Any, messages: Any, error: Exception = error) -> Any:
            raise error

        monkeypatch.setattr(DictMailbox, "append", fail)
        assert await fails(admin.mailboxes.Append, *append_requests(MAIL)) == expected
    assert told == ["CORRUPTION", "SERVERBUG"]
    assert [
        record.exc_info is not None for record in caplog.records if record.levelname == "ERROR"
    ] == [True]


def test_nothing_but_the_line_of_mbox_is_empty() -> None:
    with pytest.raises(Invalid):
        _delivered(b"From me\n", b"Return-Path: <>\r\n", replace_return_path=True)


def test_dates_as_internaldate_has_them() -> None:
    from pymap.admin.requests import internal_date_of, internal_date_text

    for date in (InternalDate(0), InternalDate(1_800_000_000, -570), InternalDate(-1, 60)):
        assert internal_date_of(internal_date_text(date)) == date
