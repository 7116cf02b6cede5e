"""The whole contract of a mail store, on one page.

Write a `Backend`, an `Account` and a `Mailbox`, and every IMAP command works over them:

    Backend.users            who may log in
    Backend.account(user)    an Account: its mailboxes by name
    Account.open(name)       a Mailbox: its messages by UID

What is not yours: sequence numbers, sessions, flags' spelling on the wire, ``.SILENT``, the
timing of EXPUNGE, evaluation of SEARCH, body sections, SASL and password hashes. The engine does
these from the seven required methods of `Mailbox`.

The rules:

1.  **modseq is the only clock.** A mailbox has one counter that starts at 1 or above and never
    goes back. Each call that changes something takes one new value, gives it to every message
    that it changed, and is visible to `changes` when it returns.   RFC 7162 3.1
2.  **UIDs ascend**, become visible in that order, and are never given twice in one
    `uid_validity`. No two mailboxes of an account ever have the same `uid_validity`; one that
    is created gets a higher value than all before it, one that is renamed keeps its
    own.   RFC 9051 2.3.1.1
3.  **Sets in, sets out.** A call takes any number of UIDs and is atomic: all of it or nothing,
    also when it is cancelled while it waits, as the end of a connection does. UIDs that do not
    exist are passed over; a set may be 1:4294967295, so ask for what is there, never loop over
    it. What a mutating call has returned is durable as far as the store promises durability.
4.  **Octets in = octets out.** `content` returns what `append` was given.
5.  **Wake up, then pull.** `wait` carries no data; one too many is harmless. An account has one
    as well, for its names.
6.  **Errors** are those of `backend.errors` and no others. Any method of a mailbox that has been
    deleted may raise MailboxGone; `snapshot`, `changes` and all that would change it must.
7.  Methods are coroutines and may suspend. Unless the backend says `eager`, each command runs in
    a Task of its own, so `asyncio.timeout` and everything else that needs one works.

`backend/conformance.py` is the test suite for all of this, `docs/backends.md` the guide with a
complete example.
"""

from __future__ import annotations

import asyncio
import re
from abc import ABC, abstractmethod
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, NamedTuple, Self

from pymap.backend.errors import CannotDo, MailboxGone, MailboxNotFound, MessageExpunged
from pymap.backend.rights import (
    ALL_RIGHTS,
    AccessList,
    Rights,
    from_properties,
    property_key,
)
from pymap.mime import Digest, digest
from pymap.wire.types import DELETED, DELIMITER, NO_UIDS, SEEN, Flag, FlagOp, InternalDate, UidSet

if TYPE_CHECKING:
    from pymap.backend.index import MessageIndex
    from pymap.wire.search import SearchKey

__all__ = [
    "DELIMITER",
    "SCHEME_PREFIX",
    "Account",
    "Backend",
    "Changes",
    "Copied",
    "Digest",
    "Listing",
    "Mailbox",
    "MailboxInfo",
    "MailboxStatus",
    "Narrowed",
    "NewMessage",
    "Properties",
    "Quota",
    "Row",
    "Snapshot",
    "Stored",
    "Usage",
    "User",
    "UserStore",
    "digest",
]


class NewMessage(NamedTuple):
    """A message to append. `digest` is `digest(content)`, made by the caller off the event loop
    when the message is large. `email_id` is given when this is a copy of a known message."""

    content: bytes
    flags: frozenset[Flag]
    internal_date: InternalDate
    digest: Digest
    email_id: str | None = None


class Row(NamedTuple):
    r"""What a mailbox knows of one message without opening it.

    `size` is in octets as `content` has them, `save_date` in seconds since 1970 UTC or None if
    it is not kept (RFC 8514), `email_id` as RFC 8474 5.1 wants it, at most 255 of A-Z a-z 0-9 _ -.
    `flags` never holds \Recent.
    """

    uid: int
    modseq: int
    flags: frozenset[Flag]
    size: int
    internal_date: InternalDate
    save_date: int | None
    email_id: str


