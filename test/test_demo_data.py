"""The demo account: what its manifest promises, and that its messages are well-formed mail."""

import tomllib
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as policy
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

DEMO = Path(__file__).parents[1] / "pymap" / "backend" / "dict" / "demo"
MAILBOXES: dict[str, dict[str, Any]] = {
    box["name"]: box for box in tomllib.loads((DEMO / "manifest.toml").read_text())["mailbox"]
}
MESSAGES = [message for box in MAILBOXES.values() for message in box.get("message", [])]
FILES = [message["file"] for message in MESSAGES]


def parse(file: str) -> EmailMessage:
    message = message_from_bytes((DEMO / file).read_bytes(), policy=policy)
    assert isinstance(message, EmailMessage)
    return message


def test_every_file_is_listed_once() -> None:
    assert sorted(FILES) == sorted(p.relative_to(DEMO).as_posix() for p in DEMO.rglob("*.eml"))


def test_inbox_is_what_the_readme_shows() -> None:
    inbox = MAILBOXES["INBOX"]["message"]
    assert [m["uid"] for m in inbox] == [101, 102, 103, 104]
    assert [r"\Seen" in m["flags"] for m in inbox] == [True, True, True, False]
    assert [m.get("recent", False) for m in inbox] == [False, False, False, True]
    assert inbox[0]["internal_date"] == datetime(1970, 1, 1, tzinfo=UTC)
    assert inbox[3]["internal_date"].year == 2026


def test_mailboxes_and_their_uses() -> None:
    uses = {name: box.get("special_use", []) for name, box in MAILBOXES.items()}
    assert uses == {
        "INBOX": [],
        "Sent": [r"\Sent"],
        "Trash": [r"\Trash"],
        "Drafts": [r"\Drafts"],
        "Archive": [r"\Archive"],
        "Archive/2026": [],
    }
    counts = {name: len(box.get("message", [])) for name, box in MAILBOXES.items()}
    assert counts == {
        "INBOX": 4, "Sent": 2, "Trash": 1, "Drafts": 1, "Archive": 0, "Archive/2026": 0,
    }  # fmt: skip


@pytest.mark.parametrize("file", FILES)
def test_octets_are_as_served(file: str) -> None:
    octets = (DEMO / file).read_bytes()
    assert octets.endswith(b"\r\n")
    bare = octets.replace(b"\r\n", b"")
    assert not any(octet in bare for octet in b"\r\n\0")
    assert max(map(len, octets.split(b"\r\n"))) <= 78  # RFC 5322 2.1.1


@pytest.mark.parametrize("file", FILES)
def test_message_is_well_formed(file: str) -> None:
    message = parse(file)
    assert not [defect for part in message.walk() for defect in part.defects]
    assert not [d for part in message.walk() for _, v in part.items() for d in v.defects]
    for name in ("Date", "From", "Subject", "Message-ID", "MIME-Version", "Content-Type"):
        assert len(message.get_all(name, [])) == 1, name


@pytest.mark.parametrize("entry", MESSAGES, ids=FILES)
def test_message_arrived_within_minutes(entry: dict[str, Any]) -> None:
    date = str(parse(entry["file"])["Date"])
    sent = parsedate_to_datetime(date)
    assert f"{sent:%a}" == date[:3]
    assert 0 <= (entry["internal_date"] - sent).total_seconds() < 300


def test_rich_message() -> None:
    message = parse("INBOX/104.eml")
    types = [part.get_content_type() for part in message.walk()]
    assert types == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "multipart/related",
        "text/html",
        "image/png",
        "text/csv",
    ]
    *_, html, image, table = message.walk()
    assert f"cid:{image['Content-ID'][1:-1]}" in html.get_content()
    assert image.get_content().startswith(b"\x89PNG\r\n")
    assert table.get_filename() == "Ernte & récolte – Äpfel 2026.csv"
    assert message["Subject"] == "Schöne Grüße – the picture you asked for 🍎"


def test_nested_message_is_a_multipart() -> None:
    types = [part.get_content_type() for part in parse("INBOX/103.eml").walk()]
    assert types == [
        "multipart/mixed",
        "text/plain",
        "message/rfc822",
        "multipart/alternative",
        "text/plain",
        "text/html",
    ]


def test_answers_refer_to_messages_that_are_there() -> None:
    known = {parse(file)["Message-ID"] for file in FILES}
    answers = {file: parse(file)["In-Reply-To"] for file in FILES}
    assert {file for file, to in answers.items() if to in known} == {"INBOX/104.eml", "Sent/1.eml"}
