"""One connection on which this process hears of changes made by all.

A message says only that there may be news of a mailbox; what they are is pulled. So one that is
lost does no harm as long as everybody looks again once the connection is back, and one too many
does none at all: that is why being subscribed, and being so again, wakes as a message does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from redis.asyncio.connection import AbstractConnection

from pymap.backend.redis.connection import AWAY, closing, encode

__all__ = ["Listener"]

log = logging.getLogger("pymap.redis")

RETRY_S = (0.05, 2.0)  # at first, at last
PING_S = 15.0  # silence after which the connection is asked whether it is still there


class Listener:
    """Connects when the first channel is joined."""

    def __init__(self, connect: Callable[[], AbstractConnection], timeout_s: float) -> None:
        self._connect = connect
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._channels: dict[str, asyncio.Event] = {}
        self._connection: AbstractConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._unsent: list[tuple[str, str]] = []
        self._wanted = asyncio.Event()
        self._closed = False

    async def close(self) -> None:
        # A task group forgets that it was cancelled if a task of it fails just then.
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def join(self, channel: str) -> asyncio.Event:
        """An event that is set whenever there may be news."""
        event = self._channels.get(channel)
        if event is None:
            event = self._channels[channel] = asyncio.Event()
            self._say("SUBSCRIBE", channel)
            if self._task is None:
                self._task = self._loop.create_task(self._run())
        return event

    def leave(self, channel: str, wanted: Callable[[], bool]) -> None:
        """Unless it is `wanted` again by the time it could be left. Called in any thread, and for
        channels that were never joined."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._leave, channel, wanted)

    def _leave(self, channel: str, wanted: Callable[[], bool]) -> None:
        if wanted():
            return
        if self._channels.pop(channel, None) is not None:
            self._say("UNSUBSCRIBE", channel)

    def _say(self, command: str, channel: str) -> None:
        self._unsent.append((command, channel))
        self._wanted.set()

    # -- the connection --

    async def _run(self) -> None:
        retry_s = RETRY_S[0]
        while True:
            connection = self._connect()
            try:
                async with asyncio.timeout(self._timeout_s):
                    await connection.connect()  # type: ignore[no-untyped-call]  # redis-py's
                retry_s = RETRY_S[0]
                self._unsent = [("SUBSCRIBE", channel) for channel in self._channels]
                self._wanted.set()
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._write(connection))
                    group.create_task(self._read(connection))
            except* AWAY as errors:
                log.warning("listening to Redis: %s", errors.exceptions[0])
            finally:
                await closing(connection)
            if self._closed:
                return
            await asyncio.sleep(retry_s)
            retry_s = min(2 * retry_s, RETRY_S[1])

    async def _write(self, connection: AbstractConnection) -> None:
        while True:
            try:
                async with asyncio.timeout(PING_S):
                    await self._wanted.wait()
            except TimeoutError:
                requests = [encode(("PING",))]
            else:
                requests = [encode(request) for request in self._unsent]
            self._unsent = []
            self._wanted.clear()
            async with asyncio.timeout(self._timeout_s):
                await connection.send_packed_command(requests, check_health=False)

    async def _read(self, connection: AbstractConnection) -> None:
        while True:
            async with asyncio.timeout(PING_S + self._timeout_s):
                answer = await connection.read_response(disconnect_on_error=False)
            if isinstance(answer, list) and answer[0] in (b"message", b"subscribe"):
                event = self._channels.get(answer[1].decode())
                if event is not None:
                    event.set()
