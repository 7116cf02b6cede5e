"""The methods of the service Server."""

from __future__ import annotations

import os
from importlib.metadata import entry_points
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pymap
from pymap.admin.calls import first
from pymap.admin.proto import admin_pb2 as m
from pymap.admin.proto.admin_grpc import ServerBase
from pymap.admin.requests import Invalid
from pymap.backend.api import Backend
from pymap.imap.client import SessionInfo
from pymap.imap.server import ReloadFailed, Server
from pymap.wire.errors import Refused

if TYPE_CHECKING:
    from grpclib.server import Stream

__all__ = ["ServerMethods"]


class ServerMethods(ServerBase):
    def __init__(self, server: Server) -> None:
        self._server = server
        self._backend = backend_name(server.backend)

    async def Ping(self, stream: Stream[m.PingRequest, m.PingResponse]) -> None:
        await first(stream)
        server = self._server
        trouble = await server.trouble()
        await stream.send_message(
            m.PingResponse(
                version=pymap.__version__,
                backend=self._backend,
                pid=os.getpid(),
                started=int(server.started),
                connections=len(server.clients),
                addresses=[_address(*address) for address in server.addresses],
                ready=not trouble,
                trouble=trouble,
            )
        )

    async def Reload(self, stream: Stream[m.ReloadRequest, m.ReloadResponse]) -> None:
        await first(stream)
        try:
            reloaded = await self._server.reload()
        except ReloadFailed as error:
            raise Refused(None, str(error)) from error
        await stream.send_message(m.ReloadResponse(reloaded=reloaded))

    async def Who(self, stream: Stream[m.WhoRequest, m.WhoResponse]) -> None:
        request = await first(stream)
        sessions = sorted(self._server.sessions())
        await stream.send_message(
            m.WhoResponse(
                sessions=[
                    _session(session) for session in sessions if request.user in ("", session.user)
                ]
            )
        )

    async def Kick(self, stream: Stream[m.KickRequest, m.KickResponse]) -> None:
        request = await first(stream)
        match request.WhichOneof("whom"):
            case "id":
                kicked = self._server.kick(id=request.id)
            case "user":
                kicked = self._server.kick(user=request.user)
            case "address":
                try:
                    address = str(ip_address(request.address))
                except ValueError:
                    raise Invalid("not an IP address") from None
                kicked = self._server.kick(address=address)
            case _:
                raise Invalid("say whom: id, user or address")
        await stream.send_message(m.KickResponse(kicked=kicked))


def backend_name(backend: Backend) -> str:
    """By which it was asked for on the command line; its class, if it was not."""
    names = {entry.value: entry.name for entry in entry_points(group="pymap.backend")}
    for kind in type(backend).__mro__:
        if name := names.get(f"{kind.__module__}:{kind.__qualname__}"):
            return name
    return type(backend).__name__


def _address(host: str, port: int) -> str:
    if ":" in host:
        return f"[{host}]:{port}"
    return f"{host}:{port}" if port else host  # a UNIX socket has no port


def _session(session: SessionInfo) -> m.Session:
    return m.Session(
        id=session.id,
        user=session.user,
        address=session.address,
        tls=session.tls,
        state=session.state,
        mailbox=session.mailbox,
        command=session.command,
        connected=int(session.connected),
        idle_seconds=int(session.idle_seconds),
        commands=session.commands,
        received=session.received,
        sent=session.sent,
        authenticated_as=session.authenticated_as,
    )
