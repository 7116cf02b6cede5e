"""Fields of a header block: subsets as sent, values as searched."""

from __future__ import annotations

import pytest

from pymap.mime import fields, header_fields

HEADER = (
    b"Received: from a\r\n\tby b\r\n"
    b"From: x@y\r\n"
    b"SUBJECT : one\r\n"
    b"  two\r\n"
    b"X-Subject: no\r\n"
    b"junk\r\n"
    b"Received: second\r\n"
    b"To:\r\n z\r\n"
    b"\r\n"
)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("subject",), b"SUBJECT : one\r\n  two\r\n\r\n"),
        (("To", "FROM"), b"From: x@y\r\nTo:\r\n z\r\n\r\n"),
        (("received",), b"Received: from a\r\n\tby b\r\nReceived: second\r\n\r\n"),
        (["Received", "received"], b"Received: from a\r\n\tby b\r\nReceived: second\r\n\r\n"),
        (("Cc",), b"\r\n"),
        ((), b"\r\n"),
        (("",), b"\r\n"),
        (("from:", "fro.", "to:\n z", "junk", " z", "\ud800"), b"\r\n"),
        (("X-", "Subjec", "ubject"), b"\r\n"),
    ],
)
def test_subset(names: tuple[str, ...], expected: bytes) -> None:
    assert header_fields(HEADER, names) == expected
    bare = HEADER.replace(b"\r\n", b"\n")
    assert header_fields(bare, names) == expected[:-2].replace(b"\r\n", b"\n") + b"\r\n"


@pytest.mark.parametrize(
    ("names", "gone"),
    [
        (("subject",), b"SUBJECT : one\r\n  two\r\n"),
        (("from", "to"), b"From: x@y\r\n;To:\r\n z\r\n"),
        (("received",), b"Received: from a\r\n\tby b\r\n;Received: second\r\n"),
        ((), b""),
        (("",), b""),
    ],
)
def test_subset_excluding(names: tuple[str, ...], gone: bytes) -> None:
    expected = HEADER
    for field in gone.split(b";"):
        expected = expected.replace(field, b"", 1)
    assert header_fields(HEADER, names, excluding=True) == expected


@pytest.mark.parametrize(
    ("header", "found", "others"),
    [
        (b"", b"\r\n", b"\r\n"),
        (b"\r\n", b"\r\n", b"\r\n"),
        (b"\n", b"\r\n", b"\r\n"),
        (b"A: b", b"A: b\r\n\r\n", b"\r\n"),
        (b"A: b\nC: d", b"A: b\n\r\n", b"C: d\r\n\r\n"),
        (b"A: b\nC: d\n\n", b"A: b\n\r\n", b"C: d\n\r\n"),
        (b"A:\nC:\n", b"A:\n\r\n", b"C:\n\r\n"),
    ],
)
def test_blank_line_ends_every_subset(header: bytes, found: bytes, others: bytes) -> None:
    assert header_fields(header, ("a",)) == found
    assert header_fields(header, ("a",), excluding=True) == others


def test_many_names_give_the_same() -> None:
    many = tuple(f"x-{n}" for n in range(1000))
    assert header_fields(HEADER, (*many, "from", "to")) == header_fields(HEADER, ("from", "to"))
    assert header_fields(HEADER, (*many, "from"), True) == header_fields(HEADER, ("from",), True)


def test_values() -> None:
    assert fields(HEADER, "Received") == [b"from a\r\n\tby b", b"second"]
    assert fields(HEADER, "subject") == [b"one\r\n  two"]
    assert fields(HEADER, "TO") == [b"z"]
    assert fields(HEADER, "bcc") == []
    assert fields(HEADER, "") == []
    assert fields(b"A:\r\n\r\n", "a") == [b""]
