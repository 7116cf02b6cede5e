"""The service ``http``: /healthz, /readyz and /metrics, for monitoring and nobody else.

It says nothing of users or mail, has no TLS and asks for no password: it belongs on loopback or a
network of one's own.
"""

from __future__ import annotations

import asyncio
import logging
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from ipaddress import ip_address
from typing import TYPE_CHECKING, Self

from pymap.http.listener import Listener, Response, Route
from pymap.http.metrics import Lag, Metrics
from pymap.plugin import Service

if TYPE_CHECKING:
    from pymap.imap.server import Server

__all__ = ["HttpService"]

log = logging.getLogger("pymap.http")

READY_S = 2.0
"""For the store to say that it is well: a probe does not wait for long either."""


class HttpService(Service):
    """Health and metrics over HTTP."""

    def __init__(self, host: str | None = None, port: int = 0) -> None:
        """Without a host it does nothing; port 0 picks a free one."""
        self.host = host
        self.port = port
        self.addresses: list[tuple[str, int]] = []
        """Where it listens."""

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--http",
            type=_place,
            metavar="HOST:PORT",
            help="answer /healthz, /readyz and /metrics there",
        )

    @classmethod
    def from_args(cls, args: Namespace) -> Self:
        return cls() if args.http is None else cls(*args.http)

    @asynccontextmanager
    async def run(self, server: Server) -> AsyncIterator[None]:
        """Raises OSError if it cannot listen."""
        if self.host is None:
            yield
            return
        metrics, lag = Metrics(), Lag()
        listener = Listener(_routes(server, metrics, lag))
        try:
            self.addresses = await listener.open(self.host, self.port)
        except OSError as error:
            raise OSError(f"--http {self.host}:{self.port}: {error}") from error
        self._announce()
        server.observers.append(metrics)
        try:
            async with lag.watch():
                yield
        finally:
            server.observers.remove(metrics)
            await listener.close()

    def _announce(self) -> None:
        for host, port in self.addresses:
            log.info(
                "http: listening on %s", f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            )
            if not ip_address(host.partition("%")[0]).is_loopback:
                log.warning("http: whoever can reach %s can read the metrics", host)


def _place(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not bare or (":" in bare) != (host != bare) or not port.isdecimal() or int(port) > 65535:
        raise ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return bare, int(port)


def _routes(server: Server, metrics: Metrics, lag: Lag) -> dict[str, Route]:
    async def health() -> Response:
        return Response(HTTPStatus.OK, b"ok\n")

    async def ready() -> Response:
        try:
            async with asyncio.timeout(READY_S):
                trouble = await server.trouble()
        except TimeoutError:
            trouble = "the store does not answer"
        if trouble:
            return Response(HTTPStatus.SERVICE_UNAVAILABLE, f"{trouble}\n".encode())
        return Response(HTTPStatus.OK, b"ready\n")

    return {"/healthz": health, "/readyz": ready, "/metrics": _metrics(server, metrics, lag)}


def _metrics(server: Server, metrics: Metrics, lag: Lag) -> Route:
    try:
        from pymap.http.exposition import CONTENT_TYPE, Exposition
    except ImportError:

        async def missing() -> Response:
            hint = b"Metrics need more: pip install 'pymap[metrics]'\n"
            return Response(HTTPStatus.NOT_IMPLEMENTED, hint)

        return missing
    exposition = Exposition(server, metrics, lag)

    async def told() -> Response:
        return Response(HTTPStatus.OK, await exposition.text(), CONTENT_TYPE)

    return told
