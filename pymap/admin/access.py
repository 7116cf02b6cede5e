"""Who may make calls.

On the UNIX socket it is the user that the server runs as, and root: the kernel says who has
connected. Over TCP it is whoever has the token, and sends it as ``authorization: Bearer TOKEN``.
"""

from __future__ import annotations

import hmac
import logging
import os
import socket
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pymap.tls import stamp

if TYPE_CHECKING:
    from grpclib.protocol import Peer

__all__ = ["Access", "Denied", "TokenAccess", "same_user"]

log = logging.getLogger("pymap.admin")

SHORTEST = 16
"""Octets of a token: one that can be guessed is none."""
LARGEST = 4096


class Denied(Exception):
    """`who` is for the log, and `known` whether that is really the one who asks."""

    def __init__(self, text: str, who: str, known: bool) -> None:
        super().__init__(text)
        self.who = who
        self.known = known


Access = Callable[["Peer", Mapping[str, Any]], str]
"""Given the connection and the metadata of a call, returns who it is, for the log. Raises Denied.
It is asked for every call."""


def same_user(peer: Peer, metadata: Mapping[str, Any]) -> str:
    """Where the system does not tell who has connected (only Linux does it in this way), the mode
    of the socket is all there is."""
    if not hasattr(socket, "SO_PEERCRED"):
        return "local"
    layout = struct.Struct("iII")  # struct ucred: pid, uid, gid
    try:
        # grpclib has no other way to it.
        sock = peer._transport.get_extra_info("socket")
        _, uid, _ = layout.unpack(
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, layout.size)
        )
    except OSError as error:  # closed already
        raise Denied("the connection is closed", "?", known=False) from error
    who = f"uid {uid}"
    if uid not in (0, os.geteuid()):
        raise Denied("only root and the user that the server runs as may do this", who, known=True)
    return who


class TokenAccess:
    """By the token in a file, which is read again when it has changed."""

    def __init__(self, path: Path) -> None:
        """Raises OSError and ValueError with a text for the operator."""
        self._path = path
        self._seen = stamp(path)
        self._token = _read(path)

    def __call__(self, peer: Peer, metadata: Mapping[str, Any]) -> str:
        scheme, _, token = str(metadata.get("authorization", "")).partition(" ")
        good = hmac.compare_digest(token.strip().encode("utf-8", "replace"), self._current())
        address = peer.addr()
        who = "?" if address is None else f"{address[0]}:{address[1]}"
        if not good or scheme.lower() != "bearer":
            raise Denied("a token is needed: authorization: Bearer TOKEN", who, known=False)
        return who

    def _current(self) -> bytes:
        found = stamp(self._path)
        if found != self._seen:
            self._seen = found
            try:
                self._token = _read(self._path)
                log.info("%s: read again", self._path)
            except (OSError, ValueError) as error:
                # Somebody has taken the old one away, for a reason.
                self._token = os.urandom(SHORTEST)
                log.error("%s; no token is good until there is one", error)
        return self._token


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        token = file.read(LARGEST + 1).strip()
    if not SHORTEST <= len(token) <= LARGEST or not token.isascii() or len(token.split()) != 1:
        raise ValueError(
            f"{path}: a token is one word of {SHORTEST} to {LARGEST} signs of ASCII, and nothing"
            " else is in the file"
        )
    return token
