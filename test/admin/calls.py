"""Calls that fail, and calls of many messages."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError
from h2.exceptions import StreamClosedError

from pymap.admin.proto import admin_pb2 as m


class Failed(NamedTuple):
    """How a call has failed."""

    status: Status
    code: str | None
    text: str


async def fails(method: Any, *requests: Any, metadata: Any = None) -> Failed:
    """The call, which has to fail."""
    stream = method.open(metadata=metadata)
    try:
        async with stream:
            await stream.send_request()
            with suppress(
                StreamTerminatedError, StreamClosedError
            ):  # the server does not read to the end
                for request in requests:
                    await stream.send_message(request)
                await stream.end()
            while await stream.recv_message() is not None:
                pass
            await stream.recv_trailing_metadata()
    except GRPCError as error:
        metadata = stream.trailing_metadata
        if metadata is None:  # the server did not read on, and grpclib looked no further
            metadata = dict(stream._stream.trailers or stream._stream.headers)
        return Failed(error.status, metadata.get("pymap-code"), error.message or "")
    raise AssertionError("the call has not failed")


async def append(admin: Any, *content: bytes, user: str = "demouser", **head: Any) -> Any:
    return await admin.mailboxes.Append(append_requests(*content, user=user, **head))


def append_requests(*content: bytes, user: str = "demouser", **head: Any) -> Sequence[Any]:
    first = m.AppendRequest(head=m.AppendHead(user=user, **head))
    return [first, *(m.AppendRequest(content=piece) for piece in content)]


async def content_of(admin: Any, name: str, uid: int, user: str = "demouser") -> bytes:
    async with admin.imap.backend.account(user) as account:
        return await (await account.open(name)).content(uid)
