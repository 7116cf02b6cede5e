"""Message ids as REFERENCES compares them: RFC 5256 3, RFC 5322 3.6.4 and 4.5.4."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymap.mime.msgid import MAX_REFERENCES, message_id, message_ids, references

N = 200_000


@pytest.mark.parametrize(
    ("raw", "ids"),
    [
        (b"", []),
        (b"<a@b>", [b"a@b"]),
        (b" <a@b>\t", [b"a@b"]),
        (b"<a@b> <c@d>", [b"a@b", b"c@d"]),
        (b"<a@b><c@d>", [b"a@b", b"c@d"]),
        (b"<a@b>\r\n <c@d>\n\t<e@f>", [b"a@b", b"c@d", b"e@f"]),
        (b"<a@b>,<c@d>;\r\n <e@f>", [b"a@b", b"c@d", b"e@f"]),
        # The RFC's example: the same Message ID.
        (b'<"01KF8JCEOCBS0045PS"@xxx.yyy.com>', [b"01KF8JCEOCBS0045PS@xxx.yyy.com"]),
        (b"<01KF8JCEOCBS0045PS@xxx.yyy.com>", [b"01KF8JCEOCBS0045PS@xxx.yyy.com"]),
        # Quoting
        (rb'<"a\b\"c"@d>', [b'ab"c@d']),
        (b'<"a b"@c>', [b"a b@c"]),
        (b'<"a@b"@c>', [b"a@b@c"]),
        (b'<"a>b"@c>', [b"a>b@c"]),
        (b'<a."b".c@d>', [b"a.b.c@d"]),  # obs-id-left
        (b'<""@x>', [b"@x"]),
        (rb"<a\b@c>", [b"ab@c"]),
        (b"<a@[127.0.0.1]>", [b"a@[127.0.0.1]"]),
        (rb"<a@[1\27]>", [b"a@[127]"]),
        # White space and comments (CFWS)
        (b"< a . b @ c >", [b"a.b@c"]),
        (b"<a\r\n .b@c>", [b"a.b@c"]),
        (b"<a(one (two))@b>", [b"a@b"]),
        (b"(<x@y>) <a@b> (a <c@d> b)", [b"a@b"]),
        # Case counts.
        (b"<A@b> <a@b> <a@B>", [b"A@b", b"a@b", b"a@B"]),
        # Beyond the grammar
        ("<grün@b>".encode(), ["grün@b".encode()]),
        (b"<a..b.@c>", [b"a..b.@c"]),
        (b"<a@b@c>", [b"a@b@c"]),
        (b"<a:b;c,d=@e>", [b"a:b;c,d=@e"]),
        (b"<a[1]@b>", [b"a[1]@b"]),
        # Not valid
        (b"a@b", []),
        (b"<a>", []),
        (b"<>", []),
        (b"<@>", []),
        (b"<a@>", []),
        (b"<@b>", []),
        (b"<a@b", []),
        (b"a@b>", []),
        (b'<"a@b">', []),
        (b"<(a)@b>", []),
        (b"<a <b@c>", [b"b@c"]),
        (b"<a@b <c@d>", [b"c@d"]),
        (b"<a> <b@c> <@> <d@e>", [b"b@c", b"d@e"]),
        # Never closed
        (b'<a@b> "<c@d>', [b"a@b"]),
        (b"<a@b> (<c@d>", [b"a@b"]),
        (b"<a@b> <c@d\\", [b"a@b"]),
    ],
)
def test_ids(raw: bytes, ids: list[bytes]) -> None:
    assert message_ids(raw) == ids
    assert message_ids(raw, limit=1) == ids[:1]
    assert message_id(raw) == b"".join(ids[:1])


def test_no_field_has_no_id() -> None:
    assert message_id(None) == b""
    assert references(None, None) == []


@pytest.mark.parametrize(
    ("refs", "in_reply_to", "ids"),
    [
        (b"<a@x> <b@x>", b"<c@x>", [b"a@x", b"b@x"]),
        (b"<a@x> <b@x> <a@x>", None, [b"a@x", b"b@x", b"a@x"]),  # as it stands
        # Without References, or a valid id there: the first valid one of In-Reply-To.
        (None, b"<c@x> <d@x>", [b"c@x"]),
        (b"", b"<c@x>", [b"c@x"]),
        (b"<a> none", b"<c@x>", [b"c@x"]),
        (b"none", None, []),
        (None, b"none", []),
        (None, b"<c> <d@x>", [b"d@x"]),
        (None, b"<c@x> from fred@example.com", [b"c@x"]),
        (None, b'Your message of "Mon, 1 Jan <b@x>" <c@x>', [b"c@x"]),
        (None, b"<c@x> (Fred's message of Monday) <fred@example.com>", [b"c@x"]),
    ],
)
def test_references(refs: bytes | None, in_reply_to: bytes | None, ids: list[bytes]) -> None:
    assert references(refs, in_reply_to) == ids


def test_of_many_references_the_last_count() -> None:
    ids = [b"%d@x" % at for at in range(100_000)]
    found = references(b" ".join(b"<%b>" % id_ for id_ in ids), None)
    assert found == ids[-MAX_REFERENCES:]


@pytest.mark.parametrize(
    "unit",
    [b"<", b"<a", b"<a@", b'<"', b'"', rb"\"", rb"<\"", b"(", b"(a", b"[", rb"[\[", b"<a@b> (", b"@", b" ", b"\r\n "],
)  # fmt: skip
def test_time_is_linear(unit: bytes) -> None:
    assert message_ids(unit * N) in ([], [b"a@b"])


ATOMS = st.text("ab.", min_size=1).map(str.encode)


@given(ATOMS, ATOMS, st.data())
def test_quoting_makes_no_difference(left: bytes, right: bytes, data: st.DataObject) -> None:
    quoted = b"".join(
        b"\\%c" % octet if data.draw(st.booleans()) else b"%c" % octet for octet in left
    )
    assert message_ids(b'<"%b"@%b>' % (quoted, right)) == message_ids(b"<%b@%b>" % (left, right))


@given(st.text('<>@"\\()[] \r\nab.').map(str.encode))
def test_any_octets_will_do(raw: bytes) -> None:
    for id_ in message_ids(raw):
        assert b"@" in id_
