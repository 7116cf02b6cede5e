"""A mail store in one SQLite file: the example of docs/backends.md, complete."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from secrets import token_hex
from sqlite3 import Connection
from typing import Any, Concatenate, ParamSpec, Protocol, Self, TypeVar

from pymap.backend.api import (
    DELIMITER,
    Account,
    Backend,
    Changes,
    Digest,
    Mailbox,
    MailboxInfo,
    NewMessage,
    Row,
    Snapshot,
    Stored,
    User,
    UserStore,
)
from pymap.backend.errors import (
    CannotDo,
    MailboxExists,
    MailboxGone,
    MailboxNotFound,
    MessageExpunged,
    Unavailable,
)
from pymap.wire.types import NO_UIDS, Flag, FlagOp, InternalDate, UidSet

# step: schema
SCHEMA = """
BEGIN;
CREATE TABLE users (name TEXT PRIMARY KEY, password TEXT);
CREATE TABLE mailboxes (number INTEGER PRIMARY KEY AUTOINCREMENT, user TEXT, name TEXT,
    special_use TEXT, uid_next INTEGER DEFAULT 1, modseq INTEGER DEFAULT 1, UNIQUE (user, name));
CREATE TABLE subscriptions (user TEXT, name TEXT, PRIMARY KEY (user, name));
CREATE TABLE messages (mailbox INTEGER REFERENCES mailboxes ON DELETE CASCADE, uid INTEGER,
    modseq INTEGER, flags TEXT, size INTEGER, date INTEGER, zone INTEGER, saved INTEGER,
    email_id TEXT, content BLOB, envelope BLOB, bodystructure BLOB, parts BLOB,
    header_size INTEGER, summary BLOB, preview BLOB, PRIMARY KEY (mailbox, uid));
CREATE TABLE expunged (mailbox INTEGER REFERENCES mailboxes ON DELETE CASCADE, uid INTEGER,
    modseq INTEGER, PRIMARY KEY (mailbox, uid));
CREATE INDEX changes ON messages (mailbox, modseq);
CREATE INDEX vanished ON expunged (mailbox, modseq);
INSERT INTO sqlite_sequence VALUES ('mailboxes', unixepoch());
PRAGMA user_version = 1;
COMMIT;
"""


# step: database
class Database:
    """One connection, and the one thread that uses it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.thread = ThreadPoolExecutor(1)

    def open(self) -> None:
        try:
            self.connection = sqlite3.connect(
                self.path, isolation_level=None, check_same_thread=False
            )
            self.connection.execute("PRAGMA journal_mode = WAL")
            self.connection.execute("PRAGMA foreign_keys = ON")
            if not self.connection.execute("PRAGMA user_version").fetchone()[0]:
                self.connection.executescript(SCHEMA)
        except sqlite3.Error as error:
            raise OSError(f"{self.path}: {error}") from error

    def transaction(self, work: Callable[[Connection], T]) -> T:
        try:
            with self.connection as db:  # commits, or takes it all back if `work` raises
                db.execute("BEGIN IMMEDIATE")
                return work(db)
        except sqlite3.Error as error:
            raise Unavailable from error


class HasDatabase(Protocol):
    database: Database


S = TypeVar("S", bound=HasDatabase)
P = ParamSpec("P")
T = TypeVar("T")


