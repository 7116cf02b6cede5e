"""SEARCH and UID SEARCH: a tree of keys, evaluated over the columns of the mailbox.

Rule 1: a key narrows an ascending list of candidates. AND narrows step by step, the cheap keys
        first; so a header is read only for messages that passed the flags, a body only for
        those that passed the headers.
Rule 2: what columns the keys need is copied before anything is awaited: the index may change
        while messages are read, the answer is that of one moment.
Rule 3: after some work, other clients get their turn.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from enum import IntEnum
from itertools import compress
from typing import Any, NamedTuple, TypeVar

from pymap import mime
from pymap.backend.api import DELIMITER, Digest
from pymap.backend.index import NO_SAVE_DATE
from pymap.imap import fuzzy, gmail
from pymap.imap.columns import pick
from pymap.imap.contexts import (
    Ascending,
    Context,
    Rank,
    check_update,
    follow,
    lasting,
    updates,
)
from pymap.imap.filters import with_filters
from pymap.imap.guarded import need
from pymap.imap.message_limit import check_count, done_within
from pymap.imap.progress import Progress
from pymap.imap.results import ALL, Found, esearch_items, save, saving
from pymap.imap.session import THREAD, Done, Session, uid_required
from pymap.imap.text import header_contains, in_header_block
from pymap.imap.view import Batch, MailboxView
from pymap.mime.casemap import casemap
from pymap.wire import responses as r
from pymap.wire import search as k
from pymap.wire.commands import Search
from pymap.wire.errors import BadCommand
from pymap.wire.search import Returns, SearchReturn
from pymap.wire.types import MAX_NUMBER, UidSet

__all__ = ["Candidates", "Evaluation", "matching_again", "search"]

_Value = TypeVar("_Value")
Candidates = Sequence[int]
"""Ascending indexes into the snapshot."""

WORK = 100_000  # tests of one candidate by one key, until others get their turn
READ_BATCH = 64  # messages read at a time
SUMMARIES = 1000  # of which a store is asked what SORT and THREAD compare
READ_OCTETS = 1024 * 1024  # of these messages together


_KEPT = frozenset((SearchReturn.SAVE, SearchReturn.UPDATE))
"""What outlives its command, and is therefore kept by UID."""


class Cost(IntEnum):
    COLUMN = 0
    HEADER = 1
    BODY = 2


class Test(NamedTuple):
    """A key, ready to be run."""

    cost: Cost
    narrow: Callable[[Candidates], Awaitable[Candidates]]


async def search(session: Session, command: Search) -> Done:
    """RFC 9051 6.4.4, RFC 4731, RFC 5182, RFC 7162 3.1.5, RFC 5267 4, RFC 9394 3.1, RFC 6203"""
    view = session.selected()
    if command.names_charset and "UTF8=ACCEPT" in session.enabled:
        raise BadCommand("CHARSET after ENABLE UTF8=ACCEPT")  # RFC 6855 3
    returns = command.returns
    check_update(session, command.tag, returns)
    with saving(view, returns):
        command = await with_filters(session, command)
        await view.opened.sync()
        if command.uses_modseq:
            session.enable("CONDSTORE")
        evaluation = Evaluation(session, view)
        marks = view.index.modseq, view.uid_next
        key = lasting(command.key, view) if updates(returns) else command.key
        at = await evaluation.run(key, command.uses_modseq)
    found = evaluation.found(at, command.by_uid, returns)
    save(view, found, returns)
    if returns is None and not session.rev2:
        highest = max(found.modseqs, default=None) if found.modseqs else None
        session.send(r.SearchResponse(found.numbers, highest))
        return done_within(session, Done("SEARCH completed"), evaluation.lowest)
    returns = returns or ALL
    if returns.options != {SearchReturn.SAVE}:  # else nothing was asked to be told: RFC 5182 2.1
        items = esearch_items(found, returns)
        session.send(r.ESearch(command.tag, command.by_uid, items))
    if updates(returns):
        results, matching = Ascending(found.uids), matching_again(session, view, key)
        context = Context(command.tag, command.by_uid, results, matching, *marks, returns.fetch)
        follow(session, view, context)
    return done_within(session, Done("SEARCH completed"), evaluation.lowest)


def matching_again(
    session: Session, view: MailboxView, key: k.SearchKey
) -> Callable[[UidSet], Awaitable[list[Rank]]]:
    """What tells a context which of some messages match now."""

    async def matching(uids: UidSet) -> list[Rank]:
        evaluation = Evaluation(session, view, uids)
        found = await evaluation.run(key, with_modseqs=False)
        return [(uid,) for uid in evaluation.numbers(found, by_uid=True)]

    return matching


class Evaluation:
    """One SEARCH over one snapshot of the mailbox, or of some of its messages."""

    def __init__(self, session: Session, view: MailboxView, uids: UidSet | None = None) -> None:
        self.session = session
        self.view = view
        self.batch: Batch = view.batch(0, view.exists) if uids is None else view.batch_of(uids)
        self.now = int(time.time())
        self.work = 0
        self.progress = session.progress if uids is None else Progress()
        self.modseqs: Sequence[int] = ()
        self.limit = session.extensions.message_limit if uids is None else None
        self.lowest: int | None = None
        """The lowest UID that was looked at, if there was a limit to that.   RFC 9738 3.1"""
        self._copies: dict[int, Sequence[Any]] = {}  # of columns, by their ids
        self.likeness: dict[int, list[float]] = {}
        """Of the keys that were matched fuzzily, by candidate."""

    async def run(self, key: k.SearchKey, with_modseqs: bool, whole: bool = False) -> Candidates:
        """The matching messages. `modseqs` is there afterwards if it was asked for. Only the newest
        are looked at where there are too many; if the answer has to be `whole`, Refused."""
        if with_modseqs:
            self.modseqs = self.column(self.view.index.modseqs)
        candidates = self._candidates(key, whole)
        return await self.compile(key).narrow(candidates)

    def _candidates(self, key: k.SearchKey, whole: bool) -> Candidates:
        uids = self.batch.uids
        limit = self.limit
        if limit is None or len(uids) <= limit:
            return range(len(uids))
        # What the client itself has narrowed down to does not count.
        asked = UidSet(((1, MAX_NUMBER),))
        for each in key.keys if isinstance(key, k.And) else (key,):
            if isinstance(each, k.Numbers):
                asked &= self.view.searched(each.numbers, each.by_uid)
        found = [at for start, stop in asked.slices(uids) for at in range(start, stop)]
        if whole:
            check_count(self.session, len(found))
        if len(found) > limit:
            found = found[-limit:]
            self.lowest = uids[found[0]]
        return found

    def numbers(self, found: Candidates, by_uid: bool) -> list[int]:
        """What the client calls these messages."""
        batch = self.batch
        if by_uid:
            return [batch.uids[at] for at in found]
        if isinstance(batch.positions, range):
            return [at + 1 for at in found]
        return [batch.positions[at] + 1 for at in found]

    def found(self, found: Candidates, by_uid: bool, returns: Returns | None) -> Found:
        """The same, with what RETURN may ask of them."""
        options = frozenset[SearchReturn]() if returns is None else returns.options
        scored = SearchReturn.RELEVANCY in options
        numbers = self.numbers(found, by_uid)
        if not by_uid and not options.isdisjoint(_KEPT):
            uids = self.numbers(found, by_uid=True)
        else:
            uids = numbers if by_uid else []
        return Found(
            numbers,
            uids,
            [self.modseqs[at] for at in found] if self.modseqs else None,
            self.relevance(found) if scored else None,
        )

    def relevance(self, found: Candidates) -> list[int]:
        """How well each message matched the fuzzy keys, 1 to 100.   RFC 6203 4"""
        return [fuzzy.score(self.likeness.get(at, ())) for at in found]

    def summaries(self) -> Callable[[Candidates], Awaitable[list[bytes]]]:
        """What SORT and THREAD compare, packed (`mime.summary`); made before anything is awaited,
        and called with what was found."""
        email_ids = self.column(self.view.index.email_ids)
        self.progress.expect(len(self.batch.uids))

        async def read(found: Candidates) -> list[bytes]:
            need(self.view.mailbox, "r")  # also for what is kept by now.   RFC 4314 4
            made: list[bytes] = []
            for start in range(0, len(found), SUMMARIES):
                some = found[start : start + SUMMARIES]
                uids = [self.batch.uids[at] for at in some]
                made += await self.view.opened.summaries(uids, [email_ids[at] for at in some])
                await self.pace(4 * len(some))
                self.progress.done += len(some)
            return made

        return read

    def column(self, column: Sequence[_Value]) -> Sequence[_Value]:
        """A copy of what a column says of the messages of the snapshot, one for all keys. Called
        by `compile`, that is, before anything is awaited."""
        copy = self._copies.get(id(column))
        if copy is None:
            copy = self._copies[id(column)] = pick(column, self.batch.rows)
        return copy

    async def pace(self, work: int) -> None:
        self.work += work
        if self.work > WORK:
            self.work = 0
            await self.session.peer.breathe()

    # -- keys become tests --

    def compile(self, key: k.SearchKey, alike: bool = False) -> Test:
        """`alike` is inside FUZZY, where texts are matched so; all else is as it is outside, which
        RFC 6203 5 leaves to us."""
        match key:
            case k.And(keys):
                return self._all([self.compile(each, alike) for each in dict.fromkeys(keys)])
            case k.Or(left, right):
                return self._any(self.compile(left, alike), self.compile(right, alike))
            case k.Fuzzy(inner):
                return self.compile(inner, alike=True)
            case k.Not(k.HasFlag(flag)):
                missing = [not having for having in self.view.index.flags.having(flag)]
                return self._by_flags(missing)
            case k.Not(inner):
                return self._none(self.compile(inner, alike))
            case k.All(saved_dates=False):
                return self._column(lambda candidates: candidates)
            case k.HasFlag(flag):
                return self._by_flags(self.view.index.flags.having(flag))
            case k.Recent():
                return self._by_uid(self.view.recent)
            case k.Numbers(numbers, by_uid):
                if self.view.uid_only and not by_uid and not numbers.saved:
                    raise uid_required()
                return self._by_uid(self.view.searched(numbers, by_uid))
            case k.Header(name, text) if alike and text:
                return self._by_header(None, fuzzy.header(name, text))
            case k.Header(name, text):
                needle = casemap(text)
                return self._by_header(key, lambda header: header_contains(header, name, needle))
            case k.Gmail(inner):
                self.session.require("X-GM-EXT-1")
                return self.compile(inner)
            case k.GmailThreadId(number):
                return self._by_digest(lambda made: gmail.thread_id(made) == number)
            case k.Attachment():
                return self._by_digest(lambda made: gmail.has_attachment(made.bodystructure))
            case k.InMailbox(name, flag):
                mailbox = self.session.mailbox_name
                if name.lower() in (mailbox.lower(), mailbox.rpartition(DELIMITER)[2].lower()):
                    return self._column(lambda candidates: candidates)
                return self.compile(k.HasFlag(flag))
            case k.Date(k.DateKey.SENT, compare, day):
                return self._by_header(key, lambda header: _sent(header, compare, day))
            case k.InBody(text) | k.Text(text) if alike and text:
                return self._by_text(None, fuzzy.text(text, isinstance(key, k.Text)))
            case k.InBody(text) | k.Text(text):
                return self._by_text(key, _holding(casemap(text), isinstance(key, k.Text)))
            case _:
                return self._by_value(key)

    def _by_value(self, key: k.SearchKey) -> Test:
        """Keys that compare one column with a constant."""
        index = self.view.index
        match key:
            case k.Size(size, larger):
                sizes = self.column(index.sizes)
                if larger:
                    return self._where(lambda at: sizes[at] > size)
                return self._where(lambda at: sizes[at] < size)
            case k.Date(k.DateKey.INTERNAL, compare, day):
                dates, zones = self.column(index.dates), self.column(index.zones)
                days = _days(compare, day)
                return self._where(lambda at: (dates[at] + zones[at] * 60) // 86400 in days)
            case k.Date(k.DateKey.SAVED, compare, day):
                saved, days = self.column(index.saved), _days(compare, day)
                dates, zones = self.column(index.dates), self.column(index.zones)

                def day_of(at: int) -> int:
                    # Where there are no save dates it "MUST use the internal date".   RFC 8514 4.3
                    if saved[at] == NO_SAVE_DATE:
                        return (dates[at] + zones[at] * 60) // 86400
                    return saved[at] // 86400

                return self._where(lambda at: day_of(at) in days)
            case k.All(saved_dates=True):
                saved = self.column(index.saved)
                return self._where(lambda at: saved[at] != NO_SAVE_DATE)
            case k.Within(seconds, older):
                dates, mark = self.column(index.dates), self.now - seconds
                if older:
                    return self._where(lambda at: dates[at] <= mark)
                return self._where(lambda at: dates[at] >= mark)
            case k.ModSeq(modseq):
                modseqs = self.column(index.modseqs)
                return self._where(lambda at: modseqs[at] >= modseq)
            case k.EmailId(id_):
                ids = self.column(index.email_ids)
                return self._where(lambda at: ids[at] == id_)
            case k.GmailMessageId(number):
                return self._by_gmail_id(number)
            case k.ThreadId():
                return self._column(lambda candidates: ())
        raise AssertionError(key)

    # -- the ways to narrow --

    def _column(self, narrow: Callable[[Candidates], Candidates]) -> Test:
        async def run(candidates: Candidates) -> Candidates:
            await self.pace(len(candidates))
            return narrow(candidates)

        return Test(Cost.COLUMN, run)

    def _where(self, passes: Callable[[int], bool]) -> Test:
        return self._column(lambda candidates: list(filter(passes, candidates)))

    def _by_flags(self, table: list[bool]) -> Test:
        flagsets = self.column(self.view.index.flagsets)

        def narrow(candidates: Candidates) -> Candidates:
            numbers = pick(flagsets, candidates)
            return list(compress(candidates, map(table.__getitem__, numbers)))

        return self._column(narrow)

    def _by_uid(self, uids: UidSet) -> Test:
        async def run(candidates: Candidates) -> Candidates:
            await self.pace(len(candidates) + 4 * len(uids.ranges))
            return self._within(uids, candidates)

        return Test(Cost.COLUMN, run)

    def _within(self, uids: UidSet, candidates: Candidates) -> Candidates:
        slices = uids.slices(self.batch.uids)
        if isinstance(candidates, range):
            return [at for start, stop in slices for at in range(start, stop)]
        chosen = {at for start, stop in slices for at in range(start, stop)}
        return [at for at in candidates if at in chosen]

    def _all(self, tests: list[Test]) -> Test:
        tests.sort(key=lambda test: test.cost)

        async def run(candidates: Candidates) -> Candidates:
            for test in tests:
                if not candidates:
                    break
                candidates = await test.narrow(candidates)
            return candidates

        return Test(tests[-1].cost, run)

    def _any(self, left: Test, right: Test) -> Test:
        first, second = sorted((left, right), key=lambda test: test.cost)

        async def run(candidates: Candidates) -> Candidates:
            found = await first.narrow(candidates)
            rest = _without(candidates, found)
            return sorted([*found, *await second.narrow(rest)])

        return Test(second.cost, run)

    def _none(self, test: Test) -> Test:
        async def run(candidates: Candidates) -> Candidates:
            return _without(candidates, await test.narrow(candidates))

        return Test(test.cost, run)

    def _by_header(self, key: k.SearchKey | None, passes: Callable[[bytes], float]) -> Test:
        """`key` is what the store may answer; None: the key is fuzzy, and `passes` tells how well
        the header matches."""
        groups = self._groups()
        self.progress.expect(len(self.batch.uids))

        async def run(candidates: Candidates) -> Candidates:
            found, candidates = await self._narrowed(key, candidates)
            for some in groups(candidates):
                headers = await self.view.mailbox.headers([self.batch.uids[at] for at in some])
                for at, header in zip(some, headers, strict=True):
                    if header is None:
                        continue
                    if len(header) < THREAD:
                        hit = passes(header)
                    else:
                        hit = await asyncio.to_thread(passes, header)
                    if hit:
                        found.append(at)
                        if key is None:
                            self.likeness.setdefault(at, []).append(hit)
                    work = 16 + len(header) // 64
                    await self.pace(4 * work if key is None else work)
                self.progress.done += len(some)
            return found

        return Test(Cost.HEADER, run)

    def _by_text(self, key: k.SearchKey | None, passes: Callable[[bytes, Digest], float]) -> Test:
        """The same, of whole messages."""
        groups = self._groups()
        self.progress.expect(len(self.batch.uids))

        async def run(candidates: Candidates) -> Candidates:
            mailbox = self.view.mailbox
            found, candidates = await self._narrowed(key, candidates)
            for some in groups(candidates):
                uids = [self.batch.uids[at] for at in some]
                digests, contents = await mailbox.digests(uids), await mailbox.contents(uids)
                for at, made, content in zip(some, digests, contents, strict=True):
                    if made is None or content is None:
                        continue
                    if len(content) < THREAD:
                        hit = passes(content, made)
                    else:
                        hit = await asyncio.to_thread(passes, content, made)
                    if hit:
                        found.append(at)
                        if key is None:
                            self.likeness.setdefault(at, []).append(hit)
                    # Whatever is fuzzy is taken apart into words.
                    await self.pace(128 + len(content) // (1 if key is None else 32))
                self.progress.done += len(some)
            return found

        return Test(Cost.BODY, run)

    def _by_gmail_id(self, number: int) -> Test:
        ids = self.column(self.view.index.email_ids)

        async def run(candidates: Candidates) -> Candidates:
            found: list[int] = []
            for start in range(0, len(candidates), 1000):  # 2 ms: each is hashed
                some = candidates[start : start + 1000]
                found += [at for at in some if gmail.message_id(ids[at]) == number]
                await self.pace(20 * len(some))
            return found

        return Test(Cost.COLUMN, run)

    def _by_digest(self, passes: Callable[[Digest], bool]) -> Test:
        groups = self._groups()

        async def run(candidates: Candidates) -> Candidates:
            found: list[int] = []
            for some in groups(candidates):
                made = await self.view.mailbox.digests([self.batch.uids[at] for at in some])
                for at, digest in zip(some, made, strict=True):
                    if digest is not None and passes(digest):
                        found.append(at)
                await self.pace(64 * len(some))
            return found

        return Test(Cost.HEADER, run)

    async def _narrowed(
        self, key: k.SearchKey | None, candidates: Candidates
    ) -> tuple[list[int], Candidates]:
        """What the store knows by itself of a key: messages that match, and those that have to be
        looked at."""
        uids = self.batch.uids
        known = None
        if key is not None:
            asked = UidSet.from_sorted([uids[at] for at in candidates])
            known = await self.view.mailbox.search(key, asked)
        found: list[int] = []
        if known is not None:
            left = self._within(known.uids, candidates)
            found, candidates = ([*left], ()) if known.exact else ([], left)
        self.progress.done += len(uids) - len(candidates)
        return found, candidates

    def _groups(self) -> Callable[[Candidates], Iterator[Candidates]]:
        """Cuts candidates into those that are read together: READ_BATCH of them, and of large
        messages fewer, so that little is held in memory."""
        sizes = self.column(self.view.index.sizes)

        def groups(candidates: Candidates) -> Iterator[Candidates]:
            group: list[int] = []
            octets = 0
            for at in candidates:
                if group and (len(group) == READ_BATCH or octets + sizes[at] > READ_OCTETS):
                    yield group
                    group, octets = [], 0
                group.append(at)
                octets += sizes[at]
            if group:
                yield group

        return groups


def _without(candidates: Candidates, found: Iterable[int]) -> Candidates:
    gone = set(found)
    return [at for at in candidates if at not in gone] if gone else candidates


def _days(compare: k.Compare, day: int) -> range:
    """The days that BEFORE, ON or SINCE a day covers; the calendar ends in year 9999."""
    match compare:
        case k.Compare.BEFORE:
            return range(-(10**6), day)
        case k.Compare.ON:
            return range(day, day + 1)
        case k.Compare.SINCE:
            return range(day, 4 * 10**6)


def _sent(header: bytes, compare: k.Compare, day: int) -> bool:
    """The Date field, "disregarding time and timezone". A message without one has not been sent
    on any day.   RFC 9051 6.4.4"""
    values = mime.fields(header, "Date")
    date = mime.sent_date(values[0]) if values else None
    return date is not None and date.toordinal() - _EPOCH in _days(compare, day)


_EPOCH = 719163  # date(1970, 1, 1).toordinal()


def _holding(needle: str, headers_too: bool) -> Callable[[bytes, Digest], bool]:
    """Whether the body contains `needle`; with headers, also the header of the message or of a
    part ("including MIME header fields").   RFC 9051 6.4.4"""

    def passes(content: bytes, made: Digest) -> bool:
        if not needle:
            return True
        if headers_too:
            headers = mime.part_headers(content, made.parts)
            if any(in_header_block(header, needle) for header in headers):
                return True
        return any(needle in casemap(text) for text in mime.search_texts(content, made.parts))

    return passes
