"""Whatever arrives: nothing raises, sections are slices, and the structure tells their sizes."""

from __future__ import annotations

import re
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from pymap.mime import (
    UnknownEncoding,
    addresses,
    binary,
    body,
    decode_text,
    digest,
    fields,
    header_fields,
    search_texts,
    section,
    sent_date,
    sent_datetime,
)
from pymap.mime.charset import _CODECS, decode, readings
from pymap.mime.parse import Kind, unpack
from pymap.wire.types import Section, SectionText

# Pieces of which messages are made, so that random ones have structure.
PIECES = st.sampled_from(
    [
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b"\n\n",
        b"--a",
        b"--b",
        b"--a--",
        b"--b--",
        b"\r\n--a\r\n",
        b"\r\n--b\r\n",
        b"\r\n--a--\r\n",
        b"\r\n--b--\r\n",
        b"Content-Type: multipart/mixed; boundary=a\r\n",
        b"Content-Type: multipart/digest; boundary=b\r\n",
        b"Content-Type: multipart/mixed\n",
        b"Content-Type: message/rfc822\r\n",
        b"Content-Type: message/global\n",
        b"Content-Type: text/plain; charset=utf-7\r\n",
        b"Content-Type: application/x; f*0*=utf-8''%e9; f*1=b\r\n",
        b'Content-Disposition: attachment; filename="a\\',
        b"Content-Language: a, b\r\n",
        b"Content-Transfer-Encoding: base64\r\n",
        b"Content-Transfer-Encoding: quoted-printable\r\n",
        b"Content-Transfer-Encoding: x\r\n",
        b"From: a <b@c>, d:;\r\n",
        b"Subject: =?utf-8?q?",
        b" ",
        b"(",
        b")",
        b'"',
        b"\\",
        b"\0",
        b"text\xff",
    ]
)
MESSAGES = st.lists(PIECES | st.binary(max_size=5), max_size=40).map(b"".join)


class Reader:
    """Reads a value of the wire back: lists, numbers, NIL, and strings as bytes."""

    TOKEN = re.compile(
        rb'"((?:[^"\\\r\n\x00\x80-\xff]|\\["\\])*)"|\{(\d+)\}\r\n|(NIL)|(\d+)|([() ])'
    )

    def __init__(self, octets: bytes) -> None:
        self.octets = octets

    def read(self) -> list[object]:
        stack: list[list[object]] = [[]]
        at, octets = 0, self.octets
        while at < len(octets):
            token = self.TOKEN.match(octets, at)
            assert token, octets[at:]
            at = token.end()
            quoted, literal, nil, number, special = token.groups()
            if quoted is not None:
                stack[-1].append(re.sub(rb"\\(.)", rb"\1", quoted))
            elif literal is not None:
                value = octets[at : at + int(literal)]
                assert len(value) == int(literal)
                assert b"\0" not in value
                stack[-1].append(value)
                at += int(literal)
            elif nil:
                stack[-1].append(None)
            elif number:
                stack[-1].append(int(number))
            elif special == b"(":
                stack.append([])
            elif special == b")":
                done = stack.pop()
                assert done, "empty list"
                stack[-1].append(done)
        assert len(stack) == 1
        return stack[0]


def check_structure(message: bytes, parts: bytes, node: object, path: tuple[int, ...]) -> None:
    """Every node of a BODYSTRUCTURE has the size and lines of the section it names."""
    assert isinstance(node, list)
    children = [child for child in node if isinstance(child, list)]
    if isinstance(node[0], list):
        n = next(i for i, child in enumerate(node) if not isinstance(child, list))
        assert len(node) == n + 5
        for number, child in enumerate(children[:n], 1):
            check_structure(message, parts, child, (*path, number))
        return
    found = section(message, parts, Section(path))
    assert found is not None
    octets = bytes(found)
    assert octets in message
    assert node[6] == len(octets)
    kind = (node[0].lower(), node[1].lower())
    if kind[0] == b"text":
        assert node[7] == octets.count(b"\n")
        assert len(node) == 12
    elif kind in ((b"message", b"rfc822"), (b"message", b"global")):
        assert node[9] == octets.count(b"\n")
        assert len(node) == 14
        assert len(node[7]) == 10
        header = section(message, parts, Section(path, SectionText.HEADER))
        text = section(message, parts, Section(path, SectionText.TEXT))
        assert header is not None
        assert text is not None
        assert bytes(header) + bytes(text) == octets
        check_structure(message, parts, node[8], path if is_multipart(node[8]) else (*path, 1))
    else:
        assert len(node) == 11


