"""The files of one mailbox, for `mailbox.py`: opening them, and the three parts that use them."""

from __future__ import annotations

import logging
import os
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

from pymap.backend.api import digest
from pymap.backend.errors import Corrupt, MailboxGone, NoPermission, ReadOnly
from pymap.backend.maildir.cache import Cached, DigestCache
from pymap.backend.maildir.directory import MailboxDirectory
from pymap.backend.maildir.filenames import made_by_dead
from pymap.backend.maildir.journal import Marks
from pymap.backend.maildir.keywords import Keywords
from pymap.backend.maildir.layout import OF_MAILBOX
from pymap.backend.maildir.octets import header_of, read_message_now
from pymap.backend.maildir.properties import MAILBOX_PROPERTIES, PropertiesFile
from pymap.backend.maildir.state import State, base_of
from pymap.backend.maildir.survey import Survey
from pymap.backend.maildir.uidlist import Header, Read, UidList
from pymap.backend.maildir.writer import Writer

__all__ = ["MailboxFiles", "Wanted"]

log = logging.getLogger("pymap.maildir")

OLD_S = 36 * 3600  # age of a file in tmp that nobody will finish: maildir(5)


Wanted = tuple[int, str, int]
"""A message to be read: UID, file name relative to the mailbox, size as the client sees it."""


