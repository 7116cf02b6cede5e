"""An expected line: a response with holes, and how it meets a real one.

Rule 1: what the RFCs leave open is left open here: flags, capabilities, SEARCH results and the
        items of FETCH and STATUS have no order; 1:3 is 1,2,3; quoted is literal; text is not read.
Rule 2: everything else must be there and nothing else may be.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from .response import STATUS_WORDS, Atom, Response, Scanner, Text, Value

Env: TypeAlias = Mapping[str, bytes]


class BadScript(Exception):
    """The transcript itself is wrong."""


# -- expressions: {name}, {name+1}, {#name}, {name[0:10]}, {name.header}, {name/below} --

EXPRESSION = re.compile(
    r"(?P<size>\#)?(?P<name>[a-z_][a-z0-9_.]*)"
    r"(?P<slice>\[(?P<start>\d*):(?P<stop>\d*)\])?(?P<add>[+-]\d+)?(?P<below>/.+)?"
)


def evaluate(expression: str, env: Env) -> bytes:
    m = EXPRESSION.fullmatch(expression)
    if m is None:
        raise BadScript(f"not understood: {{{expression}}}")
    name, _, part = m["name"].partition(".")
    if name not in env:
        raise BadScript(f"no value yet: {{{name}}}")
    value = env[name]
    if part:
        value = message_part(value, part)
    if m["slice"]:
        value = value[int(m["start"] or 0) : int(m["stop"]) if m["stop"] else None]
    if m["size"]:
        value = b"%d" % len(value)
    if m["add"]:
        value = b"%d" % (int(value) + int(m["add"]))
    if m["below"]:
        value += m["below"].encode()
    return value


def message_part(message: bytes, part: str) -> bytes:
    """The header ends with its empty line.   RFC 9051 6.4.5.1"""
    end = 2 if message.startswith(b"\r\n") else message.index(b"\r\n\r\n") + 4
    match part:
        case "header":
            return message[:end]
        case "text":
            return message[end:]
    raise BadScript(f"no such part: {part}")


# -- holes --


@dataclass(frozen=True, slots=True)
class Rest:
    """{...}: any further values."""


@dataclass(frozen=True, slots=True)
class Kind:
    """{any} {int} {str} {list}, perhaps captured {n:int} or bounded {n:int>old}."""

    kind: str
    name: str
    bound: str


@dataclass(frozen=True, slots=True)
class Exact:
    """{=Foo}: this value, and in this case."""

    value: bytes


@dataclass(frozen=True, slots=True)
class Either:
    """{OK|NO}"""

    patterns: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True)
class Ref:
    """{name}: a value seen or defined before."""

    expression: str


Pattern: TypeAlias = "Atom | Text | Rest | Kind | Exact | Either | Ref | tuple[Pattern, ...]"

KIND = re.compile(r"(?:([a-z_][a-z0-9_]*):)?(any|int|str|list)(?:>(.+))?")


class PatternScanner(Scanner):
    """The response grammar, with holes, and \\r \\n \\xHH inside quotes."""

    def value(self, closer: bytes) -> Value:
        if self.peek() == b"{":
            # Holes travel through the Scanner as values; patterns() gives the honest type.
            return self.hole()  # type: ignore[return-value]
        return Scanner.value(self, closer)

    def hole(self) -> Pattern:
        end = self.at + 1
        quoted = False
        while quoted or self.data[end : end + 1] != b"}":
            quoted ^= self.data[end : end + 1] == b'"'
            end += 1
            if end > len(self.data):
                raise BadScript(f"unclosed hole in {self.data!r}")
        text = self.data[self.at + 1 : end].decode()
        self.at = end + 1
        return parse_hole(text)

    def quoted(self) -> bytes:
        m = re.compile(rb'"((?:[^"\\]|\\.)*)"').match(self.data, self.at)
        if m is None:
            raise BadScript(f"unclosed quote in {self.data!r}")
        self.at = m.end()
        return unescape(m[1])


def parse_hole(text: str) -> Pattern:
    if text == "...":
        return Rest()
    if m := KIND.fullmatch(text):
        return Kind(m[2], m[1] or "", m[3] or "")
    if text.startswith("="):
        return Exact(text[1:].encode())
    if "|" in text:
        return Either(tuple(patterns(t)[0] for t in text.split("|")))
    return Ref(text)


ESCAPES = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0"}


def unescape(text: bytes) -> bytes:
    def one(m: re.Match[bytes]) -> bytes:
        if m[1]:
            return bytes.fromhex(m[1].decode())
        return ESCAPES.get(m[2], m[2])

    return re.sub(rb"\\(?:x([0-9A-Fa-f]{2})|(.))", one, text)


def patterns(text: str) -> tuple[Pattern, ...]:
    return PatternScanner(text.encode(), utf8=True).values(b"")


@dataclass(frozen=True, slots=True)
class Line:
    """An expected response."""

    tag: bytes
    number: Pattern | None
    name: Pattern
    code: tuple[Pattern, ...] | None
    values: tuple[Pattern, ...]

    @classmethod
    def parse(cls, text: str) -> Line:
        s = PatternScanner(text.encode(), utf8=True)
        tag = s.word()
        if tag == b"+":
            return cls(tag, None, Atom(b""), None, ())
        number: Pattern | None = None
        first: Pattern = s.value(b"")
        s.at += s.peek() == b" "
        if isinstance(first, Kind | Ref) or (isinstance(first, Atom) and first.value.isdigit()):
            number, first = first, s.value(b"")
            s.at += s.peek() == b" "
        is_status = isinstance(first, Either) or (
            isinstance(first, Atom) and first.value.upper() in STATUS_WORDS
        )
        if not is_status:
            return cls(tag, number, first, None, s.values(b""))
        code = None
        if s.peek() == b"[":
            s.at += 1
            code = s.values(b"]")
        return cls(tag, number, first, code, ())

    def matches(self, r: Response, env: Env) -> Iterator[Env]:
        """The ways it can be read, as what has been captured then."""
        if self.tag != r.tag:
            return
        for named in match(self.name, Atom(r.name), env):
            if (self.number is None) != (r.number is None):
                return
            if self.number is None:
                yield from self.match_values(r, named)
                return
            for numbered in match(self.number, Atom(b"%d" % (r.number or 0)), named):
                yield from self.match_values(r, numbered)

    def match_values(self, r: Response, env: Env) -> Iterator[Env]:
        if r.is_status():
            yield from match_code(self.code, r.code, env)
        else:
            matcher = BY_NAME.get(r.name, match_sequence)
            yield from matcher(self.values, r.values, env)


# -- matching values --

Patterns: TypeAlias = tuple[Pattern, ...]
Values: TypeAlias = tuple[Value, ...]


def match(p: Pattern, v: Value, env: Env) -> Iterator[Env]:
    match p:
        case Atom():
            if isinstance(v, Atom) and same_atom(p.value, v.value):
                yield env
        case Text():
            # In ENVELOPE and the like a string is a string: an atom there would be a bug.
            if isinstance(v, Text) and p.value == v.value:
                yield env
        case Exact():
            if not isinstance(v, tuple) and v.value == p.value:
                yield env
        case Either():
            for alternative in p.patterns:
                yield from match(alternative, v, env)
        case Ref():
            if not isinstance(v, tuple) and v.value == evaluate(p.expression, env):
                yield env
        case Kind():
            if is_kind(p, v, env):
                got = v if not isinstance(v, tuple) else None
                yield {**env, p.name: got.value} if p.name and got else env
        case Rest():
            yield env
        case tuple():
            if isinstance(v, tuple):
                yield from match_sequence(p, v, env)


def is_kind(p: Kind, v: Value, env: Env) -> bool:
    match p.kind:
        case "int":
            if not (isinstance(v, Atom) and v.value.isdigit()):
                return False
            if not p.bound:
                return True
            bound = int(p.bound) if p.bound.isdigit() else int(evaluate(p.bound, env))
            return int(v.value) > bound
        case "str":
            return isinstance(v, Text)
        case "list":
            return isinstance(v, tuple)
    return True


NUMBERS = re.compile(rb"[0-9]+([:,][0-9]+)*")


def same_atom(a: bytes, b: bytes) -> bool:
    if a.lower() == b.lower():
        return True
    return bool(NUMBERS.fullmatch(a) and NUMBERS.fullmatch(b)) and expand(a) == expand(b)


def expand(numbers: bytes) -> list[int]:
    """1:3,9 in the order written: COPYUID pairs its two sets up.   RFC 4315 3"""
    found: list[int] = []
    for part in numbers.split(b","):
        first, _, last = part.partition(b":")
        low, high = sorted((int(first), int(last or first)))
        found += range(low, high + 1)
    return found


def match_sequence(ps: Patterns, vs: Values, env: Env) -> Iterator[Env]:
    if not ps:
        if not vs:
            yield env
        return
    if isinstance(ps[0], Rest):
        for n in range(len(vs) + 1):
            yield from match_sequence(ps[1:], vs[n:], env)
        return
    if vs:
        for got in match(ps[0], vs[0], env):
            yield from match_sequence(ps[1:], vs[1:], got)


def match_set(ps: Patterns, vs: Values, env: Env) -> Iterator[Env]:
    wanted = tuple(p for p in ps if not isinstance(p, Rest))
    return _match_set(wanted, vs, len(wanted) < len(ps), env)


def _match_set(ps: Patterns, vs: Values, more: bool, env: Env) -> Iterator[Env]:
    if not ps:
        if more or not vs:
            yield env
        return
    for n, v in enumerate(vs):
        for got in match(ps[0], v, env):
            yield from _match_set(ps[1:], vs[:n] + vs[n + 1 :], more, got)


def without(vs: Values, ps: Patterns, ignored: frozenset[bytes]) -> Values:
    """Drops the flags that a server may add, unless the pattern speaks of them."""
    said = {p.value.lower() for p in ps if isinstance(p, Atom)}
    return tuple(v for v in vs if not (isinstance(v, Atom) and v.value.lower() in ignored - said))


# -- the responses that have a shape of their own --


def match_flags(p: Pattern, v: Value, env: Env) -> Iterator[Env]:
    if isinstance(p, tuple) and isinstance(v, tuple):
        # \Recent depends on who looked first; it is compared only where a line names it.
        yield from match_set(p, without(v, p, frozenset([b"\\recent"])), env)
    else:
        yield from match(p, v, env)


def match_structure(p: Pattern, v: Value, env: Env) -> Iterator[Env]:
    """BODYSTRUCTURE: media types and parameter names have no case.   RFC 2045 5.1"""
    if isinstance(p, tuple) and isinstance(v, tuple):
        yield from match_structures(p, v, env)
    elif isinstance(p, Text) and isinstance(v, Text):
        if p.value.lower() == v.value.lower():
            yield env
    else:
        yield from match(p, v, env)


def match_structures(ps: Patterns, vs: Values, env: Env) -> Iterator[Env]:
    if ps and isinstance(ps[0], Rest):
        yield env
    elif ps and vs:
        for got in match_structure(ps[0], vs[0], env):
            yield from match_structures(ps[1:], vs[1:], got)
    elif not ps and not vs:
        yield env


def match_pairs(
    p: Pattern,
    v: Value,
    env: Env,
    optional: frozenset[bytes],
    special: Mapping[bytes, Callable[[Pattern, Value, Env], Iterator[Env]]],
) -> Iterator[Env]:
    """NAME value NAME value ... in any order, each once; `optional` names may come unasked."""
    if not isinstance(p, tuple) or not isinstance(v, tuple):
        yield from match(p, v, env)
        return
    more = bool(p) and isinstance(p[-1], Rest)
    wanted = as_pairs(p[:-1] if more else p)
    found = as_pairs(v)
    if wanted is None or found is None or not wanted.keys() <= found.keys():
        return
    if not more and found.keys() - wanted.keys() - optional:
        return
    envs = [env]
    for name, pattern in wanted.items():
        one = special.get(name, match)
        envs = [e for known in envs for e in one(pattern, found[name], known)]  # type: ignore[arg-type]
    yield from envs


def as_pairs(items: tuple[Pattern, ...]) -> dict[bytes, Pattern] | None:
    pairs: dict[bytes, Pattern] = {}
    for n in range(0, len(items), 2):
        name = items[n]
        if not isinstance(name, Atom) or n + 1 >= len(items) or name.value.upper() in pairs:
            return None
        pairs[name.value.upper()] = items[n + 1]
    return pairs


FETCH_UNASKED = frozenset([b"UID", b"MODSEQ"])
FETCH_SPECIAL = {b"FLAGS": match_flags, b"BODY": match_structure, b"BODYSTRUCTURE": match_structure}


def match_fetch(ps: Patterns, vs: Values, env: Env) -> Iterator[Env]:
    if len(ps) == len(vs) == 1:
        yield from match_pairs(ps[0], vs[0], env, FETCH_UNASKED, FETCH_SPECIAL)


def match_name(p: Pattern, v: Value, env: Env) -> Iterator[Env]:
    """A mailbox name is an astring: quotes or not is the server's taste."""
    if isinstance(p, Atom | Text) and isinstance(v, Atom | Text):
        inbox = p.value.lower() == v.value.lower() == b"inbox"
        if p.value == v.value or inbox:
            yield env
    else:
        yield from match(p, v, env)


