"""Which octets a section names, and the structure that tells clients so."""

from __future__ import annotations

import pytest

from pymap.mime import UnknownEncoding, binary, body, digest, part_structure, section
from pymap.mime.parse import MAX_DEPTH, MAX_PARTS, unpack
from pymap.wire.types import Section, SectionText


def crlf(text: bytes) -> bytes:
    return text.replace(b"\n", b"\r\n")


def get(message: bytes, path: str, text: SectionText | None = None, *names: str) -> bytes | None:
    numbers = tuple(int(number) for number in path.split(".")) if path else ()
    found = section(message, digest(message).parts, Section(numbers, text, names))
    return None if found is None else bytes(found)


# The message of RFC 9051 6.4.5.1.
RFC_EXAMPLE = crlf(b"""Subject: outer
Content-Type: multipart/mixed; boundary=a

preamble
--a
Content-Type: text/plain

one
--a
Content-Type: application/octet-stream

two
--a
Content-Type: message/rfc822

Subject: three
Content-Type: multipart/mixed; boundary="b"

--b

three.one
--b
Content-Type: application/octet-stream

three.two
--b--
--a
Content-Type: multipart/mixed; boundary=c

--c
Content-Type: image/gif

four.one
--c
Content-Type: message/rfc822

Subject: four.two
Content-Type: multipart/mixed; boundary=d

--d

four.two.one
--d
Content-Type: multipart/alternative; boundary=e

--e

four.two.two.one
--e
Content-Type: text/richtext

four.two.two.two
--e--
--d--
--c--
--a--
epilogue
""")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("1", b"one"),
        ("2", b"two"),
        ("3.1", b"three.one"),
        ("3.2", b"three.two"),
        ("4.1", b"four.one"),
        ("4.2.1", b"four.two.one"),
        ("4.2.2.1", b"four.two.two.one"),
        ("4.2.2.2", b"four.two.two.two"),
        ("0", None),
        ("5", None),
        ("4294967295", None),
        ("1.1", None),
        ("3.3", None),
        ("3.1.1", None),
        ("3.0", None),
        ("4.2.2.3", None),
    ],
)
def test_parts_of_the_example(path: str, expected: bytes | None) -> None:
    assert get(RFC_EXAMPLE, path) == expected


def test_texts_of_the_example() -> None:
    header = crlf(b"Subject: outer\nContent-Type: multipart/mixed; boundary=a\n\n")
    assert get(RFC_EXAMPLE, "") == RFC_EXAMPLE
    assert get(RFC_EXAMPLE, "", SectionText.HEADER) == header
    assert get(RFC_EXAMPLE, "", SectionText.TEXT) == RFC_EXAMPLE[len(header) :]
    assert get(RFC_EXAMPLE, "", SectionText.MIME) is None
    assert get(RFC_EXAMPLE, "1", SectionText.MIME) == b"Content-Type: text/plain\r\n\r\n"
    assert get(RFC_EXAMPLE, "4.1", SectionText.MIME) == b"Content-Type: image/gif\r\n\r\n"
    assert get(RFC_EXAMPLE, "3.1", SectionText.MIME) == b"\r\n"
    inner = crlf(b'Subject: three\nContent-Type: multipart/mixed; boundary="b"\n\n')
    text = crlf(
        b"--b\n\nthree.one\n--b\nContent-Type: application/octet-stream\n\nthree.two\n--b--"
    )
    assert get(RFC_EXAMPLE, "3") == inner + text
    assert get(RFC_EXAMPLE, "3", SectionText.HEADER) == inner
    assert get(RFC_EXAMPLE, "3", SectionText.TEXT) == text
    assert get(RFC_EXAMPLE, "3", SectionText.HEADER_FIELDS, "SUBJECT") == (
        b"Subject: three\r\n\r\n"
    )
    assert get(RFC_EXAMPLE, "4.2", SectionText.HEADER_FIELDS_NOT, "content-type") == (
        b"Subject: four.two\r\n\r\n"
    )


@pytest.mark.parametrize("text", [SectionText.HEADER, SectionText.TEXT, SectionText.HEADER_FIELDS])
@pytest.mark.parametrize("path", ["1", "4", "4.1", "3.1", "9"])
def test_header_and_text_are_of_messages_only(path: str, text: SectionText) -> None:
    assert get(RFC_EXAMPLE, path, text, "Subject") is None


