"""What the server says, octet for octet."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymap.limits import Limits
from pymap.wire import responses as r
from pymap.wire.framer import Event, Framer
from pymap.wire.responses import Condition
from pymap.wire.scanner import Scanner
from pymap.wire.types import Section, SectionText, UidSet

OK, NO, BAD, BYE = Condition.OK, Condition.NO, Condition.BAD, Condition.BYE

RESPONSES = [
    # RFC 9051 7.1
    (r.Tagged("a1", OK, "Done"), b"a1 OK Done\r\n"),
    (r.Tagged("a1", NO, "No such mailbox", "NONEXISTENT"),
     b"a1 NO [NONEXISTENT] No such mailbox\r\n"),
    (r.Tagged("a1", BAD, "Expected an atom"), b"a1 BAD Expected an atom\r\n"),
    (r.Untagged(BYE, "Bye"), b"* BYE Bye\r\n"),
    (r.Untagged(OK, "Predicted", "UIDNEXT 4392"), b"* OK [UIDNEXT 4392] Predicted\r\n"),
    (r.Untagged(OK, "Grüße"), b"* OK Gr\xc3\xbc\xc3\x9fe\r\n"),
    # RFC 9051 7.6
    (r.Continuation(), b"+ \r\n"),
    (r.Continuation(b"YQ=="), b"+ YQ==\r\n"),
    (r.Capability(["IMAP4rev2", "IDLE"]), b"* CAPABILITY IMAP4rev2 IDLE\r\n"),
    (r.Enabled(["CONDSTORE", "QRESYNC"]), b"* ENABLED CONDSTORE QRESYNC\r\n"),
    (r.Enabled([]), b"* ENABLED\r\n"),  # RFC 5161 3.2
    # RFC 2971 3.2
    (r.IdResponse([("name", "pymap"), ("x", 'a"b\\c')]),
     b'* ID ("name" "pymap" "x" "a\\"b\\\\c")\r\n'),
    (r.IdResponse([("name", "ä")]), b'* ID ("name" {2}\r\n\xc3\xa4)\r\n'),
    (r.IdResponse([]), b"* ID NIL\r\n"),
    # RFC 5255 3.3
    (r.LanguageResponse(["de"]), b"* LANGUAGE (de)\r\n"),
    (r.LanguageResponse(["en", "i-default"]), b"* LANGUAGE (en i-default)\r\n"),
    (r.Flags(b"\\Seen $Junk"), b"* FLAGS (\\Seen $Junk)\r\n"),
    (r.Flags(b""), b"* FLAGS ()\r\n"),
    (r.Exists(0), b"* 0 EXISTS\r\n"),
    (r.Exists(23), b"* 23 EXISTS\r\n"),
    (r.Recent(5), b"* 5 RECENT\r\n"),
    (r.Expunge([3, 3, 5]), b"* 3 EXPUNGE\r\n* 3 EXPUNGE\r\n* 5 EXPUNGE\r\n"),
    (r.Expunge(range(4, 5)), b"* 4 EXPUNGE\r\n"),
    (r.Expunge([]), b""),
    # RFC 7162 3.2.10
    (r.Vanished(UidSet.of(300, 301, 405)), b"* VANISHED 300:301,405\r\n"),
    (r.Vanished(UidSet.of(41), earlier=True), b"* VANISHED (EARLIER) 41\r\n"),
    # RFC 10022
    (r.UidBatches("a1", [(99, 50), (49, 1)]), b'* UIDBATCHES (TAG "a1") 99:50,49:1\r\n'),
    (r.GenUrlAuth(["imap://a@h/x/;UID=1", 'a"b']),
     b'* GENURLAUTH "imap://a@h/x/;UID=1" "a\\"b"\r\n'),
    (r.UidBatches("a1", []), b'* UIDBATCHES (TAG "a1")\r\n'),
    # RFC 2342 5
    # RFC 9208 4.2
    (r.QuotaResponse("#user/alice", [("STORAGE", 54, 111), ("MESSAGE", 42, 1000)]),
     b"* QUOTA #user/alice (STORAGE 54 111 MESSAGE 42 1000)\r\n"),
    (r.QuotaResponse("", []), b'* QUOTA "" ()\r\n'),
    (r.QuotaRootResponse("INBOX", [""]), b'* QUOTAROOT INBOX ""\r\n'),
    (r.QuotaRootResponse("comp.mail.mime", []), b"* QUOTAROOT comp.mail.mime\r\n"),
    (r.QuotaRootResponse("INBOX", ["a b", "x"]), b'* QUOTAROOT INBOX "a b" x\r\n'),
    (r.NamespaceResponse("/"), b'* NAMESPACE (("" "/")) NIL NIL\r\n'),
    (r.NamespaceResponse("/", "Other Users/", "Andere Ben\xfctzer/"),
     b'* NAMESPACE (("" "/")) (("Other Users/" "/" "TRANSLATION" ("Andere Ben&APw-tzer/"))) NIL\r\n'),
    (r.NamespaceResponse(".", "Other Users."),
     b'* NAMESPACE (("" ".")) (("Other Users." ".")) NIL\r\n'),
    # RFC 4314 3
    (r.AclResponse("INBOX/Drafts", [("Fred", "rwipslxetad"), ("-Fred", "wetd"), ("$team", "w")]),
     b"* ACL INBOX/Drafts Fred rwipslxetad -Fred wetd $team w\r\n"),
    (r.AclResponse("a b", [("john smith", ""), ("nil", "l")]),
     b'* ACL "a b" "john smith" "" "nil" l\r\n'),
    (r.AclResponse("INBOX", []), b"* ACL INBOX\r\n"),
    (r.ListRightsResponse("~/Mail/saved", "smith", "la", ("r", "swicdkxte")),
     b"* LISTRIGHTS ~/Mail/saved smith la r swicdkxte\r\n"),
    (r.ListRightsResponse("x", "anyone", "", ()), b'* LISTRIGHTS x anyone ""\r\n'),
    (r.MyRightsResponse("INBOX", "rwiptsldaex"), b"* MYRIGHTS INBOX rwiptsldaex\r\n"),
    (r.MyRightsResponse("INBOX", ""), b'* MYRIGHTS INBOX ""\r\n'),
    # RFC 9051 7.3.1
    (r.ListResponse("foo", (), "/"), b'* LIST () "/" foo\r\n'),
    (r.ListResponse("", ("\\Noselect",), "/"), b'* LIST (\\Noselect) "/" ""\r\n'),
    (r.ListResponse("a b", ("\\HasChildren", "\\Sent"), "."),
     b'* LIST (\\HasChildren \\Sent) "." "a b"\r\n'),
    (r.ListResponse("foo", (), "/", keyword=b"LSUB"), b'* LSUB () "/" foo\r\n'),
    (r.ListResponse("NIL", (), "/"), b'* LIST () "/" "NIL"\r\n'),
    # RFC 5258 6, RFC 9051 6.3.9.7
    (r.ListResponse("foo", ("\\NonExistent",), "/", ("SUBSCRIBED", "SPECIAL-USE")),
     b'* LIST (\\NonExistent) "/" foo ("CHILDINFO" ("SUBSCRIBED" "SPECIAL-USE"))\r\n'),
    (r.ListResponse("new", (), "/", old_name="old one"),
     b'* LIST () "/" new ("OLDNAME" ("old one"))\r\n'),
    (r.ListResponse("new", (), "/", ("SUBSCRIBED",), old_name=""),
     b'* LIST () "/" new ("CHILDINFO" ("SUBSCRIBED")) ("OLDNAME" (""))\r\n'),
    # RFC 9051 7.3.4
    (r.StatusResponse("blurdybloop", [("MESSAGES", "231"), ("UIDNEXT", "44292")]),
     b"* STATUS blurdybloop (MESSAGES 231 UIDNEXT 44292)\r\n"),
    # RFC 5464 4.4.1
    (r.MetadataResponse("", [("/shared/comment", b"Shared comment")]),
     b'* METADATA "" (/shared/comment "Shared comment")\r\n'),
    (r.MetadataChanged("", ["/shared/comment"]), b'* METADATA "" /shared/comment\r\n'),
    (r.MetadataChanged("a b", ["/shared/a b", "/private/c"]),
     b'* METADATA "a b" "/shared/a b" /private/c\r\n'),
    (r.MetadataResponse("a b", [("/shared/a b", None), ("/private/c", b""), ("/x", b"a\0"),
                                ("/y", b"\xff\r\n")]),
     b'* METADATA "a b" ("/shared/a b" NIL /private/c "" /x ~{2}\r\na\0 /y {3}\r\n\xff\r\n)\r\n'),
    (r.StatusResponse("nil", []), b'* STATUS "nil" ()\r\n'),
    # RFC 3501 7.2.5, RFC 7162 3.1.5
    (r.SearchResponse([2, 3, 6]), b"* SEARCH 2 3 6\r\n"),
    (r.SearchResponse([]), b"* SEARCH\r\n"),
    (r.SearchResponse((2, 5), 917162500), b"* SEARCH 2 5 (MODSEQ 917162500)\r\n"),
    # RFC 5256 4, RFC 7162 3.1.9
    (r.SortResponse([2, 84, 882]), b"* SORT 2 84 882\r\n"),
    (r.SortResponse([5, 3, 4294967295]), b"* SORT 5 3 4294967295\r\n"),
    (r.SortResponse([]), b"* SORT\r\n"),
    (r.SortResponse((5, 2), 917162500), b"* SORT 5 2 (MODSEQ 917162500)\r\n"),
    (r.ThreadResponse(b"(2)(3 6 (4 23)(44 7 96))"), b"* THREAD (2)(3 6 (4 23)(44 7 96))\r\n"),
    (r.ThreadResponse(b"((3)(5))"), b"* THREAD ((3)(5))\r\n"),
    (r.ThreadResponse(b""), b"* THREAD\r\n"),
    # RFC 4731 3.1
    (r.ESearch("A282", False, [("MIN", "2"), ("COUNT", "3")]),
     b'* ESEARCH (TAG "A282") MIN 2 COUNT 3\r\n'),
    (r.ESearch("A283", True, [("ALL", "2,10:11")]), b'* ESEARCH (TAG "A283") UID ALL 2,10:11\r\n'),
    (r.ESearch("A", True, []), b'* ESEARCH (TAG "A") UID\r\n'),
    # RFC 7377 3, RFC 5267 4.3.3
    (r.ESearch("tag1", True, [("ALL", "3002,4004")], "folder2/banana", 503),
     b'* ESEARCH (TAG "tag1" MAILBOX folder2/banana UIDVALIDITY 503) UID ALL 3002,4004\r\n'),
    (r.ESearch("t", True, [], "a b", 1),
     b'* ESEARCH (TAG "t" MAILBOX "a b" UIDVALIDITY 1) UID\r\n'),
    (r.ESearch("B01", True, [("ADDTO", "(0 32768:32769)")]),
     b'* ESEARCH (TAG "B01") UID ADDTO (0 32768:32769)\r\n'),
]  # fmt: skip


@pytest.mark.parametrize(("response", "octets"), RESPONSES)
def test_response(response: r.Response, octets: bytes) -> None:
    assert response.encode(utf8=False) == octets
    assert response.encode(utf8=True) == octets


def test_quotas_beyond_ascii() -> None:
    quota, root = r.QuotaResponse("ä", [("MESSAGE", 1, 2)]), r.QuotaRootResponse("ä", ["ä"])
    assert quota.encode(utf8=False) == b"* QUOTA {2}\r\n\xc3\xa4 (MESSAGE 1 2)\r\n"
    assert quota.encode(utf8=True) == b'* QUOTA "\xc3\xa4" (MESSAGE 1 2)\r\n'
    assert root.encode(utf8=False) == b"* QUOTAROOT &AOQ- {2}\r\n\xc3\xa4\r\n"
    assert root.encode(utf8=True) == b'* QUOTAROOT "\xc3\xa4" "\xc3\xa4"\r\n'


def test_every_response_is_in_the_table() -> None:
    # By name: a dataclass with slots leaves the class behind from which it was made.
    names = {made.__name__ for made in r.Response.__subclasses__()}
    assert {type(response).__name__ for response, _ in RESPONSES} == names


# -- mailbox names --

MAILBOXES = [
    # (name, as modified UTF-7, as UTF-8)
    ("INBOX", b"INBOX", b"INBOX"),
    ("a/b.c-d]~+#", b"a/b.c-d]~+#", b"a/b.c-d]~+#"),
    ("", b'""', b'""'),
    ("a b", b'"a b"', b'"a b"'),
    ("NIL", b'"NIL"', b'"NIL"'),
    ("nIl", b'"nIl"', b'"nIl"'),
    ("nil/x", b"nil/x", b"nil/x"),
    ("a%", b'"a%"', b'"a%"'),
    ("a*", b'"a*"', b'"a*"'),
    ("a(b){c", b'"a(b){c"', b'"a(b){c"'),
    ('a"b\\c', b'"a\\"b\\\\c"', b'"a\\"b\\\\c"'),
    ("a&b", b"a&-b", b"a&b"),
    ("Entwürfe", b"Entw&APw-rfe", b'"Entw\xc3\xbcrfe"'),
    ("台北 日本", b'"&U,BTFw- &ZeVnLA-"', b'"\xe5\x8f\xb0\xe5\x8c\x97 \xe6\x97\xa5\xe6\x9c\xac"'),
    ("a\r\nb", b"a&AA0ACg-b", b"{4}\r\na\r\nb"),
    ("ä\t", b"&AOQACQ-", b"{3}\r\n\xc3\xa4\t"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "utf7", "utf8"), MAILBOXES)
def test_mailbox(name: str, utf7: bytes, utf8: bytes) -> None:
    assert r.mailbox(name, utf8=False) == utf7
    assert r.mailbox(name, utf8=True) == utf8
    for mode, raw in ((False, utf7), (True, utf8)):
        assert r.ListResponse(name, (), "/").encode(mode) == b'* LIST () "/" %b\r\n' % raw
        assert r.StatusResponse(name, []).encode(mode) == b"* STATUS %b ()\r\n" % raw
        old = r.ListResponse("x", (), "/", old_name=name).encode(mode)
        assert old == b'* LIST () "/" x ("OLDNAME" (%b))\r\n' % raw


def read(octets: bytes, utf8: bool = False) -> Scanner:
    framer = Framer(Limits())
    framer.authenticated = True
    framer.receive_data(octets + b"\r\n")
    while (frame := framer.next()) is Event.CONTINUE:
        pass
    return Scanner(frame, utf8)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), st.booleans())
def test_mailbox_is_read_back(name: str, utf8: bool) -> None:
    name = unicodedata.normalize("NFC", name)
    if name.upper() != "INBOX":
        assert read(r.mailbox(name, utf8), utf8).mailbox() == name


# -- strings --


@pytest.mark.parametrize(
    ("raw", "encoded"),
    [
        (b"", b'""'),
        (b"NIL", b'"NIL"'),
        (b"a {3}", b'"a {3}"'),
        (b'"\\', b'"\\"\\\\"'),
        (b"a\nb", b"{3}\r\na\nb"),
        (b"\x7f", b"{1}\r\n\x7f"),
        (b"\xc3\xa4", b"{2}\r\n\xc3\xa4"),
        (b"\xff", b"{1}\r\n\xff"),
        (b"a\0b", b"~{3}\r\na\0b"),  # RFC 9051 9, literal8
    ],
)
def test_nstring(raw: bytes, encoded: bytes) -> None:
    assert r.nstring(raw) == encoded


def test_no_string_is_nil() -> None:
    assert r.nstring(None) == b"NIL"


@given(st.binary())
def test_strings_are_read_back(raw: bytes) -> None:
    assert read(r.nstring(raw)).nstring() == raw
    assert read(r.literal(raw)).nstring() == raw
    if b"\0" not in raw:
        assert read(r.astring(raw)).astring() == raw


def test_literal_of_a_memoryview() -> None:
    assert r.literal(memoryview(b"xabcx")[1:4]) == b"{3}\r\nabc"


@pytest.mark.parametrize(
    ("section", "label"),
    [
        (Section(), b""),
        (Section((1, 2)), b"1.2"),
        (Section((), SectionText.HEADER), b"HEADER"),
        (Section((4, 1), SectionText.MIME), b"4.1.MIME"),
        (Section((), SectionText.HEADER_FIELDS, ("From", "a b", "", "nil")),
         b'HEADER.FIELDS (From "a b" "" "nil")'),
        (Section((1,), SectionText.HEADER_FIELDS_NOT, ("X-ä",)),
         b"1.HEADER.FIELDS.NOT ({4}\r\nX-\xc3\xa4)"),
    ],
)  # fmt: skip
def test_section_label(section: Section, label: bytes) -> None:
    assert r.section_label(section) == label
