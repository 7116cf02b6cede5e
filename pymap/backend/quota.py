"""What accounts may hold: a session or the admin service asks here before it adds to one.

Rule 1: all of it or nothing: what is asked for is all that one command adds, before any of it is
        stored.
Rule 2: a move within an account adds nothing to it, and is not asked about: that is how somebody
        who is over quota cleans up.
Rule 3: an account without limits costs a look-up in a dict. Its own limits are read from its
        properties, and are known for `KNOWN_S` then; who is about to be refused is looked up anew.
Rule 4: it is a soft limit: what comes in at the same moment elsewhere may go over it, by as much as
        that is.   RFC 9208 3.1.2
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from contextlib import suppress
from weakref import WeakKeyDictionary

from pymap.backend.api import Account, Quota, Usage
from pymap.backend.errors import Corrupt, OverQuota

__all__ = ["KNOWN_S", "Quotas"]

log = logging.getLogger("pymap.quota")

KNOWN_S = 10.0
"""How late another server of the same store may hear of a SETQUOTA."""
KEY = "quota/limits"
"""Of the account's properties: ``octets=N messages=N mailboxes=N``, as far as they are limited."""


class Quotas:
    """The quotas of a server's accounts; `default` is that of those that have none of their own."""

    def __init__(self, default: Quota) -> None:
        self._default = default
        self._known: WeakKeyDictionary[Account, tuple[float, Quota]] = WeakKeyDictionary()

    async def of(self, account: Account) -> Quota:
        known = self._known.get(account)
        if known is not None and time.monotonic() < known[0]:
            return known[1]
        return await self._read(account)

    async def _read(self, account: Account) -> Quota:
        quota, all_known = self._default, self._known
        if account.properties is not None:
            # What is damaged limits nothing of its own: mail still comes in.
            with suppress(Corrupt):  # the store has logged it
                kept = (await account.properties.read()).get(KEY)
                quota = quota if kept is None else _unpacked(kept) or quota
        all_known[account] = time.monotonic() + KNOWN_S, quota
        return quota

    async def set(self, account: Account, quota: Quota) -> None:
        """From now on the account has these limits and no others, whatever the default is."""
        assert account.properties is not None, "QUOTASET is not offered then"
        await account.properties.write({KEY: _packed(quota)})
        # All are forgotten: a store may make an Account for each session. And by what is being
        # read at this moment, nobody goes any more.
        self._known = WeakKeyDictionary()
        await account.usage(quota)  # whoever else is to obey it hears of it

    async def check(
        self, account: Account, sizes: Iterable[int], replaced: Iterable[int] = ()
    ) -> None:
        """Raises OverQuota unless messages of these sizes may be added, all of them together.
        `replaced` are those that go in the same step: only the net consumption
        counts.   RFC 8508 3.4"""
        if not (await self.of(account)).limits_mail:
            return
        come, go = list(sizes), list(replaced)
        added = Usage(sum(come) - sum(go), len(come) - len(go))
        if max(added) > 0 and not await self._has_room(account, added):
            await self._read(account)
            if not await self._has_room(account, added, again=True):
                raise OverQuota

    async def _has_room(self, account: Account, added: Usage, again: bool = False) -> bool:
        quota = await self.of(account)
        usage = await account.usage(quota, again)
        return _fits(usage.octets, added.octets, quota.octets) and _fits(
            usage.messages, added.messages, quota.messages
        )

    async def check_mailbox(self, account: Account) -> None:
        """Raises OverQuota unless there may be one mailbox more."""
        for look_up in (self.of, self._read):
            most = (await look_up(account)).mailboxes
            if most is None or await account.count_mailboxes() < most:
                return
        raise OverQuota("Too many mailboxes")


def _fits(used: int, added: int, limit: int | None) -> bool:
    """What adds nothing fits, also where there is too much already."""
    return limit is None or added <= 0 or used + added <= limit


def _packed(quota: Quota) -> bytes:
    parts = [f"{name}={limit}" for name, limit in quota._asdict().items() if limit is not None]
    return " ".join(parts).encode("ascii")


def _unpacked(octets: bytes) -> Quota | None:
    """None if it is not what `_packed` writes."""
    try:
        pairs = (part.split("=") for part in octets.decode("ascii").split())
        found = Quota(**{name: int(limit) for name, limit in pairs})
        if any(limit is not None and limit < 0 for limit in found):
            raise ValueError
        return found
    except (ValueError, TypeError):
        log.error("The limits of an account cannot be read: %r", octets[:100])
        return None
