"""mbox as other programs write it."""

from __future__ import annotations

import io
import mailbox as stdlib
import os
import time
from pathlib import Path

import pytest
from backend.maildir.dovecot_process import dovecot
from hypothesis import given
from hypothesis import strategies as st

from pymap.admin.formats import mbox
from pymap.wire.types import InternalDate

from .mail import PARTS, Given, Read, taken, write

FROM = b"From a@b Tue Nov 24 14:00:00 2026\n"
DATE = InternalDate(1795528800)


def read(octets: bytes) -> list[Read]:
    return taken(mbox.read(io.BytesIO(octets)))


def contents(octets: bytes) -> list[bytes]:
    return [message.content for message in read(octets)]


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"", []),
        (b"\n\n", []),
        (FROM + b"A: 1\n\nx\n", [b"A: 1\r\n\r\nx\r\n"]),
        (FROM + b"A: 1\n\nx\n\n", [b"A: 1\r\n\r\nx\r\n"]),  # the empty line ends it
        (FROM + b"A: 1\n\nx\n\n\n", [b"A: 1\r\n\r\nx\r\n\r\n"]),
        (FROM + b"A: 1\n\nx", [b"A: 1\r\n\r\nx"]),
        (FROM + b"A: 1\n\n" + FROM + b"B: 2\n\n", [b"A: 1\r\n", b"B: 2\r\n"]),
        (b"\n" + FROM + b"A: 1\n\n", [b"A: 1\r\n"]),
        (FROM, [b""]),
        (FROM[:-1], [b""]),
        (FROM + b"\n", [b""]),
        (FROM + FROM + b"\nbody\n", [b"", b"\r\nbody\r\n"]),  # a message without a header
        # Line ends.
        (FROM.replace(b"\n", b"\r\n") + b"A: 1\r\n\r\nx\r\n\r\n", [b"A: 1\r\n\r\nx\r\n"]),
        (FROM + b"A: 1\n\na\r\nb\nc\rd\r\r\n\n", [b"A: 1\r\n\r\na\r\nb\r\nc\rd\r\r\n"]),
        (FROM + b"A: 1\n\n\0\xff\n\n", [b"A: 1\r\n\r\n\0\xff\r\n"]),
        # Quotes: what mboxrd and mboxo write.
        (FROM + b"A: 1\n\n>From me\n>>From me\n> From me\n\n",
         [b"A: 1\r\n\r\nFrom me\r\n>From me\r\n> From me\r\n"]),
        (FROM + b"A: 1\n>From uucp Tue Nov 24 14:00:00 2026\n\nx\n\n",
         [b"A: 1\r\n>From uucp Tue Nov 24 14:00:00 2026\r\n\r\nx\r\n"]),
        # Lines of text that begin with From, without a quote.
        (FROM + b"A: 1\n\nFrom me to you\n\nFrom Monday on\nFrom\nFrom \n\n",
         [b"A: 1\r\n\r\nFrom me to you\r\n\r\nFrom Monday on\r\nFrom\r\nFrom \r\n"]),
        (FROM + b"A: 1\n\nFrom Mon to Fri, 10:00 in 2026\n\n",
         [b"A: 1\r\n\r\nFrom Mon to Fri, 10:00 in 2026\r\n"]),
        (FROM + b"A: 1\n\n" + FROM[:5] + b"x" * 500 + FROM[8:] + b"\n",
         [b"A: 1\r\n\r\n" + FROM[:5] + b"x" * 500 + FROM[8:-1] + b"\r\n"]),
        # c-client's first message is none.
        (FROM + b"From: MAILER-DAEMON\nSubject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\n"
         b"X-IMAP: 1 2\nStatus: RO\n\nThis text is part of the internal format.\n\n" + FROM
         + b"A: 1\n\n", [b"A: 1\r\n"]),
    ],
)  # fmt: skip
def test_messages(octets: bytes, expected: list[bytes]) -> None:
    assert contents(octets) == expected