LIST_STRICT = frozenset([b"\\noselect", b"\\nonexistent"])


def match_list(ps: Patterns, vs: Values, env: Env) -> Iterator[Env]:
    """Attributes: those named must be there. Others may, but not "you cannot select this"."""
    if len(ps) < 3 or len(vs) < 3 or not isinstance(vs[0], tuple):
        return
    wanted = ps[0]
    if isinstance(wanted, tuple):
        said = {p.value.lower() for p in wanted if isinstance(p, Atom)}
        strict = not any(isinstance(p, Rest) for p in wanted)
        for v in vs[0]:
            if strict and isinstance(v, Atom) and v.value.lower() in LIST_STRICT - said:
                return
        wanted = (*wanted, Rest())
        envs = list(match_set(wanted, vs[0], env))
    else:
        envs = list(match(wanted, vs[0], env))
    for e in envs:
        for delimited in match(ps[1], vs[1], e):
            for named in match_name(ps[2], vs[2], delimited):
                yield from match_sequence(ps[3:], vs[3:], named)


def match_status(ps: Patterns, vs: Values, env: Env) -> Iterator[Env]:
    if len(ps) == len(vs) == 2:
        for named in match_name(ps[0], vs[0], env):
            yield from match_pairs(ps[1], vs[1], named, frozenset(), {})


