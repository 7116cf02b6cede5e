"""What all calls have in common: who may make them, how large a request is, how they end.

Rule 1: there is one place for all methods, those of health and reflection too: grpclib asks
        `Calls.begin` before anything of a request is read.
Rule 2: what fails ends with a status, a text for people and, where the engine has one, its response
        code as `pymap-code`. A bug of ours is logged with its traceback and is INTERNAL: nothing of
        it goes to the client.
Rule 3: a client that goes away ends the work: grpclib cancels it. So does its deadline.
Rule 4: at the end of the server streams end at once, and other calls within `drain_s`.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf.message import DecodeError
from grpclib.const import Status
from h2.exceptions import ProtocolError

from pymap.admin.access import Access, Denied
from pymap.admin.requests import Invalid
from pymap.backend.errors import FAULTS, BackendError, Unavailable
from pymap.observer import Observer
from pymap.wire.errors import BadCommand, Refused

if TYPE_CHECKING:
    from grpclib.events import RecvRequest
    from grpclib.protocol import Peer
    from grpclib.server import Stream

__all__ = ["TIMEOUT", "Calls", "first"]

log = logging.getLogger("pymap.admin")

LARGEST_REQUEST = 4 * 1024 * 1024
"""Octets of one message of a request, as gRPC has it everywhere: content comes in pieces."""
BREATH = 32  # messages of a stream until others have their turn
ANSWER_S = 1.0  # for telling a client that the server ends
STATUS = {
    "NOUSER": Status.NOT_FOUND,
    "NONEXISTENT": Status.NOT_FOUND,
    "ALREADYEXISTS": Status.ALREADY_EXISTS,
    "NOPERM": Status.PERMISSION_DENIED,
    "OVERQUOTA": Status.RESOURCE_EXHAUSTED,
    "LIMIT": Status.RESOURCE_EXHAUSTED,
    "TOOBIG": Status.RESOURCE_EXHAUSTED,
    "USEATTR": Status.INVALID_ARGUMENT,
    "INUSE": Status.ABORTED,
    "EXPUNGEISSUED": Status.ABORTED,
    "UNAVAILABLE": Status.UNAVAILABLE,
    "CORRUPTION": Status.DATA_LOSS,
}
"""By response code; all others are FAILED_PRECONDITION."""
QUIET = frozenset(("Ping", "Who", "List", "Get", "Status"))
"""Methods that change nothing and show no mail: they are logged only if they fail, as are those of
health."""
TIMEOUT = "pymap-timeout"
"""What the listener makes of grpc-timeout: of a deadline that has passed before the call begins,
grpclib makes a bug."""
UNITS = {"H": 3600, "M": 60, "S": 1, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")
SHOWN = 100  # characters of a name that are logged

_Request = TypeVar("_Request")
_Method = Callable[["Stream[Any, Any]"], Awaitable[None]]


class DeadlinePassed(Exception):
    """The client waits no longer."""


async def first(stream: Stream[_Request, Any]) -> _Request:
    """The request of a call that has one, or the first of a stream; that there is one has been
    seen to."""
    request = await stream.recv_message()
    assert request is not None
    return request


class Calls:
    """The calls that run."""

    def __init__(self, access: Access, observers: Sequence[Observer]) -> None:
        self.closing = False
        self._access = access
        self._observers = observers
        self._running: dict[asyncio.Task[Any], bool] = {}  # whether it answers with a stream

    async def begin(self, event: RecvRequest) -> None:
        """Listens to grpclib's event of that name."""
        event.method_func = partial(
            self._carry_out, event.method_func, event.method_name, event.peer
        )

    async def close(self, drain_s: float) -> None:
        """No new calls, and an end to those that run."""
        self.closing = True
        streams = [task for task, streams in self._running.items() if streams]
        await _cancel(streams)
        if self._running:
            await asyncio.wait(tuple(self._running), timeout=drain_s)
        await _cancel(self._running)

    async def _carry_out(
        self, method: _Method, name: str, peer: Peer, stream: Stream[Any, Any]
    ) -> None:
        call = _Call(stream, name)
        task = asyncio.current_task()
        assert task is not None
        self._running[task] = stream._cardinality.server_streaming
        try:
            if self.closing:
                raise Unavailable("The server is shutting down")
            call.who = self._access(peer, stream.metadata or {})
            peer._transport.get_protocol().known = True  # type: ignore[attr-defined]  # `Connection`
            call.bound()
            await _within(_seconds(stream.metadata), method(stream))
            call.log("ok")
        except asyncio.CancelledError:
            call.log("cancelled")
            if self.closing:
                with suppress(TimeoutError):
                    async with asyncio.timeout(ANSWER_S):
                        await call.fail(*_failure(Unavailable("The server is shutting down")))
            raise
        except Exception as error:
            status, text, code = _failure(error)
            if isinstance(error, Denied):
                call.who = error.who
            call.log(f"{status.name} {code or '-'} {text}")
            if status is Status.INTERNAL:
                log.error("%s failed", name, exc_info=error)
            if code in FAULTS or code == "SERVERBUG":
                for observer in self._observers:
                    observer.backend_failed(code)
            await call.fail(status, text, code)
        finally:
            del self._running[task]