def test_structure_of_the_example() -> None:
    plain = b'("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" %d 0)'
    octets = b'("application" "octet-stream" NIL NIL NIL "7BIT" %d)'
    envelope = b'(NIL "%b" NIL NIL NIL NIL NIL NIL NIL NIL)'
    four_two = get(RFC_EXAMPLE, "4.2")
    three = get(RFC_EXAMPLE, "3")
    assert four_two
    assert three
    assert body(RFC_EXAMPLE) == b"".join(
        [
            b'(("text" "plain" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 3 0)',
            octets % 3,
            b'("message" "rfc822" NIL NIL NIL "7BIT" %d %b (%b%b "mixed") %d)'
            % (len(three), envelope % b"three", plain % 9, octets % 9, three.count(b"\n")),
            b'(("image" "gif" NIL NIL NIL "7BIT" 8)',
            b'("message" "rfc822" NIL NIL NIL "7BIT" %d %b (%b(%b%b "alternative") "mixed") %d)'
            % (
                len(four_two),
                envelope % b"four.two",
                plain % 12,
                plain % 16,
                b'("text" "richtext" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 16 0)',
                four_two.count(b"\n"),
            ),
            b' "mixed") "mixed")',
        ]
    )


def test_bare_line_feeds_give_the_same_structure() -> None:
    message = RFC_EXAMPLE.replace(b"\r\n", b"\n")
    assert get(message, "4.2.2.1") == b"four.two.two.one"
    assert get(message, "4.1", SectionText.MIME) == b"Content-Type: image/gif\n\n"
    rows, _ = unpack(digest(message).parts)
    assert [row.kind for row in rows] == [row.kind for row in unpack(digest(RFC_EXAMPLE).parts)[0]]


def test_a_simple_message_has_part_1() -> None:
    message = b"Subject: x\r\n\r\nbody\r\n"
    assert get(message, "1") == b"body\r\n"
    assert get(message, "1", SectionText.MIME) == b"Subject: x\r\n\r\n"
    assert get(message, "1", SectionText.TEXT) is None
    assert get(message, "1.1") is None
    assert get(message, "2") is None
    assert digest(message).header_size == 14
    assert body(message) == b'("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 6 1)'


def test_a_message_that_is_a_message() -> None:
    message = b"Content-Type: message/global\r\n\r\nSubject: in\r\n\r\ntext"
    assert get(message, "1") == b"Subject: in\r\n\r\ntext"
    assert get(message, "1.1") == b"text"
    assert get(message, "1", SectionText.HEADER) == b"Subject: in\r\n\r\n"
    assert get(message, "1", SectionText.TEXT) == b"text"
    assert get(message, "", SectionText.TEXT) == b"Subject: in\r\n\r\ntext"
    assert get(message, "1.2") is None
    assert get(message, "1.1.1") is None
    assert get(message, "1.1", SectionText.MIME) == b"Subject: in\r\n\r\n"


@pytest.mark.parametrize(
    ("message", "header", "text"),
    [
        (b"", b"", b""),
        (b"\r\n", b"\r\n", b""),
        (b"\n\nx", b"\n", b"\nx"),
        (b"\r\nx", b"\r\n", b"x"),
        (b"A: b", b"A: b", b""),
        (b"A: b\r\n", b"A: b\r\n", b""),
        (b"A: b\r\n \r\n\r\nx", b"A: b\r\n \r\n\r\n", b"x"),
        (b"A: b\n\r\nx", b"A: b\n\r\n", b"x"),
        (b"A: b\r\n\nx", b"A: b\r\n\n", b"x"),
        (b"no header\r\n\r\nx", b"no header\r\n\r\n", b"x"),
    ],
)
def test_where_the_header_ends(message: bytes, header: bytes, text: bytes) -> None:
    assert get(message, "", SectionText.HEADER) == header
    assert get(message, "1") == text
    assert digest(message).header_size == len(header)


def multipart(text: bytes, boundary: bytes = b"b", subtype: bytes = b"mixed") -> bytes:
    return crlf(b"Content-Type: multipart/%b; boundary=%b\n\n%b" % (subtype, boundary, text))


def bodies(message: bytes) -> list[bytes]:
    rows, _ = unpack(digest(message).parts)
    return [message[row.body : row.end] for row in rows[1:]]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (multipart(b"--b \t\n\n1\n--b  \n\n2\n--b-- \n--b\n\n3"), [b"1", b"2"]),
        (
            multipart(b"--b\n\n1\n--bb\n--b-\n --b\nx--b\n--b--"),
            [b"1\r\n--bb\r\n--b-\r\n --b\r\nx--b"],
        ),
        (multipart(b"--b\n\n1\n--b\n\n2"), [b"1", b"2"]),  # no close
        (multipart(b"--b\n\n1\n\n--b--\n"), [b"1\r\n"]),
        (multipart(b"--b\n\n--b--\n"), [b""]),  # no line of its own
        (multipart(b"--b\nA: b\n--b\n\n2\n--b--\n"), [b"", b"2"]),  # header without end
        (multipart(b"--b\n--b\n--b--\n"), [b"", b""]),
        (multipart(b"--b\n\n1\n--b"), [b"1", b""]),
        (multipart(b"--b b\n\n1\n--b b--\n", b'"b b  "'), [b"1"]),
        (multipart(b"--b\n\n1\n--b--\n", b"b (comment)"), [b"1"]),
        (multipart(b"--b--\n\n1\n--b----\n", b"b--"), [b"1"]),
    ],
)
def test_delimiters(message: bytes, expected: list[bytes]) -> None:
    assert bodies(message) == expected
    plain = message.replace(b"\r\n", b"\n")
    assert bodies(plain) == [text.replace(b"\r\n", b"\n") for text in expected]


