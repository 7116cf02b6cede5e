"""What the log looks like, and where it goes.

Rule 1: one record is one line, and no name that a client chooses can make it two. Only what is
        said of an exception takes more lines, and these begin with a bar.
Rule 2: nobody waits for whoever reads the log. A pipe that is full would stop the event loop, and
        all clients with it; so a thread writes, and what does not fit into its queue is counted.
Rule 3: a record can be formatted whatever it holds.
"""

from __future__ import annotations

import json
import logging
import logging.config
import math
import os
import select
import sys
import threading
import time
import tomllib
import traceback
from collections.abc import Callable, Mapping
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from pymap.config import Config

__all__ = ["JsonFormatter", "Output", "TextFormatter", "reload", "set_up"]

STDERR = 2

_applied: Callable[[], None] | None = None  # what `set_up` did last: logging is one for a process


def set_up(config: Config) -> None:
    """Begin to log as configured. Raises OSError or ValueError with a text for the operator; how
    it is logged is then undefined."""
    global _applied
    apply = partial(_to_stderr, config) if config.logging_cfg is None else _read(config.logging_cfg)
    apply()
    _applied = apply


def reload(config: Config) -> None:
    """The same once more: the configuration is read and files are opened anew, which is what
    logrotate waits for. Raises what `set_up` does; it is then logged as before or, where that is
    no longer possible, to standard error."""
    before = _applied
    try:
        set_up(config)
    except (OSError, ValueError):
        try:
            (before or partial(_to_stderr, Config()))()
        except (OSError, ValueError):
            _to_stderr(Config())
        raise


def _to_stderr(config: Config) -> None:
    levels = logging.getLevelNamesMapping()
    level = logging.DEBUG if config.debug else levels.get(config.log_level.upper())
    if level is None:
        raise ValueError(f"{config.log_level!r} is not a level of the log")
    if config.log_format not in ("text", "json"):
        raise ValueError(f"{config.log_format!r} is not a format of the log")
    journal = _is_journal(STDERR)
    line: dict[str, object] = {"()": JsonFormatter}
    if config.log_format == "text":
        line = {"()": TextFormatter, "timed": not journal}
    output: dict[str, object] = {"()": Output, "journal": journal, "formatter": "line"}
    if sys.stderr is None:
        output = {"class": "logging.NullHandler"}  # descriptor 2 may be a client's by now
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"line": line},
            "handlers": {"stderr": output},
            # What libraries say at debug is theirs, and may be what we would not show.
            "root": {"level": max(level, logging.INFO), "handlers": ["stderr"]},
            "loggers": {
                "pymap": {"level": level},
                "asyncio": {"level": max(level, logging.WARNING)},
            },
        }
    )


def _read(path: Path) -> Callable[[], None]:
    """What applies a file for Python's logging: dictConfig in .json or .toml, else fileConfig."""
    text = path.read_text("utf-8")
    try:
        if path.suffix not in (".json", ".toml"):
            parser = ConfigParser()
            parser.read_string(text)
            return partial(_apply_ini, path, parser)
        settings = (json if path.suffix == ".json" else tomllib).loads(text)
    except ConfigParserError as error:
        # Its text repeats a line, and the file may be another than was meant.
        line = getattr(error, "lineno", None)
        where = "" if line is None else f" (line {line})"
        raise ValueError(f"{path}: not a logging configuration{where}") from None
    except Exception as error:
        raise ValueError(f"{path}: {error}") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{path}: not a table of settings")
    # Our own loggers are there already, and would be silent unless the file names them.
    settings.setdefault("disable_existing_loggers", False)
    return partial(_apply_dict, path, settings)


def _apply_dict(path: Path, settings: dict[str, Any]) -> None:
    try:
        logging.config.dictConfig(settings)
    except Exception as error:  # it names classes, and calls them
        cause = f": {error.__cause__}" if error.__cause__ else ""
        raise ValueError(f"{path}: {error}{cause}") from error


def _apply_ini(path: Path, parser: ConfigParser) -> None:
    try:
        logging.config.fileConfig(parser, disable_existing_loggers=False)
    except Exception as error:  # its arguments are Python, and evaluated
        raise ValueError(f"{path}: {type(error).__name__}: {error}") from error


def _is_journal(fd: int) -> bool:
    """Whether systemd's journal reads this. Its environment is also there for those whose output
    was redirected since.   systemd.exec(5), $JOURNAL_STREAM"""
    with suppress(OSError):
        at = os.fstat(fd)
        return os.environ.get("JOURNAL_STREAM") == f"{at.st_dev}:{at.st_ino}"
    return False


# -- formats --


class TextFormatter(logging.Formatter):
    """For people. In a message what is not printable is escaped as in Python."""

    def __init__(self, timed: bool = True) -> None:
        super().__init__()
        self.timed = timed

    def format(self, record: logging.LogRecord) -> str:
        line = f"{record.levelname} {_printable(_message(record))}"
        if self.timed:
            line = f"{self.formatTime(record)} {line}"
        # An exception's own text may hold a line end and what looks like a record.
        bars = [f"\n  | {_printable(part)}" for part in _exception(record).split("\n") if part]
        return line + "".join(bars)


