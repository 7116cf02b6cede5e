"""COMPRESS=DEFLATE: both directions of a connection as raw DEFLATE streams.   RFC 4978

Rule 1: of what a client has sent, no more is inflated than can be worked on: a piece at a time, and
        the next one only when nothing of the last is left. 64 KiB can be 64 MiB.
Rule 2: what leaves together is flushed once, at its end.
Rule 3: what arrives is taken flush by flush. UNAUTHENTICATE ends compression behind its CRLF, and
        what comes after that flush is plain text that was never in the stream.   RFC 8437 4.1
"""

from __future__ import annotations

import zlib

from pymap.imap.session import Session
from pymap.wire import responses as r
from pymap.wire.commands import Compress
from pymap.wire.errors import BadCommand, Refused

__all__ = ["PIECE", "Compression", "Corrupt", "compress"]

PIECE = 64 * 1024  # octets inflated or deflated in one step: 0.1-2 ms

# Measured over FETCH lines, ENVELOPEs, text and base64: this leaves 15, 9, 36 and 77 % of them, at
# 200, 300, 70 and 40 MB/s, with 38 KiB for a deflater. zlib's own choice (level 6, a window of
# 32 KiB) leaves 13, 8, 28 and 76 %, at 60, 110, 28 and 30 MB/s, with 256 KiB.
LEVEL = 3
WINDOW_BITS = -12
MEMORY_LEVEL = 5

_FLUSHED = b"\0\0\xff\xff"  # how a flush ends.   RFC 1951 3.2.4


async def compress(session: Session, command: Compress) -> None:
    """RFC 4978 3. Only one who has logged in can ask, and STARTTLS is behind it then: what is
    compressed is encrypted after that, as it must be."""
    if command.algorithm != "DEFLATE":
        raise BadCommand("Unknown compression algorithm")
    if session.peer.compresses:
        # "COMPRESS already active" is BAD, "the same mechanism is active" NO with a code: a client
        # learns more from the latter.
        raise Refused("COMPRESSIONACTIVE", "DEFLATE is active already")
    session.send(r.Tagged(command.tag, r.Condition.OK, "DEFLATE active"))
    session.peer.start_compression()


class Corrupt(Exception):
    """What the client sends is not compressed, or not as it must be."""


class Compression:
    """The streams of one connection. At rest it holds the inflater, 40 KiB at most."""

    __slots__ = ("_deflater", "_inflater", "_more", "_received")

    def __init__(self) -> None:
        self._deflater: zlib._Compress | None = None
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._received = bytearray()  # not given to the inflater yet
        self._more = False  # the inflater has more to tell of what it was given

    def receive(self, octets: bytes | memoryview) -> None:
        self._received += octets

    @property
    def waits(self) -> bool:
        """Whether `inflate` may have more to tell."""
        return self._more or bool(self._received) or bool(self._inflater.unused_data)

    def inflate(self) -> bytes:
        """The next octets, PIECE at most, and often none though more will follow. Raises
        Corrupt."""
        inflater = self._inflater
        given: bytes | bytearray = inflater.unconsumed_tail
        if not self._more:
            if inflater.eof:
                raise Corrupt("octets behind the end")
            end = self._received.find(_FLUSHED)
            end = len(self._received) if end < 0 else end + len(_FLUSHED)
            given = self._received[:end]
            del self._received[:end]
        try:
            octets = inflater.decompress(given, PIECE)
        except zlib.error as error:
            raise Corrupt(str(error)) from error
        # A full piece may have left something inside, even where all was consumed.
        self._more = bool(inflater.unconsumed_tail) or len(octets) == PIECE
        return octets

    def deflate(self, octets: bytes | memoryview, flush: bool = True) -> bytes:
        """What is to be sent; with `flush`, the client can read all of it."""
        if self._deflater is None:
            self._deflater = zlib.compressobj(LEVEL, zlib.DEFLATED, WINDOW_BITS, MEMORY_LEVEL)
        sent = self._deflater.compress(octets)
        return sent + self._deflater.flush(zlib.Z_SYNC_FLUSH) if flush else sent

    def rest(self) -> None:
        """Nothing will be sent for a while. Behind a flush a stream can go on from any deflater:
        a new one only knows nothing of what was said before, so this one need not be kept."""
        self._deflater = None

    def end(self, octets: bytes) -> tuple[bytes, bytes]:
        """Both streams end: what is to be sent, with `octets` at its end, and what the client has
        sent behind its end."""
        sent = self.deflate(octets, flush=False)
        assert self._deflater is not None
        rest = self._inflater.unused_data + self._inflater.unconsumed_tail + bytes(self._received)
        return sent + self._deflater.flush(zlib.Z_FINISH), rest