def test_the_parents_delimiter_ends_the_child() -> None:
    message = multipart(
        b"--b\nContent-Type: multipart/mixed; boundary=bb\n\n--bb\n\n1.1\n--bb\n\n1.2\n"
        b"--b\n\n2\n--bb\n--b--\n"
    )
    assert get(message, "1.1") == b"1.1"
    assert get(message, "1.2") == b"1.2"
    assert get(message, "1.3") is None
    assert get(message, "2") == b"2\r\n--bb"


def test_the_parents_delimiter_ends_an_embedded_message_in_its_header() -> None:
    message = multipart(b"--b\nContent-Type: message/rfc822\n\nSubject: x\n--b\n\n2\n--b--\n")
    assert get(message, "1") == b"Subject: x"
    assert get(message, "1", SectionText.HEADER) == b"Subject: x"
    assert get(message, "1.1") == b""
    assert get(message, "2") == b"2"


def test_a_nested_multipart_may_reuse_the_boundary() -> None:
    message = multipart(
        b"--b\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n1.1\n--b--\n--b\n\n2\n--b--\n"
    )
    assert get(message, "1.1") == b"1.1"
    assert get(message, "2") == b"2"


def test_digest_holds_messages() -> None:
    message = multipart(
        b"--b\n\nSubject: 1\n\none\n--b\nContent-Type: text/plain\n\ntwo\n--b--\n",
        subtype=b"Digest",
    )
    assert get(message, "1.1") == b"one"
    assert body(message) == (
        b'(("MESSAGE" "RFC822" NIL NIL NIL "7BIT" 17 (NIL "1" NIL NIL NIL NIL NIL NIL NIL NIL)'
        b' ("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 3 0) 2)'
        b'("text" "plain" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 3 0) "Digest")'
    )


@pytest.mark.parametrize(
    "param", [b"; boundary=b", b"", b'; boundary=""', b"; boundary=" + b"b" * 2000]
)
def test_a_multipart_without_parts_has_its_body_as_text(param: bytes) -> None:
    message = b"Content-Type: multipart/mixed%b\r\n\r\ntext\r\n" % param
    assert get(message, "1") == b"text\r\n"
    assert get(message, "1", SectionText.MIME) == b""
    assert body(message) == (
        b'(("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 6 1) "mixed")'
    )


def test_an_encoded_message_is_shown_as_opaque() -> None:
    message = crlf(
        b"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogeAoKeQ==\n"
    )
    assert body(message) == (
        b'("message" "rfc822" NIL NIL NIL "base64" 22'
        b" (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"
        b' ("APPLICATION" "OCTET-STREAM" NIL NIL NIL "base64" 22) 1)'
    )
    parts = digest(message).parts
    assert get(message, "1", SectionText.HEADER) == b""
    assert get(message, "1.1") == b"U3ViamVjdDogeAoKeQ==\r\n"
    assert binary(message, parts, (1,)) == b"Subject: x\n\ny"
    assert binary(message, parts, (1, 1)) == b"Subject: x\n\ny"


def test_depth_is_bounded() -> None:
    message = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (i, i)
        for i in range(5000)
    )
    made = digest(message)
    assert len(unpack(made.parts)[0]) == MAX_DEPTH + 1
    assert made.bodystructure.startswith(b"(" * (MAX_DEPTH + 1) + b'"APPLICATION" "OCTET-STREAM"')
    message = b"Content-Type: message/rfc822\r\n\r\n" * 5000
    assert len(unpack(digest(message).parts)[0]) == MAX_DEPTH + 1


def test_number_of_parts_is_bounded() -> None:
    message = multipart(b"--b\n\nx\n" * 100_000)
    rows, _ = unpack(digest(message).parts)
    assert len(rows) == MAX_PARTS
    assert get(message, str(MAX_PARTS - 2)) == b"x"
    rest = get(message, str(MAX_PARTS - 1))
    assert rest is not None
    assert message.endswith(rest)
    assert b'("APPLICATION" "OCTET-STREAM" NIL NIL NIL "7BIT" %d)' % len(rest) in body(message)


def encoded(encoding: bytes, text: bytes, media: bytes = b"text/plain") -> bytes:
    header = b"Content-Type: %b\r\nContent-Transfer-Encoding: %b\r\n\r\n" % (media, encoding)
    return header + text


