"""TLS: nothing that came in the clear counts afterwards, and no password crosses the network."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from pymap.imap.client import _is_local
from pymap.limits import Limits

from .client import becomes
from .conftest import Connect, Spawn, alone


def own_address() -> str | None:
    """An address of this machine that is not loopback; connecting a UDP socket sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))
        except OSError:
            return None
        address: str = probe.getsockname()[0]
        return None if address.startswith("127.") else address


@pytest.fixture
def stranger(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """How to connect so that the server sees a client from the network.

    A socket bound to the machine's own address reaches 127.0.0.1 and never leaves the loopback
    interface. On a machine without one, the server's eyes are changed.
    """
    address = own_address()
    if address is None:
        monkeypatch.setattr("pymap.imap.client._is_local", lambda address: False)
        return {}
    return {"local_addr": (address, 0)}


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::1%lo", True),
        ("", True),  # a UNIX socket
        ("192.0.2.1", False),
        ("::ffff:192.0.2.1", False),
        ("fe80::1%eth0", False),
        ("10.0.0.1", False),
        ("0.0.0.0", False),
        ("localhost", False),
        ("unknown", False),  # the client was gone before it was asked
    ],
)
def test_loopback_is_told_by_address(address: str, local: bool) -> None:
    assert _is_local(address) is local


async def test_implicit_tls(imap_server, connect: Connect, server_tls, client_tls) -> None:
    server = await imap_server(ssl_context=server_tls, tls_port=0)
    assert len(server.addresses) == 2
    client = await connect(server.addresses[1], ssl=client_tls)
    assert b"AUTH=PLAIN" in client.greeting
    assert b"STARTTLS" not in client.greeting  # it is on already
    assert b"LOGINDISABLED" not in client.greeting
    assert (await client.command(b"STARTTLS")).condition == b"BAD"
    await client.login(b"INBOX")
    message = b"Subject: x\r\n\r\n" + b"0123456789abcdef" * 300_000
    assert (await client.append(message)).condition == b"OK"
    found = await client.ok(b"FETCH 1 BODY.PEEK[]")
    assert message in found[0] or message in b"".join(found)
    assert (await client.command(b"LOGOUT")).untagged[-1].startswith(b"* BYE")
    assert await client.rest() == []
    await alone(server)


async def test_starttls(imap_server, connect: Connect, server_tls, client_tls) -> None:
    server = await imap_server(ssl_context=server_tls)
    client = await connect(server)
    assert b"STARTTLS" in client.greeting
    before = await client.ok(b"CAPABILITY")
    assert b" STARTTLS" in before[0]
    await client.ok(b"STARTTLS")
    await client.start_tls(client_tls)
    after = await client.ok(b"CAPABILITY")
    assert b"STARTTLS" not in after[0]
    assert b"AUTH=PLAIN" in after[0]
    assert (await client.command(b"STARTTLS")).condition == b"BAD"
    await client.login(b"INBOX")
    await client.ok(b"IDLE\r\nDONE")
    await client.close()
    await alone(server)


async def test_starttls_without_a_certificate(imap_server, connect: Connect) -> None:
    server = await imap_server()
    client = await connect(server)
    assert b"STARTTLS" not in client.greeting
    assert b"STARTTLS" not in (await client.ok(b"CAPABILITY"))[0]
    assert (await client.command(b"STARTTLS")).condition == b"BAD"
    await client.login()


async def test_a_command_right_behind_the_handshake_is_answered(
    imap_server, connect: Connect, server_tls, client_tls
) -> None:
    """A TLS 1.3 client sends its Finished and its first command in one segment."""
    server = await imap_server(ssl_context=server_tls)
    client = await connect(server)
    await client.ok(b"STARTTLS")
    await client.start_tls(client_tls)  # does not wait for the server
    assert len(await client.ok(b"CAPABILITY")) == 1


