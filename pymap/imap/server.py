"""The sockets: listening, reading, writing, TLS, timeouts. Nothing else knows them.

Rule 1: what can be answered from memory is answered in the call that received it, without a
        Task. The coroutine of a command is stepped once by hand; only if it suspends does a
        Task carry it on.
Rule 2: one command at a time per client. What arrives meanwhile waits in the framer, and
        beyond `Limits.receive_buffer` reading pauses.
Rule 3: all answers to what was received together leave in one write. While the client does not
        read them, nothing more is computed for it.
Rule 4: no client holds the event loop for longer than SLICE_S.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import types
from collections.abc import AsyncIterator, Coroutine, Generator
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address
from typing import Any, cast

from pymap.backend.api import Backend
from pymap.backend.opened import OpenMailboxes
from pymap.imap.handlers import HANDLERS
from pymap.imap.session import Disconnect, Session
from pymap.limits import Limits
from pymap.wire.connection import BadEvent, Connection, Ready
from pymap.wire.framer import Event, Overflow
from pymap.wire.trace import Trace

__all__ = ["Server", "serve"]

log = logging.getLogger("pymap.server")

# A read of more than about 128 KiB makes the allocator map and unmap memory for each.
READ_SIZE = 64 * 1024
SLICE_S = 0.005
CONTINUE = b"+ Ready for literal data\r\n"
LINGER_S = 2.0
DRAIN_S = 5.0  # for running commands at the end


class Server:
    """Listeners and clients over one backend."""

    def __init__(
        self,
        backend: Backend,
        *,
        limits: Limits | None = None,
        ssl_context: ssl.SSLContext | None = None,
        insecure_login: bool = False,
    ) -> None:
        """`ssl_context` gives STARTTLS, and `listen` implicit TLS. Without TLS, logins are taken
        from loopback only, unless `insecure_login`."""
        self.backend = backend
        self.limits = limits or Limits()
        self.ssl_context = ssl_context
        self.insecure_login = insecure_login
        self.open_mailboxes = OpenMailboxes()
        self.clients: set[Client] = set()
        self.strangers = 0  # clients that have not logged in
        self.tasks: set[asyncio.Task[None]] = set()
        self.receive_buffer = memoryview(bytearray(READ_SIZE))
        self.hostname = socket.getfqdn()
        self.closing = False
        self._listeners: list[asyncio.Server] = []
        self._idle: asyncio.Event = asyncio.Event()

    async def listen(self, host: str | None, port: int, *, tls: bool = False) -> None:
        """Bind to an interface, None for all of them; clients are accepted from `open` on. Port 0
        picks a free one. Raises OSError."""
        loop = asyncio.get_running_loop()
        # Implicit TLS begins on a plain connection as well: one that is still shaking hands is
        # a client like any other, to be counted, timed and ended.
        listener = await loop.create_server(
            lambda: Client(self, implicit_tls=tls),
            host,
            port,
            backlog=1024,
            reuse_address=True,
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
        return [sock.getsockname()[:2] for listener in self._listeners for sock in listener.sockets]

    async def close(self, drain_s: float = DRAIN_S) -> None:
        """No new clients; running commands finish, within `drain_s`; BYE to all."""
        self.closing = True
        for listener in self._listeners:
            listener.close()
        for client in tuple(self.clients):
            client.shut_down()
        try:
            async with asyncio.timeout(drain_s):
                while self.clients or self.tasks:
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            for client in tuple(self.clients):
                client.abort()
            for task in tuple(self.tasks):
                task.cancel()
            while self.clients or self.tasks:  # each now ends at its next step
                self._idle.clear()
                await self._idle.wait()
        for listener in self._listeners:
            await listener.wait_closed()

    def left(self) -> None:
        """A client or a task has ended."""
        if not self.clients and not self.tasks:
            self._idle.set()


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
) -> AsyncIterator[Server]:
    """Run a server inside this event loop, for as long as the context lasts.

        async with serve(DictBackend({"alice": "secret"})) as server:
            host, port = server.addresses[0]

    Ports 0 are chosen by the system. With `tls_port`, implicit TLS comes second in `addresses`.
    """
    server = Server(backend, limits=limits, ssl_context=ssl_context, insecure_login=insecure_login)
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


class Client(asyncio.BufferedProtocol):
    """One connection: the transport's protocol, and the Peer of its session."""

    __slots__ = (
        "_close_timer", "_closed", "_eof", "_handshaking", "_last_heard", "_left", "_out",
        "_paused", "_reading", "_resumed", "_running", "_stranger", "_task", "_timer", "_waiter",
        "_woken",
        "_write_timer", "connection", "implicit_tls", "loop", "name", "secure", "server",
        "session", "tls", "trace", "transport",
    )  # fmt: skip

    def __init__(self, server: Server, implicit_tls: bool) -> None:
        self.server = server
        self.implicit_tls = implicit_tls
        self.tls = False
        self.loop = asyncio.get_running_loop()
        self.connection = Connection(server.limits, server.backend.delimiter)
        self.session = Session(
            self.connection, self, server.backend, server.open_mailboxes, HANDLERS
        )
        self.name = "?"
        self.secure = False
        self.trace: Trace | None = None
        self.transport: asyncio.Transport | None = None
        self._out: list[bytes | memoryview] = []
        self._task: asyncio.Task[None] | None = None
        self._running = False  # a command is being carried out
        self._reading = True
        self._paused = False  # the transport's buffer is full
        self._resumed: asyncio.Future[None] | None = None
        self._waiter: asyncio.Future[None] | None = None  # `line` waits
        self._woken = False
        self._closed = False
        self._eof = False
        self._left = False
        self._handshaking = False
        self._stranger = False
        self._last_heard = self.loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._close_timer: asyncio.TimerHandle | None = None

    # -- asyncio calls these --

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        server = self.server
        peer = transport.get_extra_info("peername")
        self.name = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else "local"
        self.secure = server.insecure_login or _is_local(peer)
        if log.isEnabledFor(logging.DEBUG):
            self.trace = Trace(lambda side, line: log.debug("%s %s %s", self.name, side, line))
        server.clients.add(self)
        server.strangers += 1
        self._stranger = True
        limits = server.limits
        if len(server.clients) > limits.connections or (
            server.strangers > limits.connections_before_login
        ):
            if self.implicit_tls:
                self.abort()
                return
            self.session.bye("Too many connections", "UNAVAILABLE")
            self._close()
            return
        self._timer = self.loop.call_later(limits.login_timeout_s, self._check_time)
        if self.implicit_tls:
            self.transport.pause_reading()
            self._running = True
            self._carry(self._greet_over_tls())
            return
        self.session.greet(server.hostname)
        self._flush()

    async def _greet_over_tls(self) -> None:
        await self.start_tls()
        self.session.greet(self.server.hostname)
        self._flush()

    def get_buffer(self, sizehint: int) -> memoryview:
        # One buffer for all clients: it is emptied before anyone else can read.
        return self.server.receive_buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._closed:
            return
        self._last_heard = self.loop.time()
        self.connection.receive_data(self.server.receive_buffer[:nbytes])
        self._process()

    def eof_received(self) -> bool:
        """The client sends no more, but may still read: what it has asked for is answered. (Over
        TLS there is no half of a connection; there the transport closes itself.)"""
        self._eof = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        elif not self._running and not self._closed:
            self._close()
        return not self.tls

    def pause_writing(self) -> None:
        self._paused = True
        self._write_timer = self.loop.call_later(self.server.limits.write_timeout_s, self.abort)

    def resume_writing(self) -> None:
        self._paused = False
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        if self._resumed is not None and not self._resumed.done():
            self._resumed.set_result(None)
        elif not self._running:
            self._process()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        if self._left:
            return
        self._left = True
        for timer in (self._timer, self._write_timer, self._close_timer):
            if timer is not None:
                timer.cancel()
        task = self._task
        if task is not None and not task.done():
            task.cancel()
        self._run(self._leave(task))

    async def _leave(self, task: asyncio.Task[None] | None) -> None:
        """What has to happen once at the end of every connection."""
        if task is not None and not task.done():
            await asyncio.wait((task,))
        try:
            await self.session.close()
        finally:
            self.logged_in()
            self.server.clients.discard(self)
            self.server.left()

    # -- the Peer --

    @property
    def can_start_tls(self) -> bool:
        return self.server.ssl_context is not None and not self.tls

    def write(self, octets: bytes | memoryview) -> None:
        if self.trace is not None:
            self.trace.sent(octets)
        self._out.append(octets)

    async def breathe(self) -> None:
        self._flush()
        if self._closed:
            raise Disconnect
        if self._paused:
            self._resumed = self.loop.create_future()
            await self._resumed
        else:
            await asyncio.sleep(0)

    async def line(self) -> bytes | None:
        self._flush()
        while not self._woken:
            line = self.connection.framer.next_line()
            if isinstance(line, Overflow):
                self.session.bye(line.text)
                raise Disconnect
            if line is not None:
                return line
            if self.server.closing:
                self.session.bye("Server is shutting down")
                raise Disconnect
            if self._eof:
                raise Disconnect
            self._resume_reading()
            self._waiter = self.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        self._woken = False
        if self._paused:
            # News waits, in the mailbox's columns, until the client has read what it was told.
            await self.breathe()
        return None

    def wake(self) -> None:
        self._woken = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def start_tls(self) -> None:
        # Whatever came behind STARTTLS came in the clear.   RFC 9051 11.1
        self.connection.framer.discard()
        self._flush()
        context, limits = self.server.ssl_context, self.server.limits
        assert self.transport is not None
        assert context is not None
        self._handshaking = True
        try:
            # What arrives behind the end of the handshake is the client's first command over
            # TLS, and may be here before this returns.
            self.transport = await self.loop.start_tls(
                self.transport, self, context, server_side=True,
                ssl_handshake_timeout=limits.login_timeout_s,
            )  # fmt: skip
        except OSError as error:
            log.info("%s: TLS handshake failed: %s", self.name, error)
            # asyncio does not tell of the end of a connection that is lost in a handshake.
            self.loop.call_soon(self.connection_lost, error)
            self.abort()
            raise Disconnect from error
        finally:
            self._handshaking = False
        self.tls = self.secure = True

    def logged_in(self) -> None:
        if self._stranger:
            self._stranger = False
            self.server.strangers -= 1

    # -- carrying out what arrives --

    def _process(self) -> None:
        """Carry out what has arrived, as far as it goes without waiting."""
        if self._running:
            if self._waiter is not None:
                if not self._waiter.done():
                    self._waiter.set_result(None)
            if self.connection.framer.waiting > self.server.limits.receive_buffer:
                self._pause_reading()
            return
        until = self.loop.time() + SLICE_S
        try:
            while not self._paused and not self._closed:
                event = self.connection.next_event()
                if event is None:
                    break
                if isinstance(event, Ready):
                    if self.trace is not None:
                        self.trace.received(self.connection.last_text)
                    self._running = True
                    if not self._step(self.session.execute(event)):
                        break
                    self._running = False
                elif isinstance(event, BadEvent):
                    if self.trace is not None:
                        self.trace.received(self.connection.last_text, hide=self._stranger)
                    self.session.fail(event)
                elif event is Event.CONTINUE:
                    self.write(CONTINUE)
                else:
                    self.session.bye(event.text)
                    raise Disconnect
                if self.loop.time() > until:
                    self._running = True
                    self.loop.call_soon(self._go_on)
                    break
        except Disconnect:
            self._close()
            return
        except Exception:
            log.exception("%s: session failed", self.name)
            self._close()
            return
        self._flush()
        if self._eof and not self._running and not self._paused:
            self._close()
        elif self._paused and not self._running:
            self._pause_reading()
        elif not self._running:
            self._resume_reading()

    def _go_on(self) -> None:
        self._running = False
        if not self._closed:
            self._process()

    def _step(self, execution: Coroutine[Any, Any, None]) -> bool:
        """Start carrying out a command; True if it is done already."""
        if self.server.backend.eager:
            try:
                waits_for = execution.send(None)
            except StopIteration:
                return True
            execution = _carry_on(execution, waits_for)
        self._carry(execution)
        return False

    def _carry(self, execution: Coroutine[Any, Any, None]) -> None:
        """Carry on with a command, or what counts as one, in a Task."""
        self._task = task = self.loop.create_task(execution)
        self.server.tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._task = None
        self.server.tasks.discard(task)
        self._running = False
        self.server.left()
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, Disconnect):
            log.error("%s: session failed", self.name, exc_info=error)
        if self._closed:
            return
        if error is not None or task.cancelled():
            self._close()
        elif self.server.closing:
            self.shut_down()
        else:
            self._process()

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run something that is not a command, in a Task if need be."""
        if self.server.backend.eager:
            try:
                waits_for = coroutine.send(None)
            except StopIteration:
                return
            coroutine = _carry_on(coroutine, waits_for)
        task = self.loop.create_task(coroutine)
        self.server.tasks.add(task)
        task.add_done_callback(self._aside_done)

    def _aside_done(self, task: asyncio.Task[None]) -> None:
        self.server.tasks.discard(task)
        self.server.left()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s: leaving failed", self.name, exc_info=error)

    # -- the transport --

    def _flush(self) -> None:
        if self._out and self.transport is not None:
            out, self._out = self._out, []
            self.transport.write(out[0] if len(out) == 1 else b"".join(out))

    def _pause_reading(self) -> None:
        if self._reading and self.transport is not None and not self.transport.is_closing():
            self._reading = False
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        if not self._reading and self.transport is not None and not self.transport.is_closing():
            self._reading = True
            self.transport.resume_reading()

    def _check_time(self) -> None:
        """End the session of a client that has been silent for too long.   RFC 9051 5.4"""
        limits = self.server.limits
        if self._handshaking:
            self.abort()  # nothing can be said in the middle of a handshake
            self.loop.call_soon(self.connection_lost, None)
            return
        if self._stranger:
            self._say_bye("Login took too long")
            return
        left = self._last_heard + limits.idle_timeout_s - self.loop.time()
        if left > 0 or (self._running and self._waiter is None):
            self._timer = self.loop.call_later(max(left, 1), self._check_time)
            return
        self._say_bye("Idle for too long")

    def _say_bye(self, text: str) -> None:
        if not self._closed:
            self.session.bye(text)
            self._close()

    def _close(self) -> None:
        """Close once what was written has left; a client that does not read it is cut off.

        While a client still sends, closing at once would reset the connection, and BYE would be
        lost on its way. So only our side is closed, and what still comes is read and thrown
        away, until the client closes its side or LINGER_S are over.
        """
        self._flush()
        self._closed = True
        transport = self.transport
        if transport is None:
            return
        linger_s = self.server.limits.write_timeout_s
        may_send = not self._eof and not self.server.closing and not transport.is_closing()
        if may_send and transport.can_write_eof():
            transport.write_eof()
            self._resume_reading()
            linger_s = LINGER_S
        else:
            transport.close()
        if self._close_timer is None:
            self._close_timer = self.loop.call_later(linger_s, self.abort)

    def abort(self) -> None:
        self._closed = True
        if self.transport is not None:
            self.transport.abort()

    def shut_down(self) -> None:
        """The server ends: a command that runs may finish, all else is over."""
        if self._closed:
            if self.transport is not None:
                self.transport.close()  # it has been told BYE already
        elif self._handshaking:
            self.abort()
        elif not self._running or self._waiter is not None:
            self._say_bye("Server is shutting down")


async def _carry_on(coroutine: Coroutine[Any, Any, None], waits_for: object) -> None:
    """The rest of a coroutine that was stepped by hand and waits for `waits_for`. It is a coroutine
    itself, for from Python 3.12 on a Task takes nothing else."""
    await _rest(coroutine, waits_for)


@types.coroutine
def _rest(coroutine: Coroutine[Any, Any, None], waits_for: object) -> Generator[Any, Any, None]:
    try:
        while True:
            try:
                value = yield waits_for
            except BaseException as error:
                waits_for = coroutine.throw(error)
            else:
                waits_for = coroutine.send(value)
    except StopIteration:
        return


def _is_local(peer: object) -> bool:
    """Whether a client is on this machine: nobody can listen in between."""
    if isinstance(peer, str):
        return True  # a UNIX socket
    with suppress(ValueError, TypeError, IndexError):
        address = ip_address(cast(tuple[str, ...], peer)[0].partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        return (mapped or address).is_loopback
    return False
