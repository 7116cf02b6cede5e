"""The PROXY protocol: a proxy tells in a header who the client is. Sans-IO, versions 1 and 2.

PROXY stands for https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt and its sections. The
addresses are parsed by the library proxy-protocol, which nothing else here knows of; it takes
9 ms to load, so that only who is behind a proxy loads it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

__all__ = ["Network", "ProxyHeader", "parse_networks", "trusted"]

Network = IPv4Network | IPv6Network

START_1 = b"PROXY "
SHORTEST_1 = len(b"PROXY UNKNOWN\r\n")
LONGEST_1 = 107
# The library takes signs, underscores, IPv6 zones and zeros in front as well.
LINE = re.compile(
    rb"PROXY (?:UNKNOWN(?: .*)?|TCP[46](?: [0-9A-Fa-f:.]+){2}(?: (?:0|[1-9][0-9]{0,4})){2})\r\n",
    re.DOTALL,
)
START_2 = b"\r\n\r\n\0\r\nQUIT\n"
FIXED_2 = 16  # octets before the addresses; the last two say how many there are
# The addresses and what may follow them: a client's certificate perhaps, hardly a chain of them.
LONGEST_2 = FIXED_2 + 8 * 1024
TCP_2 = (b"\x21\x11", b"\x21\x21")  # command PROXY with TCP over IPv4, over IPv6


class ProxyHeader:
    """The header of one connection, read so that not one octet behind it is read with it.

        header = ProxyHeader()
        while not header.receive(sock.recv(header.wanted())):
            pass

    Once it is complete, `source` is the client's address and port, an IPv4 address in its own
    form even if it came as IPv6. None means that the addresses of the connection itself count: it
    is a health check of the proxy, or the proxy does not know the client.
    """

    def __init__(self) -> None:
        self.source: tuple[str, int] | None = None
        self._octets = b""

    @property
    def is_own(self) -> bool:
        """Whether the proxy speaks for itself: LOCAL of version 2."""
        return self._octets.startswith(START_2) and self._octets[12] & 0xF == 0

    def wanted(self) -> int:
        """How many octets may be read now: no header ends before. 0 when it is complete.

        A line (version 1) takes about ten reads, for its end shows only when it is there.
        """
        return _end(self._octets) - len(self._octets)

    def receive(self, octets: bytes) -> bool:
        """Take what was read, at most as many octets as `wanted`, none at the connection's end;
        True once the header is complete. Raises ValueError as soon as it is no header."""
        if not octets:
            raise ValueError("the connection has ended before its PROXY header")
        if len(octets) > self.wanted():
            raise ValueError("there is more than a PROXY header")
        self._octets += octets
        if self.wanted():
            return False
        self.source = _source(self._octets)
        return True


def _end(octets: bytes) -> int:
    """Where a header that begins so ends at the earliest. Raises ValueError if none does."""
    if not octets:
        return SHORTEST_1
    if START_1.startswith(octets[: len(START_1)]):
        return _end_1(octets)
    if START_2.startswith(octets[: len(START_2)]):
        return _end_2(octets)
    raise ValueError("there is no PROXY header")


def _end_1(line: bytes) -> int:
    """PROXY 2.1"""
    if b"\r\n" in line[:-2]:
        raise ValueError("malformed PROXY header")
    if line.endswith(b"\r\n"):
        return len(line)
    if len(line) < SHORTEST_1:
        return SHORTEST_1
    rest = 1 if line.endswith(b"\r") else 2
    if rest == 2 and not line.startswith(b"PROXY UNKNOWN"):
        # Each field that is still to come is a space and a digit at least.
        rest += 2 * max(5 - line.count(b" "), 0)
    if len(line) + rest > LONGEST_1:
        raise ValueError("the PROXY header is too long")
    return len(line) + rest


def _end_2(octets: bytes) -> int:
    """PROXY 2.2. What must not be there is refused; what exists, but is not for TCP, is not."""
    if len(octets) < FIXED_2:
        return FIXED_2
    version, command = divmod(octets[12], 16)
    family, transport = divmod(octets[13], 16)
    if version != 2 or command > 1 or family > 3 or transport > 2:
        raise ValueError("the PROXY header is of an unknown kind")
    end = FIXED_2 + int.from_bytes(octets[14:16])
    if end > LONGEST_2:
        raise ValueError("the PROXY header is too long")
    return end


def _source(header: bytes) -> tuple[str, int] | None:
    from proxyprotocol import ProxyProtocolChecksumError
    from proxyprotocol.v1 import ProxyProtocolV1
    from proxyprotocol.v2 import ProxyProtocolV2

    try:
        if not header.startswith(START_1):
            if header[12:14] not in TCP_2:
                return None  # with LOCAL, what stands there need not even be addresses
            result = ProxyProtocolV2().unpack(header)
        elif LINE.fullmatch(header):
            result = ProxyProtocolV1().unpack(header)
        else:
            raise ValueError
    except ProxyProtocolChecksumError as error:
        # It is checked only where the package crc32c happens to be installed, and wrongly unless
        # what it covers is sorted. TCP has a checksum of its own.
        result = error.result
    except (ValueError, struct.error) as error:
        raise ValueError("malformed PROXY header") from error
    peer = result.peername
    if not isinstance(peer, tuple):
        return None
    address = ip_address(peer[0])
    return str(getattr(address, "ipv4_mapped", None) or address), peer[1]


# -- who may send one --


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Networks such as 10.0.0.0/8, fd00::/8 or 192.0.2.7. Raises ValueError with a text for the
    operator.

    If there are any, this loads the library: later, as another user, it may not be readable.
    """
    networks = []
    for text in texts:
        try:
            networks.append(ip_network(text.strip()))
        except ValueError as error:
            raise ValueError(f"not a network of proxies: {error}") from error
    if networks:
        import proxyprotocol.v1
        import proxyprotocol.v2  # noqa: F401
    return tuple(networks)


def trusted(address: str, networks: Iterable[Network]) -> bool:
    """Whether an IP address, as a socket tells it, is in one of the networks. An IPv4 address may
    come in the form of IPv6; what is no IP address is in none."""
    try:
        given = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    own = getattr(given, "ipv4_mapped", None) or given
    return any(given in network or own in network for network in networks)
