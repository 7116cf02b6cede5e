"""SCRAM on the wire: the examples of the RFCs, what is malformed, and scramp as the other side."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scramp import ScramClient, ScramException, ScramMechanism

from pymap.auth.scram import Conversation, Keys, WrongBinding, client_first, derive

END_POINT = hashlib.sha256(b"the certificate").digest()
BOUND = ("tls-server-end-point", END_POINT)
HASHES = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256"}


# -- the examples --


def test_the_example_of_rfc_5802() -> None:
    """Section 5."""
    salt = base64.b64decode("QSXCR+Q6sek8bf92")
    first = client_first(b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL")
    assert first.user == "user"
    talk = Conversation("sha1", first, salt, 4096, nonce="3rfcNHYJY1ZVvWVs7j")
    assert talk.challenge == (
        b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096"
    )
    talk.client_final(
        b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="
    )
    keys = derive("sha1", b"pencil", salt, 4096)
    assert talk.answer(keys) == b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ="
    assert talk.answer(derive("sha1", b"pencils", salt, 4096)) is None


def test_the_example_of_rfc_7677() -> None:
    """Section 3."""
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    first = client_first(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO")
    talk = Conversation("sha256", first, salt, 4096, nonce="%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
    assert talk.challenge == (
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    )
    talk.client_final(
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    keys = derive("sha256", b"pencil", salt, 4096)
    assert talk.answer(keys) == b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


# -- scramp as the client --


@pytest.mark.parametrize("plus", [False, True])
@pytest.mark.parametrize("mechanism", HASHES)
@pytest.mark.parametrize("user", ["alice", "a,b=c", "=2C", "pätrick", "\u05d0\u05d1"])
def test_scramp_agrees(mechanism: str, plus: bool, user: str) -> None:
    client = ScramClient(
        [mechanism + "-PLUS" * plus], user, "pässword 1", channel_binding=BOUND if plus else None
    )
    first = client_first(client.get_client_first().encode())
    assert first.user == user
    salt, stored, server, iterations = ScramMechanism(mechanism).make_auth_info("pässword 1")
    assert derive(HASHES[mechanism], "pässword 1".encode(), salt, iterations) == (stored, server)
    end_point = END_POINT if plus else b""
    talk = Conversation(HASHES[mechanism], first, salt, iterations, end_point, plus_announced=plus)
    client.set_server_first(talk.challenge.decode())
    talk.client_final(client.get_client_final().encode())
    assert talk.answer(Keys(server, stored)) is None
    answer = talk.answer(Keys(stored, server))
    assert answer is not None
    client.set_server_final(answer.decode())


@pytest.mark.parametrize("mechanism", HASHES)
def test_scramp_does_not_take_a_server_that_lacks_the_key(mechanism: str) -> None:
    client = ScramClient([mechanism], "alice", "secret")
    talk = Conversation(
        HASHES[mechanism], client_first(client.get_client_first().encode()), b"x" * 16, 4096
    )
    client.set_server_first(talk.challenge.decode())
    talk.client_final(client.get_client_final().encode())
    keys = derive(HASHES[mechanism], b"secret", b"x" * 16, 4096)
    answer = talk.answer(Keys(keys.stored, b"x" * len(keys.server)))
    assert answer is not None
    with pytest.raises(ScramException):
        client.set_server_final(answer.decode())


# -- Rule 1: the flag --


@pytest.mark.parametrize(
    ("header", "end_point", "announced"),
    [
        ("y,,", b"", True),  # somebody has taken the -PLUS form out of the list
        ("y,,", END_POINT, True),
        ("n,,", END_POINT, True),
        ("p=tls-unique,,", END_POINT, True),
        ("p=tls-exporter,,", END_POINT, True),
        ("p=TLS-SERVER-END-POINT,,", END_POINT, True),
        ("p=tls-server-end-point,,", b"", True),  # the other form was chosen
        ("p=tls-server-end-point,,", b"", False),
    ],
)
def test_the_flag_must_fit(header: str, end_point: bytes, announced: bool) -> None:
    first = client_first(f"{header}n=alice,r=x".encode())
    with pytest.raises(WrongBinding):
        Conversation("sha256", first, b"salt", 4096, end_point, announced)


@pytest.mark.parametrize(
    ("header", "end_point", "announced"),
    [
        ("n,,", b"", True),
        ("n,,", b"", False),
        ("y,,", b"", False),
        ("p=tls-server-end-point,,", END_POINT, True),
    ],
)
def test_the_flag_comes_again(header: str, end_point: bytes, announced: bool) -> None:
    first = client_first(f"{header}n=alice,r=x".encode())
    talk = Conversation("sha256", first, b"salt", 4096, end_point, announced, nonce="y")
    proof = base64.b64encode(b"x" * 32).decode()

    def final(channel: bytes) -> bytes:
        return f"c={base64.b64encode(channel).decode()},r=xy,p={proof}".encode()

    talk.client_final(final(header.encode() + end_point))
    for wrong in (
        b"n,a=x,",
        b"n,," if header != "n,," else b"y,,",
        header.encode() + END_POINT[1:],
    ):
        with pytest.raises(WrongBinding):
            talk.client_final(final(wrong))


# -- what is malformed --


@pytest.mark.parametrize(
    "message",
    [
        b"", b"n", b"n,", b"n,,", b",,n=alice,r=x", b"x,,n=alice,r=x", b"N,,n=alice,r=x",
        b"nn,,n=alice,r=x", b"p,,n=alice,r=x", b"p=,,n=alice,r=x", b"p=a_b,,n=alice,r=x",
        b"n,alice,n=alice,r=x", b"n,a=,n=alice,r=x", b"n,a=a=b,n=alice,r=x",
        b"n,,n=,r=x", b"n,,n=a=b,r=x", b"n,,n=a=2cb,r=x", b"n,,n=a=3d,r=x", b"n,,n==,r=x",
        b"n,,n=a\0b,r=x", b"n,,n=\xff,r=x", b"n,,n=\xed\xa0\x80,r=x",
        b"n,,n=alice", b"n,,n=alice,r=", b"n,,n=alice,r=a b", b"n,,n=alice,r=\xc3\xa4",
        b"n,,r=x,n=alice", b"n,,n=alice,r=x,", b"n,,n=alice,r=x,1=x", b"n,,n=alice,r=x,z=",
        b"n,,n=alice,r=x,z", b"n,,n=alice,r=x,z=a\0", b"n,,n=alice,r=x,n=bob",
        b"n,,n=alice,r=x\n",
        b"n,,m=x,n=alice,r=x", b"n,,n=alice,m=x,r=x", b"n,,n=alice,r=x,m=x",  # Rule 3
    ],
)  # fmt: skip
def test_malformed_first_message(message: bytes) -> None:
    with pytest.raises(ValueError):
        client_first(message)


P = b",p=" + base64.b64encode(b"x" * 32)


@pytest.mark.parametrize(
    "message",
    [
        b"", b"c=biws", b"c=biws,r=xy", b"r=xy,c=biws" + P, b"c=,r=xy" + P, b"c=biws,r=" + P,
        b"c=biws,r=x" + P, b"c=biws,r=xyz" + P, b"c=b iws,r=xy" + P, b"c=biws,r=xy,m=x" + P,
        b"c=biws,r=xy,p=", b"c=biws,r=xy,p=abc", b"c=biws,r=xy,p=eHg=", b"c=biws,r=xy,p=a===",
        b"c=biws,r=xy" + P.replace(b"eHg=", b"eHh="),  # the same proof, written otherwise
        b"c=biws,r=xy" + P + b",z=x", b"c=biws,r=xy" + P + P, b"c=biws,r=xy,z=\0" + P,
        b"c=biws,r=xy,z=\xff" + P, b"c=biws,r=xy" + P + b"\n", b"c=biws,,r=xy" + P,
    ],
)  # fmt: skip
def test_malformed_final_message(message: bytes) -> None:
    talk = Conversation("sha256", client_first(b"n,,n=alice,r=x"), b"salt", 4096, nonce="y")
    with pytest.raises(ValueError):
        talk.client_final(message)


def test_optional_extensions_are_passed_over_and_signed() -> None:
    first = client_first("n,a=bo=2Cb,n=al=3Dice,r=x,z=ä=,Q=1".encode())
    assert (first.user, first.authorization_id) == ("al=ice", "bo,b")
    talk = Conversation("sha256", first, b"salt", 4096, nonce="y")
    channel = base64.b64encode(b"n,a=bo=2Cb,").decode()
    keys = derive("sha256", b"secret", b"salt", 4096)
    unproved = f"c={channel},r=xy,z=1"
    # What a client signs, by the letter of RFC 5802 3.
    signed = f"{first.bare},{talk.challenge.decode()},{unproved}".encode()
    salted = hashlib.pbkdf2_hmac("sha256", b"secret", b"salt", 4096)
    client_key = _hmac(salted, b"Client Key")
    signature = _hmac(keys.stored, signed)
    proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    talk.client_final(f"{unproved},p={base64.b64encode(proof).decode()}".encode())
    assert talk.answer(keys) is not None


def _hmac(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, "sha256")


def test_no_nonce_comes_twice() -> None:
    first = client_first(b"n,,n=alice,r=x")
    challenges = {Conversation("sha1", first, b"salt", 4096).challenge for _ in range(100)}
    assert len(challenges) == 100


PIECES = st.sampled_from(["n", "y", "p=tls-server-end-point", ",", "a=", "n=", "r=", "m=", "c=", "biws", "p=", "x", "=2C", "=", "\0", "xy", "ä", "AAAA"])  # fmt: skip
OCTETS = st.binary(max_size=60) | st.lists(PIECES, max_size=12).map(lambda p: "".join(p).encode())


@given(OCTETS, OCTETS)
def test_any_octets_are_understood_or_a_value_error(one: bytes, two: bytes) -> None:
    with contextlib.suppress(ValueError):
        first = client_first(one)
        assert first.header + first.bare == one.decode()
    talk = Conversation("sha256", client_first(b"n,,n=alice,r=x"), b"salt", 4096, nonce="y")
    with contextlib.suppress(ValueError, WrongBinding):
        talk.client_final(two)
