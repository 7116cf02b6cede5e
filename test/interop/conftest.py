"""A server in a thread of its own, so that clients that block can be driven by plain tests.

A tool that is not there fails its tests: scripts/test installs what can be installed.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from maildir_store import maildir_of
from redis_store import redis_of

from pymap.auth.authenticator import Authenticator
from pymap.backend.api import Backend, User
from pymap.backend.dict import DictBackend
from pymap.config import AuthConfig
from pymap.imap.server import serve

from .wire import Wire

USER, PASSWORD = "demouser", "demopass"
FRIEND = "friend"
MASTER = "master"

Fill = Callable[[DictBackend], Backend]


@dataclass(frozen=True)
class Place:
    """Where a server listens, and how to trust it. The users are `USER`, `FRIEND` and `MASTER`, who may
    act for the others; all have `PASSWORD`."""

    host: str
    port: int
    tls_port: int
    ca: Path

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca))

    def wire(self) -> Wire:
        return Wire(self.port).login()


class ServerThread(threading.Thread):
    def __init__(self, fixture: str, fill: Fill, certificate: trustme.LeafCert, ca: Path) -> None:
        """`fill` makes the store of what a dict backend holds."""
        super().__init__(name="imap server", daemon=True)
        self.fixture = fixture
        self.fill = fill
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(self.tls)
        self.ca = ca
        self.place: Future[Place] = Future()
        self.end: Future[None] = Future()

    def run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            if not self.place.done():
                self.place.set_exception(error)
            raise

    async def _serve(self) -> None:
        local = DictBackend({USER: PASSWORD, FRIEND: PASSWORD})
        if self.fixture == "demo":
            local.add_demo(USER, PASSWORD)
        local.users.add(User(MASTER, PASSWORD))
        backend = self.fill(local)
        logins = Authenticator(backend.users, AuthConfig(masters=frozenset({MASTER})))
        async with serve(backend, tls_port=0, ssl_context=self.tls, authenticator=logins) as server:
            (host, port), (_, tls_port) = server.addresses
            self.place.set_result(Place(host, port, tls_port, self.ca))
            await asyncio.wrap_future(self.end)
            await backend.users.delete(MASTER)  # all tests have one Redis for their users

    def stop(self) -> None:
        self.end.set_result(None)
        self.join(20)
        assert not self.is_alive(), "the server did not end"


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def certificate(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("localhost", "127.0.0.1")


@pytest.fixture(scope="session")
def ca(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


@pytest.fixture(params=["dict", "maildir", "redis"])
def fill(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Fill:
    """Where mail is."""
    stores: dict[str, Callable[[DictBackend, Path], Backend]] = {
        "dict": lambda local, directory: local,
        "maildir": maildir_of,
        "redis": redis_of,
    }
    return lambda local: stores[request.param](local, tmp_path_factory.mktemp("mail"))


def _running(
    fixture: str,
    fill: Fill,
    certificate: trustme.LeafCert,
    ca: Path,
    caplog: pytest.LogCaptureFixture,
) -> Iterator[Place]:
    thread = ServerThread(fixture, fill, certificate, ca)
    thread.start()
    yield thread.place.result(20)
    thread.stop()
    errors = [r.getMessage() for r in caplog.get_records("call") if r.levelno >= logging.ERROR]
    assert not errors, errors


@pytest.fixture
def server(
    fill: Fill,
    certificate: trustme.LeafCert,
    ca: Path,
    caplog: pytest.LogCaptureFixture,
) -> Iterator[Place]:
    """An INBOX and nothing in it."""
    yield from _running("empty", fill, certificate, ca, caplog)


@pytest.fixture
def demo(
    fill: Fill,
    certificate: trustme.LeafCert,
    ca: Path,
    caplog: pytest.LogCaptureFixture,
) -> Iterator[Place]:
    """The demo data: four messages in INBOX, UIDs 101 to 104."""
    yield from _running("demo", fill, certificate, ca, caplog)


def tool(name: str, package: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.fail(f"{name} is not installed (Debian package {package}); scripts/test installs it")
    return path


@pytest.fixture(scope="session")
def curl() -> str:
    return tool("curl", "curl")


@pytest.fixture(scope="session")
def mbsync() -> str:
    return tool("mbsync", "isync")


@pytest.fixture(scope="session")
def mutt() -> str:
    return tool("mutt", "mutt")