def transaction(
    method: Callable[Concatenate[S, Connection, P], T],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """Make a coroutine of a method that takes the connection: one call, one transaction."""

    @wraps(method)
    async def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        def work(db: Connection) -> T:
            return method(self, db, *args, **kwargs)

        database = self.database
        run = asyncio.get_running_loop().run_in_executor
        return await run(database.thread, database.transaction, work)

    return call


# step: mailbox
class SqliteMailbox(Mailbox):
    def __init__(self, database: Database, number: int) -> None:
        self.database, self.number = database, number
        self.id, self.uid_validity = f"F{number}", number

    def _state(self, db: Connection) -> tuple[int, int]:
        """`uid_next` and `modseq`."""
        query = "SELECT uid_next, modseq FROM mailboxes WHERE number = ?"
        found: tuple[int, int] | None = db.execute(query, (self.number,)).fetchone()
        if found is None:
            raise MailboxGone
        return found

    def _advance(self, db: Connection, uid_next: int, modseq: int) -> None:
        query = "UPDATE mailboxes SET uid_next = ?, modseq = ? WHERE number = ?"
        db.execute(query, (uid_next, modseq, self.number))

    def _select(self, db: Connection, columns: str, uids: UidSet) -> Iterator[tuple[Any, ...]]:
        """The messages that exist, ascending: one query for each range, however long it is."""
        query = f"SELECT {columns} FROM messages WHERE mailbox = ? AND uid BETWEEN ? AND ?"
        for first, last in uids.ranges:
            yield from db.execute(query + " ORDER BY uid", (self.number, first, last)).fetchall()

    # step: reading
    @transaction
    def snapshot(self, db: Connection) -> Snapshot:
        uid_next, modseq = self._state(db)
        query = "SELECT uid FROM messages WHERE mailbox = ? ORDER BY uid"
        return Snapshot(uid_next, modseq, [uid for (uid,) in db.execute(query, (self.number,))])

    @transaction
    def changes(self, db: Connection, since: int) -> Changes:
        _, modseq = self._state(db)

        def newer(table: str) -> UidSet:
            query = f"SELECT uid FROM {table} WHERE mailbox = ? AND modseq > ? ORDER BY uid"
            rows = db.execute(query, (self.number, since))
            return UidSet.from_sorted([uid for (uid,) in rows])

        return Changes(modseq, newer("messages"), newer("expunged"))

    @transaction
    def metadata(self, db: Connection, uids: UidSet) -> Sequence[Row]:
        columns = "uid, modseq, flags, size, date, zone, saved, email_id"
        return [
            Row(uid, modseq, _flags(flags), size, InternalDate(date, zone), saved, email_id)
            for uid, modseq, flags, size, date, zone, saved, email_id in self._select(
                db, columns, uids
            )
        ]

    @transaction
    def content(self, db: Connection, uid: int) -> bytes:
        for (content,) in self._select(db, "content", UidSet.of(uid)):
            return bytes(content)
        raise MessageExpunged

    @transaction
    def digests(self, db: Connection, uids: Sequence[int]) -> Sequence[Digest | None]:
        columns = "uid, envelope, bodystructure, parts, header_size, summary, preview"
        found = {uid: Digest(*row) for uid, *row in self._select(db, columns, UidSet.of(*uids))}
        return [found.get(uid) for uid in uids]

    # step: changing
    @transaction
    def append(self, db: Connection, messages: Sequence[NewMessage]) -> UidSet:
        if not messages:
            return NO_UIDS
        first, modseq = self._state(db)
        for uid, (content, flags, date, digest, email_id) in enumerate(messages, first):
            row = (self.number, uid, modseq + 1, _text(flags), len(content), *date,
                   int(time.time()), email_id or "M" + token_hex(8), content, *digest)  # fmt: skip
            db.execute(f"INSERT INTO messages VALUES (?{', ?' * (len(row) - 1)})", row)
        self._advance(db, first + len(messages), modseq + 1)
        return UidSet(((first, first + len(messages) - 1),))

    @transaction
    def store(
        self, db: Connection, uids: UidSet, op: FlagOp, flags: frozenset[Flag],
        unchanged_since: int | None = None,
    ) -> Stored:  # fmt: skip
        uid_next, before = self._state(db)
        changed, failed = [], []
        for uid, modseq, text in self._select(db, "uid, modseq, flags", uids):
            old = _flags(text)
            new = op.apply(old, flags)
            if unchanged_since is not None and modseq > unchanged_since:
                failed.append(uid)
            elif new != old:
                changed.append((_text(new), before + 1, self.number, uid))
        if changed:
            query = "UPDATE messages SET flags = ?, modseq = ? WHERE mailbox = ? AND uid = ?"
            db.executemany(query, changed)
            self._advance(db, uid_next, before + 1)
        after = before + bool(changed)
        return Stored(before, after, UidSet.of(*(row[-1] for row in changed)), UidSet.of(*failed))

    @transaction
    def expunge(self, db: Connection, uids: UidSet, only: Flag | None = None) -> UidSet:
        uid_next, modseq = self._state(db)
        found = self._select(db, "uid, flags", uids)
        gone = [uid for uid, flags in found if only is None or only in _flags(flags)]
        if gone:
            rows = [(self.number, uid) for uid in gone]
            db.executemany("DELETE FROM messages WHERE mailbox = ? AND uid = ?", rows)
            rows_gone = [(*row, modseq + 1) for row in rows]
            db.executemany("INSERT INTO expunged VALUES (?, ?, ?)", rows_gone)
            self._advance(db, uid_next, modseq + 1)
        return UidSet.from_sorted(gone)


def _flags(text: str) -> frozenset[Flag]:
    return frozenset(map(Flag.of, text.split()))


def _text(flags: frozenset[Flag]) -> str:
    return " ".join(map(str, flags))


# step: account
class SqliteAccount(Account):
    def __init__(self, database: Database, user: str) -> None:
        self.database, self.user = database, user

    def _names(self, db: Connection) -> dict[str, int]:
        query = "SELECT name, number FROM mailboxes WHERE user = ?"
        return dict(db.execute(query, (self.user,)).fetchall())

    @transaction
    def mailboxes(self, db: Connection) -> Sequence[MailboxInfo]:
        query = "SELECT name, number, special_use FROM mailboxes WHERE user = ?"
        rows = db.execute(query, (self.user,))
        return [MailboxInfo(name, f"F{number}", tuple(uses.split())) for name, number, uses in rows]

    @transaction
    def open(self, db: Connection, name: str) -> Mailbox:
        number = self._names(db).get(name)
        if number is None:
            raise MailboxNotFound
        return SqliteMailbox(self.database, number)

    @transaction
    def create(self, db: Connection, name: str, special_use: tuple[str, ...] = ()) -> Mailbox:
        if name in self._names(db):
            raise MailboxExists
        query = "INSERT INTO mailboxes (user, name, special_use) VALUES (?, ?, ?)"
        number = db.execute(query, (self.user, name, " ".join(special_use))).lastrowid
        assert number is not None
        return SqliteMailbox(self.database, number)

    @transaction
    def delete(self, db: Connection, name: str) -> None:
        query = "DELETE FROM mailboxes WHERE user = ? AND name = ?"
        if not db.execute(query, (self.user, name)).rowcount:
            raise MailboxNotFound

    @transaction
    def rename(self, db: Connection, name: str, new_name: str) -> None:
        numbers = self._names(db)
        moved = {
            old: new_name + old.removeprefix(name)
            for old in sorted(numbers, key=len)  # a/b/b may become a/b once that is a
            if old == name or old.startswith(name + DELIMITER)
        }
        if not moved:
            raise MailboxNotFound
        if not (numbers.keys() - moved.keys()).isdisjoint(moved.values()):
            raise MailboxExists
        for old, new in moved.items():
            db.execute("UPDATE mailboxes SET name = ? WHERE number = ?", (new, numbers[old]))

    @transaction
    def subscriptions(self, db: Connection) -> frozenset[str]:
        query = "SELECT name FROM subscriptions WHERE user = ?"
        return frozenset(name for (name,) in db.execute(query, (self.user,)))

    @transaction
    def subscribe(self, db: Connection, name: str) -> None:
        db.execute("INSERT OR IGNORE INTO subscriptions VALUES (?, ?)", (self.user, name))

    @transaction
    def unsubscribe(self, db: Connection, name: str) -> None:
        db.execute("DELETE FROM subscriptions WHERE user = ? AND name = ?", (self.user, name))


# step: backend
class SqliteUsers(UserStore):
    def __init__(self, database: Database) -> None:
        self.database = database

    @transaction
    def get(self, db: Connection, name: str) -> User | None:
        row = db.execute("SELECT name, password FROM users WHERE name = ?", (name,)).fetchone()
        return None if row is None else User(*row)

    @transaction
    def put(self, db: Connection, user: User) -> None:
        if user.roles:
            raise CannotDo("This store keeps no roles")
        db.execute("INSERT OR REPLACE INTO users VALUES (?, ?)", (user.name, user.password))

    @transaction
    def delete(self, db: Connection, name: str) -> None:
        db.execute("DELETE FROM users WHERE name = ?", (name,))

    @transaction
    def _all(self, db: Connection) -> list[str]:
        return [name for (name,) in db.execute("SELECT name FROM users")]

    async def names(self) -> AsyncIterator[str]:
        for name in await self._all():
            yield name


class SqliteBackend(Backend):
    """Mail in one SQLite file."""

    def __init__(self, path: Path, users: dict[str, str] | None = None) -> None:
        self.database = Database(path)
        self.users = SqliteUsers(self.database)
        self._new_users = users or {}

    async def start(self) -> None:
        run = asyncio.get_running_loop().run_in_executor
        await run(self.database.thread, self.database.open)
        for name, password in self._new_users.items():
            await self.users.put(User(name, password))

    async def stop(self) -> None:
        self.database.thread.shutdown()  # what it has begun ends first
        self.database.connection.close()

    @asynccontextmanager
    async def account(self, user: str) -> AsyncIterator[Account]:
        account = SqliteAccount(self.database, user)
        try:
            await account.open("INBOX")
        except MailboxNotFound:
            await account.create("INBOX")
        yield account

    # step: command line
    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="the database; it is made if it is not there")
        parser.add_argument("--user", metavar="NAME:PASSWORD", action="append", default=[])

    @classmethod
    def from_args(cls, args: Namespace) -> Self:
        users = dict(text.split(":", 1) for text in args.user if ":" in text)
        if len(users) < len(args.user):
            raise ValueError("--user: expected NAME:PASSWORD")
        return cls(args.file, users)
