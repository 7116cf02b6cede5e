"""What users share: how it is found, what is opened for it, and what bounds it."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from inspect import iscoroutinefunction

import pytest
from server.client import Client, becomes

from pymap.backend.api import Mailbox, NewMessage, User, digest
from pymap.backend.dict import DictAccount, DictBackend, DictMailbox
from pymap.backend.errors import CannotDo, LimitReached, MailboxNotFound, NoPermission
from pymap.backend.rights import AccessList, from_properties
from pymap.config import ExtensionConfig
from pymap.imap.guarded import Guarded, bare
from pymap.imap.server import Server, serve
from pymap.imap.sharing import STALE_S, SharedAccount
from pymap.limits import Limits
from pymap.wire.types import InternalDate

LR = frozenset("lr")


class CountingBackend(DictBackend):
    """Counts the accounts that are entered and not left."""

    def __init__(self, *users: str, limits: Limits | None = None) -> None:
        super().__init__(dict.fromkeys(users, "secret"), limits)
        self.inside: Counter[str] = Counter()

    @asynccontextmanager
    async def account(self, user: str) -> AsyncIterator[DictAccount]:
        self.inside[user] += 1
        try:
            yield self.account_of(user)
        finally:
            self.inside[user] -= 1


def of(backend: DictBackend, user: str, limits: Limits | None = None) -> SharedAccount:
    return SharedAccount(backend, user, backend.account_of(user), limits or backend.limits)


async def grant(account: SharedAccount, name: str, who: str, rights: str = "lr") -> None:
    await account.change_access(name, who, lambda _: frozenset(rights))


async def hints(backend: DictBackend, who: str) -> set[str]:
    return set(await backend.properties(f"shared/{who}").read())


async def names(account: SharedAccount) -> set[str]:
    return {info.name for info in await account.mailboxes()}


# -- what is opened --


async def test_a_made_up_name_opens_nothing() -> None:
    backend = CountingBackend("alice", "bob")
    bob = of(backend, "bob")
    backend.account_of("alice")
    for name in ("Other Users/alice/INBOX", "Other Users/nobody/INBOX", "Other Users/bob/INBOX"):
        with pytest.raises(MailboxNotFound):
            await bob.open(name)
        with pytest.raises(NoPermission):
            await bob.create(f"{name}/Sub")
    assert await names(bob) == {"INBOX"}
    assert set(backend._accounts) == {"alice", "bob"}
    assert not backend.inside


async def test_accounts_of_others_are_left_with_the_session() -> None:
    backend = CountingBackend("alice", "bob", "carol")
    for owner in ("alice", "carol"):
        await grant(of(backend, owner), "INBOX", "bob")
    async with serve(backend) as server:
        for end in (b"LOGOUT", b"UNAUTHENTICATE", None):
            client = await Client.connect(server.addresses[0])
            await client.ok(b"LOGIN bob secret")
            await client.ok(b'LIST "" *')
            assert backend.inside == Counter(alice=1, bob=1, carol=1)
            if end is not None:
                await client.ok(end)
            if end != b"UNAUTHENTICATE":
                await client.close()
                assert await becomes(lambda: not +backend.inside)
            assert not +backend.inside
            await client.close()


async def test_a_user_that_is_gone_shares_nothing() -> None:
    backend = CountingBackend("alice", "bob")
    await grant(of(backend, "alice"), "INBOX", "bob")
    await backend.users.delete("alice")
    bob = of(backend, "bob")
    assert await names(bob) == {"INBOX"}
    with pytest.raises(MailboxNotFound):
        await bob.open("Other Users/alice/INBOX")


# -- how it is found --


async def test_what_is_stale_is_forgotten_when_it_is_old() -> None:
    backend = CountingBackend("alice", "bob")
    alice, bob = of(backend, "alice"), of(backend, "bob")
    await grant(alice, "INBOX", "bob")
    await alice.change_access("INBOX", "bob", None)
    assert await names(bob) == {"INBOX"}
    assert await hints(backend, "bob") == {"alice"}  # somebody may be about to grant something
    old = {"alice": b"%d" % (time.time() - STALE_S - 1)}
    await backend.properties("shared/bob").write(old)
    assert await names(bob) == {"INBOX"}
    assert await hints(backend, "bob") == set()


async def test_what_is_old_and_still_good_stays() -> None:
    backend = CountingBackend("alice", "bob")
    await grant(of(backend, "alice"), "INBOX", "bob", "i")
    await backend.properties("shared/bob").write({"alice": b"1"})
    await names(of(backend, "bob"))
    assert await hints(backend, "bob") == {"alice"}
    await of(backend, "bob").open("Other Users/alice/INBOX")


async def test_a_grant_to_nobody_is_found_by_who_comes_later() -> None:
    backend = CountingBackend("alice")
    alice = of(backend, "alice")
    await grant(alice, "INBOX", "bob")
    await grant(alice, "INBOX", "ghost")
    assert await hints(backend, "bob") == set()
    await backend.users.put(User("bob", "secret"))
    assert await names(of(backend, "bob")) == {"INBOX"}
    await alice.access_list("INBOX")
    assert await names(of(backend, "bob")) == {"INBOX", "Other Users/alice/INBOX"}
    assert await hints(backend, "ghost") == set()


async def test_what_is_shared_with_anyone_is_not_ones_own_twice() -> None:
    backend = CountingBackend("alice", "bob")
    await grant(of(backend, "alice"), "INBOX", "anyone")
    assert await names(of(backend, "alice")) == {"INBOX"}
    assert await names(of(backend, "bob")) == {"INBOX", "Other Users/alice/INBOX"}


@pytest.mark.parametrize("owner", ["a/b", "a=b", "=2F", "a=2Fb", "a.b", "jane@example.com", "%*"])
async def test_any_name_of_an_owner_is_one_level(owner: str) -> None:
    backend = CountingBackend(owner, "bob")
    await grant(of(backend, owner), "INBOX", "bob")
    bob = of(backend, "bob")
    (shared,) = await names(bob) - {"INBOX"}
    assert shared.count("/") == 2
    assert (await bob.place(shared)).owner == owner
    await bob.open(shared)


@pytest.mark.parametrize(
    ("owner", "name", "alias"),
    [
        ("a=b", "Team", "a=b/Team"),
        ("alice", "INBOX/Team", "alice/inbox/Team"),
    ],
)
async def test_another_spelling_is_no_other_mailbox(owner: str, name: str, alias: str) -> None:
    """It must not be renamed to be below itself."""
    backend = CountingBackend(owner, "bob")
    own = of(backend, owner)
    await own.create(name)
    await grant(own, name, "bob", "lrkx")
    bob = of(backend, "bob")
    (shared,) = {shared.removeprefix("Other Users/") for shared in await names(bob) - {"INBOX"}}
    assert (await bob.place(f"Other Users/{alias}")).listed == f"Other Users/{shared}"
    for old, new in ((alias, shared), (shared, alias)):
        with pytest.raises(CannotDo):
            await bob.rename(f"Other Users/{old}", f"Other Users/{new}/Sub")
    assert await names(own) == {"INBOX", name}


async def test_own_mailboxes_of_that_name_are_not_lost() -> None:
    backend = CountingBackend("alice", "bob")
    own = backend.account_of("bob")
    own.add("Other Users")
    own.add("Other Users/mine")
    bob = of(backend, "bob")
    assert not isinstance(await bob.open("Other Users/mine"), Guarded)
    await bob.rename("Other Users/mine", "mine")
    with pytest.raises(NoPermission):
        await bob.rename("mine", "Other Users/alice")
    await grant(of(backend, "alice"), "INBOX", "bob")
    assert await names(bob) == {"INBOX", "Other Users", "mine", "Other Users/alice/INBOX"}


# -- rights --


async def test_columns_are_shared_and_rights_are_not() -> None:
    """Who comes first must not leave his rights to the next."""
    backend = CountingBackend("alice", "bob")
    await grant(of(backend, "alice"), "INBOX", "bob")
    async with serve(backend) as server, AsyncExitStack() as stack:

        async def enter(user: bytes, mailbox: bytes) -> Client:
            client = await Client.connect(server.addresses[0])
            stack.push_async_callback(client.close)
            await client.ok(b"LOGIN %b secret" % user)
            await client.ok(b'SELECT "%b"' % mailbox)
            return client

        bob = await enter(b"bob", b"Other Users/alice/INBOX")
        alice = await enter(b"alice", b"INBOX")
        await alice.ok(b"APPEND INBOX {3+}\r\n", b"\r\nx")
        await alice.ok(b"STORE 1 +FLAGS (\\Flagged)")
        assert (await bob.command(b"NOOP")).untagged
        assert (await bob.command(b"STORE 1 -FLAGS (\\Flagged)")).condition == b"NO"
        await alice.ok(b"STORE 1 +FLAGS (\\Deleted)")
        assert (await bob.command(b"EXPUNGE")).condition == b"NO"
        await alice.ok(b"EXPUNGE")
        assert len(server.open_mailboxes._open) == 1


class Swapped(DictAccount):
    """Whose mailboxes Open and Closed change names while somebody opens one of them."""

    async def open(self, name: str) -> DictMailbox:
        boxes = self._mailboxes
        if name == "Open":
            boxes["Open"], boxes["Closed"] = boxes["Closed"], boxes["Open"]
        return await super().open(name)

    async def access_list(self, name: str) -> AccessList:
        return from_properties(await self._mailboxes[name].properties.read())


async def test_rights_are_those_of_the_mailbox_that_is_opened() -> None:
    backend = CountingBackend("alice", "bob")
    backend._accounts["alice"] = own = Swapped(backend.limits)
    own.add("Open")
    own.add("Closed")
    await own._mailboxes["Open"].properties.write({"acl/bob": b"lr"})
    await backend.properties("shared/bob").write({"alice": b"1"})
    with pytest.raises(MailboxNotFound):
        await of(backend, "bob").open("Other Users/alice/Open")


async def test_what_is_not_granted_is_as_if_it_were_not_there() -> None:
    """No command has another answer, whether a mailbox is hidden or there is none."""
    there, not_there = [await said_of_secret(exists) for exists in (True, False)]
    assert there == not_there
    assert len(there) > 80


NUMBERS = re.compile(rb"UIDVALIDITY \d+|MAILBOXID \(\w+\)|\d{9,}")


async def said_of_secret(exists: bool) -> list[bytes]:
    """All that bob is told, without what is another each time."""
    backend = CountingBackend("alice", "bob")
    alice = of(backend, "alice")
    await grant(alice, "INBOX", "bob", "lrswite")
    await alice.create("Team")
    await grant(alice, "Team", "bob", "lrswitekx")
    if exists:
        mailbox = await alice.create("Secret")
        await grant(alice, "Secret", "bob", "stewp")
        now = InternalDate(int(time.time()))
        await mailbox.append([NewMessage(b"Subject: x\r\n\r\nx", frozenset(), now, digest(b"x"))])
    answers = []
    async with serve(backend, extensions=ExtensionConfig(quota_messages=100)) as server:
        bob = await Client.connect(server.addresses[0])
        await bob.ok(b"LOGIN bob secret")
        await bob.ok(b"APPEND INBOX {1+}\r\nx")
        for command in ABOUT_SECRET:
            answer = await bob.command(command)
            answers += [NUMBERS.sub(b"", line) for line in (*answer.untagged, answer.tagged)]
        await bob.close()
    return answers


_SECRET = b'"Other Users/alice/Secret"'
_URL = b"imap://bob@localhost/Other%20Users/alice/Secret/;UID=1;URLAUTH=anonymous"
ABOUT_SECRET = [
    b"SELECT " + _SECRET,
    b"EXAMINE " + _SECRET,
    b"STATUS " + _SECRET + b" (MESSAGES)",
    b"MYRIGHTS " + _SECRET,
    b"GETACL " + _SECRET,
    b"SETACL " + _SECRET + b" bob lr",
    b"DELETEACL " + _SECRET + b" bob",
    b"LISTRIGHTS " + _SECRET + b" bob",
    b"GETQUOTAROOT " + _SECRET,
    b"GETMETADATA " + _SECRET + b" /shared/comment",
    b"SETMETADATA " + _SECRET + b' (/private/comment "x")',
    b"DELETE " + _SECRET,
    b"RENAME " + _SECRET + b' "Other Users/alice/Team/New"',
    b"RENAME " + _SECRET + b" mine",
    b"RENAME INBOX " + _SECRET,
    b'RENAME "Other Users/alice/Team" ' + _SECRET,
    b"CREATE " + _SECRET,
    b'CREATE "Other Users/alice/Secret/Sub"',
    b"CREATE " + _SECRET + b" (USE (\\Junk))",
    b"APPEND " + _SECRET + b" {1+}\r\nx",
    b'APPEND INBOX CATENATE (URL "/Other%20Users/alice/Secret/;UID=1")',
    b'GENURLAUTH "' + _URL + b'" INTERNAL',
    b'URLFETCH "' + _URL + b":INTERNAL:01" + 64 * b"0" + b'"',
    b"RESETKEY " + _SECRET + b" INTERNAL",
    b"RESETKEY",
    b'LIST "" *',
    b'LIST "" ' + _SECRET,
    b'LIST "" * RETURN (MYRIGHTS CHILDREN STATUS (MESSAGES) METADATA (/shared/comment))',
    b"SUBSCRIBE " + _SECRET,
    b'LIST (SUBSCRIBED RECURSIVEMATCH) "" * RETURN (MYRIGHTS STATUS (MESSAGES))',
    b'LSUB "" *',
    b"ESEARCH IN (mailboxes " + _SECRET + b") ALL",
    b'ESEARCH IN (subtree "Other Users" subscribed) ALL',
    b"NOTIFY SET STATUS (mailboxes " + _SECRET + b" (MessageNew MessageExpunge FlagChange))",
    b'NOTIFY SET STATUS (subtree "Other Users" (MessageNew MessageExpunge MailboxName))',
    b"UNSUBSCRIBE " + _SECRET,
    b"NOTIFY NONE",
    b"SELECT INBOX",
    b"COPY 1 " + _SECRET,
    b"UID COPY 77 " + _SECRET,
    b"UID MOVE 77 " + _SECRET,
    b"MOVE 1 " + _SECRET,
    b"REPLACE 1 " + _SECRET + b" {1+}\r\nx",
    b"GETQUOTA alice",
    b"GETQUOTA bob",
]  # fmt: skip


def test_no_method_of_a_mailbox_goes_past_the_guard() -> None:
    methods = {name for name, value in vars(Mailbox).items() if iscoroutinefunction(value)}
    assert methods > {"content", "append", "store", "expunge", "search"}
    assert methods <= vars(Guarded).keys()


async def test_own_mailboxes_are_not_guarded() -> None:
    backend = CountingBackend("alice", "bob")
    alice = of(backend, "alice")
    assert await alice.open("INBOX") is await backend.account_of("alice").open("INBOX")
    await grant(alice, "INBOX", "bob")
    assert not isinstance(await alice.open("INBOX"), Guarded)
    shared = await of(backend, "bob").open("Other Users/alice/INBOX")
    assert isinstance(shared, Guarded)
    assert bare(shared) is await backend.account_of("alice").open("INBOX")


async def test_concurrent_changes_of_an_access_list_lose_nothing() -> None:
    backend = CountingBackend("alice", "bob")
    alice = of(backend, "alice")
    letters = "lrswipkxte"
    await asyncio.gather(
        *(alice.change_access("INBOX", "bob", lambda r, x=x: r | {x}) for x in letters)
    )
    assert (await alice.access_list("INBOX"))["bob"] == frozenset(letters)


async def test_the_owner_is_an_identifier_among_others() -> None:
    backend = CountingBackend("alice", "bob")
    alice = of(backend, "alice")
    await grant(alice, "INBOX", "alice", "r")
    await grant(alice, "INBOX", "-alice", "lra")
    assert await alice.access_list("INBOX") == {"alice": frozenset("lra"), "-alice": frozenset("r")}
    assert await alice.rights("INBOX") == frozenset("la")
    assert await backend.account_of("alice").access_list("INBOX") == {
        "": frozenset("lra"), "-": frozenset("r"),
    }  # fmt: skip
    await alice.change_access("INBOX", "alice", None)
    await alice.change_access("INBOX", "-alice", None)
    assert await backend.account_of("alice").access_list("INBOX") == {}


# -- bounds --


async def test_there_are_only_so_many_identifiers() -> None:
    limits = Limits(acl_identifiers=3)
    backend = CountingBackend("alice")
    alice = of(backend, "alice", limits)
    for n in range(3):
        await grant(alice, "INBOX", f"user{n}")
    with pytest.raises(LimitReached):
        await grant(alice, "INBOX", "user3")
    await grant(alice, "INBOX", "user2", "l")
    await alice.change_access("INBOX", "user0", None)
    await grant(alice, "INBOX", "user3")


async def test_only_so_many_share_with_one() -> None:
    limits = Limits(acl_owners=2)
    backend = CountingBackend("alice", "bob", "carol", "dave")
    for owner in ("alice", "bob"):
        await grant(of(backend, owner, limits), "INBOX", "dave")
    carol = of(backend, "carol", limits)
    with pytest.raises(LimitReached):
        await grant(carol, "INBOX", "dave")
    assert "dave" not in await carol.access_list("INBOX")
    await grant(of(backend, "alice", limits), "INBOX", "dave", "lrs")


async def test_a_move_out_of_what_is_shared_no_longer_is_no_move_within_an_account() -> None:
    """It is selected still, though nobody knows any more that it was shared."""
    backend = CountingBackend("alice", "bob")
    await grant(of(backend, "alice"), "INBOX", "bob", "lrite")
    async with serve(backend, extensions=ExtensionConfig(quota_messages=1)) as server:
        bob, alice = [await Client.connect(server.addresses[0]) for _ in range(2)]
        for client, name in ((bob, b"bob"), (alice, b"alice")):
            await client.ok(b"LOGIN %b secret" % name)
            await client.ok(b"APPEND INBOX {1+}\r\nx")
        await bob.ok(b'SELECT "Other Users/alice/INBOX"')
        await alice.ok(b"DELETEACL INBOX bob")
        await backend.properties("shared/bob").write({"alice": None})
        assert b"[OVERQUOTA]" in (await bob.command(b"MOVE 1 INBOX")).tagged
        replaced = await bob.command(b"REPLACE 1 INBOX {1+}\r\ny")
        assert b"[OVERQUOTA]" in replaced.tagged
        await bob.close()
        await alice.close()


@pytest.mark.parametrize(("owners", "mailboxes"), [(1, 2000), (40, 50)])
async def test_looking_for_what_is_shared_lets_others_run(owners: int, mailboxes: int) -> None:
    """Also over a store that answers at once."""
    backend = CountingBackend("bob", limits=Limits(mailboxes=20_000))
    for n in range(owners):
        owner = f"owner{n}"
        await backend.users.put(User(owner, "secret"))
        await grant(of(backend, owner), "INBOX", "bob")
        for m in range(mailboxes):
            backend.account_of(owner).add(f"f{m}")
    done, turns = asyncio.create_task(names(of(backend, "bob"))), 0
    while not done.done():
        turns += 1
        await asyncio.sleep(0)
    assert len(await done) == 1 + owners
    assert turns >= owners * mailboxes / 1000


async def test_a_listing_of_many_lets_others_run() -> None:
    """10,000 mailboxes that are shared, while somebody else says NOOP."""
    backend = CountingBackend("alice", "bob", limits=Limits(mailboxes=20_000))
    own = backend.account_of("alice")
    for n in range(10_000):
        own.add(f"f{n}")
        await own.set_access(f"f{n}", {"bob": LR})
    await grant(of(backend, "alice"), "INBOX", "bob")
    server: Server
    async with serve(backend) as server:
        bob, alice = [await Client.connect(server.addresses[0]) for _ in range(2)]
        await bob.ok(b"LOGIN bob secret")
        await alice.ok(b"LOGIN alice secret")
        bob.send(b'x LIST "" * RETURN (MYRIGHTS)\r\n')
        began = time.perf_counter()
        await alice.ok(b"NOOP")
        print("NOOP beside a large LIST took", time.perf_counter() - began)
        answers = 0
        while not (line := await bob.response()).startswith(b"x "):
            answers += line.startswith(b"* MYRIGHTS")
        assert answers == 10_002
        print("LIST of 10,000 shared mailboxes took", time.perf_counter() - began)
        await bob.close()
        await alice.close()
