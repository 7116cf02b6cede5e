"""The index beside a Maildir: what is read back, what damage costs, and several processes at once.

Two stores in one process stand for two processes: they share nothing but files.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from pymap.backend.conformance import new_message
from pymap.backend.errors import MailboxGone
from pymap.backend.maildir import journal
from pymap.backend.maildir.directory import MailboxDirectory
from pymap.backend.maildir.mailbox import MaildirMailbox
from pymap.backend.maildir.store import MaildirStore
from pymap.backend.maildir.uidlist import UidList
from pymap.limits import Limits
from pymap.wire.types import DELETED, FLAGGED, NO_UIDS, SEEN, Flag, FlagOp, UidSet

ALL = UidSet(((1, 0xFFFFFFFF),))
UID_VALIDITY = 7


class Processes:
    """Servers that share a disk."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._stores: list[MaildirStore] = []

    def start(self) -> MaildirStore:
        store = MaildirStore(Limits())
        self._stores.append(store)
        self._stack.push_async_callback(self.stop, store)
        return store

    async def open(self, path: Path) -> MaildirMailbox:
        """The mailbox in another process."""
        return await self.start().open(path, lambda: UID_VALIDITY)

    async def stop(self, store: MaildirStore) -> None:
        if store in self._stores:
            self._stores.remove(store)
            await store.close()

    async def stop_all(self) -> None:
        for store in list(self._stores):
            await self.stop(store)


@pytest.fixture
async def processes() -> AsyncIterator[Processes]:
    async with AsyncExitStack() as stack:
        yield Processes(stack)


def delete_index(path: Path) -> None:
    for file in path.glob("pymap-*"):
        file.unlink()


class Known(NamedTuple):
    uid: int
    flags: frozenset[Flag]
    size: int
    email_id: str
    content: bytes | None


async def known(mailbox: MaildirMailbox) -> list[Known]:
    await mailbox.refresh()
    rows = await mailbox.metadata(ALL)
    contents = await mailbox.contents([row.uid for row in rows])
    return [
        Known(row.uid, row.flags, row.size, row.email_id, content)
        for row, content in zip(rows, contents, strict=True)
    ]


async def fill(mailbox: MaildirMailbox) -> None:
    """Something of everything: UIDs 1 to 8, of which 3 and 8 are gone."""
    for n in range(1, 5):
        await mailbox.append([new_message(b"Subject: %d\r\n\r\n" % n, SEEN, Flag(f"k{n}"))])
    await mailbox.append([new_message(b"Subject: many\r\n\r\n%d\r\n" % n) for n in range(4)])
    await mailbox.store(UidSet.of(2, 3, 6), FlagOp.ADD, frozenset((FLAGGED, Flag("k9"))))
    await mailbox.expunge(UidSet.of(3, 8))
    await mailbox.claim_recent()


@pytest.fixture
async def filled(processes: Processes, tmp_path: Path) -> Path:
    path = tmp_path / "mailbox"
    path.mkdir()
    await fill(await processes.open(path))
    await processes.stop_all()
    return path


