"""Address lists of headers, as ENVELOPE wants them.   RFC 5322 3.4, 4.4; RFC 9051 7.5.2

Well-formed mailboxes are read by one pattern. From the first that is not (groups, routes,
comments, escapes, anything broken) a tokeniser reads the rest of the list.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .header import read_comment, unfold

MAX_ADDRESSES = 1_000
"""Entries, with group markers, in one address list of an ENVELOPE."""


class Address(NamedTuple):
    """One address structure; each field is None where ENVELOPE has NIL.

    `host` None is a group's marker: its start if `mailbox` is its name, its end if that is None
    too. An address without a domain has the host "", since NIL would make it a group.
    """

    name: bytes | None
    route: bytes | None
    mailbox: bytes | None
    host: bytes | None


END_OF_GROUP = Address(None, None, None, None)

_ATEXT = rb"A-Za-z0-9!#$%&'*+\-/=?^_`{|}~"
_MAILBOX = re.compile(
    rb"""[ \t]*+(?:
        (?: "([^"\\]*+)" [ \t]*+ | ([%b. \t\x80-\xff]*+) ) <([%b.]++)@([A-Za-z0-9.\-]++)>
        | ([%b.]++)@([A-Za-z0-9.\-]++)
    )[ \t]*+(?:,|\Z)"""
    % (_ATEXT, _ATEXT, _ATEXT),
    re.VERBOSE,
)

_TOKEN = re.compile(
    rb"""(?P<blank>[ \t\r\n]++)
    | "(?P<quoted>(?:[^"\\]|\\.)*+)(?:"|\Z|\\)
    | \[(?P<literal>[^\[\]\\]*+)\]
    | (?P<special>[<>,;:@()])
    | (?P<atom>[^ \t\r\n"<>,;:@()\[]++|\[)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)


def addresses(raw: bytes, limit: int | None = None) -> list[Address]:
    """The addresses of a header value, best effort for any octets; at most `limit` of them.

    (One more, if that is the marker that closes a group.) Cost is linear in `raw`, up to the
    entry that reaches the limit.
    """
    raw = unfold(raw).strip()
    found: list[Address] = []
    at, most = 0, len(raw) if limit is None else limit
    while at < len(raw) and len(found) < most:
        match = _MAILBOX.match(raw, at)
        if match is None:
            found += _Reader(raw, at, most - len(found)).read()
            break
        quoted, phrase, mailbox, host, bare, bare_host = match.groups()
        if bare is not None:
            found.append(Address(None, None, bare, bare_host))
        else:
            name = quoted if phrase is None else b" ".join(phrase.split())
            found.append(Address(name or None, None, mailbox, host))
        at = match.end()
    return found


class _Word(NamedTuple):
    text: bytes
    spaced: bool  # white space or a comment stands before it
    at_sign: bool = False


class _Reader:
    """Reads a list entry by entry; `words` and the rest are of the entry being read."""

    def __init__(self, raw: bytes, at: int, limit: int) -> None:
        self.raw, self.at, self.limit = raw, at, limit
        self.found: list[Address] = []
        self.in_group = False
        self._next()

    def _next(self) -> None:
        self.words: list[_Word] = []
        self.phrase: list[_Word] | None = None  # what stood before "<"
        self.in_angle = False
        self.has_at_sign = False  # since the entry began
        self.route: bytes | None = None
        self.comment: bytes | None = None
        self.spaced = False

    def read(self) -> list[Address]:
        end = len(self.raw)
        while self.at < end and len(self.found) < self.limit:
            token = _TOKEN.match(self.raw, self.at)
            if token is None:  # cannot be: every octet starts one
                break
            self.at = token.end()
            text = token[0]
            match token.lastgroup:
                case "blank":
                    self.spaced = True
                case "quoted":
                    self._word(_unescape(token["quoted"]))
                case "special":
                    self._special(text)
                case _:
                    self._word(text)
        self._flush()
        if self.in_group:
            self.found.append(END_OF_GROUP)
        return self.found

    def _word(self, text: bytes, at_sign: bool = False) -> None:
        if self.phrase is not None and not self.in_angle:
            return  # after ">", where no words may stand
        self.has_at_sign |= at_sign
        self.words.append(_Word(text, self.spaced, at_sign))
        self.spaced = False

    def _special(self, special: bytes) -> None:
        match special:
            case b"(":
                comment, self.at = read_comment(self.raw, self.at)
                self.comment = _unescape(comment).strip() or self.comment
                self.spaced = True
            case b"@":
                self._word(b"@", at_sign=True)
            case b"<" if self.phrase is None:
                self.phrase, self.words = self.words, []
                self.in_angle = True
            case b">":
                self.in_angle = False
                self.spaced = True
            case b":" if self.in_angle and self.words and self.words[0].at_sign:
                # obs-route = obs-domain-list ":"   RFC 5322 4.4
                self.route = b"".join(word.text for word in self.words)
                self.words = []
            case b"," if self.in_angle and self.words and self.words[0].at_sign:
                self._word(b",")  # between the domains of a route
            case b",":
                self._flush()
            case b":" if self.has_at_sign:
                self._word(b":")  # a port, perhaps
            case b":" if not self.in_group and self.phrase is None:
                # group = display-name ":" [group-list] ";" [CFWS]   RFC 5322 3.4
                self.found.append(Address(None, None, _phrase(self.words) or b"", None))
                self.in_group = True
                self._next()
            case b";":
                self._flush()  # outside of a group it is what some senders write for ","
                if self.in_group:
                    self.found.append(END_OF_GROUP)
                    self.in_group = False
            case b")" | b"<" | b":":
                self.spaced = True  # makes no sense here

    def _flush(self) -> None:
        """The entry ends: make an address of it, unless it is empty."""
        words, phrase, route, comment = self.words, self.phrase, self.route, self.comment
        self._next()
        name: bytes | None
        if phrase is not None:
            name = _phrase(phrase)
        elif not words:
            return
        else:
            first = _addr_spec_start(words)
            name, words = _phrase(words[:first]), words[first:]
        marks = [i for i, word in enumerate(words) if word.at_sign]
        at = marks[-1] if marks else len(words)
        mailbox = b"".join(word.text for word in words[:at])
        host = b"".join(word.text for word in words[at + 1 :])
        # "addr (Name)" is how names were written before RFC 822 phrases; still met.
        self.found.append(Address(name or comment or None, route or None, mailbox, host))


def _addr_spec_start(words: list[_Word]) -> int:
    """Where the address starts in an entry without "<": ``John Smith js@example.org``.

    Without "@" one word is a local mailbox, and several are a name.
    """
    at = next((i for i, word in enumerate(words) if word.at_sign), None)
    if at is None:
        return 0 if len(words) == 1 else len(words)
    at -= 1
    # Blanks around dots are obsolete, not the end.   RFC 5322 4.4, obs-local-part
    while at > 0 and (
        not words[at].spaced or words[at].text[:1] == b"." or words[at - 1].text[-1:] == b"."
    ):
        at -= 1
    return max(at, 0)


def _phrase(words: list[_Word]) -> bytes:
    """Words of a display-name, with one space where there were blanks."""
    return b"".join(b" " + word.text if word.spaced else word.text for word in words).strip()


def _unescape(raw: bytes) -> bytes:
    return _ESCAPE.sub(rb"\1", raw) if b"\\" in raw else raw
