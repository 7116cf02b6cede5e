"""Messages made to be slow, deep or large: time stays linear, output bounded.

The bounds are several times what the slowest of these needs on a shared core (1.1 s); what was
quadratic would take minutes. RecursionError would fail the test by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from pymap.mime import addresses, body, decode_text, digest, header_fields, search_texts

N = 3_000_000
MIXED = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
MESSAGE = b"Content-Type: message/rfc822\r\n\r\n"
QP = b"Content-Transfer-Encoding: quoted-printable\r\n\r\n"


def nested(n: int) -> bytes:
    return b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (i, i) for i in range(n)
    )


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: nested(5000), id="nested-multiparts"),
        pytest.param(lambda: nested(99) + b"\n--" * (N // 3), id="deep-dashes"),
        pytest.param(lambda: MESSAGE * 5000, id="nested-messages"),
        pytest.param(lambda: MESSAGE * 99 + b"\n" * N, id="deep-lines"),
        pytest.param(lambda: MIXED + b"--b\r\n\r\nx\r\n" * 100_000, id="parts"),
        pytest.param(lambda: MIXED + b"--b\r\nX: y\r\n" * 100_000, id="headers-without-end"),
        pytest.param(lambda: (MIXED + b"--b\r\n") * 10_000, id="same-boundary"),
        pytest.param(lambda: MIXED + b"--bb\r\n" * (N // 6), id="longer-boundary"),
        pytest.param(
            lambda: MIXED + (b"--b" + b" " * 990 + b"x\r\n") * (N // 1000), id="blank-delimiters"
        ),
        pytest.param(lambda: b"Subject: " + b"a" * N, id="huge-field"),
        pytest.param(lambda: b"Subject: a\r\n" + b" a\r\n" * (N // 4), id="folded-field"),
        pytest.param(lambda: b"To: a@b\r\n" * (N // 9), id="million-to"),
        pytest.param(lambda: b"X: a\r\n" * (N // 6), id="million-fields"),
        pytest.param(lambda: b"a" * N, id="header-without-end"),
        pytest.param(lambda: b"To: " + b"a@b, " * (N // 5), id="address-list"),
        pytest.param(lambda: b"To: " + b"(" * N, id="nested-comments"),
        pytest.param(lambda: b'To: "' + b"\\" * N, id="open-quote"),
        pytest.param(lambda: b"To: " + b"[" * N, id="open-literals"),
        pytest.param(lambda: b"To: " + b"a " * 20_000 + b"@" + b":" * 20_000, id="colons"),
        pytest.param(
            lambda: b"Content-Type: a/b" + b"".join(b";a*%d=b" % i for i in range(100_000)),
            id="continuations",
        ),
        pytest.param(
            lambda: b"Content-Type: a/b" + b"".join(b";a*%b=b" % (b"9" * i) for i in range(2000)),
            id="giant-numbers",
        ),
        pytest.param(lambda: b"Content-Type: a/b" + b";a" * N, id="params-without-value"),
        pytest.param(lambda: b"Content-Type: a/b" + b"(" * N, id="type-comments"),
        pytest.param(lambda: b"Content-Type: a/b;" + b" " * N, id="type-blanks"),
        pytest.param(lambda: b"Content-Language: " + b"a," * N, id="languages"),
        pytest.param(lambda: MESSAGE + b"A: " + b"=?utf-8?q?a?= " * (N // 14), id="words"),
        pytest.param(lambda: MESSAGE + b"A: " + b"=?a" * (N // 3), id="open-words"),
        pytest.param(lambda: MESSAGE + b"A: " + b"=?a?q?" * (N // 6), id="open-words-2"),
        pytest.param(lambda: QP + b" " * N, id="qp-blanks"),
        pytest.param(lambda: QP + b" \t= \n" * (N // 5), id="qp-lines"),
        pytest.param(
            lambda: b"Content-Transfer-Encoding: base64\r\n\r\n" + b"a=" * N, id="base64-pads"
        ),
    ],
)
def test_time_and_output_are_bounded(make: Callable[[], bytes]) -> None:
    message = make()
    start = time.perf_counter()
    made = digest(message)
    body(message)
    for _ in search_texts(message, made.parts):
        pass
    # The slowest takes 0.9 s here.
    assert time.perf_counter() - start < 5
    assert len(made.envelope) < 500_000
    assert len(made.bodystructure) < 2_000_000
    assert len(made.parts) < 400_000


@pytest.mark.parametrize(
    "call",
    [
        lambda: header_fields(b"Subject: x\r\n" * (N // 12), ("subject",)),
        lambda: header_fields(b"Subject: x\r\n" * (N // 12), ("subject",), excluding=True),
        lambda: header_fields(b"Subject: x\r\n" * 1000, tuple(f"x{i}" for i in range(100_000))),
        lambda: addresses(b"a (x) <b@c>, " * 100_000),
        lambda: addresses(b"(" * 100_000 + b")" * 50_000),
        lambda: addresses(b"a " * 100_000 + b"@" + b":" * 100_000),
        lambda: addresses(b"<@" + b"," * 100_000 + b":" * 100_000),
        lambda: addresses(b'"' * 100_001),
        lambda: addresses(b"a. " * 100_000 + b"@b"),
        lambda: decode_text(b"=?x%d?q?a?= " % N * 100_000),
    ],
)
def test_time_of_values_is_bounded(call: Callable[[], object]) -> None:
    start = time.perf_counter()
    call()
    # The slowest takes 1.3 s here.
    assert time.perf_counter() - start < 5