async def test_what_was_written_is_read(
    processes: Processes, filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await processes.open(filled)
    was, modseq = await known(first), first.index.modseq
    since = first.index.modseqs[0]
    changes = await first.changes(since)
    assert [row.uid for row in was] == [1, 2, 4, 5, 6, 7]
    await processes.stop_all()
    # The directories are as they were: nobody need look into them, nor at the list of UIDs.
    monkeypatch.delattr(MailboxDirectory, "listing")
    monkeypatch.delattr(UidList, "refresh")
    again = await processes.open(filled)
    assert await known(again) == was
    assert again.index.modseq == modseq
    assert await again.claim_recent() == NO_UIDS
    assert (await again.changes(since)).vanished == changes.vanished == UidSet.of(3, 8)
    assert (again.uid_validity, again.id) == (first.uid_validity, first.id)


@pytest.mark.parametrize("name", ["pymap-log", "pymap-index", "pymap-cache"])
async def test_cut_at_any_octet_it_loses_nothing(
    processes: Processes, filled: Path, tmp_path: Path, name: str
) -> None:
    whole = await processes.open(filled)
    was, modseq = await known(whole), whole.index.modseq
    await processes.stop_all()
    size = (filled / name).stat().st_size
    copy = tmp_path / "copy"
    for cut in [0, 1, *Random(1).sample(range(size), min(size, 60)), size - 1]:
        shutil.copytree(filled, copy, copy_function=shutil.copy2)
        os.truncate(copy / name, cut)
        mailbox = await processes.open(copy)
        assert await known(mailbox) == was, cut
        assert mailbox.index.modseq >= modseq, cut
        (uid,) = await mailbox.append([new_message()])
        assert uid == 9
        assert await mailbox.digests([1]) == [new_message(b"Subject: 1\r\n\r\n").digest]
        await processes.stop_all()
        shutil.rmtree(copy)


async def test_keywords_without_a_letter_are_kept_in_the_index(
    processes: Processes, tmp_path: Path
) -> None:
    mailbox = await processes.open(tmp_path)
    flags = [Flag(f"k{n:02}") for n in range(30)]
    await mailbox.append([new_message(b"", *flags[:20]), new_message(b"", *flags[20:])])
    await mailbox.store(UidSet.of(1), FlagOp.REMOVE, frozenset(flags[:5]))
    await mailbox.store(UidSet.of(1), FlagOp.ADD, frozenset((SEEN, flags[29])))
    was = await known(mailbox)
    assert was[0].flags == {SEEN, *flags[5:20], flags[29]}
    await processes.stop_all()
    names = os.listdir(tmp_path / "cur")
    assert not any(len(name.partition(":2,")[2]) > 26 for name in names)
    again = await processes.open(tmp_path)
    assert await known(again) == was
    # Another program changes what it can see; the rest stays.
    (name,) = (name for name in names if name.partition(":2,")[2].startswith("S"))
    (tmp_path / "cur" / name).rename(tmp_path / "cur" / name.replace(":2,S", ":2,F"))
    assert (await known(again))[0].flags == {FLAGGED, *flags[5:20], flags[29]}


async def test_modseqs_go_on_above_those_of_a_lost_index(
    processes: Processes, filled: Path
) -> None:
    first = await processes.open(filled)
    told, was = first.index.modseq, await known(first)
    await processes.stop_all()
    delete_index(filled)
    again = await processes.open(filled)
    assert again.index.modseq > told
    assert all(row.modseq > told for row in await again.metadata(ALL))
    assert not (await again.changes(told)).complete
    assert [row[:5] for row in await known(again)] == [row[:5] for row in was]


async def test_after_a_restart_of_the_machine_the_modseq_is_a_new_one(
    processes: Processes, filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not written through is lost then, and may have been told."""
    told = (await processes.open(filled)).index.modseq
    await processes.stop_all()
    monkeypatch.setattr(journal, "BOOT_ID", "another")
    again = await processes.open(filled)
    assert again.index.modseq > told
    assert not (await again.changes(told)).changed


# -- several processes --


async def test_each_sees_what_the_others_do(processes: Processes, tmp_path: Path) -> None:
    one, two = await processes.open(tmp_path), await processes.open(tmp_path)
    (uid,) = await one.append([new_message(b"", SEEN)])
    assert [row.uid for row in await known(two)] == [uid]
    stored = await two.store(UidSet.of(uid), FlagOp.ADD, frozenset((Flag("$Junk"),)))
    await one.refresh()
    assert await one.metadata(ALL) == await two.metadata(ALL)
    assert one.index.modseq == stored.modseq
    assert await one.expunge(UidSet.of(uid)) == UidSet.of(uid)
    assert await known(two) == []
    assert await two.changes(stored.modseq) == await one.changes(stored.modseq)


async def test_a_log_that_is_replaced_is_followed(
    processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "CHECKPOINT_AT", 600)  # every few records
    mailboxes = [await processes.open(tmp_path) for _ in range(3)]
    inodes = set()
    random = Random(2)
    for n in range(80):
        mailbox = random.choice(mailboxes)
        await mailbox.append([new_message(b"Subject: %d\r\n\r\n" % n)])
        uid = random.choice(mailbox.index.uids)
        await random.choice(mailboxes).store(UidSet.of(uid), FlagOp.ADD, frozenset((SEEN,)))
        if n % 5 == 0:
            await random.choice(mailboxes).expunge(UidSet.of(uid))
        inodes.add((tmp_path / "pymap-log").stat().st_ino)
    assert len(inodes) > 1
    first, *others = [await known(mailbox) for mailbox in mailboxes]
    assert len({row.content for row in first}) == len(first)
    assert others == [first, first]
    assert len({mailbox.index.modseq for mailbox in mailboxes}) == 1


async def test_who_slept_through_two_logs_catches_up(
    processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "CHECKPOINT_AT", 100)
    one, two = await processes.open(tmp_path), await processes.open(tmp_path)
    await one.append([new_message(), new_message(), new_message()])
    await two.refresh()
    told = two.index.modseq
    for _ in range(4):
        await one.append([new_message(b"more")])
        await one.store(UidSet.of(1), FlagOp.ADD, frozenset((SEEN, Flag("x"))))
        await one.store(UidSet.of(1), FlagOp.REMOVE, frozenset((SEEN,)))
    await one.expunge(UidSet.of(2))
    assert await known(two) == await known(one)
    changes = await two.changes(told)
    assert changes.vanished == UidSet.of(2)
    assert changes.changed == UidSet.of(1, 4, 5, 6, 7)
    await two.append([new_message(b"and back")])
    assert await known(one) == await known(two)


async def test_an_index_that_is_deleted_under_us_is_made_anew(
    processes: Processes, filled: Path
) -> None:
    one, two = await processes.open(filled), await processes.open(filled)
    was = await known(one)
    delete_index(filled)
    await one.store(UidSet.of(1), FlagOp.ADD, frozenset((DELETED,)))
    assert (await known(one))[1:] == was[1:]
    assert await known(two) == await known(one)
    await processes.stop_all()
    assert (await known(await processes.open(filled)))[1:] == was[1:]


async def test_a_mailbox_that_another_process_removes_is_gone(
    processes: Processes, filled: Path
) -> None:
    mailbox = await processes.open(filled)
    shutil.rmtree(filled)
    with pytest.raises(MailboxGone):
        await mailbox.refresh()
    assert mailbox.index.gone
    with pytest.raises(MailboxGone):
        await mailbox.append([new_message()])