class MailboxFiles:
    """One mailbox on disk. Methods block, and raise OSError and the errors of `backend.errors`."""

    def __init__(self, at: MailboxDirectory, new_uid_validity: Callable[[], int]) -> None:
        self.at = at
        self.survey = Survey(at)
        self.writer = Writer(at, self.survey)
        self._new_uid_validity = new_uid_validity

    def rename_to(self, path: Path) -> None:
        """The directory has another name now, and nothing else has changed."""
        at = self.at
        at.directory, at.path = path, str(path)
        at.journal.renamed(path)
        at.uidlist, at.keywords = UidList(path), Keywords(path)
        at.properties = PropertiesFile(path / MAILBOX_PROPERTIES)
        at.cache.close()
        at.cache = DigestCache.of(path, at.uid_validity)

    def take_new_id(self) -> None:
        """This is a copy of another mailbox: the id is that of the other one."""
        if self.at.readonly:
            raise NoPermission("A copy of another mailbox, which cannot be given an id of its own")
        self.at.journal.lock()
        try:
            with self.at.uidlist.lock():
                self.at.uidlist = UidList(self.at.directory)
                read = self.at.uidlist.refresh()
                header = self.at.header()
                self.at.guid = token_hex(16)
                self.at.uidlist.write(
                    header._replace(guid=self.at.guid), read.entries if read else ()
                )
                self.at.note(read)
            self.at.checkpoint()
        finally:
            self.at.journal.unlock()

    def exists(self) -> bool:
        return os.path.isdir(f"{self.at.path}/cur")

    def load(self) -> None:
        """Find out all that is known: from the index if it is good, else from the files."""
        self._make_directories()
        self.at.check_identity()
        self.at.journal.lock()
        try:
            loaded = self.at.journal.load(None)
            if loaded is not None:
                self.at.state, self.at.uid_validity, self.at.guid = loaded[:3]
            else:
                self.at.state, self.at.uid_validity, self.at.guid = _unknown(), 0, ""
            if loaded is None or loaded.marks is None or loaded.marks != self.at.marks():
                self._load_uidlist(loaded is not None)
            else:
                self.survey.look_at_all, self.at.known_marks = False, loaded.marks
            self.at.cache = DigestCache.of(self.at.directory, self.at.uid_validity)
            if self.at.journal.intent:
                self.survey.finish_intent()
            self._clean_tmp()
            self.at.refresh_keywords()
            self.at.keywords_changed = self.at.letters_differ()
            found = 0
            while steps := self.survey.look() or self.survey.look_for_unseen():
                if self.at.journal.usable:
                    self.at.log_done(steps)
                for step in steps:
                    self.at.state.take(step)
                    found += len(step.names)
            if loaded is None:
                # What another program has moved out of `new` has been shown to someone.
                self.at.state.recent_from = self.survey.highest_in_cur + 1
            if not self.at.readonly and (found > 1000 or not self.at.journal.usable):
                try:
                    self.at.checkpoint()
                except OSError as error:
                    log.error("%s: no index: %s", self.at.path, error.strerror)
        finally:
            self.at.journal.unlock()

    def _make_directories(self) -> None:
        found = os.stat(self.at.path)
        self.at.mode = found.st_mode & 0o666
        for name in ("tmp", "new", "cur"):
            path = f"{self.at.path}/{name}"
            try:
                made = os.lstat(path)
            except FileNotFoundError:
                if name == "cur" and self._has_messages():
                    raise Corrupt("The directory of the messages is missing") from None
                with suppress(FileExistsError):
                    os.mkdir(path, found.st_mode & 0o777)
            else:
                if stat.S_ISLNK(made.st_mode):
                    inside = os.path.realpath(self.at.path) + os.sep
                    if not os.path.realpath(path).startswith(inside):
                        raise NoPermission("The mailbox leads elsewhere")

    def _has_messages(self) -> bool:
        read = UidList(self.at.directory).refresh()
        return read is not None and bool(read.entries)

    def _load_uidlist(self, indexed: bool) -> None:
        read = self.at.uidlist.refresh()
        header = self.at.uidlist.header
        if header is not None and indexed and header.uid_validity != self.at.uid_validity:
            # The mailbox was made anew by someone else: nothing that we know is of use.
            self.at.state, self.at.uid_validity, self.at.guid = _unknown(), 0, ""
        damaged = read is not None and read.damaged
        names = self.at.state.names.values()
        lacking = not all(self.at.uidlist.holds(base_of(name)) for name in names)
        if header is None or not header.guid or damaged or lacking:
            header = self._mend_uidlist()
        else:
            self.at.note(read)
        self.at.uid_validity, self.at.guid = header.uid_validity, header.guid

    def _mend_uidlist(self) -> Header:
        """Write the uidlist anew from what it says and what the index knows. Without either,
        messages get new UIDs in a new UIDVALIDITY."""
        if self.at.readonly:
            header = self.at.uidlist.header
            if header is None:
                raise NoPermission("The mailbox cannot be written, and has no list of UIDs")
            return header._replace(guid=header.guid or self.at.guid or token_hex(16))
        with self.at.uidlist.lock():
            self.at.uidlist = UidList(self.at.directory)  # once more, from its beginning
            read = self.at.uidlist.refresh()
            header = self.at.uidlist.header
            if header is not None and self.at.uid_validity not in (0, header.uid_validity):
                raise MailboxGone  # made anew by someone else at this moment
            if header is None:
                header = Header(
                    self.at.uid_validity or self._new_uid_validity(),
                    self.at.state.index.uid_next,
                    "",
                )
                if read is not None and read.damaged:
                    with suppress(OSError):
                        os.link(
                            f"{self.at.path}/dovecot-uidlist",
                            f"{self.at.path}/dovecot-uidlist.damaged-{int(time.time())}",
                        )
            if header.uid_validity == self.at.uid_validity:
                header = header._replace(
                    uid_next=max(header.uid_next, self.at.state.index.uid_next)
                )
            header = header._replace(guid=header.guid or self.at.guid or token_hex(16))
            written = self.at.all_entries(read)
            self.at.uidlist.write(header, written)
            self.at.entries.clear()
            self.at.note(Read(True, written, False))
            assert self.at.uidlist.header is not None
            return self.at.uidlist.header

    def _clean_tmp(self) -> None:
        """Remove what processes left that are gone."""
        old = time.time() - OLD_S
        with suppress(OSError):
            for name in os.listdir(self.at.path):
                if name.startswith(OF_MAILBOX) and name.endswith(".new"):
                    os.unlink(f"{self.at.path}/{name}")  # its writer held the lock that we hold
            for name in os.listdir(f"{self.at.path}/tmp"):
                path = f"{self.at.path}/tmp/{name}"
                with suppress(OSError):
                    # Not the time of the content, which is the internal date of a message.
                    if made_by_dead(name) or os.lstat(path).st_ctime < old:
                        os.unlink(path)

    def properties(self) -> Mapping[str, bytes]:
        """Three stats when nothing has changed. Raises MailboxGone, Corrupt."""
        found = self.at.properties.read()
        self.at.check_identity()  # what stands there now need not be this mailbox
        return found

    def write_properties(
        self, changes: Mapping[str, bytes | None], expected: Mapping[str, bytes | None] | None
    ) -> bool:
        """With the lock held. Raises ReadOnly, Corrupt."""
        if self.at.readonly:
            raise ReadOnly
        return self.at.properties.write(changes, expected)

    def settle(self, marks: Marks) -> None:
        """Note that at `marks` everything was known: then the next open need not list the
        directories."""
        if not self.at.journal.usable or not self.survey.complete:
            return
        self.at.journal.lock()
        try:
            self.at.check_identity()
            if not self.at.journal.news and marks == self.at.marks():
                self.at.journal.mark(marks)
        finally:
            self.at.journal.unlock()

    def contents_now(self, uids: Sequence[int]) -> dict[int, bytes]:
        """For the event loop: those that the system has in memory, where it can tell."""
        found: dict[int, bytes] = {}
        if not self.at.cache.in_memory:
            return found
        index, names = self.at.state.index, self.at.state.names
        for uid in uids:
            at = index.position(uid)
            if at is None:
                continue
            octets = read_message_now(f"{self.at.path}/{names[uid]}", index.sizes[at])
            if octets is None:
                break  # the rest is probably as cold
            found[uid] = octets
        return found

    def contents(self, wanted: Sequence[Wanted]) -> tuple[dict[int, bytes], list[int]]:
        """The octets of some messages by UID, and the UIDs of those that are gone
        from where they were."""
        found: dict[int, bytes] = {}
        missing: list[int] = []
        for uid, name, size in wanted:
            try:
                found[uid] = octets = self.at.read(name, size)
            except FileNotFoundError:
                missing.append(uid)
                continue
            if len(octets) != size:
                log.warning("%s/%s: %d octets, not %d", self.at.path, name, len(octets), size)
        return found, missing

    def derived(self, wanted: Sequence[Wanted]) -> tuple[dict[int, Cached], list[int]]:
        """What is derived of some messages, made now and kept; and the UIDs of those that are not
        where they were."""
        found: dict[int, Cached] = {}
        missing: list[int] = []
        for uid, name, size in wanted:
            try:
                octets = self.at.read(name, size)
            except FileNotFoundError:
                missing.append(uid)
            else:
                made = digest(octets)
                found[uid] = Cached(made, header_of(octets, made))
        self.at.cache.put((uid, *kept) for uid, kept in found.items())
        return found, missing


def _unknown() -> State:
    """Nothing is known, nor what was expunged until now."""
    state = State()
    state.index.follow(state.next_modseq())
    state.index.changed_log.floor = state.index.vanished_log.floor = state.index.modseq
    return state
