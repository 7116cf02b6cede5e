"""What SORT and THREAD compare: RFC 5256 3, RFC 5957 3 and 4."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymap.mime.casemap import UNREADABLE
from pymap.mime.msgid import MAX_REFERENCES
from pymap.mime.parse import parse
from pymap.mime.summary import (
    MAX_KEY,
    Summary,
    _hash,
    pack_summary,
    sent,
    text_reader,
    threaded,
    unpack_summary,
)
from pymap.mime.summary import summary as of_fields

NOTHING = Summary(None, "", False, "", "", "", "", "", 0, ())


def summary(header: bytes) -> Summary:
    return of_fields(parse(header)[0].fields)


def test_a_message() -> None:
    header = (
        b"Received: from x; Thu, 1 Jan 1970 00:01:00 +0000\r\n"
        b"Date: Thu, 1 Jan 1970 01:00:10 +0100\r\n"
        b"From: =?utf-8?Q?J=C3=BCrgen?= <Juergen@Example.com>\r\n"
        b"To: fred@example.org (Fred),\r\n\tmary@example.org\r\n"
        b'CC: "Doe, Jane" <jane@example.net>\r\n'
        b"Subject: Re: [list]\r\n\t=?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\n"
        b"MESSAGE-ID: <c@x>\r\n"
        b"References: <a@x>\r\n <b@x>\r\n"
        b"In-Reply-To: <other@x>\r\n"
        b"\r\n"
    )
    assert summary(header) == Summary(
        sent=10,
        subject="GRU\u0308ßE",
        replied=True,
        from_="JUERGEN",
        to="FRED",
        cc="JANE",
        display_from="JU\u0308RGEN",
        display_to="FRED",
        id=_hash(b"c@x"),
        references=(_hash(b"a@x"), _hash(b"b@x")),
    )


def test_what_is_absent_is_the_empty_string() -> None:
    assert summary(b"") == NOTHING
    assert summary(b"Subject:\r\nFrom: \r\nDate:\r\nMessage-ID:\r\n\r\n") == NOTHING


@pytest.mark.parametrize(
    ("value", "mailbox", "display"),
    [
        # The addr-name if it is not NIL, decoded, and not empty then.
        (b"Fred Foo <fred@example.org>", "FRED", "FRED FOO"),
        (b'"Foo, Fred" <fred@example.org>', "FRED", "FOO, FRED"),
        (b"=?utf-8?Q?Fr=C3=A9d?= <fred@example.org>", "FRED", "FRE\u0301D"),
        (b"=?utf-8?Q??= <fred@example.org>", "FRED", "FRED@EXAMPLE.ORG"),
        (b'"" <fred@example.org>', "FRED", "FRED@EXAMPLE.ORG"),
        # Otherwise addr-mailbox@addr-host, or what there is of it.
        (b"fred@Example.org", "FRED", "FRED@EXAMPLE.ORG"),
        (b"<@route.example:fred@example.org>", "FRED", "FRED@EXAMPLE.ORG"),
        # The first address structure of a group is its start: the name is in addr-mailbox.
        (b"Friends: fred@example.org;", "FRIENDS", "FRIENDS"),
        (b"undisclosed-recipients:;", "UNDISCLOSED-RECIPIENTS", "UNDISCLOSED-RECIPIENTS"),
        # Of several addresses the first
        (b", fred@example.org, adam@example.org", "FRED", "FRED@EXAMPLE.ORG"),
        (b"", "", ""),
        (b",", "", ""),
    ],
)
def test_addresses(value: bytes, mailbox: str, display: str) -> None:
    header = b"From: %b\r\nTo: %b\r\nCc: %b\r\n\r\n" % (value, value, value)
    found = summary(header)
    assert (found.from_, found.to, found.cc) == (mailbox,) * 3
    assert (found.display_from, found.display_to) == (display,) * 2


def test_fields_that_come_again() -> None:
    """As in ENVELOPE: the first counts, and address fields are one list."""
    header = (
        b"Subject: one\r\nSubject: two\r\nTo:\r\nTo: a@x\r\nTo: b@x\r\n"
        b"Message-ID: <1@x>\r\nMessage-ID: <2@x>\r\n\r\n"
    )
    found = summary(header)
    assert (found.subject, found.to, found.id) == ("ONE", "A", _hash(b"1@x"))


def test_in_reply_to_is_for_those_without_references() -> None:
    assert summary(b"In-Reply-To: <a@x> <b@x>\r\n\r\n").references == (_hash(b"a@x"),)
    found = summary(b"References: none\r\nIn-Reply-To: <a@x>\r\n\r\n")
    assert found.references == (_hash(b"a@x"),)


def test_what_cannot_be_read_comes_last() -> None:
    """RFC 5255 4.6"""
    found = summary(b"Subject: Re: gr\xfcn\r\nFrom: gr\xfcn <a@x>\r\n\r\n")
    assert found.subject == UNREADABLE + "grün"
    assert found.replied
    assert found.display_from == UNREADABLE + "grün"
    assert found.from_ == "A"


def test_keys_are_bounded() -> None:
    """U+FDFA decomposes to 18 characters."""
    long = "\ufdfa".encode() * 10_000
    found = summary(b"Subject: %b\r\nFrom: %b <a@x>\r\n\r\n" % (long, long))
    assert len(found.subject) == len(found.display_from) == MAX_KEY
    many = b"".join(b"To: a%d@x\r\n" % at for at in range(100_000))
    assert summary(many + b"\r\n").to == "A0"
    some = b"<a@x>" * 1000
    fields = (b"From", b"To", b"Cc")
    header = b"".join(b"%b: %b <%b@x>\r\n" % (name, long, long) for name in fields)
    header += b"Subject: %b\r\nReferences: %b\r\n\r\n" % (long, some)
    assert len(summary(header).references) == MAX_REFERENCES
    assert len(pack_summary(summary(header))) < 14_000


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["Date", "subject", "From", "To", "CC", "References"]), st.binary()
        )
    )
)
def test_any_octets_will_do(fields: list[tuple[str, bytes]]) -> None:
    found = summary(b"".join(b"%b: %b\r\n" % (name.encode(), value) for name, value in fields))
    packed = pack_summary(found)
    assert unpack_summary(packed) == found
    assert sent(packed) == found.sent
    for name in ("subject", "from_", "to", "cc", "display_from", "display_to"):
        assert text_reader(name)(packed).decode() == getattr(found, name)
    wanted = (found.sent, found.subject, found.replied, found.id, found.references)
    assert threaded(packed) == wanted
