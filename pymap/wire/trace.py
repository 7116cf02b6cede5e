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

MAX_SHOWN = 400  # characters of a line

_SECRET = re.compile(rb"(?i)\b(LOGIN|AUTHENTICATE)\b.*", re.DOTALL)
_LITERAL = re.compile(rb"\{(\d+)\}\r\n\Z")


class Trace:
    """`show` gets a side, ``C:`` or ``S:``, and a line."""

    __slots__ = ("_hidden", "_hide_tag", "_line", "_piece", "_show")

    def __init__(self, show: Callable[[str, str], None]) -> None:
        self._show = show
        self._hidden = 0  # octets of a sent literal still to come
        self._piece = b""  # the beginning of a line whose end has not been sent
        self._line = b""  # what came before the last literal of the response
        self._hide_tag = False

    def received(self, text: bytes, hide: bool = False) -> None:
        """A frame's text: its literals have been cut out already. `hide` says rule 3."""
        self._hide_tag = hide
        self._emit("C:", b"<hidden>" if hide else _SECRET.sub(rb"\1 <secret>", text))

    def sent(self, octets: bytes | memoryview) -> None:
        """Any piece of what is sent; lines are put together from pieces."""
        data, at = self._piece + bytes(octets), 0
        self._piece = b""
        while at < len(data):
            if self._hidden:
                step = min(self._hidden, len(data) - at)
                self._hidden -= step
                at += step
                continue
            end = data.find(b"\n", at)
            if end < 0:
                self._piece = data[at:]
                return
            line = data[at : end + 1]
            at = end + 1
            if announced := _LITERAL.search(line, max(0, len(line) - 32)):
                self._hidden = int(announced[1])
                self._line += line[:MAX_SHOWN].rstrip() + b"... "
            else:
                self._answer(self._line + line)
                self._line = b""

    def _answer(self, line: bytes) -> None:
        if self._hide_tag and not line.startswith(b"* "):
            line = b"<hidden> " + line.partition(b" ")[2]
        self._emit("S:", line)

    def _emit(self, side: str, line: bytes) -> None:
        text = line.rstrip(b"\r\n")[:MAX_SHOWN].replace(b"\r\n", b"... ")
        shown = text.decode("utf-8", "backslashreplace")
        # One line stays one line of the log, whatever the client puts in it.
        self._show(side, shown if shown.isprintable() else shown.encode("unicode_escape").decode())
