"""As much of HTTP/1.1 as a probe needs: GET and HEAD, one request for each connection.

RFC 9112. A connection that is closed after its answer has no second request whose beginning could
be misunderstood, and none that waits for one.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import NamedTuple

__all__ = ["Listener", "Response"]

log = logging.getLogger("pymap.http")

HEAD = 8 * 1024
"""Octets of a request, its body not counted: that is never read."""
CONNECTIONS = 32
REQUEST_S = 5.0
"""For a request to arrive, from the connection on."""
WRITE_S = 10.0
"""For an answer to be taken."""
LINGER_S = 1.0
"""For the client to close its side."""

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rb"(%b) ([!-~]+) HTTP/([0-9]\.[0-9])\r?\n" % _TOKEN)
_FIELD_LINE = re.compile(rb"(%b):[\t -~\x80-\xff]*\r?\n" % _TOKEN)
_AUTHORITY = re.compile(rb"\A(?i:https?)://[^/?]*")


class Response(NamedTuple):
    status: HTTPStatus
    body: bytes
    content_type: str = "text/plain; charset=utf-8"

    def encode(self, head_only: bool = False) -> bytes:
        lines = [
            f"HTTP/1.1 {self.status.value} {self.status.phrase}",
            f"Date: {formatdate(usegmt=True)}",
            f"Content-Type: {self.content_type}",
            f"Content-Length: {len(self.body)}",
            "Cache-Control: no-store",
            "X-Content-Type-Options: nosniff",
            *(["Allow: GET, HEAD"] if self.status is HTTPStatus.METHOD_NOT_ALLOWED else []),
            "Connection: close",
            "\r\n",
        ]
        head = "\r\n".join(lines).encode("ascii")
        return head if head_only else head + self.body


Route = Callable[[], Awaitable[Response]]


class Refused(Exception):
    """A request that gets no more than a status."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


class Listener:
    """Answers GET and HEAD by path."""

    def __init__(self, routes: Mapping[str, Route]) -> None:
        self._routes = routes
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def open(self, host: str, port: int) -> list[tuple[str, int]]:
        """Returns where it listens: port 0 picks a free one. Raises OSError."""
        self._server = await asyncio.start_server(self._connected, host, port, limit=HEAD)
        return [sock.getsockname()[:2] for sock in self._server.sockets]

    async def close(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._server.wait_closed()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._converse(reader, writer)
        except (EOFError, OSError):
            pass  # the client is gone, or too slow: TimeoutError is an OSError
        finally:
            writer.transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        crowded = len(self._tasks) > CONNECTIONS
        head_only = False
        try:
            if crowded:
                raise Refused(HTTPStatus.SERVICE_UNAVAILABLE)
            method, path = parse(await _head(reader))
            head_only = method == "HEAD"
            if method not in ("GET", "HEAD"):
                raise Refused(HTTPStatus.METHOD_NOT_ALLOWED)
            if path not in self._routes:
                raise Refused(HTTPStatus.NOT_FOUND)
            response = await self._routes[path]()
        except Refused as refused:
            response = Response(refused.status, f"{refused}\n".encode())
        except (EOFError, OSError):
            raise
        except Exception:
            log.exception("http: a request failed")
            response = Response(HTTPStatus.INTERNAL_SERVER_ERROR, b"Internal error\n")
        async with asyncio.timeout(WRITE_S):
            writer.transport.set_write_buffer_limits(0)  # or `drain` returns before it has left
            writer.write(response.encode(head_only))
            await writer.drain()
        if not crowded:
            # What comes behind the request is read, for closing on it would reset the connection,
            # and the answer might be lost on its way.   RFC 9112 9.6
            writer.write_eof()
            async with asyncio.timeout(LINGER_S):
                while await reader.read(HEAD):
                    pass


async def _head(reader: asyncio.StreamReader) -> bytes:
    """The request up to the empty line. Raises Refused, or EOFError if the client has gone."""
    head = bytearray()
    try:
        async with asyncio.timeout(REQUEST_S):
            while not head.endswith((b"\n\n", b"\n\r\n")):
                line = await reader.readline()
                if not line.endswith(b"\n"):
                    raise EOFError
                head += line
                if len(head) > HEAD:
                    raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
    except ValueError:  # a line that is too long
        raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE) from None
    except TimeoutError:
        raise Refused(HTTPStatus.REQUEST_TIMEOUT) from None
    return bytes(head)


def parse(head: bytes) -> tuple[str, str]:
    """Method and path of a request. Raises Refused.   RFC 9112 3, 5"""
    first, *fields, _ = head.splitlines(keepends=True)
    request = _REQUEST_LINE.fullmatch(first)
    if request is None or not all(map(_FIELD_LINE.fullmatch, fields)):
        raise Refused(HTTPStatus.BAD_REQUEST)
    method, target, version = request.groups()
    if not version.startswith(b"1."):
        raise Refused(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
    hosts = sum(field[:5].lower() == b"host:" for field in fields)
    if hosts > 1 or (not hosts and version != b"1.0"):
        raise Refused(HTTPStatus.BAD_REQUEST)  # RFC 9112 3.2
    path = _AUTHORITY.sub(b"", target, count=1).partition(b"?")[0]
    return method.decode("ascii"), path.decode("ascii")
