"""Mail in Maildir directories, as Dovecot keeps them.

A tree that Dovecot has made is served as it is, and goes back to it; both may even run at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
from argparse import ArgumentParser, Namespace
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Self
from weakref import WeakValueDictionary

from pymap.backend.api import Backend
from pymap.backend.errors import NoPermission, Unavailable
from pymap.backend.maildir.account import MaildirAccount
from pymap.backend.maildir.layout import LAYOUTS
from pymap.backend.maildir.mailbox import translated
from pymap.backend.maildir.properties import (
    STORE_PROPERTIES,
    LockedProperties,
    MaildirProperties,
    file_name,
)
from pymap.backend.maildir.store import MaildirStore
from pymap.backend.maildir.users import UsersFile
from pymap.limits import Limits

__all__ = ["MaildirBackend"]

log = logging.getLogger("pymap.maildir")

KEEP = 1000  # accounts, and scopes of properties
PING_S = 5.0


class MaildirBackend(Backend):
    """Mail in Maildir directories, as Dovecot keeps them.

    `users` says who may log in and where their mail is; `layout` how folders lie on disk, "++" or
    "fs"; `delimiter` what clients see between the levels of a name.
    """

    eager = True

    users: UsersFile

    def __init__(
        self,
        users: UsersFile,
        layout: str = "++",
        delimiter: str = "/",
        limits: Limits | None = None,
    ) -> None:
        self.users = users
        self.limits = limits or Limits()
        self._layout = LAYOUTS[layout]
        self.delimiter = delimiter
        self._store: MaildirStore | None = None
        self._properties: OrderedDict[Path, LockedProperties] = OrderedDict()
        self._pinging: asyncio.Task[os.stat_result] | None = None
        # One account for all sessions of a user; the last ones stay, so that they are not looked
        # through at each login.
        self._accounts: WeakValueDictionary[Path, MaildirAccount] = WeakValueDictionary()
        self._recent: OrderedDict[Path, MaildirAccount] = OrderedDict()

    async def start(self) -> None:
        await asyncio.to_thread(self.users.load)
        self._store = MaildirStore(self.limits)

    async def stop(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            await store.close()

    @asynccontextmanager
    async def account(self, user: str) -> AsyncIterator[MaildirAccount]:
        assert self._store is not None, "start() comes first"
        entry = await self._store.workers.read(self.users.entry, user)
        if entry is None:
            raise NoPermission("There is no such user any more")
        account = self._accounts.get(entry.directory)
        if account is None:
            root = Path(await self._store.workers.read(os.path.realpath, entry.directory))
            account = MaildirAccount(self._store, self._layout(root, self.limits))
            await account.prepare()
            self._accounts[entry.directory] = account
        self._recent[entry.directory] = account
        self._recent.move_to_end(entry.directory)
        if len(self._recent) > KEEP:
            self._recent.popitem(last=False)
        yield account

    def properties(self, scope: str) -> MaildirProperties:
        assert self._store is not None, "start() comes first"
        path = self.users.base_dir / STORE_PROPERTIES / file_name(scope)
        kept = self._properties.pop(path, None) or LockedProperties(path)
        self._properties[path] = kept  # the last ones stay, so that they are not read each time
        if len(self._properties) > KEEP:
            self._properties.popitem(last=False)
        workers = self._store.workers

        async def read() -> Mapping[str, bytes]:
            with _translating(path):
                return await workers.read(kept.read)

        async def write(
            changes: Mapping[str, bytes | None], expected: Mapping[str, bytes | None] | None
        ) -> bool:
            with _translating(path):
                return await workers.finish(workers.in_thread(kept.write, changes, expected))

        return MaildirProperties(read, write)

    async def ping(self) -> None:
        """Whether the base directory can be reached. That it is not there is trouble as well: mail
        that is on a disk which is not mounted would be made anew, beside it."""
        assert self._store is not None, "start() comes first"
        workers, base = self._store.workers, self.users.base_dir
        # A disk that is away may keep a thread for hours, and another one would learn no more.
        if self._pinging is None or self._pinging.done():
            self._pinging = workers.start(workers.read(os.stat, f"{base}/."))
        try:
            async with asyncio.timeout(PING_S):
                await asyncio.shield(self._pinging)
        except TimeoutError as error:
            raise Unavailable(f"{base}: no answer for {PING_S:g} s") from error
        except OSError as error:
            raise Unavailable(f"{base}: {error.strerror}") from error

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        parser.description = "Mail in Maildir directories, as Dovecot keeps them."
        parser.add_argument(
            "users_file",
            type=Path,
            metavar="USERS_FILE",
            help="who may log in: one user:mailbox path:password per line",
        )
        parser.add_argument(
            "--base-dir",
            type=Path,
            metavar="DIR",
            help="what relative mailbox paths are relative to (default: where the users file is)",
        )
        parser.add_argument(
            "--layout",
            choices=sorted(LAYOUTS),
            default="++",
            help="how folders lie on disk: ++ is .Work.2024, fs is Work/2024 (default: ++)",
        )
        parser.add_argument(
            "--delimiter",
            choices=["/", "."],
            default="/",
            help="what clients see between the levels of a name (default: /)",
        )

    @classmethod
    def from_args(cls, args: Namespace) -> Self:
        users = UsersFile(args.users_file, args.base_dir)
        users.load()
        return cls(users, args.layout, args.delimiter)


@contextmanager
def _translating(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        log.error("%s: %s", path, error)
        raise translated(error) from error