class Snapshot(NamedTuple):
    """A mailbox at one moment. `uids` ascend."""

    uid_next: int
    modseq: int
    uids: Sequence[int]


class Changes(NamedTuple):
    """The jump of a mailbox from one modseq to another.

    `changed` are the messages that are new or have a modseq above the one asked for, `vanished`
    the UIDs expunged since, those included that were new since as well. `complete` is False when
    the store no longer knows all of `vanished`; the engine then finds out by
    comparing.   RFC 7162 3.2.6
    """

    modseq: int
    changed: UidSet
    vanished: UidSet
    complete: bool = True


class Stored(NamedTuple):
    """What a `store` did: `changed` took the new modseq, `failed` did not pass UNCHANGEDSINCE.

    `before` is the mailbox's modseq just before: if it is above what a session knew, someone else
    came in between. When nothing changed, `modseq` equals `before`.   RFC 7162 3.1.3
    """

    before: int
    modseq: int
    changed: UidSet
    failed: UidSet = NO_UIDS


class Copied(NamedTuple):
    """COPYUID: `source[i]` became `target[i]`.   RFC 4315 3"""

    uid_validity: int
    source: UidSet
    target: UidSet


class MailboxStatus(NamedTuple):
    """STATUS of a mailbox; `size` in octets.   RFC 9051 6.3.11, RFC 8438"""

    messages: int
    recent: int
    unseen: int
    deleted: int
    deleted_size: int
    size: int
    uid_next: int
    modseq: int


class Narrowed(NamedTuple):
    """What a store knows of a search: none but `uids` can match, and if `exact`, they all do."""

    uids: UidSet
    exact: bool = False


class Quota(NamedTuple):
    """What an account may hold; None: as much as it likes.   RFC 9208 5"""

    octets: int | None = None
    messages: int | None = None
    mailboxes: int | None = None

    @property
    def limits_mail(self) -> bool:
        return self.octets is not None or self.messages is not None


class Usage(NamedTuple):
    """What the messages of an account come to. `octets` are what the store takes them for: of the
    files or of what clients see, without what it keeps beside them.   RFC 9208 5.1, 5.2"""

    octets: int
    messages: int


class Properties(ABC):
    """A small durable map: values by key, kept beside a mailbox, an account or the whole store.

    METADATA, ACL, QUOTA and URLAUTH keep what is theirs in it; a store that has it has all of them.
    Keys are text without control characters, at most 2,000 octets in UTF-8; values are any octets.
    The engine bounds their number and size: a few hundred, and a few hundred KiB together.
    """

    @abstractmethod
    async def read(self) -> Mapping[str, bytes]:
        """All of it, as of now, others' changes included. Nobody changes the mapping any more."""

    @abstractmethod
    async def write(
        self,
        changes: Mapping[str, bytes | None],
        expected: Mapping[str, bytes | None] | None = None,
    ) -> bool:
        """Set values, or with None remove them: all of these or none, and durable on return.

        False, and nothing done, if one of the keys of `expected` has another value by now (None:
        is there at all). So what was read can be changed without losing what others did
        meanwhile. Raises MailboxGone, ReadOnly, OverQuota, Unavailable.
        """


