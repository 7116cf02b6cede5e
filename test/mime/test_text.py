"""Octets to text: encoded-words, charsets, dates, and what SEARCH sees."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from pymap.mime import (
    decode_text,
    digest,
    search_texts,
    sent_date,
    sent_datetime,
    text_readings,
)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", ""),
        (b"plain", "plain"),
        (b"a\r\n b\n\tc", "a b\tc"),
        (b"\xc3\xa9", "é"),
        (b"\xe9", "é"),
        # RFC 2047 8
        (b"=?ISO-8859-1?Q?a?=", "a"),
        (b"=?ISO-8859-1?Q?a?= b", "a b"),
        (b"=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"),
        (b"=?ISO-8859-1?Q?a?=\r\n    =?ISO-8859-1?Q?b?=", "ab"),
        (b"=?ISO-8859-1?Q?a_b?=", "a b"),
        (b"=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b"),
        (b"=?US-ASCII?Q?Keith_Moore?= <moore@cs.utk.edu>", "Keith Moore <moore@cs.utk.edu>"),
        (b"=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=", "If you can read this yo"),
        (b"a =?utf-8?q?=C3?= =?UTF-8*en?b?qQ==?= b", "a é b"),  # one character in two words
        (b"x=?utf-8?q?=C3=A9?=y", "xéy"),
        (b"=?utf-8?q?a?==?utf-8?q?b?=", "ab"),
        (b"=?iso-2022-jp?b?GyRCRnxLXBsoQg==?=", "日本"),
        (b"=?gb2312?b?xOO6ww==?=", "你好"),
        (b"=?nonsense?q?=E9?=", "é"),
        (b"=?zlib?b?eJwDAAAAAAE=?=", "x\x9c\x03\x00\x00\x00\x00\x01"),
        (b"=?utf-8?b?QUI?=", "AB"),
        (b"=?utf-8?b?!!!?=", ""),
        (b"=?utf-8?x?a?=", "=?utf-8?x?a?="),
        (b"=?utf-8?q?a", "=?utf-8?q?a"),
        (b"=?utf-8?q?a b?=", "a b"),
        (b"=?utf-7?q?+2AA-?=", "?"),
        (b"\xc3\xa9=?utf-8?q?a?= \xe9", "éa é"),
    ],
)
def test_decode_text(raw: bytes, expected: str) -> None:
    assert decode_text(raw) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"Fri, 21 Nov 1997 09:55:06 -0600", datetime(1997, 11, 21, 15, 55, 6, tzinfo=UTC)),
        (b"31 Dec 2000 16:01:33 -0800", datetime(2001, 1, 1, 0, 1, 33, tzinfo=UTC)),  # RFC 5256 2.2
        (b"21 Nov 97 09:55:06 GMT", datetime(1997, 11, 21, 9, 55, 6, tzinfo=UTC)),
        (b"21 Nov 01 09:55 EST", datetime(2001, 11, 21, 14, 55, tzinfo=UTC)),
        (b"21 Nov 101 09:55 UT", datetime(2001, 11, 21, 9, 55, tzinfo=UTC)),
        (
            b"Thu,\r\n 13 (c)\r\n Feb 1969 23:32 -0330 (x (y))",
            datetime(1969, 2, 14, 3, 2, tzinfo=UTC),
        ),
        (
            b"Fri, 21 Nov 1997 09(comment):   55  :  06 -0600",
            datetime(1997, 11, 21, 15, 55, 6, tzinfo=UTC),
        ),
        (b"Fri 21-Nov-1997 9:5:6 +0000", datetime(1997, 11, 21, 9, 5, 6, tzinfo=UTC)),
        (b"1 January 2020 00:00:00 A", datetime(2020, 1, 1, tzinfo=UTC)),
        (b"1 Jan 2020 01:00:00", datetime(2020, 1, 1, 1, tzinfo=UTC)),
        (b"1 Jan 2020 01:00:00.123 +0100", datetime(2020, 1, 1, tzinfo=UTC)),
        (b"1 Jan 2020 01:00:60 -0000", datetime(2020, 1, 1, 1, 0, 59, tzinfo=UTC)),
        (b"1 Jan 2020 01:00:00 +9999", datetime(2020, 1, 1, 1, tzinfo=UTC)),  # invalid zone: UTC
        (b"1 Jan 2020 25:00:00 +0100", datetime(2020, 1, 1, tzinfo=UTC)),  # invalid time: 00:00
        (b"1 Jan 2020 what", datetime(2020, 1, 1, tzinfo=UTC)),
        (b"Wed Jul 17 02:23:25 1996", datetime(1996, 7, 17, 2, 23, 25, tzinfo=UTC)),
        (b"Wed Jul 17 02:23:25 PDT 1996", datetime(1996, 7, 17, 9, 23, 25, tzinfo=UTC)),
        (b"31 Dec 9999 23:00:00 -0800", datetime(9999, 12, 31, 23, tzinfo=UTC)),
        (b"", None),
        (b"garbage", None),
        (b"31 Feb 2020 00:00:00 +0000", None),
        (b"1 Foo 2020 00:00:00 +0000", None),
        (b"0 Jan 2020", None),
        (b"1 Jan 0000", None),
        (b"1 Jan 20201", None),
        (b"(" * 10_000, None),
    ],
)
def test_sent_datetime(raw: bytes, expected: datetime | None) -> None:
    assert sent_datetime(raw) == expected


def test_sent_date_disregards_time_and_zone() -> None:
    assert sent_date(b"31 Dec 2000 16:01:33 -0800") == date(2000, 12, 31)
    assert sent_date(b"1 Jan 2001 00:01 +1400") == date(2001, 1, 1)
    assert sent_date(b"soon") is None


def texts(message: bytes) -> list[str]:
    message = message.replace(b"\n", b"\r\n")
    return list(search_texts(message, digest(message).parts))


def test_search_sees_texts_decoded() -> None:
    assert texts(
        b"Subject: not this\nContent-Type: multipart/mixed; boundary=b\n\npreamble\n"
        b"--b\nContent-Type: text/plain; charset=iso-8859-1\n"
        b"Content-Transfer-Encoding: quoted-printable\n\n=E9t=\n=E9\n"
        b"--b\nContent-Type: text/html; charset=UTF-16LE\nContent-Transfer-Encoding: base64\n\naABpAA==\n"
        b"--b\nContent-Type: application/pdf\n\nnot this\n"
        b"--b\nContent-Type: message/delivery-status\n\nAction: failed\n"
        b"--b\nContent-Type: message/rfc822\n\n"
        b"Subject: =?utf-8?q?=C3=A9?=\n\n\xc3\xa9\xff\n"
        b"--b\nContent-Type: text/plain; charset=x-unknown\n\n\xc3\xa9\n"
        b"--b\nContent-Type: text/plain\nContent-Transfer-Encoding: x-unknown\n\nraw\n"
        b"--b\nContent-Type: text/plain\nContent-Transfer-Encoding: base64\n\nYWJjZ\n"
        b"--b--\nepilogue\n"
    ) == [
        "été",
        "hi",
        "Action: failed",
        "Subject: é\r\n\r\n",
        "Ã©ÿ",
        "é\ufffd",  # the same as UTF-8: RFC 5255 4.6 (c)
        "é",
        "raw",
        "abc",
    ]


def test_search_of_a_plain_message() -> None:
    assert texts(b"Subject: x\n\nbody\n") == ["body\r\n"]
    assert texts(b"Content-Type: image/png\n\nbody\n") == []
    assert texts(b"Content-Type: multipart/mixed\n\nbody\n") == ["body\r\n"]


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (b"plain", ["plain"]),
        (b"na\xc3\xafve", ["naïve"]),
        (b"na\xefve", ["naïve", "na\ufffdve"]),
        (b"\xff na\xc3\xafve", ["ÿ naÃ¯ve", "\ufffd naïve"]),
        (b"=?utf-8?Q?=FF?= =?utf-8?Q?na=C3=AFve?=", ["ÿnaÃ¯ve", "\ufffdnaïve"]),
        (b"=?shift_jis?Q?=C3=AF=81?= a", ["ﾃｯ\ufffd a", "ï\ufffd a"]),
        (b"=?utf-7?Q?+2AA-?=", ["?", "+2AA-"]),
    ],
)
def test_what_is_not_valid_is_read_twice_by_search(raw: bytes, found: list[str]) -> None:
    """RFC 5255 4.6 (c)"""
    assert text_readings(raw) == found
