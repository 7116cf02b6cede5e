"""`dovecot-keywords`: which keyword each small letter of a file name stands for.

Seen of Dovecot 2.3.19:

Rule 1: a line is "<index> <name>"; index 0 is "a", 25 is "z". A new keyword gets the first index
        that has none. The 27th and later keywords are only in Dovecot's own index.
Rule 2: of two lines with one index the later counts. What makes no sense is dropped when
        the file is next made anew, and so is a last line without its line end.
Rule 3: a letter without a name is shown as "unknown-<index>" and gets that name.
Rule 4: the file is written as `dovecot-keywords.lock` and renamed over the old one; a
        `dovecot-keywords.lock` that lies there is removed without asking. So it locks nothing:
        what keeps writers apart is the lock of `dovecot-uidlist`.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

from pymap.backend.maildir.dotlock import dotlock, holds
from pymap.backend.maildir.filenames import KEYWORD_LETTERS
from pymap.backend.maildir.replace import replace_file

__all__ = ["KEYWORDS", "Keywords"]

log = logging.getLogger("pymap.maildir")

KEYWORDS = "dovecot-keywords"
MAX_OCTETS = 1 << 20
"""What is read of a file that should have 26 lines."""
_ATOM = re.compile(r"[^\x00-\x20\x7f-\U0010ffff(){%*\"\\\]]+")  # flag-keyword, RFC 9051 9


class Keywords:
    """The file of one mailbox. Not for two threads at once."""

    names: tuple[str, ...]
    """By letter, "" for one that has no name that IMAP could show. Letters of a file that have
    none here must be kept all the same when its flags change."""

    def __init__(self, directory: Path) -> None:
        self._path = os.path.join(directory, KEYWORDS)
        self._uidlist = Path(os.path.join(directory, "dovecot-uidlist"))
        self._state: tuple[int, int, int] | None = None
        self._set({})

    def _set(self, written: dict[int, str]) -> None:
        """`written` is by index; a name that is no atom keeps its index but is not shown."""
        self._written = written
        shown = [written.get(index, "") for index in range(len(KEYWORD_LETTERS))]
        self.names = tuple(name if _ATOM.fullmatch(name) else "" for name in shown)
        self._letters: dict[str, str] = {}
        for letter, name in zip(KEYWORD_LETTERS, self.names, strict=True):
            if name:
                self._letters.setdefault(name.lower(), letter)

    def refresh(self) -> bool:
        """Reads the file if it has changed, and says so; else one stat. Raises OSError."""
        try:
            if self._state == _state(os.stat(self._path)):
                return False
            fd = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            if self._state is None:
                return False
            self._state = None
            self._set({})
            return True
        try:
            self._state = _state(os.fstat(fd))
            octets = os.pread(fd, MAX_OCTETS, 0)
        finally:
            os.close(fd)
        self._set(self._parse(os.fsdecode(octets)))
        return True

    def _parse(self, text: str) -> dict[int, str]:
        *lines, rest = text.split("\n")
        written = {}
        bad = 1 if rest else 0
        for line in lines:
            digits, _, name = line.partition(" ")
            if name and digits.isascii() and digits.isdigit() and len(digits) <= 2:
                if int(digits) < len(KEYWORD_LETTERS):
                    written[int(digits)] = name
                    continue
            bad += 1
        if bad:
            log.warning("%s: %d lines make no sense, passed over", self._path, bad)
        return written

    def letters(self, keywords: Iterable[str]) -> dict[str, str]:
        """The letter of each that has one. Case does not matter.   RFC 9051 2.3.2"""
        found = ((keyword, self._letters.get(keyword.lower())) for keyword in keywords)
        return {keyword: letter for keyword, letter in found if letter}

    def admit(self, keywords: Sequence[str], used: Iterable[str] = ()) -> None:
        """Give letters to those that have none, in order, as long as there are letters free; the
        rest is left out, and so is what is no keyword. Durable when it returns.

        Letters in `used` are given to nobody: files have them, though their name is lost. The
        lock of `dovecot-uidlist` is taken, unless this thread holds it. Raises InUse, OSError.
        """
        self.refresh()
        if not self._new(keywords, used):
            return
        with nullcontext() if holds(self._uidlist) else dotlock(self._uidlist):
            self.refresh()
            new = self._new(keywords, used)
            if not new:
                return
            self._write({**self._written, **new})

    def restore(self, names: Sequence[str], used: Iterable[str]) -> None:
        """Give back the names of letters, by letter, that are `used` and have none: the file was
        damaged or lost. Locked and durable like `admit`. Raises InUse, OSError."""
        lost = {
            KEYWORD_LETTERS.index(letter): names[KEYWORD_LETTERS.index(letter)]
            for letter in used
            if KEYWORD_LETTERS.index(letter) < len(names)
        }
        with nullcontext() if holds(self._uidlist) else dotlock(self._uidlist):
            self.refresh()
            lost = {
                index: name
                for index, name in lost.items()
                if name and not self._written.get(index) and name.lower() not in self._letters
            }
            if lost:
                log.warning("%s: written anew with what files have: %s", self._path, lost)
                self._write({**self._written, **lost})

    def _write(self, written: dict[int, str]) -> None:
        written = dict(sorted(written.items()))
        before = 0
        text = "".join(f"{index} {name}\n" for index, name in written.items())
        with suppress(FileNotFoundError):
            before = int(os.stat(self._path).st_mtime)
        made = replace_file(self._path, self._path + ".lock", os.fsencode(text))
        if int(made.st_mtime) <= before:
            # Dovecot looks at whole seconds only, to see whether it has changed.
            os.utime(self._path, (before + 1, before + 1))
            made = os.stat(self._path)
        self._set(written)
        self._state = _state(made)

    def _new(self, keywords: Sequence[str], used: Iterable[str]) -> dict[int, str]:
        used = set(used)
        new: dict[str, str] = {}
        for keyword in keywords:
            if keyword.lower() not in self._letters and _ATOM.fullmatch(keyword):
                new.setdefault(keyword.lower(), keyword)
        free = [
            index
            for index, letter in enumerate(KEYWORD_LETTERS)
            if index not in self._written and letter not in used
        ]
        return dict(zip(free, new.values(), strict=False))


def _state(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_ino, found.st_size, found.st_mtime_ns
