"""Rights, and how an access list is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymap.backend.rights import (
    ALL_RIGHTS,
    ANYONE,
    NO_RIGHTS,
    OWNER,
    AccessList,
    from_properties,
    parse_rights,
    property_key,
    render_rights,
    rights_of,
)

LETTERS = "lrswipkxtea"


@pytest.mark.parametrize(
    ("text", "rights"),
    [
        ("", ""),
        ("lr", "lr"),
        ("lrswida", "lrswieta"),  # RFC 4314 2.1.1
        ("lrswikda", "lrswiketa"),
        ("c", "kx"),
        ("cd", "kxet"),
        ("dte", "te"),
        ("llrr", "lr"),
    ],
)
def test_rights_are_letters(text: str, rights: str) -> None:
    assert parse_rights(text) == frozenset(rights)


@pytest.mark.parametrize("text", ["q", "lrQ", "L", "0", "l r", "+l", "l,r", "\u00fc", "l\0"])
def test_no_other_sign_is_passed_over(text: str) -> None:
    with pytest.raises(ValueError):
        parse_rights(text)


@pytest.mark.parametrize(
    ("rights", "text"),
    [("", ""), ("rl", "lr"), ("k", "kc"), ("x", "xc"), ("e", "ed"), ("t", "td"), ("a", "a"),
     (LETTERS, "lrswipkxteacd")],
)  # fmt: skip
def test_the_virtual_rights_are_told(rights: str, text: str) -> None:
    """RFC 4314 2.1.1: c and d when any of their members is there."""
    assert render_rights(frozenset(rights)) == text


@given(st.frozensets(st.sampled_from(LETTERS)))
def test_what_is_rendered_is_never_less_when_read_again(rights: frozenset[str]) -> None:
    assert parse_rights(render_rights(rights)) >= rights
    assert parse_rights(render_rights(rights).translate({ord("c"): None, ord("d"): None})) == rights


@pytest.mark.parametrize(
    ("entries", "user", "rights"),
    [
        ({}, "alice", LETTERS),
        ({}, "bob", ""),
        ({"bob": "lr"}, "bob", "lr"),
        ({"bob": "lr"}, "carol", ""),
        ({"bob": "lr"}, "alice", LETTERS),
        ({ANYONE: "lr"}, "bob", "lr"),
        ({ANYONE: "lr"}, "alice", LETTERS),
        ({ANYONE: "lr", "bob": "i"}, "bob", "i"),  # who is named has these and no others
        ({ANYONE: "lr", "bob": ""}, "bob", ""),
        ({ANYONE: "lrs", "-bob": "s"}, "bob", "lr"),
        ({"bob": "lrs", "-anyone": "s"}, "bob", "lr"),
        ({"bob": "lrs", "-anyone": "s", "-bob": "r"}, "bob", "ls"),
        ({"-bob": "l"}, "bob", ""),
        ({"-anyone": LETTERS}, "alice", LETTERS),
        ({"alice": "r"}, "alice", "lra"),
        ({OWNER: "r"}, "alice", "lra"),
        ({OWNER: "r", "alice": "s"}, "alice", "lsa"),
        ({OWNER: "r"}, "bob", ""),
        ({"-": "lra"}, "alice", "laswipkxte"),
        ({"-alice": LETTERS}, "alice", "la"),
        ({"-bob": "lr"}, "-bob", ""),
        ({"-bob": "lr", ANYONE: "l"}, "-bob", "l"),
        ({"anyone": "lr"}, "anyone", "lr"),
    ],
)
def test_rights_of_a_user(entries: dict[str, str], user: str, rights: str) -> None:
    made: AccessList = {who: frozenset(letters) for who, letters in entries.items()}
    owner = "alice"
    assert rights_of(made, user, owner) == frozenset(rights)


def test_access_lists_are_properties_among_others() -> None:
    properties = {
        property_key("bob"): b"rl", property_key("-bob"): b"", property_key(ANYONE): b"lzQ9\xff",
        property_key("a/b"): b"l", "aclx": b"l", "metadata/acl/x": b"l",
    }  # fmt: skip
    assert from_properties(properties) == {
        "bob": frozenset("lr"), "-bob": NO_RIGHTS, ANYONE: frozenset("l"), "a/b": frozenset("l"),
    }  # fmt: skip
    assert frozenset(LETTERS) == ALL_RIGHTS
