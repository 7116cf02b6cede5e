"""Results that are kept current come out as a new search finds them.   RFC 5267 4.3"""

from __future__ import annotations

import asyncio
from bisect import insort
from collections.abc import Awaitable, Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymap.imap.contexts import FEW, Ascending, Places, Sorted
from pymap.imap.server import Server
from pymap.imap.session import Session
from pymap.limits import Limits
from pymap.wire.types import UidSet

StartServer = Callable[..., Awaitable[Server]]


def carry_out(results: list[int], removed: Places, added: Places) -> None:
    """What a client does with REMOVEFROM and ADDTO.   RFC 5267 4.3.3, 4.3.4"""
    for position, uids in removed:
        for uid in uids:
            if position:
                assert results.pop(position - 1) == uid
            else:
                results.remove(uid)
    for position, uids in added:
        for at, uid in enumerate(uids):
            if position:
                results.insert(position - 1 + at, uid)
            else:
                insort(results, uid)


some = st.sets(st.integers(1, 400), max_size=3 * FEW)


@given(st.lists(st.tuples(some, some), max_size=6), st.integers(0, 3))
def test_results_follow(steps: list[tuple[set[int], set[int]]], spread: int) -> None:
    """`spread` makes many messages equal in what they are sorted by."""
    ascending, in_order = Ascending(()), Sorted(())
    mine: list[int] = []
    sorted_mine: list[int] = []
    truth: set[int] = set()

    def rank(uid: int) -> tuple[int, int]:
        return (uid * 7919 % (1 + 10**spread), uid)

    for leave, come in steps:
        gone, new = UidSet.of(*leave & truth), sorted(come - truth)
        truth = truth - leave | come - truth
        assert ascending.among(UidSet.of(*leave)) == in_order.among(UidSet.of(*leave)) == gone
        new = [uid for uid in new if uid not in gone]
        truth -= set(gone) & come
        both: tuple[Places, Places] = ([], [])
        ordered: tuple[Places, Places] = ([], [])
        if gone:
            both, ordered = (ascending.remove(gone), []), (in_order.remove(gone), [])
        if new:
            both = both[0], ascending.add([(uid,) for uid in new])
            ordered = ordered[0], in_order.add([rank(uid) for uid in new])
        carry_out(mine, *both)
        carry_out(sorted_mine, *ordered)
        assert mine == sorted(truth) == list(ascending.uids)
        assert sorted_mine == sorted(truth, key=rank)


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer, self.tag = reader, writer, 0

    async def ask(self, command: bytes) -> list[bytes]:
        self.tag += 1
        tag = b"t%d" % self.tag
        self.writer.write(tag + b" " + command + b"\r\n")
        lines: list[bytes] = []
        async with asyncio.timeout(10):
            while not lines or not lines[-1].startswith(tag + b" "):
                lines.append((await self.reader.readline()).rstrip())
                assert lines[-1]
        return lines


async def connect(server: Server) -> Client:
    client = Client(*await asyncio.open_connection(*server.addresses[0]))
    await client.ask(b"LOGIN demouser demopass")
    await client.ask(b"SELECT INBOX")
    return client


def numbers(text: bytes) -> list[int]:
    """A sequence set in its order."""
    found: list[int] = []
    for part in text.split(b","):
        first, _, last = part.partition(b":")
        found += range(int(first), int(last or first) + 1)
    return found


class Follower:
    """A client that knows the results of one search, by what it is told."""

    def __init__(self, client: Client, search: bytes) -> None:
        self.client, self.search = client, search
        self.by_uid = search.startswith(b"UID")
        self.tag, self.results = b"", list[int]()

    def hear(self, lines: list[bytes]) -> None:
        for line in lines:
            if line.endswith(b" EXPUNGE") and not self.by_uid:
                number = int(line.split()[1])
                assert number not in self.results  # REMOVEFROM came before
                self.results = [n - (n > number) for n in self.results]
            if line.startswith(b'* ESEARCH (TAG "%b")' % self.tag):
                self.update(line)

    def update(self, line: bytes) -> None:
        for word, rest in (part.split(b" (", 1) for part in line[:-1].split(b") ")[1:]):
            words = rest.rstrip(b")").split(b" ")
            places = [
                (int(at), numbers(uids)) for at, uids in zip(words[::2], words[1::2], strict=True)
            ]
            if word.split(b" ")[-1] == b"REMOVEFROM":
                carry_out(self.results, places, [])
            else:
                carry_out(self.results, [], places)

    async def now(self) -> list[int]:
        lines = await self.client.ask(self.search.replace(b"UPDATE ALL", b"ALL"))
        (line,) = [line for line in lines if line.startswith(b"* ESEARCH")]
        return numbers(line.partition(b" ALL ")[2]) if b" ALL " in line else []


SEARCHES = [
    b"UID SEARCH RETURN (UPDATE ALL) FLAGGED",
    b"SEARCH RETURN (UPDATE ALL) OR FLAGGED SUBJECT b",
    b"UID SORT RETURN (UPDATE ALL) (SUBJECT REVERSE ARRIVAL) UTF-8 UNSEEN",
    b"SORT RETURN (UPDATE ALL) (REVERSE SUBJECT) UTF-8 FLAGGED",
]


