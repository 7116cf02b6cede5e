"""The protocol lines for the log, without what is secret or large.

Rule 1: a literal is never shown, in either direction: it may be a message or a password.
Rule 2: of a line that tries to log in, nothing behind the command is shown, well-formed or not.
Rule 3: before login, what is no command may be a SASL response that came too early: then neither
        it nor the tag with which it is answered is shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable

__all__ = ["Trace"]

MAX_SHOWN = 400  # octets of a line

_SECRET = re.compile(rb"(?i)\b(LOGIN|AUTHENTICATE(?: +[A-Z0-9_-]+)?)\b.*", re.DOTALL)
_LITERAL = re.compile(rb"\{(\d+)\}\r\n")


class Trace:
    """`show` gets a side, ``C:`` or ``S:``, and a line."""

    __slots__ = ("_hidden", "_hide_tag", "_line", "_show")

    def __init__(self, show: Callable[[str, str], None]) -> None:
        self._show = show
        self._hidden = 0  # octets of a sent literal still to come
        self._line = b""
        self._hide_tag = False

    def received(self, text: bytes, hide: bool = False) -> None:
        """A frame's text: its literals have been cut out already. `hide` says rule 3."""
        self._hide_tag = hide
        self._emit("C:", b"<hidden>" if hide else _SECRET.sub(rb"\1 <secret>", text))

    def sent(self, octets: bytes | memoryview) -> None:
        """Any piece of what is sent; lines are put together from pieces."""
        data, at = bytes(octets), 0
        while at < len(data):
            if self._hidden:
                step = min(self._hidden, len(data) - at)
                self._hidden -= step
                at += step
                continue
            end = data.find(b"\n", at)
            if end < 0:
                self._line = (self._line + data[at:])[:MAX_SHOWN]
                return
            line = data[at : end + 1]
            at = end + 1
            self._line += line if len(self._line) < MAX_SHOWN else b""
            if announced := _LITERAL.search(line):
                self._hidden = int(announced[1])
                self._line = self._line.rstrip() + b"... "
            else:
                if self._hide_tag and not self._line.startswith(b"* "):
                    self._line = b"<hidden> " + self._line.partition(b" ")[2]
                self._emit("S:", self._line)
                self._line = b""

    def _emit(self, side: str, line: bytes) -> None:
        shown = line.rstrip(b"\r\n")[:MAX_SHOWN]
        self._show(side, shown.decode("utf-8", "backslashreplace").replace("\r\n", "... "))
