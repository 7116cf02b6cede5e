"""Reading beside the event loop, for it may take any time: a pipe that says nothing, a mount that
hangs, a device without an end. So a signal is heard meanwhile, and ends the process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Generic, TypeVar

__all__ = ["Taken", "aside"]

_T = TypeVar("_T")

AHEAD = 32  # items that wait to be used: pieces of 64 KiB, mostly


class Taken(Generic[_T]):
    """What a thread takes from an iterator."""

    def __init__(self, items: Iterator[_T]) -> None:
        self._items = items
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Queue[tuple[_T] | BaseException | None] = asyncio.Queue()
        self._room = threading.Semaphore(AHEAD)
        self._stopped = False
        # asyncio's own threads, and those that are no daemons, would be waited for at the end.
        threading.Thread(target=self._work, daemon=True).start()

    async def __anext__(self) -> _T:
        found = await self._waiting.get()
        if isinstance(found, tuple):
            self._room.release()
            return found[0]
        self._waiting.put_nowait(found)  # whoever asks again hears the same
        raise found or StopAsyncIteration

    def __aiter__(self) -> AsyncIterator[_T]:
        return self

    def stop(self) -> None:
        self._stopped = True
        self._room.release()

    def _work(self) -> None:
        try:
            for item in self._items:
                self._put((item,))
                self._room.acquire()
                if self._stopped:
                    break
            end = None
        except BaseException as error:  # it is raised where the items are used
            end = error
        close = getattr(self._items, "close", None)
        if close is not None:
            close()
        self._put(end)

    def _put(self, what: tuple[_T] | BaseException | None) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._waiting.put_nowait, what)


@asynccontextmanager
async def aside(items: Iterator[_T]) -> AsyncIterator[Taken[_T]]:
    """`items`, some of them taken ahead. What they raise is raised by `__anext__`. A generator is
    closed in the end, in its thread; one that waits for its next octet then is left to itself."""
    taken = Taken(items)
    try:
        yield taken
    finally:
        taken.stop()
