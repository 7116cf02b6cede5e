"""One mailbox directory and what lies in it: names and flags, the list of UIDs, the index.

Everything here blocks. It is called in worker threads, by one at a time, which holds the lock of
the mailbox.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pymap.backend.errors import BackendError, Corrupt, LimitReached, MailboxGone
from pymap.backend.maildir.cache import DigestCache
from pymap.backend.maildir.filenames import (
    KEYWORD_LETTERS,
    NameMaker,
    build_info,
    parse_info,
    sizes,
    split,
)
from pymap.backend.maildir.journal import Journal, Marks
from pymap.backend.maildir.keywords import KEYWORDS, Keywords
from pymap.backend.maildir.maildirsize import MaildirSize
from pymap.backend.maildir.octets import read_message
from pymap.backend.maildir.properties import MAILBOX_PROPERTIES, PropertiesFile
from pymap.backend.maildir.state import State, Step, base_of
from pymap.backend.maildir.uidlist import Entry, Header, Read, UidList
from pymap.wire.types import Flag

__all__ = ["MailboxDirectory", "email_id_of"]

log = logging.getLogger("pymap.maildir")

_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,255}")  # RFC 8474 4


def email_id_of(base: str, extensions: str) -> str:
    """EMAILID: the GUID that a uidlist gives a message, else made of the name, which copies in
    other mailboxes share.   RFC 8474 5.1"""
    for field in extensions.split(" "):
        if field.startswith("G") and _IDENTIFIER.fullmatch(field, 1):
            return field[1:]
    octets = base.encode("utf-8", "surrogateescape")
    return "M" + hashlib.blake2b(octets, digest_size=12).hexdigest()


class MailboxDirectory:
    """What the parts that look and the parts that change share of one mailbox."""

    state: State
    cache: DigestCache
    uid_validity: int
    guid: str

    def __init__(
        self, path: Path, maker: NameMaker, max_keywords: int, size: MaildirSize | None = None
    ) -> None:
        """`size` counts what the account holds."""
        self.directory = path
        self.path = str(path)
        self.maker = maker
        self.max_keywords = max_keywords
        self.size = size
        self.journal = Journal(path)
        self.uidlist = UidList(path)
        self.keywords = Keywords(path)
        self.properties = PropertiesFile(path / MAILBOX_PROPERTIES)
        self.mode = 0o600
        self.identity: tuple[int, int, int] | None = None
        """Device and inodes of the directory and its `cur`: others there are another mailbox."""
        self.entries: dict[str, Entry] = {}
        """Lines of the uidlist that no message known has, by base."""
        self.given_anew: dict[str, Entry] = {}
        """Lines that give another UID to the file of a message known."""
        self.expected: set[str] = set()
        """Files whose events are of our own doing, relative to the mailbox."""
        self.keywords_changed = False
        """Whether letters of file names may mean something else than when they were last read."""
        self.known_marks: Marks | None = None
        """The marks at which everything was known, if nothing could have been missed."""

    def close(self) -> None:
        self.journal.close()
        if hasattr(self, "cache"):
            self.cache.close()

    @property
    def readonly(self) -> bool:
        return self.journal.readonly

    def marks(self) -> Marks:
        """Changes whenever anything in the directories does, or in the uidlist."""
        cur, new = os.stat(f"{self.path}/cur"), os.stat(f"{self.path}/new")
        try:
            uids = os.stat(f"{self.path}/dovecot-uidlist")
        except FileNotFoundError:
            return (cur.st_mtime_ns, new.st_mtime_ns, 0, 0, 0)
        return (cur.st_mtime_ns, new.st_mtime_ns, uids.st_ino, uids.st_size, uids.st_mtime_ns)

    def listing(self) -> set[str]:
        found: set[str] = set()
        for folder in ("new", "cur"):
            try:
                names = os.listdir(f"{self.path}/{folder}")
            except FileNotFoundError:
                if not os.path.isdir(self.path):
                    raise MailboxGone from None
                raise Corrupt("The directory of the messages is missing") from None
            found.update([f"{folder}/{name}" for name in names if name[:1] != "."])
        return found

    def sync(self, folder: str) -> None:
        """What happened in a directory survives a power cut."""
        fd = os.open(f"{self.path}/{folder}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def entry(self, uid: int, base: str) -> Entry:
        at = self.state.index.position(uid)
        assert at is not None
        email_id = self.state.index.email_ids[at]
        return Entry(uid, base, "" if email_id == email_id_of(base, "") else f"G{email_id}")

    def note(self, read: Read | None) -> None:
        """Remember lines of the uidlist whose messages are not known, and those that give a known
        one another UID: a message that went away and came back under its name."""
        if read is None:
            return
        if read.whole:
            self.entries.clear()
        known, uid_next = self.state.uid_of(), self.state.index.uid_next
        for entry in read.entries:
            uid = known.get(entry.base)
            if uid is None:
                self.entries[entry.base] = entry
            elif uid != entry.uid and entry.uid >= uid_next:
                self.given_anew[entry.base] = entry

    def unseen(self) -> set[str]:
        """Bases that have a UID above all that were ever shown."""
        uid_next = self.state.index.uid_next
        return {base for base, entry in self.entries.items() if entry.uid >= uid_next}

    def header(self) -> Header:
        header = self.uidlist.header
        if header is None or header.uid_validity != self.uid_validity:
            raise MailboxGone  # someone has made it anew
        return header

    def all_entries(self, read: Read | None) -> list[Entry]:
        """All lines that a uidlist should have: of the messages known, which count most, of those
        that it had before, and of what could be read of it now."""
        entries = {uid: self.entry(uid, base_of(n)) for uid, n in self.state.names.items()}
        known = {entry.base for entry in entries.values()}
        for entry in (*self.entries.values(), *(read.entries if read else ())):
            if entry.uid not in entries and entry.base not in known:
                entries[entry.uid] = entry
                known.add(entry.base)
        return [entries[uid] for uid in sorted(entries)]

    def refresh_uidlist(self) -> None:
        """Read on in the uidlist, under its lock, and mend it if it was damaged or deleted."""
        read = self.uidlist.refresh()
        if self.uidlist.header is None or (read is not None and read.damaged):
            header = self.uidlist.header
            if header is not None and header.uid_validity != self.uid_validity:
                raise MailboxGone
            written = self.all_entries(read)
            uid_next = max(header.uid_next if header else 1, self.state.index.uid_next)
            log.error("%s: the list of UIDs was damaged and is written anew", self.path)
            self.uidlist.write(Header(self.uid_validity, uid_next, self.guid), written)
            read = Read(True, written, False)
        self.note(read)

    def compact_uidlist(self) -> None:
        """Leave out the lines of messages that are gone, when they are most of it."""
        names = self.state.names
        if len(self.entries) < 1000 or len(self.entries) < len(names):
            return
        with self.uidlist.lock():
            self.refresh_uidlist()
            if self.unseen():
                return
            header = self.header()
            gone, self.entries = self.entries, {}
            log.debug("%s: %d lines of the uidlist are of no message", self.path, len(gone))
            self.uidlist.write(
                header, [self.entry(uid, base_of(names[uid])) for uid in sorted(names)]
            )

    def octets(self, uids: Iterable[int]) -> Iterator[int]:
        """Of the files of messages known."""
        index = self.state.index
        for uid in uids:
            told = sizes(base_of(self.state.names[uid])).size
            at = index.position(uid)
            assert at is not None
            yield index.sizes[at] if told is None else told

    def check_identity(self) -> None:
        """Raises MailboxGone if the directory was removed, or another one stands in its place."""
        try:
            about, cur = os.stat(self.path), os.stat(f"{self.path}/cur")
        except FileNotFoundError:
            if os.path.isdir(self.path):
                raise Corrupt("The directory of the messages is missing") from None
            raise MailboxGone from None
        identity = about.st_dev, about.st_ino, cur.st_ino
        if self.identity is None:
            self.identity = identity
        if self.identity != identity:
            raise MailboxGone

    def refresh_keywords(self) -> None:
        if self.keywords.refresh():
            self.keywords_changed = True

    def flags_of(self, info: str, old: frozenset[Flag] = frozenset()) -> frozenset[Flag]:
        """The flags that a file name tells of, and of the old ones those that it cannot."""
        found = parse_info(info)
        names = self.keywords.names
        told = [names[ord(letter) - ord("a")] for letter in found.letters]
        rest = [flag for flag in old if not flag.is_system]
        if rest:
            # A letter that has another name now no longer stands for what it was.
            were = [
                self.state.letters[ord(c) - ord("a")]
                for c in found.letters
                if names[ord(c) - ord("a")] and self.state.letters
            ]
            rest = [flag for flag in rest if flag.name not in were]
            held = self.keywords.letters([flag.name for flag in rest])
            rest = [flag for flag in rest if flag.name not in held]
        return found.flags.union((Flag(name) for name in told if name), rest)

    def info_of(self, flags: frozenset[Flag], old: str = "") -> str:
        """The end of a file name for these flags; letters that have no keyword stay."""
        found = parse_info(old)
        letters = self.keywords.letters([flag.name for flag in flags if not flag.is_system])
        nameless = [c for c in found.letters if not self.keywords.names[ord(c) - ord("a")]]
        return build_info(flags, [*letters.values(), *nameless], found.other)

    def beyond_letters(self, flags: Iterable[Flag]) -> bool:
        """Whether some of these keywords are in no file name."""
        keywords = [flag.name for flag in flags if not flag.is_system]
        return bool(keywords) and len(self.keywords.letters(keywords)) < len(keywords)

    def admit(self, flags: Iterable[Flag]) -> None:
        """Make room for keywords. Raises LimitReached."""
        known = self.state.index.flags.keywords
        new = [f for f in flags if not f.is_system and f.folded not in known]
        if not new:
            return
        if len(known) + len(new) > self.max_keywords:
            raise LimitReached("Too many different keywords in this mailbox")
        infos = {split(name[4:])[1] for name in self.state.names.values()}
        used = "".join({letter for info in infos for letter in parse_info(info).letters})
        self.expected.add(KEYWORDS)
        self.keywords.admit(sorted(flag.name for flag in new), used)

    def letters_differ(self) -> bool:
        """Whether the names of the keyword letters are not those that the log knows."""
        return list(self.keywords.names) != list(self.state.letters or [""] * len(KEYWORD_LETTERS))

    def new_letters(self) -> Sequence[str] | None:
        """The names of the keyword letters for the next step, if the log does not know them."""
        names = self.keywords.names
        return names if any(names) and self.letters_differ() else None

    def log(self, steps: Sequence[Step], durable: bool = False) -> None:
        """Raises OSError, then nothing was logged."""
        if not self.journal.usable:
            self.checkpoint()
        self.journal.append(steps, durable)

    def log_done(self, steps: Sequence[Step], durable: bool = False) -> None:
        """Log what has happened and cannot be undone. Where that fails, the log is no longer
        believed until there is a new snapshot: the files tell the same."""
        try:
            self.log(steps, durable)
        except OSError as error:
            log.error("%s: cannot be logged: %s", self.path, error.strerror)
            self.journal.distrust()

    def checkpoint(self) -> None:
        """Write the columns as they are, after the last step was applied."""
        self.journal.checkpoint(self.state, self.uid_validity, self.guid, self.known_marks)

    def checkpoint_if_due(self) -> None:
        """Raises nothing: the log goes on."""
        if not self.readonly and self.journal.long:
            try:
                self.checkpoint()
                self.cache.compact(self.state.index.uids)
                self.compact_uidlist()
            except (OSError, BackendError) as error:
                log.warning("%s: no new index: %s", self.path, error)

    def read(self, name: str, size: int | None) -> bytes:
        """The message in a file as the client sees it; `size` is what it has then, if known."""
        return read_message(f"{self.path}/{name}", size, sizes(base_of(name)).verbatim)
