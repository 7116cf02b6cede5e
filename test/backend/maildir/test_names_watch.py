"""Names that others change: another process of ours, and programs that know nothing of us."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from pymap.backend.api import Listing
from pymap.backend.maildir import watch
from pymap.backend.maildir.account import MaildirAccount

from .test_mishaps import Servers, account

PATIENCE_S = 10.0


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[Servers]:
    async with AsyncExitStack() as stack:
        yield Servers(stack, tmp_path)


async def until(ours: MaildirAccount, known: Listing, wanted: Callable[[Listing], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not wanted(known):
            await ours.wait(known)
            known = await ours.listing()


def names(listing: Listing) -> set[str]:
    return {info.name for info in listing.mailboxes}


@pytest.mark.parametrize("inotify", [True, False], ids=["inotify", "looking"])
@pytest.mark.parametrize("layout", ["++", "fs"])
async def test_another_process_wakes(
    servers: Servers, layout: str, inotify: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not inotify:
        monkeypatch.setattr(watch, "INotify", None)
    ours, theirs = await servers.login(layout), await servers.login(layout)
    known = await ours.listing()

    async def told(wanted: Callable[[Listing], bool]) -> None:
        nonlocal known
        await until(ours, known, wanted)
        known = await ours.listing()

    for change, wanted in (
        (lambda: theirs.create("A/B/C"), lambda it: "A/B/C" in names(it)),
        (lambda: theirs.create("A/B"), lambda it: "A/B" in names(it)),
        (lambda: theirs.rename("A", "Z"), lambda it: names(it) == {"INBOX", "Z/B", "Z/B/C"}),
        (lambda: theirs.delete("Z/B/C"), lambda it: names(it) == {"INBOX", "Z/B"}),
        (lambda: theirs.create("Z/B/C/D"), lambda it: "Z/B/C/D" in names(it)),
        (lambda: theirs.subscribe("Z/B"), lambda it: it.subscriptions == {"Z/B"}),
        (lambda: theirs.unsubscribe("Z/B"), lambda it: not it.subscriptions),
    ):
        waiting = asyncio.create_task(told(wanted))
        await asyncio.sleep(0.01)
        await change()
        await waiting


@pytest.mark.parametrize("layout", ["++", "fs"])
async def test_a_folder_that_is_made_step_by_step(servers: Servers, layout: str) -> None:
    """As maildirmake does, whose first step alone makes no mailbox."""
    ours = await account(await servers.start(layout))
    known = await ours.listing()
    waiting = asyncio.create_task(until(ours, known, lambda it: "New" in names(it)))
    await asyncio.sleep(0.05)
    made = ours.root / (".New" if layout == "++" else "New")
    os.mkdir(made)
    await asyncio.sleep(0.2)  # it is looked at, and is nothing yet
    for sub in ("tmp", "new", "cur"):
        os.mkdir(made / sub)
    await waiting


async def test_mail_that_comes_is_no_news_of_names(servers: Servers) -> None:
    ours = await account(await servers.start())
    waiting = asyncio.create_task(ours.wait(await ours.listing()))
    for n in range(20):
        (ours.root / "tmp" / f"m{n}").write_bytes(b"Subject: x\r\n\r\n")
        os.rename(ours.root / "tmp" / f"m{n}", ours.root / "new" / f"m{n}")
        await ours.open("INBOX")
    await asyncio.sleep(0.1)
    assert not waiting.done()
    waiting.cancel()


async def test_no_listing_is_taken_in_the_middle_of_a_rename(servers: Servers) -> None:
    ours, theirs = await servers.login(), await servers.login()
    for n in range(50):
        await theirs.create(f"A/{n}")
    renaming = asyncio.create_task(theirs.rename("A", "B"))
    seen = set()
    while not renaming.done():
        tops = {name[0] for name in names(await ours.listing()) if name != "INBOX"}
        seen.add(len(tops))
    await renaming
    assert seen <= {1}
