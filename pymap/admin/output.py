"""What `pymap-admin` shows: tables, fields, one JSON document, and how far a long work is.

A table is for people on a terminal (with rich, where that is installed), and plain columns for
everybody else: the first line has the titles, two blanks at least stand between columns, "-" is
nothing. Sizes and times are raw numbers in JSON and readable everywhere else.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import StringIO
from shutil import get_terminal_size
from typing import Any, NamedTuple, TextIO

__all__ = [
    "Column",
    "Output",
    "OutputGone",
    "Update",
    "complain",
    "count",
    "duration",
    "moment",
    "octets",
    "one_line",
    "progress",
]

PAUSE_S = 0.1  # between two counters on a terminal


class OutputGone(Exception):
    """Nobody reads standard output any more: `pymap-admin who | head -1`."""


class Column(NamedTuple):
    """`key` of a row under `title`, as `show` writes it; numbers stand to the right."""

    title: str
    key: str
    show: Callable[[Any], str] = str
    right: bool = False


class Output:
    """Standard output. What writes raises OutputGone when that is closed, and OSError."""

    def __init__(self, as_json: bool = False, stream: TextIO | None = None) -> None:
        self.as_json = as_json
        self._stream = sys.stdout if stream is None else stream
        self._encoding = self._stream.encoding or "ascii"
        self._unicode = self._encoding.lower().replace("-", "") == "utf8"

    def line(self, text: str) -> None:
        if not self._unicode:  # what has no character here is written as its number
            text = text.encode(self._encoding, "backslashreplace").decode(self._encoding)
        try:
            print(text, file=self._stream, flush=True)
        except OSError as error:
            self.forget()
            if isinstance(error, BrokenPipeError):
                raise OutputGone from None
            raise

    def forget(self) -> None:
        """Python would try once more at the end to write what could not be written."""
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def document(self, value: object) -> None:
        """The one JSON document."""
        import json

        self.line(json.dumps(value, indent=2, ensure_ascii=not self._unicode))

    def fields(self, values: Mapping[str, Any], shown: Sequence[Column]) -> None:
        """One object: a line "title: value" for each of `shown`."""
        if self.as_json:
            self.document(values)
            return
        for column in shown:
            self.line(f"{column.title}: {_cell(column, values)}".rstrip())

    def table(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> None:
        """Any number of objects."""
        if self.as_json:
            self.document(rows)
            return
        cells = [[_cell(column, row) or "-" for column in columns] for row in rows]
        pretty = self._unicode and self._stream.isatty()
        if not (pretty and self._rich_table(cells, columns)):
            for line in _plain_table(cells, columns):
                self.line(line)

    def _rich_table(self, cells: list[list[str]], columns: Sequence[Column]) -> bool:
        try:
            from rich.box import SIMPLE_HEAD
            from rich.console import Console
            from rich.table import Table
            from rich.text import Text
        except ImportError:
            return False
        table = Table(box=SIMPLE_HEAD)
        for column in columns:
            side = "right" if column.right else "left"
            table.add_column(column.title, justify=side, overflow="fold")  # type: ignore[arg-type]  # a Literal
        for row in cells:
            table.add_row(*map(Text, row))  # not str: brackets would be markup
        # Not to the stream itself: when that breaks, rich ends the process.
        drawn = StringIO()
        Console(file=drawn, force_terminal=True, width=get_terminal_size().columns).print(table)
        self.line(drawn.getvalue().rstrip("\n"))
        return True


def complain(text: str) -> None:
    """One line on standard error."""
    with suppress(OSError):
        print(f"pymap-admin: {one_line(text)}", file=sys.stderr, flush=True)


def _cell(column: Column, row: Mapping[str, Any]) -> str:
    return one_line(column.show(row[column.key]))


def _plain_table(cells: list[list[str]], columns: Sequence[Column]) -> Iterator[str]:
    table = [[column.title.upper() for column in columns], *cells]
    widths = [max(map(_width, each)) for each in zip(*table, strict=True)]
    for row in table:
        padded = [
            pad + cell if column.right else cell + pad
            for column, cell, width in zip(columns, row, widths, strict=True)
            for pad in [" " * (width - _width(cell))]
        ]
        yield "  ".join(padded).rstrip()


def _width(text: str) -> int:
    """In columns of a terminal."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(
        0 if combining(sign) else 2 if east_asian_width(sign) in "WF" else 1 for sign in text
    )


def one_line(text: str) -> str:
    """Without what could break the line or drive a terminal: names come from clients."""
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape", "backslashreplace").decode()
        for sign in text
    )


# -- numbers for people --


def octets(size: int) -> str:
    """1536 -> "1.5 KiB"."""
    if size < 1024:
        return f"{size} B"
    amount, units = size / 1024, ["KiB", "MiB", "GiB", "TiB"]
    while amount >= 999.5 and len(units) > 1:
        amount /= 1024
        units.pop(0)
    unit = units[0]
    return f"{amount:.1f} {unit}" if amount < 9.95 else f"{amount:.0f} {unit}"


def duration(seconds: int) -> str:
    """3725 -> "1h02m": the two largest units."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d{hour:02}h"
    if hours:
        return f"{hours}h{minute:02}m"
    return f"{minutes}m{second:02}s" if minutes else f"{second}s"


def moment(seconds: int) -> str:
    """Of the clock of this place: "2026-11-24 15:00:00"."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def count(number: int, what: str) -> str:
    """3, "message" -> "3 messages"."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


# -- how far it is --

Update = Callable[[str, float | None], None]
"""What to show of a long work now: a text, and which share of it is done, if that is known."""


@contextmanager
def progress(
    what: str, stream: TextIO | None = None, now: Callable[[], float] = time.monotonic
) -> Iterator[Update]:
    """A bar or a counter on standard error if that is a terminal, nothing otherwise."""
    stream = sys.stderr if stream is None else stream
    if not stream.isatty() or os.environ.get("TERM") == "dumb":
        yield lambda text, share: None
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn
    except ImportError:
        with _counter(what, stream, now) as update:
            yield update
        return
    columns = (TextColumn(what, markup=False), BarColumn(), TextColumn("{task.fields[text]}"))
    with Progress(*columns, console=Console(file=stream), transient=True) as bar:
        task = bar.add_task(what, total=None, text="")

        def show(text: str, share: float | None) -> None:
            if share is None:
                bar.update(task, text=text)
            else:
                bar.update(task, text=text, total=1.0, completed=min(share, 1.0))

        yield show


@contextmanager
def _counter(what: str, stream: TextIO, now: Callable[[], float]) -> Iterator[Update]:
    """One line that is written over and over, and wiped in the end."""
    due = now()

    def show(text: str, share: float | None) -> None:
        nonlocal due
        if now() < due:
            return
        due = now() + PAUSE_S
        percent = "" if share is None else f" {min(share, 1.0):.0%}"
        with suppress(OSError):
            stream.write(f"\r{what}{percent} {one_line(text)}\x1b[K")
            stream.flush()

    try:
        yield show
    finally:
        with suppress(OSError):
            stream.write("\r\x1b[K")
            stream.flush()
