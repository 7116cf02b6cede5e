"""A listener of HTTP/2, with what grpclib leaves open.

Rule 1: what a client sends, also one that is no client of gRPC, ends in an answer or in the end of
        the connection, never in an exception.
Rule 2: connections are counted, and one that makes no call that is allowed is closed after
        `STRANGER_S`. Before that nobody has more of our memory than the windows of HTTP/2.
Rule 3: `close` leaves no connection behind.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from grpclib.config import Configuration
from grpclib.events import RecvRequest, listen
from grpclib.protocol import H2Protocol
from grpclib.server import Handler, Server
from h2.config import H2Configuration

from pymap.admin.calls import TIMEOUT, Calls

if TYPE_CHECKING:
    from grpclib._typing import IServable
    from grpclib.protocol import Stream

__all__ = ["Listener"]

log = logging.getLogger("pymap.admin")

CONNECTIONS = 100
STRANGER_S = 10.0
CLOSE_S = 1.0  # for what is still to be sent
KIB = 1024
WINDOWS = Configuration(
    http2_connection_window_size=1024 * KIB,
    http2_stream_window_size=512 * KIB,  # one stream that nobody reads does not stop the others
)
WANTED = frozenset(
    (":method", ":path", "content-type", "te", "grpc-timeout", "user-agent", "authorization")
)


class Listener(Server):
    """Serves `handlers` to those that `calls` lets in."""

    def __init__(self, handlers: Collection[IServable], calls: Calls) -> None:
        super().__init__(handlers, config=WINDOWS)
        self._h2_config = H2Configuration(client_side=False, header_encoding="utf-8")
        self.calls = calls
        self.connections: set[Connection] = set()
        self._empty = asyncio.Event()
        listen(self, RecvRequest, calls.begin)

    async def stop(self, drain_s: float) -> None:
        """Close everything, in not much more than `drain_s`."""
        if self._server is None:  # it never started
            return
        self._server.close()
        await self.calls.close(drain_s)
        for connection in tuple(self.connections):
            connection.end()
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._no_connections()
        except TimeoutError:
            for connection in tuple(self.connections):
                connection.abort()
            await self._no_connections()
        self.close()
        # From Python 3.12 on this waits for connections as well, also for those that are still
        # shaking hands, which nobody has told us of.
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self.wait_closed()

    async def _no_connections(self) -> None:
        while self.connections:
            self._empty.clear()
            await self._empty.wait()

    def left(self, connection: Connection) -> None:
        self.connections.discard(connection)
        self._empty.set()

    def _protocol_factory(self) -> H2Protocol:
        self.__gc_step__()
        handler = _Handler(
            self._mapping, self._codec, self._status_details_codec, self.__dispatch__
        )
        self._handlers.add(handler)
        return Connection(self, handler)


class _Handler(Handler):
    def accept(
        self, stream: Stream, headers: list[tuple[str, str]], release_stream: Callable[[], Any]
    ) -> None:
        """Headers that nobody here asks for need not be well-formed."""
        wanted = [
            (TIMEOUT if name == "grpc-timeout" else name, value)
            for name, value in headers
            if name in WANTED
        ]
        super().accept(stream, wanted, release_stream)


class Connection(H2Protocol):
    """`known` is set by the first call that is allowed."""

    def __init__(self, listener: Listener, handler: Handler) -> None:
        super().__init__(handler, listener._config, listener._h2_config)
        self.known = False
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        super().connection_made(transport)
        # HTTP/2 has frames that this side may ignore, and those to come: RFC 9113 4.1, 5.5.
        self.processor.processors = defaultdict(lambda: _ignore, self.processor.processors)
        self._listener.connections.add(self)
        if len(self._listener.connections) > CONNECTIONS:
            log.warning("too many connections of the admin service")
            self.abort()
            return
        self._timer = asyncio.get_running_loop().call_later(STRANGER_S, self._check_known)

    def _check_known(self) -> None:
        if not self.known:
            self.abort()

    def data_received(self, data: bytes) -> None:
        try:
            super().data_received(data)
        except Exception as error:  # whatever h2 and grpclib make of hostile octets
            log.debug("a connection of the admin service failed: %r", error)
            self.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)
        self._listener.left(self)

    def end(self) -> None:
        """With GOAWAY, so that a client comes again elsewhere."""
        if self._transport is not None and not self._transport.is_closing():
            self.connection._connection.close_connection()
            self.connection.flush()
        self.processor.close("the server ends")

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _ignore(event: object) -> None:
    pass
