"""FETCH: every data item, section, partial and modifier of the grammar, and what is none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pymap.wire.commands import Fetch, FetchAttribute, FetchItem
from pymap.wire.search import Partial
from pymap.wire.types import Section, SectionText, SequenceSet

from .feed import bad, command, refusal, shown

A = FetchAttribute


def item(attribute: FetchAttribute) -> FetchItem:
    return FetchItem(attribute)


def body(
    section: Section = Section(),  # noqa: B008  an immutable NamedTuple
    partial: tuple[int, int] | None = None,
    peek: bool = False,
) -> FetchItem:
    return FetchItem(A.SECTION, section, partial, peek)


FLAGS, DATE, SIZE, ENVELOPE = map(item, (A.FLAGS, A.INTERNALDATE, A.SIZE, A.ENVELOPE))
HEADER, TEXT, MIME = SectionText.HEADER, SectionText.TEXT, SectionText.MIME
FIELDS, FIELDS_NOT = SectionText.HEADER_FIELDS, SectionText.HEADER_FIELDS_NOT

ITEMS: list[tuple[bytes, tuple[FetchItem, ...]]] = [
    # The macros.   RFC 9051 6.4.5
    (b"FAST", (FLAGS, DATE, SIZE)),
    (b"ALL", (FLAGS, DATE, SIZE, ENVELOPE)),
    (b"full", (FLAGS, DATE, SIZE, ENVELOPE, item(A.BODY_STRUCTURE))),
    # Those without arguments
    (b"UID", (item(A.UID),)),
    (b"flags", (FLAGS,)),
    (b"InternalDate", (DATE,)),
    (b"RFC822.SIZE", (SIZE,)),
    (b"ENVELOPE", (ENVELOPE,)),
    (b"BODY", (item(A.BODY_STRUCTURE),)),
    (b"BODYSTRUCTURE", (item(A.BODYSTRUCTURE),)),
    (b"MODSEQ", (item(A.MODSEQ),)),  # RFC 7162 3.1.4.2
    (b"EMAILID", (item(A.EMAILID),)),  # RFC 8474 5
    (b"THREADID", (item(A.THREADID),)),
    (b"SAVEDATE", (item(A.SAVEDATE),)),  # RFC 8514 4.2
    (b"PREVIEW", (item(A.PREVIEW),)),  # RFC 8970 6
    (b"preview (lazy)", (item(A.PREVIEW),)),
    (b"(PREVIEW (LAZY LAZY) UID PREVIEW)", (item(A.PREVIEW), item(A.UID))),
    # RFC 3501 6.4.5: RFC822.HEADER is like BODY.PEEK[HEADER], the two others set \Seen
    (b"RFC822", (FetchItem(A.RFC822, peek=False),)),
    (b"RFC822.TEXT", (FetchItem(A.RFC822_TEXT, peek=False),)),
    (b"RFC822.HEADER", (FetchItem(A.RFC822_HEADER, peek=True),)),
    # Lists
    (b"(FLAGS)", (FLAGS,)),
    (b"(UID FLAGS RFC822.SIZE)", (item(A.UID), FLAGS, SIZE)),
    (b"(emailid threadid)", (item(A.EMAILID), item(A.THREADID))),
    (b"(FLAGS UID FLAGS)", (FLAGS, item(A.UID))),  # twice asked, once answered
    (b"(BODY BODY[] BODYSTRUCTURE)",
     (item(A.BODY_STRUCTURE), body(), item(A.BODYSTRUCTURE))),
    # Sections.   RFC 9051 6.4.5.1
    (b"BODY[]", (body(),)),
    (b"BODY.PEEK[]", (body(peek=True),)),
    (b"body.peek[header]", (body(Section((), HEADER), peek=True),)),
    (b"BODY[TEXT]", (body(Section((), TEXT)),)),
    (b"BODY[1]", (body(Section((1,))),)),
    (b"BODY[4.2.2.1]", (body(Section((4, 2, 2, 1))),)),
    (b"BODY[3.HEADER]", (body(Section((3,), HEADER)),)),
    (b"BODY[4.1.MIME]", (body(Section((4, 1), MIME)),)),
    (b"BODY[4.2.TEXT]", (body(Section((4, 2), TEXT)),)),
    (b"BODY[4294967295]", (body(Section((4294967295,))),)),
    (b"BODY[HEADER.FIELDS (DATE FROM)]", (body(Section((), FIELDS, ("DATE", "FROM"))),)),
    (b"(FLAGS BODY[HEADER.FIELDS (DATE FROM)])",  # RFC 3501 6.4.5
     (FLAGS, body(Section((), FIELDS, ("DATE", "FROM"))))),
    (b"BODY.PEEK[header.fields.not (x-y)]",
     (body(Section((), FIELDS_NOT, ("x-y",)), peek=True),)),
    (b"BODY[1.2.HEADER.FIELDS (To)]", (body(Section((1, 2), FIELDS, ("To",))),)),
    (b"BODY[1.HEADER.FIELDS.NOT (To)]", (body(Section((1,), FIELDS_NOT, ("To",))),)),
    # header-fld-name is an astring
    (b'BODY[HEADER.FIELDS ("To" {2}\r\nCc {3+}\r\nBcc a]b "")]',
     (body(Section((), FIELDS, ("To", "Cc", "Bcc", "a]b", ""))),)),
    # Partials: number64, nz-number64
    (b"BODY[]<0.2048>", (body(partial=(0, 2048)),)),
    (b"BODY.PEEK[1.TEXT]<10.1>", (body(Section((1,), TEXT), (10, 1), peek=True),)),
    (b"BODY[]<9223372036854775807.9223372036854775807>",
     (body(partial=((1 << 63) - 1, (1 << 63) - 1)),)),
    (b"(BODY[]<0.1> BODY[]<1.1> BODY[]<0.1>)", (body(partial=(0, 1)), body(partial=(1, 1)))),
    # BINARY.   RFC 9051 9, section-binary; RFC 3516 4.2
    (b"BINARY[]", (FetchItem(A.BINARY, peek=False),)),
    (b"BINARY[1.2]", (FetchItem(A.BINARY, Section((1, 2)), peek=False),)),
    (b"BINARY.PEEK[1]<0.10>", (FetchItem(A.BINARY, Section((1,)), (0, 10)),)),
    (b"binary.size[2]", (FetchItem(A.BINARY_SIZE, Section((2,))),)),
    (b"BINARY.SIZE[]", (FetchItem(A.BINARY_SIZE),)),
]  # fmt: skip

NO_ITEMS = [
    b"",
    b"()",
    b"( FLAGS)",
    b"(FLAGS )",
    b"(FLAGS",
    b"FLAGS)",
    b"((FLAGS))",
    b"(FLAGS,UID)",
    b"(FLAGS  UID)",
    b"(FLAGSUID)",
    b"FLAGS UID",
    b"(ALL)",  # macros stand alone.   RFC 9051 6.4.5
    b"(FLAGS FAST)",
    b"FAST FLAGS",
    b"FASTER",
    b"FOO",
    b'"FLAGS"',
    b"{5+}\r\nFLAGS",
    b"RFC822.BODY",
    b"RFC822[]",
    b"RFC822.HEADER.LINES (To)",
    b"FLAGS[]",
    b"BODYSTRUCTURE[]",
    b"ENVELOPE<0.1>",
    b"BODY<0.1>",
    b"(PREVIEW ())",
    b"(PREVIEW (LAZY )",
    b"(PREVIEW (LAZY) (LAZY))",
    b"(PREVIEW(LAZY))",
    b"(PREVIEW (FUZZY))",
    b"(UID (LAZY))",
    b"PREVIEW[]",
    b"BODY.PEEK",
    b"BODY []",
    b"BODY[ ]",
    b"BODY[",
    b"BODY]",
    b"BODY[]]",
    b"BODY[[]]",
    b"BODY[0]",
    b"BODY[01]",
    b"BODY[1.0]",
    b"BODY[1.]",
    b"BODY[.1]",
    b"BODY[1..2]",
    b"BODY[1 2]",
    b"BODY[-1]",
    b"BODY[*]",
    b"BODY[1:2]",
    b"BODY[MIME]",
    b"BODY[1.MIME.HEADER]",
    b"BODY[HEADER.1]",
    b"BODY[TEXT.HEADER]",
    b"BODY[1.FOO]",
    b"BODY[.TEXT]",
    b"BODY[1TEXT]",
    b'BODY["TEXT"]',
    b"BODY[HEADER (To)]",
    b"BODY[TEXT (To)]",
    b"BODY[HEADER.FIELDS]",
    b"BODY[HEADER.FIELDS ()]",
    b"BODY[HEADER.FIELDS To]",
    b"BODY[HEADER.FIELDS(To)]",
    b"BODY[HEADER.FIELDS (To )]",
    b"BODY[HEADER.FIELDS ( To)]",
    b"BODY[HEADER.FIELDS (To  Cc)]",
    b"BODY[HEADER.FIELDS ((To))]",
    b"BODY[HEADER.FIELDS (To)",
    b"BODY[HEADER.FIELDS (To] )",
    b"BODY[HEADER.NOT (To)]",
    b"BODY[HEADER.FIELDS.NOT.NOT (To)]",
    b"BODY[HEADER.FIELDS (T\0o)]",
    b"BODY[]<>",
    b"BODY[]<0>",
    b"BODY[]<.1>",
    b"BODY[]<0.>",
    b"BODY[]<0.0>",
    b"BODY[]<0.1",
    b"BODY[]<0.1>>",
    b"BODY[]<-1.1>",
    b"BODY[]<0-1>",
    b"BODY[] <0.1>",
    b"BODY[]<0.1><0.1>",
    b"BODY[]<9223372036854775808.1>",
    b"BODY[]<0.9223372036854775808>",
    b"BODY[]<0.99999999999999999999>",
    b"BINARY",
    b"BINARY.PEEK",
    b"BINARY.SIZE",
    b"BINARY.FOO[1]",
    b"BINARY[HEADER]",
    b"BINARY[1.MIME]",
    b"BINARY[1.]",
    b"BINARY[0]",
    b"BINARY.SIZE[1]<0.1>",
    b"MODSEQ[]",
    b"EMAILID ()",
]


@pytest.mark.parametrize(("octets", "items"), ITEMS, ids=[shown(row[0]) for row in ITEMS])
def test_items(octets: bytes, items: tuple[FetchItem, ...]) -> None:
    one = SequenceSet(((1, 1),))
    assert command(b"a FETCH 1 %b\r\n" % octets) == Fetch("a", one, False, items)
    assert command(b"a uid fetch 1 %b\r\n" % octets) == Fetch("a", one, True, items)
    changed = command(b"a FETCH 1 %b (CHANGEDSINCE 5)\r\n" % octets)
    assert changed == Fetch("a", one, False, items, changed_since=5)


def test_partial() -> None:
    """RFC 9394 3.3: of UID FETCH, and in any order with the other modifiers"""
    plain = Fetch("a", SequenceSet(((1, 0),)), True, (item(A.FLAGS),), partial=Partial(1, 5))
    assert command(b"a UID FETCH 1:* FLAGS (PARTIAL 1:5)\r\n") == plain
    last = replace(plain, partial=Partial(1, 30, from_end=True), changed_since=7)
    for modifiers in (b"PARTIAL -1:-30 CHANGEDSINCE 7", b"CHANGEDSINCE 7 partial -1:-30"):
        assert command(b"a UID FETCH 1:* FLAGS (%b)\r\n" % modifiers) == last
    bad(b"a FETCH 1:* FLAGS (PARTIAL 1:5)\r\n")
    bad(b"a UID FETCH 1:* FLAGS (PARTIAL 1:*)\r\n")
    bad(b"a UID FETCH 1:* FLAGS (PARTIAL)\r\n")


@pytest.mark.parametrize("octets", NO_ITEMS, ids=shown)
def test_no_items(octets: bytes) -> None:
    bad(b"a FETCH 1 %b\r\n" % octets)
    bad(b"a UID FETCH 1 %b\r\n" % octets)


def test_a_part_number_has_32_bits() -> None:
    """section-part = nz-number *("." nz-number), nz-number being below 2^32.   RFC 9051 9"""
    bad(b"a FETCH 1 BODY[4294967296]\r\n")
    bad(b"a FETCH 1 BODY[1.9999999999.HEADER]\r\n")
    bad(b"a FETCH 1 BINARY[4294967296]\r\n")


COMMANDS = [
    # RFC 7162 3.1.4.1, 3.2.6
    (b"a UID FETCH 1:* (FLAGS) (CHANGEDSINCE 12345)\r\n",
     Fetch("a", SequenceSet(((1, 0),)), True, (FLAGS,), 12345)),
    (b"a UID FETCH 300:500 (FLAGS) (CHANGEDSINCE 12345 VANISHED)\r\n",
     Fetch("a", SequenceSet(((300, 500),)), True, (FLAGS,), 12345, True)),
    (b"a UID FETCH 1:* FLAGS (vanished changedsince 9223372036854775807)\r\n",
     Fetch("a", SequenceSet(((1, 0),)), True, (FLAGS,), (1 << 63) - 1, True)),
    (b"a FETCH 1:3 (MODSEQ)\r\n", Fetch("a", SequenceSet(((1, 3),)), False, (item(A.MODSEQ),))),
    # RFC 9051 6.4.4.4
    (b"a FETCH $ (UID INTERNALDATE FLAGS BODY.PEEK[HEADER])\r\n",
     Fetch("a", SequenceSet((), True), False,
           (item(A.UID), DATE, FLAGS, body(Section((), HEADER), peek=True)))),
    (b"a UID FETCH 4827313:4828442 FLAGS\r\n",
     Fetch("a", SequenceSet(((4827313, 4828442),)), True, (FLAGS,))),
]  # fmt: skip


@pytest.mark.parametrize(("octets", "value"), COMMANDS, ids=[shown(row[0]) for row in COMMANDS])
def test_command(octets: bytes, value: Fetch) -> None:
    assert command(octets) == value
    assert command(octets.lower().replace(b"\r\n", b"\n")) == value


BAD = [
    b"a FETCH\r\n",
    b"a FETCH 1\r\n",
    b"a FETCH FLAGS\r\n",
    b"a FETCH 0 FLAGS\r\n",
    b"a FETCH 1FLAGS\r\n",
    b"a FETCH  1 FLAGS\r\n",
    b"a FETCH 1  FLAGS\r\n",
    b"a FETCH (1) FLAGS\r\n",
    b"a FETCH 1 FLAGS ()\r\n",
    b"a FETCH 1 FLAGS CHANGEDSINCE 1\r\n",
    b"a FETCH 1 FLAGS(CHANGEDSINCE 1)\r\n",
    b"a FETCH 1 FLAGS (CHANGEDSINCE)\r\n",
    b"a FETCH 1 FLAGS (CHANGEDSINCE x)\r\n",
    b"a FETCH 1 FLAGS (CHANGEDSINCE -1)\r\n",
    b"a FETCH 1 FLAGS (CHANGEDSINCE 9223372036854775808)\r\n",
    b"a FETCH 1 FLAGS (CHANGEDSINCE 1\r\n",
    b"a FETCH 1 FLAGS (CHANGEDSINCE 1 )\r\n",
    b"a FETCH 1 FLAGS (CHANGEDSINCE 1) (CHANGEDSINCE 1)\r\n",
    b"a FETCH 1 FLAGS (UNCHANGEDSINCE 1)\r\n",
    b"a FETCH 1 FLAGS (FOO)\r\n",
    b"a FETCH 1 FLAGS (VANISHED)\r\n",
    b"a FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)\r\n",  # only UID FETCH.   RFC 7162 3.2.6
    b"a UID FETCH 1 FLAGS (VANISHED)\r\n",  # and only with CHANGEDSINCE
    b"a UID FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED 1)\r\n",
]


@pytest.mark.parametrize("octets", BAD, ids=shown)
def test_bad(octets: bytes) -> None:
    bad(octets)


def test_fetch_items_limit() -> None:
    command(b"a FETCH 1 (UID FLAGS ENVELOPE)\r\n", fetch_items=3)
    bad(b"a FETCH 1 (UID FLAGS ENVELOPE)\r\n", fetch_items=2)
    bad(b"a FETCH 1 (UID UID UID)\r\n", fetch_items=2)
    command(b"a FETCH 1 (BODY[HEADER.FIELDS (a b)])\r\n", fetch_items=3)
    bad(b"a FETCH 1 (BODY[HEADER.FIELDS (a b c)])\r\n", fetch_items=3)


def test_fetch_items_limit_holds_without_parentheses_too() -> None:
    """Limits.fetch_items: "Data items in one FETCH, header field names counted too"."""
    refusal(b"a FETCH 1 BODY[HEADER.FIELDS (a b c)]\r\n", fetch_items=3)
