"""Maildir with the files that Dovecot keeps beside it: flags, keywords, UIDs, folders.

What the names and files mean is in `pymap.backend.maildir`, whose modules are used here. An
import takes no lock and changes nothing. An export is a tree that Dovecot, or pymap itself, serves
with the same UIDs.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Any, BinaryIO

from pymap.admin.formats.content import (
    Message,
    bare_lfs,
    pieces,
    size_of,
    with_crlf,
)
from pymap.admin.formats.dates import instant
from pymap.admin.formats.export import BadExport, Mailbox, Tree
from pymap.admin.formats.files import new_file, open_plain, sync_directory
from pymap.admin.formats.names import INBOX, NoSuchPath
from pymap.backend.errors import CannotDo
from pymap.backend.maildir.filenames import (
    KEYWORD_LETTERS,
    NameMaker,
    build_info,
    is_message,
    parse_info,
    sizes,
    split,
)
from pymap.backend.maildir.keywords import KEYWORDS, Keywords
from pymap.backend.maildir.layout import LAYOUTS
from pymap.backend.maildir.uidlist import Entry, Header, UidList
from pymap.wire import modutf7
from pymap.wire.types import Flag, InternalDate

__all__ = ["LAYOUTS", "MaildirTree", "is_ours", "looks_like_maildir", "places", "read"]

log = logging.getLogger("pymap.admin")

MOST_LOOKS = 100
"""How often a mailbox is listed again for messages that are not where they were."""
_NO_UID = 1 << 32  # sorts behind all
_SUBS = ("cur", "new", "tmp")


def looks_like_maildir(path: Path) -> bool:
    return (path / "cur").is_dir()


def places(root: Path, layout: str) -> dict[str, Path]:
    """The mailboxes of a tree, INBOX among them: names, and where they are."""
    return LAYOUTS[layout](root).places()


# -- reading --


def read(directory: Path, mailbox: str = "") -> Iterator[Message]:
    """The messages of one mailbox, in the order of their UIDs; those without one come last, by
    name. Names are held in memory, contents are not. Raises OSError."""
    keywords = Keywords(directory)
    _refresh(keywords, directory / KEYWORDS)
    files = _Files(directory)
    for base, path in _in_order(directory, files.found):
        message = files.open(base, path)
        if message is None:
            log.warning("%s: gone, or no plain file, left out", path)
            continue
        path, file = message
        with file:
            info = parse_info(split(path.name)[1])
            names = [keywords.names[KEYWORD_LETTERS.index(letter)] for letter in info.letters]
            flags = (*sorted(flag.name for flag in info.flags), *filter(None, names))
            verbatim = sizes(base).verbatim or not bare_lfs(pieces(file))
            file.seek(0)
            if verbatim:
                size = os.fstat(file.fileno()).st_size
                content = pieces(file)
            else:
                size = size_of(with_crlf(pieces(file)))
                file.seek(0)
                content = with_crlf(pieces(file))
            date = instant(os.fstat(file.fileno()).st_mtime)
            yield Message(mailbox, flags, date, size, content)


def _refresh(what: Keywords | UidList, path: Path) -> Any:
    """Read a file beside the mail. Without it there is less to tell of the mail, but all of it."""
    try:
        return what.refresh()
    except OSError as error:
        why = "a link" if error.errno == errno.ELOOP else error.strerror
        log.warning("%s: cannot be read, passed over: %s", path, why)
        return None


def _in_order(directory: Path, found: dict[str, Path]) -> list[tuple[str, Path]]:
    listed = _refresh(UidList(directory), directory / "dovecot-uidlist")
    uids = {entry.base: entry.uid for entry in listed.entries} if listed else {}
    return sorted(found.items(), key=lambda each: (uids.get(each[0], _NO_UID), _age(each[0])))


def _age(base: str) -> tuple[int, str]:
    """Names begin with the second in which they were made."""
    digits = base.partition(".")[0]
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 19 else 0, base


class _Files:
    """The files of a mailbox, which others may rename meanwhile, for that is how flags change."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._looks = 0
        self.found = self._look()

    def _look(self) -> dict[str, Path]:
        self._looks += 1
        found = {}
        for sub in ("new", "cur"):
            with suppress(FileNotFoundError):
                for name in os.listdir(self._directory / sub):
                    path = self._directory / sub / name
                    if is_message(name):
                        found[split(name)[0]] = path
                    elif self._looks == 1 and name[0] != ".":
                        log.warning("%s: no name of a message, left out", path)
        return found

    def open(self, base: str, path: Path) -> tuple[Path, BinaryIO] | None:
        """None if it is gone, or was no plain file."""
        with suppress(FileNotFoundError):
            return path, open_plain(path)
        if not os.path.lexists(path):
            if self._looks < MOST_LOOKS:
                self.found = self._look()
            with suppress(FileNotFoundError, KeyError):
                return self.found[base], open_plain(self.found[base])
        return None


