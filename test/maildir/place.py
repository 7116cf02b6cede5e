"""A tree of mail that servers are started on: its owner, its users, its folders and files.

As root both servers run as `nobody`, so that what one makes the other may read and so that modes
of files mean something; otherwise everything belongs to who runs the tests.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import pytest
from server.process import Process

from pymap.wire import modutf7

from .dovecot import PASSWORD, Dovecot

ROOT = os.getuid() == 0
OWNER = pwd.getpwnam("nobody") if ROOT else pwd.getpwuid(os.getuid())
USER = "demouser"
Server = Process | Dovecot

# What Python loads only when it is needed, which is after pymap has become somebody else.
_PRELOAD = """
import concurrent.futures.thread, encodings, importlib, pkgutil
for module in pkgutil.iter_modules(encodings.__path__):
    if module.name not in ("mbcs", "oem"):
        importlib.import_module("encodings." + module.name)
"""

# What must stand in no log of pymap.
_BUG = re.compile(r"Traceback \(most recent call last\)|Task exception|never awaited")

# Random choices of a test are repeated with PYMAP_TEST_SEED, which it prints.
SEED = int(os.environ.get("PYMAP_TEST_SEED", "0")) or time.time_ns() % 1_000_000


class Place:
    def __init__(self, layout: str = "++", users: tuple[str, ...] = (USER,)) -> None:
        # Not pytest's tmp_path: nobody else may enter that.
        self.base = Path(tempfile.mkdtemp(prefix="pymap-maildir-"))
        self.base.chmod(0o755)
        self.layout = layout
        self.mail = self.base / "mail"
        self.mail.mkdir()
        self.own(self.mail)
        self.users = self.base / "users"
        self.users.write_text("".join(f"{user}:mail/{user}/Maildir:{PASSWORD}\n" for user in users))
        self.started: list[Server] = []
        self.outputs: list[str] = []
        "What they have logged, once it is all over."

    # -- servers --

    async def pymap(self, *options: str, ready: bool = True) -> Process:
        """Start it; `options` stand before the backend's name."""
        if os.environ.get("PYMAP_TEST_PEER") == "dovecot":
            return await self.dovecot()  # type: ignore[return-value]  # a second opinion
        if ROOT:
            group = str(OWNER.pw_gid)
            options = ("--set-uid", OWNER.pw_name, "--set-gid", group, *options)
        options = ("--limit", "connections_per_user=2000", *options)
        log = self.base / f"pymap{len(self.started)}.log"
        backend = ("maildir", str(self.users), "--layout", self.layout)
        with self._python_for_owner():
            process = Process([*options, *backend], log)
        self.started.append(process)
        if ready:
            await process.ready()
        return process

    @contextmanager
    def _python_for_owner(self) -> Iterator[None]:
        """Root's own Python may lie where the owner cannot read it: then all is loaded before."""
        places = [Path(sys.base_prefix), *Path(sys.base_prefix).parents]
        if not ROOT or all(path.stat().st_mode & 0o001 for path in places):
            yield
            return
        preload = self.base / "preload"
        preload.mkdir(exist_ok=True)
        (preload / "sitecustomize.py").write_text(_PRELOAD)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", str(preload), prepend=os.pathsep)
            yield

    @contextmanager
    def limited(self, command: str) -> Iterator[None]:
        """A pymap that is started meanwhile runs under this `ulimit`."""
        script = self.base / "limited"
        script.write_text(f'#!/bin/sh\n{command} && exec {sys.executable} "$@"\n')
        script.chmod(0o755)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "executable", str(script))
            yield

    async def dovecot(self, acl: bool = False, more: str = "") -> Dovecot:
        base = self.base / f"dovecot{len(self.started)}"
        server = Dovecot(base, self.mail, self.layout, OWNER, acl, more)
        self.started.append(server)
        await server.ready()
        return server

    async def start(self, kind: str) -> Server:
        return await (self.dovecot() if kind == "dovecot" else self.pymap())

    async def close(self) -> None:
        """Stop what runs, and look at the logs; the tree is removed."""
        async with AsyncExitStack() as stack:
            stack.callback(self._remove)
            for server in self.started:
                kill = server.stop if isinstance(server, Dovecot) else server.kill
                stack.push_async_callback(kill)
        for n, server in enumerate(self.outputs):
            for line in server.splitlines()[-200:]:
                if " INFO " not in line and " Info: " not in line:
                    print(n, line)  # shown when the test fails
        for server in self.outputs:
            assert not _BUG.search(server), server[-6000:]

    def _remove(self) -> None:
        self.outputs = [server.output for server in self.started]
        if "PYMAP_TEST_KEEP" in os.environ:
            print(f"kept {self.base}")
        else:
            shutil.rmtree(self.base, ignore_errors=True)

    # -- the tree --

    @staticmethod
    def own(path: Path) -> Path:
        if ROOT:
            os.chown(path, OWNER.pw_uid, OWNER.pw_gid, follow_symlinks=False)
        return path

    def maildir(self, user: str = USER) -> Path:
        return self.mail / user / "Maildir"

    def folder(self, name: str, user: str = USER) -> Path:
        """Where the mailbox `name` is, as Dovecot has it."""
        top = self.maildir(user)
        if name == "INBOX":
            return top
        raw = modutf7.encode(name).decode()
        return top / raw if self.layout == "fs" else top / ("." + raw.replace("/", "."))

    def files(self, name: str = "INBOX", user: str = USER) -> list[Path]:
        """The messages of a mailbox."""
        folder = self.folder(name, user)
        return [path for sub in ("cur", "new") for path in sorted((folder / sub).iterdir())]

    def file_of(self, message_id: bytes, name: str = "INBOX", user: str = USER) -> Path:
        (found,) = [p for p in self.files(name, user) if message_id in p.read_bytes()]
        return found

    def left_in_tmp(self) -> list[Path]:
        return [path for path in self.mail.rglob("tmp/*") if path.is_file()]


async def stop(server: Server) -> None:
    """An orderly end, and a log without bugs."""
    if isinstance(server, Dovecot):
        await server.stop()
        return
    if server.popen.poll() is None:
        server.popen.terminate()
    assert await server.ended() == 0, server.output[-4000:]
    assert not bugs(server), server.output[-6000:]


def bugs(server: Process) -> bool:
    return _BUG.search(server.output) is not None
