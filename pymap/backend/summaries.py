"""What SORT and THREAD compare of messages, kept within a bound of memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from pymap.backend.api import Mailbox, digest
from pymap.limits import Limits

__all__ = ["NOTHING", "Summaries"]

NOTHING = digest(b"").summary
"""Of a message that is gone."""

OVERHEAD = 200
"""Octets that keeping one takes beside itself."""


class Summaries:
    """Those of the mailboxes that were sorted last, whether or not a session has them open.

    Those of a mailbox are found by email id, which stands for the octets of a message (RFC 8474
    5.1): so a store that gives one id to two mailboxes does no harm. Of messages that are gone
    they stay until the bound is met. Then the mailbox that was not asked for longest is forgotten.
    """

    def __init__(self, bound: int = Limits().summaries) -> None:
        self._bound = bound
        self._kept: OrderedDict[tuple[str, int], dict[str, bytes]] = OrderedDict()
        self._sizes: dict[tuple[str, int], int] = {}
        self.size = 0
        """Octets, those of OVERHEAD included."""

    async def read(
        self, mailbox: Mailbox, uids: Sequence[int], email_ids: Sequence[str]
    ) -> list[bytes]:
        """`Digest.summary` of some messages of a mailbox, in the order asked."""
        key = mailbox.id, mailbox.uid_validity
        kept = self._kept.get(key, {})
        missing = {id_: uid for id_, uid in zip(email_ids, uids, strict=True) if id_ not in kept}
        if missing:
            made = await mailbox.summaries([*missing.values()])
            found = {id_: one for id_, one in zip(missing, made, strict=True) if one is not None}
            self._keep(key, found)
            kept = found if len(missing) == len(uids) else {**kept, **found}
        elif kept:
            self._kept.move_to_end(key)
        return [kept.get(id_, NOTHING) for id_ in email_ids]

    def _keep(self, key: tuple[str, int], found: dict[str, bytes]) -> None:
        kept = self._kept.setdefault(key, {})
        self._kept.move_to_end(key)
        new = sum(len(one) + OVERHEAD for id_, one in found.items() if id_ not in kept)
        kept |= found
        self._sizes[key] = self._sizes.get(key, 0) + new
        self.size += new
        while self.size > self._bound:
            oldest, _ = self._kept.popitem(last=False)
            self.size -= self._sizes.pop(oldest)
