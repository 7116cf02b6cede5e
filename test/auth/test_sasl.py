"""What clients say in SASL: the examples of the RFCs, and what is malformed."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymap.auth import sasl
from pymap.auth.preparation import prepare, prepare_or_keep
from pymap.auth.sasl import Bearer, Credentials
from pymap.auth.schemes import LONGEST

# -- the examples --


def test_plain_of_rfc_4616() -> None:
    """Section 4."""
    assert sasl.plain(b"\0tim\0tanstaaftanstaaf") == Credentials("tim", "tanstaaftanstaaf", "")
    assert sasl.plain(b"Ursel\0Kurt\0xipj3plmq") == Credentials("Kurt", "xipj3plmq", "Ursel")


def test_cram_md5_of_rfc_2195() -> None:
    """Section 2."""
    challenge = base64.b64decode("PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+")
    response = base64.b64decode("dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw")
    digest = sasl.cram_md5(challenge, response)
    assert digest.user == "tim"
    assert digest.is_of("tanstaaftanstaaf")
    assert not digest.is_of("tanstaaftanstaag")
    assert not digest.is_of("")
    assert not digest.is_of("\ud800")


OAUTH = (
    "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyI"
    "HZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
)
"""RFC 7628 4.1"""
OAUTH_QUERY = "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9AQE="
"""RFC 7628 4.3"""


def test_oauthbearer_of_rfc_7628() -> None:
    said = base64.b64decode(OAUTH)
    token = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="
    assert sasl.oauthbearer(said) == Bearer(token, "user@example.com")
    assert sasl.oauthbearer(said.replace(b"Bearer", b"BeArEr")).token == token
    assert sasl.oauthbearer(base64.b64decode(OAUTH_QUERY)) == Bearer("", "user@example.com")
    assert sasl.oauthbearer(b"y,,\x01auth=Bearer x\x01zz=\r\n\t \x01\x01") == Bearer("x", "")


def test_oauthbearer_error_of_rfc_7628() -> None:
    """Section 4.3."""
    assert json.loads(sasl.oauthbearer_error("example_scope", "https://example.com/")) == {
        "status": "invalid_token",
        "scope": "example_scope",
        "openid-configuration": "https://example.com/.well-known/openid-configuration",
    }
    assert json.loads(sasl.oauthbearer_error(None, None)) == {"status": "invalid_token"}


def test_xoauth2() -> None:
    said = b"user=someuser@example.com\x01auth=Bearer ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg\x01\x01"
    token = "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"
    assert sasl.xoauth2(said) == Bearer(token, "someuser@example.com")
    assert json.loads(sasl.xoauth2_error("mail")) == {
        "status": "401", "schemes": "bearer", "scope": "mail",
    }  # fmt: skip


def test_external_of_rfc_4422() -> None:
    """Appendix A."""
    assert sasl.external(b"") == ""
    assert sasl.external(b"fred@example.com") == "fred@example.com"


def test_login() -> None:
    assert sasl.login("ä".encode(), "ö".encode()) == Credentials("ä", "ö")


def test_an_authorization_identity_that_is_the_user_is_none() -> None:
    assert sasl.plain(b"alice\0alice\0secret").authorization_id == ""


def test_a_challenge_is_never_the_same() -> None:
    challenges = {sasl.cram_md5_challenge() for _ in range(100)}
    assert len(challenges) == 100
    assert all(c.isascii() and c.startswith(b"<") and c.endswith(b">") for c in challenges)


# -- what is malformed --

PARSERS: dict[str, Callable[[bytes], object]] = {
    "plain": sasl.plain,
    "login": lambda said: sasl.login(said, said),
    "external": sasl.external,
    "cram-md5": lambda said: sasl.cram_md5(b"<1@x>", said),
    "xoauth2": sasl.xoauth2,
    "oauthbearer": sasl.oauthbearer,
}
MALFORMED = [
    ("plain", b""), ("plain", b"alice"), ("plain", b"\0\0secret"), ("plain", b"\0alice"),
    ("plain", b"\0alice\0secret\0"), ("plain", b"\0\xff\0secret"), ("plain", b"\0alice\0\xed\xa0\x80"),
    ("login", b"\xff"), ("login", b"a\0b"),
    ("external", b"\xff"), ("external", b"a\0b"),
    ("cram-md5", b""), ("cram-md5", b"tim"), ("cram-md5", b"tim "), ("cram-md5", b"\xff b913"),
    ("cram-md5", b"t\0im b913"),
    ("xoauth2", b""), ("xoauth2", b"user=alice\x01auth=Basic x\x01\x01"),
    ("xoauth2", b"user=alice\x01auth=Bearer x y\x01\x01"), ("xoauth2", b"user=\xff\x01auth=Bearer x\x01\x01"),
    ("xoauth2", b"user=a\0b\x01auth=Bearer x\x01\x01"), ("xoauth2", b"user=alice\x01auth=Bearer \xff\x01\x01"),
    ("oauthbearer", b""), ("oauthbearer", b"\x01"), ("oauthbearer", b"n,,\x01\x01"),
    ("oauthbearer", b"n,a=user,\x01auth=Bearer x\x01"), ("oauthbearer", b"n,user=alice,\x01auth=Bearer x\x01\x01"),
    ("oauthbearer", b"p=tls-unique,,\x01auth=Bearer x\x01\x01"), ("oauthbearer", b"n,,\x01auth=Basic x\x01\x01"),
    ("oauthbearer", b"n,,\x01auth=Bearer x\x01auth=Bearer y\x01\x01"), ("oauthbearer", b"n,,\x01auth=Bearer x y\x01\x01"),
    ("oauthbearer", b"n,a=\xff,\x01auth=Bearer x\x01\x01"), ("oauthbearer", b"n,,\x01=x\x01auth=Bearer x\x01\x01"),
    ("oauthbearer", b"n,a=a=b,\x01auth=Bearer x\x01\x01"), ("oauthbearer", b"n,,\x01host=\0\x01auth=Bearer x\x01\x01"),
]  # fmt: skip


@pytest.mark.parametrize(("mechanism", "said"), MALFORMED)
def test_malformed_is_a_value_error(mechanism: str, said: bytes) -> None:
    with pytest.raises(ValueError):
        PARSERS[mechanism](said)


PIECES = st.sampled_from([b"user=", b"auth=Bearer ", b"\x01", b"\0", b"n,", b"a=", b",", b"x", b" ", b"=2C", b"\xff", b"\n", b"\xc3\xa4"])  # fmt: skip


@pytest.mark.parametrize("mechanism", PARSERS)
@given(said=st.binary(max_size=60) | st.lists(PIECES, max_size=12).map(b"".join))
def test_any_octets_are_understood_or_a_value_error(mechanism: str, said: bytes) -> None:
    with contextlib.suppress(ValueError):
        PARSERS[mechanism](said)


# -- SASLprep --


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        # RFC 4013 3
        ("I\u00adX", "IX"), ("user", "user"), ("USER", "USER"), ("\u00aa", "a"), ("\u2168", "IX"),
        # And more.
        ("a\u00a0b", "a b"), ("a\u200bb", "ab"), ("\ufb01sh", "fish"), ("e\u0301", "\u00e9"),
        ("\u05d0\u200d", "\u05d0"), ("\u2135", "\u05d0"), ("\u05d01\u05d1", "\u05d01\u05d1"),
        ("\U0001f511", "\U0001f511"), ("\u2c7d", "V"), (" ", " "),
    ],
)  # fmt: skip
def test_what_is_prepared(text: str, prepared: str) -> None:
    assert prepare(text) == prepare(prepared) == prepared


@pytest.mark.parametrize(
    "text",
    ["", "\u00ad", "\7", "a\x7f", "\u0627\u0031", "\u0627a\u0627", "\ud800", "\ue000", "a\ufffd", "a\u2028", "ä" * (LONGEST + 1)],
)  # fmt: skip
def test_what_cannot_be_prepared(text: str) -> None:
    with pytest.raises(ValueError):
        prepare(text)
    assert prepare_or_keep(text) == text


@given(st.text(st.characters(), max_size=20))
def test_what_is_prepared_stays(text: str) -> None:
    kept = prepare_or_keep(text)
    assert prepare_or_keep(kept) == kept
