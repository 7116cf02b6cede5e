"""How a mailbox is changed: in the file system first, then in the log, then for all to see.

What adds messages stages them in `tmp`, durable, and then commits: under the lock of
`dovecot-uidlist`, rename into `cur`, sync of the directory, lines of the uidlist. More than one
message is announced in the log before, and completed by whoever comes after a crash.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

from pymap.backend.api import Digest, NewMessage, Stored
from pymap.backend.errors import BackendError, LimitReached, NoPermission
from pymap.backend.maildir.directory import MailboxDirectory, email_id_of
from pymap.backend.maildir.filenames import save_date, sizes, split
from pymap.backend.maildir.octets import header_of, link, virtual_size, write_new
from pymap.backend.maildir.state import Row, Step, addition, base_of
from pymap.backend.maildir.survey import Survey
from pymap.backend.maildir.uidlist import Entry
from pymap.wire.types import NO_UIDS, Flag, FlagOp, UidSet

__all__ = ["Copies", "Staged", "Writer"]

log = logging.getLogger("pymap.maildir")


class Staged(NamedTuple):
    """A message that lies in `tmp` of its mailbox, durable, and waits for a UID."""

    base: str
    flags: frozenset[Flag]
    size: int
    seconds: int
    zone: int
    email_id: str | None
    """None: derived from the name."""
    kept: tuple[Digest, bytes | None] | None = None
    """What the cache keeps: the digest, and the header unless it is too long."""


class Copies(NamedTuple):
    """Some messages on their way to another mailbox: what was staged of which UID."""

    source: list[int]
    staged: list[Staged]


class _Change(NamedTuple):
    """New flags of a message: its file is renamed from `old` to `new`, which end in another `info`
    then; None if the name says nothing of what changes."""

    uid: int
    flags: frozenset[Flag]
    info: str | None
    old: str
    new: str


class Writer:
    """Changes one mailbox, under its lock, once `Survey.catch_up` has nothing more to tell.

    Columns are only read here. Each method returns the steps that it took, for the event loop to
    apply before anyone else gets the lock.
    """

    def __init__(self, at: MailboxDirectory, survey: Survey) -> None:
        self.at = at
        self.survey = survey

    def stage(self, messages: Iterable[NewMessage]) -> list[Staged]:
        """Write messages to `tmp`, durably: all or none."""
        staged: list[Staged] = []
        try:
            for message in messages:
                staged.append(self._stage(message))
        except BaseException:
            self.unstage(staged)
            raise
        return staged

    def _stage(self, message: NewMessage) -> Staged:
        content = message.content
        virtual = virtual_size(content)
        base = self.at.maker.make(len(content), virtual, verbatim=virtual != len(content))
        write_new(
            f"{self.at.path}/tmp/{base}", content, message.internal_date.seconds, self.at.mode
        )
        return Staged(
            base, message.flags, len(content), *message.internal_date, message.email_id,
            (message.digest, header_of(content, message.digest)),
        )  # fmt: skip

    def unstage(self, staged: Iterable[Staged]) -> None:
        for item in staged:
            with suppress(OSError):
                os.unlink(f"{self.at.path}/tmp/{item.base}")

    def stage_copies(self, source: Writer, uids: UidSet) -> tuple[Copies, list[int]]:
        """Link messages of `source`, whose lock is held, into `tmp`; also returns the UIDs whose
        files were not there."""
        copies, missing = Copies([], []), []
        index, names = source.at.state.index, source.at.state.names
        try:
            for start, stop in uids.slices(index.uids):
                for at in range(start, stop):
                    uid = index.uids[at]
                    base = self._renamed(base_of(names[uid]), index.sizes[at])
                    try:
                        link(f"{source.at.path}/{names[uid]}", f"{self.at.path}/tmp/{base}")
                    except FileNotFoundError:
                        missing.append(uid)
                        continue
                    copies.source.append(uid)
                    copies.staged.append(Staged(
                        base, index.flags.sets[index.flagsets[at]], index.sizes[at],
                        index.dates[at], index.zones[at], index.email_ids[at],
                    ))  # fmt: skip
        except BaseException:
            self.unstage(copies.staged)
            raise
        return copies, missing

    def _renamed(self, base: str, virtual: int) -> str:
        """A new base for the same octets."""
        told = sizes(base)
        if told.size is None or told.virtual is None:
            return self.at.maker.unique()
        return self.at.maker.make(told.size, told.virtual, told.verbatim)

    def _check_writable(self) -> None:
        if self.at.readonly:
            raise NoPermission("The mailbox cannot be written")

    @contextmanager
    def _undoing(self, renamed: list[tuple[str, str]]) -> Iterator[None]:
        """Rename back what was renamed (absolute paths, from and to) when it goes wrong."""
        try:
            yield
        except BaseException:
            for old, new in reversed(renamed):
                with suppress(OSError):
                    os.rename(new, old)
            self.survey.look_at_all = True
            raise

    def store(
        self, uids: UidSet, op: FlagOp, flags: frozenset[Flag], unchanged_since: int | None
    ) -> tuple[list[Step], Stored, UidSet]:
        """Returns also the UIDs whose files had another name: to be asked for again."""
        self._check_writable()
        index = self.at.state.index
        failed = NO_UIDS
        if unchanged_since is not None:
            failed = index.newer(uids, unchanged_since)
            uids -= failed
        slices = uids.slices(index.uids)
        self.at.refresh_keywords()
        if op is not FlagOp.REMOVE and slices:
            self.at.admit(flags)
        plan = self._plan(slices, op, flags)
        done, missing = self._rename_all(plan)
        self.survey.look_at_all = self.survey.look_at_all or bool(missing)
        if not done:
            return [], Stored(index.modseq, index.modseq, NO_UIDS, failed), UidSet.of(*missing)
        step = Step(self.at.state.next_modseq(), index.uid_next, letters=self.at.new_letters())
        groups: dict[tuple[frozenset[Flag], str | None], list[int]] = {}
        for change in done:
            groups.setdefault((change.flags, change.info), []).append(change.uid)
        step.flagged = [(UidSet.from_sorted(u), f, info) for (f, info), u in groups.items()]
        hidden = self.at.beyond_letters(flags) or any(info is None for _, info in groups)
        try:
            self.at.log([step], durable=hidden)
        except BaseException:
            self._rename_back(done)
            raise
        changed = UidSet.from_sorted([change.uid for change in done])
        return [step], Stored(index.modseq, step.modseq, changed, failed), UidSet.of(*missing)

    def _plan(
        self, slices: Iterable[tuple[int, int]], op: FlagOp, flags: frozenset[Flag]
    ) -> list[_Change]:
        """What STORE does to each message whose flags it changes."""
        index, names = self.at.state.index, self.at.state.names
        become: dict[tuple[int, str], tuple[frozenset[Flag], str] | None] = {}
        plan = []
        for start, stop in slices:
            for number, uid in zip(index.flagsets[start:stop], index.uids[start:stop], strict=True):
                old = names[uid]
                base, info = split(old)
                key = number, info
                if key not in become:
                    old_flags = index.flags.sets[number]
                    new_flags = op.apply(old_flags, flags)
                    changed = new_flags != old_flags
                    become[key] = (new_flags, self.at.info_of(new_flags, info)) if changed else None
                after = become[key]
                if after is not None:
                    new = base + after[1]
                    plan.append(_Change(uid, after[0], None if new == old else after[1], old, new))
        return plan

    def _rename_all(self, plan: Iterable[_Change]) -> tuple[list[_Change], list[int]]:
        """Give files their new names, durably: what was done, and the UIDs of those that were not
        there. Undone if it fails."""
        done: list[_Change] = []
        missing: list[int] = []
        expected = self.at.expected
        root = os.open(self.at.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for change in plan:
                if change.info is not None:
                    expected.add(change.old)
                    expected.add(change.new)
                    try:
                        # By the directory: half of the time goes into long paths otherwise.
                        os.rename(change.old, change.new, src_dir_fd=root, dst_dir_fd=root)
                    except FileNotFoundError:
                        missing.append(change.uid)
                        continue
                done.append(change)
            if any(change.info is not None for change in done):
                self.at.sync("cur")
        except BaseException:
            self._rename_back(done)
            raise
        finally:
            os.close(root)
        return done, missing

    def _rename_back(self, done: Iterable[_Change]) -> None:
        for change in done:
            if change.info is not None:
                with suppress(OSError):
                    os.rename(f"{self.at.path}/{change.new}", f"{self.at.path}/{change.old}")
        self.survey.look_at_all = True

    def expunge(self, uids: UidSet) -> tuple[list[Step], UidSet, UidSet, OSError | None]:
        """Returns what was removed, the UIDs whose files had another name, and what stopped it."""
        self._check_writable()
        names = self.at.state.names
        removed: list[int] = []
        missing: list[int] = []
        stopped: OSError | None = None
        for uid in uids.present_in(self.at.state.index.uids):
            self.at.expected.add(names[uid])
            try:
                os.unlink(f"{self.at.path}/{names[uid]}")
            except FileNotFoundError:
                missing.append(uid)
            except OSError as error:
                stopped = error
                break
            else:
                removed.append(uid)
        self.survey.look_at_all = self.survey.look_at_all or bool(missing)
        if not removed:
            return [], NO_UIDS, UidSet.from_sorted(missing), stopped
        try:
            self.at.sync("cur")
        except OSError as error:
            stopped = error
        if self.at.size is not None:
            self.at.size.add(self.at.octets(removed), -1)
        step = Step(self.at.state.next_modseq(), self.at.state.index.uid_next)
        step.vanished = UidSet.from_sorted(removed)
        self.at.log_done([step])
        return [step], step.vanished, UidSet.from_sorted(missing), stopped

    def claim_recent(self) -> list[Step]:
        index = self.at.state.index
        step = Step(index.modseq, index.uid_next, recent_from=self.at.state.recent_from)
        if not self.at.readonly:
            self.at.log_done([step])
        return [step]

    def commit(
        self, groups: Sequence[Sequence[Staged]]
    ) -> tuple[list[Step], list[UidSet | BackendError]]:
        """Bring in what was staged, each group whole or not at all; the steps include what others
        have brought meanwhile. Raises OSError, then none of them came."""
        self._check_writable()
        with self.at.uidlist.lock():
            steps, uid = self._before_new()
            results: list[UidSet | BackendError] = []
            taken: list[Sequence[Staged]] = []
            self.at.refresh_keywords()
            for group in groups:
                try:
                    self.at.admit(frozenset[Flag]().union(*(item.flags for item in group)))
                except LimitReached as error:
                    self.unstage(group)
                    results.append(error)
                else:
                    taken.append(group)
                    results.append(UidSet(((uid, uid + len(group) - 1),)))
                    uid += len(group)
            if not taken:
                return steps, results
            items = [item for group in taken for item in group]
            placed = [f"cur/{item.base}{self.at.info_of(item.flags)}" for item in items]
            self._bring_in(items, placed, whole=any(len(group) > 1 for group in taken))
            first = uid - len(items)
            entries = [
                Entry(n, item.base, f"G{item.email_id}" if item.email_id else "")
                for n, item in enumerate(items, first)
            ]
            paths = [(f"{self.at.path}/tmp/{i.base}", f"{self.at.path}/{p}")
                     for i, p in zip(items, placed, strict=True)]  # fmt: skip
            with self._undoing(paths):
                self.at.uidlist.append(entries)
        at = 0
        durable = False
        modseq = steps[-1].modseq if steps else 0
        for group in taken:
            modseq = max(self.at.state.next_modseq(), modseq + 1)
            step = Step(modseq, first + at + len(group), letters=self.at.new_letters())
            step.names = placed[at : at + len(group)]
            step.added = addition(
                (
                    first + n, item.flags, item.size, item.seconds, item.zone,
                    save_date(item.base, item.seconds), item.email_id or email_id_of(item.base, ""),
                )
                for n, item in enumerate(group, at)
            )  # fmt: skip
            durable = durable or any(self.at.beyond_letters(item.flags) for item in group)
            at += len(group)
            steps.append(step)
        self.at.log_done(steps, durable)
        if self.at.size is not None:
            self.at.size.add(sizes(item.base).size or item.size for item in items)
        self.at.cache.put(
            (n, *item.kept) for n, item in enumerate(items, first) if item.kept is not None
        )
        return steps, results

    def _before_new(self) -> tuple[list[Step], int]:
        """Under the lock of the uidlist: what others have brought, as steps, and the next UID."""
        self.at.refresh_uidlist()
        step = Step(self.at.state.next_modseq(), self.at.state.index.uid_next)
        if self.at.unseen() or self.at.given_anew:
            self.survey.adopt_locked(step, ())
        uid = max(self.at.header().uid_next, self.at.state.index.uid_next, step.uid_next)
        return ([step] if step.names or step.vanished else []), uid

    def _bring_in(self, items: Sequence[Staged], placed: Sequence[str], whole: bool) -> None:
        """Rename staged files into `cur`, durably; undone if it fails."""
        if whole:
            if not self.at.journal.usable:
                self.at.checkpoint()
            intent = [(f"tmp/{i.base}", to) for i, to in zip(items, placed, strict=True)]
            self.at.journal.announce(intent)
        renamed: list[tuple[str, str]] = []
        try:
            with self._undoing(renamed):
                for item, to in zip(items, placed, strict=True):
                    old, new = f"{self.at.path}/tmp/{item.base}", f"{self.at.path}/{to}"
                    self.at.expected.add(to)
                    os.rename(old, new)
                    renamed.append((old, new))
                self.at.sync("cur")
        except BaseException:
            if whole:
                with suppress(OSError):
                    self.at.journal.announce([])
            raise

    def receive(
        self, source: Writer, uids: UidSet
    ) -> tuple[list[Step], list[Step], list[int], UidSet, UidSet]:
        """Move messages here from `source`; both locks are held. Returns the steps here and there,
        the UIDs there and here, and the UIDs whose files had another name."""
        self._check_writable()
        source._check_writable()
        index, names = source.at.state.index, source.at.state.names
        missing: list[int] = []
        moved: list[int] = []
        rows: list[Row] = []
        placed: list[str] = []
        entries: list[Entry] = []
        renamed: list[tuple[str, str]] = []
        slices = uids.slices(index.uids)
        with self.at.uidlist.lock():
            steps, uid = self._before_new()
            self.at.refresh_keywords()
            numbers = {index.flagsets[at] for a, b in slices for at in range(a, b)}
            self.at.admit(frozenset[Flag]().union(*(index.flags.sets[n] for n in numbers)))
            with self._undoing(renamed):
                for at in (at for a, b in slices for at in range(a, b)):
                    name = names[index.uids[at]]
                    flags = index.flags.sets[index.flagsets[at]]
                    base = self._renamed(base_of(name), index.sizes[at])
                    to = f"cur/{base}{self.at.info_of(flags)}"
                    old, new = f"{source.at.path}/{name}", f"{self.at.path}/{to}"
                    source.at.expected.add(name)
                    self.at.expected.add(to)
                    try:
                        os.rename(old, new)
                    except FileNotFoundError:
                        # The rest comes after it: UIDs there are in the order of those here.
                        missing += [uid for uid in uids if uid >= index.uids[at]]
                        break
                    renamed.append((old, new))
                    moved.append(index.uids[at])
                    placed.append(to)
                    entries.append(Entry(uid, base, f"G{index.email_ids[at]}"))
                    rows.append((
                        uid, flags, index.sizes[at], index.dates[at], index.zones[at],
                        save_date(base, index.dates[at]), index.email_ids[at],
                    ))  # fmt: skip
                    uid += 1
                if moved:
                    self.at.sync("cur")
                    self.at.uidlist.append(entries)
        source.survey.look_at_all = source.survey.look_at_all or bool(missing)
        if not moved:
            return steps, [], [], NO_UIDS, UidSet.from_sorted(missing)
        source.at.sync("cur")
        came = Step(self.at.state.next_modseq() + len(steps), uid, addition(rows), placed)
        steps.append(came)
        left = Step(source.at.state.next_modseq(), source.at.state.index.uid_next)
        left.vanished = UidSet.from_sorted(moved)
        self.at.log_done(steps, durable=any(self.at.beyond_letters(row[1]) for row in rows))
        source.at.log_done([left])
        here, there = self.at.size, source.at.size
        if here is not there and here is not None and there is not None:  # another account's
            there.add(source.at.octets(moved), -1)
            here.add(source.at.octets(moved))
        target = UidSet(((rows[0][0], rows[-1][0]),))
        self.copy_kept(source, moved, target)
        return steps, [left], moved, target, UidSet.from_sorted(missing)

    def copy_kept(self, source: Writer, uids: Sequence[int], target: Iterable[int]) -> None:
        """What the cache of `source` keeps of messages is kept of their copies as well."""
        pairs = list(zip(uids, target, strict=True))
        for start in range(0, len(pairs), 200):
            some = pairs[start : start + 200]
            kept = source.at.cache.get([uid for uid, _ in some])
            self.at.cache.put(
                (copy, kept[uid].digest, kept[uid].header) for uid, copy in some if uid in kept
            )