@pytest.mark.parametrize(
    "injected",
    [
        b"x LOGIN demouser demopass\r\n",
        b"x NOOP\r\n",
        b"x LOGIN {8}\r\n",
        b"x LOGIN {8+}\r\ndemo",
        b"x NO",
    ],
)
async def test_a_command_in_the_same_segment_never_runs(
    imap_server, connect: Connect, server_tls, client_tls, injected: bytes
) -> None:
    server = await imap_server(ssl_context=server_tls)
    client = await connect(server)
    client.send(b"a STARTTLS\r\n" + injected)
    assert (await client.response()).startswith(b"a OK")
    assert not client.buffer
    await client.start_tls(client_tls)
    client.send(b"b CAPABILITY\r\n")
    answer = await client.until(b"b")
    assert len(answer.untagged) == 1  # nothing tagged x, no second login
    assert answer.untagged[0].startswith(b"* CAPABILITY")
    assert answer.condition == b"OK"
    assert (await client.command(b"SELECT INBOX")).condition == b"BAD"  # not logged in


async def test_a_command_between_starttls_and_handshake_never_runs(
    imap_server, connect: Connect, server_tls
) -> None:
    """It is no TLS record, so the handshake fails; what matters is that nobody carried it out."""
    server = await imap_server(ssl_context=server_tls)
    client = await connect(server)
    client.send(b"a STARTTLS\r\n")
    assert (await client.response()).startswith(b"a OK")
    client.send(b"b LOGIN demouser demopass\r\n")
    remaining = b""
    while await client._more():
        pass
    remaining = bytes(client.buffer)
    assert b"b OK" not in remaining
    assert b"CAPABILITY" not in remaining
    await client.close()
    await alone(server)


async def test_starttls_only_before_login(imap_server, connect: Connect, server_tls) -> None:
    client = await connect(await imap_server(ssl_context=server_tls))
    await client.login()
    assert (await client.command(b"STARTTLS")).condition == b"BAD"


async def test_no_login_from_the_network_in_the_clear(
    imap_server, connect: Connect, stranger, server_tls, client_tls
) -> None:
    server = await imap_server(ssl_context=server_tls)
    client = await connect(server, **stranger)
    assert b"STARTTLS" in client.greeting
    for found in (client.greeting, (await client.ok(b"CAPABILITY"))[0]):
        assert b"LOGINDISABLED" in found
        # SCRAM does not show the password.
        assert set(re.findall(rb"AUTH=(\S+)", found)) == {b"SCRAM-SHA-256", b"SCRAM-SHA-1"}
    for attempt in (
        b"LOGIN demouser demopass",
        b"AUTHENTICATE PLAIN AGRlbW91c2VyAGRlbW9wYXNz",
        b"AUTHENTICATE PLAIN",
        b"AUTHENTICATE LOGIN",
    ):
        answer = await client.command(attempt)
        assert answer.condition == b"NO"
        assert b"[PRIVACYREQUIRED]" in answer.tagged
    await client.ok(b"STARTTLS")
    await client.start_tls(client_tls)
    assert b"LOGINDISABLED" not in (await client.ok(b"CAPABILITY"))[0]
    await client.login()


async def test_insecure_login_allows_it(imap_server, connect: Connect, stranger) -> None:
    client = await connect(await imap_server(insecure_login=True), **stranger)
    assert b"LOGINDISABLED" not in client.greeting
    await client.login()


async def test_no_login_without_any_tls(imap_server, connect: Connect, stranger) -> None:
    client = await connect(await imap_server(), **stranger)
    assert b"LOGINDISABLED" in client.greeting
    assert b"STARTTLS" not in client.greeting
    assert (await client.command(b"LOGIN demouser demopass")).condition == b"NO"


# -- handshakes that fail --


@pytest.mark.parametrize(
    "garbage",
    [
        b"\0" * 300,
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\xff\xff" + b"x" * 70_000,
        b"\x16\x03\x01\0\x05hello",
    ],
)
async def test_garbage_instead_of_a_starttls_handshake_leaves_nothing(
    imap_server, connect: Connect, server_tls, garbage: bytes
) -> None:
    server = await imap_server(ssl_context=server_tls, limits=Limits(login_timeout_s=1))
    client = await connect(server)
    await client.ok(b"STARTTLS")
    await client.pour([garbage])
    while await client._more():  # whatever is said, it ends
        pass
    await client.close()
    await alone(server)


