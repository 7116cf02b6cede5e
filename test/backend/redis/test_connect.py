"""Every way to a Redis: TLS, credentials, databases, Sentinel."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme
from redis_server import RedisServer, free_ports

from pymap.backend.conformance import ALL, new_message
from pymap.backend.errors import BackendError, Unavailable
from pymap.backend.redis import RedisBackend


async def uses(url: str, database: int | None = None) -> None:
    """Mail can be kept there."""
    backend = RedisBackend(url, database=database)
    await backend.start()
    try:
        async with backend.account("alice") as account:
            assert await (await account.open("INBOX")).append([new_message()])
    finally:
        await backend.stop()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def started(stack: ExitStack, *options: str, port: int = 0) -> RedisServer:
    server = RedisServer(*options, port=port)
    stack.callback(server.close)
    server.start()
    return server


async def test_a_database_is_selected(redis_server: RedisServer) -> None:
    await uses(redis_server.url, 3)
    await uses(redis_server.url + "?db=4")
    space = redis_server.must("INFO", "keyspace")
    assert b"db3:" in space
    assert b"db4:" in space
    assert b"db0:" not in space


async def test_credentials_are_in_the_url(stack: ExitStack) -> None:
    (port,) = free_ports(1)
    server = started(stack, port=port)
    server.must(
        "ACL",
        "SETUSER",
        "pymap",
        "on",
        ">p@ss/word",
        "~pymap:*",
        "&pymap:*",
        "+@all",
        "-@admin",
        "-@dangerous",
    )
    server.must("ACL", "SETUSER", "default", "on", ">other")
    await uses(f"redis://pymap:p%40ss%2Fword@127.0.0.1:{port}")
    for wrong in ("redis://", "redis://pymap:wrong@"):
        with pytest.raises(BackendError):
            await uses(f"{wrong}127.0.0.1:{port}")


async def test_tls(stack: ExitStack, tmp_path: Path) -> None:
    ca = trustme.CA()
    certificate = ca.issue_cert("127.0.0.1")
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    (port,) = free_ports(1)
    started(
        stack, "--tls-port", str(port), "--tls-cert-file", str(tmp_path / "cert.pem"),
        "--tls-key-file", str(tmp_path / "key.pem"), "--tls-ca-cert-file",
        str(tmp_path / "ca.pem"), "--tls-auth-clients", "no",
    )  # fmt: skip
    await uses(f"rediss://127.0.0.1:{port}?ssl_ca_certs={tmp_path}/ca.pem")
    with pytest.raises(Unavailable):
        await uses(f"rediss://127.0.0.1:{port}")  # whose certificate is it?


async def test_sentinel_finds_the_new_master(stack: ExitStack, tmp_path: Path) -> None:
    ports = free_ports(3)
    master = started(stack, port=ports[0])
    replica = started(stack, "--replicaof", "127.0.0.1", str(ports[0]), port=ports[1])
    config = tmp_path / "sentinel.conf"
    config.write_text(
        f"sentinel monitor mail 127.0.0.1 {ports[0]} 1\n"
        "sentinel down-after-milliseconds mail 200\nsentinel failover-timeout mail 1000\n"
    )
    sentinel = RedisServer(port=ports[2])
    stack.callback(sentinel.close)
    sentinel.command[1:1] = [str(config), "--sentinel"]
    sentinel.start()
    async with asyncio.timeout(30):
        while b"state=online" not in master.must("INFO", "replication") or (  # noqa: ASYNC110
            b"num-slaves\r\n$1\r\n1" not in sentinel.must("SENTINEL", "MASTER", "mail")
        ):
            await asyncio.sleep(0.05)
        backend = RedisBackend(f"redis+sentinel://127.0.0.1:{ports[2]}/mail", timeout_s=2)
        await backend.start()
        try:
            async with backend.account("alice") as account:
                inbox = await account.open("INBOX")
                await inbox.append([new_message()])
                await backend._running().call("WAIT", 1, 1000)
                master.kill()
                while True:
                    try:
                        uids = await inbox.append([new_message()])
                        break
                    except Unavailable:
                        await asyncio.sleep(0.05)
                assert list(uids) == [2]
                assert len(await inbox.metadata(ALL)) == 2
                assert b"role:master" in replica.must("INFO", "replication")
        finally:
            await backend.stop()


@pytest.mark.parametrize(
    "url",
    ["http://x", "redis+nonsense://x", "redis+sentinel://x", "redis+cluster://x:y", "redis+x"],
)
async def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        await RedisBackend(url).start()
