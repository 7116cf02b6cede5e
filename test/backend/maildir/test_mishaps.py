"""What others do to a mailbox under our hands, and disks that fail: no mail is lost, shown to the
wrong user, or given another UID.

Several backends in one process stand for several processes: they share nothing but files.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path

import pytest

from pymap.backend.conformance import new_message
from pymap.backend.errors import BackendError, InUse, MailboxGone, OverQuota
from pymap.backend.maildir import MaildirBackend, journal, survey, uidlist, watch
from pymap.backend.maildir.account import MaildirAccount
from pymap.backend.maildir.cache import DigestCache
from pymap.backend.maildir.dotlock import HOST, dotlock
from pymap.backend.maildir.keywords import KEYWORDS
from pymap.backend.maildir.mailbox import MaildirMailbox
from pymap.backend.maildir.store import MaildirStore
from pymap.backend.maildir.users import UsersFile
from pymap.backend.opened import OpenMailboxes
from pymap.limits import Limits
from pymap.mime import digest
from pymap.wire.types import (
    ANSWERED,
    DELETED,
    DRAFT,
    FLAGGED,
    NO_UIDS,
    SEEN,
    Flag,
    FlagOp,
    InternalDate,
    UidSet,
)

from .conftest import SmallDisk

ALL = UidSet(((1, 0xFFFFFFFF),))
SUBDIRECTORIES = ("cur", "new", "tmp")


class Servers:
    """Processes that serve one tree of mail, in which `alice` and `bob` have their accounts."""

    def __init__(self, stack: AsyncExitStack, directory: Path) -> None:
        self._stack = stack
        self._running: list[MaildirBackend] = []
        self.users = directory / "users"
        self.users.write_text("alice::secret\nbob::secret\n")

    async def start(self, layout: str = "++") -> MaildirBackend:
        backend = MaildirBackend(UsersFile(self.users), layout)
        await backend.start()
        self._running.append(backend)
        self._stack.push_async_callback(self.stop, backend)
        return backend

    async def login(self, layout: str = "++") -> MaildirAccount:
        """Alice's account, in a process of its own."""
        return await account(await self.start(layout))

    async def stop(self, backend: MaildirBackend) -> None:
        if backend in self._running:
            self._running.remove(backend)
            await backend.stop()

    async def stop_all(self) -> None:
        for backend in list(self._running):
            await self.stop(backend)


async def account(backend: MaildirBackend, user: str = "alice") -> MaildirAccount:
    async with backend.account(user) as found:
        return found


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[Servers]:
    async with AsyncExitStack() as stack:
        yield Servers(stack, tmp_path)


@pytest.fixture
def alice(tmp_path: Path) -> Path:
    """Where Alice's mail is."""
    return tmp_path / "alice"


