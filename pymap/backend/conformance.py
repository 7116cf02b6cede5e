"""What every mail store must do, as tests: the rules of `backend.api`, run over yours.

    from pymap.backend.conformance import BackendConformance

    class TestMyStore(BackendConformance):
        @pytest.fixture
        async def backend(self, tmp_path: Path) -> AsyncIterator[Backend]:
            backend = MyStore(tmp_path)
            await backend.start()
            yield backend
            await backend.stop()

That is all; accounts are those of ``alice`` and ``bob``, made as they are asked for. It needs
pytest-asyncio with ``asyncio_mode = "auto"``. A store that outlives its process overrides `reopen`
as well. ``pytest.register_assert_rewrite("pymap.backend.conformance")`` in your conftest.py makes
failures show the values. Where the contract leaves a choice, either choice passes.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Sequence
from contextlib import suppress
from random import Random
from typing import Any

import pytest

from pymap.backend.api import (
    Account,
    Backend,
    Changes,
    Copied,
    Mailbox,
    NewMessage,
    Row,
    Snapshot,
    Stored,
    User,
    UserStore,
    digest,
)
from pymap.backend.conformance_access import AccessConformance
from pymap.backend.conformance_names import NamesConformance
from pymap.backend.conformance_properties import PropertiesConformance
from pymap.backend.conformance_quota import QuotaConformance
from pymap.backend.conformance_search import SearchConformance
from pymap.backend.errors import (
    BackendError,
    CannotDo,
    LimitReached,
    MailboxExists,
    MailboxGone,
    MailboxNotFound,
    MessageExpunged,
    NoPermission,
)
from pymap.backend.index import MessageIndex
from pymap.backend.opened import OpenMailbox
from pymap.wire.types import (
    ANSWERED,
    DELETED,
    DRAFT,
    FLAGGED,
    NO_UIDS,
    RECENT,
    SEEN,
    Flag,
    FlagOp,
    InternalDate,
    UidSet,
)

__all__ = ["BackendConformance", "WithoutIndex", "new_message"]

ALL = UidSet(((1, 0xFFFFFFFF),))
IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,255}")  # RFC 8474 4
PATIENCE_S = 10.0
DATE = InternalDate(1_000_000_000, 60)

OCTETS = {
    "empty": b"",
    "plain": b"Subject: hello\r\n\r\nworld\r\n",
    "NUL": b"Subject: a\0b\r\n\r\n\0\0",
    "bare CR and LF": b"Subject: x\n\r\r\n\nbody\rwith\nall\r\n\r",
    "no header": b"\r\nbody",
    "no body": b"Subject: x\r\n",
    "8-bit": bytes(range(256)) * 4,
    "like a boundary": b"From someone Sat Jan  1\r\n.\r\n..\r\n>From x\r\n",
    "1 MB": b"Subject: large\r\n\r\n" + bytes(range(256)) * 4096,
}


def new_message(
    content: bytes = OCTETS["plain"],
    *flags: Flag,
    date: InternalDate = DATE,
    email_id: str | None = None,
) -> NewMessage:
    """A message to append."""
    return NewMessage(content, frozenset(flags), date, digest(content), email_id)


class WithoutIndex(Mailbox):
    """A mailbox that hides its columns, so that the engine makes its own of them."""

    def __init__(self, mailbox: Mailbox) -> None:
        self.mailbox = mailbox
        self.id, self.uid_validity = mailbox.id, mailbox.uid_validity
        self.properties = mailbox.properties

    async def snapshot(self) -> Snapshot:
        return await self.mailbox.snapshot()

    async def changes(self, since: int) -> Changes:
        return await self.mailbox.changes(since)

    async def metadata(self, uids: UidSet) -> Sequence[Row]:
        return await self.mailbox.metadata(uids)

    async def content(self, uid: int) -> bytes:
        return await self.mailbox.content(uid)

    async def append(self, messages: Sequence[NewMessage]) -> UidSet:
        return await self.mailbox.append(messages)

    async def store(
        self, uids: UidSet, op: FlagOp, flags: frozenset[Flag], unchanged_since: int | None = None
    ) -> Stored:
        return await self.mailbox.store(uids, op, flags, unchanged_since)

    async def expunge(self, uids: UidSet, only: Flag | None = None) -> UidSet:
        return await self.mailbox.expunge(uids, only)


class _BreaksError(Exception):
    """Whatever may go wrong half-way."""


class _Breaking(list[NewMessage]):
    """Messages of which the last cannot be had."""

    def __iter__(self) -> Iterator[NewMessage]:
        for at in range(len(self)):
            yield self[at]

    def __getitem__(self, at: Any) -> Any:
        if at == len(self) - 1:
            raise _BreaksError
        return super().__getitem__(at)


async def _rows(mailbox: Mailbox) -> dict[int, Row]:
    """All messages by UID; what `snapshot` and `metadata` say must agree."""
    snapshot = await mailbox.snapshot()
    rows = await mailbox.metadata(UidSet.from_sorted(snapshot.uids))
    assert [row.uid for row in rows] == list(snapshot.uids)
    assert list(snapshot.uids) == sorted(set(snapshot.uids))
    assert all(0 < row.uid < snapshot.uid_next for row in rows)
    assert all(0 < row.modseq <= snapshot.modseq for row in rows)
    assert not any(RECENT in row.flags for row in rows)
    assert all(IDENTIFIER.fullmatch(row.email_id) for row in rows)
    return {row.uid: row for row in rows}


async def _modseq(mailbox: Mailbox) -> int:
    return (await mailbox.snapshot()).modseq


async def _fill(mailbox: Mailbox, count: int) -> UidSet:
    return await mailbox.append([new_message(b"Subject: %d\r\n\r\n" % n) for n in range(count)])


async def _names(account: Account) -> set[str]:
    """The mailboxes, without what is only a level above others."""
    return {info.name for info in await account.mailboxes() if info.id is not None}


async def _put(users: UserStore, user: User) -> None:
    try:
        await users.put(user)
    except NoPermission:
        pytest.skip("the users of this store cannot be changed")


async def _users(users: UserStore) -> set[str]:
    """All names, each of them told once."""
    try:
        names = [name async for name in users.names()]
    except CannotDo:
        pytest.skip("this store cannot list its users")
    assert len(names) == len(set(names))
    return set(names)


class BackendConformance(
    NamesConformance, PropertiesConformance, AccessConformance, QuotaConformance, SearchConformance
):
    """Subclass it, name the class `Test...`, and give it a `backend` fixture."""

    async def reopen(self, backend: Backend) -> Backend:
        """The same store as after a restart of the process: `backend` is stopped, another started.
        Whatever the fixture does at its end must bear that."""
        pytest.skip("this store does not outlive its process, or does not say how")

    @pytest.fixture
    async def account(self, backend: Backend) -> AsyncIterator[Account]:
        async with backend.account("alice") as account:
            yield account

    @pytest.fixture
    async def inbox(self, account: Account) -> Mailbox:
        return await account.open("INBOX")

    @pytest.fixture
    async def other(self, account: Account) -> Mailbox:
        return await account.create("Other")

    # -- octets in, octets out: rule 4 --

    @pytest.mark.parametrize("content", OCTETS.values(), ids=OCTETS)
    async def test_content_is_what_append_was_given(self, inbox: Mailbox, content: bytes) -> None:
        (uid,) = await inbox.append([new_message(content)])
        assert await inbox.content(uid) == content
        (row,) = await inbox.metadata(UidSet.of(uid))
        assert row.size == len(content)

    @pytest.mark.parametrize("content", OCTETS.values(), ids=OCTETS)
    async def test_derived_data_agrees_with_the_content(
        self, inbox: Mailbox, content: bytes
    ) -> None:
        (uid,) = await inbox.append([new_message(content)])
        made = digest(content)
        assert list(await inbox.digests([uid])) == [made]
        assert list(await inbox.summaries([uid])) == [made.summary]
        assert list(await inbox.headers([uid])) == [content[: made.header_size]]

    async def test_derived_data_comes_in_the_order_asked_for(self, inbox: Mailbox) -> None:
        one, two, three = await _fill(inbox, 3)
        await inbox.expunge(UidSet.of(two))
        first, gone, second = await inbox.digests([three, two, one])
        assert gone is None
        assert first == digest(await inbox.content(three))
        assert second == digest(await inbox.content(one))
        assert list(await inbox.summaries([three, two, one])) == [
            first.summary, None, second.summary,
        ]  # fmt: skip
        headers = await inbox.headers([three, two, one])
        assert list(headers) == [b"Subject: 2\r\n\r\n", None, b"Subject: 0\r\n\r\n"]
        assert list(await inbox.digests([])) == []
        assert list(await inbox.summaries([])) == []
        assert list(await inbox.headers([])) == []

    async def test_content_of_what_is_gone_is_expunged(self, inbox: Mailbox) -> None:
        (uid,) = await inbox.append([new_message()])
        await inbox.expunge(UidSet.of(uid))
        for missing in (uid, uid + 1, 0xFFFFFFFF):
            with pytest.raises(MessageExpunged):
                await inbox.content(missing)

    # -- append --

    async def test_metadata_is_what_append_was_given(self, inbox: Mailbox) -> None:
        dates = [InternalDate(0), InternalDate(1_700_000_000, -720), InternalDate(2**31, 840)]
        flags = [frozenset[Flag](), frozenset((SEEN, DRAFT)), frozenset((Flag("$Junk"), ANSWERED))]
        now = int(time.time())
        uids = await inbox.append(
            [
                new_message(OCTETS["plain"], *some, date=date)
                for some, date in zip(flags, dates, strict=True)
            ]
        )
        rows = await inbox.metadata(uids)
        assert [row.uid for row in rows] == list(uids)
        assert [row.internal_date for row in rows] == dates
        assert [row.flags for row in rows] == flags
        assert all(row.save_date is None or now - 2 <= row.save_date <= now + 60 for row in rows)
        assert len({row.modseq for row in rows}) == 1  # one call, one value
        assert rows[0].modseq == await _modseq(inbox)
        await _rows(inbox)

    async def test_uids_ascend_in_the_order_of_the_messages(self, inbox: Mailbox) -> None:
        before = (await inbox.snapshot()).uid_next
        uids = await _fill(inbox, 30)
        assert len(uids) == 30
        assert uids.lowest >= before
        assert (await inbox.snapshot()).uid_next > uids.highest
        for n, uid in enumerate(uids):
            assert await inbox.content(uid) == b"Subject: %d\r\n\r\n" % n

    async def test_uids_are_never_given_again(self, inbox: Mailbox) -> None:
        given: set[int] = set()
        for _ in range(5):
            uids = await _fill(inbox, 2)
            assert given.isdisjoint(uids)
            assert not given or uids.lowest > max(given)
            given.update(uids)
            await inbox.expunge(UidSet.of(uids.highest) if len(given) % 4 else ALL)
            assert (await inbox.snapshot()).uid_next > max(given)

    async def test_appending_nothing_changes_nothing(self, inbox: Mailbox) -> None:
        before = await inbox.snapshot()
        assert not await inbox.append([])
        assert await inbox.snapshot() == before

    async def test_append_is_all_or_none(self, inbox: Mailbox) -> None:
        await inbox.append([new_message()])
        before, rows = await inbox.snapshot(), await _rows(inbox)
        many = [Flag(f"keyword{n}") for n in range(2000)]
        messages = [new_message(), new_message(OCTETS["plain"], *many), new_message()]
        try:
            uids = await inbox.append(messages)
        except LimitReached:
            assert await inbox.snapshot() == before
            assert await _rows(inbox) == rows
            changes = await inbox.changes(before.modseq)
            assert (changes.changed, changes.vanished) == (NO_UIDS, NO_UIDS)
            assert await inbox.append([new_message(OCTETS["plain"], SEEN, Flag("one"))])
        else:
            assert len(uids) == 3
            assert len((await inbox.metadata(uids))[1].flags) == 2000

    async def test_an_append_that_breaks_in_the_middle_adds_nothing(self, inbox: Mailbox) -> None:
        before = await inbox.snapshot()
        with pytest.raises((_BreaksError, BackendError)):
            await inbox.append(_Breaking([new_message(), new_message(), new_message()]))
        assert await inbox.snapshot() == before
        assert await _rows(inbox) == {}
        assert await _fill(inbox, 1)

    async def test_a_given_email_id_is_kept(self, inbox: Mailbox) -> None:
        uids = await inbox.append(
            [new_message(email_id="M-known_1"), new_message(), new_message(b"other")]
        )
        one, two, three = (row.email_id for row in await inbox.metadata(uids))
        assert one == "M-known_1"
        assert two != three  # different octets are different messages

    # -- the clock: rule 1 --

    async def test_each_change_takes_one_new_modseq(self, inbox: Mailbox) -> None:
        seen = [await _modseq(inbox)]
        assert seen[0] >= 1
        uids = await _fill(inbox, 3)
        seen.append(await _modseq(inbox))
        await inbox.store(uids, FlagOp.ADD, frozenset((SEEN,)))
        seen.append(await _modseq(inbox))
        await inbox.expunge(UidSet.of(uids.lowest))
        seen.append(await _modseq(inbox))
        await inbox.expunge(ALL)
        seen.append(await _modseq(inbox))
        assert seen == sorted(set(seen))

    async def test_changes_are_those_strictly_after(self, inbox: Mailbox) -> None:
        start = await _modseq(inbox)
        one, two, three = await _fill(inbox, 3)
        appended = await _modseq(inbox)
        stored = await inbox.store(UidSet.of(two), FlagOp.ADD, frozenset((SEEN,)))
        await inbox.expunge(UidSet.of(three))
        end = await _modseq(inbox)

        assert (await inbox.changes(start)).changed == UidSet.of(one, two)
        changes = await inbox.changes(appended)
        assert changes.modseq == end
        assert changes.changed == UidSet.of(two)
        assert not changes.complete or changes.vanished == UidSet.of(three)
        changes = await inbox.changes(stored.modseq)
        assert changes.changed == NO_UIDS
        assert not changes.complete or changes.vanished == UidSet.of(three)
        changes = await inbox.changes(end)
        assert changes == Changes(end, NO_UIDS, NO_UIDS, changes.complete)

    async def test_nothing_vanishes_that_is_there(self, inbox: Mailbox) -> None:
        await _fill(inbox, 4)
        await inbox.expunge(UidSet.of(2, 3))
        changes = await inbox.changes(1)
        assert not changes.vanished & UidSet.from_sorted((await inbox.snapshot()).uids)

    # -- store --

    @pytest.mark.parametrize("op", FlagOp)
    async def test_store_sets_adds_and_removes(self, inbox: Mailbox, op: FlagOp) -> None:
        old = [frozenset[Flag](), frozenset((SEEN,)), frozenset((SEEN, FLAGGED, Flag("work")))]
        flags = frozenset((SEEN, Flag("work")))
        uids = await inbox.append([new_message(OCTETS["plain"], *some) for some in old])
        before = await _modseq(inbox)
        stored = await inbox.store(uids, op, flags)
        rows = await inbox.metadata(uids)
        assert [row.flags for row in rows] == [op.apply(some, flags) for some in old]
        changed = [row.uid for row, some in zip(rows, old, strict=True) if row.flags != some]
        after = await _modseq(inbox)
        assert stored == Stored(before, after, UidSet.of(*changed), NO_UIDS)
        assert after > before
        for row in rows:
            assert row.modseq == after if row.uid in changed else row.modseq <= before

    async def test_a_store_that_changes_nothing_keeps_the_modseq(self, inbox: Mailbox) -> None:
        uids = await inbox.append([new_message(OCTETS["plain"], SEEN, Flag("$Junk"))])
        before, rows = await inbox.snapshot(), await _rows(inbox)
        for op, flags in (
            (FlagOp.ADD, frozenset((SEEN,))),
            (FlagOp.ADD, frozenset[Flag]()),
            (FlagOp.REMOVE, frozenset((FLAGGED, Flag("unheard-of")))),
            (FlagOp.SET, frozenset((Flag("$JUNK"), SEEN))),  # compared without case
        ):
            stored = await inbox.store(uids, op, flags)
            assert stored == Stored(before.modseq, before.modseq, NO_UIDS)
        assert await inbox.snapshot() == before
        assert await _rows(inbox) == rows

    async def test_store_passes_over_missing_uids(self, inbox: Mailbox) -> None:
        one, two, three = await _fill(inbox, 3)
        await inbox.expunge(UidSet.of(two))
        before = await _modseq(inbox)
        gone = UidSet.of(two, three + 1, three + 7)
        assert await inbox.store(gone, FlagOp.ADD, frozenset((SEEN,))) == Stored(
            before, before, NO_UIDS
        )
        assert await inbox.store(gone, FlagOp.ADD, frozenset((SEEN,)), 0) == Stored(
            before, before, NO_UIDS
        )
        assert await inbox.store(NO_UIDS, FlagOp.SET, frozenset()) == Stored(
            before, before, NO_UIDS
        )
        stored = await inbox.store(UidSet.of(one, two, three), FlagOp.ADD, frozenset((SEEN,)))
        assert stored.changed == UidSet.of(one, three)

    async def test_what_has_changed_since_is_left_alone(self, inbox: Mailbox) -> None:
        one, two, three = await _fill(inbox, 3)
        known = await _modseq(inbox)
        await inbox.store(UidSet.of(two), FlagOp.ADD, frozenset((FLAGGED,)))
        before = await _modseq(inbox)
        stored = await inbox.store(ALL, FlagOp.ADD, frozenset((SEEN,)), known)
        assert stored.before == before
        assert stored.changed == UidSet.of(one, three)
        assert stored.failed == UidSet.of(two)
        rows = await _rows(inbox)
        assert rows[two].flags == {FLAGGED}
        assert rows[two].modseq == before
        # It fails also where its flags would have stayed as they are.   RFC 7162 3.1.3
        stored = await inbox.store(ALL, FlagOp.ADD, frozenset((SEEN,)), 0)
        assert stored == Stored(stored.before, stored.before, NO_UIDS, UidSet.of(one, two, three))
        stored = await inbox.store(ALL, FlagOp.ADD, frozenset((SEEN,)), stored.before)
        assert stored.changed == UidSet.of(two)

    async def test_keywords_keep_their_case(self, inbox: Mailbox) -> None:
        (uid,) = await inbox.append([new_message(OCTETS["plain"], Flag("$Forwarded"))])
        await inbox.store(UidSet.of(uid), FlagOp.ADD, frozenset((Flag("MixedCase"), SEEN)))
        names = {flag.name for flag in (await _rows(inbox))[uid].flags}
        assert names == {"$Forwarded", "MixedCase", "\\Seen"}
        stored = await inbox.store(UidSet.of(uid), FlagOp.REMOVE, frozenset((Flag("mixedcase"),)))
        assert stored.changed == UidSet.of(uid)
        assert (await _rows(inbox))[uid].flags == {Flag("$Forwarded"), SEEN}

    async def test_any_atom_is_a_keyword(self, inbox: Mailbox) -> None:
        flags = frozenset(
            map(Flag, ("a'b", "a,b", "a;b", "1", "NonJunk", "x:y", "[a]", "$", "a|b"))
        )
        (uid,) = await inbox.append([new_message(OCTETS["plain"], *flags)])
        assert (await _rows(inbox))[uid].flags == flags

    async def test_one_keyword_too_many_changes_nothing(self, inbox: Mailbox) -> None:
        uids = await _fill(inbox, 2)
        before, rows = await inbox.snapshot(), await _rows(inbox)
        many = frozenset(Flag(f"keyword{n}") for n in range(2000))
        try:
            stored = await inbox.store(uids, FlagOp.ADD, many)
        except LimitReached:
            assert await inbox.snapshot() == before
            assert await _rows(inbox) == rows
        else:
            assert stored.changed == uids

    # -- expunge --

    async def test_expunge_returns_what_it_removed(self, inbox: Mailbox) -> None:
        one, two, three, four = await _fill(inbox, 4)
        assert await inbox.expunge(UidSet.of(two, three)) == UidSet.of(two, three)
        assert await inbox.expunge(UidSet.of(three, four, four + 9)) == UidSet.of(four)
        assert set(await _rows(inbox)) == {one}

    async def test_expunge_leaves_what_has_not_the_flag(self, inbox: Mailbox) -> None:
        one, two, three = await _fill(inbox, 3)
        await inbox.store(UidSet.of(two, three), FlagOp.ADD, frozenset((DELETED,)))
        await inbox.store(UidSet.of(three), FlagOp.REMOVE, frozenset((DELETED,)))
        assert await inbox.expunge(ALL, only=DELETED) == UidSet.of(two)
        assert set(await _rows(inbox)) == {one, three}

    async def test_expunging_nothing_changes_nothing(self, inbox: Mailbox) -> None:
        await _fill(inbox, 1)
        await inbox.expunge(ALL)
        before = await inbox.snapshot()
        assert await inbox.expunge(ALL) == NO_UIDS
        assert await inbox.expunge(NO_UIDS) == NO_UIDS
        assert await inbox.snapshot() == before

    # -- sets in, sets out: rule 3 --

    async def test_missing_uids_have_no_metadata(self, inbox: Mailbox) -> None:
        one, two, three = await _fill(inbox, 3)
        await inbox.expunge(UidSet.of(two))
        assert [row.uid for row in await inbox.metadata(UidSet.of(two))] == []
        assert [row.uid for row in await inbox.metadata(NO_UIDS)] == []
        assert [row.uid for row in await inbox.metadata(ALL)] == [one, three]

    async def test_a_range_costs_no_walk(self, inbox: Mailbox, other: Mailbox) -> None:
        # Four thousand million UIDs: whoever loops over them does not come back.
        uids = await _fill(inbox, 2)
        assert len(await inbox.metadata(ALL)) == 2
        assert (await inbox.store(ALL, FlagOp.ADD, frozenset((SEEN,)))).changed == uids
        assert (await inbox.copy(ALL, other)).source == uids
        assert (await inbox.move(ALL, other)).source == uids
        assert await other.expunge(ALL) == UidSet.from_sorted([1, 2, 3, 4])

    async def test_many_ranges_in_one_call(self, inbox: Mailbox) -> None:
        uids = await _fill(inbox, 2200)
        odd = UidSet.from_sorted(list(uids)[::2])
        assert len(odd.ranges) == 1100
        assert (await inbox.store(odd, FlagOp.ADD, frozenset((SEEN,)))).changed == odd
        assert [row.uid for row in await inbox.metadata(odd)] == list(odd)
        assert await inbox.expunge(odd) == odd
        assert len(await _rows(inbox)) == 1100

    # -- copy and move --

    async def test_copies_have_the_same_content_flags_date_and_email_id(
        self, inbox: Mailbox, other: Mailbox
    ) -> None:
        uids = await inbox.append(
            [
                new_message(content, SEEN, Flag("Work"), date=InternalDate(n * 1000, n))
                for n, content in enumerate(OCTETS.values())
            ]
        )
        await _fill(other, 1)
        now, before, known = int(time.time()), await inbox.snapshot(), await _modseq(other)
        copied = await inbox.copy(uids, other)
        assert copied.uid_validity == other.uid_validity
        assert copied.source == uids
        assert len(copied.target) == len(uids)
        assert (await other.changes(known)).changed == copied.target
        rows, copies = await _rows(inbox), await _rows(other)
        for source, target in zip(copied.source, copied.target, strict=True):
            old, new = rows[source], copies[target]
            assert new._replace(uid=0, modseq=0, save_date=None) == old._replace(
                uid=0, modseq=0, save_date=None
            )
            assert new.save_date is None or new.save_date >= now - 2
            assert {flag.name for flag in new.flags} == {flag.name for flag in old.flags}
            assert await other.content(target) == await inbox.content(source)
        assert list(await other.digests(list(copied.target))) == list(
            await inbox.digests(list(copied.source))
        )
        assert list(await other.summaries(list(copied.target))) == list(
            await inbox.summaries(list(copied.source))
        )
        assert await inbox.snapshot() == before  # nothing happened here

    async def test_copies_live_on_without_the_original(
        self, inbox: Mailbox, other: Mailbox
    ) -> None:
        await inbox.append([new_message(b"a"), new_message(b"b")])
        copied = await inbox.copy(ALL, other)
        await inbox.expunge(ALL)
        assert [await other.content(uid) for uid in copied.target] == [b"a", b"b"]

    async def test_move_copies_and_expunges(self, inbox: Mailbox, other: Mailbox) -> None:
        uids = await inbox.append([new_message(b"%d" % n, FLAGGED) for n in range(4)])
        stay = uids.lowest
        old, known = await _rows(inbox), await _modseq(inbox)
        moved = await inbox.move(uids - UidSet.of(stay), other)
        assert moved.source == uids - UidSet.of(stay)
        assert set(await _rows(inbox)) == {stay}
        changes = await inbox.changes(known)
        assert changes.changed == NO_UIDS
        assert not changes.complete or changes.vanished == moved.source
        new = await _rows(other)
        for n, (source, target) in enumerate(zip(moved.source, moved.target, strict=True), 1):
            assert await other.content(target) == b"%d" % n
            assert new[target].email_id == old[source].email_id
            assert new[target].flags == {FLAGGED}

    async def test_copy_and_move_pass_over_missing_uids(
        self, inbox: Mailbox, other: Mailbox
    ) -> None:
        one, two, three = await _fill(inbox, 3)
        await inbox.expunge(UidSet.of(two))
        copied = await inbox.copy(UidSet.of(one, two, three), other)
        assert copied.source == UidSet.of(one, three)
        assert [await other.content(uid) for uid in copied.target] == [
            b"Subject: 0\r\n\r\n",
            b"Subject: 2\r\n\r\n",
        ]
        before, there = await inbox.snapshot(), await other.snapshot()
        nothing = Copied(other.uid_validity, NO_UIDS, NO_UIDS)
        assert await inbox.copy(UidSet.of(two), other) == nothing
        assert await inbox.move(UidSet.of(two), other) == nothing
        assert await inbox.copy(NO_UIDS, other) == nothing
        assert await inbox.snapshot() == before
        assert await other.snapshot() == there

    async def test_copy_and_move_within_one_mailbox(self, inbox: Mailbox) -> None:
        uids = await _fill(inbox, 2)
        copied = await inbox.copy(uids, inbox)
        assert copied.source == uids
        assert copied.target.lowest > uids.highest
        moved = await inbox.move(uids, inbox)
        assert moved.source == uids
        assert set(await _rows(inbox)) == {*copied.target, *moved.target}
        contents = [await inbox.content(uid) for uid in moved.target]
        assert contents == [b"Subject: 0\r\n\r\n", b"Subject: 1\r\n\r\n"]

    # -- status and \Recent --

    async def test_status_is_a_count(self, inbox: Mailbox) -> None:
        assert (await inbox.status())[:1] == (0,)
        flags = ((), (SEEN,), (DELETED,), (SEEN, DELETED), (FLAGGED, Flag("x")))
        await inbox.append([new_message(b"x" * n, *f) for n, f in enumerate(flags, 1)])
        await self._check_status(inbox)
        await inbox.expunge(UidSet.of(1, 4))
        await inbox.store(ALL, FlagOp.ADD, frozenset((SEEN,)))
        await self._check_status(inbox)

    async def _check_status(self, mailbox: Mailbox) -> None:
        status, snapshot = await mailbox.status(), await mailbox.snapshot()
        rows = (await _rows(mailbox)).values()
        assert status.messages == len(rows)
        assert status.unseen == sum(SEEN not in row.flags for row in rows)
        assert status.deleted == sum(DELETED in row.flags for row in rows)
        assert status.deleted_size == sum(row.size for row in rows if DELETED in row.flags)
        assert status.size == sum(row.size for row in rows)
        assert (status.uid_next, status.modseq) == (snapshot.uid_next, snapshot.modseq)
        assert status.recent == len(await mailbox.claim_recent(peek=True))

    async def test_recent_is_claimed_at_most_once(self, inbox: Mailbox, account: Account) -> None:
        uids = await _fill(inbox, 3)
        again = await account.open("INBOX")
        peeked = await again.claim_recent(peek=True)
        assert await inbox.claim_recent(peek=True) == peeked
        assert peeked in (NO_UIDS, uids)
        claims = await asyncio.gather(*(box.claim_recent() for box in (inbox, again, inbox)))
        assert sorted(map(len, claims)) == [0, 0, len(peeked)]
        assert await inbox.claim_recent(peek=True) == NO_UIDS
        later = await _fill(inbox, 2)
        await inbox.expunge(UidSet.of(later.lowest))
        assert await again.claim_recent() in (NO_UIDS, UidSet.of(later.highest))
        assert (await inbox.status()).recent == 0

    async def test_claiming_recent_takes_no_modseq(self, inbox: Mailbox) -> None:
        await _fill(inbox, 1)
        before = await inbox.snapshot()
        await inbox.claim_recent()
        assert await inbox.snapshot() == before

    # -- wake up, then pull: rule 5 --

    async def test_wait_returns_at_once_when_there_is_news(self, inbox: Mailbox) -> None:
        before = await _modseq(inbox)
        await _fill(inbox, 1)
        async with asyncio.timeout(PATIENCE_S):
            await inbox.wait(before)

    async def test_wait_wakes(self, inbox: Mailbox, account: Account) -> None:
        again = await account.open("INBOX")
        waiting = asyncio.create_task(inbox.wait(await _modseq(inbox)))
        await asyncio.sleep(0.01)
        await _fill(again, 1)
        async with asyncio.timeout(PATIENCE_S):
            await waiting

    async def test_wait_wakes_when_the_mailbox_is_deleted(
        self, account: Account, other: Mailbox
    ) -> None:
        waiting = asyncio.create_task(other.wait(await _modseq(other)))
        await asyncio.sleep(0.01)
        await account.delete("Other")
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(waiting, return_exceptions=True)
        assert waiting.exception() is None or isinstance(waiting.exception(), MailboxGone)

    async def test_listeners_are_called(self, inbox: Mailbox, account: Account) -> None:
        opened, heard = OpenMailbox(inbox), asyncio.Event()
        await opened.sync()
        opened.listen(heard.set)
        await asyncio.sleep(0.01)
        await _fill(await account.open("INBOX"), 1)
        async with asyncio.timeout(PATIENCE_S):
            await heard.wait()
        assert len(opened.index.uids) == 1
        opened.unlisten(heard.set)

    # -- the account's mailboxes --

    async def test_inbox_is_always_there(self, account: Account, inbox: Mailbox) -> None:
        assert await _names(account) == {"INBOX"}
        assert inbox.id == (await account.open("INBOX")).id
        with pytest.raises(MailboxExists):
            await account.create("INBOX")

    async def test_mailboxes_tell_names_and_ids(self, account: Account) -> None:
        names = {"INBOX", "Sent", "a/b/c", "a/b", "Entwürfe/日本語 😀", "50%_*'\"\\", "A/b", "nil"}
        made = {name: await account.create(name) for name in names - {"INBOX"}}
        assert names <= await _names(account)
        infos = await account.mailboxes()
        assert len({info.name for info in infos}) == len(infos)
        for info in infos:
            if info.id is None:
                with pytest.raises(MailboxNotFound):
                    await account.open(info.name)
                continue
            assert IDENTIFIER.fullmatch(info.id)
            assert (await account.open(info.name)).id == info.id
            assert info.name not in made or made[info.name].id == info.id
        assert len({info.id for info in infos if info.id}) == sum(1 for i in infos if i.id)

    async def test_a_name_is_created_once(self, account: Account) -> None:
        await account.create("one")
        with pytest.raises(MailboxExists):
            await account.create("one")
        await account.create("One")  # names other than INBOX have a case

    async def test_what_is_not_there_is_not_found(self, account: Account) -> None:
        await account.create("a/b")
        for call in (account.open, account.delete):
            with pytest.raises(MailboxNotFound):
                await call("nowhere")
            with pytest.raises(MailboxNotFound):
                await call("a/b/c")
        with pytest.raises(MailboxNotFound):
            await account.rename("nowhere", "somewhere")

    async def test_a_level_may_become_a_mailbox(self, account: Account) -> None:
        await account.create("a/b")
        if "a" in await _names(account):
            return  # this store makes superior levels at once
        for call in (account.open, account.delete):
            with pytest.raises(MailboxNotFound):
                await call("a")
        await account.create("a")
        assert {"a", "a/b"} <= await _names(account)

    async def test_special_uses_are_told_or_refused(self, account: Account) -> None:
        try:
            await account.create("Gesendet", ("\\Sent",))
        except BackendError:
            assert "Gesendet" not in await _names(account)
            return
        uses = {info.name: info.special_use for info in await account.mailboxes()}
        assert uses["Gesendet"] == ("\\Sent",)
        assert uses["INBOX"] == ()

    async def test_delete_leaves_inferiors(self, account: Account) -> None:
        for name in ("a", "a/b", "ab"):
            await _fill(await account.create(name), 1)
        await account.delete("a")
        names = await _names(account)
        assert "a" not in names
        assert {"a/b", "ab"} <= names
        assert len(await _rows(await account.open("a/b"))) == 1
        with pytest.raises(MailboxNotFound):
            await account.open("a")

    async def test_a_deleted_mailbox_is_gone(
        self, account: Account, inbox: Mailbox, other: Mailbox
    ) -> None:
        opened = [OpenMailbox(other), OpenMailbox(WithoutIndex(other))]
        await _fill(other, 1)
        for one in opened:
            await one.sync()
        await account.delete("Other")
        for call in (other.snapshot(), other.changes(1), *(one.sync() for one in opened)):
            with pytest.raises(MailboxGone):
                await call
        await _fill(inbox, 1)
        for changing in (
            other.append([new_message()]),
            inbox.copy(ALL, other),
            inbox.move(ALL, other),
        ):
            with pytest.raises(BackendError):
                await changing
        assert len(await _rows(inbox)) == 1  # what could not be moved is still here

    async def test_a_mailbox_made_again_is_another(self, account: Account) -> None:
        used: set[tuple[int, int]] = set()
        ids: set[str] = set()
        validity = 0
        for _ in range(4):  # all within one second
            mailbox = await account.create("again")
            assert 0 < mailbox.uid_validity <= 0xFFFFFFFF
            assert mailbox.uid_validity >= validity
            validity = mailbox.uid_validity
            assert (await account.open("again")).uid_validity == validity
            assert len(await _rows(mailbox)) == 0
            messages = {(validity, uid) for uid in await _fill(mailbox, 3)}
            assert used.isdisjoint(messages)
            used |= messages
            assert mailbox.id not in ids
            ids.add(mailbox.id)
            await account.delete("again")

    async def test_name_validity_and_uid_never_name_two_messages(self, account: Account) -> None:
        """Also when another mailbox takes the name.   RFC 9051 2.3.1.1"""
        one, two = await account.create("one"), await account.create("two")
        old = {(two.uid_validity, uid) for uid in await _fill(two, 2)}
        new = {(one.uid_validity, uid) for uid in await _fill(one, 2)}
        await account.delete("two")
        await account.rename("one", "two")
        assert old.isdisjoint(new)

    async def test_rename_keeps_everything_but_the_name(self, account: Account) -> None:
        made = {name: await account.create(name) for name in ("a", "a/b", "a/b/c")}
        for mailbox in made.values():
            await _fill(mailbox, 2)
        rows = {name: await _rows(mailbox) for name, mailbox in made.items()}
        await account.rename("a", "x/y")
        names = await _names(account)
        assert {"x/y", "x/y/b", "x/y/b/c"} <= names
        assert names.isdisjoint(made)
        for name, mailbox in made.items():
            renamed = await account.open("x/y" + name[1:])
            assert (renamed.id, renamed.uid_validity) == (mailbox.id, mailbox.uid_validity)
            assert await _rows(renamed) == rows[name]
            assert await _rows(mailbox) == rows[name]  # what is open stays open
            assert await _fill(mailbox, 1) == UidSet.from_sorted(
                [(await renamed.snapshot()).uid_next - 1]
            )

    async def test_rename_moves_inferiors_and_no_others(self, account: Account) -> None:
        others = {"a_bc", "axb/c", "A_b/c", "b/a_b/c", "a%/x"}
        for name in ("a_b/c", *others):
            await account.create(name)
        await account.rename("a_b", "renamed")
        names = await _names(account)
        assert others | {"renamed/c"} <= names
        assert "a_b/c" not in names

    async def test_rename_to_a_taken_name_changes_nothing(self, account: Account) -> None:
        for name in ("a/b", "a/c", "x/c", "a/d"):
            await account.create(name)
        infos = {(info.name, info.id) for info in await account.mailboxes()}
        for name, new_name in (("a", "x"), ("a/b", "a/c"), ("a/b", "INBOX")):
            with pytest.raises(MailboxExists):
                await account.rename(name, new_name)
        assert {(info.name, info.id) for info in await account.mailboxes()} == infos

    async def test_rename_up_a_level(self, account: Account) -> None:
        deep, deeper = await account.create("a/b"), await account.create("a/b/b")
        if "a" in await _names(account):
            return  # taken
        await account.rename("a/b", "a")
        assert (await account.open("a")).id == deep.id
        assert (await account.open("a/b")).id == deeper.id

    async def test_subscriptions_are_names(self, account: Account) -> None:
        assert "nowhere" not in await account.subscriptions()
        for name in ("INBOX", "nowhere", "a/b", "ü", "nowhere"):
            await account.subscribe(name)
        assert {"INBOX", "nowhere", "a/b", "ü"} <= await account.subscriptions()
        for name in ("nowhere", "nowhere", "never"):
            await account.unsubscribe(name)
        assert {"nowhere", "never"}.isdisjoint(await account.subscriptions())
        assert not {"nowhere", "a/b", "ü"} & await _names(account)

    async def test_deleting_does_not_unsubscribe(self, account: Account) -> None:
        """RFC 9051 6.3.7: "MUST NOT unilaterally remove"."""
        await account.create("a")
        await account.subscribe("a")
        await account.delete("a")
        assert "a" in await account.subscriptions()

    async def test_accounts_are_apart(self, backend: Backend, account: Account) -> None:
        await account.create("mine")
        await account.subscribe("mine")
        mine = await account.open("INBOX")
        await _fill(mine, 1)
        async with backend.account("bob") as bobs:
            assert await _names(bobs) == {"INBOX"}
            assert "mine" not in await bobs.subscriptions()
            inbox = await bobs.open("INBOX")
            assert len(await _rows(inbox)) == 0
            assert inbox.id != mine.id

    async def test_sessions_share_an_account(self, backend: Backend, account: Account) -> None:
        inbox = await account.open("INBOX")
        async with backend.account("alice") as again:
            mailbox = await again.open("INBOX")
            assert mailbox.id == inbox.id
            await _fill(mailbox, 2)
            assert len(await _rows(inbox)) == 2
            await again.create("renamed")
        # The engine shares one Mailbox among sessions: it outlives the one that opened it.
        await mailbox.store(ALL, FlagOp.ADD, frozenset((SEEN,)))
        assert all(SEEN in row.flags for row in (await _rows(inbox)).values())
        assert "renamed" in await _names(account)

    # -- users --

    async def test_users(self, backend: Backend) -> None:
        users = backend.users
        assert await users.get("nobody at all") is None
        await users.delete("nobody at all")
        await _put(users, User("carol", "secret ü"))
        assert await users.get("carol") == User("carol", "secret ü")
        await users.put(User("carol", "other"))
        assert await users.get("carol") == User("carol", "other")
        await users.delete("carol")
        assert await users.get("carol") is None

    async def test_names_are_those_of_all_users(self, backend: Backend) -> None:
        users = backend.users
        known = await _users(users)
        assert all([await users.get(name) for name in known])
        new = {"carol"}
        await _put(users, User("carol", "secret"))
        await users.put(User("carol", "other"))
        for name in ("dave*", "erin@example.org", "n[a]me", "ünter"):
            with suppress(CannotDo):
                await users.put(User(name, "secret"))
                new.add(name)
        assert await _users(users) == known | new
        for name in new:
            await users.delete(name)
        assert await _users(users) == known

    async def test_schemes_are_those_of_all_users(self, backend: Backend) -> None:
        users = backend.users
        known = users.schemes()
        if known is None:
            pytest.skip("this store does not have them at hand")
        await _put(users, User("carol", "{ssha512.b64}AAAA"))
        await users.put(User("dave", "{SHA}BBBB"))
        assert users.schemes() == known | {"SSHA512", "SHA"}
        await users.put(User("carol", "{PLAIN}x"))
        assert users.schemes() == known | {"PLAIN", "SHA"}
        await users.delete("dave")
        await users.put(User("carol", "in the clear"))
        assert users.schemes() == known | {"PLAIN"}
        await users.delete("carol")
        assert users.schemes() == known

    async def test_roles_are_kept_or_refused(self, backend: Backend) -> None:
        users = backend.users
        await _put(users, User("carol", "secret"))
        carol = User("carol", "other", frozenset(("master", "else")))
        try:
            await users.put(carol)
        except CannotDo:
            assert await users.get("carol") == User("carol", "secret")
            return
        assert await users.get("carol") == carol
        await users.put(User("carol", "secret"))
        assert await users.get("carol") == User("carol", "secret")

    async def test_ping_is_quiet_while_all_is_well(self, backend: Backend) -> None:
        await backend.ping()

    # -- several at once --

    async def test_concurrent_appends(self, inbox: Mailbox, account: Account) -> None:
        again = await account.open("INBOX")
        made = await asyncio.gather(
            *(_fill((inbox, again)[n % 2], n % 3 + 1) for n in range(30)),
        )
        uids = [uid for some in made for uid in some]
        assert len(set(uids)) == len(uids)
        rows = await _rows(inbox)
        assert sorted(uids) == list(rows)
        for some in made:
            assert len({rows[uid].modseq for uid in some}) == 1
            for n, uid in enumerate(some):
                assert await inbox.content(uid) == b"Subject: %d\r\n\r\n" % n
        assert len({row.modseq for row in rows.values()}) == len(made)

    async def test_concurrent_stores(self, inbox: Mailbox, account: Account) -> None:
        again = await account.open("INBOX")
        uids = await _fill(inbox, 5)
        known = await _modseq(inbox)
        keywords = [Flag(f"k{n}") for n in range(20)]
        stored = await asyncio.gather(
            *(
                (inbox, again)[n % 2].store(uids, FlagOp.ADD, frozenset((keyword,)))
                for n, keyword in enumerate(keywords)
            )
        )
        assert all(row.flags == frozenset(keywords) for row in (await _rows(inbox)).values())
        assert len({one.modseq for one in stored}) == len(stored)
        assert all(one.changed == uids for one in stored)
        # Each one's `before` is the `modseq` of the one that came before it.
        assert (
            sorted(one.before for one in stored)
            == sorted([known, *(one.modseq for one in stored)])[:-1]
        )
        # Only one of many can be the first to know.
        known = await _modseq(inbox)
        stored = await asyncio.gather(
            *(inbox.store(uids, FlagOp.SET, frozenset((keyword,)), known) for keyword in keywords)
        )
        assert sum(bool(one.changed) for one in stored) == 1
        assert sum(one.failed == uids for one in stored) == len(stored) - 1

    async def test_concurrent_expunges_remove_once(self, inbox: Mailbox, account: Account) -> None:
        again = await account.open("INBOX")
        uids = list(await _fill(inbox, 12))
        removed = await asyncio.gather(
            *((inbox, again)[n % 2].expunge(UidSet.from_sorted(uids[n : n + 6])) for n in range(7))
        )
        assert sorted(uid for some in removed for uid in some) == uids
        assert await _rows(inbox) == {}

    async def test_concurrent_moves_lose_nothing(self, inbox: Mailbox, other: Mailbox) -> None:
        uids = await inbox.append([new_message(b"%d" % n) for n in range(8)])
        results = await asyncio.gather(
            *(inbox.move(uids, other) for _ in range(4)), return_exceptions=True
        )
        assert all(not isinstance(r, BaseException) or isinstance(r, BackendError) for r in results)
        contents = [await other.content(uid) for uid in await _rows(other)]
        assert await _rows(inbox) == {}
        assert set(contents) == {b"%d" % n for n in range(8)}
        if type(inbox).move is not Mailbox.move:  # the default may show a message twice
            assert len(contents) == 8

    async def test_moves_back_and_forth_do_not_lock_up(
        self, inbox: Mailbox, other: Mailbox
    ) -> None:
        await inbox.append([new_message(b"here")])
        await other.append([new_message(b"there")])
        async with asyncio.timeout(PATIENCE_S):
            for _ in range(5):
                await asyncio.gather(
                    inbox.move(ALL, other), other.move(ALL, inbox), return_exceptions=True
                )
        boxes = [(box, uid) for box in (inbox, other) for uid in await _rows(box)]
        assert {await box.content(uid) for box, uid in boxes} == {b"here", b"there"}

    async def test_a_cancelled_call_is_done_or_not_done(
        self, inbox: Mailbox, other: Mailbox
    ) -> None:
        """A client that disconnects cancels what runs for it, at any await."""
        large = [new_message(OCTETS["1 MB"])] * 4  # so that it is still being written
        for steps in range(8):
            uids = await _fill(inbox, 4)
            calls: list[Coroutine[Any, Any, object]] = [
                inbox.append(large),
                inbox.store(uids, FlagOp.ADD, frozenset((SEEN, Flag("x")))),
                inbox.expunge(UidSet.of(uids.lowest)),
                inbox.copy(uids, other),
                inbox.move(UidSet.of(uids.highest), other),
                inbox.changes(1),
            ]
            tasks = [asyncio.create_task(call) for call in calls]
            for _ in range(steps):
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        async with asyncio.timeout(PATIENCE_S):
            await _fill(inbox, 1)  # nobody holds a lock
        await asyncio.sleep(0.1)  # what runs in a thread may still come to its end
        opened = OpenMailbox(WithoutIndex(inbox))
        await opened.sync()
        rows = await _rows(inbox)
        for modseq in {row.modseq for row in rows.values()}:
            # All that one append has added, or all that one store has changed.
            together = [row for row in rows.values() if row.modseq == modseq]
            assert len({row.flags for row in together}) == 1
        for uid in rows:
            await inbox.content(uid)
        for uid in await _rows(other):
            await other.content(uid)

    async def test_columns_follow_while_much_happens(
        self, inbox: Mailbox, account: Account
    ) -> None:
        opened = OpenMailbox(WithoutIndex(await account.open("INBOX")))
        random, done = Random(1), False

        async def change(n: int) -> None:
            uids = await _fill(inbox, 3)
            await asyncio.sleep(0)
            await inbox.store(ALL, random.choice(list(FlagOp)), frozenset((SEEN, Flag(f"k{n}"))))
            await inbox.expunge(UidSet.of(random.choice(list(uids))))

        async def follow() -> None:
            while not done:
                index = await opened.sync()
                uids = list(index.uids)
                assert uids == sorted(set(uids))
                await asyncio.sleep(0)

        following = asyncio.create_task(follow())
        await asyncio.gather(*map(change, range(12)))
        done = True
        await following
        await _check_columns(await opened.sync(), inbox)

    # -- against a model --

    @pytest.mark.parametrize("seed", range(6))
    async def test_mailboxes_do_what_the_model_does(
        self, account: Account, inbox: Mailbox, other: Mailbox, seed: int
    ) -> None:
        random = Random(seed)
        boxes = [inbox, other]
        models = [_Model(await _modseq(box)) for box in boxes]
        again = [await account.open("INBOX"), await account.open("Other")]
        opened = [[OpenMailbox(box), OpenMailbox(WithoutIndex(box))] for box in again]
        for _ in range(60):
            here = random.randrange(2)
            there = random.choice((here, 1 - here))
            await _step(random, boxes[here], models[here], boxes[there], models[there])
            for box, model, columns in zip(again, models, opened, strict=True):
                await model.check(random, box)
                for one in columns:
                    if random.random() < 0.3:
                        await _check_columns(await one.sync(), box)
        for box, columns in zip(again, opened, strict=True):
            await self._check_status(box)
            for one in columns:
                await _check_columns(await one.sync(), box)

    # -- after a restart --

    async def test_everything_outlives_the_process(self, backend: Backend) -> None:
        async with backend.account("alice") as account:
            other = await account.create("Other", ())
            await account.subscribe("Other")
            uids = await other.append(
                [new_message(content, Flag("Kept"), SEEN) for content in OCTETS.values()]
            )
            known = await _modseq(other)
            await other.expunge(UidSet.of(uids.lowest))
            await other.expunge(UidSet.of(uids.highest))
            await other.store(UidSet.of(uids.lowest + 1), FlagOp.REMOVE, frozenset((SEEN,)))
            snapshot, rows = await other.snapshot(), await _rows(other)
            status, digests = await other.status(), await other.digests(snapshot.uids)
        restarted = await self.reopen(backend)
        try:
            async with restarted.account("alice") as account:
                again = await account.open("Other")
                assert (again.id, again.uid_validity) == (other.id, other.uid_validity)
                now = await again.snapshot()
                assert now.uid_next == snapshot.uid_next
                assert now.modseq >= snapshot.modseq
                assert await _rows(again) == rows
                assert list(await again.digests(now.uids)) == list(digests)
                assert (await again.status()).unseen == status.unseen
                for uid, content in list(zip(uids, OCTETS.values(), strict=True))[1:-1]:
                    assert await again.content(uid) == content
                changes = await again.changes(known)
                assert changes.changed == UidSet.of(uids.lowest + 1)
                if changes.complete:
                    assert changes.vanished == UidSet.of(uids.lowest, uids.highest)
                assert "Other" in await account.subscriptions()
                assert (await _fill(again, 1)).lowest > uids.highest
                assert await _modseq(again) > snapshot.modseq
                await account.delete("Other")
                made = await account.create("Other")
                assert made.uid_validity >= other.uid_validity
                assert made.id != other.id
                if made.uid_validity == other.uid_validity:
                    assert (await made.snapshot()).uid_next > uids.highest + 1
        finally:
            await restarted.stop()


# -- the model --


class _Model:
    """A mailbox as plainly as it can be said."""

    def __init__(self, modseq: int) -> None:
        self.modseq = modseq
        self.rows: dict[int, tuple[bytes, frozenset[Flag], InternalDate, int]] = {}
        self.email_ids: dict[int, str] = {}
        self.gone: dict[int, int] = {}  # UID -> modseq
        self.given = 0  # the highest UID
        self.checkpoints: list[tuple[int, frozenset[int]]] = [(modseq, frozenset())]

    def took(self, modseq: int, changed: Iterable[object]) -> int:
        """The mailbox is now at `modseq`: higher than it was, if anything changed."""
        assert modseq > self.modseq if list(changed) else modseq == self.modseq
        self.modseq = modseq
        return modseq

    def add(
        self,
        uids: UidSet,
        modseq: int,
        messages: Sequence[tuple[bytes, frozenset[Flag], InternalDate]],
    ) -> None:
        assert len(uids) == len(messages)
        assert not uids or uids.lowest > self.given
        self.given = max(self.given, uids.highest)
        for uid, (content, flags, date) in zip(uids, messages, strict=True):
            self.rows[uid] = content, flags, date, modseq

    def remove(self, uids: Iterable[int], modseq: int) -> None:
        for uid in uids:
            del self.rows[uid]
            self.gone[uid] = modseq

    async def check(self, random: Random, mailbox: Mailbox) -> None:
        rows = await _rows(mailbox)
        assert {u: (r.flags, r.internal_date, r.modseq) for u, r in rows.items()} == {
            u: row[1:] for u, row in self.rows.items()
        }
        for uid, row in rows.items():
            assert self.email_ids.setdefault(uid, row.email_id) == row.email_id
        if rows:
            uid = random.choice(list(rows))
            assert await mailbox.content(uid) == self.rows[uid][0]
        since, present = random.choice(self.checkpoints)
        changes = await mailbox.changes(since)
        assert changes.modseq == self.modseq
        assert set(changes.changed) == {u for u, row in self.rows.items() if row[3] > since}
        vanished = set(changes.vanished)
        assert vanished <= {u for u, modseq in self.gone.items() if modseq > since}
        if changes.complete:
            assert vanished >= present - self.rows.keys()
        self.checkpoints.append((self.modseq, frozenset(self.rows)))


FLAGS = [SEEN, DELETED, FLAGGED, *map(Flag, ("$Junk", "$JUNK", "work", "Work", "x"))]
DATES = [InternalDate(0), InternalDate(1_000_000_000, 90), InternalDate(1_600_000_000, -60)]


async def _step(
    random: Random, mailbox: Mailbox, model: _Model, target: Mailbox, to: _Model
) -> None:
    """One call at random, to the mailbox and to its model."""
    uids = UidSet.of(*random.sample(range(1, model.given + 3), min(model.given + 2, 4)))
    there = [uid for uid in uids if uid in model.rows]
    flags = frozenset(random.sample(FLAGS, random.randrange(4)))
    match random.choice(("append", "append", "store", "store", "store", "expunge", "copy", "move")):
        case "append":
            messages = [
                (random.choice(list(OCTETS.values())[:-1]), flags, random.choice(DATES))
                for _ in range(random.randrange(4))
            ]
            made = await mailbox.append(
                [new_message(content, *some, date=date) for content, some, date in messages]
            )
            model.add(made, model.took(await _modseq(mailbox), messages), messages)
        case "store":
            op = random.choice(list(FlagOp))
            since = random.choice((None, None, random.randrange(model.modseq + 1)))
            before = model.modseq
            stored = await mailbox.store(uids, op, flags, since)
            failed = [u for u in there if since is not None and model.rows[u][3] > since]
            become = {u: op.apply(model.rows[u][1], flags) for u in there if u not in failed}
            changed = [u for u, some in become.items() if some != model.rows[u][1]]
            modseq = model.took(await _modseq(mailbox), changed)
            assert stored == Stored(before, modseq, UidSet.of(*changed), UidSet.of(*failed))
            for u in changed:
                model.rows[u] = model.rows[u][0], become[u], model.rows[u][2], modseq
        case "expunge":
            assert await mailbox.expunge(uids) == UidSet.of(*there)
            model.remove(there, model.took(await _modseq(mailbox), there))
        case "copy":
            copied = await mailbox.copy(uids, target)
            _copy(copied, there, model, to, to.took(await _modseq(target), there))
        case "move":
            moved = await mailbox.move(uids, target)
            if target is mailbox:  # it takes one value or two, as the store likes
                added = {row.modseq for row in await mailbox.metadata(moved.target)}
                _copy(moved, there, model, to, to.took(max(added, default=to.modseq), there))
                if there:
                    model.modseq = await _modseq(mailbox)
                model.remove(there, model.modseq)
            else:
                _copy(moved, there, model, to, to.took(await _modseq(target), there))
                model.remove(there, model.took(await _modseq(mailbox), there))


def _copy(copied: Copied, there: list[int], model: _Model, to: _Model, modseq: int) -> None:
    assert copied.source == UidSet.of(*there)
    to.add(copied.target, modseq, [model.rows[uid][:3] for uid in there])
    for source, target in zip(copied.source, copied.target, strict=True):
        to.email_ids[target] = model.email_ids[source]


# -- the columns --


async def _check_columns(index: MessageIndex, mailbox: Mailbox) -> None:
    """The columns say of every message what the mailbox says."""
    snapshot = await mailbox.snapshot()
    assert index.modseq == snapshot.modseq
    assert list(index.uids) == list(snapshot.uids)
    assert index.rows(ALL) == list((await _rows(mailbox)).values())
    assert index.uid_next == snapshot.uid_next
    recent = len(await mailbox.claim_recent(peek=True))
    assert index.status(recent) == await mailbox.status()
