"""APPEND and REPLACE: one and many messages, literal8, UTF8, CATENATE, and the date-time of each."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from pymap.wire.commands import Append, Catenation, Message, Replace
from pymap.wire.errors import Refused
from pymap.wire.types import DRAFT, FLAGGED, SEEN, Flag, InternalDate, SequenceSet
from pymap.wire.url import MAX_URL

from .feed import bad, command, refusal, shown

FRED = (  # RFC 9051 6.3.12
    b"Date: Mon, 7 Feb 1994 21:52:25 -0800 (PST)\r\n"
    b"From: Fred Foobar <foobar@Blurdybloop.example>\r\n"
    b"Subject: afternoon meeting\r\n"
    b"To: mooch@owatagu.siam.edu.example\r\n"
    b"Message-Id: <B27397-0100000@Blurdybloop.example>\r\n"
    b"MIME-Version: 1.0\r\n"
    b"Content-Type: TEXT/PLAIN; CHARSET=US-ASCII\r\n"
    b"\r\n"
    b"Hello Joe, do you think we can meet at 3:30 tomorrow?\r\n"
)
X = Message(b"x")


def date(*args: int, zone: int = 0) -> InternalDate:
    tz = timezone(timedelta(minutes=zone))
    return InternalDate(int(datetime(*args, tzinfo=tz).timestamp()), zone)


SEEN_ONLY = frozenset({SEEN})

TABLE = [
    (b"a APPEND saved-messages (\\Seen) {326}\r\n%b\r\n" % FRED,
     "saved-messages", [Message(FRED, SEEN_ONLY)]),
    (b"a append inbox {1+}\r\nx\r\n", "INBOX", [X]),
    (b'a APPEND "a b" {1}\r\nx\r\n', "a b", [X]),
    (b"a APPEND {3}\r\na b {1}\r\nx\r\n", "a b", [X]),
    (b"a APPEND {3+}\r\na b () {1+}\r\nx\r\n", "a b", [X]),
    (b"a APPEND x {0}\r\n\r\n", "x", [Message(b"")]),
    (b"a APPEND x (\\Seen $Junk \\DRAFT) {1}\r\nx\r\n",
     "x", [Message(b"x", frozenset({SEEN, DRAFT, Flag("$Junk")}))]),
    (b'a APPEND inbox "20-Mar-2018 03:07:37 +1100" {1}\r\nx\r\n',  # RFC 8474 5.3
     "INBOX", [Message(b"x", internal_date=date(2018, 3, 20, 3, 7, 37, zone=660))]),
    (b'a APPEND x (\\Flagged) " 7-Feb-1994 22:43:04 -0800" {1}\r\nx\r\n',
     "x", [Message(b"x", frozenset({FLAGGED}), date(1994, 2, 7, 22, 43, 4, zone=-480))]),
    # Two blanks between messages: IMAPClient 4.1
    (b"a APPEND x {1}\r\nx  {1}\r\ny\r\n", "x", [X, Message(b"y")]),
    # Octets of messages are no commands
    (b"a APPEND x {12+}\r\nb NOOP {5}\r\n\r\n", "x", [Message(b"b NOOP {5}\r\n")]),
    (b"a APPEND x {4+}\r\n\r\n\r\n\r\n", "x", [Message(b"\r\n\r\n")]),
    (b"a APPEND x {2+}\r\n\xff\xfe\r\n", "x", [Message(b"\xff\xfe")]),
    # literal8: NUL may be in it.   RFC 3516 4.4, RFC 4466 3
    (b"a APPEND x ~{3}\r\na\0b\r\n", "x", [Message(b"a\0b")]),
    (b"a APPEND x (\\Seen) ~{3+}\r\na\0b\r\n", "x", [Message(b"a\0b", SEEN_ONLY)]),
    # UTF8.   RFC 6855 4
    (b"a APPEND x UTF8 (~{2}\r\n\xc3\xa4)\r\n", "x", [Message("ä".encode())]),
    (b"a APPEND x (\\Seen) utf8 (~{2+}\r\n\xc3\xa4)\r\n", "x", [Message("ä".encode(), SEEN_ONLY)]),
    # MULTIAPPEND.   RFC 3502 6.3.11
    (b"a APPEND x {1}\r\nx {1+}\r\ny ~{1}\r\n\0\r\n",
     "x", [X, Message(b"y"), Message(b"\0")]),
    (b'a APPEND x (\\Seen) {1}\r\nx " 7-Feb-1994 22:43:04 -0800" {1}\r\ny () {1}\r\nz\r\n',
     "x", [Message(b"x", SEEN_ONLY), Message(b"y", internal_date=date(1994, 2, 7, 22, 43, 4, zone=-480)),
           Message(b"z")]),
    (b"a APPEND x UTF8 (~{1+}\r\nx) UTF8 (~{1}\r\ny)\r\n", "x", [X, Message(b"y")]),
    # CATENATE.   RFC 4469 5
    (b'a APPEND x CATENATE (URL "/x")\r\n', "x", [Message(Catenation(("/x",)))]),
    (b'a APPEND x (\\Seen) catenate (url /x/;UID=1 text {1}\r\ny Url {2+}\r\n/z TEXT {0}\r\n)\r\n',
     "x", [Message(Catenation(("/x/;UID=1", b"y", "/z", b"")), SEEN_ONLY)]),
    (b"a APPEND x CATENATE (TEXT ~{1}\r\n\0 UTF8 (~{1+}\r\nx)) {1}\r\nx CATENATE (TEXT {1}\r\n))\r\n",
     "x", [Message(Catenation((b"\0", b"x"))), X, Message(Catenation((b")",)))]),
    # A URL may be anything; that it is none is told with its text.   RFC 4469 4.1
    (b'a APPEND x CATENATE (URL "" URL {3}\r\na\r\n)\r\n', "x", [Message(Catenation(("", "a\r\n")))]),
]  # fmt: skip

BAD = [
    b"a APPEND\r\n",
    b"a APPEND x\r\n",
    b"a APPEND {1+}\r\nx\r\n",
    b"a APPEND x y\r\n",
    b'a APPEND x "y"\r\n',
    b"a APPEND x   {1+}\r\ny\r\n",
    b"a APPEND x{1+}\r\ny\r\n",
    b"a APPEND x {1+}\r\nyz\r\n",
    b"a APPEND x {1+}\r\ny{1+}\r\nz\r\n",
    b"a APPEND x {1+}\r\ny   {1+}\r\nz\r\n",
    b"a APPEND x (\\Seen)  {1+}\r\ny\r\n",
    b"a APPEND x {1+}\r\ny (\\Seen)\r\n",
    b"a APPEND x {1+}\r\n\0\r\n",  # CHAR8 has no NUL.   RFC 9051 9
    b"a APPEND x {3+}\r\na\0b\r\n",
    b"a APPEND x (\\Seen) (\\Draft) {1+}\r\ny\r\n",
    b'a APPEND x " 7-Feb-1994 22:43:04 -0800" (\\Seen) {1+}\r\ny\r\n',
    b"a APPEND x (\\Seen){1+}\r\ny\r\n",
    b"a APPEND x \\Seen {1+}\r\ny\r\n",
    b"a APPEND x (\\Seen {1+}\r\ny\r\n",
    b"a APPEND x 7-Feb-1994 {1+}\r\ny\r\n",
    b"a APPEND x ~ {1+}\r\ny\r\n",
    b"a APPEND x UTF8 {1+}\r\ny\r\n",
    b"a APPEND x UTF8 ({1+}\r\ny)\r\n",  # utf8-literal = "UTF8" SP "(" literal8 ")"
    b"a APPEND x UTF8 (~{1+}\r\ny\r\n",
    b"a APPEND x UTF8 ( ~{1+}\r\ny)\r\n",
    b"a APPEND x UTF8(~{1+}\r\ny)\r\n",
    b"a APPEND x CATENATE\r\n",
    b"a APPEND x CATENATE ()\r\n",
    b"a APPEND x CATENATE (\r\n",
    b"a APPEND x CATENATE {1+}\r\ny\r\n",
    b"a APPEND x CATENATE ({1+}\r\ny)\r\n",
    b'a APPEND x CATENATE URL "/x"\r\n',
    b'a APPEND x CATENATE (URL "/x"\r\n',
    b'a APPEND x CATENATE (URL "/x" )\r\n',
    b'a APPEND x CATENATE ( URL "/x")\r\n',
    b'a APPEND x CATENATE (URL "/x"  URL "/x")\r\n',
    b'a APPEND x CATENATE (URL "/x"URL "/x")\r\n',
    b'a APPEND x CATENATE (URL "/x",URL "/x")\r\n',
    b'a APPEND x CATENATE(URL "/x")\r\n',
    b"a APPEND x CATENATE (URL)\r\n",
    b'a APPEND x CATENATE (URL ("/x"))\r\n',
    b'a APPEND x CATENATE (URL "\xff")\r\n',
    b'a APPEND x CATENATE (TEXT "y")\r\n',
    b"a APPEND x CATENATE (TEXT y)\r\n",
    b"a APPEND x CATENATE (TEXT {1+}\r\n\0)\r\n",
    b"a APPEND x CATENATE (UTF8 ({1+}\r\ny))\r\n",
    b"a APPEND x CATENATE (CATENATE (TEXT {1+}\r\ny))\r\n",
    b"a APPEND {3+}\r\na\0b {1+}\r\ny\r\n",
]


@pytest.mark.parametrize(("octets", "mailbox", "messages"), TABLE, ids=[shown(r[0]) for r in TABLE])
def test_append(octets: bytes, mailbox: str, messages: list[Message]) -> None:
    assert command(octets) == Append("a", mailbox, tuple(messages))


@pytest.mark.parametrize("octets", BAD, ids=shown)
def test_bad(octets: bytes) -> None:
    assert bad(octets) == "a"


# -- REPLACE: a message number, and then as APPEND.   RFC 8508 5 --

REPLACES = [
    (b"a REPLACE 4 Drafts (\\Seen) {1}\r\nx\r\n", (4, 4), False, Message(b"x", SEEN_ONLY)),
    (b"a uid replace 2000 Drafts {1+}\r\nx\r\n", (2000, 2000), True, X),
    (b"a UID REPLACE * {6}\r\nDrafts ~{1}\r\n\0\r\n", (0, 0), True, Message(b"\0")),
    (b"a REPLACE 4294967295 Drafts UTF8 (~{1}\r\nx)\r\n", (0xFFFFFFFF, 0xFFFFFFFF), False, X),
    (b'a REPLACE 1 Drafts CATENATE (URL "/x" TEXT {1}\r\ny)\r\n', (1, 1), False,
     Message(Catenation(("/x", b"y")))),
]  # fmt: skip
NO_REPLACES = [
    b"a REPLACE\r\n",
    b"a REPLACE 1\r\n",
    b"a REPLACE 1 x\r\n",
    b"a REPLACE x {1+}\r\ny\r\n",
    b"a REPLACE 0 x {1+}\r\ny\r\n",
    b"a REPLACE 4294967296 x {1+}\r\ny\r\n",
    b"a REPLACE 1:2 x {1+}\r\ny\r\n",
    b"a REPLACE 1,2 x {1+}\r\ny\r\n",
    b"a REPLACE $ x {1+}\r\ny\r\n",
    b"a REPLACE 1 x {1+}\r\ny {1+}\r\nz\r\n",
    b"a UID REPLACE 1x x {1+}\r\ny\r\n",
]


@pytest.mark.parametrize(("octets", "number", "by_uid", "message"), REPLACES)
def test_replace(octets: bytes, number: tuple[int, int], by_uid: bool, message: Message) -> None:
    assert command(octets) == Replace("a", SequenceSet((number,)), by_uid, "Drafts", message)


@pytest.mark.parametrize("octets", NO_REPLACES, ids=shown)
def test_bad_replace(octets: bytes) -> None:
    assert bad(octets) == "a"


# -- date-time --

DATES = [
    (b" 1-Jan-1970 00:00:00 +0000", date(1970, 1, 1)),
    (b"01-Jan-1970 00:00:00 +0000", date(1970, 1, 1)),
    (b"17-Jul-1996 02:44:25 -0700", date(1996, 7, 17, 2, 44, 25, zone=-420)),  # RFC 3501 8
    (b"17-JUL-1996 02:44:25 -0700", date(1996, 7, 17, 2, 44, 25, zone=-420)),
    (b"29-Feb-2000 23:59:59 +1400", date(2000, 2, 29, 23, 59, 59, zone=840)),
    (b" 1-Jan-2000 00:00:00 +0530", date(2000, 1, 1, zone=330)),
    (b" 1-Jan-2000 00:00:00 -0330", date(2000, 1, 1, zone=-210)),
    (b" 1-Jan-2000 00:00:00 -0030", date(2000, 1, 1, zone=-30)),
    (b" 1-Jan-2000 00:00:00 -0000", date(2000, 1, 1)),
    (b" 1-Jan-2000 00:00:00 +2359", date(2000, 1, 1, zone=1439)),
    (b"31-Dec-2016 23:59:60 +0000", date(2017, 1, 1)),  # a leap second
    (b" 1-Jan-0001 00:00:00 +0000", InternalDate(-62135596800, 0)),
    (b"31-Dec-9999 23:59:59 +0000", InternalDate(253402300799, 0)),
    (b" 1-Jan-0001 00:00:00 +2359", InternalDate(-62135596800 - 1439 * 60, 1439)),
]
NO_DATES = [
    b"1-Jan-2000 00:00:00 +0000",  # date-day-fixed
    b"  1-Jan-2000 00:00:00 +0000",
    b"001-Jan-2000 00:00:00 +0000",
    b" 0-Jan-2000 00:00:00 +0000",
    b"00-Jan-2000 00:00:00 +0000",
    b"32-Jan-2000 00:00:00 +0000",
    b"29-Feb-2001 00:00:00 +0000",
    b"31-Apr-2000 00:00:00 +0000",
    b" 1-Jan-0000 00:00:00 +0000",
    b" 1-Jan-00 00:00:00 +0000",
    b" 1-Foo-2000 00:00:00 +0000",
    b" 1-Jan-2000 24:00:00 +0000",
    b" 1-Jan-2000 00:60:00 +0000",
    b" 1-Jan-2000 00:00:61 +0000",
    b" 1-Jan-2000 0:00:00 +0000",
    b" 1-Jan-2000 00:00 +0000",
    b" 1-Jan-2000 00:00:00",
    b" 1-Jan-2000 00:00:00 0000",
    b" 1-Jan-2000 00:00:00 GMT",
    b" 1-Jan-2000 00:00:00 +000",
    b" 1-Jan-2000 00:00:00 +00000",
    b" 1-Jan-2000 00:00:00 +0060",
    b" 1-Jan-2000 00:00:00 -0099",
    b" 1-Jan-2000 00:00:00 +2400",
    b" 1-Jan-2000 00:00:00 -9999",
    b" 1-Jan-2000  00:00:00 +0000",
    b" 1-Jan-2000T00:00:00 +0000",
    b" 1-Jan-2000 00:00:00 +0000 (UTC)",
    b"",
]


@pytest.mark.parametrize(("octets", "value"), DATES)
def test_date_time(octets: bytes, value: InternalDate) -> None:
    parsed = command(b'a APPEND x "%b" {1+}\r\nx\r\n' % octets)
    assert parsed == Append("a", "x", (Message(b"x", internal_date=value),))


@pytest.mark.parametrize("octets", NO_DATES)
def test_no_date_time(octets: bytes) -> None:
    bad(b'a APPEND x "%b" {1+}\r\nx\r\n' % octets)


def test_offsets_beyond_the_calendar_do_not_break_encoding() -> None:
    """What was taken can be shown again, though in UTC it lies before year 1."""
    taken = command(b'a APPEND x " 1-Jan-0001 00:00:00 +2359" {1+}\r\nx\r\n')
    assert taken.messages[0].internal_date.encode() == b'" 1-Jan-0001 00:00:00 +2359"'
    taken = command(b'a APPEND x "31-Dec-9999 23:59:59 -2359" {1+}\r\nx\r\n')
    assert taken.messages[0].internal_date.encode() == b'"31-Dec-9999 23:59:59 -2359"'


# -- bounds --


def test_append_messages_limit() -> None:
    octets = b"a APPEND x {1+}\r\nx {1+}\r\ny {1+}\r\nz\r\n"
    command(octets, append_messages=3)
    error = refusal(octets, append_messages=2).error
    assert isinstance(error, Refused)
    assert error.code == "LIMIT"


@pytest.mark.parametrize(
    "octets",
    [
        b"a APPEND x CATENATE (URL x URL y URL z)\r\n",
        b"a APPEND x CATENATE (URL x URL y) CATENATE (URL z)\r\n",
        b"a REPLACE 1 x CATENATE (URL x URL y URL z)\r\n",
    ],
)
def test_urls_limit(octets: bytes) -> None:
    command(octets, urls=3)
    error = refusal(octets, urls=2).error
    assert isinstance(error, Refused)
    assert error.code == "LIMIT"


def test_a_url_has_a_longest_length() -> None:
    """Though the framer lets as much pass as for a message."""
    for length, take in ((MAX_URL, command), (MAX_URL + 1, bad)):
        take(b"a APPEND x CATENATE (URL {%d+}\r\n%b)\r\n" % (length, b"a" * length))


def test_messages_are_not_in_the_repr() -> None:
    assert "s3cret" not in repr(command(b"a APPEND x CATENATE (TEXT {6+}\r\ns3cret)\r\n"))
    assert "s3cret" not in repr(command(b"a APPEND x {6+}\r\ns3cret\r\n"))