class Stores:
    """What processes have mailboxes open by; at most one at a time here."""

    def __init__(self) -> None:
        self._store: MaildirStore | None = None

    async def open(self, *paths: Path) -> list[MaildirMailbox]:
        """The mailboxes after a restart."""
        await self.stop()
        self._store = MaildirStore(Limits())
        for path in paths:
            path.mkdir(exist_ok=True)
        return [await self._store.open(path, lambda: 7) for path in paths]

    async def stop(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            await store.close()


@pytest.fixture
async def stores() -> AsyncIterator[Stores]:
    stores = Stores()
    yield stores
    await stores.stop()


@pytest.fixture(params=["told", "looking"])
def watching(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With inotify, and without."""
    if request.param == "looking":
        look_always(monkeypatch)


def look_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "INotify", None)
    monkeypatch.setattr(survey, "LISTING_SHARE", 0)


def subject(n: int | str) -> bytes:
    return f"Subject: {n}\r\n\r\nx\r\n".encode()


async def fill(mailbox: MaildirMailbox, *subjects: int | str) -> None:
    for each in subjects:
        await mailbox.append([new_message(subject(each))])


async def mail(mailbox: MaildirMailbox) -> dict[int, bytes | None]:
    """What a session is shown: content by UID."""
    await mailbox.refresh()
    uids = list(mailbox.index.uids)
    return dict(zip(uids, await mailbox.contents(uids), strict=True))


async def flags(mailbox: MaildirMailbox) -> list[frozenset[Flag]]:
    await mailbox.refresh()
    return [row.flags for row in await mailbox.metadata(ALL)]


def maildir(path: Path) -> Path:
    """A Maildir as other programs make it."""
    for each in SUBDIRECTORIES:
        (path / each).mkdir(parents=True)
    return path


def deliver(path: Path, octets: bytes, name: str = "1700000000.1.host") -> None:
    """As other programs do it: written to `tmp`, then renamed."""
    (path / "tmp" / name).write_bytes(octets)
    (path / "tmp" / name).rename(path / "new" / name)


def files(path: Path) -> dict[str, bytes]:
    """All there is below a directory."""
    return {
        str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()
    }


def only(path: Path) -> Path:
    """The one file in a directory."""
    (file,) = path.iterdir()
    return file


async def until(condition: Callable[[], object]) -> None:
    """Let others go on until it is so."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  what is waited for tells nobody
            await asyncio.sleep(0)


# -- two mailboxes that say the same GUID --


@pytest.mark.parametrize("index", ["with the index", "without"])
async def test_a_copy_of_a_mailbox_is_a_mailbox_of_its_own(
    servers: Servers, alice: Path, index: str
) -> None:
    first = await servers.login()
    inbox = await first.open("INBOX")
    await fill(inbox, 1, 2, 3)
    uid_validity = inbox.uid_validity
    await servers.stop_all()
    bob = alice.with_name("bob")
    shutil.copytree(alice, bob, copy_function=shutil.copy2)
    if index == "without":
        for file in bob.glob("pymap-*"):
            file.unlink()
    for file in (bob / "cur").iterdir():
        file.unlink()

    backend, opened = await servers.start(), OpenMailboxes()
    of_alice = await (await account(backend)).open("INBOX")
    await fill(of_alice, "for Alice")
    of_bob = await (await account(backend, "bob")).open("INBOX")
    assert of_bob.id != of_alice.id
    assert opened.get(of_alice).index is of_alice.index
    assert opened.get(of_bob).index is of_bob.index
    assert await mail(of_bob) == {}
    await of_bob.store(ALL, FlagOp.ADD, frozenset((DELETED,)))
    assert await of_bob.expunge(ALL) == NO_UIDS
    assert await of_bob.append([new_message(subject("for Bob"))]) == UidSet.of(4)
    assert await mail(of_bob) == {4: subject("for Bob")}
    was = {n: subject(n) for n in (1, 2, 3)} | {4: subject("for Alice")}
    assert await mail(of_alice) == was
    assert (of_alice.id, of_alice.uid_validity) == (inbox.id, uid_validity)
    ids = of_alice.id, of_bob.id
    await servers.stop_all()

    # For good, whoever comes first.
    backend = await servers.start()
    of_bob = await (await account(backend, "bob")).open("INBOX")
    of_alice = await (await account(backend)).open("INBOX")
    assert (of_alice.id, of_bob.id) == ids
    assert await mail(of_alice) == was


async def test_a_copy_within_an_account_is_listed_with_an_id_of_its_own(
    servers: Servers, alice: Path
) -> None:
    first = await servers.login()
    await fill(await first.create("Work"), 1)
    shutil.copytree(alice / ".Work", alice / ".Copy", copy_function=shutil.copy2)
    (name,) = os.listdir(alice / ".Copy" / "cur")
    assert await mail(await first.open("Copy")) == {1: subject(1)}
    ids = {info.name: info.id for info in await first.mailboxes()}
    assert len(set(ids.values())) == 3
    # Made for one of them, it is not for the other.
    (alice / ".Copy" / "cur" / name).unlink()
    assert await mail(await first.open("Copy")) == {}
    assert await mail(await first.open("Work")) == {1: subject(1)}


# -- another directory at the path --


async def renamed(servers: Servers, alice: Path) -> None:
    other = await servers.login()
    await other.rename("X", "Y")
    await fill(await other.create("X"), "new")


async def deleted(servers: Servers, alice: Path) -> None:
    other = await servers.login()
    await other.delete("X")
    await fill(await other.create("X"), "new")


async def renamed_by_hand(servers: Servers, alice: Path) -> None:
    (alice / ".X").rename(alice / ".Y")
    deliver(maildir(alice / ".X"), subject("new"))


async def deleted_by_hand(servers: Servers, alice: Path) -> None:
    new = maildir(alice / "tmp" / "new")  # before, so that it has another inode number
    deliver(new, subject("new"))
    shutil.rmtree(alice / ".X")
    new.rename(alice / ".X")


REPLACEMENTS = [renamed, deleted, renamed_by_hand, deleted_by_hand]

OPERATIONS: dict[str, Callable[[MaildirMailbox, MaildirMailbox], Awaitable[object]]] = {
    "refresh": lambda x, inbox: x.refresh(),
    "read": lambda x, inbox: x.contents([1, 2, 3]),
    "append": lambda x, inbox: x.append([new_message(), new_message()]),
    "store": lambda x, inbox: x.store(ALL, FlagOp.ADD, frozenset((SEEN, Flag("k")))),
    "expunge": lambda x, inbox: x.expunge(ALL),
    "copy from": lambda x, inbox: x.copy(ALL, inbox),
    "copy to": lambda x, inbox: inbox.copy(ALL, x),
    "move from": lambda x, inbox: x.move(ALL, inbox),
    "move to": lambda x, inbox: inbox.move(ALL, x),
}


@pytest.mark.parametrize(
    ("watching", "operation"),
    [*(("told", each) for each in (*OPERATIONS, "stop")), ("looking", "refresh")],
    indirect=["watching"],
)  # fmt: skip
@pytest.mark.parametrize("replace", REPLACEMENTS)
async def test_another_directory_at_the_path_is_another_mailbox(
    watching: None,
    servers: Servers,
    alice: Path,
    replace: Callable[[Servers, Path], Awaitable[None]],
    operation: str,
) -> None:
    backend = await servers.start()
    mine = await account(backend)
    x, inbox = await mine.create("X"), await mine.open("INBOX")
    await fill(x, 1, 2, 3)
    await fill(inbox, "inbox")
    await replace(servers, alice)
    was = {path: files(path) for path in (alice / ".X", alice / ".Y")}

    if operation == "stop":
        await servers.stop(backend)
    elif operation == "read":
        with suppress(MailboxGone):
            assert subject("new") not in list(await x.contents([1, 2, 3]))
    else:
        with pytest.raises(MailboxGone):
            await OPERATIONS[operation](x, inbox)
        assert x.index.gone
        assert await mail(inbox) == {1: subject("inbox")}
    assert {path: files(path) for path in was} == was

    await servers.stop_all()
    again = await servers.login()
    new = await again.open("X")
    assert new.uid_validity > x.uid_validity
    assert new.id != x.id
    assert await mail(new) == {1: subject("new")}
    if (alice / ".Y").exists():
        old = await again.open("Y")
        assert (old.uid_validity, old.id) == (x.uid_validity, x.id)
        assert await mail(old) == {n: subject(n) for n in (1, 2, 3)}


@pytest.mark.parametrize("replace", [renamed, renamed_by_hand])
async def test_a_mailbox_that_another_renames_keeps_its_id(
    servers: Servers, alice: Path, replace: Callable[[Servers, Path], Awaitable[None]]
) -> None:
    """Opened under its new name before anyone here has missed it under the old one."""
    mine = await servers.login()
    x = await mine.create("X")
    await fill(x, 1, 2, 3)
    await replace(servers, alice)
    was = files(alice / ".Y")["dovecot-uidlist"]
    y = await mine.open("Y")
    assert (y.uid_validity, y.id) == (x.uid_validity, x.id)
    assert await mail(y) == {n: subject(n) for n in (1, 2, 3)}
    assert files(alice / ".Y")["dovecot-uidlist"] == was
    with pytest.raises(MailboxGone):
        await x.refresh()
    assert await mail(await mine.open("X")) == {1: subject("new")}


@pytest.mark.parametrize("who", ["the same process", "another"])
@pytest.mark.parametrize("by_hand", [False, True], ids=["created", "made by hand"])
async def test_a_level_that_becomes_a_mailbox_again_is_another_one(
    servers: Servers, alice: Path, who: str, by_hand: bool
) -> None:
    """In the fs layout a mailbox with inferiors stays as a directory."""
    mine = await servers.login("fs")
    work, sub = await mine.create("Work"), await mine.create("Work/sub")
    await fill(work, 1, 2, 3)
    await fill(sub, "sub")
    other = mine if who == "the same process" else await servers.login("fs")
    await other.delete("Work")
    if who == "the same process":
        assert work.index.gone
    if by_hand:
        for each in SUBDIRECTORIES:
            (alice / "Work" / each).mkdir()
        deliver(alice / "Work", subject("new"))
        again = await other.open("Work")
    else:
        again = await other.create("Work")
        await fill(again, "new")
    with pytest.raises(MailboxGone):
        await work.refresh()
    for process in (mine, other):
        seen = await process.open("Work")
        assert seen.uid_validity == again.uid_validity > work.uid_validity
        assert seen.id == again.id != work.id
        assert await mail(seen) == {1: subject("new")}
        assert await mail(await process.open("Work/sub")) == {1: subject("sub")}


async def test_what_takes_the_place_of_all_files_gets_uids_of_its_own(
    servers: Servers, alice: Path
) -> None:
    """As above, before anyone has made a list of UIDs: it may pass for the same mailbox, but no
    UID may come again."""
    mine = await servers.login("fs")
    work = await mine.create("Work")
    await mine.create("Work/sub")
    await fill(work, 1, 2, 3)
    await (await servers.login("fs")).delete("Work")
    for each in SUBDIRECTORIES:
        (alice / "Work" / each).mkdir()
    deliver(alice / "Work", subject("new"))
    with suppress(BackendError):
        await work.refresh()
    await servers.stop_all()
    again = await (await servers.login("fs")).open("Work")
    ((uid, content),) = (await mail(again)).items()
    assert content == subject("new")
    assert (again.uid_validity, uid) >= (work.uid_validity, 4)


# -- files with two names, and links --


@pytest.mark.usefixtures("watching")
@pytest.mark.parametrize("look", ["in between", "in another process", "after a restart"])
@pytest.mark.parametrize(("before", "after"), [("", "S"), ("FS", "S")])
async def test_flags_changed_by_link_and_unlink(
    servers: Servers, alice: Path, look: str, before: str, after: str
) -> None:
    inbox = await (await servers.login()).open("INBOX")
    (alice / "cur" / f"1700000000.1.host:2,{before}").write_bytes(subject(1))
    assert await mail(inbox) == {1: subject(1)}
    old = only(alice / "cur")
    new = alice / "cur" / f"1700000000.1.host:2,{after}"
    os.link(old, new)
    if look == "in another process":
        await mail(await (await servers.login()).open("INBOX"))
    elif look == "after a restart":
        await servers.stop_all()
        inbox = await (await servers.login()).open("INBOX")
    assert await mail(inbox) == {1: subject(1)}
    assert {old, new} == set((alice / "cur").iterdir())
    old.unlink()
    assert await mail(inbox) == {1: subject(1)}
    letters = {"S": SEEN, "F": FLAGGED}
    assert await flags(inbox) == [frozenset(letters[letter] for letter in after)]


OURS = ["pymap-cache", "pymap-index", "pymap-log", "dovecot-uidlist", KEYWORDS]
OF_THE_ACCOUNT = ["subscriptions", "pymap-special-use", "pymap-moves", "mailboxes.lock", "dovecot-uidvalidity"]  # fmt: skip
TEMPORARY = [f"{name}.PID.new" for name in OURS[:3]] + ["dovecot-uidlist.tmp"]


@pytest.mark.parametrize("name", [*OURS, *OF_THE_ACCOUNT, *TEMPORARY])
@pytest.mark.parametrize("victim", ["there", "not there"])
async def test_a_link_in_the_place_of_a_file_of_ours_is_not_followed(
    servers: Servers,
    alice: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    victim: str,
) -> None:
    monkeypatch.setattr(journal, "CHECKPOINT_AT", 100)
    name = name.replace("PID", str(os.getpid()))
    first = await servers.login()
    await fill(await first.open("INBOX"), 1)
    await first.subscribe("a")
    await first.create("Sent", (r"\Sent",))
    await servers.stop_all()
    place, led_to = alice / name, tmp_path / "victim"
    place.unlink(missing_ok=True)
    place.symlink_to(led_to)
    if victim == "there":
        led_to.write_bytes(b"somebody else's\n" * 100)

    async def use() -> None:
        again = await servers.login()
        for call in (
            lambda: again.subscribe("b"),
            lambda: again.create("Drafts", (r"\Drafts",)),
            again.mailboxes,
        ):
            with suppress(BackendError):
                await call()
        with suppress(BackendError):
            inbox = await again.open("INBOX")
            for content in (await mail(inbox)).values():
                assert content is None or b"somebody" not in content
            for n in range(3):
                await fill(inbox, n)
                await inbox.store(ALL, FlagOp.ADD, frozenset((SEEN, Flag(f"k{n}"))))
            await inbox.headers(list(inbox.index.uids))
            await inbox.expunge(UidSet.of(1))

    with suppress(BackendError):
        await use()
    await servers.stop_all()
    if victim == "there":
        assert led_to.read_bytes() == b"somebody else's\n" * 100
    else:
        assert not led_to.exists()


# -- file systems --


@pytest.mark.parametrize("room", [0, 40_000, 150_000])
@pytest.mark.parametrize("count", [1, 3])
async def test_a_copy_that_does_not_fit_another_file_system_leaves_nothing(
    small_disk: SmallDisk, stores: Stores, tmp_path: Path, room: int, count: int
) -> None:
    source, target = await stores.open(tmp_path / "source", small_disk.path / "target")
    body = b"Subject: large\r\n\r\n" + (b"y" * 76 + b"\r\n") * 1000
    if count == 1:
        body *= 2
    await source.append([new_message(body)] * count)
    small_disk.fill(leave=room)
    with pytest.raises(OverQuota):
        await source.copy(ALL, target)
    assert not list((small_disk.path / "target" / "tmp").iterdir())
    assert await mail(target) == {}
    assert await mail(source) == dict.fromkeys(range(1, count + 1), body)
    small_disk.free()
    copied = await source.copy(ALL, target)
    assert await mail(target) == dict.fromkeys(copied.target, body)
    assert len(copied.target) == count
    assert not list((small_disk.path / "target" / "tmp").iterdir())


async def test_move_to_another_file_system(
    small_disk: SmallDisk, stores: Stores, tmp_path: Path
) -> None:
    source, target = await stores.open(tmp_path / "source", small_disk.path / "target")
    await fill(source, 1, 2, 3)
    await source.move(UidSet.of(1, 3), target)
    assert await mail(source) == {2: subject(2)}
    assert await mail(target) == {1: subject(1), 2: subject(3)}


async def test_what_could_not_be_logged_is_known_after_a_restart(
    small_disk: SmallDisk, stores: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    places = [small_disk.path / name for name in ("source", "target")]
    source, target = await stores.open(*places)
    await source.append([new_message(subject(n)) for n in range(1, 31)])
    small_disk.fill()
    for uid in range(1, 21):
        with suppress(OverQuota):  # there must be no room for the log, but some for the uidlist
            await source.move(UidSet.of(uid), target)
    assert "cannot be logged" in caplog.text
    small_disk.free()
    for uid in range(21, 24):
        await source.move(UidSet.of(uid), target)
    await source.expunge(UidSet.of(25))
    was = [await mail(source), await mail(target)]
    assert len(was[1]) > 12
    assert sum(map(len, was)) == 29

    again = await stores.open(*places)
    assert [await mail(each) for each in again] == was
    deliver(places[1], subject("more"))
    (new,) = (await mail(again[1])).items() - was[1].items()
    assert new == (target.index.uid_next, subject("more"))
    assert [len(os.listdir(place / "cur")) for place in places] == [len(was[0]), len(was[1]) + 1]


# -- threads and locks --


def test_a_cache_that_is_closed_is_not_written_to(tmp_path: Path) -> None:
    """Else what a thread writes goes into whichever file has that descriptor by then."""
    content = subject(1)
    made = digest(content)
    cache = DigestCache.of(tmp_path, 1)
    cache.put([(1, made, content[: made.header_size])])
    closing = threading.Thread(target=cache.close)
    other = tmp_path / "other"
    opened: list[int] = []

    def messages() -> object:
        yield 2, made, content[: made.header_size]
        closing.start()
        # Whoever closes has to wait for us: that he does not come can only be seen by waiting.
        closing.join(0.05)
        opened.append(os.open(other, os.O_WRONLY | os.O_CREAT))
        yield 3, made, content[: made.header_size]

    cache.put(messages())  # type: ignore[arg-type]
    closing.join()
    os.close(opened[0])
    assert other.read_bytes() == b""
    size = (tmp_path / "pymap-cache").stat().st_size
    cache.put([(4, made, content[: made.header_size])])
    assert cache.get([1, 4]) == {}
    assert (tmp_path / "pymap-cache").stat().st_size == size
    assert cache.get_now([1]) is None


@pytest.mark.usefixtures("watching")
@pytest.mark.parametrize("then", ["the lock is free", "a restart"])
async def test_mail_that_comes_while_the_uidlist_is_locked(
    servers: Servers, alice: Path, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    monkeypatch.setattr(uidlist, "dotlock", partial(dotlock, timeout_s=0.05))
    monkeypatch.setattr(survey, "AGAIN_S", 0)
    inbox = await (await servers.login()).open("INBOX")
    await fill(inbox, "first")
    lock = alice / "dovecot-uidlist.lock"
    lock.write_text(f"{os.getppid()}:{HOST}")
    deliver(alice, subject("delivered"))
    for _ in range(2):
        with suppress(InUse):
            await inbox.refresh()
        assert list(inbox.index.uids) == [1]
    if then == "the lock is free":
        lock.unlink()
    else:
        await servers.stop_all()
        lock.unlink()
        inbox = await (await servers.login()).open("INBOX")
    assert await mail(inbox) == {1: subject("first"), 2: subject("delivered")}
    assert not list((alice / "new").iterdir())


def waiting(mailbox: MaildirMailbox) -> int:
    """How many wait for a lock."""
    return len(mailbox.lock._waiters or ())


async def test_rename_and_move_take_locks_in_one_order(servers: Servers, alice: Path) -> None:
    """Names and directories are in different orders here."""
    mine = await servers.login()
    z, e = await mine.create("Work/z"), await mine.create("Work/é")
    assert str(z.files.at.path) > str(e.files.at.path)
    await fill(z, 1)
    async with z.lock:
        rename = asyncio.create_task(mine.rename("Work", "Play"))
        await until(lambda: waiting(z))
        move = asyncio.create_task(z.move(ALL, e))
        await until(lambda: waiting(z) + waiting(e) == 2)
    done, waiting_still = await asyncio.wait((rename, move), timeout=20)
    if waiting_still:  # else the end of the test waits for them as well
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
    assert not waiting_still
    for task in done:
        task.result()
    assert await mail(await mine.open("Play/é")) == {1: subject(1)}
    assert await mail(await mine.open("Play/z")) == {}


@pytest.mark.parametrize("how", ["copy", "move"])
async def test_copyuid_pairs_as_the_messages_went(
    servers: Servers, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """One in the middle is renamed by another program, and found in a second look."""
    monkeypatch.setattr(watch, "INotify", None)
    mine = await servers.login()
    source, target = await mine.create("S"), await mine.create("T")
    await fill(source, 1, 2, 3, 4, 5)
    for uid in (2, 4):
        file = f"{source.files.at.path}/{source.files.at.state.names[uid]}"
        os.rename(file, f"{file}S")
    copied = await (source.copy if how == "copy" else source.move)(UidSet(((1, 5),)), target)
    assert copied.source == UidSet(((1, 5),))
    there = await mail(target)
    assert [there[uid] for uid in copied.target] == [subject(uid) for uid in copied.source]
    assert await flags(target) == [frozenset((SEEN,) if n in (2, 4) else ()) for n in range(1, 6)]
    assert len(await mail(source)) == (5 if how == "copy" else 0)


async def test_who_opens_a_mailbox_leaves_what_others_have_staged(
    servers: Servers, alice: Path
) -> None:
    """A file in `tmp` has the internal date of its message, which may be long ago."""
    mine = await servers.login()
    source, target = await mine.open("INBOX"), await mine.create("T")
    old = InternalDate(1_000_000_000, 0)
    await source.append([new_message(subject(n), date=old) for n in range(3)])
    tmp = alice / ".T" / "tmp"
    async with target.lock:
        copy = asyncio.create_task(source.copy(ALL, target))
        append = asyncio.create_task(target.append([new_message(subject("new"), date=old)]))
        await until(lambda: len(target._waiting) == 2)
        staged = set(tmp.iterdir())
        assert len(staged) == 4
        assert await mail(await (await servers.login()).open("T")) == {}
        assert set(tmp.iterdir()) == staged
    await asyncio.gather(copy, append)
    assert sorted(filter(None, (await mail(target)).values())) == sorted(
        [*(subject(n) for n in range(3)), subject("new")]
    )


# -- names --


@pytest.mark.parametrize("folder", ["new", "cur"])
async def test_flags_of_messages_with_names_as_long_as_can_be(
    servers: Servers, alice: Path, folder: str
) -> None:
    inbox = await (await servers.login()).open("INBOX")
    end = "" if folder == "new" else ":2,"
    for length in range(190, 256):
        base = f"17000{length:05}.".ljust(length - len(end) - 3, "x") + "é" + "h"
        name = base + end
        assert len(os.fsencode(name)) == length
        (alice / folder / name).write_bytes(subject(length))
    was = {n: subject(length) for n, length in enumerate(range(190, 256), 1)}
    assert await mail(inbox) == was
    every = [SEEN, FLAGGED, ANSWERED, DRAFT, DELETED, *(Flag(f"k{n}") for n in range(30))]
    stored = await inbox.store(ALL, FlagOp.ADD, frozenset(every))
    assert len(stored.changed) == len(was)
    await servers.stop_all()
    again = await (await servers.login()).open("INBOX")
    assert await mail(again) == was
    assert set(await flags(again)) == {frozenset(every)}


# -- the index --


@pytest.mark.parametrize("damage", ["none", "cut", "flipped", "missing"])
@pytest.mark.parametrize("renamed", [0, 1])
async def test_announced_messages_outlive_the_index(
    stores: Stores, tmp_path: Path, damage: str, renamed: int
) -> None:
    """A process dies in the middle of a MULTIAPPEND, and pymap-index is damaged as well."""
    path = tmp_path / "mailbox"
    (mailbox,) = await stores.open(path)
    await fill(mailbox, 1, 2)
    files = mailbox.files
    staged = files.writer.stage([new_message(subject(n)) for n in ("a", "b")])
    intent = [(f"tmp/{item.base}", f"cur/{item.base}:2,") for item in staged]
    files.at.journal.lock()
    files.at.journal.announce(intent)
    for old, new in intent[:renamed]:
        (path / old).rename(path / new)
    files.at.journal.unlock()
    dead = tmp_path / "dead"
    shutil.copytree(path, dead, copy_function=shutil.copy2)

    index = dead / "pymap-index"
    octets = index.read_bytes()
    if damage == "cut":
        os.truncate(index, len(octets) // 2)
    elif damage == "flipped":
        index.write_bytes(octets[:-5] + bytes([octets[-5] ^ 1]) + octets[-4:])
    elif damage == "missing":
        index.unlink()
    (again,) = await stores.open(dead)
    found = await mail(again)
    assert [found[1], found[2]] == [subject(1), subject(2)]
    assert sorted(filter(None, found.values())) == sorted(map(subject, [1, 2, "a", "b"]))
    assert list(found) == [1, 2, 3, 4]
    assert not list((dead / "tmp").iterdir())
    assert again.uid_validity == mailbox.uid_validity


@pytest.mark.parametrize("machine", ["the same start", "started anew"])
async def test_what_vanished_before_the_machine_stopped_is_not_all_known(
    stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str
) -> None:
    (mailbox,) = await stores.open(tmp_path / "mailbox")
    await fill(mailbox, 1, 2, 3)
    told = mailbox.index.modseq
    await mailbox.expunge(UidSet.of(2))
    last = mailbox.index.modseq
    await stores.stop()
    if machine == "started anew":
        monkeypatch.setattr(journal, "BOOT_ID", "another")
    (again,) = await stores.open(tmp_path / "mailbox")
    changes = await again.changes(told)
    assert changes.complete == (machine == "the same start")
    assert (await again.changes(last)).complete == (machine == "the same start")
    # From here on it is known again.
    told = again.index.modseq
    await again.expunge(UidSet.of(3))
    changes = await again.changes(told)
    assert (changes.complete, changes.vanished) == (True, UidSet.of(3))


async def test_first_list_of_many_new_folders(servers: Servers, alice: Path) -> None:
    backends = [await servers.start(), await servers.start()]
    accounts = [await account(backend) for backend in backends]
    names = [f"F{n}" for n in range(60)]
    for name in names:
        deliver(maildir(alice / f".{name}"), subject(name))
    first, second = await asyncio.gather(*(each.mailboxes() for each in accounts))
    assert {info.name for info in first} == {"INBOX", *names}
    assert len({info.id for info in first}) == 61
    assert dict(info[:2] for info in first) == dict(info[:2] for info in second)
    validities = set()
    for name in names:
        mailbox = await accounts[0].open(name)
        assert await mail(mailbox) == {1: subject(name)}
        validities.add(mailbox.uid_validity)
        assert (await accounts[1].open(name)).uid_validity == mailbox.uid_validity
    assert len(validities) == 60
