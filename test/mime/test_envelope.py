"""ENVELOPE and the addresses in it."""

from __future__ import annotations

import pytest

from pymap.mime import MAX_ADDRESSES, Address, addresses, digest


def envelope(header: bytes) -> bytes:
    return digest(header.replace(b"\n", b"\r\n") + b"\r\n").envelope


# The message of RFC 9051 8, fetched as ENVELOPE there.
def test_example() -> None:
    assert envelope(
        b"Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\n"
        b"From: Terry Gray <gray@cac.washington.edu>\n"
        b"Subject: IMAP4rev2 WG mtg summary and minutes\n"
        b"To: imap@cac.washington.edu\n"
        b"cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\n"
        b"Message-Id: <B27397-0100000@cac.washington.edu>\n"
    ) == (
        b'("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" "IMAP4rev2 WG mtg summary and minutes"'
        b' (("Terry Gray" NIL "gray" "cac.washington.edu"))'
        b' (("Terry Gray" NIL "gray" "cac.washington.edu"))'
        b' (("Terry Gray" NIL "gray" "cac.washington.edu"))'
        b' ((NIL NIL "imap" "cac.washington.edu"))'
        b' ((NIL NIL "minutes" "CNRI.Reston.VA.US")("John Klensin" NIL "KLENSIN" "MIT.EDU"))'
        b' NIL NIL "<B27397-0100000@cac.washington.edu>")'
    )


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"", b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"),
        (
            b"Date:\nSubject: \nFrom:\nTo: ,\nIn-Reply-To:\nMessage-ID:\n",
            b'("" "" NIL NIL NIL NIL NIL NIL "" "")',
        ),
        (b"Subject: a\n\tb\n", b'(NIL "a\tb" NIL NIL NIL NIL NIL NIL NIL NIL)'),
        (b"Subject: =?utf-8?q?=C3=A9?=\n", b'(NIL "=?utf-8?q?=C3=A9?="' + b" NIL" * 8 + b")"),
        (b'Subject: "a\\b"\n', b'(NIL "\\"a\\\\b\\""' + b" NIL" * 8 + b")"),
        (b"Subject: \xc3\xa9\n", b"(NIL {2}\r\n\xc3\xa9" + b" NIL" * 8 + b")"),
        (b"Subject: a\0\n", b"(NIL {2}\r\na\x80" + b" NIL" * 8 + b")"),
        (b"Subject: a\rb\n", b"(NIL {3}\r\na\rb" + b" NIL" * 8 + b")"),
        (b"Subject: a\nSubject: b\n", b'(NIL "a"' + b" NIL" * 8 + b")"),
        (b"Subject: " + b"a" * 1001, b"(NIL {1001}\r\n" + b"a" * 1001 + b" NIL" * 8 + b")"),
    ],
)
def test_strings(header: bytes, expected: bytes) -> None:
    assert envelope(header) == expected


def test_sender_and_reply_to_default_to_from() -> None:
    a, b, c = (b'((NIL NIL "%b" "x"))' % name for name in (b"a", b"b", b"c"))
    none = b" NIL NIL NIL NIL NIL)"
    assert envelope(b"From: a@x\n") == b"(NIL NIL %b %b %b" % (a, a, a) + none
    assert envelope(b"From: a@x\nSender:\nReply-To: ,\n") == b"(NIL NIL %b %b %b" % (a, a, a) + none
    assert envelope(b"From: a@x\nSender: b@x\nReply-To: c@x\n") == (
        b"(NIL NIL %b %b %b" % (a, b, c) + none
    )
    assert envelope(b"From: a@x\nSender: b@x, c@x\n") == (
        b'(NIL NIL %b ((NIL NIL "b" "x")(NIL NIL "c" "x")) %b' % (a, a) + none
    )


def test_repeated_address_fields_are_joined() -> None:
    assert envelope(b"To: a@x\nCc: c@x\nTo:\nTo: b@x\n") == (
        b'(NIL NIL NIL NIL NIL ((NIL NIL "a" "x")(NIL NIL "b" "x"))'
        b' ((NIL NIL "c" "x")) NIL NIL NIL)'
    )


def plain(mailbox: bytes, host: bytes = b"x", name: bytes | None = None) -> Address:
    return Address(name, None, mailbox, host)


def group(name: bytes) -> Address:
    return Address(None, None, name, None)