class JsonFormatter(logging.Formatter):
    """For programs: one JSON object in ASCII, with `time`, `level`, `logger` and `message`, the
    data that the record has as `fields`, and `exception`. A field cannot take the place of one of
    these."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        known: dict[str, object] = {
            "time": at.removesuffix("+00:00") + "Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        if told := _exception(record):
            known["exception"] = told
        fields = getattr(record, "fields", {})
        if not isinstance(fields, Mapping):
            fields = {"fields": fields}
        return json.dumps(_plain(known | {k: v for k, v in fields.items() if k not in known}))


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:
        return f"{_text(record.msg)} ({type(error).__name__} in its arguments)"


def _exception(record: logging.LogRecord) -> str:
    """What else there is to say, in lines."""
    lines = []
    if record.exc_info and record.exc_info[0] is not None:
        lines.append("".join(traceback.format_exception(*record.exc_info)).rstrip("\n"))
    elif record.exc_text:
        lines.append(record.exc_text)
    if record.stack_info:
        lines.append(record.stack_info)
    return "\n".join(lines)


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii")
        for sign in text
    )


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__}>"


def _plain(value: object, depth: int = 0) -> object:
    """The same as far as JSON has it, otherwise as text."""
    match value:
        case str():
            # Half of a surrogate pair: JSON can write it, but many cannot read it.
            return value.encode("utf-8", "backslashreplace").decode("utf-8")
        case None | bool():
            return value
        case int() if value.bit_length() <= 64:
            return int(value)
        case float() if math.isfinite(value):
            return float(value)
        case bytes() | bytearray() | memoryview():
            return bytes(value).decode("utf-8", "backslashreplace")
        case _ if depth > 8:
            return "..."
        case Mapping():
            return {str(_plain(_text(k))): _plain(v, depth + 1) for k, v in value.items()}
        case set() | frozenset():
            return sorted((_plain(item, depth + 1) for item in value), key=str)
        case list() | tuple():
            return [_plain(item, depth + 1) for item in value]
    return _plain(_text(value))


# -- the way out --


class Output(logging.Handler):
    """Writes to a file descriptor, from a thread.

    The thread lets what comes gather for 20 ms before it writes it at once. Woken for each record
    it would fight the event loop for the interpreter's lock: measured, that costs a command 40 us
    where this costs 10, and a write of our own 20.
    """

    GATHER_S = 0.02
    MOST = 4 << 20
    """Octets that may wait."""
    CHUNK = 64 << 10
    FLUSH_S = 2.0
    """How long an end waits for whoever reads the log."""

    def __init__(self, fd: int = STDERR, journal: bool = False) -> None:
        """`journal` puts the priority before each line.   sd-daemon(3)"""
        super().__init__()
        self.fd = fd
        self.journal = journal
        self.lost = 0
        """Records, since the log last told of them."""
        self._lines: SimpleQueue[bytes | threading.Event | None] = SimpleQueue()
        # Octets. Each of the two has one writer, so neither needs a lock.
        self._taken = 0
        self._written = 0
        self._closed = False
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self._line(record)
        except Exception:
            self.handleError(record)
            return
        if not self._fits(len(line)):
            self.lost += 1
            return
        self._tell_lost()
        self._put(line)

    def flush(self) -> None:
        """Wait until all is written, but not for ever."""
        if self._closed:
            return
        self._tell_lost()
        done = threading.Event()
        self._lines.put(done)
        done.wait(self.FLUSH_S)

    def close(self) -> None:
        """The thread ends once it has written what there is."""
        if not self._closed:
            self._closed = True
            self._lines.put(None)
        super().close()

    def _line(self, record: logging.LogRecord) -> bytes:
        text = self.format(record)
        if self.journal:
            mark = f"<{_priority(record.levelno)}>"
            text = mark + text.replace("\n", f"\n{mark}")
        return f"{text}\n".encode("utf-8", "backslashreplace")

    def _fits(self, size: int) -> bool:
        waiting = self._taken - self._written
        return not self._closed and (not waiting or waiting + size <= self.MOST)

    def _put(self, line: bytes) -> None:
        self._taken += len(line)
        self._lines.put(line)

    def _tell_lost(self) -> None:
        if not self.lost:
            return
        record = logging.makeLogRecord(
            {
                "name": __name__,
                "levelno": logging.WARNING,
                "levelname": "WARNING",
                "msg": "%d records of this log are lost: it was not read",
                "args": (self.lost,),
                "fields": {"lost": self.lost},
            }
        )
        self._put(self._line(record))
        self.lost = 0

    # -- in the thread --

    def _run(self) -> None:
        chunk = b""
        while True:
            first = self._lines.get()
            if isinstance(first, bytes) and len(chunk) < self.CHUNK:
                time.sleep(self.GATHER_S)
            chunk, end = self._gather(first)
            self._write(chunk)
            self._written += len(chunk)
            if isinstance(end, threading.Event):
                end.set()
            elif end is None:
                return

    def _gather(
        self, item: bytes | threading.Event | None
    ) -> tuple[bytes, bytes | threading.Event | None]:
        """Lines to write together, and what ended them: b"" if nothing did."""
        lines: list[bytes] = []
        size = 0
        while isinstance(item, bytes):
            lines.append(item)
            size += len(item)
            if size >= self.CHUNK:
                return b"".join(lines), b""
            try:
                item = self._lines.get_nowait()
            except Empty:
                return b"".join(lines), b""
        return b"".join(lines), item

    def _write(self, octets: bytes) -> None:
        left = memoryview(octets)
        while left:
            try:
                left = left[os.write(self.fd, left) :]
            except BlockingIOError:  # somebody who shares the descriptor has made it so
                ready = select.poll()
                ready.register(self.fd, select.POLLOUT)
                ready.poll()
            except OSError:
                return  # nobody reads it any more, and there is no other place to say so


def _priority(level: int) -> int:
    """Of syslog(3)."""
    for least, priority in ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4)):
        if level >= least:
            return priority
    return 6 if level >= logging.INFO else 7
