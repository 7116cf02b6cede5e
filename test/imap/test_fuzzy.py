"""What is alike, and how much.   RFC 6203"""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymap.imap import fuzzy
from pymap.imap.fuzzy import Needle, one_edit, score
from pymap.imap.text import casemap, header_contains
from pymap.mime import digest

ALIKE = [
    # (what is looked for, where, how well)
    ("IMAP break", "The IMAP breaks", 1.0),
    ("imap break", "a break in IMAP", 0.9),
    ("IMAP break", "IMAP is broken", 0.45),
    ("Helo", "hello there", 0.9 * 0.6),
    ("strasse", "die Straße", 1.0),
    ("café", "at the Cafe", 1.0),
    ("cafe", "im Café", 1.0),
    ("wrok", "works", 0),
    ("wrok", "work", 0.9 * 0.6),
    ("work late", "overworked, latest", 0.9 * 0.8 / 2),
    ("to", "t", 0),
    ("a b c", "only a", 0),  # fewer than half of the words
    ("@", "a b", 0),
    ("@", "a@b", 1.0),
]


@pytest.mark.parametrize(("needle", "text", "likeness"), ALIKE)
def test_likeness(needle: str, text: str, likeness: float) -> None:
    assert Needle(needle).likeness(text) == pytest.approx(likeness)


@pytest.mark.parametrize(
    ("a", "b", "near"),
    [
        ("work", "word", True), ("work", "wrok", True), ("work", "works", True),
        ("work", "wok", True), ("work", "xwork", True), ("work", "wrko", False),
        ("work", "worksx", False), ("abcd", "bacd", True), ("abcd", "badc", False),
        ("", "a", True), ("ab", "cd", False),
    ],
)  # fmt: skip
def test_one_edit(a: str, b: str, near: bool) -> None:
    assert one_edit(a, b) is one_edit(b, a) is near


near_words = st.text("ABC", min_size=4, max_size=8)


@given(near_words, near_words)
def test_a_word_is_found_by_any_one_edit(word: str, other: str) -> None:
    """Whatever is passed over without being compared."""
    near = other.startswith(word) or one_edit(word, other)
    assert bool(Needle(word).likeness(other)) is (near or word in other)


def test_scores_use_the_whole_range() -> None:
    """1 to 100   RFC 6203 4"""
    assert score([fuzzy.AS_IT_STANDS]) == 100
    assert score([fuzzy.LOWEST]) == 1
    assert score([]) == 100
    assert score([1.0, fuzzy.LOWEST]) == 50


texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=60)


@given(texts, texts, texts)
def test_what_is_found_exactly_is_alike(before: str, needle: str, after: str) -> None:
    """In a header and in a body; and no score is out of range."""
    value = f"{before}{needle}{after}".encode()
    block = b"Subject: " + value + b"\r\n\r\n"
    message = b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + value
    if needle and header_contains(block, "SUBJECT", casemap(needle)):
        assert fuzzy.header("SUBJECT", needle)(block)
    if needle and casemap(needle) in casemap(value.decode()):
        assert fuzzy.text(needle, headers_too=False)(message, digest(message))
        assert fuzzy.text(needle, headers_too=True)(message, digest(message))
    assert 1 <= score([Needle(needle).likeness(before + after) or fuzzy.LOWEST]) <= 100


@pytest.mark.parametrize(
    "text",
    [
        "x" * 2_000_000,
        " ".join(f"w{n}" for n in range(200_000)),
        "wordy " * 200_000,
        "e\u0301" * 500_000,
    ],
    ids=["one word", "many words", "the same word", "accents"],
)
@pytest.mark.parametrize("needle", ["w" * 100_000, "wordx " * 10_000, "aaaa bbbb cccc w123456"])
def test_hostile_texts_take_linear_time(needle: str, text: str) -> None:
    """RFC 6203 8: "large messages that contain very long words and/or unique random strings" """
    began = time.perf_counter()
    Needle(needle).likeness(text)
    assert time.perf_counter() - began < 10  # it is some 0.3 s
