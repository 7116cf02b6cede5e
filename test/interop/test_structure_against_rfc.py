"""Where pymap and Dovecot 2.3 differed on 96 tricky messages: what the RFCs say, checked by hand.

Each message was given to both, and ENVELOPE, BODYSTRUCTURE, all sections and 92 searches compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import Place
from .wire import Wire, fetched

HEADER = b"From: a@b.example\r\nSubject: x\r\nDate: Fri, 14 Jul 2017 05:53:20 +0000\r\n"


class Mailbox:
    """Appends messages and asks for them."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        wire.ok(b"SELECT INBOX")

    def add(self, text: bytes) -> None:
        self.wire.ok(b"APPEND INBOX {}", text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))

    def fetch(self, text: bytes, item: bytes) -> Any:
        self.add(text)
        self.wire.ok(b"NOOP")
        (items,) = fetched(self.wire.ok(b"FETCH * " + item)).values()
        (value,) = items.values()
        return value

    def search(self, key: bytes) -> list[int]:
        (answer,) = (r for r in self.wire.ok(b"SEARCH " + key) if r.startswith(b"* SEARCH"))
        return [int(n) for n in answer.split()[2:]]


@pytest.fixture
def mailbox(server: Place) -> Iterator[Mailbox]:
    with server.wire() as wire:
        yield Mailbox(wire)


NESTED = HEADER + (
    b"Content-Type: multipart/mixed; boundary=o\n\n"
    b"--o\nContent-Type: multipart/alternative; boundary=i\n\n--i\n\none\n--i--\n"
    b"--o\nContent-Type: message/rfc822\n\nSubject: in\n\ninner text\n--o--\n"
)


# -- searching --


def test_text_finds_the_mime_header_fields_of_parts(mailbox: Mailbox) -> None:
    """TEXT: "in the header (including MIME header fields) or body".   RFC 9051 6.4.4

    So the name of an attachment is found, as it is by Dovecot. BODY "doesn't match any header
    fields".
    """
    mailbox.add(
        HEADER + b"Content-Type: multipart/mixed; boundary=o\n\n--o\n\ntext\n"
        b'--o\nContent-Type: application/pdf; name="invoice-2017.pdf"\n\n%PDF\n--o--\n'
    )
    assert mailbox.search(b"TEXT invoice-2017") == [1]
    assert mailbox.search(b"BODY invoice-2017") == []


def test_empty_string_is_contained_in_every_body(mailbox: Mailbox) -> None:
    """Also in that of a message without any text.   RFC 9051 6.4.4"""
    mailbox.add(HEADER + b"\nx\n")
    mailbox.add(HEADER + b"Content-Type: application/x\n\nx\n")
    assert mailbox.search(b'TEXT ""') == [1, 2]
    assert mailbox.search(b'BODY ""') == [1, 2]


def test_body_finds_what_stands_in_an_embedded_message(mailbox: Mailbox) -> None:
    """Dovecot leaves the embedded header out, although it is in the body of the message."""
    mailbox.add(NESTED)
    assert mailbox.search(b'BODY "subject: in"') == [1]
    assert mailbox.search(b'BODY "inner text"') == [1]


def test_subject_is_compared_as_unfolded_with_all_its_blanks(mailbox: Mailbox) -> None:
    """Unfolding takes out the CRLF alone (RFC 5322 2.2.3); Dovecot joins blanks."""
    mailbox.add(b"Subject: a  b\n\tc\n\nx\n")
    assert mailbox.search(b'SUBJECT "a  b\tc"') == [1]
    assert mailbox.search(b'SUBJECT "a b"') == []


def test_message_without_date_was_not_sent_at_any_time(mailbox: Mailbox) -> None:
    """Dovecot takes it for one of 1970."""
    mailbox.add(b"Subject: x\n\nx\n")
    assert mailbox.search(b"SENTBEFORE 1-Jan-2017") == []
    assert mailbox.search(b"SENTSINCE 1-Jan-1960") == []
    assert mailbox.search(b"NOT SENTSINCE 1-Jan-1960") == [1]


# -- sections --


def test_line_end_before_a_delimiter_belongs_to_it_also_after_an_inner_multipart(
    mailbox: Mailbox,
) -> None:
    """RFC 2046 5.1.1. Dovecot counts it to the inner multipart or message."""
    assert mailbox.fetch(NESTED, b"BODY.PEEK[1]") == b"--i\r\n\r\none\r\n--i--"
    assert mailbox.fetch(NESTED, b"BODY.PEEK[2]") == b"Subject: in\r\n\r\ninner text"


def test_multipart_without_its_delimiter_shows_its_text_as_one_part(mailbox: Mailbox) -> None:
    """The grammar of BODYSTRUCTURE wants one part; Dovecot's is empty and loses the text."""
    text = HEADER + b"Content-Type: multipart/mixed; boundary=other\n\n--o\n\nfirst\n--o--\n"
    structure = mailbox.fetch(text, b"BODYSTRUCTURE")
    assert structure[0][:2] == [b"TEXT", b"PLAIN"]
    assert structure[0][6:8] == [b"21", b"4"]
    assert mailbox.fetch(text, b"BODY.PEEK[1]") == b"--o\r\n\r\nfirst\r\n--o--\r\n"


def test_line_that_only_begins_like_a_delimiter_is_none(mailbox: Mailbox) -> None:
    """Nothing but white space may follow the boundary.   RFC 2046 5.1.1"""
    text = (
        HEADER + b"Content-Type: multipart/mixed; boundary=o\n\n--o\n\na\n--ox\nb\n--o c\n--o--\n"
    )
    assert mailbox.fetch(text, b"BODY.PEEK[1]") == b"a\r\n--ox\r\nb\r\n--o c"