async def _cancel(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Each has a moment to say why it ends."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tuple(tasks), timeout=ANSWER_S)


async def _within(seconds: float | None, work: Awaitable[None]) -> None:
    try:
        async with asyncio.timeout(seconds) as limit:
            await work
    except TimeoutError as error:
        if limit.expired():
            raise DeadlinePassed from error
        raise


def _seconds(metadata: Any) -> float | None:
    """What is left to the client; None for any time, also where it makes no sense."""
    found = _TIMEOUT.fullmatch(str((metadata or {}).get(TIMEOUT, "")))
    return int(found[1]) * UNITS[found[2]] if found else None


def _failure(error: Exception) -> tuple[Status, str, str | None]:
    match error:
        case Denied(known=True):
            return Status.PERMISSION_DENIED, str(error), "NOPERM"
        case Denied():
            return Status.UNAUTHENTICATED, str(error), None
        case DeadlinePassed():
            return Status.DEADLINE_EXCEEDED, "The deadline has passed", None
        case Invalid() | BadCommand():
            return Status.INVALID_ARGUMENT, str(error), None
        case Refused() | BackendError():
            code = error.code
            return STATUS.get(code or "", Status.FAILED_PRECONDITION), str(error), code
    return Status.INTERNAL, "Internal error", "SERVERBUG"


class _Call:
    """One call: its stream with bounds, and its line in the log."""

    def __init__(self, stream: Stream[Any, Any], name: str) -> None:
        _, service, self.method = name.split("/")
        self.name = f"{service.rpartition('.')[2]}.{self.method}"
        self.quiet = self.method in QUIET or service.startswith("grpc.")
        self.stream = stream
        self.who = "?"
        self.subject = ""
        self.began = time.monotonic()

    def bound(self) -> None:
        """Receive no more than is allowed, and fail as we fail. grpclib has no place for that."""
        stream, inner = self.stream, self.stream._stream
        receive, read = stream.recv_message, inner.recv_data
        received = 0

        async def recv_data(size: int) -> bytes:
            if size > LARGEST_REQUEST:
                raise Refused("LIMIT", f"a request has at most {LARGEST_REQUEST} octets at a time")
            return await read(size)

        async def recv_message() -> Any:
            nonlocal received
            if received % BREATH == BREATH - 1:
                await asyncio.sleep(0)  # what has arrived already is received without waiting
            try:
                message = await receive()
            except (AssertionError, NotImplementedError, DecodeError) as error:
                # Cut off, compressed, not of this type.
                raise Invalid("the request cannot be understood") from error
            if not received:
                if message is None:
                    raise Invalid("there is no request")
                self.subject = _subject(message)
            received += 1
            return message

        inner.recv_data = recv_data  # type: ignore[method-assign]
        stream.recv_message = recv_message  # type: ignore[method-assign]

    async def fail(self, status: Status, text: str, code: str | None) -> None:
        metadata = {} if code is None else {"pymap-code": code}
        with suppress(ProtocolError):  # the client is gone
            await self.stream.send_trailing_metadata(
                status=status, status_message=text, metadata=metadata
            )

    def log(self, outcome: str) -> None:
        level = logging.DEBUG if self.quiet and outcome in ("ok", "cancelled") else logging.INFO
        seconds = time.monotonic() - self.began
        subject = f" {self.subject[:SHOWN]!r}" if self.subject else ""
        log.log(
            level, "admin: %s: %s%s: %s in %.3f s", self.who, self.name, subject, outcome, seconds
        )


def _subject(message: Any) -> str:
    """Whom a request is about."""
    message = getattr(message, "head", message)
    return str(getattr(message, "user", "") or getattr(message, "name", ""))
