"""The sent date of SORT and THREAD: RFC 5256 2.2."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pymap.mime.date import sent_time


@pytest.mark.parametrize(
    ("raw", "sent"),
    [
        # The RFC's example: the same moment.
        (b"31 Dec 2000 16:01:33 -0800", "2001-01-01 00:01:33"),
        (b"1 Jan 2001 00:01:33 +0000", "2001-01-01 00:01:33"),
        (b"Mon, 1 Jan 2001 05:31:33 +0530", "2001-01-01 00:01:33"),
        # An invalid or unknown zone is UTC.
        (b"1 Jan 2001 00:01:33 +9999", "2001-01-01 00:01:33"),
        (b"1 Jan 2001 00:01:33 XYZ", "2001-01-01 00:01:33"),
        (b"1 Jan 2001 00:01:33", "2001-01-01 00:01:33"),
        (b"1 Jan 2001 00:01:33 EST", "2001-01-01 05:01:33"),
        # An invalid time is 00:00:00.
        (b"1 Jan 2001 25:01:33 +0000", "2001-01-01 00:00:00"),
        (b"1 Jan 2001 12:60:33 XYZ", "2001-01-01 00:00:00"),
        (b"1 Jan 2001 noon", "2001-01-01 00:00:00"),
        (b"1 Jan 2001", "2001-01-01 00:00:00"),
        # At the ends of the calendar and before 1970
        (b"1 Jan 1960 00:00:00 +0000", "1960-01-01 00:00:00"),
        (b"31 Dec 9999 23:59:59 -1200", "9999-12-31 23:59:59"),
    ],
)
def test_sent_time(raw: bytes, sent: str) -> None:
    expected = datetime.fromisoformat(sent).replace(tzinfo=UTC)
    assert sent_time(raw) == int(expected.timestamp())


@pytest.mark.parametrize(
    "raw", [None, b"", b"yesterday", b"31 Feb 2001 10:00:00 +0000", b"0 Jan 2001", b"1 Foo 2001"]
)
def test_the_internal_date_stands_in(raw: bytes | None) -> None:
    assert sent_time(raw) is None
