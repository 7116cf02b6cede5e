"""The header of the PROXY protocol: what it says, and that nothing behind it is touched.

The headers are built here by hand, from section 2 of the specification.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pymap.imap.proxy import LONGEST_1, LONGEST_2, ProxyHeader, parse_networks, trusted

BEHIND = b"a1 LOGIN \r\nPROXY\r\n\x16\x03\x01"  # what must not be read with the header
SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")


def v2(command: int, kind: int, block: bytes, length: int | None = None) -> bytes:
    length = len(block) if length is None else length
    return SIGNATURE + struct.pack("!BBH", command, kind, length) + block


def addresses(source: str, port: int) -> bytes:
    packed = ip_address(source).packed
    return packed + bytes(len(packed)) + struct.pack("!HH", port, 993)


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


UNIX = b"/run/client".ljust(108, b"\0") + b"/run/server".ljust(108, b"\0")
# The client came over TLS, to the proxy: 0x20 with version and common name in it. What a proxy
# says of that is not believed, for it says nothing of its network to us.
SSL = tlv(0x20, b"\x07" + bytes(4) + tlv(0x21, b"TLSv1.3") + tlv(0x22, b"alice"))
WORST = b"PROXY UNKNOWN " + b"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff " * 2 + b"65535 65535\r\n"

HEADERS: list[tuple[bytes, tuple[str, int] | None]] = [
    (b"PROXY TCP4 192.0.2.7 203.0.113.1 56324 143\r\n", ("192.0.2.7", 56324)),
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", ("255.255.255.255", 65535)),
    (b"PROXY TCP4 1.2.3.4 5.6.7.8 0 0\r\n", ("1.2.3.4", 0)),
    (b"PROXY TCP6 2001:db8::7 2001:db8::1 1 2\r\n", ("2001:db8::7", 1)),
    (b"PROXY TCP6 :: :: 0 0\r\n", ("::", 0)),
    (b"PROXY TCP6 2001:0DB8:0:0:0:0:0:7 ::1 1 2\r\n", ("2001:db8::7", 1)),
    (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 7 2\r\n", ("192.0.2.7", 7)),
    (WORST.replace(b"UNKNOWN", b"TCP6"), ("ffff:" * 7 + "ffff", 65535)),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN \r\n", None),
    (b"PROXY UNKNOWN what \r\r ever\n \r\r\n", None),
    (WORST, None),
    (v2(0x21, 0x11, addresses("192.0.2.7", 4711)), ("192.0.2.7", 4711)),
    (v2(0x21, 0x21, addresses("2001:db8::7", 4711)), ("2001:db8::7", 4711)),
    (v2(0x21, 0x21, addresses("::ffff:192.0.2.7", 4711)), ("192.0.2.7", 4711)),
    (v2(0x21, 0x11, addresses("192.0.2.7", 1) + SSL), ("192.0.2.7", 1)),
    # A wrong checksum, one that is right, and one in a place that the library takes for wrong.
    (v2(0x21, 0x11, addresses("192.0.2.7", 1) + tlv(3, b"\0\0\0\1")), ("192.0.2.7", 1)),
    (v2(0x21, 0x11, addresses("192.0.2.7", 1) + tlv(0xEA, b"x") + tlv(3, bytes(4))), ("192.0.2.7", 1)),
    (v2(0x21, 0x11, addresses("192.0.2.7", 1) + b"\x20\xff\xff\x01"), ("192.0.2.7", 1)),
    (v2(0x21, 0x11, addresses("192.0.2.7", 1) + tlv(4, bytes(8177))), ("192.0.2.7", 1)),
    (v2(0x20, 0x00, b""), None),  # LOCAL: a health check
    (v2(0x20, 0x11, addresses("192.0.2.7", 1)), None),
    (v2(0x20, 0x21, b"\x03\x00\x04no"), None),  # its block is to be ignored, whatever it is
    (v2(0x21, 0x00, b""), None),  # UNSPEC
    (v2(0x21, 0x00, b"ignored"), None),
    (v2(0x21, 0x10, addresses("192.0.2.7", 1)), None),
    (v2(0x21, 0x12, addresses("192.0.2.7", 1)), None),  # UDP does not come by TCP
    (v2(0x21, 0x22, addresses("2001:db8::7", 1)), None),
    (v2(0x21, 0x31, UNIX), None),
]  # fmt: skip

BROKEN = [
    b"a1 LOGIN alice secret\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
    b"EHLO proxy.example\r\n",
    b"proxy TCP4 192.0.2.7 203.0.113.1 1 2\r\n",
    b"PROXY\r\n",
    b"PROXY \r\n",
    b"PROXY  TCP4 192.0.2.7 203.0.113.1 1 2\r\n",
    b"PROXY TCP4\r\n",
    b"PROXY TCP4 192.0.2.7\r\n",
    b"PROXY TCP4 192.0.2.7 203.0.113.1 1\r\n",
    b"PROXY TCP4 192.0.2.7 203.0.113.1 1 2 3\r\n",
    b"PROXY TCP4 192.0.2.7 203.0.113.1 1 2 \r\n",
    b"PROXY TCP4 192.0.2.7  203.0.113.1 1 2\r\n",
    b"PROXY TCP4 192.0.2 203.0.113.1 1 2\r\n",
    b"PROXY TCP4 192.0.02.7 203.0.113.1 1 2\r\n",
    b"PROXY TCP4 192.0.2.256 203.0.113.1 1 2\r\n",
    b"PROXY TCP4 192.0.2.7 203.0.113.1 65536 2\r\n",
    b"PROXY TCP4 192.0.2.7 203.0.113.1 -1 2\r\n",
    b"PROXY TCP4 192.0.2.7 203.0.113.1 +1 2\r\n",
    b"PROXY TCP4 192.0.2.7 203.0.113.1 01 2\r\n",
    b"PROXY TCP4 192.0.2.7 203.0.113.1 1_0 2\r\n",
    b"PROXY TCP4 192.0.2.7 203.0.113.1 1 2\n",
    b"PROXY TCP4 192.0.2.7 203.0.113.1 1 2\r\r\n",
    b"PROXY TCP4 192.0.2.7 203.0.113.1 1 \xb2\r\n",
    b"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n",
    b"PROXY TCP6 192.0.2.7 203.0.113.1 1 2\r\n",
    b"PROXY TCP6 fe80::1%\x1b[31m ::1 1 2\r\n",
    b"PROXY TCP6 :: ::::: 1 2\r\n",
    b"PROXY TCP5 192.0.2.7 203.0.113.1 1 2\r\n",
    b"PROXY UDP4 192.0.2.7 203.0.113.1 1 2\r\n",
    b"PROXY UNKNOWNS\r\n",
    b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",  # 108 octets
    b"PROXY UNKNOWN " + b"x" * 200,
    b"PROXY TCP4 " + b"1" * 200,
    SIGNATURE[:-1] + b"\r\x21\x11\x00\x00",
    v2(0x11, 0x11, addresses("192.0.2.7", 1)),  # version 1 in the form of 2
    v2(0x31, 0x11, addresses("192.0.2.7", 1)),
    v2(0x22, 0x11, addresses("192.0.2.7", 1)),  # neither LOCAL nor PROXY
    v2(0x21, 0x41, addresses("192.0.2.7", 1)),
    v2(0x21, 0x13, addresses("192.0.2.7", 1)),
    v2(0x21, 0x11, addresses("192.0.2.7", 1)[:-1]),
    v2(0x21, 0x21, addresses("192.0.2.7", 1)),  # IPv6 with the octets of IPv4
    v2(0x21, 0x11, b""),
    v2(0x21, 0x11, addresses("192.0.2.7", 1) + tlv(3, b"x")),
    v2(0x21, 0x11, b"", 8 * 1024 + 1),
    v2(0x20, 0x00, b"", 0xFFFF),
]  # fmt: skip


def read(header: ProxyHeader, stream: bytes, most: int = 1 << 16) -> int:
    """Give the header what it wants, in reads of at most `most`; how many octets it took."""
    at = 0
    while True:
        octets = stream[at : at + min(header.wanted(), most)]
        at += len(octets)
        if header.receive(octets):
            assert header.wanted() == 0
            return at


@pytest.mark.parametrize("most", [1, 2, 3, 7, 1 << 16])
@pytest.mark.parametrize(("octets", "source"), HEADERS)
def test_exactly_the_header_is_read(
    octets: bytes, source: tuple[str, int] | None, most: int
) -> None:
    header = ProxyHeader()
    assert read(header, octets + BEHIND, most) == len(octets)
    assert header.source == source


@pytest.mark.parametrize(("octets", "source"), HEADERS)
def test_nothing_is_said_before_it_is_complete(octets: bytes, source: object) -> None:
    """And a connection that ends before has no header."""
    for end in range(len(octets) if len(octets) < 300 else 40):
        header = ProxyHeader()
        with pytest.raises(ValueError, match="ended"):
            read(header, octets[:end])
        assert header.source is None
        assert header.wanted() > 0


@pytest.mark.parametrize("most", [1, 7, 1 << 16])
@pytest.mark.parametrize("octets", BROKEN)
def test_what_is_no_header_is_refused(octets: bytes, most: int) -> None:
    header = ProxyHeader()
    with pytest.raises(ValueError, match="PROXY header") as caught:
        read(header, octets + BEHIND, most)
    assert "ended" not in str(caught.value)
    assert header.source is None


@pytest.mark.parametrize("start", [b"a", b"\x16", b"\n", b"PX", b"\r\n\r\n\0\r\nX"])
def test_it_is_refused_at_the_first_octet_that_does_not_fit(start: bytes) -> None:
    header = ProxyHeader()
    for octet in start[:-1]:
        assert not header.receive(bytes((octet,)))
    with pytest.raises(ValueError, match="no PROXY header"):
        header.receive(start[-1:])


def test_a_line_takes_few_reads() -> None:
    header, reads = ProxyHeader(), 0
    line = b"PROXY TCP4 192.168.100.123 10.0.0.12 54321 143\r\n"
    while line:
        octets, line = line[: header.wanted()], line[header.wanted() :]
        assert header.receive(octets) is (not line)
        reads += 1
    assert reads < 12


def test_more_than_was_wanted_is_refused() -> None:
    with pytest.raises(ValueError, match="more than"):
        ProxyHeader().receive(b"PROXY UNKNOWN\r\na")
    header = ProxyHeader()
    assert header.receive(b"PROXY UNKNOWN\r\n")
    with pytest.raises(ValueError, match="more than"):
        header.receive(b"a")


def test_over_a_socket() -> None:
    """What stands behind the header is still in the socket."""
    for octets, source in HEADERS:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.sendall(octets + BEHIND)
            header = ProxyHeader()
            while not header.receive(ours.recv(header.wanted())):
                pass
            assert header.source == source
            assert ours.recv(100) == BEHIND


# -- any octets --


def feed(stream: bytes, sizes: Iterator[int]) -> tuple[str, int] | None:
    header, at = ProxyHeader(), 0
    while True:
        wanted = header.wanted()
        assert 0 < wanted <= LONGEST_2
        octets = stream[at : at + min(wanted, next(sizes))]
        at += len(octets)
        assert at <= (LONGEST_1 if stream[:1] == b"P" else LONGEST_2)
        if header.receive(octets):
            return header.source


SIZES = st.lists(st.integers(1, 40), min_size=1).map(lambda sizes: iter(sizes * 20000))
STARTS = st.sampled_from(
    [b"", b"PROXY ", b"PROXY TCP4 ", b"PROXY UNKNOWN", SIGNATURE, SIGNATURE + b"\x21\x11\0"]
)


@settings(deadline=None)  # the first one loads the library
@given(STARTS, st.binary(max_size=300), SIZES)
def test_any_octets_end_in_an_answer(start: bytes, rest: bytes, sizes: Iterator[int]) -> None:
    try:
        source = feed(start + rest, sizes)
    except ValueError:
        return
    assert source is None or ip_address(source[0])


@settings(deadline=None)
@given(st.sampled_from(HEADERS), st.data(), SIZES)
def test_a_header_with_one_octet_changed_ends_in_an_answer(
    case: tuple[bytes, tuple[str, int] | None], data: st.DataObject, sizes: Iterator[int]
) -> None:
    octets, _ = case
    at = data.draw(st.integers(0, len(octets) - 1))
    octet = data.draw(st.binary(min_size=1, max_size=1))
    try:
        source = feed(octets[:at] + octet + octets[at + 1 :], sizes)
    except ValueError:
        return
    assert source is None or (ip_address(source[0]) and 0 <= source[1] <= 65535)


@settings(deadline=None)
@given(
    st.ip_addresses(), st.integers(0, 65535), st.booleans(), st.binary(max_size=60), SIZES
)  # fmt: skip
def test_every_address_comes_through(
    address: object, port: int, line: bool, behind: bytes, sizes: Iterator[int]
) -> None:
    text = str(address)
    family = "6" if ":" in text else "4"
    if line:
        octets = f"PROXY TCP{family} {text} {text} {port} 993\r\n".encode()
    else:
        octets = v2(0x21, 0x21 if family == "6" else 0x11, addresses(text, port))
    mapped = getattr(ip_address(text), "ipv4_mapped", None)
    assert feed(octets + behind, sizes) == (str(mapped or text), port)


# -- who may send one --


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),  # IPv4 on a socket for both
        ("192.0.2.7", True),
        ("192.0.2.8", False),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("fe80::1%eth0", True),
        ("::ffff:192.0.2.8", False),
        ("::a01:203", False),
        ("", False),  # a UNIX socket
        ("localhost", False),
        ("10.1.2.3.4", False),
    ],
)
def test_a_proxy_is_trusted_by_its_network(address: str, inside: bool) -> None:
    texts = ["10.0.0.0/8", " 192.0.2.7 ", "2001:db8::/32", "fe80::/10"]
    assert trusted(address, parse_networks(texts)) is inside
    assert not trusted(address, parse_networks([]))


def test_a_network_may_be_written_as_mapped() -> None:
    assert trusted("::ffff:10.1.2.3", parse_networks(["::ffff:10.0.0.0/104"]))


@pytest.mark.parametrize(
    "text", ["", "proxy.example", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.0/8,::1"]
)
def test_what_is_no_network_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a network of proxies: .*" + text.partition("/")[0]):
        parse_networks(["192.0.2.0/24", text])