async def test_a_certificate_that_the_client_refuses_leaves_nothing(
    imap_server, connect: Connect, server_tls
) -> None:
    server = await imap_server(ssl_context=server_tls)
    client = await connect(server)
    await client.ok(b"STARTTLS")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await client.start_tls(ssl.create_default_context())
    await client.close()
    await alone(server)


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x02\0"], ids=["nothing", "half-a-record"])
@pytest.mark.parametrize("how", ["reset", "close"])
async def test_leaving_in_the_middle_of_starttls_leaves_nothing(
    imap_server, connect: Connect, server_tls, how: str, said: bytes
) -> None:
    """Else a few thousand such clients use up `connections_before_login` for good."""
    server = await imap_server(ssl_context=server_tls)
    client = await connect(server)
    await client.ok(b"STARTTLS")
    (inside,) = server.clients
    assert await becomes(lambda: type(inside.transport.get_protocol()) is not type(inside))
    if said:  # asyncio of Python 3.12 and later never closes behind an empty line of pieces
        client.send(said)
    if how == "reset":
        client.reset()
    else:
        client.writer.close()
    await alone(server)


async def test_a_starttls_handshake_that_never_comes_is_login_time(
    imap_server, connect: Connect, server_tls
) -> None:
    server = await imap_server(ssl_context=server_tls, limits=Limits(login_timeout_s=0.3))
    client = await connect(server)
    await client.ok(b"STARTTLS")
    async with asyncio.timeout(10):
        while await client._more():
            pass
    # A BYE in the clear would be no part of the handshake that the client expects.
    assert not client.buffer.startswith(b"* ")
    await alone(server)


async def test_an_implicit_handshake_that_never_comes_is_login_time(
    imap_server, connect: Connect, server_tls
) -> None:
    server = await imap_server(
        ssl_context=server_tls, tls_port=0, limits=Limits(login_timeout_s=0.3)
    )
    client = await connect(server.addresses[1], greeted=False)
    async with asyncio.timeout(5):
        while await client._more():
            pass
    await alone(server)


async def test_handshakes_under_way_count_as_connections(
    imap_server, connect: Connect, server_tls
) -> None:
    server = await imap_server(
        ssl_context=server_tls, tls_port=0, limits=Limits(connections=5, connections_before_login=5)
    )
    silent = [await connect(server.addresses[1], greeted=False) for _ in range(20)]
    ended = 0
    for client in silent:
        try:
            async with asyncio.timeout(0.1):
                ended += not await client.reader.read(1)
        except (TimeoutError, ConnectionError):
            pass
    assert ended >= 15


async def test_others_are_served_while_a_handshake_hangs(
    imap_server, connect: Connect, server_tls
) -> None:
    server = await imap_server(ssl_context=server_tls, tls_port=0)
    for _ in range(50):
        await connect(server.addresses[1], greeted=False)
        hanging = await connect(server)
        await hanging.ok(b"STARTTLS")
    async with asyncio.timeout(2):
        await (await connect(server)).login(b"INBOX")


async def test_implicit_tls_in_a_process(
    spawn: Spawn, connect: Connect, tmp_path: Path, certificate: trustme.LeafCert, client_tls
) -> None:
    """Which runs on uvloop where that is installed: it reads on after a pause in connection_made."""
    pem = tmp_path / "server.pem"
    certificate.private_key_and_cert_chain_pem.write_to_path(pem)
    process = await spawn("--cert", str(pem), "--tls-port", "0")
    for _ in range(5):
        client = await connect(process.addresses[-1], ssl=client_tls)
        await client.login(b"INBOX")
    client = await connect(process)
    await client.ok(b"STARTTLS")
    await client.start_tls(client_tls)
    await client.login(b"INBOX")