def match_flags_line(ps: Patterns, vs: Values, env: Env) -> Iterator[Env]:
    if len(ps) == len(vs) == 1:
        yield from match_flags(ps[0], vs[0], env)


def match_esearch(ps: Patterns, vs: Values, env: Env) -> Iterator[Env]:
    """(TAG "a1") UID COUNT 3 ALL 1:3 - UID stands alone, the rest are pairs.   RFC 4731 3.1"""
    wanted, found = list(ps), list(vs)
    if bool(wanted) != bool(found):
        return
    if wanted and isinstance(wanted[0], tuple):
        correlator = wanted.pop(0)
        for got in match(correlator, found.pop(0), env):
            yield from match_esearch_items(tuple(wanted), tuple(found), got)
    else:
        yield from match_esearch_items(ps, vs, env)


def match_esearch_items(ps: Patterns, vs: Values, env: Env) -> Iterator[Env]:
    def by_uid(items: Patterns) -> bool:
        return bool(items) and isinstance(items[0], Atom) and items[0].value.upper() == b"UID"

    if by_uid(ps) == by_uid(vs):
        skip = 1 if by_uid(ps) else 0
        yield from match_pairs(ps[skip:], vs[skip:], env, frozenset(), {})


def match_rights(ps: Patterns, vs: Values, env: Env) -> Iterator[Env]:
    """A mailbox, then identifiers and their rights in any order; the letters have none.

    RFC 4314 3.6, 3.8
    """
    if not ps or not vs or len(ps) != len(vs):
        return
    envs = list(match_name(ps[0], vs[0], env))
    if len(ps) == 2:
        envs = [e for known in envs for e in match_letters(ps[1], vs[1], known)]
    elif envs:
        found = list(zip(vs[1::2], vs[2::2], strict=True))
        for identifier, rights in zip(ps[1::2], ps[2::2], strict=True):
            here = [
                (n, e)
                for n, (v, letters) in enumerate(found)
                for known in match_name(identifier, v, env)
                for e in match_letters(rights, letters, known)
            ]
            if not here:
                return
            del found[here[0][0]]
    yield from envs


