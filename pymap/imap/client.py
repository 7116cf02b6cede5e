"""One connection: the transport's protocol, and the Peer of its session.

Rule 1: what can be answered from memory is answered in the call that received it, without a
        Task. The coroutine of a command is stepped once by hand; only if it suspends does a
        Task carry it on.
Rule 2: one command at a time per client. What arrives meanwhile waits in the framer, and
        beyond `Limits.receive_buffer` reading pauses.
Rule 3: all answers to what was received together leave in one write. While the client does not
        read them, nothing more is computed for it.
Rule 4: no client holds the event loop for longer than SLICE_S.
Rule 5: news that is told between commands counts as a command.
Rule 6: behind a trusted proxy, the octets of its header are read and not one more: what follows
        may be a TLS handshake.
Rule 7: while the connection is compressed, what has arrived waits compressed, and is inflated only
        when the framer has nothing left.
"""

from __future__ import annotations

import asyncio
import logging
import time
import types
from collections.abc import Coroutine, Generator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from pymap.auth.channel import Channel, plain
from pymap.config import ExtensionConfig
from pymap.imap.compress import PIECE, Compression, Corrupt
from pymap.imap.handlers import HANDLERS
from pymap.imap.proxy import ProxyHeader, trusted
from pymap.imap.session import Disconnect, Session
from pymap.observer import Observer
from pymap.tls import channel_facts
from pymap.wire.connection import BadEvent, Connection, Ready
from pymap.wire.framer import Event, Overflow
from pymap.wire.trace import Trace

if TYPE_CHECKING:
    from pymap.imap.server import Server

__all__ = ["Client", "SessionInfo"]

log = logging.getLogger("pymap.server")

SLICE_S = 0.005
PROGRESS_S = 10.0  # "every 10..15 seconds"   RFC 9585 4
LINGER_S = 2.0


class SessionInfo(NamedTuple):
    """One session for people: times in seconds, sizes in octets."""

    id: int
    user: str
    address: str
    tls: str
    state: str
    mailbox: str
    command: str
    connected: float
    idle_seconds: float
    commands: int
    received: int
    sent: int
    authenticated_as: str


