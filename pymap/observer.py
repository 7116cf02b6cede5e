"""What a server tells of itself while it runs, for metrics and the like.

Imports nothing of ours, so that every layer may hold it.
"""

from __future__ import annotations

__all__ = ["Observer"]


class Observer:
    """Told of what happens, in the event loop, right when it happens: a method takes microseconds
    and never raises. Each does nothing unless overridden; `Server.observers` holds those to tell.
    """

    def connected(self, tls: bool) -> None:
        """A client has connected; `tls` is implicit TLS."""

    def disconnected(self, seconds: float, received: int, sent: int) -> None:
        """A client of `connected` is gone, after that time and those octets."""

    def refused(self, reason: str) -> None:
        """A client was turned away at once: ``limit``, ``proxy``."""

    def handshake(self, ok: bool) -> None:
        """A TLS handshake has ended."""

    def authenticated(self, mechanism: str, result: str) -> None:
        """An attempt to log in has ended: ``ok``, ``failed``, ``throttled``, ``cancelled``.
        `mechanism` is upper case; LOGIN is the command and the mechanism alike."""

    def commanded(self, name: str, result: str, seconds: float) -> None:
        """A command was carried out: its name as on the wire (``UID FETCH`` is ``FETCH``), ``ok``,
        ``no`` or ``bad``. What cannot be parsed has the name ``?``. IDLE counts until DONE."""

    def appended(self, messages: int, octets: int, source: str) -> None:
        """Messages were added: by ``append`` (a client) or ``admin`` (delivered, imported)."""

    def backend_failed(self, code: str) -> None:
        """A store raised an error that is its own fault: UNAVAILABLE, CORRUPTION, SERVERBUG."""
