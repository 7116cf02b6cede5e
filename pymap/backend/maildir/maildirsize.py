"""`maildirsize` in the root of an account: what its mailboxes hold, as Maildir++ has it.

Delivery agents obey it, and Dovecot (quota=maildir) and Courier keep it as well.

Rule 1: the first line holds the limits, as ``1000000S,1000C``. Each line behind it is octets and
        messages, with a sign; what they come to is the usage. Whoever adds or removes messages
        appends a line, in one write. Where there is no such file, nobody counts.
Rule 2: all is counted anew if the limits are others, the file is damaged, or larger than
        `MOST_OCTETS`; and, when somebody is about to be refused, if something was appended or the
        count is older than `STALE_S`. So it is put right what programs have done that know nothing
        of the file.
Rule 3: there is no lock. A change that somebody makes while all is counted may be in the count,
        in a line, or in both; whoever counts does so again if a line came meanwhile.
Rule 4: octets are those of files, as the ",S=" of their names says, in all mailboxes; also what
        is in the trash or has been marked as deleted. Dovecot counts the same.

Blocking, like all that touches the disk.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import NamedTuple

from pymap.backend.api import Quota, Usage
from pymap.backend.maildir.filenames import sizes, split
from pymap.backend.maildir.layout import Layout
from pymap.backend.maildir.replace import replace_file
from pymap.backend.maildir.tree import read_plain

__all__ = ["MaildirSize"]

log = logging.getLogger("pymap.maildir")

MOST_OCTETS = 5120  # of the file
STALE_S = 15 * 60
AT_ONCE = 10_000  # names of files: 3 ms
TRIES = 3  # of counting while nothing is appended
HIGHEST = (1 << 63) - 1  # others read a number as a signed one of 64 bits

_LIMIT = re.compile(r"([0-9]{1,19})([SC])")
_LINE = re.compile(r" *(-?[0-9]{1,19}) +(-?[0-9]{1,19}) *")
_SIZE = re.compile(r"^[^.:\n][^:\n]*?,S=([0-9]{1,18})(?=[,:]|$)", re.MULTILINE)


class _File(NamedTuple):
    limits: dict[str, int]
    usage: Usage
    appended: bool
    """Whether there are lines behind the count."""
    written: float


class MaildirSize:
    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.path = f"{layout.root}/maildirsize"

    def usage(self, quota: Quota, again: bool) -> Usage:
        """As the file says or, where it cannot be believed, as counted now, and kept in it. Without
        limits no file is kept. Raises OSError."""
        limits = _limits(quota)
        if not limits:
            with suppress(FileNotFoundError):
                os.unlink(self.path)
            return self._count()
        known = self._read()
        if known is None or known.limits != limits:
            return self._recount(limits)
        if again and (known.appended or time.time() > known.written + STALE_S):
            return self._recount(limits)
        return known.usage

    def _read(self) -> _File | None:
        """None if there is none, or none to be believed."""
        try:
            octets, about = read_plain(self.path, MOST_OCTETS + 1)
        except (FileNotFoundError, ValueError):
            return None
        first, *lines = octets.decode("ascii", "replace").split("\n")
        if len(octets) > MOST_OCTETS or len(lines) < 2 or lines.pop():
            return None  # too long, without a count, or with a line that is cut off
        limits = {kind: int(number) for number, kind in _LIMIT.findall(first)}
        found = [_LINE.fullmatch(line) for line in lines]
        held = sum(int(line[1]) for line in found if line)
        messages = sum(int(line[2]) for line in found if line)
        if not all(found) or not (0 <= held <= HIGHEST and 0 <= messages <= HIGHEST):
            return None
        return _File(limits, Usage(held, messages), len(lines) > 1, about.st_mtime)

    def _recount(self, limits: dict[str, int]) -> Usage:
        for _ in range(TRIES):
            before = self._stamp()
            usage = self._count()
            if self._stamp() == before:
                break
        first = ",".join(f"{limit}{kind}" for kind, limit in limits.items())
        text = f"{first}\n{usage.octets} {usage.messages}\n"
        try:
            # Of those who do this at once, one is the last. What a crash leaves, goes in time.
            beside = f"{self._layout.root}/tmp/maildirsize.{token_hex(8)}"
            replace_file(self.path, beside, text.encode("ascii"))
        except OSError as error:
            log.warning("%s: cannot be written: %s", self.path, error)
        return usage

    def _stamp(self) -> tuple[int, int] | None:
        """Another one, once somebody has appended to the file or replaced it."""
        try:
            about = os.stat(self.path, follow_symlinks=False)
        except FileNotFoundError:
            return None
        return about.st_ino, about.st_size

    def _count(self) -> Usage:
        octets = messages = 0
        for place in self._layout.places().values():
            held = _held_in(place)
            octets, messages = octets + held.octets, messages + held.messages
        return Usage(octets, messages)

    def held_in(self, mailbox: Path) -> Usage | None:
        """What a mailbox that is about to go takes with it; None where nobody counts."""
        return _held_in(mailbox) if os.path.lexists(self.path) else None

    def add(self, octets: Iterable[int], sign: int = 1) -> None:
        """Messages with files of so many octets came or, with a `sign` of -1, went. They are looked
        at only where somebody counts. Raises nothing: what cannot be noted will be counted."""
        if os.path.lexists(self.path):
            each = list(octets)
            self._append(sign * sum(each), sign * len(each))

    def take_away(self, gone: Usage) -> None:
        """The mailbox that held this is no more."""
        self._append(-gone.octets, -gone.messages)

    def _append(self, octets: int, messages: int) -> None:
        try:
            # Without waiting for somebody to read it, should it be a pipe.
            how = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            fd = os.open(self.path, how)
            try:
                os.write(fd, b"%d %d\n" % (octets, messages))
            finally:
                os.close(fd)
        except FileNotFoundError:
            pass
        except OSError as error:
            log.warning("%s: cannot be written, so it goes: %s", self.path, error)
            with suppress(OSError):
                os.unlink(self.path)


def _limits(quota: Quota) -> dict[str, int]:
    """By the letter that stands behind each. To others 0 is no limit: the least that they know is
    one octet and one message."""
    if 0 in (quota.octets, quota.messages):
        return {"S": 1, "C": 1}
    found = {"S": quota.octets, "C": quota.messages}
    return {kind: min(limit, HIGHEST) for kind, limit in found.items() if limit is not None}


def _held_in(mailbox: Path) -> Usage:
    """An alias holds nothing, and what is gone meanwhile does not either."""
    octets = messages = 0
    if not os.path.islink(mailbox):
        for folder in ("new", "cur"):
            path = f"{mailbox}/{folder}"
            with suppress(FileNotFoundError, NotADirectoryError):
                names = [name for name in os.listdir(path) if name[:1] != "."]
                octets, messages = octets + _octets_in(path, names), messages + len(names)
    return Usage(octets, messages)


def _octets_in(path: str, names: list[str]) -> int:
    """Of many files step by step: while names are taken apart, no other thread runs."""
    return sum(
        _octets_of(path, names[start : start + AT_ONCE]) for start in range(0, len(names), AT_ONCE)
    )


def _octets_of(path: str, names: list[str]) -> int:
    """0.3 us for a file whose name says it."""
    told = _SIZE.findall("\n".join(names))
    if len(told) == len(names):
        return sum(map(int, told))
    octets = 0
    for name in names:
        size = sizes(split(name)[0]).size
        if size is None:
            with suppress(FileNotFoundError):
                size = os.lstat(f"{path}/{name}").st_size
        octets += size or 0
    return octets
