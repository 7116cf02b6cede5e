"""SIGINT, SIGTERM and SIGHUP while a verb runs: it is cancelled and tidies up; a second one ends
the process at once.

An exception that a signal raises just anywhere may be lost (in a weakref's callback, while a module
is loaded) or leave a mess, so the handler only cancels the task. It raises one where the process
waits for standard input, which no cancellation interrupts.
"""

from __future__ import annotations

import asyncio
import io
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import BinaryIO, cast

__all__ = ["Interruption"]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption:
    """Of one run; `number` is that of the signal, 0 if there was none."""

    def __init__(self, stdin: int = 0) -> None:
        self.number = 0
        self.waiting = False  # for standard input
        self.stdin = cast(BinaryIO, io.BufferedReader(_Input(self, stdin), 256 * 1024))
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
        if self.waiting:
            raise KeyboardInterrupt
        if self._cancel is not None:
            loop, task = self._cancel
            loop.call_soon_threadsafe(task.cancel)


class _Input(io.RawIOBase):
    """Standard input."""

    def __init__(self, interruption: Interruption, fd: int) -> None:
        self._interruption = interruption
        self._fd = fd

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]  # any buffer
        interruption = self._interruption
        interruption.waiting = True
        try:
            if interruption.number:  # it came just before
                raise KeyboardInterrupt
            return os.readv(self._fd, [buffer])
        finally:
            interruption.waiting = False
