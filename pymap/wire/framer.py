"""Octets in, frames out: a frame is one command, its literals cut out of its lines.

Rule 1: lines and literals are told apart here, before anything is parsed, so that no literal is
        ever read as a command and a malformed command never loses the place in the stream.
Rule 2: limits stand here. What is over them is never kept: a synchronizing literal is refused
        before it is sent, another is counted away as it comes, and what cannot be skipped in
        bounded time ends the connection.   RFC 7888 4
Rule 3: nothing is scanned twice. The cost of a frame is in its octets, however they arrive.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple

from pymap.limits import Limits

__all__ = ["Event", "Frame", "Framer", "Overflow", "TooBig"]

# {n} and {n+} at the end of a line; the ~ of literal8 stays in the text.  RFC 9051 9, literal
_LITERAL = re.compile(rb"\{(\d+)(\+?)\}\r?\n\Z")
_ABSURD = re.compile(rb"\d{30}\+?\}\r?\n\Z")
# The commands whose literals are messages.
_UPLOAD = re.compile(rb"[^ ]+ (?:UID )?(?:APPEND|REPLACE) ", re.IGNORECASE)
_ANNOTATION = re.compile(rb"[^ ]+ SETMETADATA ", re.IGNORECASE)
_TAG = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\+]+(?= )")
MAX_SKIP = 16  # times the largest message: a longer literal is not waited for, to be skipped
_TAIL = 64  # octets at the end of a line that can hold a literal's announcement


class Frame(NamedTuple):
    """`text` is the command's lines joined; after each ``{n}`` CRLF in it, the next of
    `literals` belongs."""

    text: bytes
    literals: list[bytes]


class TooBig(NamedTuple):
    """A command that went over a limit and was not kept. `tag` answers it, with NO."""

    tag: str
    text: str
    is_message: bool
    is_annotation: bool


class Overflow(NamedTuple):
    """The stream cannot go on: say BYE and close."""

    text: str


class Event(Enum):
    CONTINUE = "the client waits for + before it sends its literal"


class Framer:
    """Cuts what arrives into frames; `authenticated` switches to the larger limits."""

    __slots__ = (
        "_buffer",
        "_discarding",
        "_literal",
        "_literals",
        "_scanned",
        "_text",
        "_total",
        "_upload",
        "_wanted",
        "authenticated",
        "limits",
    )

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.authenticated = False
        self._buffer = bytearray()
        self._scanned = 0  # octets of the buffer known to hold no LF
        self._start()

    def _start(self) -> None:
        self._text = bytearray()  # lines of the frame so far
        self._literals: list[bytes] = []
        self._total = 0  # octets of its literals
        self._upload = False
        self._literal: bytearray | None = None  # the literal being received
        self._wanted = 0  # octets of it still to come
        self._discarding: TooBig | None = None

    def receive_data(self, data: bytes | bytearray | memoryview) -> None:
        self._buffer += data

    def discard(self) -> None:
        """Forget all that has arrived: what came before a TLS handshake.   RFC 9051 6.2.1"""
        self._buffer.clear()
        self._scanned = 0
        self._start()

    def take_waiting(self) -> bytes:
        """All that has arrived and was not given out: it is no text yet.   RFC 4978 3"""
        waiting = bytes(self._buffer)
        self.discard()
        return waiting

    def refuse_literal(self) -> None:
        """Drop the command whose literal the client waits to send; it goes on with the next."""
        self._start()

    @property
    def text(self) -> bytes:
        """The lines so far of a command that is not complete."""
        return bytes(self._text)

    @property
    def between(self) -> bool:
        """Whether nothing of a next command has come yet."""
        return not self._buffer and not self._text

    @property
    def waiting(self) -> int:
        """Octets received and not yet given out."""
        return len(self._buffer)

    def next_line(self) -> bytes | Overflow | None:
        """One line as it stands, without its line end: an answer to a continuation request."""
        limits = self.limits
        limit = limits.line if self.authenticated else limits.literal_before_login * 4
        line = self._take_line(limit)
        return line.rstrip(b"\r\n") if isinstance(line, bytes) else line

    def next(self) -> Frame | TooBig | Overflow | Event | None:
        """The next thing that has arrived whole, or None: more data is needed."""
        while True:
            if self._wanted and not self._take_literal():
                return None
            limits = self.limits
            limit = limits.line if self.authenticated else limits.line_before_login
            line = self._take_line(limit - len(self._text))
            if not isinstance(line, bytes):
                return line
            if line.endswith((b"}\r\n", b"}\n")):
                tail = max(0, len(line) - _TAIL)
                announced = _LITERAL.search(line, tail)
                if announced is None and _ABSURD.search(line, tail):
                    return Overflow("Literal too big")
            else:
                announced = None
            if announced is not None:
                event = self._announced(line, int(announced[1]), not announced[2])
                if event is not None:
                    return event
                continue
            if self._discarding is not None:
                refused = self._discarding
                self._start()
                return refused
            if not self._text:
                return Frame(line, [])
            frame = Frame(bytes(self._text + line), self._literals)
            self._start()
            return frame

    def _take_line(self, limit: int) -> bytes | Overflow | None:
        buffer = self._buffer
        end = buffer.find(b"\n", self._scanned)
        if end < 0:
            self._scanned = len(buffer)
            return Overflow("Line too long") if len(buffer) > limit else None
        if end > limit:
            return Overflow("Line too long")
        line = bytes(buffer[: end + 1])
        del buffer[: end + 1]
        self._scanned = 0
        return line

    def _take_literal(self) -> bool:
        """Move what has come of the literal; True when it is complete."""
        buffer = self._buffer
        take = min(self._wanted, len(buffer))
        if self._literal is not None:
            self._literal += memoryview(buffer)[:take] if take < len(buffer) else buffer
        del buffer[:take]
        self._scanned = 0
        self._wanted -= take
        if self._wanted:
            return False
        if self._literal is not None:
            self._literals.append(bytes(self._literal))
            self._literal = None
        return True

    def _announced(
        self, line: bytes, size: int, synchronizing: bool
    ) -> Event | TooBig | Overflow | None:
        """A line ended in {n}: take the literal, refuse it, or give up."""
        if not self._text:
            self._upload = self.authenticated and bool(_UPLOAD.match(line))
        self._text += line
        refused = self._discarding or self._over_limit(size)
        if refused is not None:
            if synchronizing:
                # Refused before it is sent; the client goes on with its next command. RFC 7888 4
                self._start()
                return refused
            if not self.authenticated or size > MAX_SKIP * self.limits.append:
                return Overflow("Literal too big")
            self._discarding = refused
            self._literals.clear()
        self._total += size
        self._wanted = size
        if refused is None:
            if size == 0:
                self._literals.append(b"")
            else:
                self._literal = bytearray()
        return Event.CONTINUE if synchronizing else None

    def _over_limit(self, size: int) -> TooBig | None:
        limits = self.limits
        if self._upload:
            largest, total = limits.append, limits.append_total
        elif self.authenticated:
            largest, total = limits.literal, limits.literals_total
        else:
            largest, total = limits.literal_before_login, 4 * limits.literal_before_login
        if (
            size <= largest
            and self._total + size <= total
            and len(self._literals) < limits.literals
        ):
            return None
        tag = _TAG.match(self._text)
        shown = tag[0].decode("ascii") if tag else "*"
        is_annotation = _ANNOTATION.match(self._text) is not None
        return TooBig(shown, "Literal too big", self._upload, is_annotation)