END = Address(None, None, None, None)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", []),
        (b" ,, ", []),
        (b"a@x", [plain(b"a")]),
        (b"a@x, b@x", [plain(b"a"), plain(b"b")]),
        (b"<a@x>", [plain(b"a")]),
        (b"A  B <a@x>", [plain(b"a", name=b"A B")]),
        (b'"A  B" <a@x>', [plain(b"a", name=b"A  B")]),
        (b'"" <a@x>', [plain(b"a")]),
        (b'"A \\"B\\" \\\\" <a@x>', [plain(b"a", name=b'A "B" \\')]),
        (b'"A, B" <a@x>, c@x', [plain(b"a", name=b"A, B"), plain(b"c")]),
        (b'A "B" C <a@x>', [plain(b"a", name=b"A B C")]),
        (b"John Q. Public <a@x>", [plain(b"a", name=b"John Q. Public")]),
        (b"=?utf-8?q?A?= <a@x>", [plain(b"a", name=b"=?utf-8?q?A?=")]),
        (b"\xc3\xa9 <\xc3\xa9@\xc3\xa9>", [plain(b"\xc3\xa9", b"\xc3\xa9", b"\xc3\xa9")]),
        (b'"A B"@x', [plain(b"A B")]),
        (b'"A\\"B"@x', [plain(b'A"B')]),
        (b"a . b @ x . y", [plain(b"a.b", b"x.y")]),
        (b"a@[192.0.2.1]", [plain(b"a", b"[192.0.2.1]")]),
        # comments
        (b"a@x (A B)", [plain(b"a", name=b"A B")]),
        (b"(c) a@x (A (B) \\))", [plain(b"a", name=b"A (B) )")]),
        (b"A (c) <a@x> (d)", [plain(b"a", name=b"A")]),
        (b"a(c)@x", [plain(b"a", name=b"c")]),
        (b"a@x (don't \"quote)", [plain(b"a", name=b"don't \"quote")]),
        # groups, RFC 5322 3.4 and A.1.3
        (
            b"A Group:Ed <a@x>,b@x;, c@x",
            [group(b"A Group"), plain(b"a", name=b"Ed"), plain(b"b"), END, plain(b"c")],
        ),
        (b"Undisclosed recipients:;", [group(b"Undisclosed recipients"), END]),
        (b'"g:h": a@x', [group(b"g:h"), plain(b"a"), END]),
        # routes, RFC 5322 4.4
        (b"<@r,@s:a@x>", [Address(None, b"@r,@s", b"a", b"x")]),
        (b"A <@r:a@x>", [Address(b"A", b"@r", b"a", b"x")]),
        # broken
        (b"a", [plain(b"a", b"")]),
        (b"<a>", [plain(b"a", b"")]),
        (b"A <>", [plain(b"", b"", b"A")]),
        (b"@x", [plain(b"")]),
        (b"John Smith", [plain(b"", b"", b"John Smith")]),
        (b"John Smith a@x", [plain(b"a", name=b"John Smith")]),
        (b"a@x; b@x", [plain(b"a"), plain(b"b")]),
        (b"A <a@x, B <b@x>", [plain(b"a", name=b"A"), plain(b"b", name=b"B")]),
        (b"a@b@x", [plain(b"a@b")]),
        (b"<a@x> A", [plain(b"a")]),
        (b'"a@x', [plain(b"a@x", b"")]),
        (b"a@x (c", [plain(b"a", name=b"c")]),
        (b"a@x)", [plain(b"a")]),
        (b"a@[x", [plain(b"a", b"[x")]),
        (b'a@x, "', [plain(b"a"), plain(b"", b"")]),
        (b"mailto:a@x", [group(b"mailto"), plain(b"a"), END]),
        (b"a@x:25", [plain(b"a", b"x:25")]),
    ],
)
def test_addresses(raw: bytes, expected: list[Address]) -> None:
    assert addresses(raw) == expected
    folded = raw.replace(b" ", b"\r\n ")
    assert [a._replace(name=None) for a in addresses(folded)] == [
        a._replace(name=None) for a in expected
    ]


def test_number_of_addresses_is_bounded_and_groups_stay_closed() -> None:
    assert len(addresses(b"a@x," * 5000)) == 5000
    assert len(addresses(b"a@x," * 5000, MAX_ADDRESSES)) == MAX_ADDRESSES
    cut = addresses(b"g:" + b"a@x," * 5000, MAX_ADDRESSES)
    assert len(cut) == MAX_ADDRESSES + 1
    assert cut[-1] == END
    assert envelope(b"To: " + b"a@x," * 5000).count(b'(NIL NIL "a" "x")') == MAX_ADDRESSES


def test_a_cut_list_has_no_half_addresses() -> None:
    made = envelope(b"To: " + b"a%b@example.org," % (b"b" * 100) * 5000)
    assert set(made[len(b"(NIL NIL NIL NIL NIL ((") :].split(b"))")[0].split(b")(")) == {
        b'NIL NIL "a%b" "example.org"' % (b"b" * 100)
    }
