"""The maildir store does what every store must do: told of changes, and looking for them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pymap.backend.api import Backend
from pymap.backend.conformance import BackendConformance
from pymap.backend.maildir import MaildirBackend, watch
from pymap.backend.maildir.users import UsersFile


class TestMaildir(BackendConformance):
    layout = "++"

    def make(self, directory: Path) -> MaildirBackend:
        return MaildirBackend(UsersFile(directory / "users"), self.layout)

    @pytest.fixture
    async def backend(self, tmp_path: Path) -> AsyncIterator[Backend]:
        (tmp_path / "users").write_text("alice::secret\nbob:mail/bob:secret\n")
        backend = self.make(tmp_path)
        await backend.start()
        yield backend
        await backend.stop()

    async def reopen(self, backend: Backend) -> Backend:
        assert isinstance(backend, MaildirBackend)
        await backend.stop()
        again = self.make(backend.users.path.parent)
        await again.start()
        return again


class TestFsLayout(TestMaildir):
    layout = "fs"


class TestWithoutInotify(TestMaildir):
    @pytest.fixture(autouse=True)
    def no_inotify(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(watch, "INotify", None)
