"""What a store says of a search is true: part of `conformance.BackendConformance`."""

from __future__ import annotations

import pytest

from pymap.backend.api import Mailbox, NewMessage, digest
from pymap.wire.search import Compare, Date, DateKey, Header, InBody, SearchKey, Text
from pymap.wire.types import NO_UIDS, InternalDate, UidSet

__all__ = ["SearchConformance"]

MESSAGES = (
    b"Subject: Tea party\r\nDate: Mon, 1 Jan 2001 12:00:00 +0000\r\n\r\nThe hatter.\r\n",
    b"Subject: dinner\r\nDate: Tue, 2 Jan 2001 12:00:00 +0000\r\n\r\nAfter the PARTY\r\n",
    b"Subject: =?utf-8?q?p=61rty?=\r\n\r\n\r\n",
    b"Content-Transfer-Encoding: base64\r\n\r\ncGFydHk=\r\n",
    b"Subject: nothing\r\n\r\n\r\n",
)

MATCHES: list[tuple[SearchKey, tuple[int, ...]]] = [
    # (key, which of the messages match)
    (Header("SUBJECT", "party"), (0, 2)),
    (Header("subject", "ART"), (0, 2)),
    (Header("SUBJECT", "a p"), (0,)),
    (Header("SUBJECT", ""), (0, 1, 2, 4)),
    (InBody("party"), (1, 3)),
    (Text("part"), (0, 1, 2, 3)),
    (Text("nowhere"), ()),
    (Date(DateKey.SENT, Compare.SINCE, 11324), (1,)),  # 2 January 2001
]


class SearchConformance:
    """A store that knows nothing by itself passes all of it."""

    @pytest.mark.parametrize(("key", "matches"), MATCHES, ids=[repr(key) for key, _ in MATCHES])
    async def test_search(self, inbox: Mailbox, key: SearchKey, matches: tuple[int, ...]) -> None:
        at = InternalDate(1_000_000_000)
        uids = [
            *await inbox.append(
                [NewMessage(each, frozenset(), at, digest(each)) for each in MESSAGES]
            )
        ]
        there = UidSet.from_sorted(uids)
        found = UidSet.from_sorted([uids[number] for number in matches])
        for asked in (
            there,
            UidSet.of(uids[0], uids[2], uids[4]),
            NO_UIDS,
            UidSet.of(uids[-1] + 9),
        ):
            known = await inbox.search(key, asked)
            if known is None:
                continue
            missed = found & asked - known.uids
            assert not missed, "messages that match are missing"
            if known.exact:
                assert known.uids & asked == found & asked, "not exact"
        await inbox.expunge(UidSet.of(uids[1]))
        known = await inbox.search(key, there)
        if known is not None and known.exact:
            assert known.uids & there - UidSet.of(uids[1]) == found - UidSet.of(uids[1])
