"""The first words of a message: RFC 8970 3."""

from __future__ import annotations

from base64 import encodebytes
from quopri import encodestring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymap.mime import digest
from pymap.mime.preview import MAX_PREVIEW, READ, _collapsed, _html, _plain


def preview(*lines: str, crlf: str = "\r\n") -> str:
    return digest(crlf.join(lines).encode()).preview.decode()


def part(kind: str, *lines: str) -> list[str]:
    return ["--b", f"Content-Type: {kind}", *lines]


def multipart(*parts: list[str], kind: str = "mixed") -> str:
    head = [f"Content-Type: multipart/{kind}; boundary=b", ""]
    return preview(*head, *(line for lines in parts for line in lines), "--b--", "")


@pytest.mark.parametrize("crlf", ["\r\n", "\n"])
def test_a_plain_message(crlf: str) -> None:
    assert preview("Subject: x", "", "Preview", " \t text!", "", crlf=crlf) == "Preview text!"


def test_at_most_200_characters() -> None:
    """As characters, not octets; the server MUST NOT send more than 256.   3.3"""
    assert preview("", "\U0001f600" * 1000) == "\U0001f600" * MAX_PREVIEW
    assert preview("", "a " * 1000) == ("a " * 100).rstrip()
    assert preview("", " " * 10_000 + "text") == "text"
    assert preview("", " " * READ[1] + "text") == ""


@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1", "utf-16", "iso-8859-15"])
@pytest.mark.parametrize("encode", [encodebytes, encodestring], ids=["base64", "qp"])
@pytest.mark.parametrize("length", [5, 1000, 100_000])
def test_encodings_and_charsets(charset: str, encode: object, length: int) -> None:
    name = "base64" if encode is encodebytes else "quoted-printable"
    text = "Grüße " * length
    assert callable(encode)
    octets = encode(text.encode(charset))
    head = f"Content-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: {name}\n\n"
    assert digest(head.encode() + octets).preview.decode() == text[:MAX_PREVIEW].rstrip()


@pytest.mark.parametrize("before", range(4))
def test_a_character_that_is_cut_in_two_spoils_nothing(before: int) -> None:
    """The octets that are looked at end somewhere; what they are is still UTF-8."""
    text = "a" * before + " " + "\u20ac " * 2000
    assert preview("Content-Type: text/plain; charset=utf-8", "", text).startswith(
        f"{'a' * before} \u20ac".strip()
    )


def test_the_first_text_is_taken() -> None:
    two = [part("text/plain", "", "first"), part("text/plain", "", "second")]
    assert multipart(*two) == "first"
    html = part("text/html", "", "<p>of html</p>")
    assert multipart(html, two[1]) == "of html"  # as before the footer of a list
    assert multipart(two[0], html, kind="alternative") == "first"


def test_a_text_that_says_nothing_is_passed_over() -> None:
    empty = part("text/plain", "", " ", "")
    assert multipart(empty, part("text/html", "", "said"), kind="alternative") == "said"
    assert multipart(*[empty] * 10, part("text/plain", "", "too late")) == ""


@pytest.mark.parametrize(
    "other",
    [
        part("text/plain", "Content-Disposition: ATTACHMENT; filename=a.txt", "", "no"),
        part("text/calendar", "", "BEGIN:VCALENDAR"),
        part("text/css", "", "p {}"),
        part("image/png", "", "no"),
        part("text/plain", "Content-Transfer-Encoding: x-unknown", "", "no"),
    ],
)
def test_what_is_not_shown(other: list[str]) -> None:
    assert multipart(other) == ""
    assert multipart(other, part("text/plain", "Content-Disposition: inline", "", "yes")) == "yes"


def test_messages_without_a_text() -> None:
    """ "In such cases, the server MUST return a zero-length string."   3.2"""
    assert preview("") == ""
    assert preview("Content-Type: application/pdf", "", "x") == ""
    assert preview("", "-----BEGIN PGP MESSAGE-----", "", "abc") == ""
    encrypted = part("application/pgp-encrypted", "", "Version: 1")
    assert multipart(encrypted, part("application/octet-stream", "", "x"), kind="encrypted") == ""


