"""The base subject: RFC 5256 2.1, and its grammar in section 5."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymap.mime import decode_text
from pymap.mime.subject import base_subject

N = 200_000  # what is not linear in it does not end within a test's time


@pytest.mark.parametrize(
    ("text", "base", "replied"),
    [
        ("", "", False),
        ("hello", "hello", False),
        # (1) tabs, continuations, multiple spaces
        ("a\tb", "a b", False),
        ("a \t  b", "a b", False),
        ("a\r\n b", "a b", False),
        ("a \r\n\tb", "a b", False),
        ("a\nb", "a\nb", False),  # a line feed that is no continuation is NONWSP
        # (2) trailers
        ("hello ", "hello", False),
        ("hello (fwd)", "hello", True),
        ("hello(FWD)(fwd) \t(Fwd) ", "hello", True),
        ("(fwd)", "", True),
        ("(fwd) hello", "(fwd) hello", False),
        # (3) leaders
        (" hello", "hello", False),
        ("re: hello", "hello", True),
        ("RE:hello", "hello", True),
        ("fw: hello", "hello", True),
        ("Fwd: hello", "hello", True),
        ("fwdd: hello", "fwdd: hello", False),
        ("f: hello", "f: hello", False),
        ("re \t: hello", "hello", True),
        ("re[2]: hello", "hello", True),
        ("re [2] : hello", "hello", True),
        ("re[2][3]: hello", "re[2][3]: hello", False),  # one blob only
        ("re [a[b]: hello", "re [a[b]: hello", False),
        ("re hello", "re hello", False),
        ("reply: hello", "reply: hello", False),
        ("re:", "", True),
        ("[a] [b]re: hello", "hello", True),
        ("[a]re:", "", True),
        # (4) blobs, of which the last stays if nothing else would
        ("[list] hello", "hello", False),
        ("[a][b] [c] hello", "hello", False),
        ("[list]", "[list]", False),
        ("[a][b]", "[b]", False),
        ("[] hello", "hello", False),
        ("[a", "[a", False),
        ("[a[b] hello", "[a[b] hello", False),
        ("hello [a]", "hello [a]", False),
        ("[a] (fwd)", "[a]", True),
        # (5) again and again
        ("Re: [list] Re: [other] fwd: hello", "hello", True),
        ("[list] re", "re", False),
        # (6) a forward around the rest
        ("[fwd: hello]", "hello", True),
        ("[FWD:hello]", "hello", True),
        ("[fwd: [fwd: hello]]", "hello", True),
        ("[fwd: re: hello (fwd)]", "hello", True),
        ("[fwd: hello (fwd) ] (fwd)", "hello", True),
        ("Re: [fwd: [list] hello]", "hello", True),
        ("[fwd:]", "", True),
        ("[fwd: hello] world", "world", False),  # a blob like others
        ("[fwd: hello", "[fwd: hello", False),
        ("[fwd: [a]]", "[a]", True),
        ("[fwd: [a] b", "[fwd: [a] b", False),
        # no other language, and no other letters
        ("AW: hello", "AW: hello", False),
        ("Rе: hello", "Rе: hello", False),  # a Cyrillic one
        ("Re: grün", "grün", True),
        ("re\u00a0: hello", "re\u00a0: hello", False),  # WSP is space and tab
    ],
)
def test_base_subject(text: str, base: str, replied: bool) -> None:
    assert base_subject(text) == (base, replied)


def test_encoded_words_are_decoded_before() -> None:
    raw = b"=?utf-8?Q?Re=3A_=5Blist=5D?= =?utf-8?B?IGdyw7xu?=\r\n (fwd)"
    assert base_subject(decode_text(raw)) == ("grün", True)


BLOB = r"\[[^\[\]]*\][ \t]*"
TRAILER = re.compile(r"(?:\(fwd\)|[ \t])\Z", re.I | re.A)
LEADER = re.compile(rf"(?:{BLOB})*(?:re|fwd?)[ \t]*(?:{BLOB})?:|[ \t]", re.I | re.A)
HEADER = re.compile(r"\[fwd:", re.I | re.A)


def as_written(text: str) -> tuple[str, bool]:
    """The procedure of section 2.1, step by step, on ever new texts."""
    replied = False
    text = re.sub(" +", " ", re.sub(r"(?:\r?\n)?[ \t]", " ", text))  # (1)
    while True:
        while found := TRAILER.search(text):  # (2)
            replied |= not found[0].isspace()
            text = text[: found.start()]
        again = True
        while again:  # (5)
            again = False
            if found := LEADER.match(text):  # (3)
                replied |= not found[0].isspace()
                text = text[found.end() :]
                again = True
            if (found := re.match(BLOB, text)) and text[found.end() :]:  # (4)
                text = text[found.end() :]
                again = True
        if (found := HEADER.match(text)) and text.endswith("]"):  # (6)
            text = text[found.end() : -1]
            replied = True
        else:
            return text, replied  # (7)


PIECES = [
    *("re", "Re:", "fw", "FWD", "d", ":", "[", "]", "[x]", "[ ]", "[fwd:", "(fwd)", "(Fwd"),
    *(" ", "\t", "\r\n ", "\n", "a", "é", "ſ", "(", ")"),
]


@given(st.lists(st.sampled_from(PIECES), max_size=20).map("".join))
def test_it_is_what_the_procedure_says(text: str) -> None:
    assert base_subject(text) == as_written(text)


@pytest.mark.parametrize(
    ("text", "base", "replied"),
    [
        ("Re: " * N, "", True),
        ("re " * N, "re" + " re" * (N - 1), False),
        ("[" * N, "[" * N, False),
        ("[a]" * N, "[a]", False),
        ("[a]" * N + "[", "[", False),
        ("re[" * N, "re[" * N, False),
        ("re[a]" * N, "re[a]" * N, False),
        ("x" + "(fwd)" * N, "x", True),
        ("x" + " (fwd" * N, "x" + " (fwd" * N, False),
        ("[fwd:" * N + "]" * N, "", True),
        ("[fwd:" * N, "[fwd:" * N, False),
        ("[fwd: re: " * N + "x" + " (fwd) ]" * N, "x", True),
        (" " * N, "", False),
        ("a" + " " * N + "b", "a b", False),
        ("a" + "\r\n" * N + "b", "a" + "\r\n" * N + "b", False),
    ],
    ids=range(15),
)
def test_time_is_linear(text: str, base: str, replied: bool) -> None:
    assert base_subject(text) == (base, replied)
