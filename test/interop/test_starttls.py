"""STARTTLS as curl does it: the first command follows the handshake without a pause.

In TLS 1.3 the client speaks last in the handshake, so its first command may come in one segment
with that. curl 7.88 was left waiting once in sixteen times.
"""

from __future__ import annotations

import socket
import ssl

import pytest

from .conftest import Place


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_command_in_one_segment_with_the_end_of_the_handshake_is_answered(
    server: Place, version: ssl.TLSVersion
) -> None:
    context = server.trust()
    context.minimum_version = context.maximum_version = version
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(received, sent, server_hostname="localhost")
    with socket.create_connection((server.host, server.port), 5) as plain:
        lines = plain.makefile("rb", buffering=0)
        assert lines.readline().startswith(b"* OK")
        plain.sendall(b"a STARTTLS\r\n")
        assert lines.readline().startswith(b"a OK")
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                plain.sendall(sent.read())
                received.write(plain.recv(65536))
        tls.write(b"b CAPABILITY\r\n")
        plain.sendall(sent.read())
        answer = b""
        while b"b OK" not in answer:
            try:
                answer += tls.read()
            except ssl.SSLWantReadError:
                octets = plain.recv(65536)
                assert octets, answer
                received.write(octets)
        lines.close()


def test_what_follows_starttls_in_the_clear_is_never_carried_out(server: Place) -> None:
    """RFC 9051 11.1: commands that someone put behind STARTTLS are thrown away."""
    with socket.create_connection((server.host, server.port), 20) as plain:
        lines = plain.makefile("rb", buffering=0)
        lines.readline()
        plain.sendall(b"a STARTTLS\r\nb CAPABILITY\r\n")
        assert lines.readline().startswith(b"a OK")
        with server.trust().wrap_socket(plain, server_hostname="localhost") as secure:
            secure.sendall(b"c NOOP\r\n")
            assert secure.recv(100).startswith(b"c OK")
        lines.close()
