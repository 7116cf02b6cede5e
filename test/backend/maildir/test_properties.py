"""Properties on disk: shared by processes, never lost silently, never out of their directory.

Several backends in one process stand for several processes: they share nothing but files."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pymap.backend.api import Properties
from pymap.backend.conformance_properties import VALUES
from pymap.backend.errors import Corrupt, MailboxGone, OverQuota
from pymap.backend.maildir import MaildirBackend
from pymap.backend.maildir.properties import PropertiesFile, file_name
from pymap.backend.maildir.users import UsersFile

from .conftest import SmallDisk

FILES = ["alice/.Other/pymap-properties", "alice/pymap-account-properties",
         "pymap-store-properties/properties-server"]  # fmt: skip


@asynccontextmanager
async def serving(directory: Path, layout: str = "++") -> AsyncIterator[MaildirBackend]:
    if not (directory / "users").exists():
        (directory / "users").write_text("alice::secret\n")
    backend = MaildirBackend(UsersFile(directory / "users"), layout)
    await backend.start()
    try:
        yield backend
    finally:
        await backend.stop()


async def all_three(backend: MaildirBackend) -> list[Properties]:
    """Of the mailbox Other, the account, and the store."""
    async with backend.account("alice") as account:
        if "Other" not in {info.name for info in await account.mailboxes()}:
            await account.create("Other")
        mailbox = await account.open("Other")
        return [mailbox.properties, account.properties, backend.properties("server")]


async def test_other_processes_see_and_change_them_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as here, serving(tmp_path) as there:
        for one, two in zip(await all_three(here), await all_three(there), strict=True):
            for n in range(20):
                assert await one.write({"n": b"%02d" % n})
                assert await two.read() == {"n": b"%02d" % n}
                assert not await two.write({"n": b"no"}, {"n": None})
                assert await two.write({"n": b"%02d!" % n}, {"n": b"%02d" % n})
                assert await one.read() == {"n": b"%02d!" % n}


async def test_processes_that_count_lose_nothing(tmp_path: Path) -> None:
    async def count(properties: Properties) -> None:
        for _ in range(10):
            while True:
                known = (await properties.read()).get("n", b"0")
                before = None if known == b"0" else known
                if await properties.write({"n": b"%d" % (int(known) + 1)}, {"n": before}):
                    break

    async with serving(tmp_path) as one, serving(tmp_path) as two, serving(tmp_path) as three:
        found = [await all_three(backend) for backend in (one, two, three)]
        await asyncio.gather(*(count(properties) for three in found for properties in three))
        for properties in found[0]:
            assert await properties.read() == {"n": b"30"}


async def test_they_are_where_the_guide_says(tmp_path: Path) -> None:
    async with serving(tmp_path) as backend:
        for properties in await all_three(backend):
            await properties.write({"x": b"1"})
        found = _files(tmp_path)
    assert set(FILES) <= found
    assert not [path for path in found if path.endswith((".new", "mailboxes.lock"))]


def _files(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"version": 2, "properties": {}}',
    b'{"version": 1}', b'{"version": 1, "properties": {"a": 1}}',
    b'{"version": 1, "properties": {"a": {"base64": "?"}}}', b"\xff", b"[" * 100_000])  # fmt: skip
async def test_what_is_damaged_is_refused_and_stays(
    tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path) as backend:
        for properties, file in zip(await all_three(backend), FILES, strict=True):
            await properties.write({"x": b"1"})
            path = tmp_path / file
            good = path.read_bytes()
            path.write_bytes(damage)
            caplog.clear()
            with pytest.raises(Corrupt):
                await properties.read()
            with pytest.raises(Corrupt):
                await properties.write({"y": b"2"})
            assert path.read_bytes() == damage
            assert str(path) in caplog.text
            path.write_bytes(good)
            assert await properties.read() == {"x": b"1"}


async def test_a_link_is_not_followed(tmp_path: Path) -> None:
    async with serving(tmp_path) as backend:
        secret = tmp_path / "secret"
        secret.write_bytes(b'{"version": 1, "properties": {"a": "b"}}')
        for properties, file in zip(await all_three(backend), FILES, strict=True):
            await properties.write({"x": b"1"})
            (tmp_path / file).unlink()
            (tmp_path / file).symlink_to(secret)
            with pytest.raises(Corrupt):
                await properties.read()


@pytest.mark.parametrize("layout", ["++", "fs"])
async def test_a_mailbox_that_another_process_made_again_is_another(
    tmp_path: Path, layout: str
) -> None:
    async with serving(tmp_path, layout) as here, serving(tmp_path, layout) as there:
        (held, _, _), _ = await all_three(here), await all_three(there)
        await held.write({"x": b"1"})
        async with there.account("alice") as account:
            await account.delete("Other")
            made = await account.create("Other")
            await made.properties.write({"x": b"2"})
            with pytest.raises(MailboxGone):
                await held.read()
            with pytest.raises(MailboxGone):
                await held.write({"x": b"3"})
            assert await made.properties.read() == {"x": b"2"}


async def test_what_a_level_was_as_a_mailbox_does_not_come_back(tmp_path: Path) -> None:
    """A crash of another program may leave our file in a directory that is no mailbox."""
    async with serving(tmp_path, "fs") as backend, backend.account("alice") as account:
        level = tmp_path / "alice/Level"
        await account.create("Level/Inner")
        PropertiesFile(level / "pymap-properties").write({"x": b"1"}, None)
        assert await (await account.create("Level")).properties.read() == {}


async def test_opening_a_mailbox_leaves_what_others_write_in_the_root(tmp_path: Path) -> None:
    """INBOX is in the root: what is left of its own unfinished files is removed, what somebody is
    writing for the account is not."""
    async with serving(tmp_path) as backend:
        await all_three(backend)
    root = tmp_path / "alice"
    names = ["pymap-account-properties.new", "pymap-special-use.new", "pymap-subscriptions.new"]
    for name in (*names, "pymap-properties.new"):
        (root / name).write_text("half")
    async with serving(tmp_path) as backend, backend.account("alice") as account:
        await account.open("INBOX")
        assert all((root / name).exists() for name in names)
        assert not (root / "pymap-properties.new").exists()


async def test_an_inbox_without_directories_does_not_lose_the_account(tmp_path: Path) -> None:
    async with serving(tmp_path) as backend:
        for properties in await all_three(backend):
            await properties.write({"x": b"1"})
        async with backend.account("alice") as account:
            await (await account.open("INBOX")).properties.write({"x": b"1"})
    for name in ("cur", "new", "tmp"):
        shutil.rmtree(tmp_path / "alice" / name)
    async with serving(tmp_path) as backend, backend.account("alice") as account:
        assert await (await account.open("INBOX")).properties.read() == {}
        assert await account.properties.read() == {"x": b"1"}


async def test_a_full_disk_changes_nothing(small_disk: SmallDisk) -> None:
    async with serving(small_disk.path) as backend:
        for properties in await all_three(backend):
            await properties.write({"x": b"1"})
            small_disk.fill()
            with pytest.raises(OverQuota):
                await properties.write({"x": b"2" * 20_000})
            assert await properties.read() == {"x": b"1"}
            small_disk.free()
            assert await properties.write({"x": b"3"})


async def test_what_has_not_changed_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    file = PropertiesFile(path)
    file.write(VALUES, None)
    os.utime(path, (1, 1))
    first = file.read()
    assert first == VALUES
    assert file.read() is first


def test_every_scope_has_a_file_of_its_own() -> None:
    scopes = ["", ".", "..", "/", "a/b", "a%2Fb", "a b", "A b", "\x00", "\ud800", "x" * 200, "x" * 201,
              "\u00e9" * 100, "\u00e9" * 101, file_name("x" * 201)[len("properties-"):]]  # fmt: skip
    names = [file_name(scope) for scope in scopes]
    assert len(set(names)) == len(names)
    for name in names:
        assert name.startswith("properties-")
        assert "/" not in name
        assert len(name.encode()) <= 220
        assert name.isascii()


def test_the_file_is_text_for_people(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "file"
    assert PropertiesFile(path).write({"b": "\u00e9".encode(), "a": b"\xff"}, None)
    assert path.read_text("utf-8") == (
        '{\n "version": 1,\n "properties": {\n  "a": {\n   "base64": "/w=="\n  },\n  "b": "\u00e9"\n }\n}\n'
    )
    assert not caplog.records
