"""Clients that have been refused take no places of others."""

from __future__ import annotations

from pymap.backend.dict import DictBackend
from pymap.imap.server import serve
from pymap.limits import Limits

from .client import Client
from .conftest import Connect


async def _from(connect: Connect, place: tuple[str, int], address: bytes) -> Client:
    client = await connect(place, greeted=False)
    client.send(b"PROXY TCP4 ", address, b" 198.51.100.9 1000 143\r\n")
    client.greeting = await client.line()
    return client


async def test_one_address_cannot_take_the_places_of_all(connect: Connect) -> None:
    """An address has `connections_per_address`. What it is refused beyond that must not count
    against `connections_before_login` and `connections`, also while BYE is on its way: or whoever
    connects often enough keeps everybody out from a single address."""
    limits = Limits(connections_per_address=2, connections_before_login=6)
    backend = DictBackend({"alice": "s"})
    async with serve(backend, limits=limits, proxy_from=["127.0.0.0/8"]) as server:
        place = server.addresses[0]
        many = [await _from(connect, place, b"192.0.2.1") for _ in range(10)]
        assert [client.greeting[:5] for client in many] == [b"* OK "] * 2 + [b"* BYE"] * 8
        other = await _from(connect, place, b"198.51.100.1")
        assert other.greeting.startswith(b"* OK "), other.greeting
