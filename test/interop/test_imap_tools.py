"""imap-tools, which sits on imaplib and decodes messages."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime

import pytest
from imap_tools import (
    AND,
    NOT,
    OR,
    BaseMailBox,
    H,
    MailBox,
    MailboxLoginError,
    MailBoxStartTls,
    MailBoxUnencrypted,
    MailMessageFlags,
)
from imap_tools.errors import MailboxFolderSelectError

from .conftest import PASSWORD, USER, Place
from .messages import message


@contextmanager
def session(place: Place) -> Iterator[BaseMailBox]:
    with MailBoxUnencrypted(place.host, place.port, timeout=20).login(USER, PASSWORD) as box:
        yield box


def test_wrong_password(server: Place) -> None:
    with MailBoxUnencrypted(server.host, server.port, timeout=20) as box:
        with pytest.raises(MailboxLoginError):
            box.login(USER, "wrong")
        box.login_utf8(USER, PASSWORD)


def test_tls_and_starttls(server: Place) -> None:
    trust = server.trust()
    with MailBox("localhost", server.tls_port, ssl_context=trust, timeout=20).login(
        USER, PASSWORD
    ) as box:
        assert box.folder.get() == "INBOX"
    with MailBoxStartTls("localhost", server.port, ssl_context=trust, timeout=20).login(
        USER, PASSWORD
    ) as box:
        assert list(box.fetch()) == []


def test_demo_messages_are_decoded(demo: Place) -> None:
    with session(demo) as box:
        first, second, third, fourth = box.fetch(mark_seen=False)
        assert first.subject == "The first second"
        assert first.date == datetime(1970, 1, 1, tzinfo=UTC)
        assert second.from_values is not None
        assert second.from_values.name == "Noël Förster"
        assert third.attachments[0].content_type == "message/rfc822"
        assert fourth.subject.startswith("Schöne Grüße – the picture")
        assert {a.content_type for a in fourth.attachments} == {"image/png", "text/csv"}
        assert fourth.flags == () or "\\Seen" not in fourth.flags


def test_headers_only_reverse_limit_and_bulk(demo: Place) -> None:
    with session(demo) as box:
        uids = [m.uid for m in box.fetch(headers_only=True, reverse=True, limit=3, mark_seen=False)]
        assert uids == ["104", "103", "102"]
        assert [m.uid for m in box.fetch(bulk=True, mark_seen=False)] == [
            "101",
            "102",
            "103",
            "104",
        ]
        assert box.uids(AND(seen=False)) == ["104"]
        assert box.numbers() == ["1", "2", "3", "4"]
        next(iter(box.fetch(AND(uid="104"))))
        assert box.uids(AND(seen=False)) == []


def test_criteria(server: Place) -> None:
    with session(server) as box:
        for n in range(9):
            box.append(message(n), "INBOX", dt=datetime(2020, 1, n + 1, tzinfo=UTC))
        box.client.noop()
        assert box.uids(AND(subject="even")) == ["1", "3", "5", "7", "9"]
        assert box.uids(AND(OR(subject=["qp", "utf8"]), NOT(subject="odd"))) == ["3"]
        assert box.uids(AND(date_gte=date(2020, 1, 8))) == ["8", "9"]
        assert box.uids(AND(sent_date=date(2017, 7, 3))) == ["3"]
        assert box.uids(AND(header=[H("X-Hx-Id", "hx5")])) == ["6"]
        assert box.uids(AND(size_gt=1300)) == ["5", "9"]
        assert box.uids(AND(subject="日本"), "UTF-8") == ["8"]


def test_flags_copy_move_delete(server: Place) -> None:
    with session(server) as box:
        for n in range(4):
            box.append(message(n), "INBOX", flag_set=[MailMessageFlags.SEEN])
        box.folder.create("Kopien|für dich")
        box.flag(["1", "2"], [MailMessageFlags.FLAGGED, "MyTag"], True)
        assert box.uids(AND(flagged=True, keyword="MyTag")) == ["1", "2"]
        box.copy("1:2", "Kopien|für dich")
        box.move(["3"], "Kopien|für dich")
        box.delete("4")
        assert box.uids() == ["1", "2"]
        box.folder.set("Kopien|für dich")
        assert [m.obj.as_bytes().count(b"X-Hx-Id") for m in box.fetch()] == [1, 1, 1]


def test_folders(server: Place) -> None:
    with session(server) as box:
        box.folder.create("Ärger/日本")
        assert box.folder.exists("Ärger/日本")
        assert {f.name for f in box.folder.list()} >= {"INBOX", "Ärger/日本"}
        box.folder.subscribe("Ärger/日本", True)
        assert [f.name for f in box.folder.list(subscribed_only=True)] == ["Ärger/日本"]
        box.folder.rename("Ärger/日本", "Neu")
        assert box.folder.status("Neu")["MESSAGES"] == 0
        box.folder.delete("Neu")
        with pytest.raises(MailboxFolderSelectError):
            box.folder.set("Neu")


def test_idle_wait(server: Place) -> None:
    with session(server) as box, session(server) as other:
        assert box.idle.wait(timeout=0.05) == []
        timer = threading.Timer(0.1, other.append, [message(0)])
        timer.start()
        assert b"* 1 EXISTS" in box.idle.wait(timeout=10)
        timer.join()
        assert box.uids() == ["1"]
