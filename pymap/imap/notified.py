"""What NOTIFY has asked for, and what the client has been told since: RFC 5465.

Rule 1: a wake-up carries no data. What is told is what the store says now, where that is another
        thing than what was told last: so a client that reads slowly, or changes that come by the
        hundred, cost one response.
Rule 2: listeners are called in the middle of whatever happens. They note what is to be looked
        at, and wake the peer; `tell` looks, at the end of a command, within IDLE, or when nothing
        runs.
Rule 3: what is watched is watched once in this process, for all sessions: mailboxes by
        `OpenMailbox.listen`, the names of an account by `WatchedAccount`.
Rule 4: what the client has done itself it is not told of (RFC 5465 5), unless others have come in
        between.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from pymap.backend.api import Listing, MailboxInfo, MailboxStatus
from pymap.backend.errors import BackendError, MailboxGone, MailboxNotFound
from pymap.backend.opened import OpenMailbox
from pymap.backend.rights import ALL_RIGHTS, NO_RIGHTS, Rights
from pymap.backend.watched import Annotated, WatchedAccount
from pymap.imap.fetch import send_new
from pymap.imap.guarded import bare
from pymap.imap.interests import Interests, Selected
from pymap.imap.list import Tree
from pymap.imap.name_changes import difference, name_changes
from pymap.imap.referrals import is_remote
from pymap.imap.session import Disconnect
from pymap.imap.sharing import LOOK_S, OTHERS, SharedAccount
from pymap.imap.view import MailboxView
from pymap.wire import responses as r
from pymap.wire.commands import Event, EventGroup
from pymap.wire.errors import Refused
from pymap.wire.types import NO_UIDS, UidSet

if TYPE_CHECKING:
    from pymap.imap.session import Session

__all__ = ["Notified"]

log = logging.getLogger("pymap.session")

RETRY_S = 1.0
BREATH = 50  # mailboxes looked at until others get their turn
NOTES = 1000  # annotations that are kept for a client that cannot be told yet
OVERFLOW = "NOTIFICATIONOVERFLOW"
SERVER = ""  # stands for the id of a mailbox
_ANNOTATIONS = (Event.MAILBOX_METADATA_CHANGE, Event.SERVER_METADATA_CHANGE)
EMPTY = MailboxStatus(0, 0, 0, 0, 0, 0, uid_next=1, modseq=0)


@lru_cache(maxsize=4)  # all sessions of a user look at the same, at about the same time
def _tree(listing: Listing) -> Tree:
    return Tree(listing.mailboxes, listing.subscriptions)


@lru_cache(maxsize=4)
def _by_id(listing: Listing) -> dict[str, MailboxInfo]:
    return {info.id: info for info in listing.mailboxes if info.id is not None}


class _Followed:
    """A mailbox of whose messages the client is told by STATUS."""

    __slots__ = ("events", "id", "name", "opened", "owner", "told")

    def __init__(self, owner: Notified, name: str, opened: OpenMailbox) -> None:
        self.owner = owner
        self.name = name
        self.opened = opened
        self.id = opened.mailbox.id
        self.events: frozenset[Event] = frozenset()
        self.told: MailboxStatus | None = None  # None: whatever it is, it is news

    def changed(self) -> None:
        self.owner.dirty[self] = None
        if not self.owner.is_selected(self):
            self.owner.wake()


class Notified:
    __slots__ = (
        "_account", "_denied", "_followed", "_incomplete", "_listing", "_notes", "_retry", "_user",
        "_view", "dirty", "interests", "own_messages", "own_names", "session",
    )  # fmt: skip

    def __init__(self, session: Session, groups: Sequence[EventGroup]) -> None:
        """Nothing is watched until `start`."""
        self.session = session
        self.interests = Interests(groups)
        self.dirty: dict[_Followed, None] = {}
        """What is to be looked at, in the order in which it was heard of."""
        self.own_names: set[str] = set()
        self.own_messages: dict[str, UidSet] = {}
        """What the command that runs has changed: names, and UIDs by the id of their mailbox."""
        self._user = session.user or ""
        self._account: WatchedAccount | None = None
        self._listing = Listing(frozenset(), frozenset())
        self._followed: dict[str, _Followed] = {}
        self._denied: set[str] = set()  # may be listed, but not read
        self._notes: dict[tuple[str, str], None] = {}  # ids of mailboxes, and entries that changed
        self._incomplete = False  # some mailbox could not be opened
        self._view: MailboxView | None = None  # whose mailbox is listened to
        self._retry: asyncio.TimerHandle | None = None

    @property
    def selected(self) -> Selected:
        return self.interests.selected

    def wake(self) -> None:
        self.session.peer.wake()

    def is_selected(self, followed: _Followed) -> bool:
        """Then its news is told as that of the selected mailbox, or not at all: RFC 5465 3.1."""
        view = self.session.view
        return view is not None and view.opened is followed.opened

    # -- beginning and end --

    async def start(self, tell_status: bool) -> None:
        """Watch what is asked for, and with `tell_status` tell where it stands. Raises Refused for
        more mailboxes than may be watched, and BackendError."""
        if not self.interests:
            return
        account = await self.session.watched_accounts.listen(self._user, self.wake)
        self._account, self._listing = account, account.listing
        if any(map(self.interests.any, _ANNOTATIONS)):
            self.session.watched_accounts.annotation_listeners.add(self._annotated)
        await self._follow_all(first=True)
        if not tell_status:
            return
        # "for a mailbox other than the currently selected mailbox": RFC 5465 3.1
        for followed in self._followed.values():
            if followed.told is not None and not self.is_selected(followed):
                items = ["MESSAGES", "UIDNEXT", "UIDVALIDITY"]
                if Event.FLAG_CHANGE in followed.events:
                    items += ["UNSEEN", "HIGHESTMODSEQ"]
                self._send_status(followed, followed.told, items)

    async def close(self) -> None:
        """Nothing is watched any more."""
        if self._retry is not None:
            self._retry.cancel()
        self._unfollow_view()
        for followed in self._followed.values():
            followed.opened.unlisten(followed.changed)
        self._followed.clear()
        self.dirty.clear()
        self._notes.clear()
        if self._account is not None:
            self._account = None
            self.session.watched_accounts.annotation_listeners.discard(self._annotated)
            await self.session.watched_accounts.unlisten(self._user, self.wake)

    async def _give_up(self) -> None:
        """As after NOTIFY NONE.   RFC 5465 5.8"""
        await self.close()
        self.interests = Interests(())
        self.session.send(r.Untagged(r.Condition.OK, "NOTIFY has been ended", OVERFLOW))

    # -- telling --

    async def after_command(self) -> None:
        """Tell what is left to tell before the tagged response. The news of the selected mailbox
        has just been told, as far as the command allows it."""
        await self._follow_view()
        if self.own_messages:
            # The wake-up may be under way still; now it can be told who has done this.
            own = [it for it in self._followed.values() if it.id in self.own_messages]
            self.dirty.update(dict.fromkeys(own))
        await self.tell()
        self.own_names.clear()
        self.own_messages.clear()
        view, selected = self.session.view, self.selected
        if view is not None and selected.messages and not selected.delayed:
            if view.told != view.index.modseq:
                self.wake()  # expunges that the command held back

    async def tell(self) -> None:
        """Tell what is new of names and of mailboxes that are not selected."""
        try:
            await self._tell()
        except BackendError as error:
            log.debug("%s: no news: %s", self.session.peer.name, error)
            self.try_again()
        except Refused:
            await self._give_up()
        except Disconnect:
            raise
        except Exception:
            log.exception("%s: telling news failed", self.session.peer.name)
            await self._give_up()

    def try_again(self, after_s: float = RETRY_S) -> None:
        """The store is away, and may not wake anybody when it is back."""
        loop = asyncio.get_running_loop()
        if self._retry is not None:
            if self._retry.when() <= loop.time() + after_s:
                return
            self._retry.cancel()
        self._retry = loop.call_later(after_s, self._try)

    def _look_again(self, after_s: float = LOOK_S) -> None:
        """At all mailboxes, whether or not a listing says something else of them."""
        self._incomplete = True
        self.try_again(after_s)

    def _try(self) -> None:
        self._retry = None
        self.wake()

    async def _tell(self) -> None:
        account = self._account
        if account is not None:
            if self.own_names or self._notes:
                # What is told of a mailbox is told by the name that it has now.
                await account.pull()
            if account.listing is not self._listing or self._incomplete:
                await self._tell_names(account)
            await self._tell_notes()
        dirty, self.dirty = self.dirty, {}
        try:
            for at, followed in enumerate(tuple(dirty), 1):
                if self._followed.get(followed.name) is followed:
                    await self._tell_status(followed)
                del dirty[followed]
                if at % BREATH == 0:
                    await self.session.peer.breathe()
        finally:
            self.dirty = dirty | self.dirty

    async def send_new(self, view: MailboxView, first: int) -> None:
        """What MessageNew asks for of the messages from UID `first` on, which the client has just
        been told of. Those that it has brought itself it knows.   RFC 5465 5.2"""
        if not self.selected.fetch:
            return
        start = bisect_left(view.uids, first, 0, view.exists)
        uids = UidSet.from_sorted(view.uids[start : view.exists])
        uids -= self.own_messages.get(view.mailbox.id, NO_UIDS)
        try:
            await send_new(self.session, view, self.selected.fetch, uids)
        except (BackendError, Refused) as error:
            log.debug("%s: new messages not fetched: %s", self.session.peer.name, error)

    # -- the selected mailbox --

    async def _follow_view(self) -> None:
        """Listen to the mailbox that is selected now, whichever that is."""
        view = self.session.view
        if view is self._view:
            return
        left = self._unfollow_view()
        if view is not None:
            self._view = view
            if self.selected.messages:
                view.opened.listen(self.wake)
                self.wake()  # something may have come since it was told
        for followed in self._followed.values():
            if left is not None and followed.opened is left.opened:
                await self._left(followed, left)

    def _unfollow_view(self) -> MailboxView | None:
        view, self._view = self._view, None
        if view is not None and self.selected.messages:
            view.opened.unlisten(self.wake)
        return view

    async def _left(self, followed: _Followed, view: MailboxView) -> None:
        """The mailbox is no longer selected. What was told of it as such need not be told again."""
        try:
            now = await followed.opened.mailbox.status()
        except BackendError:
            self.dirty[followed] = None
            return
        if now.modseq == view.told:
            followed.told = now
        else:
            self.dirty[followed] = None

    # -- STATUS of others --

    async def _tell_status(self, followed: _Followed) -> None:
        """RFC 5465 5.1 to 5.3"""
        if self.is_selected(followed):
            return
        try:
            if not await self._may_read(followed.name):
                return
            now = await followed.opened.mailbox.status()
        except MailboxGone:
            await self._replace(followed)  # or it is deleted, which the listing tells
            return
        told, followed.told = followed.told, now
        if told is None:
            self._send_status(followed, now, ["MESSAGES", "UIDNEXT", "UIDVALIDITY"])
            return
        if await self._is_own(followed, told, now):
            return
        items = []
        if (now.messages, now.uid_next) != (told.messages, told.uid_next):
            items += ["MESSAGES", "UIDNEXT"]
        if Event.FLAG_CHANGE in followed.events and now.unseen != told.unseen:
            items.append("UNSEEN")
        moved = self.session.condstore and now.modseq != told.modseq and told is not EMPTY
        if items or (moved and Event.FLAG_CHANGE in followed.events):
            items.append("UIDVALIDITY")
            self._send_status(followed, now, items)

    async def _may_read(self, name: str) -> bool:
        """Whether it is still so: "the server MUST stop monitoring".   RFC 5465 5.9"""
        rights = await self._rights(name)
        if "r" not in rights:
            self._unfollow(name)
            if "l" in rights:
                self._deny(name)
            else:
                self._look_again()
            return False
        return True

    async def _rights(self, name: str) -> Rights:
        """Of a mailbox of another user; all events need `l` and `r`.   RFC 5465 5"""
        account = self.session.account
        if not isinstance(account, SharedAccount) or not name.startswith(OTHERS):
            return ALL_RIGHTS
        try:
            return await account.rights(name)
        except MailboxNotFound:
            return NO_RIGHTS

    def _deny(self, name: str) -> None:
        """It can be listed and not be read, which the client is told: RFC 5465 3.1."""
        session = self.session
        self._look_again()
        if name not in self._denied:
            self._denied.add(name)
            session.send(r.ListResponse(session.shown(name), ("\\NoAccess",), session.delimiter))

    async def _is_own(self, followed: _Followed, told: MailboxStatus, now: MailboxStatus) -> bool:
        """Whether all that happened since is that the client has brought messages."""
        own = self.own_messages.get(followed.id)
        if not own or told is EMPTY:
            return False
        changes = await followed.opened.mailbox.changes(told.modseq)
        foreign = (changes.changed - own) or changes.vanished or not changes.complete
        return changes.modseq == now.modseq and not foreign

    def _send_status(self, followed: _Followed, now: MailboxStatus, items: list[str]) -> None:
        """With HIGHESTMODSEQ once CONDSTORE is enabled: RFC 5465 5.2, 5.3."""
        values = {
            "MESSAGES": now.messages,
            "UIDNEXT": now.uid_next,
            "UIDVALIDITY": followed.opened.mailbox.uid_validity,
            "UNSEEN": now.unseen,
            "HIGHESTMODSEQ": now.modseq,
        }
        session = self.session
        if session.condstore and "HIGHESTMODSEQ" not in items:
            items.append("HIGHESTMODSEQ")
        shown = [(item, str(values[item])) for item in items]
        session.send(r.StatusResponse(session.shown(followed.name), shown))

    # -- annotations --

    def _annotated(self, change: Annotated) -> None:
        """Private ones are those of the user who has changed them."""
        account = self._account
        if change.by is self.session or account is None or len(self._notes) > NOTES:
            return
        entries, mailbox = change.entries, change.mailbox or SERVER
        if change.user != self._user:
            if mailbox != SERVER and mailbox not in _by_id(account.listing):
                return
            entries = tuple(entry for entry in entries if entry.startswith("/shared/"))
        if entries:
            self._notes.update(dict.fromkeys((mailbox, entry) for entry in entries))
            self.wake()

    async def _tell_notes(self) -> None:
        """The names alone, as RFC 5464 4.4.2 has it; there is no need for ENABLE.   RFC 5465 5.6,
        5.7"""
        notes, self._notes = self._notes, {}
        if not notes:
            return
        if len(notes) > NOTES:
            raise Refused(OVERFLOW, "Too many annotations")
        entries: dict[str, list[str]] = {}
        for mailbox, entry in notes:
            entries.setdefault(mailbox, []).append(entry)
        session, interests, listing = self.session, self.interests, self._here()
        if SERVER in entries and interests.any(Event.SERVER_METADATA_CHANGE):
            session.send(r.MetadataChanged("", entries[SERVER]))
        known = _by_id(listing)
        for info in sorted(known[mailbox] for mailbox in entries if mailbox in known):
            wanted = interests.of(info.name, info.name in listing.subscriptions)
            if Event.MAILBOX_METADATA_CHANGE not in wanted or info.id is None:
                continue
            if "r" in await self._rights(info.name):
                session.send(r.MetadataChanged(session.shown(info.name), entries[info.id]))

    # -- names --

    async def _tell_names(self, account: WatchedAccount) -> None:
        before, after = self._here(), self._here(account)
        self._listing = account.listing
        session, listed = self.session, set()
        subscribed = before.subscriptions | after.subscriptions
        for name, event, old_name in name_changes(before, after, self.own_names):
            wanted = self.interests.of(name, name in subscribed)
            if old_name is not None:
                wanted |= self.interests.of(old_name, old_name in subscribed)
            if event not in wanted or name in listed:
                continue
            listed.add(name)
            old = None if old_name is None else session.shown(old_name)
            shown, delimiter = session.shown(name), session.delimiter
            # All attributes are to be right: RFC 5465 5.5.
            attributes = _tree(after).attributes(name)
            session.send(r.ListResponse(shown, attributes, delimiter, old_name=old))
        if self._incomplete:
            await self._follow_all()
        else:
            await self._follow(difference(before, after).names)

    def _here(self, account: WatchedAccount | None = None) -> Listing:
        """The names that were told last, or those of an account; nothing is told of what is on
        other servers (RFC 2193 3)."""
        listing = self._listing if account is None else account.listing
        extensions = self.session.extensions
        if not extensions.mailbox_referrals:
            return listing
        return Listing(
            frozenset(i for i in listing.mailboxes if not is_remote(extensions, i.name)),
            frozenset(name for name in listing.subscriptions if not is_remote(extensions, name)),
        )

    async def _follow_all(self, first: bool = False) -> None:
        self._incomplete = False
        names = {info.name for info in self._here().mailboxes}
        await self._follow(names.union(self._followed), first)

    async def _follow(self, names: Iterable[str], first: bool = False) -> None:
        """Listen to those of these mailboxes that are meant now, and no more to the others. Raises
        Refused if they are too many."""
        if not self.interests.any(Event.MESSAGE_NEW):
            return
        listing, followed = self._here(), self._followed
        infos = _tree(listing).infos
        wanted: dict[str, tuple[str, frozenset[Event]]] = {}
        leaving = []
        for name in sorted(names):
            info = infos.get(name)
            events = self.interests.of(name, name in listing.subscriptions)
            if info is not None and info.id is not None and Event.MESSAGE_NEW in events:
                wanted[name] = info.id, events
            elif name in followed:
                leaving.append(name)
        coming = len(wanted.keys() - followed.keys())
        if len(followed) - len(leaving) + coming > self.session.limits.notify_mailboxes:
            raise Refused(OVERFLOW, "Too many mailboxes")
        moved = {followed[name].id: followed[name] for name in leaving}
        for at, (name, (mailbox_id, events)) in enumerate(wanted.items(), 1):
            known = followed.get(name)
            if known is None or known.id != mailbox_id:
                was_there = known is not None
                if was_there:
                    self._unfollow(name)
                known = moved.pop(mailbox_id, None)
                if known is not None:
                    del followed[known.name]
                    known.name = name
                    followed[name] = known
                else:
                    known = await self._begin_to_follow(name, first, was_there)
                    if at % BREATH == 0:
                        await self.session.peer.breathe()
            if known is not None:
                known.events = events
        for name in leaving:
            if name in followed:
                self._unfollow(name)

    def _unfollow(self, name: str) -> None:
        followed = self._followed.pop(name)
        followed.opened.unlisten(followed.changed)
        self.dirty.pop(followed, None)

    async def _begin_to_follow(self, name: str, first: bool, was_there: bool) -> _Followed | None:
        """A mailbox that comes in later is news if it has had messages, or if another of its name
        was there before: then by its UIDVALIDITY (RFC 5465 5.1)."""
        session = self.session
        try:
            mailbox = await session.authenticated().open(name)
            if "r" not in mailbox.rights:
                self._deny(name)
                return None
            if name in self._denied:
                self._denied.discard(name)
                session.send(r.ListResponse(session.shown(name), (), session.delimiter))
            followed = _Followed(self, name, session.open_mailboxes.get(bare(mailbox)))
            self._followed[name] = followed
            followed.opened.listen(followed.changed)
            now = await mailbox.status()
        except (MailboxNotFound, MailboxGone):
            self._look_again()  # unless the next listing tells of it first
            return self._followed.get(name)
        except BackendError as error:
            log.debug("%s: not followed: %s", session.peer.name, error)
            if name in self._followed:
                self._unfollow(name)
            self._look_again(RETRY_S)
            return None
        if first or name in self.own_names:
            followed.told = now
        else:
            followed.told = None if was_there else EMPTY
            self.dirty[followed] = None
        return followed

    async def _replace(self, followed: _Followed) -> None:
        """The mailbox is another one under the same name and id: its UIDs are void."""
        try:
            mailbox = await self.session.authenticated().open(followed.name)
        except MailboxNotFound:
            return
        if mailbox.id == followed.id:
            self._unfollow(followed.name)
            known = await self._begin_to_follow(followed.name, first=False, was_there=True)
            if known is not None:
                known.events = followed.events
