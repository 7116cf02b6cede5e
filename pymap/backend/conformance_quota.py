"""What `Account.usage` must say, for `conformance`."""

from __future__ import annotations

from pymap.backend.api import Account, Backend, Mailbox, NewMessage, Quota, digest
from pymap.wire.types import DELETED, FlagOp, InternalDate, UidSet

__all__ = ["QuotaConformance"]

ALL = UidSet(((1, 0xFFFFFFFF),))
QUOTAS = (Quota(), Quota(10**9, 10**6, 10**4), Quota(octets=10**9), Quota(messages=10))


def _messages(*sizes: int) -> list[NewMessage]:
    contents = [b"x" * size for size in sizes]
    date = InternalDate(1_000_000_000)
    return [NewMessage(content, frozenset(), date, digest(content)) for content in contents]


class QuotaConformance:
    """`usage` counts octets as the store takes them; these messages are of lines without an end,
    which are the same everywhere."""

    async def test_mailboxes_are_counted_without_levels(self, account: Account) -> None:
        assert await account.count_mailboxes() == 1
        for count, name in enumerate(("a/b/c", "a", "d", "ä/ö"), 2):
            await account.create(name)
            infos = await account.mailboxes()
            assert await account.count_mailboxes() == count
            assert count == sum(info.id is not None for info in infos)
        await account.rename("a", "e")
        await account.delete("d")
        assert await account.count_mailboxes() == 4

    async def test_usage_of_an_empty_account(self, account: Account) -> None:
        for quota in QUOTAS:
            assert await account.usage(quota) == (0, 0)

    async def test_usage_follows_what_comes_and_goes(
        self, account: Account, inbox: Mailbox, other: Mailbox
    ) -> None:
        quota = Quota(10**9, 10**6)
        assert await account.usage(quota) == (0, 0)
        uids = await inbox.append(_messages(100, 20, 3))
        assert await account.usage(quota) == (123, 3)
        await inbox.store(uids, FlagOp.ADD, frozenset((DELETED,)))
        assert await account.usage(quota) == (123, 3)
        await inbox.copy(UidSet.of(uids.highest), other)
        assert await account.usage(quota) == (126, 4)
        await inbox.copy(UidSet.of(uids.highest), inbox)
        assert await account.usage(quota) == (129, 5)
        await inbox.move(UidSet.of(uids.lowest), other)
        assert await account.usage(quota) == (129, 5)
        await inbox.move(ALL, inbox)
        assert await account.usage(quota) == (129, 5)
        await other.expunge(ALL, DELETED)
        assert await account.usage(quota) == (26, 3)
        await inbox.expunge(ALL)
        assert await account.usage(quota) == (0, 0)

    async def test_usage_without_the_mailbox_that_was_deleted(
        self, account: Account, inbox: Mailbox, other: Mailbox
    ) -> None:
        await other.append(_messages(100, 20))
        await inbox.append(_messages(3))
        quota = Quota(octets=10**9)
        assert await account.usage(quota) == (123, 3)
        await account.rename("Other", "Another")
        assert await account.usage(quota) == (123, 3)
        await account.delete("Another")
        assert await account.usage(quota) == (3, 1)

    async def test_usage_under_changing_quotas_and_asked_again(
        self, account: Account, inbox: Mailbox
    ) -> None:
        for n, quota in enumerate((*QUOTAS, *QUOTAS)):
            assert await account.usage(quota) == (5 * n, n)
            await inbox.append(_messages(5))
            assert await account.usage(quota, again=True) == (5 * n + 5, n + 1)

    async def test_usage_is_that_of_one_account(self, backend: Backend, account: Account) -> None:
        async with backend.account("bob") as other:
            theirs, mine = await other.open("INBOX"), await account.open("INBOX")
            quota = Quota(messages=10)
            assert await account.usage(quota) == await other.usage(quota) == (0, 0)
            await mine.append(_messages(7, 8))
            await mine.copy(ALL, theirs)
            assert await account.usage(quota) == await other.usage(quota) == (15, 2)
            moved = await mine.move(ALL, theirs)
            assert len(moved.target) == 2
            assert await account.usage(quota) == (0, 0)
            assert await other.usage(quota) == (30, 4)

    async def test_usage_when_it_was_asked_for_late(self, account: Account, inbox: Mailbox) -> None:
        await inbox.append(_messages(7, 8, 9))
        await inbox.expunge(UidSet.of(2))
        assert await account.usage(Quota(octets=10**9)) == (16, 2)