def match_letters(p: Pattern, v: Value, env: Env) -> Iterator[Env]:
    if isinstance(p, Atom | Text) and isinstance(v, Atom | Text):
        if sorted(p.value) == sorted(v.value):
            yield env
    else:
        yield from match(p, v, env)


BY_NAME: dict[bytes, Callable[[Patterns, Values, Env], Iterator[Env]]] = {
    b"ACL": match_rights,
    b"FETCH": match_fetch,
    b"UIDFETCH": match_fetch,
    b"LIST": match_list,
    b"LSUB": match_list,
    b"MYRIGHTS": match_rights,
    b"STATUS": match_status,
    b"FLAGS": match_flags_line,
    b"ESEARCH": match_esearch,
    b"SEARCH": match_set,
    b"CAPABILITY": match_set,
    b"ENABLED": match_set,
}


def match_code(ps: Patterns | None, vs: Values | None, env: Env) -> Iterator[Env]:
    """No [...] in the pattern: any code or none. [] : none."""
    if ps is None:
        yield env
        return
    if not ps or not vs:
        if not ps and vs is None:
            yield env
        return
    for got in match(ps[0], vs[0], env):
        name = vs[0].value.upper() if isinstance(vs[0], Atom) else b""
        if name == b"CAPABILITY":
            yield from match_set(ps[1:], vs[1:], got)
        elif name == b"PERMANENTFLAGS":
            yield from match_flags_line(ps[1:], vs[1:], got)
        else:
            yield from match_sequence(ps[1:], vs[1:], got)