class Mailbox(ABC):
    """The messages of one mailbox.

    `id` names it for ever, through renames, among all mailboxes of the backend: at most 255 of
    A-Z a-z 0-9 _ - (RFC 8474 4). The engine keeps one set of columns per `id` and process,
    shared by all sessions. A store that keeps such columns itself hands them over as `index`
    and keeps them current; then `changes` is never asked. A Mailbox serves many sessions and
    outlives the `account` context that opened it.
    """

    id: str
    uid_validity: int
    index: MessageIndex | None = None
    shared: bool = False
    """Whether others than this process change what `index` shows: then `refresh` is called before
    it is read, and `wait` while someone listens. Without an `index` it is always so."""
    properties: Properties | None = None
    """Kept beside the mailbox: they go with it when it is renamed and end with it."""
    rights: Rights = ALL_RIGHTS
    """What may be done with it. Not the store's business: the engine hands out mailboxes with
    fewer.   RFC 4314"""

    @abstractmethod
    async def snapshot(self) -> Snapshot:
        """All UIDs, as of one modseq. Raises MailboxGone."""

    @abstractmethod
    async def changes(self, since: int) -> Changes:
        """What happened after modseq `since`, strictly. Cost should be in the number of changes,
        not of messages. Raises MailboxGone."""

    @abstractmethod
    async def metadata(self, uids: UidSet) -> Sequence[Row]:
        """The rows of those that exist, ascending by UID."""

    @abstractmethod
    async def content(self, uid: int) -> bytes:
        """The octets of a message as the client sees them. Raises MessageExpunged."""

    @abstractmethod
    async def append(self, messages: Sequence[NewMessage]) -> UidSet:
        """Add all of them or none, in order, with ascending UIDs; returns these.

        Raises OverQuota, TooBig, ReadOnly, LimitReached.   RFC 3502
        """

    @abstractmethod
    async def store(
        self, uids: UidSet, op: FlagOp, flags: frozenset[Flag], unchanged_since: int | None = None
    ) -> Stored:
        """Change flags. Messages whose flags stay as they are keep their modseq.

        A message whose modseq is above `unchanged_since` is left alone and is in `failed`.
        Raises LimitReached for one keyword too many.   RFC 9051 6.4.6, RFC 7162 3.1.3
        """

    @abstractmethod
    async def expunge(self, uids: UidSet, only: Flag | None = None) -> UidSet:
        """Remove messages; with `only`, those of them that have this flag at that moment: what
        another session has just undeleted must stay. Returns those that this call removed."""

    # -- with defaults; override where the store can do better --

    new_keywords: bool = True
    r"""Whether clients may make new keywords: the ``\*`` of PERMANENTFLAGS."""

    async def refresh(self) -> None:
        """Bring `index` up to date with what others have done. Called at every command, so it
        should cost next to nothing when there is no news. Raises MailboxGone."""

    async def wait(self, since: int) -> None:
        """Return once the modseq may be above `since`. One call per mailbox and process runs at a
        time. The default looks every second; a store that can push should."""
        while (await self.snapshot()).modseq <= since:  # noqa: ASYNC110  there is nothing to wait on
            await asyncio.sleep(1)

    async def status(self) -> MailboxStatus:
        """Counted from `metadata`; a store that keeps counters has them at hand."""
        snapshot = await self.snapshot()
        rows = await self.metadata(UidSet.from_sorted(snapshot.uids))
        gone = [row.size for row in rows if DELETED in row.flags]
        return MailboxStatus(
            messages=len(rows),
            recent=0,
            unseen=sum(SEEN not in row.flags for row in rows),
            deleted=len(gone),
            deleted_size=sum(gone),
            size=sum(row.size for row in rows),
            uid_next=snapshot.uid_next,
            modseq=snapshot.modseq,
        )

    async def contents(self, uids: Sequence[int]) -> Sequence[bytes | None]:
        """What `content` says of each, in the order asked, None for a message that is gone. Asked
        for a few hundred KiB at a time: a store that has a way to go should go it once."""
        found: list[bytes | None] = []
        for uid in uids:
            try:
                found.append(await self.content(uid))
            except MessageExpunged:
                found.append(None)
        return found

    async def digests(self, uids: Sequence[int]) -> Sequence[Digest | None]:
        """What is derived from each content, in the order asked, None for a message that is gone.
        Computing it costs some 0.1 ms: keep it beside the message as `append` brings it."""
        found: list[Digest | None] = []
        for uid in uids:
            try:
                found.append(digest(await self.content(uid)))
            except MessageExpunged:
                found.append(None)
        return found

    async def summaries(self, uids: Sequence[int]) -> Sequence[bytes | None]:
        """`Digest.summary` of each, in the order asked, None for a message that is gone. SORT and
        THREAD ask for all messages of a mailbox, thousands at a time: a store that has a way to go
        should bring these without the rest. The engine keeps them for a while."""
        return [made and made.summary for made in await self.digests(uids)]

    async def headers(self, uids: Sequence[int]) -> Sequence[bytes | None]:
        """The header block of each, with the blank line that ends it; None if it is gone."""
        found: list[bytes | None] = []
        for uid, made in zip(uids, await self.digests(uids), strict=True):
            try:
                content = None if made is None else await self.content(uid)
            except MessageExpunged:
                content = None
            found.append(content[: made.header_size] if made and content is not None else None)
        return found

    async def search(self, key: SearchKey, uids: UidSet) -> Narrowed | None:
        """Which of `uids` match one search key; None, as the default says: the engine has to look
        at each. A store with an index of words answers here, in full or in part.

        Asked for the keys that need a message's octets, one at a time: `Header`, `Date` of
        DateKey.SENT, `InBody`, `Text` of `pymap.wire.search`. A text matches anywhere in a
        word, as `mime.casemap` compares (i;unicode-casemap, RFC 5255 4.2); what does not match by
        that rule may be among `uids` only if not `exact`, and what does must be.
        """
        return None

    async def copy(self, uids: UidSet, target: Mailbox) -> Copied:
        """Append copies to `target`, a mailbox of the same backend, in UID order; all or none.

        Flags, internal date and `email_id` go with them, the save date is new. The default
        holds all of them in memory.   RFC 9051 6.4.7, RFC 8474 5.1, RFC 8514 3
        """
        rows = await self.metadata(uids)
        messages = []
        for row, made in zip(rows, await self.digests([row.uid for row in rows]), strict=True):
            if made is None:
                raise MessageExpunged
            content = await self.content(row.uid)
            messages.append(NewMessage(content, row.flags, row.internal_date, made, row.email_id))
        added = await target.append(messages) if messages else NO_UIDS
        return Copied(target.uid_validity, UidSet.from_sorted([row.uid for row in rows]), added)

    async def move(self, uids: UidSet, target: Mailbox) -> Copied:
        """Copy, then expunge: a crash in between shows a message twice, never not at all. A store
        that can do both at once overrides this.   RFC 6851 3.3"""
        copied = await self.copy(uids, target)
        await self.expunge(copied.source)
        return copied

    async def claim_recent(self, peek: bool = False) -> UidSet:
        r"""The messages that no session has been told of as \Recent yet; the caller now has been,
        unless it only peeks.

        The default has none, as IMAP4rev2 does; who overrides it counts them in `status`
        too.   RFC 3501 2.3.2
        """
        return NO_UIDS


