"""What others have done to a mailbox: steps made of the log, the list of UIDs and the directories.

No file is taken for gone before a whole listing has missed it: a directory that is read while
others rename in it may leave out a file that was there all the time.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress

from pymap.backend.api import Digest, digest
from pymap.backend.errors import MailboxGone
from pymap.backend.index import NO_SAVE_DATE
from pymap.backend.maildir.directory import MailboxDirectory, email_id_of
from pymap.backend.maildir.filenames import is_message, parse_info, save_date, sizes, split
from pymap.backend.maildir.journal import Marks
from pymap.backend.maildir.keywords import KEYWORDS
from pymap.backend.maildir.octets import header_of
from pymap.backend.maildir.state import Row, Step, addition, base_of
from pymap.backend.maildir.uidlist import Entry
from pymap.wire.types import Flag, UidSet

__all__ = ["Survey"]

log = logging.getLogger("pymap.maildir")

TICK_NS = 20_000_000  # file systems stamp changes in steps of up to 10 ms
DEGRADED = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
AGAIN_S = 1.0  # until a look that failed is tried again
TRIES = 8  # of finding a file that others rename at the same time
LONG_NAME = 215  # octets of a name, from which on no flags fit behind it
LISTING_SHARE = 20  # without inotify, one part in so many of the time goes into listing


class Survey:
    """Looks at one mailbox, under its lock."""

    def __init__(self, at: MailboxDirectory) -> None:
        self.at = at
        self.look_at_all = True
        self.highest_in_cur = 0
        """Of the messages adopted, the last one that was not in `new`."""
        self._touched: set[str] = set()
        self._listing_s = 0.0
        self._listed_at = 0.0
        self._failed_at = 0.0

    def poll(self) -> bool:
        """Whether there may be news, where nobody tells. A large directory is not listed more
        often than its listing is worth."""
        if self.at.journal.news:
            return True
        if self.at.known_marks is not None and self.at.marks() == self.at.known_marks:
            return False
        return time.monotonic() > self._listed_at + LISTING_SHARE * self._listing_s

    def catch_up(self, touched: Iterable[str], everything: bool) -> list[Step]:
        """What others have done, under the lock. To be asked until there is nothing: steps of other
        processes come first, and the next answer builds on them.

        `touched` are files that someone has moved, relative to the mailbox. `everything` says that
        no one has watched.
        """
        self._touched.update(touched)
        self.look_at_all = self.look_at_all or everything
        steps = self.at.journal.tail()
        if steps is None:
            steps = self._reload()
        if steps:
            return steps
        if self.at.journal.intent:
            self.finish_intent()
        steps = self.look() or self.look_for_unseen()
        if steps and not self.at.readonly:
            self.at.log_done(steps)
        return steps

    def _reload(self) -> list[Step]:
        """The index was made anew, or deleted: what differs from what we know, as one step."""
        self.look_at_all = True
        loaded = self.at.journal.load(None)
        if loaded is not None and loaded.uid_validity != self.at.uid_validity:
            raise MailboxGone
        if loaded is None:
            return []  # what we know is written at the next change
        mine, theirs = self.at.state.index, loaded.state.index
        step = Step(max(self.at.state.next_modseq(), theirs.modseq), theirs.uid_next)
        step.vanished = UidSet.from_sorted(mine.uids) - UidSet.from_sorted(theirs.uids)
        groups: dict[tuple[frozenset[Flag], str], list[int]] = {}
        for row in theirs.rows(UidSet.from_sorted(mine.uids)):
            at = mine.position(row.uid)
            if at is not None and mine.flags.sets[mine.flagsets[at]] != row.flags:
                info = split(loaded.state.names[row.uid])[1]
                groups.setdefault((row.flags, info), []).append(row.uid)
        for (flags, info), uids in groups.items():
            step.flagged.append((UidSet.from_sorted(uids), flags, info))
        rows = theirs.rows(UidSet(((mine.uid_next, 0xFFFFFFFF),)))
        if rows:
            step.added = addition(
                (
                    row.uid, row.flags, row.size, row.internal_date.seconds, row.internal_date.zone,
                    NO_SAVE_DATE if row.save_date is None else row.save_date, row.email_id,
                )
                for row in rows
            )  # fmt: skip
        step.names = [loaded.state.names[row.uid] for row in rows]
        return [step] if step.vanished or step.flagged or step.names else []

    def finish_intent(self) -> None:
        """Complete the renames of a process that died in the middle of them: each message is
        durable, in `tmp` or where it belongs. Nothing is ever removed here: of a damaged log the
        last that can be read may be an intent of long ago."""
        intent, self.at.journal.intent = self.at.journal.intent, None
        if self.at.readonly:
            return
        self.look_at_all = True
        for old, new in intent or ():
            if is_within(old, "tmp") and is_within(new, "cur"):
                with suppress(FileNotFoundError):
                    os.rename(f"{self.at.path}/{old}", f"{self.at.path}/{new}")
        self.at.sync("cur")
        if self.at.journal.usable:
            self.at.journal.announce([])

    def look(self) -> list[Step]:
        """What changed in the directories."""
        try:
            return self._look()
        except BaseException:
            self._owe()  # nobody will tell of it again
            raise

    def _owe(self) -> None:
        self.look_at_all = True
        self._failed_at = time.monotonic()

    @property
    def owed(self) -> bool:
        """Whether a look could not be finished, and it is time to try again."""
        return self.look_at_all and time.monotonic() > self._failed_at + AGAIN_S

    @property
    def complete(self) -> bool:
        return not self.look_at_all and not self._touched

    def _look(self) -> list[Step]:
        names = self.at.state.names
        marks: Marks | None = None
        self.at.refresh_keywords()
        if self.at.keywords_changed:
            self.at.keywords_changed = False
            self._restore_keywords()
            if (step := self._with_other_keywords()) is not None:
                return [step]
        if self.look_at_all:
            started, clock = time.monotonic(), time.time_ns()
            marks = self.at.marks()
            listed, known = self.at.listing(), set(names.values())
            new, gone = listed - known, known - listed
            self._listed_at = time.monotonic()
            self._listing_s = self._listed_at - started
            if max(marks[:2]) > clock - TICK_NS or marks[4] > clock - TICK_NS:
                marks = None  # the next change may leave the same mark
        elif self._touched:
            new, gone = self._look_at(self._touched)
        else:
            return []
        if new or gone or self.at.uidlist.header is not None:
            self.at.note(self.at.uidlist.refresh())
        self._touched = set()
        self.look_at_all = False
        step = self._reconcile(new, gone) if new or gone or self.at.given_anew else None
        self.at.known_marks = None if self.look_at_all else marks
        return [] if step is None else [step]

    def look_for_unseen(self) -> list[Step]:
        """Once everything has been looked at: of the UIDs in the list that are above all shown,
        those whose files a second look finds; the others are of messages that are gone."""
        header, uid_next = self.at.uidlist.header, self.at.state.index.uid_next
        if header is None or header.uid_next <= uid_next:
            return []
        step = Step(self.at.state.next_modseq(), header.uid_next)
        found, _ = self._find(self.at.unseen())
        self._add(step, [(self.at.entries[base], name) for base, name in found.items()])
        return [step]

    def _find(self, bases: AbstractSet[str]) -> tuple[dict[str, str], bool]:
        """The files of these bases, and whether it is sure that there are no others.

        Others rename them all the time: one that is listed is looked for until it is there, and one
        that is not, in two listings during which the directories stayed as they were.
        """
        found: dict[str, str] = {}
        absent = 0
        for _ in range(TRIES):
            left = bases - found.keys()
            if not left or absent == 2:
                return found, True
            before = self.at.marks()[:2]
            listed = [name for name in self.at.listing() if base_of(name) in left]
            absent += len(listed) < len(left) and self.at.marks()[:2] == before
            found.update((base_of(name), name) for name in listed if self._is_file(name))
        return found, not bases - found.keys()

    def _restore_keywords(self) -> None:
        """Should the file have lost names that files still use, write them into it again."""
        known, names = self.at.state.letters, self.at.keywords.names
        if not any(was and not now for was, now in zip(known, names, strict=False)):
            return
        infos = {split(name[4:])[1] for name in self.at.state.names.values()}
        used = {letter for info in infos for letter in parse_info(info).letters}
        if not self.at.readonly and used:
            with self._as_far_as_possible("keywords"):
                self.at.keywords.restore(known, used)

    @contextmanager
    def _as_far_as_possible(self, what: str) -> Iterator[None]:
        """On a disk that is full or cannot be written, what is there can still be read."""
        try:
            yield
        except OSError as error:
            if error.errno not in DEGRADED:
                raise
            log.error("%s: %s: %s", self.at.path, what, error.strerror)
            self._owe()

    def _with_other_keywords(self) -> Step | None:
        """Names that the letters of some messages have got: Dovecot renames the files first."""
        index, names = self.at.state.index, self.at.state.names
        become: dict[tuple[int, str], frozenset[Flag]] = {}
        groups: dict[frozenset[Flag], list[int]] = {}
        for uid, number in zip(index.uids, index.flagsets, strict=True):
            info = split(names[uid][4:])[1]
            if not parse_info(info).letters:
                continue
            old = index.flags.sets[number]
            new = become.get((number, info))
            if new is None:
                become[number, info] = new = self.at.flags_of(info, old)
            if new != old:
                groups.setdefault(new, []).append(uid)
        if not groups:
            return None
        step = Step(self.at.state.next_modseq(), index.uid_next, letters=self.at.new_letters())
        step.flagged = [(UidSet.from_sorted(uids), flags, None) for flags, uids in groups.items()]
        return step

    def _look_at(self, touched: Iterable[str]) -> tuple[set[str], set[str]]:
        """Of some files, those that are new and those that are gone."""
        new, gone = set(), set()
        names, uid_of = self.at.state.names, self.at.state.uid_of()
        for name in touched:
            if name == KEYWORDS:
                continue
            uid = uid_of.get(base_of(name))
            known = None if uid is None else names[uid]
            if name != known and os.path.lexists(f"{self.at.path}/{name}"):
                new.add(name)
            if known is not None and not os.path.lexists(f"{self.at.path}/{known}"):
                gone.add(known)
        return new, gone

    def _reconcile(self, new: set[str], gone: set[str]) -> Step | None:
        """Make one step of files that are new and files that are gone."""
        state = self.at.state
        uid_of = state.uid_of()
        lost = {base_of(name): name for name in gone}
        moved: dict[int, str] = {}
        fresh: list[str] = []
        for name in sorted(new):
            uid = uid_of.get(base_of(name))
            if uid is None:
                fresh.append(name)
            elif base_of(name) in lost:
                del lost[base_of(name)]
                moved[uid] = name
            elif again := self._second(name, moved.get(uid, state.names[uid])):
                fresh.append(again)
        found, sure = self._find(lost.keys())
        for base, name in found.items():
            del lost[base]
            moved[uid_of[base]] = name
        if not sure:
            lost.clear()  # they may be somewhere: in the next look they will be
            self._owe()
        step = Step(state.next_modseq(), state.index.uid_next)
        step.vanished = UidSet.of(*(uid_of[base] for base in lost))
        self.at.refresh_keywords()
        groups: dict[tuple[frozenset[Flag], str], list[int]] = {}
        for uid, name in sorted(moved.items()):
            at = state.index.position(uid)
            assert at is not None
            name = self._into_cur(name)
            info = split(name[4:])[1]
            old = state.index.flags.sets[state.index.flagsets[at]]
            groups.setdefault((self.at.flags_of(info, old), info), []).append(uid)
        step.flagged = [(UidSet.of(*uids), flags, info) for (flags, info), uids in groups.items()]
        if self.at.given_anew:
            fresh += self._come_back(step, moved)
        if fresh:
            with self._as_far_as_possible("new messages get no UIDs"):
                self._adopt(step, fresh)
        return step if step.vanished or step.flagged or step.names else None

    def _come_back(self, step: Step, moved: Mapping[int, str]) -> list[str]:
        """Files that the uidlist has given another UID: to us, their messages are gone and others
        have come."""
        uid_of, names = self.at.state.uid_of(), self.at.state.names
        files = []
        for base, entry in self.at.given_anew.items():
            uid = uid_of.get(base)
            if uid is not None and uid not in step.vanished:
                files.append(moved.get(uid, names[uid]))
                step.vanished |= UidSet.of(uid)
            self.at.entries[base] = entry
        self.at.given_anew.clear()
        return files

    def _second(self, name: str, known: str) -> str | None:
        """A second file of one base: another message gets a name of its own, which is returned."""
        if self.at.readonly:
            return None
        path, other = f"{self.at.path}/{name}", f"{self.at.path}/{known}"
        with suppress(FileNotFoundError):
            # A second name of one file is left alone: who has made it is about to remove the other.
            if not os.path.samestat(os.lstat(path), os.lstat(other)):
                return self._with_new_base(name)
        return None

    def _with_new_base(self, name: str) -> str | None:
        """Give a file a name that it can be known by; None if it is gone."""
        _, info = split(name[4:].replace("\n", "_"))
        made = f"{name[:4]}{self.at.maker.unique()}{info}"
        log.warning("%s: %r is called %r now", self.at.path, name, made)
        self.at.expected.update((name, made))
        try:
            os.rename(f"{self.at.path}/{name}", f"{self.at.path}/{made}")
        except FileNotFoundError:
            return None
        return made

    def _into_cur(self, name: str) -> str:
        """Move a file from `new` to `cur`, where it can have flags."""
        if name.startswith("cur/") or self.at.readonly:
            return name
        base, info = split(name[4:])
        target = f"cur/{base}{info or ':2,'}"
        self.at.expected.update((name, target))
        with suppress(FileNotFoundError):
            os.rename(f"{self.at.path}/{name}", f"{self.at.path}/{target}")
        return target

    def _adopt(self, step: Step, fresh: Sequence[str]) -> None:
        """Give UIDs to files, as the uidlist says or as it will."""
        if self.at.readonly:
            self.at.note(self.at.uidlist.refresh())
            self._add(step, [(self.at.entries[base_of(n)], n) for n in fresh if self._has_uid(n)])
            return
        with self.at.uidlist.lock():
            self.adopt_locked(step, fresh)

    def _has_uid(self, name: str) -> bool:
        entry = self.at.entries.get(base_of(name))
        return entry is not None and entry.uid >= self.at.state.index.uid_next

    def adopt_locked(self, step: Step, fresh: Iterable[str]) -> None:
        self.at.refresh_uidlist()
        names = [name for name in dict.fromkeys(fresh) if self._is_file(name)]
        if self.at.given_anew:
            names += self._come_back(step, {})
        # Another program may have given UIDs to files that we have not met. They come first, or
        # never: UIDs are told in ascending order.
        unseen = self.at.unseen() - {base_of(name) for name in names}
        names += self._find(unseen)[0].values()
        listed: list[tuple[Entry, str]] = []
        arrived: list[str] = []
        taken: dict[str, str] = {}
        for name in names:
            base = base_of(name)
            if base in taken:
                again = self._second(name, taken[base])
                if again is not None:
                    arrived.append(again)
                elif self._is_file(name):
                    taken[base] = name  # it was moved while we looked
                continue
            taken[base] = name
            entry = self.at.entries.get(base)
            if entry is not None and entry.uid >= self.at.state.index.uid_next:
                continue
            strange = not is_message(name[4:]) or len(os.fsencode(name)) > LONG_NAME
            if strange or self.at.uidlist.holds(base):
                # A name that no uidlist can hold, or an expunged message that came back.
                del taken[base]
                again = self._with_new_base(name)
                if again is not None:
                    arrived.append(again)
        for base, name in taken.items():
            entry = self.at.entries.get(base)
            if entry is not None and entry.uid >= self.at.state.index.uid_next:
                listed.append((entry, name))
            else:
                arrived.append(name)
        arrived.sort(key=_age)
        header = self.at.header()
        first = max(header.uid_next, self.at.state.index.uid_next)
        entries = [Entry(uid, base_of(name), "") for uid, name in enumerate(arrived, first)]
        self.at.uidlist.append(entries)
        self._add(step, [*listed, *zip(entries, arrived, strict=True)])
        step.uid_next = max(step.uid_next, self.at.header().uid_next)

    def _is_file(self, name: str) -> bool:
        try:
            return stat.S_ISREG(os.lstat(f"{self.at.path}/{name}").st_mode)
        except FileNotFoundError:
            return False

    def _add(self, step: Step, found: list[tuple[Entry, str]]) -> None:
        """Add files that have UIDs to a step. Those that are no files, or gone, are left out."""
        rows: list[Row] = []
        names: list[str] = []
        kept: list[tuple[int, Digest, bytes | None]] = []
        self.at.refresh_keywords()
        found.sort(key=lambda pair: pair[0].uid)
        for entry, name in found:
            if name.startswith("cur/"):
                self.highest_in_cur = entry.uid
            measured = self._measure(entry, name, kept)
            if measured is None:
                continue
            name, size, seconds = measured
            info = split(name[4:])[1]
            rows.append((
                entry.uid, self.at.flags_of(info), size, seconds, 0,
                save_date(entry.base, seconds), email_id_of(entry.base, entry.extensions),
            ))  # fmt: skip
            names.append(name)
            self.at.entries.pop(entry.base, None)
        if kept:
            self.at.cache.put(kept)
        if rows:
            step.letters = self.at.new_letters()
            step.added, step.names = addition(rows), names
            step.uid_next = max(step.uid_next, rows[-1][0] + 1)

    def _measure(
        self, entry: Entry, name: str, kept: list[tuple[int, Digest, bytes | None]]
    ) -> tuple[str, int, int] | None:
        """Where the file of a message is now, its size as the client sees it, and when it was last
        changed; None if it is gone, or no file. What had to be read for that is added to `kept`."""
        for _ in range(TRIES):
            name = self._into_cur(name)
            path = f"{self.at.path}/{name}"
            about, size = None, 0
            try:
                about = os.lstat(path)
                if not stat.S_ISREG(about.st_mode):
                    return None
                told, size = sizes(entry.base), about.st_size
                if not told.verbatim and told.virtual is not None and told.size == size:
                    size = told.virtual
                elif not told.verbatim:
                    octets = self.at.read(name, None)
                    size, made = len(octets), digest(octets)
                    kept.append((entry.uid, made, header_of(octets, made)))
                return name, size, int(about.st_mtime)
            except PermissionError:
                log.error("%s: may not be read", path)
                return (name, size, int(about.st_mtime)) if about is not None else None
            except FileNotFoundError:
                # Its UID is given: should someone have moved it just now, it is still that one.
                names = [n for n in self.at.listing() if base_of(n) == entry.base]
                if not names:
                    return None
                name = names[0]
        return None


def is_within(name: str, folder: str) -> bool:
    """Whether that is the name of a file in a folder of the mailbox."""
    return name.startswith(f"{folder}/") and "/" not in name[len(folder) + 1 :]


_NUMBERS = re.compile(r"[0-9]{1,18}")


def _age(name: str) -> tuple[list[int], str]:
    """Sorts files in the order in which they arrived: seconds, microseconds and what else counts up
    stand in their names, without leading zeros."""
    base = name[4:]
    numbers = _NUMBERS.findall(base, 0, 100) if save_date(base, 0) else []
    return [int(number) for number in numbers[:4]], base
