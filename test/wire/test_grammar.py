"""Random sentences of the grammar parse, each to what it was made from, in every spelling.

The strategies are written from RFC 9051 9, not from the parsers: each draws octets together with
the value that they mean.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pymap.wire import commands as c
from pymap.wire import search as k
from pymap.wire.types import Flag, FlagOp, Section, SectionText, SequenceSet

from .feed import NOT_AUTHENTICATED, SELECTED, command

ASTRING_CHARS = "".join(chr(n) for n in range(0x21, 0x7F) if chr(n) not in '(){%*"\\')
ATOM_CHARS = ASTRING_CHARS.replace("]", "")
TAG_CHARS = ASTRING_CHARS.replace("+", "")
FLAG_NAMES = ("\\Seen", "\\answered", "\\DRAFT", "\\Deleted", "$Junk", "a.b", "x}")


def of(letters: str, most: int = 12) -> st.SearchStrategy[str]:
    return st.text(letters, min_size=1, max_size=most)


tags = of(TAG_CHARS)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


@st.composite
def cased(draw: st.DrawFn, word: str) -> bytes:
    """A word of the grammar in any case.   RFC 9051 9, note 1"""
    upper = draw(st.lists(st.booleans(), min_size=len(word), max_size=len(word)))
    return "".join(a.upper() if b else a.lower() for a, b in zip(word, upper, strict=True)).encode()


@st.composite
def spelled(draw: st.DrawFn, text: str) -> bytes:
    """astring = 1*ASTRING-CHAR / quoted / literal, as far as they can hold `text`."""
    raw = text.encode()
    forms = [b"{%d}\r\n%b" % (len(raw), raw), b"{%d+}\r\n%b" % (len(raw), raw)]
    if not set(text) & set("\r\n"):
        forms.append(b'"%b"' % raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"'))
    if text and set(text) <= set(ASTRING_CHARS):
        forms.append(raw)
    return draw(st.sampled_from(forms))


@st.composite
def astrings(draw: st.DrawFn, of: st.SearchStrategy[str] = texts) -> tuple[bytes, str]:
    text = draw(of)
    return draw(spelled(text)), text


mailboxes = astrings(of('abcXYZ019 ./-_#~%*()"\\{}').filter(lambda name: name.upper() != "INBOX"))


@st.composite
def sets(draw: st.DrawFn) -> tuple[bytes, SequenceSet]:
    if draw(st.integers(0, 9)) == 0:
        return b"$", SequenceSet((), saved=True)
    number = st.integers(0, 9) | st.just(4294967295)
    parts, ranges = [], []
    for a, b in draw(st.lists(st.tuples(number, number), min_size=1, max_size=5)):
        if a == b and draw(st.booleans()):
            parts.append(f"{a or '*'}")
        else:
            parts.append(f"{a or '*'}:{b or '*'}")
        ranges.append((a, b))
    return ",".join(parts).encode(), SequenceSet(tuple(ranges))


@st.composite
def sections(draw: st.DrawFn, binary: bool) -> tuple[bytes, Section]:
    path = tuple(draw(st.lists(st.integers(1, 99), max_size=3)))
    words = [".".join(map(str, path)).encode()] if path else []
    kinds = [None, *SectionText] if path else [None, *(t for t in SectionText if t.value != "MIME")]
    text = None if binary else draw(st.sampled_from(kinds))
    fields: tuple[str, ...] = ()
    if text is not None:
        words.append(draw(cased(text.value)))
        if text.value.startswith("HEADER.FIELDS"):
            names = draw(st.lists(astrings(of(ATOM_CHARS)), min_size=1, max_size=3))
            fields = tuple(name for _, name in names)
            words[-1] += b" (%b)" % b" ".join(raw for raw, _ in names)
    return b"[%b]" % b".".join(words), Section(path, text, fields)


A = c.FetchAttribute
PLAIN = [a for a in A if not a.value.endswith("[]")]


@st.composite
def fetch_items(draw: st.DrawFn) -> tuple[bytes, c.FetchItem]:
    kind = draw(
        st.sampled_from(["plain", "BODY", "BODY.PEEK", "BINARY", "BINARY.PEEK", "BINARY.SIZE"])
    )
    if kind == "plain":
        attribute = draw(st.sampled_from(PLAIN))
        sets_seen = attribute in (A.RFC822, A.RFC822_TEXT)
        return draw(cased(attribute.value)), c.FetchItem(attribute, peek=not sets_seen)
    raw, section = draw(sections(binary=kind.startswith("BINARY")))
    octets, partial = draw(cased(kind)) + raw, None
    if kind == "BINARY.SIZE":
        return octets, c.FetchItem(A.BINARY_SIZE, section)
    if draw(st.booleans()):
        partial = draw(st.tuples(st.integers(0, (1 << 63) - 1), st.integers(1, (1 << 63) - 1)))
        octets += b"<%d.%d>" % partial
    attribute = A.SECTION if kind.startswith("BODY") else A.BINARY
    return octets, c.FetchItem(attribute, section, partial, peek=kind.endswith(".PEEK"))


def joined(rows: list[tuple[bytes, object]]) -> bytes:
    return b" ".join(raw for raw, _ in rows)


@st.composite
def fetches(draw: st.DrawFn, tag: str) -> tuple[bytes, c.Command]:
    by_uid = draw(st.booleans())
    raw, numbers = draw(sets())
    items = draw(st.lists(fetch_items(), min_size=1, max_size=4))
    octets = b"%b%b %b " % (draw(cased("UID ")) if by_uid else b"", draw(cased("FETCH")), raw)
    octets += joined(items) if len(items) == 1 and draw(st.booleans()) else b"(%b)" % joined(items)
    since, vanished = draw(st.none() | st.integers(1, (1 << 63) - 1)), False
    if since is not None:
        vanished = by_uid and draw(st.booleans())
        octets += b" (%b %d%b)" % (draw(cased("CHANGEDSINCE")), since, b" vanished" * vanished)
    distinct = tuple(dict.fromkeys(item for _, item in items))
    return octets, c.Fetch(tag, numbers, by_uid, distinct, since, vanished)


@st.composite
def stores(draw: st.DrawFn, tag: str) -> tuple[bytes, c.Command]:
    by_uid, silent = draw(st.booleans()), draw(st.booleans())
    raw, numbers = draw(sets())
    op = draw(st.sampled_from(FlagOp))
    names = draw(st.lists(st.sampled_from(FLAG_NAMES), max_size=4))
    octets = b"%bSTORE %b " % (b"uid " * by_uid, raw)
    unchanged = draw(st.none() | st.integers(0, (1 << 63) - 1))
    if unchanged is not None:
        octets += b"(%b %d) " % (draw(cased("UNCHANGEDSINCE")), unchanged)
    octets += op.value.encode() + draw(cased("FLAGS.SILENT" if silent else "FLAGS")) + b" "
    listed = " ".join(names).encode()
    octets += listed if names and draw(st.booleans()) else b"(%b)" % listed
    flags = frozenset(map(Flag, names))
    return octets, c.Store(tag, numbers, by_uid, op, flags, silent, unchanged)


FLAG_KEYS = {
    word: Flag("\\" + word) for word in ("Answered", "Deleted", "Draft", "Flagged", "Seen")
}
HEADER_KEYS = ("FROM", "TO", "CC", "BCC", "SUBJECT")


@st.composite
def simple_keys(draw: st.DrawFn) -> tuple[bytes, k.SearchKey]:
    kind = draw(
        st.sampled_from(["flag", "unflag", "header", "text", "set", "uid", "size", "keyword"])
    )
    if kind in ("flag", "unflag"):
        word, flag = draw(st.sampled_from(sorted(FLAG_KEYS.items(), key=str)))
        has = k.HasFlag(flag)
        return (
            (draw(cased(word)), has) if kind == "flag" else (draw(cased("UN" + word)), k.Not(has))
        )
    if kind == "header":
        word = draw(st.sampled_from(HEADER_KEYS))
        raw, text = draw(astrings())
        return draw(cased(word)) + b" " + raw, k.Header(word, text)
    if kind == "text":
        raw, text = draw(astrings())
        return (
            (b"TEXT " + raw, k.Text(text))
            if draw(st.booleans())
            else (b"body " + raw, k.InBody(text))
        )
    if kind in ("set", "uid"):
        raw, numbers = draw(sets())
        return b"UID " * (kind == "uid") + raw, k.Numbers(numbers, by_uid=kind == "uid")
    if kind == "size":
        size, larger = draw(st.integers(0, (1 << 63) - 1)), draw(st.booleans())
        return b"%b %d" % (draw(cased("LARGER" if larger else "SMALLER")), size), k.Size(
            size, larger
        )
    name = draw(of(ATOM_CHARS))
    return b"KEYWORD " + name.encode(), k.HasFlag(Flag(name))


Keys = st.SearchStrategy[tuple[bytes, k.SearchKey]]


def deeper(inner: Keys) -> Keys:
    several = st.lists(inner, min_size=2, max_size=3)
    return (
        st.builds(lambda a: (b"NOT " + a[0], k.Not(a[1])), inner)
        | st.builds(lambda a, b: (b"or %b %b" % (a[0], b[0]), k.Or(a[1], b[1])), inner, inner)
        | st.builds(lambda a: (b"(%b)" % a[0], a[1]), inner)
        | st.builds(lambda a: (b"(%b)" % joined(a), k.And(tuple(key for _, key in a))), several)
    )


keys = st.recursive(simple_keys(), deeper, max_leaves=8)


@st.composite
def searches(draw: st.DrawFn, tag: str) -> tuple[bytes, c.Command]:
    by_uid, charset = draw(st.booleans()), draw(st.booleans())
    program = draw(st.lists(keys, min_size=1, max_size=3))
    octets, returns = b"%b%b" % (b"UID " * by_uid, draw(cased("SEARCH"))), None
    if draw(st.booleans()):
        plain = [o for o in k.SearchReturn if o.value not in ("PARTIAL", "RELEVANCY")]
        options = draw(st.lists(st.sampled_from(plain)))
        words = [draw(cased(option.value)) for option in options]
        partial = None
        if k.SearchReturn.ALL not in options and draw(st.booleans()):
            number = st.integers(1, 0xFFFFFFFF)
            partial = k.Partial(draw(number), draw(number), draw(st.booleans()))
            words.append(draw(cased("PARTIAL")) + f" {partial}".encode())
            options.append(k.SearchReturn.PARTIAL)
        octets += b" %b (%b)" % (draw(cased("RETURN")), b" ".join(words))
        returns = k.Returns(frozenset(options or [k.SearchReturn.ALL]), partial)
    if charset:
        octets += b" CHARSET " + draw(spelled("UTF-8"))
    meant = [key for _, key in program]
    key = meant[0] if len(meant) == 1 else k.And(tuple(meant))
    octets += b" " + joined(program)
    return octets, c.Search(tag, by_uid, key, returns, False, charset)


@st.composite
def mailbox_commands(draw: st.DrawFn, tag: str) -> tuple[bytes, c.Command]:
    raw, name = draw(mailboxes)
    other_raw, other = draw(mailboxes)
    set_raw, numbers = draw(sets())
    items = draw(st.lists(st.sampled_from(c.StatusItem), min_size=1, max_size=5))
    status = b" ".join(item.value.encode() for item in items)
    return draw(
        st.sampled_from(
            [
                (b"SELECT " + raw, c.Select(tag, name, supplied=name)),
                (b"EXAMINE " + raw, c.Select(tag, name, True, supplied=name)),
                (b"CREATE " + raw, c.Create(tag, name, (), name)),
                (b"DELETE " + raw, c.Delete(tag, name)),
                (b"RENAME %b %b" % (raw, other_raw), c.Rename(tag, name, other)),
                (b"SUBSCRIBE " + raw, c.Subscribe(tag, name)),
                (b"LSUB %b %b" % (raw, other_raw), c.Lsub(tag, name, other)),
                (b"LIST %b %b" % (raw, other_raw), c.List(tag, name, (other,))),
                (b"COPY %b %b" % (set_raw, raw), c.Copy(tag, numbers, False, name)),
                (b"UID MOVE %b %b" % (set_raw, raw), c.Move(tag, numbers, True, name)),
                (
                    b"STATUS %b (%b)" % (raw, status),
                    c.Status(tag, name, tuple(dict.fromkeys(items))),
                ),
            ]
        )
    )


@st.composite
def logins(draw: st.DrawFn, tag: str) -> tuple[bytes, c.Command]:
    (raw, user), (secret_raw, secret) = draw(astrings()), draw(astrings())
    return b"%b %b %b" % (draw(cased("LOGIN")), raw, secret_raw), c.Login(tag, user, secret)


@st.composite
def appends(draw: st.DrawFn, tag: str) -> tuple[bytes, c.Command]:
    raw, name = draw(mailboxes)
    octets, messages = b"APPEND " + raw, []
    for content in draw(st.lists(st.binary(max_size=20), min_size=1, max_size=3)):
        flags = draw(st.none() | st.lists(st.sampled_from(FLAG_NAMES), max_size=3))
        if flags is not None:
            octets += b" (%b)" % " ".join(flags).encode()
        tilde = b"~" if b"\0" in content or draw(st.booleans()) else b""
        plus = b"+" if draw(st.booleans()) else b""
        octets += b" %b{%d%b}\r\n%b" % (tilde, len(content), plus, content)
        messages.append(c.Message(content, frozenset(map(Flag, flags or ()))))
    return octets, c.Append(tag, name, tuple(messages))


@given(st.data(), tags, st.sampled_from([fetches, stores, searches, mailbox_commands, appends]))
@settings(max_examples=300, deadline=None)
def test_a_sentence_of_the_grammar_means_what_it_says(data, tag, kind) -> None:
    octets, value = data.draw(kind(tag))
    end = data.draw(st.sampled_from([b"\r\n", b"\n", b" \r\n"]))
    # "&" is only a character for those who have said UTF8.
    assert command(b"%b %b%b" % (tag.encode(), octets, end), SELECTED, utf8=True) == value


@given(st.data(), tags)
@settings(max_examples=100, deadline=None)
def test_a_login_means_what_it_says(data, tag) -> None:
    octets, value = data.draw(logins(tag))
    assert command(b"%b %b\r\n" % (tag.encode(), octets), NOT_AUTHENTICATED) == value