@pytest.mark.parametrize(
    "octets", [b"x", b"Subject: x\n\n" + FROM, b"From me\n", b"\n\nx\n" + FROM]
)
def test_no_mbox(octets: bytes) -> None:
    with pytest.raises(mbox.NotMbox):
        read(octets)


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        (b"From a@b Tue Nov 24 14:00:00 2026", 1795528800),
        (b"From Tue Nov 24 14:00:00 2026", 1795528800),
        (b"From - Tue Nov 24 14:00:00 2026", 1795528800),  # Thunderbird
        (b"From ???@??? Tue Nov 24 14:00:00 2026", 1795528800),  # Eudora
        (b"From 17@xxx Tue Nov 24 14:00:00 +0000 2026", 1795528800),  # Google
        (b"From a@b Tue Nov 24 14:00:00 +0100 2026", 1795528800 - 3600),
        (b"From a@b Tue Nov 24 14:00:00 2026 +0100", 1795528800 - 3600),
        (b"From a@b Tue Nov 24 14:00:00 2026 -0130", 1795528800 + 5400),
        (b"From a@b Tue Nov 24 14:00:00 EST 2026", 1795528800 + 5 * 3600),
        (b"From a@b Tue, 24 Nov 2026 14:00:00 +0100", 1795528800 - 3600),
        (b'From "a b"@c  Tue Nov  3 14:00 2026', 1793714400),
        (b"From a@b Tue Nov 24 14:00:00 2026 remote from c", 1795528800),
        (b"From Mon Day Tue Nov 24 14:00:00 2026", 1795528800),
        (b"From a@b Tue Nov 31 14:00:00 2026", None),  # it begins a message all the same
        (b"From a@b Tue Nov 24 14:00:00 0000", None),
    ],
)
def test_dates(line: bytes, seconds: int | None) -> None:
    (message,) = read(line + b"\nA: 1\n\n")
    assert message.date == (None if seconds is None else InternalDate(seconds))
    assert message.content == b"A: 1\r\n"


def test_flags_are_in_the_header_and_not_in_the_message() -> None:
    (message,) = read(
        FROM + b"Received: x\nStatus: RO\nX-Status: AF\nSubject: x\nX-Keywords: Junk to-do\n"
        b"  more\nX-UID: 12\nX-IMAPbase: 7 12 Junk\nstatus: D\nTo: y\n\nStatus: RO\n\n"
    )
    assert message.flags == {"\\Seen", "\\Answered", "\\Flagged", "Junk", "to-do"}
    assert message.content == b"Received: x\r\nSubject: x\r\nTo: y\r\n\r\nStatus: RO\r\n"
    (message,) = read(FROM + b"X-Status: DT\nStatus: O\nA: 1\n\n")
    assert message.flags == {"\\Deleted", "\\Draft"}


def test_what_is_no_keyword_is_left_out() -> None:
    (message,) = read(FROM + "X-Keywords: Ok (no) \\Seen ä %\x01 a]b\n\n".encode())
    assert message.flags == {"Ok"}


@pytest.mark.parametrize(
    "claim",
    [
        b"X-Pymap: octets=3; lines=crlf; date=24-Nov-2026 14:00:00 +0000",
        b"X-Pymap: octets=999999999999; lines=crlf; date=24-Nov-2026 14:00:00 +0000",
        b"X-Pymap: octets=9; lines=mixed; date=nonsense",
        b"X-Pymap: octets=9999999999999999999999; lines=crlf; date=x",
    ],
)
def test_a_line_of_ours_that_does_not_fit_takes_nothing_away(claim: bytes) -> None:
    (message,) = read(FROM + claim + b"\nA: 1\n\nbody\n\n")
    text = message.content.replace(b"\r\n", b"\n")
    assert text.endswith(b"A: 1\n\nbody\n")


def test_a_header_without_end_is_a_message() -> None:
    octets = FROM + b"Status: RO\n" + b"A: 1\n" * 500_000
    (message,) = read(octets)
    assert message.flags == {"\\Seen"}
    assert message.content == b"A: 1\r\n" * 500_000


def test_a_pipe_that_gives_a_few_octets_at_a_time() -> None:
    octets = (FROM + b"A: 1\n\n>From me\nFrom me\n\n") * 3

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(size or 7, 7))

    assert taken(mbox.read(Slow(octets))) == read(octets)


