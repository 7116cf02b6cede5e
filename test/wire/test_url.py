"""IMAP URLs: what they name, how they are written, and what is none.   RFC 5092, RFC 4467"""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymap.wire.types import Section, SectionText, fold_inbox, meant_name
from pymap.wire.url import MAX_URL, Access, BadUrl, ImapUrl, escape, parse_url, split_token

TOKEN = "91354a473744909de610943775f92038"
HEADER = Section((), SectionText.HEADER)

URLS: list[tuple[str, ImapUrl]] = [
    # RFC 5092 9
    ("imap://minbari.example.org/gray-council;UIDVALIDITY=385759045/;UID=20/;PARTIAL=0.1024",
     ImapUrl(host="minbari.example.org", mailbox="gray-council", uid_validity=385759045, uid=20,
             partial=(0, 1024))),
    ("imap://psicorp.example.org/~peter/%E6%97%A5%E6%9C%AC%E8%AA%9E/%E5%8F%B0%E5%8C%97",
     ImapUrl(host="psicorp.example.org", mailbox="~peter/日本語/台北")),
    ("imap://;AUTH=GSSAPI@minbari.example.org/gray-council/;uid=20/;section=1.2",
     ImapUrl(auth="GSSAPI", host="minbari.example.org", mailbox="gray-council", uid=20,
             section=Section((1, 2)))),
    ("imap://;AUTH=*@minbari.example.org/gray%20council?SUBJECT%20shadows",
     ImapUrl(auth="*", host="minbari.example.org", mailbox="gray council",
             search="SUBJECT shadows")),
    ("imap://john;AUTH=*@minbari.example.org/babylon5/personel?charset%20UTF-8%20SUBJECT%20%7B14+%7D"
     "%0D%0A%D0%98%D0%B2%D0%B0%D0%BD%D0%BE%D0%B2%D0%B0",
     ImapUrl("john", "*", "minbari.example.org", None, "babylon5/personel",
             "charset UTF-8 SUBJECT {14+}\r\nИванова")),
    ("/foo/;UID=20/..", ImapUrl(mailbox="foo")),
    (";UID=20", ImapUrl(uid=20)),
    # RFC 4467 7, 8
    (f"imap://joe@example.com/INBOX/;uid=20/;section=1.2;urlauth=submit+fred:internal:{TOKEN}",
     ImapUrl("joe", None, "example.com", None, "INBOX", uid=20, section=Section((1, 2)),
             access=Access.SUBMIT, access_user="fred", mechanism="INTERNAL",
             token=bytes.fromhex(TOKEN))),
    ("imap://example.com/Shared/;uid=20/;section=1.2;urlauth=submit+fred",
     ImapUrl(host="example.com", mailbox="Shared", uid=20, section=Section((1, 2)),
             access=Access.SUBMIT, access_user="fred")),
    # RFC 4469 A
    ("/Drafts;UIDVALIDITY=385759045/;UID=20/;section=HEADER",
     ImapUrl(mailbox="Drafts", uid_validity=385759045, uid=20, section=HEADER)),
    # The server
    ("imap://h", ImapUrl(host="h")),
    ("IMAP://H/", ImapUrl(host="h")),
    ("imap://h:143/x", ImapUrl(host="h", port=143, mailbox="x")),
    ("imap://h:/x", ImapUrl(host="h", mailbox="x")),
    ("imap://[::1]:143/x", ImapUrl(host="[::1]", port=143, mailbox="x")),
    ("imap://a%40b%2Fc@h/x", ImapUrl("a@b/c", host="h", mailbox="x")),
    # Mailboxes
    ("/a;UIDVALIDITY=1", ImapUrl(mailbox="a", uid_validity=1)),
    ("/%49nbox", ImapUrl(mailbox="INBOX")),
    ("/a%2Fb/c", ImapUrl(mailbox="a/b/c")),
    ("/a%3BUID=7/;UID=1", ImapUrl(mailbox="a;UID=7", uid=1)),
    ("/a@b:c/;UID=1", ImapUrl(mailbox="a@b:c", uid=1)),
    ("/o%CC%88", ImapUrl(mailbox="ö")),  # NFC
    # Steps; those that are escaped are names.   RFC 5092 7
    ("/a/../b/./c/;UID=1", ImapUrl(mailbox="b/c", uid=1)),
    ("/../../b", ImapUrl(mailbox="b")),
    ("/%2E%2E/b", ImapUrl(mailbox="../b")),
    ("/..;UIDVALIDITY=3/;UID=2", ImapUrl(mailbox="..", uid_validity=3, uid=2)),
    # Parts
    ("/a/;UID=1/;SECTION=HEADER.FIELDS%20(To%20From)/;PARTIAL=7",
     ImapUrl(mailbox="a", uid=1, partial=(7, None),
             section=Section((), SectionText.HEADER_FIELDS, ("To", "From")))),
    (";UID=1/;SECTION=1.MIME", ImapUrl(uid=1, section=Section((1,), SectionText.MIME))),
    # Access
    ("/a/;UID=1;EXPIRE=1970-01-01T00:00:00Z", ImapUrl(mailbox="a", uid=1, expires=0)),
    ("/a/;UID=1;EXPIRE=2008-07-06T00:00:00.9+02:00;URLAUTH=authuser",
     ImapUrl(mailbox="a", uid=1, expires=1215295200, access=Access.AUTHUSER)),
    ("/a/;UID=1;expire=2016-12-31t23:59:60z;urlauth=ANONYMOUS",
     ImapUrl(mailbox="a", uid=1, expires=1483228800, access=Access.ANONYMOUS)),
    ("/a/;UID=1;URLAUTH=user+a%3Ab", ImapUrl(mailbox="a", uid=1, access=Access.USER, access_user="a:b")),
]  # fmt: skip

