"""Readiness: whether the mail can be reached."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pymap.backend import maildir as module
from pymap.backend.errors import Unavailable
from pymap.backend.maildir import MaildirBackend
from pymap.backend.maildir.users import UsersFile
from pymap.backend.maildir.workers import READING


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[MaildirBackend]:
    (tmp_path / "users").write_text("alice::secret\n")
    (tmp_path / "mail").mkdir()
    backend = MaildirBackend(UsersFile(tmp_path / "users", tmp_path / "mail"))
    await backend.start()
    yield backend
    await backend.stop()


async def test_a_base_directory_that_is_gone_is_told_by_name(
    backend: MaildirBackend, tmp_path: Path
) -> None:
    await backend.ping()
    (tmp_path / "mail").rmdir()
    with pytest.raises(Unavailable, match=f"{tmp_path}/mail: No such file or directory"):
        await backend.ping()
    (tmp_path / "mail").touch()
    with pytest.raises(Unavailable, match="Not a directory"):
        await backend.ping()
    (tmp_path / "mail").unlink()
    (tmp_path / "mail").mkdir()
    await backend.ping()


async def test_a_disk_that_does_not_answer_is_asked_once(
    backend: MaildirBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PING_S", 0.01)
    assert backend._store is not None
    workers = backend._store.workers
    answer = threading.Event()
    stuck = [asyncio.ensure_future(workers.read(answer.wait)) for _ in range(READING)]
    await asyncio.sleep(0)  # they have their threads
    tasks = set()
    for _ in range(3):
        with pytest.raises(Unavailable, match="no answer"):
            await backend.ping()
        tasks.add(backend._pinging)
    assert len(tasks) == 1
    answer.set()
    await asyncio.gather(*stuck)
    await asyncio.wait([task for task in tasks if task is not None])
    monkeypatch.setattr(module, "PING_S", 5)
    await backend.ping()
