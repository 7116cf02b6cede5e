"""SEARCH, ESEARCH, SORT and THREAD: return options, charset, and the program of search keys."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from encodings.aliases import aliases

from pymap.limits import Limits
from pymap.wire import search as k
from pymap.wire.commands import FetchItem, Search, Sort, Thread
from pymap.wire.errors import BadCommand, Refused
from pymap.wire.framer import Frame
from pymap.wire.gmail_query import query
from pymap.wire.labels import label
from pymap.wire.parse_fetch import fetch_items, partial_range
from pymap.wire.scanner import Scanner
from pymap.wire.types import ANSWERED, DELETED, DRAFT, FLAGGED, MAX_NUMBER, SEEN, Flag, SequenceSet

__all__ = ["CHARSETS", "FILTER_NAME", "criteria", "search", "sort", "thread"]

CHARSETS = ("US-ASCII", "UTF-8")
"""What BADCHARSET names; any text encoding that Python knows is taken."""

FILTER_NAME = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\\]/]+")
"""filter-name = 1*<any ATOM-CHAR except "/">   RFC 5466 4"""
_LITERAL = re.compile(rb"~?\{(\d{1,10})\+?\}\r?\n")

_KNOWN = {*aliases, *aliases.values(), "koi8_r", "koi8_u", "koi8_t"} - {"mbcs", "oem"}
_NOT_CHARSETS = ("idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined")


@dataclass(slots=True)
class _Program:
    """What is counted and remembered while one SEARCH is read."""

    limits: Limits
    charset: str = "utf-8"
    keys: int = 0
    uses_modseq: bool = False
    is_fuzzy: bool = False

    def enter(self, depth: int) -> None:
        """A key begins."""
        self.keys += 1
        if self.keys > self.limits.search_keys:
            raise Refused("LIMIT", "Too many search keys")
        if depth > self.limits.search_depth:
            raise Refused("LIMIT", "Search keys nested too deeply")


def search(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> Search:
    """search = "SEARCH" [SP "RETURN" SP "(" [options] ")"] SP search-program
    search-program = ["CHARSET" SP charset SP] search-key *(SP search-key)

    RFC 9051 9, RFC 4466 2.6
    """
    s.sp()
    program = _Program(limits)
    returns, names_charset = None, False
    if _next_is(s, b"RETURN "):
        returns = _returns(s, limits)
        s.sp()
    with _refusals(returns):
        if _next_is(s, b"CHARSET "):
            names_charset = True
            _set_charset(s, program)
        key = _keys(s, program)
    _check_relevancy(program, returns)
    return Search(tag, by_uid, key, returns, program.uses_modseq, names_charset)


def sort(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> Sort:
    """sort = ["UID" SP] "SORT" [SP "RETURN" SP "(" [options] ")"] SP sort-criteria
    SP search-criteria; search-criteria = charset 1*(SP search-key)

    RFC 5256 5, RFC 5267 5
    """
    s.sp()
    program = _Program(limits)
    returns = None
    if _next_is(s, b"RETURN "):
        returns = _returns(s, limits)
        s.sp()
    with _refusals(returns):
        criteria = _criteria(s, limits)
        s.sp()
        _set_charset(s, program)
        key = _keys(s, program)
    _check_relevancy(program, returns, criteria)
    return Sort(tag, by_uid, criteria, key, returns, program.uses_modseq)


def thread(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> Thread:
    """thread = ["UID" SP] "THREAD" SP thread-alg SP search-criteria   RFC 5256 5"""
    s.sp()
    program = _Program(limits)
    algorithm = s.keyword()
    if algorithm not in k.THREAD_ALGORITHMS:
        raise BadCommand("Unknown threading algorithm")
    s.sp()
    _set_charset(s, program)
    key = _keys(s, program)
    return Thread(tag, by_uid, algorithm, key, program.uses_modseq)


def criteria(octets: bytes, limits: Limits) -> tuple[k.SearchKey, bool]:
    """search-criteria = search-key *(SP search-key), in UTF-8, as a filter holds it: the key, and
    whether MODSEQ is in it. Raises BadCommand, Refused.   RFC 5466 3.1, 4"""
    text, literals, at = b"", [], 0
    while found := _LITERAL.search(octets, at):
        text += octets[at : found.end()]
        at = found.end() + int(found[1])
        if at > len(octets):
            raise BadCommand("A literal is cut off")
        literals.append(octets[found.end() : at])
    s = Scanner(Frame(text + octets[at:] + b"\r\n", literals), utf8=True)
    program = _Program(limits)
    key = _keys(s, program)
    s.end()
    return key, program.uses_modseq


def _check_relevancy(
    program: _Program, returns: k.Returns | None, criteria: tuple[k.Criterion, ...] = ()
) -> None:
    """RELEVANCY "MUST NOT be used unless a FUZZY search key is also given".   RFC 6203 4, 6"""
    asked = returns is not None and k.SearchReturn.RELEVANCY in returns
    if not program.is_fuzzy and (
        asked or any(criterion.key is k.SortKey.RELEVANCY for criterion in criteria)
    ):
        raise BadCommand("RELEVANCY needs a FUZZY search key")


@contextmanager
def _refusals(returns: k.Returns | None) -> Iterator[None]:
    """A program that gets a NO, and was to be saved, leaves nothing saved.   RFC 5182 2.1"""
    try:
        yield
    except Refused as refused:
        refused.empties_result = returns is not None and k.SearchReturn.SAVE in returns
        raise


def _set_charset(s: Scanner, program: _Program) -> None:
    program.charset = _charset(s)
    s.sp()


def _keys(s: Scanner, program: _Program) -> k.SearchKey:
    keys = [_key(s, program, 0)]
    while s.at(b" ") and not s.at_end:
        s.sp()
        keys.append(_key(s, program, 0))
    return keys[0] if len(keys) == 1 else k.And(tuple(keys))


def _criteria(s: Scanner, limits: Limits) -> tuple[k.Criterion, ...]:
    """sort-criteria = "(" sort-criterion *(SP sort-criterion) ")"
    sort-criterion = ["REVERSE" SP] sort-key"""
    s.expect(b"(")
    found: list[k.Criterion] = []
    while True:
        word = s.keyword()
        if reverse := word == "REVERSE":
            s.sp()
            word = s.keyword()
        try:
            found.append(k.Criterion(k.SortKey(word), reverse))
        except ValueError:
            raise BadCommand("Unknown sort key") from None
        if len(found) > limits.search_keys:
            raise Refused("LIMIT", "Too many sort keys")
        if s.accept(b")"):
            return tuple(found)
        s.sp()


def _next_is(s: Scanner, word: bytes) -> bool:
    """Step over a word of the grammar, in any case."""
    if s.text[s.pos : s.pos + len(word)].upper() != word:
        return False
    s.pos += len(word)
    return True


def _returns(s: Scanner, limits: Limits) -> k.Returns:
    """RETURN () is RETURN (ALL).   RFC 4731 3.1; PARTIAL RFC 9394 3.1

    modifier-update = "UPDATE" ["(" fetch-att *(SP fetch-att) ")"], in RFC 5465 8 so, and with a
    space in between in its section 7.
    """
    s.expect(b"(")
    found: set[k.SearchReturn] = set()
    ranges: list[k.Partial] = []
    fetch: tuple[FetchItem, ...] = ()
    while not s.accept(b")"):
        if found:
            s.sp()
        try:
            option = k.SearchReturn(s.keyword())
        except ValueError:
            raise BadCommand("Unknown search return option") from None
        if option is k.SearchReturn.PARTIAL:
            s.sp()
            ranges.append(partial_range(s))
        if option is k.SearchReturn.UPDATE and (s.at(b"(") or s.at(b" (")):
            s.accept(b" ")
            fetch = fetch_items(s, limits)
        found.add(option)
    # "Either one PARTIAL, one ALL, or neither".   RFC 9394 3.1
    if ranges and (len(ranges) > 1 or k.SearchReturn.ALL in found):
        raise BadCommand("One PARTIAL, and no ALL beside it")
    partial = ranges[0] if ranges else None
    return k.Returns(frozenset(found or {k.SearchReturn.ALL}), partial, fetch)


def _charset(s: Scanner) -> str:
    name = s.astring().decode("ascii", "replace").lower().replace("-", "_")
    # The registry of codecs remembers every name that it was ever asked for, so it is asked for
    # known ones only.
    info = codecs.lookup(name) if name in _KNOWN else None
    # Not every codec is a charset: there is rot13, and what takes quadratic time.
    if info is None or info.name in _NOT_CHARSETS or not getattr(info, "_is_text_encoding", True):
        raise Refused(f"BADCHARSET ({' '.join(CHARSETS)})", "Unknown charset")
    return info.name


def _text(s: Scanner, program: _Program) -> str:
    """An astring in the program's charset. Without CHARSET it may be UTF-8: clients after
    UTF8=ACCEPT send it so (RFC 6855 3), and others mean it."""
    raw = s.astring()
    try:
        return raw.decode(program.charset)
    except (UnicodeError, ValueError) as error:
        raise BadCommand("Text is not in the charset of the search") from error


def _key(s: Scanner, program: _Program, depth: int) -> k.SearchKey:
    """search-key; nesting and number of keys are bounded, RFC 9051 does not say by what."""
    program.enter(depth)
    if s.accept(b"("):
        keys = [_key(s, program, depth + 1)]
        while s.accept(b" "):
            keys.append(_key(s, program, depth + 1))
        s.expect(b")")
        return keys[0] if len(keys) == 1 else k.And(tuple(keys))
    if s.text[s.pos : s.pos + 1] in _NUMBERS:
        return k.Numbers(s.sequence_set(), by_uid=False)
    name = s.keyword()
    if (constant := _CONSTANTS.get(name)) is not None:
        return constant
    if (parser := _PARSERS.get(name)) is None:
        raise BadCommand("Unknown search key")
    s.sp()
    return parser(s, program, depth + 1)


_NUMBERS = (b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8", b"9", b"*", b"$")

_CONSTANTS: dict[str, k.SearchKey] = {
    "ALL": k.All(),
    "ANSWERED": k.HasFlag(ANSWERED),
    "DELETED": k.HasFlag(DELETED),
    "DRAFT": k.HasFlag(DRAFT),
    "FLAGGED": k.HasFlag(FLAGGED),
    "SEEN": k.HasFlag(SEEN),
    "UNANSWERED": k.Not(k.HasFlag(ANSWERED)),
    "UNDELETED": k.Not(k.HasFlag(DELETED)),
    "UNDRAFT": k.Not(k.HasFlag(DRAFT)),
    "UNFLAGGED": k.Not(k.HasFlag(FLAGGED)),
    "UNSEEN": k.Not(k.HasFlag(SEEN)),
    "RECENT": k.Recent(),
    "OLD": k.Not(k.Recent()),
    "NEW": k.And((k.Recent(), k.Not(k.HasFlag(SEEN)))),
    "SAVEDATESUPPORTED": k.All(saved_dates=True),
}

KeyParser = Callable[[Scanner, _Program, int], k.SearchKey]


def _header_key(name: str) -> KeyParser:
    return lambda s, program, depth: k.Header(name, _text(s, program))


def _date_key(key: k.DateKey, compare: k.Compare) -> KeyParser:
    return lambda s, program, depth: k.Date(key, compare, s.date())


def _keyword(s: Scanner, program: _Program, depth: int) -> k.SearchKey:
    return k.HasFlag(Flag.of(s.atom()))


def _header(s: Scanner, program: _Program, depth: int) -> k.SearchKey:
    name = s.astring().decode("utf-8", "replace")
    s.sp()
    return k.Header(name, _text(s, program))


def _fuzzy(s: Scanner, program: _Program, depth: int) -> k.SearchKey:
    """search-key =/ "FUZZY" SP search-key   RFC 6203 7"""
    program.is_fuzzy = True
    return k.Fuzzy(_key(s, program, depth))


def _or(s: Scanner, program: _Program, depth: int) -> k.SearchKey:
    left = _key(s, program, depth)
    s.sp()
    return k.Or(left, _key(s, program, depth))


def _modseq(s: Scanner, program: _Program, depth: int) -> k.SearchKey:
    """ "MODSEQ" [SP entry-name SP entry-type-req] SP mod-sequence-valzer   RFC 7162 3.1.5

    The modseqs of this server are of whole messages, so the entry makes no difference.
    """
    program.uses_modseq = True
    if s.at(b'"'):
        s.string()
        s.sp()
        if s.keyword() not in ("PRIV", "SHARED", "ALL"):
            raise BadCommand("Unknown entry type")
        s.sp()
    return k.ModSeq(s.number64())


def _filter(s: Scanner, program: _Program, depth: int) -> k.SearchKey:
    """ "FILTER" SP filter-name, which implies UTF-8.   RFC 5466 3.1, 4"""
    if program.charset not in ("ascii", "utf-8"):
        raise BadCommand("A filter is in UTF-8", f"BADCHARSET ({' '.join(CHARSETS)})")
    program.is_fuzzy = True  # for all that is known here
    return k.Filter(s.match(FILTER_NAME, "the name of a filter")[0].decode("ascii"))


def _uids(first: int, last: int) -> k.SearchKey:
    """RFC 9738 3.2"""
    return k.Numbers(SequenceSet(((first, last),) if first <= last else ()), by_uid=True)


_MAX_GMAIL_ID = (1 << 64) - 1

_PARSERS: dict[str, KeyParser] = {
    "KEYWORD": _keyword,
    "UNKEYWORD": lambda s, program, depth: k.Not(_keyword(s, program, depth)),
    "NOT": lambda s, program, depth: k.Not(_key(s, program, depth)),
    "OR": _or,
    "FUZZY": _fuzzy,
    "UID": lambda s, program, depth: k.Numbers(s.sequence_set(), by_uid=True),
    "FILTER": _filter,
    "UIDAFTER": lambda s, program, depth: _uids(s.number() + 1, MAX_NUMBER),
    "UIDBEFORE": lambda s, program, depth: _uids(1, s.nz_number() - 1),
    "LARGER": lambda s, program, depth: k.Size(s.number64(), larger=True),
    "SMALLER": lambda s, program, depth: k.Size(s.number64(), larger=False),
    "OLDER": lambda s, program, depth: k.Within(s.nz_number(), older=True),
    "YOUNGER": lambda s, program, depth: k.Within(s.nz_number(), older=False),
    "MODSEQ": _modseq,
    "EMAILID": lambda s, program, depth: k.EmailId(s.atom()),
    "THREADID": lambda s, program, depth: k.ThreadId(s.atom()),
    "X-GM-MSGID": lambda s, program, depth: k.Gmail(k.GmailMessageId(s.number(_MAX_GMAIL_ID))),
    "X-GM-THRID": lambda s, program, depth: k.Gmail(k.GmailThreadId(s.number(_MAX_GMAIL_ID))),
    "X-GM-LABELS": lambda s, program, depth: k.Gmail(k.HasFlag(label(s, program.limits))),
    "X-GM-RAW": lambda s, program, depth: k.Gmail(query(_text(s, program), program.enter, depth)),
    "BODY": lambda s, program, depth: k.InBody(_text(s, program)),
    "TEXT": lambda s, program, depth: k.Text(_text(s, program)),
    "HEADER": _header,
    **{name: _header_key(name) for name in ("FROM", "TO", "CC", "BCC", "SUBJECT")},
    **{
        prefix + compare.value: _date_key(key, compare)
        for prefix, key in (
            ("", k.DateKey.INTERNAL),
            ("SENT", k.DateKey.SENT),
            ("SAVED", k.DateKey.SAVED),
        )
        for compare in k.Compare
    },
}
