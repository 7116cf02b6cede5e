"""Threads for what blocks, and tasks that nobody cuts off."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

__all__ = ["Workers"]

THREADS = 32  # most of them wait for a disk

_T = TypeVar("_T")


class Workers:
    """To be made, used and closed in one event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._pool = ThreadPoolExecutor(THREADS, "maildir")
        self._tasks: set[asyncio.Task[Any]] = set()

    async def in_thread(self, call: Callable[..., _T], *args: Any) -> _T:
        return await self._loop.run_in_executor(self._pool, call, *args)

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
        self._pool.shutdown()