class MailboxInfo(NamedTuple):
    r"""A mailbox as LIST shows it. `special_use` holds attributes such as ``\Sent`` (RFC 6154 2).
    `id` is None for a name that is only a level of hierarchy above others."""

    name: str
    id: str | None
    special_use: tuple[str, ...] = ()


class Listing(NamedTuple):
    """All names of an account, as of one moment."""

    mailboxes: frozenset[MailboxInfo]
    subscriptions: frozenset[str]


class Account(ABC):
    """One user's mailboxes by name: levels separated by ``/``, INBOX spelled so.

    The engine has checked every name that it hands over: not empty, no level empty, no control
    characters, not over `Limits.mailbox_name`. Renaming INBOX never comes here: the engine
    moves its messages (RFC 9051 6.3.6).
    """

    properties: Properties | None = None
    """Kept beside the account."""

    @abstractmethod
    async def mailboxes(self) -> Sequence[MailboxInfo]:
        """All of them, in any order; INBOX is always there."""

    @abstractmethod
    async def open(self, name: str) -> Mailbox:
        """Raises MailboxNotFound."""

    @abstractmethod
    async def create(self, name: str, special_use: tuple[str, ...] = ()) -> Mailbox:
        """Superior levels that do not exist need not become mailboxes. A special use that the
        store cannot keep is refused. Raises MailboxExists, LimitReached, CannotDo."""

    @abstractmethod
    async def delete(self, name: str) -> None:
        """Remove the mailbox and its messages; inferior names stay, and so does a subscription
        (RFC 9051 6.3.5). Raises MailboxNotFound."""

    @abstractmethod
    async def rename(self, name: str, new_name: str) -> None:
        """Rename it and, with it, all inferior names, at once. Ids, UIDs, `uid_validity` and
        special uses go along, subscriptions stay with the old names.

        `name` may be a level that only has inferiors. Raises MailboxNotFound, and MailboxExists
        if any of the new names is taken.
        """

    @abstractmethod
    async def subscriptions(self) -> frozenset[str]:
        """Subscribed names, whether or not they exist.   RFC 9051 6.3.7"""

    @abstractmethod
    async def subscribe(self, name: str) -> None:
        """Subscribing twice is no error."""

    @abstractmethod
    async def unsubscribe(self, name: str) -> None:
        """A name that is not subscribed is no error."""

    # -- with defaults --

    async def listing(self) -> Listing:
        """What `mailboxes` and `subscriptions` say."""
        return Listing(frozenset(await self.mailboxes()), await self.subscriptions())

    async def wait(self, known: Listing) -> None:
        """Return once `listing` may be another than `known`, which it was when it was last asked.
        One call per user and process runs at a time. The default looks every second; a store
        that can push should."""
        while await self.listing() == known:  # noqa: ASYNC110  there is nothing to wait on
            await asyncio.sleep(1)

    # who else may do what with a mailbox: RFC 4314

    async def access_list(self, name: str) -> AccessList:
        """Rights by identifier, as of now (`backend.rights`). Raises MailboxNotFound."""
        properties = (await self.open(name)).properties
        return {} if properties is None else from_properties(await properties.read())

    async def access_lists(self) -> Mapping[str, AccessList]:
        """Those of all mailboxes, by name; mailboxes without one may be missing."""
        found = {}
        for at, info in enumerate(await self.mailboxes(), 1):
            if info.id is not None:
                try:
                    found[info.name] = await self.access_list(info.name)
                except (MailboxNotFound, MailboxGone):
                    continue  # just now
            if at % 500 == 0:
                await asyncio.sleep(0)  # a store that answers at once lets others run
        return found

    async def set_access(
        self,
        name: str,
        changes: Mapping[str, Rights | None],
        expected: Mapping[str, Rights | None] | None = None,
    ) -> bool:
        """Change entries, or with None remove them: all of these or none. False, and nothing done,
        if one of those in `expected` is another by now. The list goes along when the mailbox is
        renamed and ends with it. Raises MailboxNotFound, CannotDo, and what `Properties` do."""
        properties = (await self.open(name)).properties
        if properties is None:
            raise CannotDo("This store keeps no access lists")
        return await properties.write(_as_properties(changes), _as_properties(expected or {}))

    # how much there is: RFC 9208

    async def count_mailboxes(self) -> int:
        """Names that are only a level above others are none."""
        return sum(info.id is not None for info in await self.mailboxes())

    async def usage(self, quota: Quota, again: bool = False) -> Usage:
        """What all mailboxes hold together. Asked before mail is added to an account whose mail
        `quota` limits, so a store with many mailboxes keeps counters; the default asks each one.

        `quota` is for stores that have others obey it as well, such as a delivery agent. `again`
        says that it seems to be used up: a store whose counters may be wrong counts anew.
        """
        octets = messages = 0
        for info in await self.mailboxes():
            if info.id is not None:
                try:
                    status = await (await self.open(info.name)).status()
                except (MailboxGone, MailboxNotFound):
                    continue
                octets, messages = octets + status.size, messages + status.messages
        return Usage(octets, messages)