OCTETS = b"application/x"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (encoded(b"7bit", b"a\r\nb\r\n"), b"a\r\nb\r\n"),
        (encoded(b"8BIT", b"a\nb\r\n"), b"a\r\nb\r\n"),  # text has CRLF, RFC 9051 7.5.2
        (encoded(b"binary", b"a\nb\0", OCTETS), b"a\nb\0"),
        (encoded(b"Base64", b"YWJj\r\nZGVm\r\n"), b"abcdef"),
        (encoded(b"base64 (comment)", b"YQpi"), b"a\r\nb"),
        (encoded(b'"base64"', b"YQpi", OCTETS), b"a\nb"),
        (encoded(b"base64;", b"YW!Jj*ZA"), b"abcd"),  # cut, and dirt
        (encoded(b"base64", b"YWJjZ"), b"abc"),
        (encoded(b"base64", b"/v8ACgAN", OCTETS), b"\xfe\xff\0\n\0\r"),
        (encoded(b"base64", b"AGEACg=="), b"\0a\0\n"),  # UTF-16 has no lines of octets
        (encoded(b"quoted-printable", b"a=3Db =\r\nc \t\r\nd=zz=3"), b"a=b c\r\nd=zz=3"),
        (encoded(b"Quoted-Printable", b"=0A", OCTETS), b"\n"),
    ],
)
def test_binary_undoes_the_encoding(message: bytes, expected: bytes) -> None:
    found = binary(message, digest(message).parts, (1,))
    assert found is not None
    assert bytes(found) == expected


def test_binary_of_other_things() -> None:
    message = encoded(b"x-uuencode", b"a")
    parts = digest(message).parts
    with pytest.raises(UnknownEncoding):
        binary(message, parts, (1,))
    assert binary(message, parts, (2,)) is None
    assert binary(message, parts, ()) == message
    multi = multipart(b"--b\n\nx\n--b\nContent-Transfer-Encoding: base64\n\nYQ==\n--b--\n")
    assert binary(multi, digest(multi).parts, (2,)) == b"a"


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview])
def test_any_buffer_will_do(make: type) -> None:
    content = make(RFC_EXAMPLE)
    made = digest(content)
    assert made == digest(RFC_EXAMPLE)
    assert body(content) == body(RFC_EXAMPLE)
    assert section(content, made.parts, Section((4, 2, 1))) == b"four.two.one"
    assert section(content, made.parts, Section()) == RFC_EXAMPLE
    names = Section((3,), SectionText.HEADER_FIELDS, ("Subject",))
    assert section(content, made.parts, names) == b"Subject: three\r\n\r\n"
    assert binary(content, made.parts, (1,)) == b"one"


# -- the structure of one part --

NESTED = crlf(b"""Content-Type: multipart/mixed; boundary=a

--a
Content-Type: message/rfc822

Subject: inner
Content-Type: multipart/alternative; boundary=b

--b
Content-Type: text/html
Content-Transfer-Encoding: base64

PGI+Cg==
--b--
--a
Content-Type: image/png
Content-ID: <x>
Content-Transfer-Encoding: base64

AAEC
--a--
""")


def of_part(path: str, decoded: bool = False) -> bytes | None:
    numbers = tuple(int(number) for number in path.split(".")) if path else ()
    parts = digest(NESTED).parts
    octets = binary(NESTED, parts, numbers) if decoded else None
    return part_structure(NESTED, parts, numbers, octets)


def test_structure_of_a_part() -> None:
    whole = digest(NESTED).bodystructure
    assert of_part("") == whole
    html = b'("text" "html" ("CHARSET" "US-ASCII") NIL NIL "base64" 8 0 NIL NIL NIL NIL)'
    assert of_part("1.1") == html
    image = b'("image" "png" NIL "<x>" NIL "base64" 4 NIL NIL NIL NIL)'
    assert of_part("2") == image
    message = of_part("1")
    assert message is not None
    assert message.startswith(b'("message" "rfc822" NIL NIL NIL "7BIT"')
    assert html in message
    assert whole == b'(%b%b "mixed" ("boundary" "a") NIL NIL NIL)' % (message, image)
    for path in ("3", "1.2", "1.1.1", "2.1"):
        assert of_part(path) is None


def test_structure_of_a_decoded_part() -> None:
    """As if it had come so.   RFC 5524 3.1"""
    assert of_part("1.1", True) == (
        b'("text" "html" ("CHARSET" "US-ASCII") NIL NIL "BINARY" 5 1 NIL NIL NIL NIL)'
    )
    assert of_part("2", True) == b'("image" "png" NIL "<x>" NIL "BINARY" 3 NIL NIL NIL NIL)'
    for path in ("", "1"):  # there is no decoding of what has parts
        assert of_part(path, True) == of_part(path)
