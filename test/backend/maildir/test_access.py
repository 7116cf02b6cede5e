"""Access lists on disk: what is kept in memory of them is never older than the file."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pymap.backend.errors import Corrupt, MailboxNotFound
from pymap.backend.maildir.acl_file import ACL

from .test_properties import serving

LR, I = frozenset("lr"), frozenset("i")  # noqa: E741


@pytest.mark.parametrize("opened", [True, False])
async def test_another_process_is_seen_at_once(tmp_path: Path, opened: bool) -> None:
    async with (
        serving(tmp_path) as here, serving(tmp_path) as there,
        here.account("alice") as one, there.account("alice") as two,
    ):  # fmt: skip
        await one.create("Other")
        held = [await account.open("Other") for account in (one, two)] if opened else []
        for n in range(20):
            rights = LR if n % 2 else I
            assert await one.set_access("Other", {"bob": rights})
            assert await two.access_list("Other") == {"bob": rights}
            assert not await two.set_access("Other", {"bob": LR}, {"bob": None})
            assert await two.set_access("Other", {"bob": None}, {"bob": rights})
            assert await one.access_list("Other") == {}
        del held


async def test_what_an_editor_does_is_seen(tmp_path: Path) -> None:
    async with serving(tmp_path) as backend, backend.account("alice") as account:
        inbox = await account.open("INBOX")
        path = Path(inbox.files.at.path) / ACL
        assert await account.access_list("INBOX") == {}
        path.write_text("user=bob lr\n")
        assert await account.access_list("INBOX") == {"bob": LR}
        with path.open("a") as file:
            file.write("user=jane i\n")
            file.flush()
            assert await account.access_list("INBOX") == {"bob": LR, "jane": I}
        (path.parent / "new one").write_text("anyone i\n")
        (path.parent / "new one").rename(path)
        assert await account.access_list("INBOX") == {"anyone": I}
        path.write_text("anyone lrz\n")
        for _ in range(2):  # what was good before is not remembered
            with pytest.raises(Corrupt):
                await account.access_list("INBOX")
        assert await account.access_lists() == {}
        path.unlink()
        assert await account.access_list("INBOX") == {}


async def test_an_open_mailbox_that_is_renamed_or_deleted(tmp_path: Path) -> None:
    async with (
        serving(tmp_path) as here, serving(tmp_path) as there,
        here.account("alice") as one, there.account("alice") as two,
    ):  # fmt: skip
        held = await one.create("Other")
        assert await one.set_access("Other", {"bob": LR})
        await two.rename("Other", "Moved")
        assert await one.access_list("Moved") == {"bob": LR}
        with pytest.raises(MailboxNotFound):
            await one.set_access("Other", {"bob": LR})
        await two.delete("Moved")
        await two.create("Moved")
        assert await one.access_list("Moved") == {}
        del held


async def test_many_read_while_it_is_changed(tmp_path: Path) -> None:
    """A change that was answered is seen by all who ask then."""
    async with serving(tmp_path) as backend, backend.account("alice") as account:
        await account.open("INBOX")
        done = -1
        letters = "lrswipkxte"

        async def read() -> None:
            while done < len(letters) - 1:
                known = done
                found = (await account.access_list("INBOX")).get("bob", frozenset())
                assert len(found) >= known + 1
                await asyncio.sleep(0)

        async def write() -> None:
            nonlocal done
            for n in range(len(letters)):
                assert await account.set_access("INBOX", {"bob": frozenset(letters[: n + 1])})
                done = n

        await asyncio.gather(write(), *(read() for _ in range(5)))