def test_a_forwarded_message_shows_its_own_text() -> None:
    assert multipart(part("message/rfc822", "", "Subject: x", "", "inner")) == "inner"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("On Monday, Fred wrote:\n> a\n> b\n\nYes.\n", "Yes."),
        ("Am Montag schrieb Fred\n<fred@x>:\n\n> a\nJa.\n> b\nNein.", "Ja. Nein."),
        ("Hello,\n\nOn Monday, Fred wrote:\n\n> a\n", "Hello,"),
        ("First.\nSecond.\nThird:\n> a", "First. Second."),
        ("> all\n>> of it\n", "all of it"),  # nothing else is there
        ("Fred wrote:\n> a\n", "Fred wrote: a"),
        ("Hi\n-- \nFred\nTel. 1", "Hi"),
        ("-- \nFred", "-- Fred"),
        ("a > b", "a > b"),
        (">From there", "From there"),
        ("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nHello", "Hello"),
    ],
)
def test_quotations_and_signatures(text: str, shown: str) -> None:
    assert _plain(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<html><head><title>T</title><STYLE>p {}</Style></head><p>One</p><p>Two</p>", "One Two"),
        ("a<b>b</b>c <i>d</i>", "abc d"),
        ("a<br>b<td>c</td>d<o:p></o:p>e", "a b c de"),
        ("<!-- a > b -->x<!-- never closed", "x"),
        ("<!--[if mso]><p>old</p><![endif]-->new<!DOCTYPE a>", "new"),
        ("<script>if (a < b) '</p>'</script>x<script>open", "x"),
        ("<a title='a > b' href=\"<x>\">link</a>", "link"),
        ('x<a href="never closed>y', "x"),
        ("1 < 2 <> 3 <", "1 < 2 <> 3 <"),
        ("&lt;b&gt; &amp;amp; &#233;&#xE9;&eacute; &unknown; &nbsp;&#0;", "<b> &amp; ééé &unknown; \ufffd"),
        ("&#99999999999;", "\ufffd"),
        (f"&#{'9' * 5000};x", "\ufffdx"),
        ("own<blockquote>quoted<blockquote>deep</blockquote>er</blockquote>", "own"),
        ("<blockquote>all <b>there</b> is", "all there is"),
        ("</blockquote>x", "x"),
        ("Sale!&nbsp;&zwnj;&nbsp;&zwnj;\u034f\u200b&nbsp;&shy;Now", "Sale! Now"),
    ],
)  # fmt: skip
def test_html(text: str, shown: str) -> None:
    assert _html(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x00\x1bb\x85c\x9fd", "ab cd"),
        ("\ufeffstart", "start"),
        ("abc\u202edef\u2066", "abcdef"),  # which would turn the list around
        ("می\u200cخواهم", "می\u200cخواهم"),  # a joiner inside a word is part of it
        ("\u200c \u200d a \u200c", "a"),
        ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
        ("a\u2028b\u3000c", "a b c"),
    ],
)
def test_what_cannot_be_seen_is_left_out(text: str, shown: str) -> None:
    assert _collapsed(text) == shown


HTML = st.lists(
    st.sampled_from(["<", ">", "</", "<!--", "-->", "<style>", "</style", "<blockquote>", "<p", "'",
                     '"', "&", "&#", "&#x", ";", "=", " ", "a", "9", "\n", "\0", "\u200c", "é"]),
    max_size=60,
).map("".join)  # fmt: skip


@given(HTML | st.text())
def test_any_text_has_a_preview(text: str) -> None:
    for kind in ("plain", "html"):
        octets = f"Content-Type: text/{kind}; charset=utf-8\r\n\r\n{text}"
        shown = digest(octets.encode("utf-8", "replace")).preview.decode()
        assert len(shown) <= MAX_PREVIEW
        assert shown == " ".join(shown.split())
        assert not any(character < " " or "\x7f" <= character < "\xa0" for character in shown)
