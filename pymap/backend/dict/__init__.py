"""Mail in memory: for development, for test suites, and as the example of a backend.

Everything is gone when the process ends. Copies of a message share its octets.
"""

from __future__ import annotations

import asyncio
import time
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

from pymap.backend.api import (
    DELIMITER,
    Account,
    Backend,
    Listing,
    MailboxInfo,
    Quota,
    Usage,
    User,
    UserStore,
)
from pymap.backend.dict.demo_data import load_demo
from pymap.backend.dict.mailbox import DictMailbox, DictProperties, Held
from pymap.backend.errors import CannotDo, LimitReached, MailboxExists, MailboxNotFound
from pymap.limits import Limits

__all__ = ["DictAccount", "DictBackend", "DictMailbox", "DictUsers"]

INBOX = "INBOX"


class DictAccount(Account):
    """One user's mailboxes by name."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.properties = DictProperties()
        self._mailboxes: dict[str, DictMailbox] = {}
        self._special_use: dict[str, tuple[str, ...]] = {}
        self.subscribed: set[str] = set()
        self._uid_validity = 0
        self._changed = asyncio.Event()  # some name, since somebody began to wait
        self._held = Held()
        self.add(INBOX)

    def add(self, name: str, special_use: tuple[str, ...] = (), uid_next: int = 1) -> DictMailbox:
        # Above all that were given before, also for two mailboxes made in one second.
        self._uid_validity = max(int(time.time()), self._uid_validity + 1)
        made = DictMailbox(self._uid_validity, uid_next, self.limits.keywords, self._held)
        self._mailboxes[name] = made
        if special_use:
            self._special_use[name] = special_use
        self._changed.set()
        return made

    async def mailboxes(self) -> Sequence[MailboxInfo]:
        return [
            MailboxInfo(name, mailbox.id, self._special_use.get(name, ()))
            for name, mailbox in self._mailboxes.items()
        ]

    async def open(self, name: str) -> DictMailbox:
        try:
            return self._mailboxes[name]
        except KeyError:
            raise MailboxNotFound from None

    async def create(self, name: str, special_use: tuple[str, ...] = ()) -> DictMailbox:
        if name in self._mailboxes:
            raise MailboxExists
        if len(self._mailboxes) >= self.limits.mailboxes:
            raise LimitReached("Too many mailboxes")
        return self.add(name, special_use)

    async def delete(self, name: str) -> None:
        if name == INBOX:
            raise CannotDo("INBOX cannot be deleted")
        mailbox = self._mailboxes.pop(name, None)
        if mailbox is None:
            raise MailboxNotFound
        self._special_use.pop(name, None)
        self._held.octets -= mailbox.index.size
        self._held.messages -= len(mailbox.index.uids)
        mailbox.index.close()
        self._changed.set()

    async def rename(self, name: str, new_name: str) -> None:
        below = name + DELIMITER
        moved = {
            old: new_name + old[len(name) :]
            for old in self._mailboxes
            if old == name or old.startswith(below)
        }
        if not moved:
            raise MailboxNotFound
        if any(new in self._mailboxes and new not in moved for new in moved.values()):
            raise MailboxExists
        boxes = {new: self._mailboxes.pop(old) for old, new in moved.items()}
        uses = {new: self._special_use.pop(old, ()) for old, new in moved.items()}
        self._mailboxes.update(boxes)
        self._special_use.update(uses)
        self._changed.set()

    async def count_mailboxes(self) -> int:
        return len(self._mailboxes)

    async def usage(self, quota: Quota, again: bool = False) -> Usage:
        return Usage(self._held.octets, self._held.messages)

    async def subscriptions(self) -> frozenset[str]:
        return frozenset(self.subscribed)

    async def subscribe(self, name: str) -> None:
        if name not in self.subscribed and len(self.subscribed) >= self.limits.mailboxes:
            raise LimitReached("Too many subscriptions")
        self.subscribed.add(name)
        self._changed.set()

    async def unsubscribe(self, name: str) -> None:
        self.subscribed.discard(name)
        self._changed.set()

    async def wait(self, known: Listing) -> None:
        while await self.listing() == known:
            self._changed.clear()
            await self._changed.wait()


class DictUsers(UserStore):
    def __init__(self) -> None:
        self._users: dict[str, User] = {}
        self._schemes: Counter[str] = Counter()

    async def get(self, name: str) -> User | None:
        return self._users.get(name)

    async def put(self, user: User) -> None:
        self.add(user)

    def add(self, user: User) -> None:
        self._remove(user.name)
        self._users[user.name] = user
        self._schemes[user.scheme] += 1

    async def delete(self, name: str) -> None:
        self._remove(name)

    def _remove(self, name: str) -> None:
        user = self._users.pop(name, None)
        if user is not None:
            self._schemes[user.scheme] -= 1
            if not self._schemes[user.scheme]:
                del self._schemes[user.scheme]

    async def names(self) -> AsyncIterator[str]:
        for name in list(self._users):
            yield name

    def schemes(self) -> frozenset[str]:
        return frozenset(self._schemes)


class DictBackend(Backend):
    """A backend in memory.

        backend = DictBackend({"alice": "secret"})

    `users` are names and passwords. An account is made when it is first asked for.
    """

    eager = True

    def __init__(self, users: dict[str, str] | None = None, limits: Limits | None = None) -> None:
        self.users: DictUsers = DictUsers()
        self.limits = limits or Limits()
        self._accounts: dict[str, DictAccount] = {}
        self._properties: dict[str, DictProperties] = {}
        for name, password in (users or {}).items():
            self.users.add(User(name, password))

    @asynccontextmanager
    async def account(self, user: str) -> AsyncIterator[DictAccount]:
        yield self.account_of(user)

    def account_of(self, user: str) -> DictAccount:
        """The account itself, for those who fill it from within the process."""
        found = self._accounts.get(user)
        if found is None:
            self._accounts[user] = found = DictAccount(self.limits)
        return found

    def properties(self, scope: str) -> DictProperties:
        return self._properties.setdefault(scope, DictProperties())

    def add_demo(self, user: str, password: str) -> None:
        """A user whose account shows what can be tried."""
        self.users.add(User(user, password))
        load_demo(self.account_of(user))
        self.loopback_only = True
        self.login_hint = f"log in as {user} with password {password}"

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        parser.description = "Mail in memory; it is gone when the server ends."
        parser.add_argument(
            "--demo-data", action="store_true", help="a user with a few mailboxes to try things on"
        )
        parser.add_argument("--demo-user", metavar="NAME", default="demouser")
        parser.add_argument("--demo-password", metavar="VALUE", default="demopass")
        parser.add_argument(
            "--users", metavar="FILE", type=Path, help="more users, one name:password per line"
        )

    @classmethod
    def from_args(cls, args: Namespace) -> Self:
        backend = cls(_read_users(args.users) if args.users else None)
        if args.demo_data:
            backend.add_demo(args.demo_user, args.demo_password)
        elif not args.users:
            raise ValueError("no users: give --demo-data or --users FILE")
        return backend


def _read_users(path: Path) -> dict[str, str]:
    """Lines ``name:password``; blank lines and lines that begin with # are passed over."""
    users: dict[str, str] = {}
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not UTF-8") from None
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, password = line.partition(":")
        if not name or not colon or name in users:
            raise ValueError(f"{path}, line {number}: expected a new name:password")
        users[name] = password
    return users
