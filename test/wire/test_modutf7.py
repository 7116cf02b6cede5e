"""Modified UTF-7: names, their one form, and what is refused.   RFC 3501 5.1.3"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymap.wire import modutf7

NAMES = [
    ("", b""),
    ("INBOX", b"INBOX"),
    ("~peter/mail/台北/日本語", b"~peter/mail/&U,BTFw-/&ZeVnLIqe-"),  # RFC 3501 5.1.3
    ("&", b"&-"),
    ("&&", b"&-&-"),
    ("&-", b"&--"),
    ("a&b", b"a&-b"),
    ("a b\"\\%*(){}~", b"a b\"\\%*(){}~"),
    ("ä", b"&AOQ-"),
    ("ä&ö", b"&AOQ-&-&APY-"),
    ("ä-ö", b"&AOQ--&APY-"),
    ("Entwürfe", b"Entw&APw-rfe"),
    ("\u263a!", b"&Jjo-!"),  # RFC 3501 5.1.3
    ("\U0001f600", b"&2D3eAA-"),
    ("\x00", b"&AAA-"),
    ("\t", b"&AAk-"),
    ("\r\n", b"&AA0ACg-"),
    ("\x7f", b"&AH8-"),
    ("\x80", b"&AIA-"),
    ("\ufeff", b"&,v8-"),
    ("\uffff", b"&,,8-"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "raw"), NAMES)
def test_names(name: str, raw: bytes) -> None:
    assert modutf7.encode(name) == raw
    assert modutf7.decode(raw) == name


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_round_trip(name: str) -> None:
    raw = modutf7.encode(name)
    assert all(0x20 <= octet <= 0x7E for octet in raw)
    assert modutf7.decode(raw) == name


PIECES = [b"&", b"-", b"a", b",", b"/", b"=", b"AOQ", b"2D3eAA", b" "]


@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=3)).map(b"".join))
def test_one_name_has_one_form(raw: bytes) -> None:
    try:
        name = modutf7.decode(raw)
    except ValueError:
        return
    assert modutf7.encode(name) == raw


MALFORMED = [
    b"&", b"a&", b"&AOQ", b"&AOQ&-", b"a&b",  # unterminated
    b"&U/BTFw-",  # / for ,
    b"&AOQ=-", b"&AOQ -", b"&A\r\nOQ-", b"&AO!Q-",  # not base64
    b"&A-", b"&AA-", b"&AOQA-", b"&AOR-",  # cut short; bits left over
    b"&AOQ-&APY-",  # one run written as two
    b"&AGE-", b"&AOQAYQ-", b"&ACY-",  # ASCII that needs no shift
    b"&2D0-", b"&3gA-", b"&3gDYPQ-", b"&2D0-&3gA-",  # lone surrogates
    b"\xe4", b"\xc3\xa4", b"\xc3\xa4&-",  # 8 bits
    b"&-\t", b"\x7f&-",
]  # fmt: skip


@pytest.mark.parametrize("raw", MALFORMED)
def test_malformed(raw: bytes) -> None:
    with pytest.raises(ValueError):
        modutf7.decode(raw)


@pytest.mark.parametrize("raw", [b"\t", b"a\x01b", b"\x7f", b"\r\n"])
def test_control_characters_have_only_their_shifted_form(raw: bytes) -> None:
    r"""Else "\t" and "&AAk-" are two names of one mailbox (rule 3)."""
    with pytest.raises(ValueError):
        modutf7.decode(raw)


def test_a_long_name_costs_as_much_as_it_is_long() -> None:
    assert modutf7.decode(modutf7.encode("ä&" * 100_000)) == "ä&" * 100_000
    with pytest.raises(ValueError):
        modutf7.decode(b"&" * 1_000_000)
