"""What the server says, one frozen value per response; encoding one cannot fail.

`encode(utf8)` gives the octets with their CRLF; `utf8` says how the client reads mailbox names
(RFC 6855 3). FETCH answers by the thousand are not made of these: `imap/fetch.py` renders them
from columns.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from pymap.wire import modutf7
from pymap.wire.types import Section, UidSet

__all__ = [
    "AclResponse",
    "Capability",
    "Condition",
    "Continuation",
    "ESearch",
    "Enabled",
    "Exists",
    "Expunge",
    "Flags",
    "GenUrlAuth",
    "IdResponse",
    "LanguageResponse",
    "ListResponse",
    "MetadataChanged",
    "MetadataResponse",
    "ListRightsResponse",
    "MyRightsResponse",
    "NamespaceResponse",
    "QuotaResponse",
    "QuotaRootResponse",
    "Recent",
    "Response",
    "SearchResponse",
    "StatusResponse",
    "Tagged",
    "Untagged",
    "Vanished",
    "astring",
    "literal",
    "mailbox",
    "nstring",
    "section_label",
    "string",
]

_ATOM = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\\]]+")
_ASTRING = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\]+")
_QUOTABLE = re.compile(rb"[\x20-\x7e]*")
_QUOTABLE_UTF8 = re.compile(rb"[^\x00-\x1f\x7f]*")
_SPECIAL = re.compile(rb'(["\\])')


def literal(octets: bytes | memoryview) -> bytes:
    """literal, or literal8 where there is a NUL.   RFC 9051 9"""
    raw = bytes(octets)
    return (b"~{%d}\r\n%b" if b"\0" in raw else b"{%d}\r\n%b") % (len(raw), raw)


def string(raw: bytes, utf8: bool = False) -> bytes:
    """string = quoted / literal"""
    if (_QUOTABLE_UTF8 if utf8 else _QUOTABLE).fullmatch(raw):
        return b'"%b"' % _SPECIAL.sub(rb"\\\1", raw)
    return literal(raw)


def nstring(raw: bytes | None) -> bytes:
    """nstring = string / nil"""
    return b"NIL" if raw is None else string(raw)


def astring(raw: bytes, utf8: bool = False) -> bytes:
    """astring: as an atom where it can be one and is not NIL."""
    if _ASTRING.fullmatch(raw) and raw.upper() != b"NIL":
        return raw
    return string(raw, utf8)


def mailbox(name: str, utf8: bool) -> bytes:
    """A mailbox name: UTF-8 for those who said so, else modified UTF-7."""
    return astring(name.encode("utf-8") if utf8 else modutf7.encode(name), utf8)


def section_label(section: Section) -> bytes:
    """section-spec as it stands between the brackets of a FETCH answer."""
    words = [b".".join(b"%d" % number for number in section.path)] if section.path else []
    if section.text is not None:
        words.append(section.text.value.encode("ascii"))
    label = b".".join(words)
    if section.fields:
        label += b" (%b)" % b" ".join(astring(name.encode("utf-8")) for name in section.fields)
    return label


class Condition(Enum):
    """RFC 9051 7.1"""

    OK = b"OK"
    NO = b"NO"
    BAD = b"BAD"
    BYE = b"BYE"


class Response(ABC):
    __slots__ = ()

    @abstractmethod
    def encode(self, utf8: bool) -> bytes:
        """The octets of the whole response."""


@dataclass(frozen=True, slots=True)
class Tagged(Response):
    """`code` is what stands in the brackets, in ASCII."""

    tag: str
    condition: Condition
    text: str
    code: str | None = None

    def encode(self, utf8: bool) -> bytes:
        code = f"[{self.code}] " if self.code else ""
        return f"{self.tag} {self.condition.value.decode()} {code}{self.text}\r\n".encode()


def Untagged(condition: Condition, text: str, code: str | None = None) -> Tagged:
    """A status response that answers no command."""
    return Tagged("*", condition, text, code)


@dataclass(frozen=True, slots=True)
class Continuation(Response):
    """``+``: the server waits for more of the command."""

    data: bytes = b""

    def encode(self, utf8: bool) -> bytes:
        return b"+ %b\r\n" % self.data


@dataclass(frozen=True, slots=True)
class Capability(Response):
    names: Sequence[str]

    def encode(self, utf8: bool) -> bytes:
        return f"* CAPABILITY {' '.join(self.names)}\r\n".encode("ascii")


@dataclass(frozen=True, slots=True)
class Enabled(Response):
    names: Sequence[str]

    def encode(self, utf8: bool) -> bytes:
        return " ".join(["* ENABLED", *self.names]).encode("ascii") + b"\r\n"


@dataclass(frozen=True, slots=True)
class IdResponse(Response):
    params: Sequence[tuple[str, str]]

    def encode(self, utf8: bool) -> bytes:
        words = b" ".join(string(word.encode("utf-8")) for pair in self.params for word in pair)
        return b"* ID (%b)\r\n" % words if words else b"* ID NIL\r\n"


@dataclass(frozen=True, slots=True)
class LanguageResponse(Response):
    """One: it is spoken from here on. More: there are these.   RFC 5255 3.3"""

    tags: Sequence[str]

    def encode(self, utf8: bool) -> bytes:
        return f"* LANGUAGE ({' '.join(self.tags)})\r\n".encode("ascii")


@dataclass(frozen=True, slots=True)
class Flags(Response):
    """`flags` is rendered: names with spaces between."""

    flags: bytes

    def encode(self, utf8: bool) -> bytes:
        return b"* FLAGS (%b)\r\n" % self.flags


@dataclass(frozen=True, slots=True)
class Exists(Response):
    count: int

    def encode(self, utf8: bool) -> bytes:
        return b"* %d EXISTS\r\n" % self.count


@dataclass(frozen=True, slots=True)
class Recent(Response):
    count: int

    def encode(self, utf8: bool) -> bytes:
        return b"* %d RECENT\r\n" % self.count


@dataclass(frozen=True, slots=True)
class Expunge(Response):
    """Many EXPUNGE responses: `numbers` as they hold one after the other."""

    numbers: Iterable[int]

    def encode(self, utf8: bool) -> bytes:
        return b"".join(map(b"* %d EXPUNGE\r\n".__mod__, self.numbers))


@dataclass(frozen=True, slots=True)
class Vanished(Response):
    """RFC 7162 3.2.10"""

    uids: UidSet
    earlier: bool = False

    def encode(self, utf8: bool) -> bytes:
        return f"* VANISHED {'(EARLIER) ' if self.earlier else ''}{self.uids}\r\n".encode("ascii")


@dataclass(frozen=True, slots=True)
class NamespaceResponse(Response):
    """`others` is the prefix of other users' mailboxes, if there are such, `translation` what
    people call it.   RFC 2342 5, RFC 5255 3.4"""

    delimiter: str
    others: str | None = None
    translation: str | None = None

    def encode(self, utf8: bool) -> bytes:
        others = b"NIL"
        if self.others is not None:
            said = b""
            if self.translation is not None:
                said = b' "TRANSLATION" (%b)' % string(modutf7.encode(self.translation))
            others = b'(("%b" "%b"%b))' % (self.others.encode(), self.delimiter.encode(), said)
        return b'* NAMESPACE (("" "%b")) %b NIL\r\n' % (self.delimiter.encode(), others)


@dataclass(frozen=True, slots=True)
class ListResponse(Response):
    """LIST, or LSUB. `childinfo` names the selection options that inferiors match, `old_name` is
    what the client called the mailbox.

    RFC 9051 7.3.1, 6.3.9.7, RFC 5258 6
    """

    name: str
    attributes: Sequence[str]
    delimiter: str
    childinfo: Sequence[str] = ()
    keyword: bytes = b"LIST"
    old_name: str | None = None

    def encode(self, utf8: bool) -> bytes:
        line = b'* %b (%b) "%b" %b' % (
            self.keyword,
            " ".join(self.attributes).encode("ascii"),
            self.delimiter.encode("ascii"),
            mailbox(self.name, utf8) if self.name else b'""',
        )
        if self.childinfo:
            words = " ".join(f'"{option}"' for option in self.childinfo)
            line += f' ("CHILDINFO" ({words}))'.encode("ascii")
        if self.old_name is not None:
            line += b' ("OLDNAME" (%b))' % mailbox(self.old_name, utf8)
        return line + b"\r\n"


@dataclass(frozen=True, slots=True)
class MetadataResponse(Response):
    """Entries of a mailbox, or with "" of the server, and their values, None for NIL; at least
    one.   RFC 5464 4.4.1"""

    mailbox: str
    values: Sequence[tuple[str, bytes | None]]

    def encode(self, utf8: bool) -> bytes:
        pairs = [b"%b %b" % (astring(name.encode()), nstring(value)) for name, value in self.values]
        return b"* METADATA %b (%b)\r\n" % (mailbox(self.mailbox, utf8), b" ".join(pairs))


@dataclass(frozen=True, slots=True)
class MetadataChanged(Response):
    """Names of entries of a mailbox, or with "" of the server, that have changed; at least
    one.   RFC 5464 4.4.2"""

    mailbox: str
    entries: Sequence[str]

    def encode(self, utf8: bool) -> bytes:
        names = b" ".join(astring(entry.encode()) for entry in self.entries)
        return b"* METADATA %b %b\r\n" % (mailbox(self.mailbox, utf8), names)


@dataclass(frozen=True, slots=True)
class StatusResponse(Response):
    mailbox: str
    items: Sequence[tuple[str, str]]

    def encode(self, utf8: bool) -> bytes:
        words = " ".join(f"{name} {value}" for name, value in self.items)
        return b"* STATUS %b (%b)\r\n" % (mailbox(self.mailbox, utf8), words.encode("ascii"))


def _identifiers(words: Iterable[str], utf8: bool) -> bytes:
    return b"".join(b" " + astring(word.encode("utf-8"), utf8) for word in words)


@dataclass(frozen=True, slots=True)
class AclResponse(Response):
    """RFC 4314 3.6"""

    mailbox: str
    entries: Sequence[tuple[str, str]]
    """Identifiers and rights."""

    def encode(self, utf8: bool) -> bytes:
        words = _identifiers((word for entry in self.entries for word in entry), utf8)
        return b"* ACL %b%b\r\n" % (mailbox(self.mailbox, utf8), words)


@dataclass(frozen=True, slots=True)
class ListRightsResponse(Response):
    """What is always granted, and what can be: rights in one word go together.   RFC 4314 3.7"""

    mailbox: str
    identifier: str
    always: str
    possible: Sequence[str]

    def encode(self, utf8: bool) -> bytes:
        words = _identifiers((self.identifier, self.always, *self.possible), utf8)
        return b"* LISTRIGHTS %b%b\r\n" % (mailbox(self.mailbox, utf8), words)


@dataclass(frozen=True, slots=True)
class MyRightsResponse(Response):
    """RFC 4314 3.8"""

    mailbox: str
    rights: str

    def encode(self, utf8: bool) -> bytes:
        return b"* MYRIGHTS %b %b\r\n" % (
            mailbox(self.mailbox, utf8),
            astring(self.rights.encode("ascii")),
        )


@dataclass(frozen=True, slots=True)
class QuotaResponse(Response):
    """Each resource with its usage and its limit.   RFC 9208 4.2.1"""

    root: str
    resources: Sequence[tuple[str, int, int]]

    def encode(self, utf8: bool) -> bytes:
        words = " ".join(f"{name} {usage} {limit}" for name, usage, limit in self.resources)
        return b"* QUOTA %b (%b)\r\n" % (astring(self.root.encode(), utf8), words.encode("ascii"))


@dataclass(frozen=True, slots=True)
class QuotaRootResponse(Response):
    """RFC 9208 4.2.2"""

    mailbox: str
    roots: Sequence[str]

    def encode(self, utf8: bool) -> bytes:
        roots = b"".join(b" " + astring(root.encode(), utf8) for root in self.roots)
        return b"* QUOTAROOT %b%b\r\n" % (mailbox(self.mailbox, utf8), roots)


@dataclass(frozen=True, slots=True)
class SearchResponse(Response):
    """RFC 3501 7.2.5; `modseq` RFC 7162 3.1.5"""

    numbers: Iterable[int]
    modseq: int | None = None

    def encode(self, utf8: bool) -> bytes:
        line = " ".join(["* SEARCH", *map(str, self.numbers)]).encode("ascii")
        if self.modseq is not None:
            line += b" (MODSEQ %d)" % self.modseq
        return line + b"\r\n"


@dataclass(frozen=True, slots=True)
class SortResponse(Response):
    """RFC 5256 4; `modseq` RFC 7162 3.1.5"""

    numbers: Iterable[int]
    modseq: int | None = None

    def encode(self, utf8: bool) -> bytes:
        line = " ".join(["* SORT", *map(str, self.numbers)]).encode("ascii")
        if self.modseq is not None:
            line += b" (MODSEQ %d)" % self.modseq
        return line + b"\r\n"


@dataclass(frozen=True, slots=True)
class ThreadResponse(Response):
    """`threads` is a rendered thread list, empty if there are none.   RFC 5256 4"""

    threads: bytes

    def encode(self, utf8: bool) -> bytes:
        return b"* THREAD " + self.threads + b"\r\n" if self.threads else b"* THREAD\r\n"


@dataclass(frozen=True, slots=True)
class UidBatches(Response):
    """Ranges (highest, lowest), the newest messages first.   RFC 10022"""

    tag: str
    ranges: Sequence[tuple[int, int]]

    def encode(self, utf8: bool) -> bytes:
        ranges = ",".join(f"{highest}:{lowest}" for highest, lowest in self.ranges)
        return f'* UIDBATCHES (TAG "{self.tag}"){ranges and " "}{ranges}\r\n'.encode("ascii")


@dataclass(frozen=True, slots=True)
class GenUrlAuth(Response):
    """RFC 4467 8"""

    urls: Sequence[str]

    def encode(self, utf8: bool) -> bytes:
        words = b" ".join(string(url.encode("utf-8")) for url in self.urls)
        return b"* GENURLAUTH %b\r\n" % words


@dataclass(frozen=True, slots=True)
class ESearch(Response):
    """RFC 4731 3.1; `mailbox`, with its `uid_validity`, RFC 7377 2.1"""

    tag: str
    by_uid: bool
    items: Sequence[tuple[str, str]]
    mailbox: str | None = None
    uid_validity: int = 0

    def encode(self, utf8: bool) -> bytes:
        words = "".join(f" {name} {value}" for name, value in self.items)
        by_uid = " UID" if self.by_uid else ""
        where = b""
        if self.mailbox is not None:
            where = b" MAILBOX %b UIDVALIDITY %d" % (mailbox(self.mailbox, utf8), self.uid_validity)
        return b'* ESEARCH (TAG "%b"%b)%b\r\n' % (
            self.tag.encode("ascii"),
            where,
            f"{by_uid}{words}".encode("ascii"),
        )
