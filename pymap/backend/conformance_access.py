"""What the access lists of a store must do, as tests; part of `backend.conformance`. A store that
has no `Properties` and keeps them nowhere else passes over it."""

from __future__ import annotations

import asyncio

import pytest

from pymap.backend.api import Account, Backend
from pymap.backend.errors import CannotDo, MailboxNotFound
from pymap.backend.rights import ALL_RIGHTS, ANYONE, NO_RIGHTS, OWNER, AccessList, Rights

__all__ = ["AccessConformance"]

ENTRIES: AccessList = {
    ANYONE: frozenset("lr"),
    "-anyone": frozenset("w"),
    OWNER: frozenset("lrswia"),
    "-": frozenset("x"),
    "bob": ALL_RIGHTS,
    "-bob": frozenset("e"),
    "nothing": NO_RIGHTS,
    "john smith": frozenset("l"),
    "-john smith": frozenset("l"),
    "jane@example.com": frozenset("lr"),
    "user=x": frozenset("r"),
    "owner": frozenset("r"),
    "authenticated": frozenset("r"),
    "group": frozenset("r"),
    '"quoted"': frozenset("r"),
    'a "b" \\c': frozenset("r"),
    "back\\slash": frozenset("r"),
    "#hash": frozenset("r"),
    ":lookup": frozenset("r"),
    "j\u00fcrgen": frozenset("k"),
    "Bob": frozenset("p"),
    "x" * 300: frozenset("t"),
}


async def _set(account: Account, name: str, entries: AccessList) -> None:
    try:
        assert await account.set_access(name, entries)
    except CannotDo:
        pytest.skip("this store keeps no access lists")


class AccessConformance:
    async def reopen(self, backend: Backend) -> Backend:
        raise NotImplementedError  # `BackendConformance` says what it is

    async def test_an_access_list_is_rights_by_identifier(self, account: Account) -> None:
        assert await account.access_list("INBOX") == {}
        await _set(account, "INBOX", ENTRIES)
        assert await account.access_list("INBOX") == ENTRIES

    async def test_entries_are_set_and_removed_one_by_one(self, account: Account) -> None:
        await _set(account, "INBOX", ENTRIES)
        changes: dict[str, Rights | None] = {"bob": None, "-bob": NO_RIGHTS, "none": None}
        assert await account.set_access("INBOX", changes)
        expected = {key: rights for key, rights in ENTRIES.items() if key != "bob"}
        assert await account.access_list("INBOX") == expected | {"-bob": NO_RIGHTS}
        assert await account.set_access("INBOX", dict.fromkeys(ENTRIES))
        assert await account.access_list("INBOX") == {}

    async def test_entries_change_only_from_what_was_expected(self, account: Account) -> None:
        r, lr = frozenset("r"), frozenset("lr")
        await _set(account, "INBOX", {"bob": r})
        for wrong in ({"bob": None}, {"bob": lr}, {"bob": NO_RIGHTS}, {"bob": r, "jane": r}):
            assert not await account.set_access("INBOX", {"bob": lr, "jim": lr}, wrong)
        assert await account.access_list("INBOX") == {"bob": r}
        assert await account.set_access("INBOX", {"bob": lr}, {"bob": r, "jane": None})
        assert await account.access_list("INBOX") == {"bob": lr}

    async def test_concurrent_changes_of_a_list_lose_nothing(self, account: Account) -> None:
        await _set(account, "INBOX", {"all": NO_RIGHTS})

        async def grant(letter: str) -> None:
            while True:
                before = (await account.access_list("INBOX"))["all"]
                after = before | {letter}
                if await account.set_access("INBOX", {"all": after}, {"all": before}):
                    return
                await asyncio.sleep(0)

        await asyncio.gather(*map(grant, "lrswipkxtea"))
        assert await account.access_list("INBOX") == {"all": ALL_RIGHTS}

    async def test_access_lists_are_apart(self, backend: Backend, account: Account) -> None:
        await account.create("Other")
        await account.create("Other/Inner")
        await account.create("Plain")
        lists: dict[str, AccessList] = {
            "INBOX": {"a": frozenset("l")},
            "Other": {"b": frozenset("l")},
            "Other/Inner": {"c": frozenset("l")},
        }
        for name, entries in lists.items():
            await _set(account, name, entries)
        found = await account.access_lists()
        assert {name: entries for name, entries in found.items() if entries} == lists
        assert set(found) <= {*lists, "Plain"}
        async with backend.account("bob") as bobs:
            assert await bobs.access_list("INBOX") == {}

    async def test_access_lists_go_with_the_mailbox(self, account: Account) -> None:
        await account.create("Other/Inner")
        await account.create("Other")
        entries = {"bob": frozenset("lr")}
        await _set(account, "Other", entries)
        await _set(account, "Other/Inner", entries)
        await account.rename("Other", "New/Name")
        assert await account.access_list("New/Name") == entries
        assert await account.access_list("New/Name/Inner") == entries
        with pytest.raises(MailboxNotFound):
            await account.access_list("Other")
        await account.create("Other")
        assert await account.access_list("Other") == {}

    async def test_access_lists_end_with_the_mailbox(self, account: Account) -> None:
        """RFC 4314 4: DELETE must delete the list."""
        await account.create("Other/Inner")
        await account.create("Other")
        await _set(account, "Other", {"bob": frozenset("lr")})
        await account.delete("Other")
        with pytest.raises(MailboxNotFound):
            await account.access_list("Other")
        with pytest.raises(MailboxNotFound):
            await account.set_access("Other", {"bob": frozenset("lr")})
        await account.create("Other")
        assert await account.access_list("Other") == {}

    async def test_access_lists_outlive_the_process(self, backend: Backend) -> None:
        async with backend.account("alice") as account:
            await _set(account, "INBOX", ENTRIES)
        restarted = await self.reopen(backend)
        try:
            async with restarted.account("alice") as account:
                assert await account.access_list("INBOX") == ENTRIES
        finally:
            await restarted.stop()
