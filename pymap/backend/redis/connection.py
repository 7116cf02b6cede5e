"""Redis connections that many tasks share.

Rule 1: requests that come up in one turn of the event loop are sent in one write, and answered in
        order. So a thousand sessions need no thousand connections. A call costs 10 us when many
        come at once and 35 when one comes alone, where redis-py's own client takes 100 to 180.
Rule 2: nothing is ever sent twice. Whether a request whose answer is lost was carried out, nobody
        knows; whoever asked is told Unavailable and looks again.
Rule 3: the oldest unanswered request says how the server is: when it waits for longer than
        `timeout_s`, the connection is given up and all that wait on it are told so. There is no
        timer for each request.

redis-py opens the connections: TLS, unix sockets, credentials, Sentinel.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError, ResponseError

from pymap.backend.errors import BackendError, OverQuota, Unavailable

__all__ = [
    "AWAY",
    "Argument",
    "Lane",
    "Request",
    "ResponseError",
    "closing",
    "encode",
    "translated",
]

log = logging.getLogger("pymap.redis")

Argument = bytes | str | int
Request = tuple[Argument, ...]

AWAY = (RedisError, OSError, TimeoutError, EOFError)
"""What a connection may end with."""


def encode(request: Request) -> bytes:
    """RESP: an array of strings."""
    parts = [b"*%d\r\n" % len(request)]
    for argument in request:
        octets = argument if isinstance(argument, bytes) else str(argument).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(octets), octets))
    return b"".join(parts)


def translated(error: BaseException) -> BackendError:
    """What Redis or the network said, as what the client is told."""
    text = str(error)
    if "OOM " in text or "'maxmemory'" in text:  # redis-py strips the first word of some
        return OverQuota("The mail store is full")
    return Unavailable("The mail store cannot be reached now")


class Lane:
    """One connection, opened when it is first needed and again when it is lost.

    `connect` makes a connection that is not open yet. What waits here is bounded by the sessions:
    each has one command at a time.
    """

    def __init__(self, connect: Callable[[], AbstractConnection], timeout_s: float) -> None:
        self._connect = connect
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._queue: list[tuple[bytes, asyncio.Future[Any]]] = []
        self._sent: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._wanted = asyncio.Event()
        self._connection: AbstractConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._away = False  # as far as the log has said
        self._writer = self._loop.create_task(self._write())

    async def close(self) -> None:
        connection = self._connection
        self._writer.cancel()
        self._lost(Unavailable("The server is shutting down"))
        for task in (self._writer, self._reader):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        if connection is not None:  # a reader that had not begun has not closed it
            await closing(connection)

    # -- calling --

    def send(self, *requests: Request) -> list[asyncio.Future[Any]]:
        """Send requests one after the other, with none of others in between. The answers may be
        ResponseError or Unavailable as exceptions of the futures."""
        futures: list[asyncio.Future[Any]] = [self._loop.create_future() for _ in requests]
        self._queue.extend(zip(map(encode, requests), futures, strict=True))
        self._wanted.set()
        return futures

    async def many(self, *requests: Request) -> list[Any]:
        """The answers in order; a ResponseError is one. Raises Unavailable."""
        futures = self.send(*requests)
        answers = await asyncio.gather(*futures, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BackendError):
                raise answer
        return answers

    async def call(self, *request: Argument) -> Any:
        """Raises ResponseError and Unavailable."""
        return await self.send(request)[0]

    # -- the connection --

    async def _write(self) -> None:
        while True:
            await self._wanted.wait()
            try:
                if self._connection is None:
                    await self._open()
                connection = self._connection
                assert connection is not None
                self._wanted.clear()
                queue, self._queue = self._queue, []
                now = self._loop.time()
                self._sent.extend((future, now) for _, future in queue)
                self._watch()
                async with asyncio.timeout(self._timeout_s):
                    await connection.send_packed_command(
                        [octets for octets, _ in queue], check_health=False
                    )
            except AWAY as error:
                self._wanted.clear()
                self._lost(error)
                if self._queue:
                    self._wanted.set()

    async def _open(self) -> None:
        connection = self._connect()
        try:
            async with asyncio.timeout(self._timeout_s):
                await connection.connect()  # type: ignore[no-untyped-call]  # redis-py's
        except BaseException as error:
            await closing(connection)
            if isinstance(error, AWAY):
                # Whoever came while it was tried has waited long enough.
                waiting, self._queue = self._queue, []
                self._fail([future for _, future in waiting], error)
            raise
        self._connection = connection
        self._reader = self._loop.create_task(self._read(connection))
        await asyncio.sleep(0)  # it has begun, so it closes the connection however it ends

    async def _read(self, connection: AbstractConnection) -> None:
        sent = self._sent
        try:
            while True:
                answer: Any
                try:
                    answer = await connection.read_response(disconnect_on_error=False)
                except ResponseError as error:
                    answer = error
                future, _ = sent.popleft()
                if self._away:
                    self._away = False
                    log.warning("Redis is back")
                if future.done():
                    continue
                if isinstance(answer, ResponseError):
                    _refuse(future, answer)
                    if str(answer).startswith(("READONLY", "You can't write")):
                        raise answer  # it is no longer the master: look for the one that is
                else:
                    future.set_result(answer)
        except (*AWAY, IndexError) as error:
            if connection is self._connection:
                self._lost(error)
        finally:
            await closing(connection)

    def _lost(self, error: BaseException) -> None:
        connection, self._connection = self._connection, None
        waiting = [future for future, _ in self._sent]
        self._sent = deque()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if connection is not None and self._reader is not None:
            self._reader.cancel()
        self._fail(waiting, error)

    def _fail(self, futures: list[asyncio.Future[Any]], error: BaseException) -> None:
        if futures and not self._away:
            self._away = True
            log.error("Redis is away: %s: %s", type(error).__name__, error)
        for future in futures:
            if not future.done():
                made = translated(error)
                made.__cause__ = error
                _refuse(future, made)

    def _watch(self) -> None:
        if self._timer is None and self._sent:
            due = self._sent[0][1] + self._timeout_s
            self._timer = self._loop.call_at(due, self._check)

    def _check(self) -> None:
        self._timer = None
        if self._sent and self._loop.time() - self._sent[0][1] >= self._timeout_s:
            self._lost(TimeoutError(f"no answer for {self._timeout_s} s"))
        else:
            self._watch()


def _refuse(future: asyncio.Future[Any], error: Exception) -> None:
    future.set_exception(error)
    future.exception()  # whoever waits has it, or nobody does any more


async def closing(connection: AbstractConnection) -> None:
    with suppress(*AWAY):
        await connection.disconnect(nowait=True)
