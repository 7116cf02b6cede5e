"""Fields of BODYSTRUCTURE, one part at a time."""

from __future__ import annotations

import pytest

from pymap.mime import digest


def structure(header: bytes, text: bytes = b"x\r\n") -> bytes:
    return digest(header.replace(b"\n", b"\r\n") + b"\r\n" + text).bodystructure


def params(content_type: bytes) -> bytes:
    made = structure(b"Content-Type: a/b%b\n" % content_type)
    tail = b' NIL NIL "7BIT" 3 NIL NIL NIL NIL)'
    assert made.startswith(b'("a" "b" ')
    assert made.endswith(tail)
    return made[len(b'("a" "b" ') : -len(tail)]


def test_all_fields_of_a_leaf() -> None:
    assert structure(
        b"Content-Type: Text/HTML; Charset=utf-8\n"
        b"content-transfer-encoding: Quoted-Printable\n"
        b"Content-ID: <id@x>\n"
        b"Content-Description: some\n text\n"
        b"Content-MD5: Q2hlY2s=\n"
        b'Content-Disposition: attachment; filename="x\\"y"; size=3\n'
        b"Content-Language: en, de (German)\n"
        b"Content-Location: http://x/y\n"
    ) == (
        b'("Text" "HTML" ("Charset" "utf-8") "<id@x>" "some text" "Quoted-Printable" 3 1'
        b' "Q2hlY2s=" ("attachment" ("filename" "x\\"y" "size" "3")) ("en" "de") "http://x/y")'
    )


def test_all_fields_of_a_multipart() -> None:
    assert structure(
        b"Content-Type: multipart/mixed; boundary=b; x=y\n"
        b"Content-Disposition: inline\n"
        b"Content-Language: en\n"
        b"Content-Location: z\n",
        b"--b\r\n\r\nx\r\n--b--\r\n",
    ) == (
        b'(("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 1 0 NIL NIL NIL NIL)'
        b' "mixed" ("boundary" "b" "x" "y") ("inline" NIL) "en" "z")'
    )


DEFAULT = b'("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 3 1 NIL NIL NIL NIL)'


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"Content-Type:\n",
        b"Content-Type: text\n",
        b"Content-Type: /plain\n",
        b"Content-Type: ; charset=x\n",
        b"Content-Transfer-Encoding:\n",
        b"Content-Disposition: \n",
        b"Content-Language: ,\n",
        b"X-Content-Type: a/b\n",
    ],
)
def test_defaults(header: bytes) -> None:
    assert structure(header) == DEFAULT


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", b"NIL"),
        (b"; x", b"NIL"),
        (b"; x=y", b'("x" "y")'),
        (b" ; X = y ;; z=", b'("X" "y" "z" "")'),
        (b';x="a;b\\\\c"', b'("x" "a;b\\\\c")'),
        (b";x=a b.pdf ; y=1", b'("x" "a b.pdf" "y" "1")'),
        (b";x=a(1).pdf", b'("x" "a(1).pdf")'),
        (b'; x=y (a (b) "c) (d)\n ; z=1', b'("x" "y" "z" "1")'),
        (b';x="a', b'("x" "a")'),
        (b';x="a\\', b'("x" "a")'),
        (b";x=1;x=2", b'("x" "1")'),
        (b";x=\xc3\xa9", b'("x" {2}\r\n\xc3\xa9)'),
        (b';x="a\n b"', b'("x" "a b")'),
        # RFC 2231 3: continuations
        (b';f*1="b";y=z; f*0=a; f*2=c', b'("f" "abc" "y" "z")'),
        (b";f*0=a;f*2=c", b'("f" "a")'),
        (b";f*1=a;f*2=c", b'("f" "ac")'),
        (b";f*01=a", b'("f*01" "a")'),
        (b";f*" + b"9" * 5000 + b"=a;g=h", b'("f*' + b"9" * 5000 + b'" "a" "g" "h")'),
        # RFC 2231 4: charsets; converted to UTF-8 and returned as "f*", RFC 9051 7.5.2
        (b";f*=utf-8'en'%e2%82%ac", b'("f*" {3}\r\n\xe2\x82\xac)'),
        (b";f*=iso-8859-1''%E9", b'("f*" {2}\r\n\xc3\xa9)'),
        (b";f*=us-ascii''a%20b%zz%", b'("f*" "a b%zz%")'),
        (b";f*=nonsense''%E9", b'("f*" {2}\r\n\xc3\xa9)'),
        (b";f*=utf-7''%2B2AA-", b'("f*" "?")'),
        (b";f*=none", b'("f*" "none")'),
        (b";f*0*=utf-8''a%20;f*1=%20;f*2*=%C3%A9", b'("f*" {7}\r\na %20\xc3\xa9)'),
        (b";f=plain;f*=utf-8''better", b'("f" "plain" "f*" "better")'),
        (b";f=\0", b'("f" {1}\r\n\x80)'),  # NUL is never sent
    ],
)
def test_parameters(text: bytes, expected: bytes) -> None:
    made = params(text)
    if len(text) > 1000:  # the name is a literal then
        assert made.endswith(b' "a" "g" "h")')
    else:
        assert made == expected


def test_number_of_parameters_is_bounded() -> None:
    assert params(b"".join(b";a%d=b" % i for i in range(1000))).count(b'"b"') == 100


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"attachment", b'("attachment" NIL)'),
        (b"attachment; filename*=utf-8''%C3%A9", b'("attachment" ("filename*" {2}\r\n\xc3\xa9))'),
        (b"; filename=x", b'("attachment" ("filename" "x"))'),  # RFC 2183 2.8
        (b"(comment) inline", b'("inline" NIL)'),
    ],
)
def test_disposition(raw: bytes, expected: bytes) -> None:
    assert structure(b"Content-Disposition: %b\n" % raw) == DEFAULT.replace(
        b"NIL NIL NIL NIL)", b"NIL %b NIL NIL)" % expected
    )


def test_lines_and_octets_are_those_of_the_body_only() -> None:
    made = structure(
        b"Content-Type: multipart/mixed; boundary=b\n",
        b"--b\r\n\r\none\r\ntwo\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nA: b\r\n\r\nx\r\n--b--",
    )
    assert b'"7BIT" 10 2 NIL' in made
    assert b'"rfc822" NIL NIL NIL "7BIT" 9 (NIL' in made
    assert made.count(b'("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 1 0 NIL') == 1
    assert b"NIL NIL NIL NIL) 2 NIL NIL NIL NIL) " in made


def test_other_messages_are_basic() -> None:
    assert structure(b"Content-Type: message/delivery-status\n") == (
        b'("message" "delivery-status" NIL NIL NIL "7BIT" 3 NIL NIL NIL NIL)'
    )
