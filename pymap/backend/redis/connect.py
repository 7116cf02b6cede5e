"""From a URL to connections: plain, TLS, unix socket, Sentinel, cluster."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import cycle
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff

from pymap.backend.redis.cluster import ClusterLane, Node
from pymap.backend.redis.connection import Lane

__all__ = ["AnyLane", "Server", "server_of"]

PORT, SENTINEL_PORT = 6379, 26379
AnyLane = Lane | ClusterLane


@dataclass(frozen=True)
class Server:
    """Where Redis is: makes connections that are not open yet, and lanes over them."""

    connect: Callable[[], AbstractConnection]
    """To any node of a cluster: what is published is told by all."""
    lane: Callable[[], AnyLane]
    timeout_s: float
    close: Callable[[], Awaitable[None]]


def server_of(url: str, database: int | None, timeout_s: float) -> Server:
    """Raises ValueError for a URL that is none of Redis."""
    options: dict[str, Any] = {
        # RESP 2 on every version of the library and the server: the shapes of answers differ.
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),  # nothing is sent twice
        "socket_connect_timeout": timeout_s,
        "socket_timeout": None,  # `Lane` and `Listener` have their own
        "client_name": "pymap",
    }
    parts = urlsplit(url)
    scheme, _, kind = parts.scheme.partition("+")
    if scheme not in ("redis", "rediss", "unix") or kind not in ("", "sentinel", "cluster"):
        raise ValueError(f"not a URL of Redis: {parts.scheme}://")
    if scheme != "unix":
        options["socket_keepalive"] = True
    if kind == "sentinel":
        if database is not None:
            options["db"] = database
        connect, close = _sentinel(parts, options)
        return Server(connect, lambda: Lane(connect, timeout_s), timeout_s, close)
    if kind == "cluster":
        if database:
            raise ValueError("a cluster has only database 0")
        return _cluster(parts, options, timeout_s)
    pool = ConnectionPool.from_url(url, **options)
    if database is not None:
        pool.connection_kwargs["db"] = database
    connect = pool.make_connection
    return Server(connect, lambda: Lane(connect, timeout_s), timeout_s, _nothing)


async def _nothing() -> None:
    """There is nothing more to be closed."""


def _hosts(netloc: str, port: int) -> tuple[str, list[Node]]:
    """``user:password@`` and the hosts of ``user:password@host:port,host``. An IPv6 address has
    brackets."""
    credentials, at, hosts = netloc.rpartition("@")
    found: list[Node] = []
    for host in hosts.split(","):
        name, _, number = host.rpartition(":")
        if not name or host.endswith("]"):
            name, number = host, str(port)
        if not name or not number.isdigit():
            raise ValueError(f"expected HOST:PORT, not {host!r}")
        found.append((name.strip("[]"), int(number)))
    return credentials + at, found


def _cluster(parts: SplitResult, options: dict[str, Any], timeout_s: float) -> Server:
    """``redis+cluster://user:password@host:port,host:port``"""
    credentials, seeds = _hosts(parts.netloc, PORT)
    scheme = parts.scheme.partition("+")[0]
    pool = ConnectionPool.from_url(f"{scheme}://{credentials}cluster?{parts.query}", **options)
    options = pool.connection_kwargs
    turn = cycle(seeds)

    def connect_to(node: Node) -> AbstractConnection:
        return pool.connection_class(**{**options, "host": node[0], "port": node[1]})

    return Server(
        lambda: connect_to(next(turn)),
        lambda: ClusterLane(connect_to, seeds, timeout_s),
        timeout_s,
        _nothing,
    )


def _sentinel(
    parts: SplitResult, options: dict[str, Any]
) -> tuple[Callable[[], AbstractConnection], Callable[[], Awaitable[None]]]:
    """``redis+sentinel://user:password@host:port,host:port/service/database``; user and password
    are those of Redis."""
    credentials, sentinels = _hosts(parts.netloc, SENTINEL_PORT)
    service, _, number = parts.path.strip("/").partition("/")
    if not service:
        raise ValueError("expected redis+sentinel://HOST:PORT,HOST:PORT/SERVICE")
    if number:
        options.setdefault("db", int(number))
    user, colon, password = credentials.removesuffix("@").partition(":")
    if colon:
        options["username"], options["password"] = unquote(user) or None, unquote(password)
    inner = {"protocol": 2, "socket_timeout": options["socket_connect_timeout"]}
    sentinel: Any = Sentinel(sentinels, sentinel_kwargs=inner)  # type: ignore[no-untyped-call]
    tls = parts.scheme.startswith("rediss")
    pool: Any = SentinelConnectionPool(service, sentinel, ssl=tls, **options)  # type: ignore[no-untyped-call]

    async def close() -> None:
        for client in sentinel.sentinels:
            await client.aclose()

    return pool.make_connection, close
