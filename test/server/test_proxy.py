"""Behind a proxy that tells who its client is: the PROXY protocol, versions 1 and 2."""

from __future__ import annotations

import ssl
import struct
from ipaddress import ip_address

import pytest

from pymap.imap.server import Server
from pymap.limits import Limits

from .client import Client, becomes
from .conftest import Connect, alone

LOOPBACK = ["127.0.0.0/8", "::1"]


def v1(source: str, port: int = 4711) -> bytes:
    family = "TCP6" if ":" in source else "TCP4"
    destination = "2001:db8::1" if ":" in source else "203.0.113.1"
    return f"PROXY {family} {source} {destination} {port} 143\r\n".encode()


def v2(source: str | None, port: int = 4711, more: bytes = b"") -> bytes:
    """As section 2.2 of the specification draws it; None is LOCAL, the proxy itself."""
    signature = b"\r\n\r\n\x00\r\nQUIT\n"
    if source is None:
        return signature + struct.pack("!BBH", 0x20, 0x00, len(more)) + more
    packed = ip_address(source).packed
    addresses = packed + packed + struct.pack("!HH", port, 143) + more
    family = 0x11 if len(packed) == 4 else 0x21
    return signature + struct.pack("!BBH", 0x21, family, len(addresses)) + addresses


async def raw(server: Server) -> Client:
    return await Client.connect(server.addresses[0], greeted=False)


@pytest.mark.parametrize("source", ["192.0.2.7", "2001:db8::7"])
@pytest.mark.parametrize("header", [v1, v2])
async def test_the_client_is_who_the_proxy_says(imap_server, header, source) -> None:
    server = await imap_server(proxy_from=LOOPBACK)
    client = await raw(server)
    client.send(header(source))
    assert b"LOGINDISABLED" in await client.response()  # it is not on this machine
    (session,) = server.sessions()
    assert session.address == f"{source}:4711"
    await client.close()
    await alone(server)


async def test_a_header_in_pieces_with_commands_behind_it(imap_server) -> None:
    server = await imap_server(proxy_from=LOOPBACK)
    for header in (v1("127.0.0.1"), v2("127.0.0.1"), v2("127.0.0.1", more=b"\x04\x00\x03abc")):
        client = await raw(server)
        for octet in header:
            client.send(bytes((octet,)))
            await client.writer.drain()
        client.send(b"a LOGIN demouser demopass\r\nb NOOP\r\n")
        assert (await client.response()).startswith(b"* OK")
        assert (await client.until(b"a")).condition == b"OK"
        assert (await client.until(b"b")).condition == b"OK"
        await client.close()


@pytest.mark.parametrize("header", [v1("192.0.2.7"), v2("192.0.2.7")], ids=["v1", "v2"])
async def test_implicit_tls_behind_a_header(
    imap_server, header: bytes, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    server = await imap_server(proxy_from=LOOPBACK, ssl_context=server_tls, tls_port=0)
    client = await Client.connect(server.addresses[1], greeted=False)
    client.send(header)
    await client.start_tls(client_tls)
    assert b"AUTH=PLAIN" in await client.response()
    await client.login()
    (session,) = server.sessions()
    assert session.address == "192.0.2.7:4711"
    assert session.tls == "TLSv1.3"
    await client.close()


@pytest.mark.parametrize("header", [v2(None), b"PROXY UNKNOWN\r\n"], ids=["v2", "v1"])
async def test_the_proxy_asks_for_itself(imap_server, header: bytes) -> None:
    server = await imap_server(proxy_from=LOOPBACK)
    client = await raw(server)
    client.send(header)
    greeting = await client.response()
    assert greeting.startswith(b"* OK")
    (session,) = server.sessions()
    assert session.address.startswith("127.0.0.1:")
    # A client that the proxy does not know may be anywhere.
    assert (b"LOGINDISABLED" in greeting) is header.startswith(b"PROXY")
    await client.close()


@pytest.mark.parametrize(
    "said",
    [b"a LOGIN demouser demopass\r\n", b"\x16\x03\x01" + b"x" * 100, b"PROXY TCP4 x y 1 2\r\n",
     b"PROXY " + b"x" * 200, v2("192.0.2.7")[:13] + b"\x51" + v2("192.0.2.7")[14:]],
    ids=["imap", "tls", "bad-address", "long", "bad-family"],
)  # fmt: skip
async def test_no_header_no_service(imap_server, caplog, said: bytes) -> None:
    server = await imap_server(proxy_from=LOOPBACK)
    client = await raw(server)
    client.send(said)
    assert await client.rest() == []
    assert "no PROXY header" in caplog.text
    await alone(server)


async def test_a_header_from_elsewhere_is_a_bad_command(imap_server, connect: Connect) -> None:
    """Or anybody could say to be anybody."""
    server = await imap_server(proxy_from=["192.0.2.0/24"])
    client = await connect(server)
    client.send(v1("198.51.100.1"))
    assert b" BAD " in await client.response()
    (session,) = server.sessions()
    assert session.address.startswith("127.0.0.1:")


async def test_who_sends_no_header_has_to_go(imap_server) -> None:
    server = await imap_server(proxy_from=LOOPBACK, limits=Limits(login_timeout_s=0.05))
    client = await raw(server)
    assert await client.rest() == []
    await alone(server)


async def test_too_many_from_one_address(imap_server) -> None:
    server = await imap_server(proxy_from=LOOPBACK, limits=Limits(connections_per_address=2))
    held = []
    for source in ("192.0.2.7", "192.0.2.7", "192.0.2.8", "2001:db8::1", "2001:db8::2"):
        client = await raw(server)
        client.send(v1(source))
        assert (await client.response()).startswith(b"* OK"), source
        held.append(client)
    for source in ("192.0.2.7", "2001:db8::3", "::ffff:192.0.2.7"):
        client = await raw(server)
        client.send(v1(source))
        assert (await client.rest())[0].startswith(b"* BYE [UNAVAILABLE]"), source
    await held[0].close()
    assert await becomes(lambda: len(server.clients) == 4)
    for client in held[1:]:
        await client.ok(b"NOOP")
    client = await raw(server)
    client.send(v1("192.0.2.7"))
    assert (await client.response()).startswith(b"* OK")
    held.append(client)
    for client in held:
        await client.close()
    await alone(server)
    assert not server._by_address
