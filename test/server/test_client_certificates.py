"""Who shows a certificate need not show a password: EXTERNAL over real TLS.   RFC 4422 appendix A"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from pymap.auth.authenticator import Authenticator
from pymap.backend.dict import DictBackend
from pymap.config import AuthConfig, TlsConfig
from pymap.imap.server import Server, serve
from pymap.tls import Certificates

from .client import Client
from .conftest import Connect


@pytest.fixture
async def certified(
    authority: trustme.CA, certificate: trustme.LeafCert, tmp_path: Path
) -> AsyncIterator[Server]:
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    config = TlsConfig(certs=(tmp_path / "server.pem",), client_ca=tmp_path / "ca.pem")
    backend = DictBackend({"alice@example.org": "x", "bob": "y", "boss@example.org": "z"})
    authenticator = Authenticator(
        backend.users, AuthConfig(masters=frozenset({"boss@example.org"}))
    )
    context = Certificates(config).context
    async with serve(
        backend, ssl_context=context, tls_port=0, authenticator=authenticator
    ) as server:
        yield server


async def log_in(
    server: Server, connect: Connect, client_tls: ssl.SSLContext, shown: trustme.LeafCert | None,
    authorization: bytes = b"=",
) -> tuple[Client, bytes]:  # fmt: skip
    if shown is not None:
        shown.configure_cert(client_tls)
    client = await connect(server.addresses[1], ssl=client_tls)
    return client, (await client.command(b"AUTHENTICATE EXTERNAL ", authorization)).tagged


async def test_the_holder_of_a_certificate(
    certified: Server, connect: Connect, authority: trustme.CA, client_tls: ssl.SSLContext
) -> None:
    shown = authority.issue_cert("alice@example.org")
    client, answer = await log_in(certified, connect, client_tls, shown)
    assert b"AUTH=EXTERNAL" in client.greeting
    assert b" OK " in answer
    (session,) = certified.sessions()
    assert session.user == "alice@example.org"


async def test_a_master_acts_for_another(
    certified: Server, connect: Connect, authority: trustme.CA, client_tls: ssl.SSLContext
) -> None:
    shown = authority.issue_cert("boss@example.org")
    _, answer = await log_in(certified, connect, client_tls, shown, b"Ym9i")  # bob
    assert b" OK " in answer
    (session,) = certified.sessions()
    assert (session.user, session.authenticated_as) == ("bob", "boss@example.org")


@pytest.mark.parametrize(("name", "authorization"), [("nobody@example.org", b"="),
                                                     ("alice@example.org", b"Ym9i")])  # fmt: skip
async def test_who_may_not(
    certified: Server, connect: Connect, authority: trustme.CA, client_tls: ssl.SSLContext,
    name: str, authorization: bytes,
) -> None:  # fmt: skip
    shown = authority.issue_cert(name)
    _, answer = await log_in(certified, connect, client_tls, shown, authorization)
    assert b" NO [AUTH" in answer


async def test_without_a_certificate_it_is_not_offered(
    certified: Server, connect: Connect, client_tls: ssl.SSLContext
) -> None:
    client, answer = await log_in(certified, connect, client_tls, None)
    assert b"AUTH=EXTERNAL" not in client.greeting
    assert b" NO [CANNOT]" in answer


async def test_a_certificate_of_another_authority_is_turned_away(
    certified: Server, connect: Connect, client_tls: ssl.SSLContext
) -> None:
    stranger = trustme.CA().issue_cert("alice@example.org")
    with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
        await log_in(certified, connect, client_tls, stranger)
