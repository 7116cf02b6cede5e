"""Threads for what blocks, and tasks that nobody cuts off."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

__all__ = ["Workers"]

CHANGING = 32  # threads; most of them wait for a disk, or for somebody's lock
READING = 8  # threads for what waits for no lock, so that it need not wait for those that do

_T = TypeVar("_T")


class Workers:
    """To be made, used and closed in one event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._changing = ThreadPoolExecutor(CHANGING, "maildir")
        self._reading = ThreadPoolExecutor(READING, "maildir-read")
        self._tasks: set[asyncio.Task[Any]] = set()

    async def in_thread(self, call: Callable[..., _T], *args: Any) -> _T:
        """Call what may wait for locks."""
        return await self._loop.run_in_executor(self._changing, call, *args)

    async def read(self, call: Callable[..., _T], *args: Any) -> _T:
        """Call what waits for nobody but the disk."""
        return await self._loop.run_in_executor(self._reading, call, *args)

    async def finish(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run `work` to its end, also when the caller is cancelled meanwhile."""
        return await asyncio.shield(self.start(work))

    def start(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited has it, or nobody does any more

    async def idle(self) -> None:
        """Wait until everything that was started has ended."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def close(self) -> None:
        self._changing.shutdown()
        self._reading.shutdown()