def test_costs_do_not_depend_on_how_it_is_written() -> None:
    """Lines made for regular expressions to walk to and fro."""
    started = time.monotonic()
    for line in (
        b"From " + b" Mon" * 98, b"From Mon, " + b"Jan 1 " * 60, b"From " + b">" * 390,
        b">" * 200_000 + b"From ", b"Status: " + b"\n \n " * 5000, b"X-Keywords:" + b" \t" * 50_000,
    ):  # fmt: skip
        assert len(contents(FROM + (line + b"\n") * (2_000_000 // len(line)))) == 1
    assert time.monotonic() - started < 20


@given(st.lists(st.sampled_from([*PARTS, FROM, FROM[:-1], b">" + FROM]) | st.binary(max_size=5)))
def test_any_octets_are_read_or_refused(parts: list[bytes]) -> None:
    try:
        read(b"".join(parts))
    except mbox.NotMbox:
        return


# -- what others make of ours --


def test_the_standard_library_reads_it(tmp_path: Path) -> None:
    given = [
        Given(7, frozenset({"\\Seen", "Junk"}), InternalDate(1_000_000_000), b"A: 1\r\n\r\nx\r\n"),
        Given(9, frozenset({"\\Answered"}), DATE, b"A: 2\r\n\r\n\r\nFrom me\r\n\r\n" + FROM),
        Given(10, frozenset(), DATE, b"A: 3\r\n\r\nno line end"),
    ]
    write(mbox.MboxTree(tmp_path), {"INBOX": given}, uid_validity=33)
    path = tmp_path / "INBOX.mbox"
    assert path.stat().st_mode & 0o777 == 0o600
    box = stdlib.mbox(path)
    try:
        assert [message["A"] for message in box] == ["1", "2", "3"]
        assert [message.get_flags() for message in box] == ["RO", "OA", "O"]
        assert [message["X-UID"] for message in box] == ["7", "9", "10"]
        assert [message["X-Keywords"] for message in box] == ["Junk", "", ""]
        assert box[0]["X-IMAPbase"] == "33 0000000010"
        assert box[0].get_from() == "MAILER-DAEMON Sun Sep  9 01:46:40 2001"
        assert box[0].get_payload() == "x\n"
        assert box[2].get_payload() == "no line end\n"
    finally:
        box.close()


@pytest.mark.parametrize(
    ("field", "sender"),
    [
        (b"Return-Path: <me@example.com>", b"me@example.com"),
        (b"X: y\r\nreturn-path:<me@x>", b"me@x"),
        (b"Return-Path: <>", b"MAILER-DAEMON"),
        (b"Return-Path: <a b@x>", b"MAILER-DAEMON"),
        (b"Return-Path: <" + b"x" * 5000 + b">", b"MAILER-DAEMON"),
    ],
)
def test_the_sender_is_that_of_the_envelope(field: bytes, sender: bytes) -> None:
    file = io.BytesIO()
    mbox.write_message(file, io.BytesIO(field + b"\r\n\r\n"), [], DATE, 1)
    assert file.getvalue().startswith(b"From %b Tue Nov 24 14:00:00 2026\n" % sender)


def test_a_name_that_leads_elsewhere_stays_inside(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    write(mbox.MboxTree(root), {"../../x": [], "..": [], ".": [], "a/../b": [], "\\x": []})
    assert os.listdir(tmp_path) == ["root"]
    found = {str(path.relative_to(root)) for path in root.rglob("*.mbox")}
    assert found == {"%2E..mbox", "%2E.mbox", "%2E./%2E./x.mbox", "%5Cx.mbox", "a/%2E./b.mbox"}


def test_dovecot_serves_it_with_the_same_uids() -> None:
    given = [
        Given(7, frozenset({"\\Seen", "Junk"}), InternalDate(1_000_000_000), b"A: 1\r\n\r\nx\r\n"),
        Given(9, frozenset({"\\Answered"}), DATE, b"A: 2\r\n\r\n>From me\r\nFrom me\r\n\r\n"),
        Given(40, frozenset({"\\Draft", "Junk"}), DATE, b"A: 3\r\n\r\ny\r\n"),
    ]
    with dovecot("++") as process:
        config = process.base / "dovecot.conf"
        config.write_text(
            config.read_text().replace("maildir:", "mbox:").replace(
                "/Maildir", "/mail:INBOX=" + str(process.base / "mail/INBOX")
            )
        )  # fmt: skip
        root = process.base / "mail"
        root.mkdir()
        write(mbox.MboxTree(root), {"INBOX": given}, uid_validity=77)
        (root / "INBOX.mbox").rename(root / "INBOX")
        assert process.uid_validity("INBOX") == 77
        lines = process.imap("SELECT INBOX", "UID FETCH 1:* (FLAGS)")
        fetched = [line for line in lines if b" FETCH " in line]
        for line, message in zip(fetched, given, strict=True):
            assert f"UID {message.uid} ".encode() in line
            flags = line.partition(b"FLAGS (")[2].partition(b")")[0].decode().split()
            assert set(flags) - {"\\Recent"} == message.flags - {"Junk"}  # see rule 4
        assert not process.log
