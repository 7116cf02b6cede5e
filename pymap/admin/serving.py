"""What the service serves, and on which listeners."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from socket import gaierror
from typing import TYPE_CHECKING

from grpclib.health.check import ServiceCheck
from grpclib.health.service import Health
from grpclib.reflection.service import ServerReflection

from pymap.admin.access import Access, same_user
from pymap.admin.calls import Calls
from pymap.admin.listener import Listener
from pymap.admin.mailboxes import MailboxesMethods
from pymap.admin.network import Network
from pymap.admin.server import ServerMethods
from pymap.admin.sockets import listen
from pymap.admin.users import UsersMethods
from pymap.imap.server import Server

if TYPE_CHECKING:
    from grpclib._typing import IServable

__all__ = ["serving"]

log = logging.getLogger("pymap.admin")

DRAIN_S = 3.0  # for calls that run at the end of the server
READY_S = 1.0  # so long, an answer to "are you well" may be used again


@asynccontextmanager
async def serving(
    server: Server, path: Path | None, network: Network | None
) -> AsyncIterator[None]:
    """On the UNIX socket of that path, or where clients look for one, and over TCP if that is
    wanted. Raises OSError."""
    services = _services(server)
    async with AsyncExitStack() as stack:
        sock, path = stack.enter_context(listen(path))
        listener = await stack.enter_async_context(_listening(server, services, same_user))
        await listener.start(sock=sock)
        log.info("admin service on %s", path)
        if network is not None:
            name = "certificate of the admin service"
            server.reloaders[name] = network.reload
            stack.callback(server.reloaders.pop, name, None)
            listener = await stack.enter_async_context(_listening(server, services, network.access))
            place = f"{network.host} port {network.port}"
            try:
                await listener.start(network.host, network.port, ssl=network.context)
            except OSError as error:
                # asyncio's own text is a long one; that of a name that is unknown is not.
                known = error.errno and not isinstance(error, gaierror)
                reason = os.strerror(error.errno or 0) if known else error.strerror
                raise OSError(f"admin service: cannot listen on {place}: {reason}") from error
            log.info("admin service on %s", place)
        yield


@asynccontextmanager
async def _listening(
    server: Server, services: Sequence[IServable], access: Access
) -> AsyncIterator[Listener]:
    listener = Listener(services, Calls(access, server.observers))
    try:
        yield listener
    finally:
        await listener.stop(DRAIN_S)


def _services(server: Server) -> Sequence[IServable]:
    async def is_ready() -> bool:
        return not await server.trouble()

    ready = ServiceCheck(is_ready, check_ttl=READY_S, check_timeout=READY_S)
    methods: list[IServable] = [
        ServerMethods(server),
        UsersMethods(server.backend),
        MailboxesMethods(server),
    ]
    health = Health({service: [ready] for service in methods})
    return ServerReflection.extend([*methods, health])
