"""The listeners, and what all connections share. In the engine, only this file and `client` know of
sockets."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from pymap.auth.authenticator import Authenticator
from pymap.auth.channel import network, plain
from pymap.backend.api import Backend, Quota
from pymap.backend.errors import BackendError
from pymap.backend.opened import OpenMailboxes
from pymap.backend.quota import Quotas
from pymap.backend.summaries import Summaries
from pymap.backend.watched import WatchedAccounts
from pymap.config import ExtensionConfig
from pymap.imap.client import PROGRESS_S, Client, SessionInfo
from pymap.imap.proxy import parse_networks
from pymap.imap.sharing import enter_account
from pymap.limits import Limits
from pymap.observer import Observer
from pymap.wire.errors import Refused

__all__ = ["ReloadFailed", "Server", "serve"]

log = logging.getLogger("pymap.server")

_Key = TypeVar("_Key", str, bytes)

# A read of more than about 128 KiB makes the allocator map and unmap memory for each.
READ_SIZE = 64 * 1024
BACKLOG = 1024
DRAIN_S = 5.0  # for running commands at the end
ABORT_S = 5.0  # for what was cut off to notice


class ReloadFailed(Exception):
    """Something could not be read again: what was read before still counts."""


class Server:
    """Listeners and clients over one backend."""

    def __init__(
        self,
        backend: Backend,
        *,
        limits: Limits | None = None,
        ssl_context: ssl.SSLContext | None = None,
        insecure_login: bool = False,
        authenticator: Authenticator | None = None,
        proxy_from: Sequence[str] = (),
        extensions: ExtensionConfig | None = None,
    ) -> None:
        """`ssl_context` gives STARTTLS, and `listen` implicit TLS; it may be replaced while the
        server runs, for handshakes to come. Without TLS, passwords are taken from loopback only,
        unless `insecure_login`. Connections from the networks of `proxy_from` begin with a header
        of the PROXY protocol."""
        self.backend = backend
        self.limits = limits or Limits()
        self.ssl_context = ssl_context
        self.insecure_login = insecure_login
        self.authenticator = authenticator or Authenticator(backend.users)
        self.authenticator.observe = self._authenticated
        self.proxy_from = parse_networks(proxy_from)
        self.extensions = extensions or ExtensionConfig()
        self.open_mailboxes = OpenMailboxes(Summaries(self.limits.summaries))
        self.watched_accounts = WatchedAccounts(
            lambda user: enter_account(backend, user, self.limits)
        )
        self.quotas = Quotas(
            Quota(
                self.extensions.quota_storage,
                self.extensions.quota_messages,
                self.extensions.quota_mailboxes,
            )
        )
        self.observers: list[Observer] = []
        self.reloaders: dict[str, Callable[[], Awaitable[None]]] = {}
        """What `reload` does, by a name for people."""
        self.clients: set[Client] = set()
        self.strangers = 0  # clients that have not logged in
        self.tasks: set[asyncio.Task[None]] = set()
        self.receive_buffer = memoryview(bytearray(READ_SIZE))
        self.hostname = socket.getfqdn()
        self.started = time.time()
        self.closing = False
        self.progress_s = PROGRESS_S
        self._listeners: list[asyncio.Server] = []
        self._idle: asyncio.Event = asyncio.Event()
        self._last_id = 0
        self._by_address: Counter[bytes] = Counter()
        self._by_user: Counter[str] = Counter()

    async def listen(
        self,
        host: str | None,
        port: int,
        *,
        tls: bool = False,
        extensions: ExtensionConfig | None = None,
    ) -> None:
        """Bind to an interface, None for all of them; clients are accepted from `open` on. Port 0
        picks a free one. `extensions` holds for those who come here. Raises OSError."""
        # Implicit TLS begins on a plain connection as well: one that is still shaking hands is
        # a client like any other, to be counted, timed and ended.
        listener = await asyncio.get_running_loop().create_server(
            lambda: Client(self, extensions or self.extensions, implicit_tls=tls),
            host,
            port,
            backlog=BACKLOG,
            reuse_address=True,
            start_serving=False,
        )
        self._listeners.append(listener)

    async def listen_on(self, sock: socket.socket, *, tls: bool = False) -> None:
        """The same, on a socket that is bound already."""
        listener = await asyncio.get_running_loop().create_server(
            lambda: Client(self, self.extensions, implicit_tls=tls),
            sock=sock,
            backlog=BACKLOG,
            start_serving=False,
        )
        self._listeners.append(listener)

    async def open(self) -> None:
        """Accept clients on all that was bound."""
        for listener in self._listeners:
            await listener.start_serving()

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of each listening socket, in the order of `listen`."""
        names = [sock.getsockname() for listener in self._listeners for sock in listener.sockets]
        return [name[:2] if isinstance(name, tuple) else (name, 0) for name in names]

    async def close(self, drain_s: float = DRAIN_S) -> None:
        """No new clients; running commands finish, within `drain_s`; BYE to all."""
        self.closing = True
        for listener in self._listeners:
            listener.close()
        for client in tuple(self.clients):
            client.shut_down()
        if not await self._empty(drain_s):
            for client in tuple(self.clients):
                client.abort()
            for task in tuple(self.tasks):
                task.cancel()
            if not await self._empty(ABORT_S):  # each ends at its next step
                left = len(self.clients), len(self.tasks)
                log.error("%d connections and %d commands do not end", *left)
        for listener in self._listeners:
            await listener.wait_closed()

    async def _empty(self, within_s: float) -> bool:
        """Wait until nobody is left and nothing runs; False if that takes too long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self.clients or self.tasks:
                    self._idle.clear()
                    await self._idle.wait()
        return not self.clients and not self.tasks

    # -- clients come and go --

    def enter(self, client: Client) -> None:
        """A client has connected."""
        self._last_id += 1
        client.id = self._last_id
        self.clients.add(client)
        self.strangers += 1

    def has_room(self, client: Client) -> bool:
        """Whether a client that has just connected may stay; its address counts from here on."""
        limits = self.limits
        if source := network(client.channel.address):
            self._by_address[source] += 1
            if self._by_address[source] > limits.connections_per_address:
                return False
        return (
            len(self.clients) <= limits.connections
            and self.strangers <= limits.connections_before_login
        )

    def admit(self, client: Client, user: str) -> None:
        """A client has logged in. Raises Refused if the user has too many sessions."""
        if self._by_user[user] >= self.limits.connections_per_user:
            raise Refused("LIMIT", "Too many sessions of this user")
        self.strangers -= 1
        client.user = user
        self._by_user[user] += 1

    def dismiss(self, client: Client) -> None:
        """A client has logged out and stays."""
        assert client.user is not None
        _uncount(self._by_user, client.user)
        client.user = None
        self.strangers += 1

    def leave(self, client: Client) -> None:
        """A client is gone."""
        self.clients.discard(client)
        if client.user is None:
            self.strangers -= 1
        else:
            _uncount(self._by_user, client.user)
        if source := network(client.channel.address):
            _uncount(self._by_address, source)
        self.left()

    def left(self) -> None:
        """A client or a task has ended."""
        if not self.clients and not self.tasks:
            self._idle.set()

    def _authenticated(self, mechanism: str, result: str) -> None:
        for observer in self.observers:
            observer.authenticated(mechanism, result)

    # -- for those who run it --

    def sessions(self) -> list[SessionInfo]:
        return [client.info() for client in self.clients]

    def kick(
        self, *, id: int | None = None, user: str | None = None, address: str | None = None
    ) -> int:
        """End the sessions that fit all that is given, with BYE where it can be said; returns how
        many."""
        chosen = [
            client
            for client in self.clients
            if (id is None or client.id == id)
            and (user is None or client.session.user == user)
            and (address is None or client.channel.address == plain(address))
        ]
        return sum(client.kick() for client in chosen)

    async def reload(self) -> list[str]:
        """Read again what is configured to be read; sessions go on. Returns what was read. Raises
        ReloadFailed, after all have been tried, with a text that names those that failed."""
        done, failed = [], []
        for name, reloader in tuple(self.reloaders.items()):
            try:
                await reloader()
                done.append(name)
            except (OSError, ValueError, BackendError) as error:
                log.error("reload: %s: %s", name, error)
                failed.append(f"{name}: {error}")
            except Exception:
                log.exception("reload: %s", name)
                failed.append(f"{name}: internal error")
        log.info("reloaded: %s", ", ".join(done) or "nothing")
        if failed:
            raise ReloadFailed("; ".join(failed))
        return done

    async def trouble(self) -> str:
        """Why no client should be sent here now; empty if all is well."""
        if self.closing:
            return "shutting down"
        try:
            await self.backend.ping()
        except BackendError as error:
            return str(error)
        return ""


def _uncount(counts: Counter[_Key], key: _Key) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]


@asynccontextmanager
async def serve(
    backend: Backend,
    *,
    host: str | None = "127.0.0.1",
    port: int = 0,
    tls_port: int | None = None,
    ssl_context: ssl.SSLContext | None = None,
    limits: Limits | None = None,
    insecure_login: bool = False,
    authenticator: Authenticator | None = None,
    proxy_from: Sequence[str] = (),
    extensions: ExtensionConfig | None = None,
) -> AsyncIterator[Server]:
    """Run a server inside this event loop, for as long as the context lasts.

        async with serve(DictBackend({"alice": "secret"})) as server:
            host, port = server.addresses[0]

    Ports 0 are chosen by the system. With `tls_port`, implicit TLS comes second in `addresses`.
    """
    server = Server(
        backend,
        limits=limits,
        ssl_context=ssl_context,
        insecure_login=insecure_login,
        authenticator=authenticator,
        proxy_from=proxy_from,
        extensions=extensions,
    )
    await backend.start()
    try:
        await server.listen(host, port)
        if tls_port is not None:
            await server.listen(host, tls_port, tls=True)
        await server.open()
        yield server
    finally:
        await server.close()
        await backend.stop()