def _as_properties(entries: Mapping[str, Rights | None]) -> dict[str, bytes | None]:
    return {
        property_key(identifier): None if rights is None else _letters(rights)
        for identifier, rights in entries.items()
    }


def _letters(rights: Rights) -> bytes:
    return "".join(sorted(rights)).encode("ascii")


class User(NamedTuple):
    """Who may log in. `password` is plain, or hashed in a form that `auth.passwords` knows.

    Of `roles` pymap knows two: a ``master`` may act for every other user, by an authorization
    identity (RFC 4422 2); a ``submit`` is a submission server, for which users authorize URLs (RFC
    4467 3). A store need not keep them, for the operator can name both as well.
    """

    name: str
    password: str
    roles: frozenset[str] = frozenset()

    @property
    def scheme(self) -> str:
        """How the password is kept: the name in ``{SSHA256}...`` in upper case, without its
        suffix; PLAIN for one in the clear."""
        prefix = SCHEME_PREFIX.match(self.password)
        return "PLAIN" if prefix is None else prefix[1].upper().partition(".")[0]


SCHEME_PREFIX = re.compile(r"\{([A-Za-z0-9][A-Za-z0-9.-]{0,31})\}")
"""What stands before a stored password that is not in the clear."""


class UserStore(ABC):
    @abstractmethod
    async def get(self, name: str) -> User | None:
        """The user of that name, None if there is none."""

    @abstractmethod
    async def put(self, user: User) -> None:
        """Add or replace. Raises NoPermission if the store cannot be written, CannotDo for a name
        that it cannot hold or roles that it cannot keep."""

    @abstractmethod
    async def delete(self, name: str) -> None:
        """A name that does not exist is no error."""

    # -- with defaults --

    def names(self) -> AsyncIterator[str]:
        """All users, in any order; who comes or goes meanwhile may be missing. Raises CannotDo
        where there is no way to tell."""
        raise CannotDo("This store cannot list its users")

    def schemes(self) -> frozenset[str] | None:
        """The `User.scheme` of all users together, None if that is not at hand. It decides which
        mechanisms are announced, so it is asked for at every greeting."""
        return None


