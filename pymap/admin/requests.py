"""What a request says, as the engine takes it: users, mailboxes, flags, dates."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from pymap.backend.api import Account, Backend, Mailbox, User
from pymap.backend.errors import MailboxNotFound
from pymap.imap.store import check_flags
from pymap.limits import Limits
from pymap.wire.errors import BadCommand, Refused
from pymap.wire.framer import Frame
from pymap.wire.scanner import Scanner
from pymap.wire.types import Flag, InternalDate, fold_inbox

__all__ = [
    "Invalid",
    "account_of",
    "flags_of",
    "internal_date_of",
    "internal_date_text",
    "mailbox_name",
    "naming",
    "open_mailbox",
    "user_of",
]

SHOWN = 60  # characters of a value that an error repeats


class Invalid(Exception):
    """A request that means nothing: BAD, if it came from a client of IMAP."""


async def user_of(backend: Backend, name: str) -> User:
    """Raises Refused with NOUSER."""
    user = await backend.users.get(name)
    if user is None:
        raise Refused("NOUSER", "No such user")
    return user


@asynccontextmanager
async def account_of(backend: Backend, user: str) -> AsyncIterator[Account]:
    """The account of a user that exists: a store makes accounts for any name. Raises Refused with
    NOUSER."""
    await user_of(backend, user)
    async with backend.account(user) as account:
        yield account


def mailbox_name(name: str) -> str:
    """The mailbox that is meant. What is said on the wire goes the same way: RFC 9051 5.1."""
    return fold_inbox(name if name.isascii() else unicodedata.normalize("NFC", name))


async def open_mailbox(account: Account, name: str) -> Mailbox:
    """Raises MailboxNotFound, which says what the name is."""
    with naming(name):
        return await account.open(name)


@contextmanager
def naming(name: str) -> Iterator[None]:
    """An import has many mailboxes, so which one does not exist is worth a word."""
    try:
        yield
    except MailboxNotFound as error:
        raise MailboxNotFound(f"{error}: {name}" if name else str(error)) from error


def flags_of(names: Sequence[str], limits: Limits) -> frozenset[Flag]:
    """Raises Invalid for what is no flag or cannot be set, Refused with LIMIT."""
    if len(names) > limits.flags:
        raise Refused("LIMIT", "Too many flags")
    flags = set()
    for name in names:
        scanner = _scanner(name)
        try:
            flags.add(scanner.flag(limits))
            _end(scanner)
            check_flags(frozenset(flags))
        except BadCommand:
            raise Invalid(f"not a flag that can be set: {name[:SHOWN]!r}") from None
    return frozenset(flags)


def internal_date_of(text: str) -> InternalDate:
    """date-time without its quotes (RFC 9051 9), now if it is empty. Raises Invalid."""
    if not text:
        return InternalDate(int(time.time()))
    scanner = _scanner(f'"{text:>26}"')  # a day of one digit has a blank in front
    try:
        date = scanner.date_time()
        _end(scanner)
    except BadCommand:
        why = f"not a date like 24-Nov-2026 14:00:00 +0000: {text[:SHOWN]!r}"
        raise Invalid(why) from None
    return date


def internal_date_text(date: InternalDate) -> str:
    return date.encode().decode("ascii").strip('" ')


def _scanner(text: str) -> Scanner:
    return Scanner(Frame(text.encode("utf-8"), []))


def _end(scanner: Scanner) -> None:
    if scanner.pos != len(scanner.text):
        raise BadCommand("More than one date")
