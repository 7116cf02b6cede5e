"""SIGINT, SIGTERM and SIGHUP while a verb runs: it is cancelled and tidies up; a second one ends
the process at once.

An exception that a signal raises just anywhere may be lost (in a weakref's callback, while a module
is loaded) or leave a mess, so the handler only cancels the task. What may block is read in a thread
(`aside`), for no cancellation interrupts it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Interruption"]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption:
    """Of one run; `number` is that of the signal, 0 if there was none."""

    def __init__(self) -> None:
        self.number = 0
        self._cancel: tuple[asyncio.AbstractEventLoop, asyncio.Task[object]] | None = None

    @contextmanager
    def cancels(self, task: asyncio.Task[object]) -> Iterator[None]:
        """For as long as the context lasts; signals that are ignored, as by nohup, stay so."""
        if threading.current_thread() is not threading.main_thread():
            yield  # nobody else gets signals
            return
        self._cancel = asyncio.get_running_loop(), task
        before = {number: signal.getsignal(number) for number in SIGNALS}
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, self._handle)
        try:
            yield
        finally:
            self._cancel = None
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.number:
            os._exit(128 + number)
        self.number = number
        if self._cancel is not None:
            loop, task = self._cancel
            loop.call_soon_threadsafe(task.cancel)