# -- writing --


class MaildirTree(Tree):
    """`layout` as for the backend: "++" or "fs". Line ends stay as they are, which are CRLF."""

    def __init__(self, root: Path, layout: str = "++") -> None:
        super().__init__(root)
        self._layout = LAYOUTS[layout](root)
        self._mark = layout == "++"
        self._names = NameMaker()
        self._subscribed: list[str] = []
        self._special_use: dict[str, list[str]] = {}

    def begin(self, mailbox: Mailbox) -> None:
        try:
            directory = self._layout.path(mailbox.name)
        except CannotDo as error:
            raise NoSuchPath(f"{error}, in Maildir") from error
        for sub in _SUBS:
            (directory / sub).mkdir(mode=0o700, parents=True)
        if self._mark and mailbox.name != INBOX:  # as Dovecot does: INBOX and its quota are above
            with new_file(directory / "maildirfolder"):
                pass
        if mailbox.subscribed:
            self._subscribed.append(mailbox.name)
        if mailbox.special_use:
            self._special_use[mailbox.name] = list(mailbox.special_use)
        self._mailbox, self._directory = mailbox, directory
        self._entries: list[Entry] = []
        self._keywords = Keywords(directory)
        self._left_out: dict[str, None] = {}

    def add(
        self, uid: int, flags: Sequence[str], internal_date: InternalDate, content: BinaryIO
    ) -> None:
        bare = bare_lfs(pieces(content))
        size = content.tell()
        base = self._names.make(size, size + bare, verbatim=bare > 0)
        letters = self._letters([flag for flag in flags if not flag.startswith("\\")])
        name = base + build_info(map(Flag.of, flags), letters)
        content.seek(0)
        with new_file(self._directory / "cur" / name, internal_date.seconds) as file:
            file.writelines(pieces(content))
        self._entries.append(Entry(uid, base, ""))

    def _letters(self, keywords: list[str]) -> list[str]:
        letters = self._keywords.letters(keywords)
        if missing := [keyword for keyword in keywords if keyword not in letters]:
            self._keywords.admit(missing)
            letters = self._keywords.letters(keywords)
            self._left_out.update((word, None) for word in missing if word not in letters)
        return list(letters.values())

    def end(self) -> None:
        mailbox, directory = self._mailbox, self._directory
        try:
            header = Header(mailbox.uid_validity, mailbox.uid_next, "")
            UidList(directory).write(header, self._entries)
        except ValueError as error:
            raise BadExport(f"{mailbox.name}: {error}") from error
        if self._left_out:
            words = " ".join(self._left_out)
            log.warning("%s: a Maildir has 26 keywords, left out: %s", mailbox.name, words)
        for sub in _SUBS:
            sync_directory(directory / sub)
        sync_directory(directory)

    def finish(self) -> None:
        if self._subscribed:
            with new_file(self.root / "subscriptions") as file:
                file.write(b"V\t2\n\n")
                for name in self._subscribed:
                    file.write(b"\t".join(map(modutf7.encode, name.split("/"))) + b"\n")
        if self._special_use:
            with new_file(self.root / "pymap-special-use") as file:
                uses = json.dumps(self._special_use, ensure_ascii=False, indent=1)
                file.write(uses.encode() + b"\n")


_OWN_FILE = re.compile(r"dovecot-(uidlist|keywords)|subscriptions|maildirfolder|pymap-special-use")


def is_ours(path: Path, inside: PurePath) -> bool:
    """Whether an export has made what stands there in its tree. It has a dovecot-uidlist in each
    mailbox, and all messages in cur; that of a program that delivers mail may have neither."""
    if path.is_dir():
        return path.name not in _SUBS or (path.parent / "dovecot-uidlist").is_file()
    if inside.parent.name in _SUBS:
        return inside.parent.name == "cur" and (path.parents[1] / "dovecot-uidlist").is_file()
    return bool(_OWN_FILE.fullmatch(path.name))
