"""What logging in depends on besides names and passwords: the connection it happens on."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

__all__ = ["Channel", "network", "plain"]


@dataclass(frozen=True, slots=True)
class Channel:
    """What is known of a connection, as far as it concerns who may log in and how.

    `address` is the client's IP address, behind a trusted proxy the one that the proxy names; ""
    for a UNIX socket. `private` says that nobody else can listen: TLS, loopback, or the operator
    does not mind. `certificate` holds the names that a verified client certificate is for, the
    first is the preferred one (EXTERNAL, RFC 4422 appendix A). `end_point` is the channel binding
    tls-server-end-point (RFC 5929 4), empty where there is none.
    """

    address: str = ""
    private: bool = False
    tls: bool = False
    certificate: tuple[str, ...] = ()
    end_point: bytes = b""


@lru_cache(4096)
def plain(address: str) -> str:
    """An IP address as it is usually written: an IPv4 address in its own form, also where a socket
    for IPv6 has taken the connection."""
    with suppress(ValueError):
        found = ip_address(address)
        return str(getattr(found, "ipv4_mapped", None) or found)
    return address


@lru_cache(4096)
def network(address: str) -> bytes:
    """What is counted as one address: the 4 octets of an IPv4 address, also where it came as IPv6,
    or the first 8 of an IPv6 address, which are what one customer has. Empty for what is not
    counted: loopback, a UNIX socket."""
    with suppress(ValueError):
        found = ip_address(address.partition("%")[0])
        if isinstance(found, IPv6Address):
            found = found.ipv4_mapped or found
        return b"" if found.is_loopback else found.packed[:8]
    return b""
