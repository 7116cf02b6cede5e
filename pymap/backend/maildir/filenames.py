"""The names of message files: `<unique>,S=<octets>,W=<octets with CRLF>:2,<letters>`.

Seen of Dovecot 2.3.19:

Rule 1: what a file is known by (`base`) ends at the first colon; what it says of flags (`info`)
        is after the last one, if that part begins with "2,". Anything else there says nothing.
Rule 2: after "2," stand capital letters (D F R S T are system flags), then small ones (keywords,
        by `dovecot-keywords`), in ASCII order. Letters it does not know keep their order among
        one another and the place that it gives them; from a further comma on all is kept.
Rule 3: a name that begins with a dot or holds a line feed is no message.
Rule 4: ",S=" and ",W=" of `base` are believed: the first of each, if only digits follow up to a
        comma or the end. A wrong one makes the message unreadable for Dovecot. Other fields, such
        as our ",V", are kept when flags change and when the name is copied to another mailbox;
        a copy within a mailbox, or to where that name is taken, gets a new name with S and W only.

Our ",V" (verbatim) says that the message is to be given out as the file has it: it holds line
feeds alone, which readers of a Maildir turn into CRLF, and which the client wants back. For W
they count as two octets, as for Dovecot.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from functools import lru_cache
from itertools import count
from secrets import token_hex
from typing import NamedTuple

from pymap.backend.maildir.dotlock import HOST, is_running
from pymap.wire.types import ANSWERED, DELETED, DRAFT, FLAGGED, SEEN, Flag

__all__ = [
    "Info",
    "NameMaker",
    "Sizes",
    "build_info",
    "is_message",
    "made_by_dead",
    "parse_info",
    "save_date",
    "sizes",
    "split",
]

SYSTEM_LETTERS = {"D": DRAFT, "F": FLAGGED, "R": ANSWERED, "S": SEEN, "T": DELETED}
_LETTER_OF = {flag: letter for letter, flag in SYSTEM_LETTERS.items()}
KEYWORD_LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Info(NamedTuple):
    """What the end of a name says. `letters` are those of keywords, ascending; `other` is what we
    do not know, to be kept."""

    flags: frozenset[Flag]
    letters: str
    other: str


class Sizes(NamedTuple):
    """What a name says of the message: octets of the file, the same with CRLF for each line feed,
    and whether it is given out as it is."""

    size: int | None
    virtual: int | None
    verbatim: bool


def is_message(name: str) -> bool:
    """Whether a file of that name in `new` or `cur` is a message (rule 3)."""
    return name[:1] not in ("", ".", ":") and "\n" not in name


def split(name: str) -> tuple[str, str]:
    """Base and info, which has its colon or is empty. They make up the name again."""
    base, colon, rest = name.partition(":")
    return base, colon + rest


@lru_cache(maxsize=8192)
def parse_info(info: str) -> Info:
    """What `split` left of a name; the same text gives the same object, as long as it is used."""
    _, colon, last = info.rpartition(":")
    if not colon or not last.startswith("2,"):
        return Info(frozenset(), "", "")
    written, comma, rest = last[2:].partition(",")
    seen = set(written)
    return Info(
        frozenset(flag for letter, flag in SYSTEM_LETTERS.items() if letter in seen),
        "".join(letter for letter in KEYWORD_LETTERS if letter in seen),
        "".join(c for c in written if c not in SYSTEM_LETTERS and c not in KEYWORD_LETTERS)
        + comma
        + rest,
    )


def build_info(flags: Iterable[Flag], letters: Iterable[str], other: str = "") -> str:
    r"""The info for these; flags without a letter, such as keywords and \Recent, are left out."""
    ours = sorted({_LETTER_OF[flag] for flag in flags if flag in _LETTER_OF}.union(letters))
    if not other:
        return ":2," + "".join(ours)
    unknown, comma, rest = other.partition(",")
    written = ""
    for letter in unknown:
        while ours and ours[0] < letter:
            written += ours.pop(0)
        written += letter
    return f":2,{written}{''.join(ours)}{comma}{rest}"


def sizes(base: str) -> Sizes:
    """Some 1.4 us for a name."""
    return Sizes(_octets(base, ",S="), _octets(base, ",W="), base.endswith(",V") or ",V," in base)


def _octets(base: str, field: str) -> int | None:
    if field not in base:
        return None
    digits = base.partition(field)[2].partition(",")[0]
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 19 else None


# -- names of our own --

_TOKEN = token_hex(4)
"""Tells this process from others that had its number."""
_OURS = re.compile(r"[0-9]+\.M[0-9]+P([0-9]{1,10})Q[0-9]+R([0-9a-f]{8})\.([^,:]+)")


class NameMaker:
    """Names that no other file has or had, also of other programs that follow the Maildir rules.

    One for a process; threads may share it.
    """

    def __init__(self) -> None:
        self._counter = count(1)

    def unique(self) -> str:
        """A name for `tmp`, and the first part of what the message is then called."""
        seconds, rest = divmod(time.time_ns(), 1_000_000_000)
        number = next(self._counter)
        return f"{seconds}.M{rest // 1000}P{os.getpid()}Q{number}R{_TOKEN}.{_HOST}"

    def make(self, size: int, virtual: int, verbatim: bool = False) -> str:
        """A base for a message of `size` octets, of `virtual` ones if each line feed were CRLF."""
        return with_sizes(self.unique(), size, virtual, verbatim)


def with_sizes(unique: str, size: int, virtual: int, verbatim: bool = False) -> str:
    return f"{unique},S={size},W={virtual}{',V' if verbatim else ''}"


_SECONDS = re.compile(r"[0-9]{9,10}(?=\.)")


def save_date(base: str, otherwise: int) -> int:
    """The save date, in seconds since 1970: names of a Maildir begin with the second they were made
    in. It is taken from there in any case, that it may stay the same when all else is
    lost.   RFC 8514 3"""
    match = _SECONDS.match(base)
    return int(match[0]) if match else otherwise


def made_by_dead(name: str) -> bool:
    """Whether a process of this host made that name with `NameMaker` and runs no more: then
    nobody will finish the file. A number that another process has now counts as running."""
    match = _OURS.match(name)
    if not match:
        return False
    pid, token, host = match.groups()
    if host != _HOST or token == _TOKEN:
        return False
    return int(pid) == os.getpid() or not is_running(int(pid))


def _escape(host: str) -> str:
    """A host name as it may stand in a file name; "," would begin a field of ours."""
    return host.replace("/", "\\057").replace(":", "\\072").replace(",", "\\054")


_HOST = _escape(HOST)
