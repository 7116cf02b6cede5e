"""Gmail's queries as search keys, and its labels as flags."""

from __future__ import annotations

import time
import unicodedata
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymap.wire import search as k
from pymap.wire.errors import BadCommand, Refused
from pymap.wire.gmail_query import query
from pymap.wire.labels import flag_of, is_label, label_of
from pymap.wire.types import FLAGGED, SEEN, Flag


def read(text: str) -> k.SearchKey:
    def enter(depth: int) -> None:
        if depth > 100:
            raise Refused("LIMIT", "too deep")

    return query(text, enter, 0)


A, B, C = k.Text("a"), k.Text("b"), k.Text("c")
UNREAD = k.Not(k.HasFlag(SEEN))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("", k.All()),
        ("a", A),
        ("a b", k.And((A, B))),
        ("a AND b", k.And((A, k.All(), B))),
        ("a b OR c", k.And((A, k.Or(B, C)))),
        ("a OR b OR c", k.Or(A, k.Or(B, C))),
        ("{a b}", k.Or(A, B)),
        ("(a b) OR c", k.Or(k.And((A, B)), C)),
        ("-a", k.Not(A)),
        ("-(a b)", k.Not(k.And((A, B)))),
        ("a-b", k.Text("a-b")),
        ('"a b"', k.Text("a b")),
        ('"a b', k.Text("a b")),
        ("(a", A),
        ("a )", k.And((A, k.All()))),
        ("from:ann", k.Header("FROM", "ann")),
        ("FROM:ann", k.Header("FROM", "ann")),
        ('subject:"two words"', k.Header("SUBJECT", "two words")),
        ("subject:(a b)", k.And((k.Header("SUBJECT", "a"), k.Header("SUBJECT", "b")))),
        ("subject:{a b}", k.Or(k.Header("SUBJECT", "a"), k.Header("SUBJECT", "b"))),
        ("subject:(a OR b)", k.Or(k.Header("SUBJECT", "a"), k.Header("SUBJECT", "b"))),
        ("-from:ann", k.Not(k.Header("FROM", "ann"))),
        ("is:unread", UNREAD),
        ("in:unread", UNREAD),
        ("is:starred", k.HasFlag(FLAGGED)),
        ("has:attachment", k.Attachment()),
        ("label:x-y", k.HasFlag(flag_of("x-y"))),
        ("in:Trash", k.InMailbox("Trash", flag_of("Trash"))),
        ("larger:10M", k.Size(10 << 20, larger=True)),
        ("smaller:2k", k.Size(2048, larger=False)),
        ("size:1000", k.Size(1000, larger=True)),
        ("after:1970/01/03", k.Date(k.DateKey.INTERNAL, k.Compare.SINCE, 2)),
        ("before:1970-1-3", k.Date(k.DateKey.INTERNAL, k.Compare.BEFORE, 2)),
        ("after:172800000", k.Date(k.DateKey.INTERNAL, k.Compare.SINCE, 2000)),
        ("older_than:2d", k.Within(172800, older=True)),
        ("newer_than:1y", k.Within(365 * 86400, older=False)),
        ("http://x", k.Text("http://x")),
        ("a:", k.Text("a:")),
        ("rfc822msgid:x@y", k.Header("MESSAGE-ID", "x@y")),
    ],
)
def test_query(text: str, key: k.SearchKey) -> None:
    assert read(text) == key


@pytest.mark.parametrize(
    "text", ["is:x", "larger:x", "before:x", "before:2020/13/01", "newer_than:x"]
)
def test_bad_values(text: str) -> None:
    with pytest.raises(BadCommand):
        read(text)


@given(st.text(alphabet='ab -(){}":OR\t', max_size=60) | st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(BadCommand, Refused):
        read(text)


def test_many_alternatives_make_no_deep_tree() -> None:
    key = read(" OR ".join(["a"] * 10_000))
    depth = 0
    while isinstance(key, k.Or):
        key, depth = key.left, depth + 1
    assert depth < 20
    began = time.perf_counter()
    read('"' * 1000 + "(" * 90 + "x" * 100_000 + "{" * 5)
    assert time.perf_counter() - began < 1


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_labels_are_atoms_and_come_back(label: str) -> None:
    flag = flag_of(label)
    assert is_label(flag)
    assert label_of(flag) == unicodedata.normalize("NFC", label) or label.startswith("\\")
    assert flag.name.isascii()
    assert not set(flag.name) & set(' (){%*"\\]')


def test_labels_that_are_flags() -> None:
    assert flag_of("\\starred") is FLAGGED
    assert label_of(FLAGGED) == "\\Starred"
    assert flag_of("\\Important") == Flag("$Important")
    assert label_of(SEEN) is None
    assert label_of(Flag("kw")) is None
    assert flag_of("A") == flag_of("a")
    assert label_of(Flag("$gm.=ff")) == "\N{REPLACEMENT CHARACTER}"
