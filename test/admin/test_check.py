"""Check: nothing to say of what is well, and everything of what is not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from grpclib.const import Status

from pymap.admin.proto import admin_pb2 as m
from pymap.backend.api import digest
from pymap.backend.dict import DictAccount, DictMailbox, DictUsers
from pymap.backend.errors import CannotDo, Corrupt, MailboxGone, MailboxNotFound, Unavailable
from pymap.wire.types import SEEN, FlagOp, UidSet

from .calls import append, fails
from .conftest import Admin, StartAdmin

USER = "demouser"
ALL = UidSet(((1, 0xFFFFFFFF),))


async def checked(admin: Admin, **what: Any) -> tuple[list[m.Finding], m.Progress]:
    answers = await admin.mailboxes.Check(m.CheckRequest(**{"user": USER, **what}))
    assert answers[-1].HasField("progress")
    findings = [answer.finding for answer in answers if answer.HasField("finding")]
    return findings, answers[-1].progress


async def test_all_is_well(admin: Admin) -> None:
    findings, progress = await checked(admin)
    assert findings == []
    listed = await admin.mailboxes.List(m.MailboxListRequest(user=USER))
    real = [mailbox.name for mailbox in listed.mailboxes if mailbox.id]
    statuses = [
        await admin.mailboxes.Status(m.MailboxStatusRequest(user=USER, name=name)) for name in real
    ]
    assert progress == m.Progress(
        users=1,
        mailboxes=len(real),
        messages=sum(status.messages for status in statuses),
        octets=sum(status.size for status in statuses),
    )


async def test_some_mailboxes_and_all_users(start_admin: StartAdmin) -> None:
    admin = await start_admin("demo")
    await admin.users.Add(m.UserAddRequest(name="bob", password="x", scheme="SSHA"))

    async def names(self: Any) -> Any:
        for name in ("bob", USER):
            yield name

    class Users(DictUsers):
        pass

    Users.names = names  # type: ignore[method-assign,assignment]
    users = Users()
    users._users = admin.imap.backend.users._users  # type: ignore[attr-defined]
    admin.imap.backend.users = users
    _, progress = await checked(admin, mailboxes=["inbox", "Sent"])
    assert (progress.users, progress.mailboxes) == (1, 2)
    _, progress = await checked(admin, user="")
    assert progress.users == 2
    failed = await fails(admin.mailboxes.Check, m.CheckRequest(user=USER, mailboxes=["x"]))
    assert failed[:2] == (Status.NOT_FOUND, "NONEXISTENT")
    failed = await fails(admin.mailboxes.Check, m.CheckRequest(user="nobody"))
    assert failed[:2] == (Status.NOT_FOUND, "NOUSER")


async def test_users_that_cannot_be_listed(start_admin: StartAdmin) -> None:
    admin = await start_admin()

    class Users(DictUsers):
        def names(self) -> Any:
            raise CannotDo("Nobody knows them")

    admin.imap.backend.users = Users()
    failed = await fails(admin.mailboxes.Check, m.CheckRequest())
    assert failed[:2] == (Status.FAILED_PRECONDITION, "CANNOT")


# -- what is wrong: a method of the store, what it says instead, and what is found --

Lie = Callable[[Any], Any]
LIES: list[tuple[str, Lie, str]] = [
    ("snapshot", lambda s: s._replace(uids=[2, 1, 3]), "the UIDs do not ascend"),
    ("snapshot", lambda s: s._replace(uid_next=3), "the UIDs go from 1 to 3, but UIDNEXT is 3"),
    ("snapshot", lambda s: s._replace(uids=[1, 2, 3, 4], uid_next=5), "is listed, but nothing is known of it"),
    ("snapshot", lambda s: s._replace(modseq=1), "its modseq is 2, that of the mailbox 1"),
    ("metadata", lambda rows: [*rows, rows[0]], "tells of other messages than were asked for"),
    ("metadata", lambda rows: [row._replace(size=1) for row in rows], "has 16 octets, not 1"),
    ("metadata", lambda rows: [row._replace(modseq=0) for row in rows], "its modseq is 0, that of the mailbox 4"),
    ("metadata", lambda rows: [row._replace(email_id="?") for row in rows], "has no valid email id"),
    ("status", lambda status: status._replace(messages=7), "the status says messages 7, counted are 3"),
    ("status", lambda status: status._replace(unseen=0), "the status says unseen 0, counted are 2"),
    ("status", lambda status: status._replace(size=0), "the status says size 0, counted are 48"),
    ("status", lambda status: status._replace(uid_next=9), "the status says uid_next 9, the mailbox 4"),
    ("status", lambda status: status._replace(modseq=9), "the status says modseq 9, the mailbox 4"),
    ("contents", lambda contents: [None for _ in contents], "is listed, but has no content"),
    ("contents", lambda contents: [c + b"!" for c in contents], "has 17 octets, not 16"),
    ("digests", lambda digests: [digest(b"x") for _ in digests], "what is kept of its structure does not fit"),
    ("headers", lambda headers: [b"" for _ in headers], "what is kept of its header does not fit"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "lie", "text"), LIES)
async def test_what_does_not_fit_is_found(
    start_admin: StartAdmin, monkeypatch: pytest.MonkeyPatch, method: str, lie: Lie, text: str
) -> None:
    admin = await start_admin()
    for flags in ([], ["\\Seen"], []):
        await append(admin, b"Subject: a\r\n\r\nbc", flags=flags)
    assert await checked(admin) == ([], m.Progress(users=1, mailboxes=1, messages=3, octets=48))
    truth = getattr(DictMailbox, method)

    async def lies(self: DictMailbox, *arguments: Any) -> Any:
        return lie(await truth(self, *arguments))

    monkeypatch.setattr(DictMailbox, method, lies)
    findings, _ = await checked(admin)
    assert text in [finding.text for finding in findings]
    for finding in findings:
        assert (finding.user, finding.mailbox) == (USER, "INBOX")


async def test_one_broken_message_does_not_hide_the_others(
    start_admin: StartAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = await start_admin()
    for _ in range(3):
        await append(admin, b"Subject: a\r\n\r\nb")
    truth = DictMailbox.contents

    async def broken(self: DictMailbox, uids: Any) -> Any:
        if 2 in uids:
            raise Corrupt
        return await truth(self, uids)

    monkeypatch.setattr(DictMailbox, "contents", broken)
    findings, progress = await checked(admin)
    assert [(finding.uid, finding.text) for finding in findings] == [
        (2, "cannot be read: The mailbox is damaged")
    ]
    assert progress.messages == 2


async def test_two_mailboxes_with_one_name(
    start_admin: StartAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = await start_admin("demo")
    account = admin.imap.backend.account_of(USER)  # type: ignore[attr-defined]
    sent, inbox = account._mailboxes["Sent"], account._mailboxes["INBOX"]
    sent.id, sent.uid_validity = inbox.id, inbox.uid_validity
    findings, _ = await checked(admin)
    assert [(finding.mailbox, finding.text) for finding in findings] == [
        ("Sent", "has the id of 'INBOX'"),
        ("Sent", "has the UIDVALIDITY of 'INBOX'"),
    ]
    inbox.id = "not an id"
    findings, _ = await checked(admin)
    assert findings[0].text == "has no valid id"
    opened = DictAccount.open

    async def refuses(self: DictAccount, name: str) -> Any:
        if name == "Sent":
            raise MailboxNotFound
        if name == "INBOX":
            raise Corrupt
        return await opened(self, name)

    monkeypatch.setattr(DictAccount, "open", refuses)
    findings, _ = await checked(admin)
    texts = {finding.mailbox: finding.text for finding in findings}
    assert texts["Sent"] == "is listed, but does not exist"
    assert texts["INBOX"] == "cannot be read: The mailbox is damaged"
    del account._mailboxes["INBOX"]
    findings, _ = await checked(admin)
    assert "has no INBOX" in [finding.text for finding in findings]


async def test_a_store_that_goes_away_ends_it(
    start_admin: StartAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = await start_admin("demo")
    for name in ("contents", "snapshot"):

        async def away(self: DictMailbox, *arguments: Any) -> Any:
            raise Unavailable

        monkeypatch.setattr(DictMailbox, name, away)
        failed = await fails(admin.mailboxes.Check, m.CheckRequest(user=USER))
        assert failed[:2] == (Status.UNAVAILABLE, "UNAVAILABLE")


async def test_a_mailbox_that_changes_all_the_time_is_no_finding(
    start_admin: StartAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = await start_admin("demo")
    status = DictMailbox.status
    added = iter(range(1000))

    async def changing(self: DictMailbox) -> Any:
        flags = frozenset([SEEN])
        await self.store(ALL, FlagOp.ADD if next(added) % 2 else FlagOp.REMOVE, flags)
        return await status(self)

    monkeypatch.setattr(DictMailbox, "status", changing)
    assert (await checked(admin))[0] == []
    contents = DictMailbox.contents

    async def expunging(self: DictMailbox, uids: Any) -> Any:
        await self.expunge(UidSet.of(uids[0]))
        return await contents(self, uids)

    monkeypatch.setattr(DictMailbox, "contents", expunging)
    assert (await checked(admin))[0] == []

    async def gone(self: DictMailbox) -> Any:
        admin.imap.backend.account_of(USER)._mailboxes.pop("Sent", None)  # type: ignore[attr-defined]
        raise MailboxGone

    monkeypatch.setattr(DictMailbox, "snapshot", gone)
    findings, _ = await checked(admin)
    assert "Sent" not in [finding.mailbox for finding in findings]


async def test_a_damaged_maildir(start_admin: StartAdmin) -> None:
    """Not an invented lie: a message that somebody has written to, whose digest is kept."""
    admin = await start_admin("demo", "maildir")
    answer = await append(admin, b"Subject: a\r\n\r\nb\r\n")
    assert (await checked(admin))[0] == []
    root: Path = admin.imap.backend.users.entry(USER).directory  # type: ignore[attr-defined]
    (file,) = (
        path for path in (root / "cur").iterdir() if path.read_bytes().startswith(b"Subject: a")
    )
    file.write_bytes(b"Subject: something else\r\nX: y\r\n\r\nb\r\n")
    findings, _ = await checked(admin)
    assert findings
    assert {finding.uid for finding in findings} == {answer.uid}


async def test_progress_is_told_of(
    start_admin: StartAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pymap.admin import check

    monkeypatch.setattr(check, "PROGRESS_S", -1)
    admin = await start_admin("demo")
    answers = await admin.mailboxes.Check(m.CheckRequest(user=USER))
    counts = [answer.progress.messages for answer in answers]
    assert len(counts) > 3
    assert counts == sorted(counts)


async def test_who_goes_away_ends_the_check(
    start_admin: StartAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = await start_admin("demo")
    began, ended = asyncio.Event(), asyncio.Event()

    async def slow(self: DictMailbox, uids: Any) -> Any:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    monkeypatch.setattr(DictMailbox, "contents", slow)
    async with admin.mailboxes.Check.open() as stream:
        await stream.send_message(m.CheckRequest(user=USER), end=True)
        await began.wait()
        await stream.cancel()
    async with asyncio.timeout(5):
        await ended.wait()
