"""The view against a model: a client that believes what it is told and nothing else."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pymap.backend.dict import DictMailbox
from pymap.backend.index import NewRow
from pymap.backend.opened import OpenMailbox
from pymap.imap.columns import pick
from pymap.imap.view import MailboxView
from pymap.wire.types import (
    DELETED,
    FLAGGED,
    SEEN,
    Flag,
    FlagOp,
    InternalDate,
    SequenceSet,
    UidSet,
)

FLAGS = (SEEN, FLAGGED, DELETED, Flag("$Label"))
flag_sets = st.frozensets(st.sampled_from(FLAGS))


class Client:
    """What one client knows: UIDs by position, flags by UID. It fetches what is new to it."""

    def __init__(self, opened: OpenMailbox) -> None:
        self.view = MailboxView(opened, readonly=False)
        self.uids: list[int] = list(opened.index.uids)
        self.flags: dict[int, frozenset[Flag]] = {}
        self._fetch(0, len(self.uids))

    def _fetch(self, start: int, stop: int) -> None:
        index = self.view.index
        batch = self.view.batch(start, stop)
        numbers = pick(index.flagsets, batch.rows)
        for position, uid, number in zip(batch.positions, batch.uids, numbers, strict=True):
            assert self.uids[position] == uid
            self.flags[uid] = index.flags.sets[number]

    def hear(self, may_expunge: bool) -> None:
        news = self.view.news(may_expunge)
        if news is None:
            return
        if not may_expunge:
            assert not news.expunged
        told = UidSet.of(*(self.uids[number - 1] for number in news.expunged))
        assert told == news.vanished
        for number in news.expunged:
            self.flags.pop(self.uids.pop(number - 1), None)
        if news.exists is not None:
            assert news.exists > len(self.uids), "EXISTS only grows; EXPUNGE is what shrinks"
            before = len(self.uids)
            self.uids += self.view.uids[before : news.exists]
            self._fetch(before, news.exists)
        for start, stop in news.changed:
            self._fetch(start, stop)


class Views(RuleBasedStateMachine):
    """Three clients of one mailbox; changes come from them and from nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.mailbox = DictMailbox(1)
        self.index = self.mailbox.index
        self.opened = OpenMailbox(self.mailbox)
        self.append(5)
        self.clients = [Client(self.opened) for _ in range(3)]

    @rule(count=st.integers(1, 4))
    def append(self, count: int) -> None:
        row = NewRow(frozenset(), 1, InternalDate(0), None, "M1")
        self.index.append([row] * count)

    @rule(data=st.data())
    def expunge(self, data: st.DataObject) -> None:
        known = list(self.index.uids)
        self.index.expunge(
            UidSet.of(*data.draw(st.lists(st.sampled_from(known or [99]), max_size=3)))
        )

    @rule(
        uids=st.lists(st.integers(1, 30), max_size=5), op=st.sampled_from(FlagOp), flags=flag_sets
    )
    def change_flags(self, uids: list[int], op: FlagOp, flags: frozenset[Flag]) -> None:
        self.index.store(UidSet.of(*uids), op, flags, None)

    @rule(who=st.integers(0, 2), op=st.sampled_from(FlagOp), flags=flag_sets, data=st.data())
    def store(self, who: int, op: FlagOp, flags: frozenset[Flag], data: st.DataObject) -> None:
        """As `imap/store.py` does it: silently, but for what others did."""
        client = self.clients[who]
        view = client.view
        if not client.uids:
            return
        number = data.draw(st.integers(1, len(client.uids)))
        slices = view.resolve(SequenceSet(((number, number),)), by_uid=False)
        foreign, known = view.untold(), self.index.modseq
        done = self.index.store(view.uid_set(slices), op, flags, None)
        uid = client.uids[number - 1]
        if uid in client.flags:
            client.flags[uid] = op.apply(client.flags[uid], flags)
        if view.stored(done, known):
            for start, stop in foreign.slices(view.uids, view.exists):
                client._fetch(start, stop)

    @rule(who=st.integers(0, 2), may_expunge=st.booleans())
    def hear(self, who: int, may_expunge: bool) -> None:
        self.clients[who].hear(may_expunge)

    @invariant()
    def numbers_mean_what_the_client_thinks(self) -> None:
        for client in getattr(self, "clients", ()):
            assert list(client.view.uids[: client.view.exists]) == client.uids

    @rule(who=st.integers(0, 2))
    def noop(self, who: int) -> None:
        """After a command that may tell everything, a client knows everything."""
        client = self.clients[who]
        client.hear(may_expunge=True)
        index = self.index
        assert client.uids == list(index.uids)
        assert client.view.news(may_expunge=True) is None
        truth = {u: index.flags.sets[n] for u, n in zip(index.uids, index.flagsets, strict=True)}
        assert client.flags == truth

    @precondition(lambda self: len(self.index.uids) > 20)
    @rule()
    def clear(self) -> None:
        self.index.expunge(UidSet(((1, self.index.uid_next),)))


Views.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestViews = Views.TestCase


def test_a_view_in_step_shares_the_uids_of_its_mailbox() -> None:
    mailbox = DictMailbox(1)
    row = NewRow(frozenset(), 1, InternalDate(0), None, "M1")
    mailbox.index.append([row] * 1000)
    opened = OpenMailbox(mailbox)
    views = [MailboxView(opened, readonly=False) for _ in range(10)]
    mailbox.index.expunge(UidSet.of(7))
    assert all(view.uids is views[0].uids for view in views), "those behind share the old array"
    for view in views:
        view.news(may_expunge=True)
        assert view.uids is mailbox.index.uids