class Client(asyncio.BufferedProtocol):
    """The transport's protocol, and the Peer of its session."""

    __slots__ = (
        "_close_timer", "_closed", "_compression", "_eof", "_handshaking", "_header",
        "_last_heard", "_left", "_out", "_paused", "_progress_timer", "_push_due", "_reading",
        "_resumed", "_running", "_stranger", "_task", "_timer", "_waiter", "_woken",
        "_write_timer", "channel", "connected", "connection", "id", "implicit_tls", "loop", "name",
        "received", "sent", "server", "session", "tls", "trace", "transport", "user",
    )  # fmt: skip

    def __init__(self, server: Server, extensions: ExtensionConfig, implicit_tls: bool) -> None:
        self.server = server
        self.implicit_tls = implicit_tls
        self.tls = ""  # its version
        self.loop = asyncio.get_running_loop()
        self.connection = Connection(server.limits, server.backend.delimiter)
        self.session = Session(
            self.connection, self, server.backend, server.authenticator, server.open_mailboxes,
            server.watched_accounts, HANDLERS, extensions, server.quotas,
        )  # fmt: skip
        self.id = 0
        self.name = "?"
        self.channel = Channel()
        self.user: str | None = None  # as whom it is counted
        self.connected = self.loop.time()
        self.received = self.sent = 0  # octets, inside TLS; compressed, if they are
        self.trace: Trace | None = None
        self.transport: asyncio.Transport | None = None
        self._out: list[bytes | memoryview] = []
        self._compression: Compression | None = None
        self._task: asyncio.Task[None] | None = None
        self._running = False  # a command is being carried out
        self._reading = True
        self._paused = False  # the transport's buffer is full
        self._resumed: asyncio.Future[None] | None = None
        self._waiter: asyncio.Future[None] | None = None  # `line` waits
        self._woken = False  # there may be news, and nobody has looked since
        self._push_due = False
        self._closed = False
        self._eof = False
        self._left = False
        self._handshaking = False
        self._header: ProxyHeader | None = None
        self._stranger = False
        self._last_heard = self.connected
        self._timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._progress_timer: asyncio.TimerHandle | None = None
        self._close_timer: asyncio.TimerHandle | None = None

    # -- asyncio calls these --

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        server = self.server
        server.enter(self)
        self._stranger = True
        for observer in self.observers:
            observer.connected(self.implicit_tls)
        self._timer = self.loop.call_later(server.limits.login_timeout_s, self._check_time)
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            address, port = plain(peer[0]), peer[1]
        else:
            # A UNIX socket has a path, often an empty one. None: the client is gone already.
            address, port = "unknown" if peer is None else "", 0
        if server.proxy_from and trusted(address, server.proxy_from):
            self._header = ProxyHeader()
            self.name = f"{address}:{port}"
        else:
            self._begin(address, port, _is_local(address))

    def _begin(self, address: str, port: int, local: bool) -> None:
        """It is known whose connection this is; `local` says that it does not leave the machine."""
        server = self.server
        self.name = f"{address}:{port}" if address else "local"
        self.channel = Channel(address, server.insecure_login or local)
        if log.isEnabledFor(logging.DEBUG):
            self.trace = Trace(lambda side, line: log.debug("%s %s %s", self.name, side, line))
        # Whoever is turned away at once is so here, where a DNS block list would be asked, too.
        if not server.has_room(self):
            for observer in self.observers:
                observer.refused("limit")
            log.warning("%s: too many connections", self.name)
            if self.implicit_tls:
                self.abort()
                return
            self.session.bye("Too many connections", "UNAVAILABLE")
            self._close(linger=False)  # it must not take the place of another
            return
        if self.implicit_tls:
            # The first step is made here, for it puts TLS in the place of this protocol: uvloop
            # reads on as soon as this returns, whether or not reading was paused.
            self._running = True
            greeting = self._greet_over_tls()
            self._carry(_carry_on(greeting, greeting.send(None)))
            return
        self.session.greet(server.hostname)
        self._flush()

    async def _greet_over_tls(self) -> None:
        await self.start_tls()
        self.session.greet(self.server.hostname)
        self._flush()

    def get_buffer(self, sizehint: int) -> memoryview:
        # One buffer for all clients: it is emptied before anyone else can read.
        buffer = self.server.receive_buffer
        return buffer if self._header is None else buffer[: self._header.wanted()]

    def buffer_updated(self, nbytes: int) -> None:
        if self._closed:
            return
        self._last_heard = self.loop.time()
        if self._header is not None:
            self._read_header(self._header, bytes(self.server.receive_buffer[:nbytes]))
            return
        self.received += nbytes
        if self._compression is None:
            self.connection.receive_data(self.server.receive_buffer[:nbytes])
        else:
            self._compression.receive(self.server.receive_buffer[:nbytes])
        self._process()

    def _read_header(self, header: ProxyHeader, octets: bytes) -> None:
        try:
            if not header.receive(octets):
                return
        except ValueError as error:
            log.warning("%s: no PROXY header: %s", self.name, error)
            for observer in self.observers:
                observer.refused("proxy")
            self.abort()
            return
        self._header = None
        address, _, port = self.name.rpartition(":")
        # A proxy that asks for itself, to see whether we are well, names nobody; nor does one that
        # does not know its client, who may be anywhere.
        source = header.source or (address, int(port))
        local = header.is_own or header.source is not None
        self._begin(*source, local and _is_local(source[0]) and _is_local(address))

    def eof_received(self) -> bool:
        """The client sends no more, but may still read: what it has asked for is answered. (Over
        TLS there is no half of a connection; there the transport closes itself.)"""
        self._eof = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        elif not self._running and not self._closed:
            self._close()
        return not self.tls and not self._closed

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
        timers = (self._timer, self._write_timer, self._close_timer, self._progress_timer)
        for timer in timers:
            if timer is not None:
                timer.cancel()
        task = self._task
        if task is not None and not task.done():
            task.cancel()
        self._run(self._leave(task))

    async def _leave(self, task: asyncio.Task[None] | None) -> None:
        """What has to happen once at the end of every connection."""
        try:
            try:
                if task is not None and not task.done():
                    await asyncio.wait((task,))
            finally:
                await self.session.close()
        finally:
            self.server.leave(self)
            self._stranger = False
            seconds = self.loop.time() - self.connected
            for observer in self.observers:
                observer.disconnected(seconds, self.received, self.sent)
            self._log_session(seconds)

    def _log_session(self, seconds: float) -> None:
        session = self.session
        fields = {
            "session": self.id, "address": self.channel.address, "user": session.user or "",
            "tls": self.tls, "received": self.received, "sent": self.sent,
            "commands": session.commands, "seconds": round(seconds, 3),
        }  # fmt: skip
        # The name is quoted, so that it cannot look like another field.
        text = " ".join(
            f"{key}={ascii(value) if key == 'user' else value if value != '' else '-'}"
            for key, value in fields.items()
        )
        log.info("session ended: %s", text, extra={"fields": fields})

    # -- the Peer --

    @property
    def can_start_tls(self) -> bool:
        return self.server.ssl_context is not None and not self.tls

    @property
    def observers(self) -> Sequence[Observer]:
        return self.server.observers

    def write(self, octets: bytes | memoryview) -> None:
        if self.trace is not None:
            self.trace.sent(octets)
        self._out.append(octets)

    async def breathe(self) -> None:
        # What is large is compressed in pieces, the last one flushed. More may be told meanwhile.
        while self._compression is not None and sum(map(len, self._out)) > PIECE:
            octets = memoryview(self._out[0] if len(self._out) == 1 else b"".join(self._out))
            self._out = [octets[PIECE:]]
            self._transmit(self._compression.deflate(octets[:PIECE], flush=False))
            await self._rest()
        self._flush()
        await self._rest()

    async def _rest(self) -> None:
        if self._closed:
            raise Disconnect
        if self._paused:
            self._resumed = self.loop.create_future()
            await self._resumed
        else:
            await asyncio.sleep(0)

    async def line(self) -> bytes | None:
        self._flush()
        until = self.loop.time() + SLICE_S
        while not self._woken:
            line = self.connection.framer.next_line()
            if line is None and self._inflate():
                if self.loop.time() > until:
                    await self._rest()
                    until = self.loop.time() + SLICE_S
                continue
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
            if self._compression is not None:
                self._compression.rest()
            self._waiter = self.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
            until = self.loop.time() + SLICE_S
        self._woken = False
        if self._paused:
            # News waits, in the mailbox's columns, until the client has read what it was told.
            await self.breathe()
        return None

    def wake(self) -> None:
        self._woken = True
        if self._waiter is not None:
            if not self._waiter.done():
                self._waiter.set_result(None)
        elif not self._running:
            self._push_soon()

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
            transport = await self.loop.start_tls(
                self.transport, self, context, server_side=True,
                ssl_handshake_timeout=limits.login_timeout_s,
            )  # fmt: skip
            # Of a connection that is gone without an error, asyncio makes None and uvloop half a
            # transport.
            shaken = None if transport is None else transport.get_extra_info("ssl_object")
            if shaken is None:
                raise ConnectionAbortedError("the connection was lost")
        except (OSError, RuntimeError) as error:  # uvloop has the latter for a dead transport
            for observer in self.observers:
                observer.handshake(False)
            log.info("%s: TLS handshake failed: %s", self.name, error)
            # asyncio does not tell of the end of a connection that is lost in a handshake.
            self.loop.call_soon(self.connection_lost, error)
            self.abort()
            raise Disconnect from error
        finally:
            self._handshaking = False
        for observer in self.observers:
            observer.handshake(True)
        self.transport = transport
        facts = channel_facts(shaken)
        self.tls = facts.version
        self.channel = replace(
            self.channel, private=True, tls=True, certificate=facts.names,
            end_point=facts.end_point,
        )  # fmt: skip

    @property
    def compresses(self) -> bool:
        return self._compression is not None

    def start_compression(self) -> None:
        self._flush()
        self._compression = Compression()
        # A client waits for the answer before it sends more; what came at once is compressed.
        self._compression.receive(self.connection.framer.take_waiting())

    def end_compression(self) -> None:
        assert self._compression is not None
        sent, received = self._compression.end(b"".join(self._out))
        self._compression = None
        self._out.clear()
        self._transmit(sent)
        self.connection.receive_data(received)

    def admit(self, user: str) -> None:
        self.server.admit(self, user)
        self._stranger = False

    def dismiss(self) -> None:
        self.server.dismiss(self)
        self._stranger = True
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(self.server.limits.login_timeout_s, self._check_time)

    def info(self) -> SessionInfo:
        session, view = self.session, self.session.view
        running = session.running
        return SessionInfo(
            id=self.id,
            user=session.user or "",
            address=self.name,
            tls=self.tls,
            state=session.connection.state.name.lower().replace("_", " "),
            mailbox="" if view is None else session.mailbox_name,
            command="" if running is None else running.__name__.upper(),
            connected=time.time() - (self.loop.time() - self.connected),
            idle_seconds=self.loop.time() - self._last_heard,
            commands=session.commands,
            received=self.received,
            sent=self.sent,
            authenticated_as=session.acting or "",
        )

    # -- carrying out what arrives --

    def _process(self) -> None:
        """Carry out what has arrived, as far as it goes without waiting."""
        if self._running:
            if self._waiter is not None:
                if not self._waiter.done():
                    self._waiter.set_result(None)
            waiting = self.connection.framer.waiting > self.server.limits.receive_buffer
            if waiting or (self._compression is not None and self._compression.waits):
                self._pause_reading()
            return
        until = self.loop.time() + SLICE_S
        try:
            while not self._paused and not self._closed:
                event = self.connection.next_event()
                if event is None:
                    if not self._inflate():
                        break
                elif isinstance(event, Ready):
                    if self.trace is not None:
                        self.trace.received(self.connection.last_text)
                    self._running = True
                    if not self._step(self.session.execute(event)):
                        break
                    self._running = False
                elif isinstance(event, BadEvent):
                    if self.trace is not None:
                        # A word alone may be a SASL response that came too early, or too late.
                        text = self.connection.last_text
                        self.trace.received(text, hide=self._stranger or b" " not in text)
                    self.session.fail(event)
                elif event is Event.CONTINUE:
                    self.session.prompt("Ready for literal data")
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
            if self._woken:
                self._push_soon()

    def _push_soon(self) -> None:
        """Whoever wakes this client may be in the middle of a command of another: one look at the
        news, later, is for all that has happened until then."""
        if not self._push_due and self.session.notified is not None:
            self._push_due = True
            self.loop.call_soon(self._push)

    def _push(self) -> None:
        """Tell news between commands, as if that were a command (Rules 1 to 3): what arrives
        meanwhile waits. News waits, in the store, for the end of a command that has come in part,
        and for a client that does not read.   RFC 5465 3.1"""
        self._push_due = False
        if self._running or self._paused or self._closed or self.session.notified is None:
            return
        if not self.connection.framer.between:
            return
        self._woken = False
        self._running = True
        try:
            if not self._step(self.session.push()):
                return
        except Disconnect:
            self._close()
            return
        except Exception:
            log.exception("%s: session failed", self.name)
            self._close()
            return
        self._running = False
        self._process()

    def _inflate(self) -> bool:
        """Hand the framer more of what arrived compressed; False if there is none. Raises
        Disconnect."""
        if self._compression is None or not self._compression.waits:
            return False
        try:
            self.connection.receive_data(self._compression.inflate())
        except Corrupt as error:
            log.info("%s: not DEFLATE: %s", self.name, error)
            self.session.bye("Malformed compressed data")
            raise Disconnect from error
        return True

    def _go_on(self) -> None:
        self._running = False
        if self.server.closing:
            self.shut_down()
        elif not self._closed:
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
        self._progress_timer = self.loop.call_later(self.server.progress_s, self._tell_progress)

    def _tell_progress(self) -> None:
        """A command has been running for a while. While the client does not read, it is not told
        more."""
        if self._closed or not (self._paused or self.session.tell_progress()):
            return
        if not self._paused:
            self._flush()
        self._progress_timer = self.loop.call_later(self.server.progress_s, self._tell_progress)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if self._progress_timer is not None:
            self._progress_timer.cancel()
            self._progress_timer = None
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
            except Exception:
                log.exception("%s: leaving failed", self.name)
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
        if self._closed:
            self._out.clear()  # nothing can be written behind BYE
        if self._out and self.transport is not None:
            out, self._out = self._out, []
            octets = out[0] if len(out) == 1 else b"".join(out)
            if self._compression is not None:
                octets = self._compression.deflate(octets)
            self._transmit(octets)

    def _transmit(self, octets: bytes | memoryview) -> None:
        if self.transport is not None:
            self.sent += len(octets)
            self.transport.write(octets)

    def _pause_reading(self) -> None:
        if self._reading and self.transport is not None and not self.transport.is_closing():
            self._reading = False
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        if not self._reading and self.transport is not None and not self.transport.is_closing():
            self._reading = True
            self.transport.resume_reading()

    def _check_time(self) -> None:
        """End what takes too long: a handshake, a login, silence.   RFC 9051 5.4"""
        limits = self.server.limits
        if self._handshaking or self._header is not None:
            self.abort()  # nothing can be said in the middle of a handshake, or before one
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

    def _close(self, linger: bool = True) -> None:
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
        if linger and may_send and transport.can_write_eof():
            transport.write_eof()
            self._resume_reading()
            linger_s = LINGER_S
        else:
            transport.close()
            if self.server.closing and not transport.get_write_buffer_size():
                # Over TLS the client has to answer, and one that is out of reach never will.
                linger_s = LINGER_S / 2
        if self._close_timer is None:
            self._close_timer = self.loop.call_later(linger_s, self.abort)

    def abort(self) -> None:
        self._closed = True
        if self.transport is not None:
            self.transport.abort()

    def kick(self) -> bool:
        """End the session now, whatever it does; False if it is over already."""
        if self._closed:
            return False
        if self._handshaking or self._header is not None:
            self.abort()
        elif self._running and self._waiter is None and self._task is not None:
            # The client gets no answer to what it runs, and BYE may not stand inside one.
            self.abort()
        else:
            self._say_bye("Disconnected by the administrator")
        return True

    def shut_down(self) -> None:
        """The server ends: a command that runs may finish, all else is over."""
        if self._closed:
            if self.transport is not None:
                self.transport.close()  # it has been told BYE already
        elif self._handshaking or self._header is not None:
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


@lru_cache(4096)
def _is_local(address: str) -> bool:
    """Whether a client is on this machine: nobody can listen in between. A UNIX socket is."""
    if not address:
        return True
    with suppress(ValueError):
        found = ip_address(address.partition("%")[0])
        mapped = getattr(found, "ipv4_mapped", None)
        return (mapped or found).is_loopback
    return False
