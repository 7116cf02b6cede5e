"""What a session sees of all accounts: its own, and what others share with it.

Rule 1: mailboxes of others are ``Other Users/<owner>/<name>``, the owner's name as one level.
Rule 2: rights are looked up in `open` and in what changes mailboxes, here and nowhere else. What
        is opened with fewer than all is `Guarded`.
Rule 3: an owner whose name stands in the store's properties ``shared/<identifier>`` may have
        granted something to that identifier. It is written before the grant, so nobody is
        overlooked; one too many is harmless, and is removed when it is old.
Rule 4: an account is opened only if its owner shares something with this user: a name that
        somebody has made up opens nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import NamedTuple

from pymap.backend.api import (
    DELIMITER,
    Account,
    Backend,
    Listing,
    Mailbox,
    MailboxInfo,
    Quota,
    Usage,
)
from pymap.backend.errors import (
    BackendError,
    CannotDo,
    InUse,
    LimitReached,
    MailboxNotFound,
    NoPermission,
)
from pymap.backend.rights import (
    ALL_RIGHTS,
    ANYONE,
    NO_RIGHTS,
    OWNER,
    OWNERS_ALWAYS,
    AccessList,
    Rights,
    rights_of,
)
from pymap.imap.guarded import Guarded, need_right
from pymap.limits import Limits
from pymap.wire.types import fold_inbox

__all__ = ["LOOK_S", "OTHERS", "Place", "SharedAccount", "enter_account", "owner_of_new"]

log = logging.getLogger("pymap.session")

OTHERS = "Other Users" + DELIMITER
"""Before the mailboxes of others.   RFC 2342 5"""

INBOX = "INBOX"
STALE_S = 24 * 3600
"""A hint is left alone for so long: its grant may not be written yet."""
LOOK_S = 10.0
"""How often those who wait for news are told of what others have granted."""
TRIES = 20


class Place(NamedTuple):
    """Where a mailbox is: by what name, in whose account; and its name as LIST tells it here."""

    owner: str
    account: Account
    name: str
    listed: str


@asynccontextmanager
async def enter_account(backend: Backend, user: str, limits: Limits) -> AsyncIterator[Account]:
    """The account of a user who has logged in, with what others share with him where that can
    be."""
    async with backend.account(user) as own:
        if backend.properties("server") is None:
            yield own
            return
        account = SharedAccount(backend, user, own, limits)
        try:
            yield account
        finally:
            await account.close()


async def owner_of_new(account: Account, name: str) -> Account:
    """The account that a mailbox of that name counts for once it is made. Raises what making it
    does if it may not be made: who may not, does not learn what its owner has room for."""
    if not isinstance(account, SharedAccount):
        return account
    return (await account.place_for(name)).account


class SharedAccount(Account):
    """The account of `user`, and what others share with him, as one account."""

    def __init__(self, backend: Backend, user: str, own: Account, limits: Limits) -> None:
        """`own` has been entered, and is left by the caller after `close`."""
        self.user = user
        self.own = own
        self.properties = own.properties
        self._backend = backend
        self._limits = limits
        self._entered: dict[str, Account] = {}
        self._stack: AsyncExitStack | None = None  # most sessions enter no other account
        self._own_listing = Listing(frozenset(), frozenset())

    async def close(self) -> None:
        """Leave the accounts of others."""
        self._entered.clear()
        if self._stack is not None:
            await self._stack.aclose()

    # -- all names, and news of them --

    async def listing(self) -> Listing:
        self._own_listing = own = await self.own.listing()
        return Listing(own.mailboxes.union(await self._shared()), own.subscriptions)

    async def wait(self, known: Listing) -> None:
        """What others share with us wakes nobody; it is looked at now and then."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await self.own.wait(self._own_listing)

    # -- where things are --

    async def place(self, name: str) -> Place:
        """Whose a name is, whether or not there is such a mailbox. Raises MailboxNotFound for
        that of another who shares nothing.

        Mailboxes of the user's own that were below OTHERS before there was sharing stay his.
        """
        if name.startswith(OTHERS):
            level, _, inner = name.removeprefix(OTHERS).partition(DELIMITER)
            owner = _unescaped(level)
            if owner in await self._sharers():
                if not inner:
                    raise MailboxNotFound
                inner = fold_inbox(inner)
                return Place(owner, await self._account_of(owner), inner, _above(owner) + inner)
        return Place(self.user, self.own, name, name)

    async def _account_of(self, owner: str) -> Account:
        account = self._entered.get(owner)
        if account is None:
            # A store may make an account for whom it is asked.
            if await self._backend.users.get(owner) is None:
                raise MailboxNotFound
            self._stack = self._stack or AsyncExitStack()
            account = await self._stack.enter_async_context(self._backend.account(owner))
            self._entered[owner] = account
        return account

    async def _sharers(self) -> dict[str, dict[str, bytes]]:
        """The owners that may have granted something to this user: to which identifiers, and
        when they last did."""
        found: dict[str, dict[str, bytes]] = {}
        for identifier in (self.user, ANYONE):
            for owner, since in (await self._hints(identifier)).items():
                found.setdefault(owner, {})[identifier] = since
        found.pop(self.user, None)
        return found

    async def rights(self, name: str) -> Rights:
        """MYRIGHTS. Raises MailboxNotFound if there are none that let the mailbox be known.

        RFC 4314 4
        """
        return await self._rights(await self.place(name))

    async def _rights(self, place: Place) -> Rights:
        entries = await place.account.access_list(place.name)
        rights = rights_of(entries, self.user, place.owner)
        if rights.isdisjoint("lrikxa"):
            raise MailboxNotFound
        return rights

    # -- as an account --

    async def mailboxes(self) -> Sequence[MailboxInfo]:
        """What is below OTHERS is there if it may be looked up; special uses are its owner's."""
        return [*await self.own.mailboxes(), *await self._shared()]

    async def _shared(self) -> list[MailboxInfo]:
        found: list[MailboxInfo] = []
        for owner, hints in sorted((await self._sharers()).items()):
            try:
                found += await self._shared_by(owner, hints)
            except BackendError as error:
                log.warning("%s does not see what %s shares: %s", self.user, owner, error)
            await asyncio.sleep(0)  # a store that answers at once lets others run
        return found

    async def _shared_by(self, owner: str, hints: Mapping[str, bytes]) -> list[MailboxInfo]:
        account = await self._account_of(owner)
        lists = await account.access_lists()
        await self._forget_stale(owner, hints, lists)
        visible = {
            name for name, entries in lists.items() if "l" in rights_of(entries, self.user, owner)
        }
        if not visible:
            return []
        above = _above(owner)
        return [
            MailboxInfo(above + info.name, info.id)
            for info in await account.mailboxes()
            if info.name in visible
        ]

    async def mailboxes_beside(self, name: str) -> Sequence[MailboxInfo]:
        """Those that `name` is among: without a look at other accounts if it is not of one."""
        return await (self.mailboxes() if name.startswith(OTHERS) else self.own.mailboxes())

    async def open(self, name: str) -> Mailbox:
        place = await self.place(name)
        rights = await self._rights(place)
        mailbox = await place.account.open(place.name)
        if place.account is not self.own:
            rights = await self._rights(place)  # its owner may just have put another one there
        elif rights == ALL_RIGHTS:
            return mailbox
        return Guarded(mailbox, rights, place.account)

    async def create(self, name: str, special_use: tuple[str, ...] = ()) -> Mailbox:
        """The access list is inherited.   RFC 4314 4"""
        place = await self.place(name)
        entries = await self._may_create(place, name)
        if special_use and place.account is not self.own:
            raise CannotDo("What a mailbox is used for is up to its owner")
        made = await place.account.create(place.name, special_use)
        if entries:
            await place.account.set_access(place.name, entries)
        rights = rights_of(entries, self.user, place.owner)
        return made if rights == ALL_RIGHTS else Guarded(made, rights, place.account)

    async def _may_create(self, place: Place, name: str) -> AccessList:
        """Whether a mailbox may come to be there: the nearest one above has to allow it, whose
        access list is returned. At the top it is the owner's right alone.   RFC 4314 4"""
        if place.account is self.own and (name + DELIMITER).startswith(OTHERS):
            raise NoPermission
        above = place.name
        while DELIMITER in above:
            above = above.rpartition(DELIMITER)[0]
            try:
                entries = await place.account.access_list(above)
            except MailboxNotFound:
                continue
            if "k" not in rights_of(entries, self.user, place.owner):
                raise NoPermission
            return entries
        if place.account is not self.own:
            raise NoPermission
        return {}

    async def place_for(self, name: str) -> Place:
        """Where a mailbox of that name would come to be. Raises NoPermission, MailboxNotFound."""
        place = await self.place(name)
        await self._may_create(place, name)
        return place

    async def delete(self, name: str) -> None:
        place = await self.place(name)
        need_right(await self._rights(place), "x")
        await place.account.delete(place.name)

    async def rename(self, name: str, new_name: str) -> None:
        """RFC 4314 4: `x` on the mailbox, `k` on its new parent. The access lists of it and all
        below go along."""
        old, new = await self.place(name), await self.place(new_name)
        try:
            need_right(await self._rights(old), "x")
        except MailboxNotFound:
            if old.account is not self.own:
                raise  # a level without a mailbox is its owner's to rename
        if old.account is not new.account:
            raise CannotDo("A mailbox stays in its account")
        if old.account is not self.own and old.name == INBOX:
            raise CannotDo("INBOX of another user cannot be renamed")
        if (new.name + DELIMITER).startswith(old.name + DELIMITER):  # by another spelling
            raise CannotDo("A mailbox cannot become its own inferior")
        await self._may_create(new, new_name)
        await old.account.rename(old.name, new.name)

    async def count_mailboxes(self) -> int:
        return await self.own.count_mailboxes()

    async def usage(self, quota: Quota, again: bool = False) -> Usage:
        """What others share counts for them."""
        return await self.own.usage(quota, again)

    async def subscriptions(self) -> frozenset[str]:
        return await self.own.subscriptions()

    async def subscribe(self, name: str) -> None:
        await self.own.subscribe(name)

    async def unsubscribe(self, name: str) -> None:
        await self.own.unsubscribe(name)

    # -- access lists --

    async def access_list(self, name: str) -> AccessList:
        """GETACL, under the names that identifiers have for clients. What was granted by other
        programs is found by its users from here on.   RFC 4314 3.3"""
        place = await self.place(name)
        need_right(await self._rights(place), "a")
        entries = dict(await place.account.access_list(place.name))
        for identifier, rights in entries.items():
            if rights and not identifier.startswith("-"):
                with suppress(LimitReached):
                    await self._hint(place.owner, identifier, renew=False)
        for sign in ("", "-"):
            own = entries.pop(sign + OWNER, None)
            if own is not None:
                entries.setdefault(sign + place.owner, own)
        entries[place.owner] = entries.get(place.owner, ALL_RIGHTS) | OWNERS_ALWAYS
        return entries

    async def set_access(
        self,
        name: str,
        changes: Mapping[str, Rights | None],
        expected: Mapping[str, Rights | None] | None = None,
    ) -> bool:
        """SETACL and DELETEACL come through `change_access`."""
        place = await self.place(name)
        need_right(await self._rights(place), "a")
        return await place.account.set_access(place.name, changes, expected)

    async def change_access(
        self, name: str, identifier: str, change: Callable[[Rights], Rights] | None
    ) -> None:
        """Make of an identifier's rights others; with None, remove it from the list. What someone
        else changes at the same time is not lost.   RFC 4314 3.1, 3.2"""
        place = await self.place(name)
        sign, who = ("-", identifier[1:]) if identifier.startswith("-") else ("", identifier)
        for _ in range(TRIES):
            need_right(await self._rights(place), "a")
            entries = await place.account.access_list(place.name)
            key = identifier
            if who == place.owner and key not in entries:
                key = sign + OWNER
            before = entries.get(key)
            after = None
            if change is not None:
                if before is None and len(entries) >= self._limits.acl_identifiers:
                    raise LimitReached("Too many identifiers in this list")
                implied = ALL_RIGHTS if key == OWNER else NO_RIGHTS
                after = change(implied if before is None else before)
                if who == place.owner:  # what he always has cannot be taken from him
                    after = after - OWNERS_ALWAYS if sign else after | OWNERS_ALWAYS
                if after and not sign:
                    await self._hint(place.owner, who, renew=True)
            if after == before or await place.account.set_access(
                place.name, {key: after}, {key: before}
            ):
                return
        raise InUse("Others keep changing this list")

    # -- who has granted something to whom: rule 3 --

    async def _hints(self, identifier: str) -> Mapping[str, bytes]:
        """When each owner last granted something to the identifier."""
        properties = self._backend.properties(_scope(identifier))
        assert properties is not None
        return await properties.read()

    async def _hint(self, owner: str, identifier: str, renew: bool) -> None:
        """An identifier that is nobody's finds nothing, so it needs no hint; if there is such a
        user later, the next look at the list makes one."""
        if identifier in (OWNER, owner):
            return
        if identifier != ANYONE and await self._backend.users.get(identifier) is None:
            return
        properties = self._backend.properties(_scope(identifier))
        assert properties is not None
        known = await properties.read()
        if owner not in known and len(known) >= self._limits.acl_owners:
            raise LimitReached("Too many users share something with this one")
        if renew or owner not in known:
            await properties.write({owner: b"%d" % time.time()})

    async def _forget_stale(
        self, owner: str, hints: Mapping[str, bytes], lists: Mapping[str, AccessList]
    ) -> None:
        for identifier, since in hints.items():
            if since.isdigit() and int(since) >= time.time() - STALE_S:
                continue
            if any(entries.get(identifier) for entries in lists.values()):
                continue
            properties = self._backend.properties(_scope(identifier))
            assert properties is not None
            # Unless a grant has just renewed it.
            await properties.write({owner: None}, {owner: since})


def _scope(identifier: str) -> str:
    return f"shared/{identifier}"


def _above(owner: str) -> str:
    """What the names of another's mailboxes begin with; his own name is one level of it."""
    return OTHERS + owner.replace("=", "=3D").replace(DELIMITER, "=2F") + DELIMITER


def _unescaped(level: str) -> str:
    return level.replace("=2F", DELIMITER).replace("=3D", "=")
