"""i;unicode-casemap: RFC 5051 2, RFC 5255 4.6."""

from __future__ import annotations

import sys
from base64 import b64encode
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymap.mime.casemap import UNREADABLE, casemap, collation_key, read_text


def prepared(text: str) -> str:
    """Steps (1) to (4), a code point at a time, and the canonical order that section 4 allows."""
    mapped = []
    for character in text:
        title = character.title()  # one character: the property; several: SpecialCasing.txt
        mapped.append(normalize("NFKD", title if len(title) == 1 else character))
    return normalize("NFKD", "".join(mapped))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("", ""),
        ("Hello, World 1", "HELLO, WORLD 1"),
        ("\u01c4", "Dz\u030c"),  # the example of step (2)(b): U+01C4 -> U+0044 U+007A U+030C
        ("\u01c5", "Dz\u030c"),
        ("\u01c6", "Dz\u030c"),
        ("é", "E\u0301"),
        ("E\u0301", "E\u0301"),
        ("Ångström", "A\u030aNGSTRO\u0308M"),
        ("\u212b", "A\u030a"),  # ANGSTROM SIGN
        ("привет", "ПРИВЕТ"),
        ("ς", "Σ"),  # final sigma
        ("σ", "Σ"),
        ("ı", "I"),
        ("İ", "I\u0307"),
        ("ſ", "S"),
        ("µ", "Μ"),
        ("\u1ecf", "O\u0309"),
        ("①", "1"),  # decompositions of any type
        ("Ａｂ", "AB"),
        ("ﬁx", "fiX"),  # the letters of a decomposition are not mapped again
        ("ß", "ß"),  # no titlecase property, no decomposition
        ("ᾳ", "Α\u0345"),
        ("ა", "ა"),  # Georgian has capitals but no titlecase
        ("한", "\u1112\u1161\u11ab"),
        ("𐐨", "𐐀"),
        ("中文", "中文"),
    ],
)
def test_keys(text: str, key: str) -> None:
    assert casemap(text) == key


def test_every_character_is_mapped_as_the_text_says() -> None:
    """Also in a newer Unicode than the one that this was written with."""
    wrong = [
        hex(code)
        for code in range(sys.maxunicode + 1)
        if not 0xD800 <= code < 0xE000 and casemap(chr(code)) != prepared(chr(code))
    ]
    assert wrong == []


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_a_text_is_mapped_as_its_characters(text: str) -> None:
    assert casemap(text) == prepared(text)


def test_marks_in_any_order_are_the_same() -> None:
    """RFC 5051 4 (2)"""
    assert casemap("e\u0323\u0302") == casemap("e\u0302\u0323") == casemap("\u1ec7")


def test_diacriticals_sort_beside_their_letters() -> None:
    """RFC 5051 1"""
    words = ["zeta", "Éclair", "eclipse", "Ezra", "apple", "Äpfel"]
    assert sorted(words, key=casemap) == ["apple", "Äpfel", "eclipse", "Ezra", "Éclair", "zeta"]


def encoded(charset: str, octets: str) -> bytes:
    return b"=?%b?B?%b?=" % (charset.encode(), b64encode(bytes.fromhex(octets)))


def test_what_cannot_be_read_comes_last_by_its_octets() -> None:
    """The example of RFC 5255 4.6: (4) (2) (3) (1)."""
    texts = {
        1: encoded("UTF-8", "D0C0D0BDD0B4D180D0B5D0B9"),
        2: encoded("UTF-8", "D181D095D0A0D093D095D099"),
        3: encoded("UTF-8", "D092D0B0D181D0B8D0BBD0B8FFB9"),
        4: encoded("KOI8-R", "E1CCC5CBD3C5CA"),
    }
    assert [read_text(raw)[1] for raw in texts.values()] == [False, True, False, True]
    assert read_text(texts[4])[0].encode() == bytes.fromhex("D090D0BBD0B5D0BAD181D0B5D0B9")
    keys = {number: collation_key(*read_text(raw)) for number, raw in texts.items()}
    assert sorted(keys, key=keys.__getitem__) == [4, 2, 3, 1]


@pytest.mark.parametrize(
    ("raw", "text", "readable"),
    [
        (b"", "", True),
        (b"plain", "plain", True),
        (b"=?us-ascii?Q?a?=", "a", True),
        ("grün".encode(), "grün", True),
        (b"gr\xfcn", "grün", False),  # of an unknown charset
        (b"gr\xfcn =?utf-8?Q?a?=", "grün a", False),
        (b"=?latin1?Q?gr=FCn?= b", "grün b", True),
        (b"=?x-unknown?Q?gr=FCn?=", "grün", False),
        (b"=?x-unknown?Q?gr=C3=BCn?=", "grün", True),  # UTF-8, then
        (b"=?utf-8?Q?gr=C3?= =?utf-8?Q?=BCn?=", "grün", True),  # a character cut in two
        (b"=?us-ascii?Q?gr=C3=BCn?=", "grün", True),  # who says so seldom means it
        (b"=?gb2312?B?1tDOxA==?=", "中文", True),
        (b"=?iso-8859-1*de?Q?a?=", "a", True),
        (b"=?utf-8?Q?broken", "=?utf-8?Q?broken", True),
    ],
)
def test_read_text(raw: bytes, text: str, readable: bool) -> None:
    assert read_text(raw) == (text, readable)


def test_the_key_of_what_cannot_be_read_is_not_mapped() -> None:
    assert collation_key("gr\xfcn", readable=False) == UNREADABLE + "gr\xfcn"


@given(st.binary())
def test_any_octets_have_a_key(raw: bytes) -> None:
    collation_key(*read_text(raw)).encode("utf-8")