NONE = [
    "", "x", "a/;UID=1", "..;UIDVALIDITY=1/;UID=20", ";SECTION=1", ";PARTIAL=0.1", "?ALL", "/", "imap://h//a",
    ";UIDVALIDITY=1", "http://h/a", "imaps://h/a", "imap:/a", "imap://", "imap:///a", "//h/a",
    "imap://@h/a", "imap://a@b@h/x", "imap://a:secret@h/x", "imap://h:99999/a", "imap://h:x/a",
    "imap://h;AUTH=x", "imap://;AUTH=@h/x", "imap://[::1/x", "imap://h]/x", "imap://a/;UID=1",
    "/;UID=1", "/a;UID=1", "/a/;UID=0", "/a/;UID=4294967296", "/a/;UID=01234567890", "/a/;UID=",
    "/a/;UID=-1", "/a/;UID=1;UID=2", "/a/;UID=1/x", "/a/;UID=1/", "/a/;UID=1 ", "/a b", "/a\n", "/a\0",
    "/a/;UID=1\n", "/ä", "/a%", "/a%4", "/a%zz", "/a%FF", "/a%00b", "/a[b]", "/a#b", "/a\\b", '/a"b',
    "/a{b}", "/a<b>", "/a|b", "/a^b", "/a`b", "/a?b?c", "/a/;UID=1?ALL", "/a;UIDVALIDITY=0",
    "/a;UIDVALIDITY=x", "/a;FOO=1", "/a/;UID=1/;SECTION=", "/a/;UID=1/;SECTION=FOO",
    "/a/;UID=1/;SECTION=1.2]", "/a/;UID=1/;SECTION=1%5D", "/a/;UID=1/;SECTION=MIME",
    "/a/;UID=1/;SECTION=HEADER.FIELDS%20(%7B1%7D%0D%0Ax)", "/a/;UID=1/;PARTIAL=0.0",
    "/a/;UID=1/;PARTIAL=9223372036854775808", "/a/;UID=1/;PARTIAL=1.2.3", "/a/;UID=1;PARTIAL=0.1",
    "/a/;UID=1/;PARTIAL=0.1/;SECTION=1", "/a/;UID=1;URLAUTH=anonymous;EXPIRE=2000-01-01T00:00:00Z",
    "/a;URLAUTH=anonymous", "/a?ALL;URLAUTH=anonymous", "/a/;UID=1;URLAUTH=", "/a/;UID=1;URLAUTH=user+",
    "/a/;UID=1;URLAUTH=user", "/a/;UID=1;URLAUTH=authuser+x", "/a/;UID=1;URLAUTH=root",
    "/a/;UID=1;URLAUTH=anonymous:INTERNAL", "/a/;UID=1;URLAUTH=anonymous:INTERNAL:",
    f"/a/;UID=1;URLAUTH=anonymous::{TOKEN}", "/a/;UID=1;URLAUTH=anonymous:INTERNAL:" + "1" * 31,
    f"/a/;UID=1;URLAUTH=anonymous:INTERNAL:{TOKEN}0", f"/a/;UID=1;URLAUTH=anonymous:INTERNAL:{TOKEN}/",
    f"/a/;UID=1;URLAUTH=anonymous:INTERNAL:{TOKEN}:INTERNAL:{TOKEN}",
    *(f"/a/;UID=1;EXPIRE={date}" for date in (
        "", "2000-01-01", "2000-13-01T00:00:00Z", "2000-02-30T00:00:00Z", "2000-01-01T24:00:00Z",
        "2000-01-01T00:60:00Z", "2000-01-01T00:00:61Z", "2000-01-01T00:00:00", "0000-01-01T00:00:00Z",
        "2000-01-01T00:00:00+24:00", "2000-01-01T00:00:00+00:60", "2000-01-01 00:00:00Z",
        "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:60Z", "9999-12-31T23:59:59-00:01")),
]  # fmt: skip


@pytest.mark.parametrize(("text", "url"), URLS, ids=[text[:60] for text, _ in URLS])
def test_url(text: str, url: ImapUrl) -> None:
    assert parse_url(text) == url
    assert parse_url(url.render()) == url


@pytest.mark.parametrize("text", NONE, ids=lambda text: ascii(text)[:60])
def test_not_a_url(text: str) -> None:
    with pytest.raises(BadUrl):
        parse_url(text)


