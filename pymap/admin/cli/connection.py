"""Calls to the service of a running server. The only place that knows grpclib, which is loaded with
the first call."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from argparse import Namespace
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from pymap.admin.cli.exits import Exit, Failure, of_code, of_status

if TYPE_CHECKING:
    from grpclib.client import Channel, ServiceMethod, Stream

__all__ = ["Call", "Client", "Target", "connect", "target"]

_Request = TypeVar("_Request")
_Reply = TypeVar("_Reply")


class Target(NamedTuple):
    """Where the server is: at `path`, or at `host` and `port`, which asks for TLS and a token."""

    path: Path | None
    host: str = ""
    port: int = 0
    ca: Path | None = None
    token: str = ""

    def __str__(self) -> str:
        return str(self.path) if self.path is not None else f"{self.host}:{self.port}"


def target(args: Namespace) -> Target:
    """What the options say; without any, the only server that runs here. Raises Failure."""
    if args.server is not None:
        host, port = args.server
        return Target(None, host, port, args.ca, _token(args.token_file))
    if args.socket is not None:
        return Target(args.socket)
    from pymap.admin import sockets

    found = sockets.find()
    if not found:
        raise Failure(Exit.UNAVAILABLE, "no running server found (--socket PATH?)", Exit.LATER)
    if len(found) > 1:
        paths = ", ".join(map(str, found))
        raise Failure(
            Exit.CONFIG, f"{len(found)} servers are running, choose one by --socket: {paths}",
            Exit.LATER,
        )  # fmt: skip
    return Target(found[0])


def _token(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        token = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not ASCII"
        raise Failure(Exit.CONFIG, f"{path}: {reason}", Exit.LATER) from error
    if not token.isprintable() or " " in token:
        raise Failure(Exit.CONFIG, f"{path}: is not one line with a token", Exit.LATER)
    return token


class Client:
    """A connection, made with the first call. Each step of a call waits `timeout_s` at most."""

    def __init__(self, to: Target, channel: Channel, timeout_s: float) -> None:
        from pymap.admin.proto.admin_grpc import MailboxesStub, ServerStub, UsersStub

        self.server = ServerStub(channel)
        self.users = UsersStub(channel)
        self.mailboxes = MailboxesStub(channel)
        self.timeout_s = timeout_s
        self._to = to
        self._metadata = {"authorization": f"Bearer {to.token}"} if to.token else None

    async def call(self, method: ServiceMethod[_Request, _Reply], request: _Request) -> _Reply:
        """One question, one answer. Raises Failure."""
        async with self.open(method) as call:
            await call.send(request, end=True)
            return await call.only()

    async def receive(
        self, method: ServiceMethod[_Request, _Reply], request: _Request
    ) -> AsyncGenerator[_Reply, None]:
        """One question, any number of answers. Raises Failure."""
        async with self.open(method) as call:
            await call.send(request, end=True)
            while (reply := await call.receive()) is not None:
                yield reply

    @asynccontextmanager
    async def open(
        self, method: ServiceMethod[_Request, _Reply]
    ) -> AsyncIterator[Call[_Request, _Reply]]:
        """Any number of messages both ways. What the service, or the way to it, refuses is raised
        as Failure, here or in the methods of the call."""
        from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError
        from h2.exceptions import H2Error

        stream: Stream[_Request, _Reply] = method.open(metadata=self._metadata)
        try:
            async with stream:
                yield Call(stream, self._to, self.timeout_s)
        except GRPCError as error:
            code, text = _code(stream), error.message or error.status.name
            raise (of_code(code, text) if code else of_status(error.status.name, text)) from error
        except (StreamTerminatedError, ProtocolError, H2Error) as error:
            raise _lost(self._to, str(error) or type(error).__name__) from error


class Call(Generic[_Request, _Reply]):
    """What goes to and fro. Two tasks may use it, one that sends and one that receives."""

    def __init__(self, stream: Stream[_Request, _Reply], to: Target, timeout_s: float) -> None:
        self._stream = stream
        self._to = to
        self._timeout_s = timeout_s

    async def send(self, message: _Request, *, end: bool = False) -> None:
        """Waits for the server to take it. `end`: it is the last one."""
        async with self._step():
            await self._stream.send_message(message, end=end)

    async def end(self) -> None:
        async with self._step():
            await self._stream.end()

    async def receive(self) -> _Reply | None:
        """None after the last one."""
        async with self._step():
            reply = await self._next()
            if reply is None:
                await self._finish()
            return reply

    async def _next(self) -> _Reply | None:
        from grpclib.exceptions import StreamTerminatedError
        from grpclib.stream import recv_message

        try:
            return await self._stream.recv_message()
        except StreamTerminatedError:
            # A server that refuses what we still send resets the stream behind its last answer.
            # grpclib then hands out no more, though it has received it.
            stream = self._stream
            reply = None
            if stream._stream.trailers is not None:
                reply = await recv_message(stream._stream, stream._codec, stream._recv_type)
            if reply is None:
                raise
            return reply

    async def only(self) -> _Reply:
        """The answer of a call that has one."""
        reply = await self.receive()
        if reply is None:
            raise _lost(self._to, "no answer")
        async with self._step():
            await self._finish()
        return reply

    async def _finish(self) -> None:
        """Waits for how it has ended: grpclib would do so as well, but for any time."""
        from grpclib.exceptions import ProtocolError, StreamTerminatedError

        try:
            await self._stream.recv_trailing_metadata()
        except ProtocolError as error:  # we had not ended: grpclib now looks why the server has
            raise StreamTerminatedError("the server has ended the call") from error

    @asynccontextmanager
    async def _step(self) -> AsyncIterator[None]:
        from grpclib.exceptions import StreamTerminatedError
        from h2.exceptions import NoSuchStreamError

        try:
            async with asyncio.timeout(self._timeout_s) as timeout:
                yield
        except TimeoutError as error:
            if not timeout.expired():  # the system's own, of a connection
                raise _lost(self._to, os.strerror(errno.ETIMEDOUT)) from error
            text = f"{self._to}: no answer for {self._timeout_s:g} s"
            raise Failure(Exit.LATER, text) from error
        except PermissionError as error:
            text = f"{self._to}: {error.strerror}"
            raise Failure(Exit.PERMISSION, text, Exit.LATER) from error
        except OSError as error:  # also of TLS
            raise _lost(self._to, _reason(error)) from error
        except NoSuchStreamError as error:
            # The server has refused what we still send. grpclib tells why, if we call it so.
            raise StreamTerminatedError("the server has ended the call") from error
        except AttributeError as error:
            # grpclib 0.4.9 has deleted its transport: the other side hung up just now.
            raise _lost(self._to, "the connection was closed") from error


def _lost(to: Target, reason: str) -> Failure:
    return Failure(Exit.UNAVAILABLE, f"{to}: {reason}", Exit.LATER)


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not good: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or error}"
    if error.errno and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)  # asyncio's own text is a long one
    return error.strerror or str(error) or type(error).__name__


def _code(stream: Any) -> str:
    """The `pymap-code` of an error. grpclib hands the trailing metadata over in the usual case;
    when the server broke off, what has arrived of it is only in the stream below."""
    metadata = stream.trailing_metadata
    if metadata is None:
        below = stream._stream
        metadata = dict(below.trailers or below.headers or ())
    return str(metadata.get("pymap-code", ""))


@asynccontextmanager
async def connect(to: Target, timeout_s: float) -> AsyncIterator[Client]:
    """Raises Failure if what is needed for it is not installed, or not set up."""
    try:
        from grpclib.client import Channel

        import pymap.admin.proto.admin_grpc  # noqa: F401  so that one error tells of both
    except ImportError as error:
        text = f"needs more ({error}): pip install 'pymap[admin]'"
        raise Failure(Exit.CONFIG, text, Exit.LATER) from error
    if to.path is not None:
        channel = Channel(path=str(to.path))
    else:
        channel = Channel(to.host, to.port, ssl=_tls(to.ca))
    try:
        yield Client(to, channel, timeout_s)
    finally:
        _hang_up(channel)


def _hang_up(channel: Channel) -> None:
    """Without waiting for what a server that broke off will never read; grpclib only closes."""
    protocol = channel._protocol
    transport = None if protocol is None else getattr(protocol.connection, "_transport", None)
    channel.close()
    if transport is not None:
        transport.abort()


def _tls(ca: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as error:
        reason = "not a certificate in PEM" if isinstance(error, ssl.SSLError) else error.strerror
        raise Failure(Exit.CONFIG, f"{ca}: {reason}", Exit.LATER) from error
    context.set_alpn_protocols(["h2"])
    return context