def is_multipart(node: object) -> bool:
    return isinstance(node, list) and isinstance(node[0], list)


@settings(max_examples=400, deadline=None)
@given(MESSAGES)
def test_structure_agrees_with_sections(message: bytes) -> None:
    made = digest(message)
    (envelope,) = Reader(made.envelope).read()
    assert isinstance(envelope, list)
    assert len(envelope) == 10
    (structure,) = Reader(made.bodystructure).read()
    check_structure(message, made.parts, structure, () if is_multipart(structure) else (1,))
    assert Reader(body(message)).read()
    header = section(message, made.parts, Section((), SectionText.HEADER))
    text = section(message, made.parts, Section((), SectionText.TEXT))
    assert header is not None
    assert text is not None
    assert bytes(header) + bytes(text) == message
    assert len(header) == made.header_size


@settings(max_examples=200, deadline=None)
@given(MESSAGES)
def test_parts_lie_inside_their_parents(message: bytes) -> None:
    rows, _ = unpack(digest(message).parts)
    assert rows[0].next == len(rows)
    for index, row in enumerate(rows):
        assert row.header <= row.body <= row.end <= len(message)
        assert (row.next > index + 1) == (row.kind in (Kind.MULTIPART, Kind.MESSAGE))
        at, end = index + 1, row.body
        while at < row.next:
            assert end <= rows[at].header
            end = rows[at].end
            at = rows[at].next
        assert end <= row.end
        assert at == max(row.next, index + 1)


@settings(max_examples=200, deadline=None)
@given(MESSAGES, st.lists(st.integers(0, 3), max_size=4).map(tuple))
def test_any_section_and_search(message: bytes, path: tuple[int, ...]) -> None:
    parts = digest(message).parts
    for text in (None, *SectionText):
        found = section(message, parts, Section(path, text, ("From", "Subject")))
        if found is not None and text not in (
            SectionText.HEADER_FIELDS,
            SectionText.HEADER_FIELDS_NOT,
        ):
            assert bytes(found) in message
    with suppress(UnknownEncoding):
        binary(message, parts, path)
    for found_text in search_texts(message, parts):
        found_text.encode("utf-8")  # no lone surrogates


@settings(max_examples=200, deadline=None)
@given(MESSAGES | st.binary())
def test_any_value(raw: bytes) -> None:
    decode_text(raw).encode("utf-8")
    addresses(raw)
    sent_date(raw)
    sent_datetime(raw)
    fields(raw, "from")


@settings(max_examples=200, deadline=None)
@given(MESSAGES, st.lists(st.sampled_from(["From", "SUBJECT", "content-type", "x"])).map(tuple))
def test_the_two_subsets_make_the_header(message: bytes, names: tuple[str, ...]) -> None:
    made = digest(message)
    header = message[: made.header_size]
    one = header_fields(header, names)[:-2]
    other = header_fields(header, names, excluding=True)[:-2]
    blank = next(
        (end for end in (b"\r\n", b"\n") if re.search(rb"(\A|\n)" + end + rb"\Z", header)), b""
    )
    lines = header.removesuffix(blank)
    if lines and not lines.endswith(b"\n"):
        lines += b"\r\n"
    assert sorted(one.splitlines(True) + other.splitlines(True)) == sorted(lines.splitlines(True))
    assert header_fields(other + b"\r\n", names) == b"\r\n"


@settings(deadline=None)
@given(st.binary())
def test_any_charset(octets: bytes) -> None:
    for name in {*_CODECS.values(), "unknown", ""}:
        decode(octets, name).encode("utf-8")
        for text in readings(octets, name):
            text.encode("utf-8")