def test_delimiter() -> None:
    """Names stand as clients write them, whatever they separate levels with.   RFC 5092 7"""
    assert parse_url("/a.b%2Fc/;UID=1", ".").mailbox == "a/b.c"
    assert ImapUrl(mailbox="a/b.c", uid=1).render(".") == "/a.b/c/;UID=1"


def test_the_rump_is_what_was_given() -> None:
    """No unescaping, no folding.   RFC 4467 6"""
    rump = "imap://Joe%41@Example.COM/%49nbox/;uid=20;urlauth=Anonymous"
    assert split_token(f"{rump}:InTernal:{TOKEN}") == (rump, f"InTernal:{TOKEN}")
    for text in ("", "x", "a:b"):
        with pytest.raises(BadUrl):
            split_token(text)


def test_escape() -> None:
    """What goes into a response code keeps to it."""
    assert escape("/a%20b/;UID=1?x") == "/a%20b/;UID=1?x"
    assert escape("/a]\r\n* BYE") == "/a%5D%0D%0A*%20BYE"
    assert escape("ä[") == "%C3%A4%5B"


names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
fields = st.text("abcXYZ-0123", min_size=1)
sections = st.builds(
    lambda path, text, names: Section(
        tuple(path),
        text if path or text is not SectionText.MIME else None,
        tuple(names) if text in (SectionText.HEADER_FIELDS, SectionText.HEADER_FIELDS_NOT) else (),
    ),
    st.lists(st.integers(1, 99), max_size=4),
    st.none() | st.sampled_from(SectionText),
    st.lists(fields, min_size=1, max_size=3),
)


@st.composite
def urls(draw: st.DrawFn) -> ImapUrl:
    numbers = st.integers(1, 0xFFFFFFFF)
    made = ImapUrl(mailbox=meant_name(draw(names), "/"))
    if draw(st.booleans()):
        made = made._replace(
            host=draw(st.sampled_from(["h", "a.example.org", "127.0.0.1", "[::1]"])),
            user=draw(st.none() | names),
            auth=draw(st.none() | st.just("*") | names),
            port=draw(st.none() | st.integers(0, 65535)),
        )
    made = made._replace(uid_validity=draw(st.none() | numbers))
    if draw(st.booleans()):
        return made._replace(search=draw(st.none() | names))
    made = made._replace(
        uid=draw(numbers),
        section=draw(sections),
        partial=draw(st.none() | st.tuples(st.integers(0, 2**63 - 1), st.none() | numbers)),
        expires=draw(st.none() | st.integers(0, 253402300799)),
    )
    access = draw(st.none() | st.sampled_from(Access))
    if access is not None:
        made = made._replace(access=access)
        if access.value.endswith("+"):
            made = made._replace(access_user=draw(names))
        if draw(st.booleans()):
            token = draw(st.binary(min_size=16, max_size=64))
            made = made._replace(mechanism="INTERNAL", token=token)
    return made


@given(urls(), st.sampled_from("/.^"))
def test_written_and_read_again(url: ImapUrl, delimiter: str) -> None:
    if delimiter != "/" and url.mailbox is not None:
        # Names that would begin or end with the other sign are none.
        url = url._replace(mailbox=fold_inbox(url.mailbox.strip("./^") or "x"))
    text = url.render(delimiter)
    assert text.isascii()
    assert parse_url(text, delimiter) == url
    if url.token is not None:
        assert parse_url(split_token(text)[0], delimiter) == url._replace(
            mechanism=None, token=None
        )


@given(
    st.text(st.sampled_from("imap:/@;%2Fa.?[]UIDSECTIONPARTIALEXPIREURLAUTH=+0123\r\n ä"))
    | st.text()
)
def test_any_text_is_a_url_or_none(text: str) -> None:
    try:
        url = parse_url(text)
    except BadUrl:
        return
    assert parse_url(url.render()) == url


@pytest.mark.parametrize("text", [
    "/" + "a" * 1_000_000, "/" + "%41" * 300_000, "/" + "a/" * 500_000, "/a" + ";" * 1_000_000,
    "/" + "a/../" * 200_000, "/" + "../" * 300_000, "/a/;UID=1/;SECTION=" + "1." * 500_000,
    "/a/;UID=1/;SECTION=" + "1" * 1_000_000, "imap://" + "a" * 1_000_000, "/a?" + "x" * 1_000_000,
    "imap://" + "@" * 1_000_000 + "/x", "/a/;UID=1;URLAUTH=user+" + "a" * 1_000_000 + ":",
    "/" + "/;UID=1" * 150_000, "/a/;UID=1/;PARTIAL=" + "1" * 1_000_000,
    "/a/;UID=1/;SECTION=HEADER.FIELDS%20(" + "a%20" * 200_000 + "a)",
], ids=lambda text: text[:24])  # fmt: skip
def test_long_ones_cost_what_they_weigh(text: str) -> None:
    before = time.process_time()
    with suppress(BadUrl):
        parse_url(text[:MAX_URL])
    assert time.process_time() - before < 0.1


def test_how_long_one_may_be() -> None:
    url = "imap://h/" + "a" * MAX_URL
    assert parse_url(url[:MAX_URL]).mailbox is not None
    with pytest.raises(BadUrl):
        parse_url(url[: MAX_URL + 1])
