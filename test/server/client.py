"""A client that trusts nothing: raw octets out, frames in, and nothing is read unless asked for."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import struct
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, NamedTuple

WAIT_S = 10.0  # a server that does not answer fails its test
_LITERAL = re.compile(rb"\{(\d+)\}\r\n\Z")


async def becomes(condition: Callable[[], bool], within_s: float = 5.0) -> bool:
    """Whether something that nobody tells of comes true in time."""
    end = asyncio.get_running_loop().time() + within_s
    while not condition():
        if asyncio.get_running_loop().time() > end:
            return False
        await asyncio.sleep(0.005)
    return True


class Answer(NamedTuple):
    """What came up to a tagged response: complete untagged responses, and the tagged line."""

    untagged: list[bytes]
    tagged: bytes

    @property
    def condition(self) -> bytes:
        return self.tagged.split(b" ", 2)[1]


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.buffer = bytearray()
        self.greeting = b""
        self.tags = 0
        self.deflater: zlib._Compress | None = None
        self.inflater: zlib._Decompress | None = None

    @classmethod
    async def connect(cls, address: tuple[str, int], greeted: bool = True, **how: Any) -> Client:
        """`how` goes to `asyncio.open_connection`: ssl, sock, local_addr, limit."""
        if "sock" not in how:
            how["host"], how["port"] = address
        async with asyncio.timeout(WAIT_S):
            client = cls(*await asyncio.open_connection(**how))
            if greeted:
                client.greeting = await client.response()
        return client

    # -- out --

    def send(self, *octets: bytes) -> None:
        if self.deflater is None:
            self.writer.writelines(octets)
        else:
            sent = self.deflater.compress(b"".join(octets))
            self.writer.write(sent + self.deflater.flush(zlib.Z_SYNC_FLUSH))

    async def pour(self, pieces: Iterable[bytes]) -> bool:
        """Send at the server's pace; False if it closed the connection."""
        try:
            async with asyncio.timeout(WAIT_S):
                for piece in pieces:
                    self.writer.write(piece)
                    await self.writer.drain()
        except (ConnectionError, OSError):
            return False
        return True

    # -- in --

    async def _more(self) -> bool:
        try:
            async with asyncio.timeout(WAIT_S):
                data = await self.reader.read(1 << 16)
        except ConnectionError:
            data = b""
        self.buffer += data if self.inflater is None else self.inflater.decompress(data)
        return bool(data)

    async def read(self, size: int) -> bytes:
        while len(self.buffer) < size:
            if not await self._more():
                raise EOFError(bytes(self.buffer))
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        return data

    async def line(self) -> bytes:
        """Up to and with CRLF; b"" at the end of the stream."""
        scanned = 0
        while (end := self.buffer.find(b"\n", scanned)) < 0:
            scanned = len(self.buffer)
            if not await self._more():
                assert not self.buffer, f"the last line is cut: {bytes(self.buffer[:200])!r}"
                return b""
        return await self.read(end + 1)

    async def response(self) -> bytes:
        """One response with its literals."""
        whole = line = await self.line()
        if not _LITERAL.search(line):
            return whole
        pieces = [line]
        while announced := _LITERAL.search(line):
            pieces.append(await self.read(int(announced[1])))
            pieces.append(line := await self.line())
        return b"".join(pieces)

    async def until(self, tag: bytes) -> Answer:
        untagged = []
        while True:
            response = await self.response()
            if not response:
                raise EOFError(untagged[-3:])
            if response.startswith(tag + b" "):
                return Answer(untagged, response)
            untagged.append(response)

    async def swallow(self, tag: bytes, within_s: float = WAIT_S) -> tuple[int, bytes]:
        """Read up to a tagged line without looking at what comes before: octets, and the line."""
        sought, seen, tail = b"\r\n" + tag + b" ", 0, b"\r\n" + bytes(self.buffer)
        self.buffer.clear()
        async with asyncio.timeout(within_s):
            while (at := tail.find(sought)) < 0 or tail.find(b"\r\n", at + 2) < 0:
                data = await self.reader.read(1 << 16)
                if not data:
                    raise EOFError(tail[-200:])
                keep = tail[-len(sought) - 500 :] if at < 0 else tail[at:]
                seen += len(tail) - len(keep)
                tail = keep + data
        end = tail.find(b"\r\n", at + 2) + 2
        self.buffer += tail[end:]
        return seen + end - 2, tail[at + 2 : end]

    async def rest(self) -> list[bytes]:
        """All responses until the server closes; then this side closes too."""
        found = []
        while response := await self.response():
            found.append(response)
        self.writer.close()
        return found

    # -- commands --

    async def command(self, *pieces: bytes) -> Answer:
        """Send a command without its tag; literals are the caller's business."""
        self.tags += 1
        tag = b"t%d" % self.tags
        self.send(tag, b" ", *pieces, b"\r\n")
        return await self.until(tag)

    async def ok(self, *pieces: bytes) -> list[bytes]:
        answer = await self.command(*pieces)
        assert answer.condition == b"OK", (pieces[0][:80], answer.tagged[:300])
        return answer.untagged

    async def login(self, select: bytes | None = None) -> Client:
        await self.ok(b"LOGIN demouser demopass")
        if select is not None:
            await self.ok(b"SELECT ", select)
        return self

    async def append(self, message: bytes, mailbox: bytes = b"INBOX") -> Answer:
        return await self.command(b"APPEND ", mailbox, b" {%d+}\r\n" % len(message), message)

    async def idle(self) -> None:
        self.send(b"idle IDLE\r\n")
        assert (await self.response()).startswith(b"+ ")

    async def start_tls(self, context: ssl.SSLContext) -> None:
        async with asyncio.timeout(WAIT_S):
            await self.writer.start_tls(context, server_hostname="localhost")

    async def compress(self) -> None:
        await self.ok(b"COMPRESS DEFLATE")
        self.deflater, self.inflater = zlib.compressobj(wbits=-15), zlib.decompressobj(-15)
        self.buffer[:] = self.inflater.decompress(self.buffer)

    def end_compression(self, *octets: bytes) -> None:
        """Send the last octets of the stream."""
        assert self.deflater is not None
        self.writer.write(self.deflater.compress(b"".join(octets)) + self.deflater.flush())
        self.deflater = None

    # -- the end --

    def reset(self) -> None:
        """Go away without a word: RST, as after a crash or from a router, where close sends FIN."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def close(self) -> None:
        with suppress(Exception):
            async with asyncio.timeout(5):
                self.writer.transport.abort()
                await self.writer.wait_closed()