def test_part_that_is_not_there_is_nil(mailbox: Mailbox) -> None:
    """Dovecot: "", and a leaf's part 1 is the leaf again."""
    assert mailbox.fetch(NESTED, b"BODY.PEEK[3]") is None
    assert mailbox.fetch(NESTED, b"BODY.PEEK[1.1.1]") is None
    assert mailbox.fetch(NESTED, b"BODY.PEEK[1.HEADER]") is None


# -- BODYSTRUCTURE --


@pytest.mark.parametrize(
    ("field", "params"),
    [
        # "return the resulting value as a parameter "foo*"", in UTF-8.   RFC 9051 7.5.2
        (b"name*0*=utf-8'en'%C3%9Cber; name*1*=%20x", [b"name*", "Über x".encode()]),
        (b"name*=iso-8859-1''%FC.txt", [b"name*", "ü.txt".encode()]),
        (b'URL*0="ftp://"; URL*1="cs.utk.edu"', [b"URL", b"ftp://cs.utk.edu"]),
        (b'a = "b" ; c="x;y\\"z\\\\"; d=""', [b"a", b"b", b"c", b'x;y"z\\', b"d", b""]),
    ],
)
def test_parameters_are_put_together(mailbox: Mailbox, field: bytes, params: list[bytes]) -> None:
    text = HEADER + b"Content-Type: application/x; " + field + b"\n\nx\n"
    assert mailbox.fetch(text, b"BODYSTRUCTURE")[2] == params


@pytest.mark.parametrize("field", [b"text", b"/plain", b"text plain", b"", b"text/"])
def test_content_type_that_makes_no_sense_is_text_plain(mailbox: Mailbox, field: bytes) -> None:
    """RFC 2045 5.2. Dovecot answers with empty strings."""
    structure = mailbox.fetch(HEADER + b"Content-Type: " + field + b"\n\nx\n", b"BODYSTRUCTURE")
    assert [x.upper() for x in structure[:2]] == [b"TEXT", b"PLAIN"]
    assert [x.upper() for x in structure[2]] == [b"CHARSET", b"US-ASCII"]


def test_encoded_embedded_message_keeps_its_octets(mailbox: Mailbox) -> None:
    """RFC 2046 5.2.1 forbids it. Dovecot reads the base64 text as a header and shows no text."""
    text = HEADER + (
        b"Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: message/rfc822\n"
        b"Content-Transfer-Encoding: base64\n\nU3ViamVjdDogeA0KDQp5DQo=\n--o--\n"
    )
    part = mailbox.fetch(text, b"BODYSTRUCTURE")[0]
    assert part[:2] == [b"message", b"rfc822"]
    assert part[5:7] == [b"base64", b"24"]
    assert mailbox.fetch(text, b"BODY.PEEK[1]") == b"U3ViamVjdDogeA0KDQp5DQo="


# -- ENVELOPE --


@pytest.mark.parametrize(
    ("value", "addresses"),
    [
        (b"a . b @ c . example", [[None, None, b"a.b", b"c.example"]]),  # obs-local-part, obs-domain
        (b"a@b.example, , c@d.example", [[None, None, b"a", b"b.example"], [None, None, b"c", b"d.example"]]),
        (b"a@b.example (A)", [[b"A", None, b"a", b"b.example"]]),
        (b"joe", [[None, None, b"joe", b""]]),  # NIL would begin a group
        (b"G: a@b.example;", [[None, None, b"G", None], [None, None, b"a", b"b.example"], [None] * 4]),
        (b"undisclosed:;", [[None, None, b"undisclosed", None], [None] * 4]),
        (b"<@h.example,@i.example:j@k.example>", [[None, b"@h.example,@i.example", b"j", b"k.example"]]),
        (b'"a\\"b" <x@[192.0.2.1]>', [[b'a"b', None, b"x", b"[192.0.2.1]"]]),
    ],
)  # fmt: skip
def test_addresses(mailbox: Mailbox, value: bytes, addresses: list[list[bytes | None]]) -> None:
    assert mailbox.fetch(HEADER + b"To: " + value + b"\n\nx\n", b"ENVELOPE")[5] == addresses


def test_empty_reply_to_and_sender_default_to_from(mailbox: Mailbox) -> None:
    """ "If the Sender or Reply-To header fields are absent ... or are present but empty, the server
    sets the corresponding member of the envelope to be the same value as the From member".
    RFC 9051 7.5.2"""
    envelope = mailbox.fetch(HEADER + b"Sender:\nReply-To: \n\nx\n", b"ENVELOPE")
    assert envelope[2] == envelope[3] == envelope[4] == [[None, None, b"a", b"b.example"]]


def test_absent_fields_are_nil_and_empty_ones_are_empty(mailbox: Mailbox) -> None:
    """ "If the Date, Subject, In-Reply-To, and Message-ID header fields are absent ..., the
    corresponding member of the envelope is NIL; if ... present but empty, ... the empty string."
    RFC 9051 7.5.2"""
    absent = mailbox.fetch(b"X: y\n\nx\n", b"ENVELOPE")
    assert absent == [None] * 10
    empty = mailbox.fetch(b"Subject:\nDate: \nMessage-ID:\nIn-Reply-To:\n\nx\n", b"ENVELOPE")
    assert [empty[0], empty[1], empty[8], empty[9]] == [b""] * 4
