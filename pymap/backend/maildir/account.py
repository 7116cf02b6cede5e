"""One user's mailboxes: directories by name, in threads."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pymap.backend.api import DELIMITER, Account, Listing, MailboxInfo, Quota, Usage
from pymap.backend.errors import (
    BackendError,
    CannotDo,
    Corrupt,
    LimitReached,
    MailboxExists,
    MailboxGone,
    MailboxNotFound,
)
from pymap.backend.maildir.account_files import SpecialUses, Subscriptions, next_uid_validity
from pymap.backend.maildir.acl_file import change_access, read_access
from pymap.backend.maildir.layout import Layout
from pymap.backend.maildir.mailbox import POLL_S, MaildirMailbox, translated
from pymap.backend.maildir.maildirsize import MaildirSize
from pymap.backend.maildir.names_watch import NamesWatch
from pymap.backend.maildir.properties import (
    ACCOUNT_PROPERTIES,
    LockedProperties,
    MaildirProperties,
)
from pymap.backend.maildir.store import MaildirStore
from pymap.backend.maildir.tree import MOVES, lock_tree
from pymap.backend.rights import AccessList, Rights

__all__ = ["MaildirAccount"]

log = logging.getLogger("pymap.maildir")

INBOX = "INBOX"
AT_ONCE = 16  # mailboxes opened for the first time
TRIES, PAUSE_S = 50, 0.01  # of a listing; other programs may change the tree without end
SETTLE_S = 1.0
POLL_SHARE = 20  # without inotify, looking for mailboxes takes a twentieth of the time
_T = TypeVar("_T")


class MaildirAccount(Account):
    def __init__(self, store: MaildirStore, layout: Layout) -> None:
        self._store = store
        self._layout = layout
        self.root = layout.root
        self._subscriptions = Subscriptions(layout)
        self._special_uses = SpecialUses(self.root)
        self._properties = LockedProperties(self.root / ACCOUNT_PROPERTIES)
        self._size = MaildirSize(layout)
        self._new_uid_validity = partial(next_uid_validity, self.root)
        self._lock = asyncio.Lock()
        self._paths: dict[str, Path] = {}  # of mailboxes that were opened
        self._ids: dict[Path, tuple[int, str]] = {}  # inode of the directory, id of the mailbox
        self._stirred = False  # `wait` has been told of something since it last waited

    async def _in_thread(self, call: Callable[..., _T], *args: Any) -> _T:
        try:
            return await self._store.workers.in_thread(call, *args)
        except OSError as error:
            log.error("%s: %s", self.root, error)
            raise translated(error) from error

    async def _reading(self, call: Callable[..., _T], *args: Any) -> _T:
        try:
            return await self._store.workers.read(call, *args)
        except OSError as error:
            log.error("%s: %s", self.root, error)
            raise translated(error) from error

    async def prepare(self) -> None:
        """Make what is missing and finish what a crash cut off. Raises BackendError."""
        await self._in_thread(self._prepare)

    def _prepare(self) -> None:
        if not all((self.root / name).is_dir() for name in ("new", "cur", "tmp")):
            with suppress(MailboxExists):
                self._layout.make(INBOX)
        try:
            self._layout.clean_up()
        except OSError as error:
            log.warning("%s: not cleaned up: %s", self.root, error)

    # -- names --

    async def mailboxes(self) -> Sequence[MailboxInfo]:
        found, uses = await self._reading(self._scan)
        new = [name for name, mailbox_id in found if not mailbox_id]
        ids: dict[str, str | None] = dict(found)
        for start in range(0, len(new), AT_ONCE):
            some = new[start : start + AT_ONCE]
            ids.update(zip(some, await asyncio.gather(*map(self._new_id, some)), strict=True))
        return [
            MailboxInfo(name, mailbox_id, uses.get(name, ()))
            for name, mailbox_id in ids.items()
            if mailbox_id is not None
        ]

    async def _new_id(self, name: str) -> str | None:
        """The id of a mailbox that was not opened before; None if it is not there any more."""
        try:
            return (await self.open(name)).id
        except MailboxNotFound:
            return None
        except BackendError:
            return "unknown"  # it is there, and opening it says what is wrong

    def _scan(self) -> tuple[list[tuple[str, str]], dict[str, tuple[str, ...]]]:
        found = []
        for name, path in self._layout.places().items():
            with suppress(FileNotFoundError):
                found.append((name, self._id_of(path)))
        return found, self._special_uses.read()

    def _id_of(self, path: Path) -> str:
        """The id of a mailbox, "" if it has none yet."""
        inode = os.stat(path).st_ino
        known = self._ids.get(path)
        if known is not None and known[0] == inode:
            return known[1]
        try:
            with open(path / "dovecot-uidlist", "rb") as file:
                fields = file.readline(1000).decode("ascii", "replace").split()
        except OSError:
            return ""
        guid = next((field[1:] for field in fields if field.startswith("G")), "")
        if guid:
            self._ids[path] = (inode, guid)
        return guid

    async def open(self, name: str) -> MaildirMailbox:
        # The file system is asked only when the mailbox is not open already.
        path = self._paths.get(name)
        if path is None or (found := self._store.opened(path)) is None or found.index.gone:
            self._paths.pop(name, None)
            path = await self._reading(self._find, name)
            if len(self._paths) < self._store.limits.mailboxes:
                self._paths[name] = path
        return await self._store.open(path, self._new_uid_validity, self._size)

    def _find(self, name: str) -> Path:
        """Where the mailbox really is: a folder may be a link to another one of this user."""
        try:
            return Path(os.path.realpath(self._layout.find(name)))
        except CannotDo:
            raise MailboxNotFound from None
        except MailboxNotFound:
            if name != INBOX:
                raise
            self._prepare()  # someone has removed it while users are logged in
            return self._layout.find(name)

    # -- changing them --

    async def create(self, name: str, special_use: tuple[str, ...] = ()) -> MaildirMailbox:
        return await self._store.workers.finish(self._create(name, special_use))

    async def _create(self, name: str, special_use: tuple[str, ...]) -> MaildirMailbox:
        async with self._lock:
            path = await self._in_thread(self._make, name, special_use)
        return await self._store.open(path, self._new_uid_validity, self._size)

    def _make(self, name: str, special_use: tuple[str, ...]) -> Path:
        path = self._layout.path(name)
        names = self._layout.names()
        if len(names) >= self._store.limits.mailboxes and name not in names:
            raise LimitReached("Too many mailboxes")
        path = self._layout.make(name)
        if special_use:
            self._special_uses.set(name, special_use)
        return path

    async def delete(self, name: str) -> None:
        if name == INBOX:
            raise CannotDo("INBOX cannot be deleted")
        await self._store.workers.finish(self._delete(name))

    async def _delete(self, name: str) -> None:
        async with self._lock, AsyncExitStack() as stack:
            mailbox = await self._held(stack, await self._in_thread(self._find, name))
            await self._in_thread(self._remove, name)
            if mailbox is not None and not await self._in_thread(mailbox.files.exists):
                mailbox.close()

    async def _held(self, stack: AsyncExitStack, path: Path) -> MaildirMailbox | None:
        """The mailbox if it is open, with its lock held until the stack is left."""
        mailbox = self._store.opened(path)
        if mailbox is not None:
            await stack.enter_async_context(mailbox.lock)
        return mailbox

    def _remove(self, name: str) -> None:
        self._paths.pop(name, None)
        self._ids.clear()
        gone = self._size.held_in(self._layout.find(name))
        self._layout.remove(name)
        if gone is not None:
            self._size.take_away(gone)
        self._special_uses.remove(name)

    async def count_mailboxes(self) -> int:
        return len(await self._reading(self._layout.names))

    async def usage(self, quota: Quota, again: bool = False) -> Usage:
        return await self._in_thread(self._size.usage, quota, again)

    async def rename(self, name: str, new_name: str) -> None:
        await self._store.workers.finish(self._rename(name, new_name))

    async def _rename(self, name: str, new_name: str) -> None:
        async with self._lock, AsyncExitStack() as stack:
            below = name + DELIMITER
            places = await self._in_thread(self._real_places)
            # In the order in which `MaildirMailbox.move` takes them, too.
            for path in sorted(
                str(path) for old, path in places if old == name or old.startswith(below)
            ):
                await self._held(stack, Path(path))
            moved = await self._in_thread(self._layout.rename, name, new_name)
            self._ids.clear()
            self._paths.clear()
            for old_path, new_path in moved:
                await self._store.renamed(old_path, new_path)
            await self._in_thread(self._special_uses.rename, name, new_name)

    def _real_places(self) -> list[tuple[str, Path]]:
        return [
            (name, Path(os.path.realpath(path))) for name, path in self._layout.places().items()
        ]

    # -- properties --

    @property
    def properties(self) -> MaildirProperties:  # type: ignore[override]  # nobody sets it
        # Made anew each time: kept here, it would keep this account from being let go.
        return MaildirProperties(self._read_properties, self._write_properties)

    async def _read_properties(self) -> Mapping[str, bytes]:
        return await self._reading(self._properties.read)

    async def _write_properties(
        self, changes: Mapping[str, bytes | None], expected: Mapping[str, bytes | None] | None
    ) -> bool:
        return await self._store.workers.finish(
            self._in_thread(self._properties.write, changes, expected)
        )

    # -- who else may do what: Dovecot's files, not our properties --

    async def access_list(self, name: str) -> AccessList:
        path = self._paths.get(name)
        mailbox = None if path is None else self._store.opened(path)
        if mailbox is not None and not mailbox.index.gone:
            with suppress(MailboxGone):
                return await mailbox.access_list()
        return await self._reading(self._access_list, name)

    def _access_list(self, name: str) -> AccessList:
        return read_access(self._find(name))

    async def access_lists(self) -> Mapping[str, AccessList]:
        return await self._reading(self._access_lists)

    def _access_lists(self) -> Mapping[str, AccessList]:
        found = {}
        for name, path in self._layout.places().items():
            with suppress(Corrupt):  # it is as if it shared nothing
                if entries := read_access(path):
                    found[name] = entries
        return found

    async def set_access(
        self,
        name: str,
        changes: Mapping[str, Rights | None],
        expected: Mapping[str, Rights | None] | None = None,
    ) -> bool:
        work = self._in_thread(self._set_access, name, changes, expected or {})
        return await self._store.workers.finish(work)

    def _set_access(
        self,
        name: str,
        changes: Mapping[str, Rights | None],
        expected: Mapping[str, Rights | None],
    ) -> bool:
        # Nobody renames it meanwhile, and takes our lock along.
        with lock_tree(self.root):
            return change_access(self._find(name), self.root, changes, expected)

    # -- subscriptions --

    async def subscriptions(self) -> frozenset[str]:
        return await self._reading(self._subscriptions.read)

    async def subscribe(self, name: str) -> None:
        await self._store.workers.finish(self._in_thread(self._subscribe, name))

    def _subscribe(self, name: str) -> None:
        known = self._subscriptions.read()
        if name not in known and len(known) >= self._store.limits.mailboxes:
            raise LimitReached("Too many subscriptions")
        self._subscriptions.add(name)

    async def unsubscribe(self, name: str) -> None:
        await self._store.workers.finish(self._in_thread(self._subscriptions.remove, name))

    # -- news --

    async def listing(self) -> Listing:
        """A rename of many folders is one change, so no listing is taken in the middle of it."""
        for _ in range(TRIES):
            before = await self._reading(self._moment)
            found = await super().listing()
            if before is not None and before == await self._reading(self._moment):
                break
            await asyncio.sleep(PAUSE_S)
        return found

    def _moment(self) -> int | None:
        """What is another after each change; None in the middle of one of several steps."""
        if os.path.lexists(f"{self.root}/{MOVES}"):
            return None
        return os.stat(self.root).st_mtime_ns

    async def wait(self, known: Listing) -> None:
        watch = NamesWatch(self._store.watcher)
        loop = asyncio.get_running_loop()
        try:
            while True:
                began = loop.time()
                told = watch.cover(await self._reading(self._layout.growing))
                if await self.listing() != known:
                    return
                if not told:
                    await asyncio.sleep(max(POLL_S, POLL_SHARE * (loop.time() - began)))
                    continue
                # A directory that somebody makes step by step becomes a mailbox a little after
                # it was told of.
                patience_s = SETTLE_S if self._stirred else None
                self._stirred = False
                with suppress(TimeoutError):
                    async with asyncio.timeout(patience_s):
                        await watch.news.wait()
                        self._stirred = True
                        return
        finally:
            watch.stop()