@pytest.mark.parametrize("store", ["dict", "remote"])
@pytest.mark.parametrize("seed", range(4))
async def test_what_is_told_is_what_a_new_search_finds(
    imap_server: StartServer, store: str, seed: int
) -> None:
    random = Random(seed)
    server = await imap_server(store=store)
    writer, reader = await connect(server), await connect(server)
    followers = [Follower(reader, search) for search in SEARCHES]
    for follower in followers:
        await reader.ask(follower.search)
        follower.tag = b"t%d" % reader.tag
    exists = 0
    for _ in range(40):
        for _ in range(random.randrange(1, 5)):
            if not exists or random.random() < 0.4:
                content = b"Subject: %b\r\n\r\n" % random.choice((b"a", b"b", b"c"))
                flags = random.choice((b"", b"\\Flagged", b"\\Seen \\Flagged"))
                await writer.ask(b"APPEND INBOX (%b) {%d+}\r\n%b" % (flags, len(content), content))
                exists += 1
            elif random.random() < 0.7:
                flag = random.choice(
                    (b"+FLAGS (\\Seen)", b"-FLAGS (\\Flagged)", b"FLAGS (\\Flagged)")
                )
                await writer.ask(b"STORE %d %b" % (random.randrange(1, exists + 1), flag))
            else:
                await writer.ask(b"STORE %d +FLAGS (\\Deleted)" % random.randrange(1, exists + 1))
                lines = await writer.ask(b"EXPUNGE")
                exists -= sum(line.endswith(b" EXPUNGE") for line in lines)
        asked = random.choice((b"NOOP", b"FETCH 1:* UID", b"STORE 1 +FLAGS.SILENT (\\Flagged)"))
        lines = await reader.ask(asked) + await reader.ask(b"NOOP")
        for follower in followers:
            follower.hear(lines)
            assert follower.results == await follower.now()
    for client in (writer, reader):
        client.writer.close()


async def test_contexts_limit(imap_server: StartServer) -> None:
    server = await imap_server(limits=Limits(contexts=1))
    client = await connect(server)
    assert len(await client.ask(b"SEARCH RETURN (UPDATE) ALL")) == 2
    first = b"t%d" % client.tag
    refused = await client.ask(b"SEARCH RETURN (UPDATE COUNT) ALL")
    tag = b"t%d" % client.tag
    # The other options are honoured all the same.   RFC 5267 4.3.1
    assert refused[0] == b'* ESEARCH (TAG "%b") COUNT 0' % tag
    assert refused[1].startswith(b'* NO [NOUPDATE "%b"]' % tag)
    assert refused[2].startswith(tag + b" OK")
    await client.ask(b'CANCELUPDATE "%b"' % first)
    assert len(await client.ask(b"SEARCH RETURN (UPDATE) ALL")) == 2
    client.writer.close()


async def test_context_results_limit(imap_server: StartServer) -> None:
    server = await imap_server(limits=Limits(context_results=3))
    client = await connect(server)
    for _ in range(2):
        await client.ask(b"APPEND INBOX {4+}\r\n\r\n\r\n")
    sort = b"SORT RETURN (UPDATE) (SIZE) UTF-8 ALL"
    assert len(await client.ask(sort)) == 2
    refused = await client.ask(sort)
    assert refused[1].startswith(b"* NO [NOUPDATE ")
    # A search holds next to nothing.
    assert len(await client.ask(b"SEARCH RETURN (UPDATE) ALL")) == 2
    client.writer.close()


async def test_what_goes_while_others_have_their_turn_is_told_before_it_is_expunged(
    imap_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rule 2 of `imap/contexts.py`, over a pause in the middle of what is told."""
    server = await imap_server()
    client = await connect(server)
    for _ in range(6):
        await client.ask(b"APPEND INBOX {4+}\r\n\r\n\r\n")
    followers = [Follower(client, b"SEARCH RETURN (UPDATE ALL) ALL") for _ in range(3)]
    for follower in followers:
        follower.results = await follower.now()
        await client.ask(follower.search)
        follower.tag = b"t%d" % client.tag
    (session,) = [each.session for each in server.clients]
    inbox = session.selected().mailbox
    doomed = [UidSet.of(2), UidSet.of(5), UidSet.of(1), UidSet.of(6)]
    pause_after = Session.pause_after

    async def others_expunge(self: Session, ranges: int) -> None:
        if doomed:
            await inbox.expunge(doomed.pop(0))
        await pause_after(self, 10**6)

    await inbox.expunge(doomed.pop(0))
    monkeypatch.setattr(Session, "pause_after", others_expunge)
    lines = await client.ask(b"NOOP")
    assert b"* 1 EXPUNGE" in lines
    for follower in followers:
        follower.hear(lines)
        assert follower.results == [1, 2] == await follower.now()
    client.writer.close()