class Backend(ABC):
    """A store: users and their accounts."""

    eager: bool = False
    """True promises that no method that a command calls (so not `start`, `stop`, `ping` and `wait`)
    needs `asyncio.current_task()` before it first suspends.
    Commands that do not suspend then run without a Task, which is two to three times cheaper."""

    users: UserStore

    delimiter: str = DELIMITER
    """What clients see between the levels of a mailbox name, one sign. The engine translates: to an
    Account it is always ``/``, and what was a ``/`` inside a level is this sign."""
    loopback_only: bool = False
    """Whether this store, as it is set up, should not be shown to the network unless told to:
    its passwords are known."""
    login_hint: str = ""
    """One sentence for the log on how to log in, where that is no secret."""

    @abstractmethod
    def account(self, user: str) -> AbstractAsyncContextManager[Account]:
        """The account of a user who has logged in; it is left at the end of the session. The
        account, with INBOX, is made if it does not exist yet."""

    # -- with defaults --

    def properties(self, scope: str) -> Properties | None:
        """Properties of the whole store, one map per `scope`, which is a short text: ``server``,
        or what is to be found by somebody's name. A store that returns them has those of its
        accounts and mailboxes as well, and extensions that need them are announced."""
        return None

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """Add this backend's command line options to its subcommand."""

    @classmethod
    def from_args(cls, args: Namespace) -> Self:
        """The backend that the command line asks for. Raises ValueError or OSError with a text
        for the operator."""
        return cls()

    async def start(self) -> None:
        """Called once in the event loop, as the user that `--set-uid` names, before the first
        session. Raises ValueError, OSError or Unavailable with a text for the operator."""

    async def stop(self) -> None:
        """Called once after the last session."""

    async def ping(self) -> None:
        """Whether the store answers, for readiness checks: quick, and nothing is changed. Raises
        Unavailable, whose text is for the operator."""
