"""Mechanisms by which clients that others wrote log in: imaplib, IMAPClient and curl, with scramp."""

from __future__ import annotations

import asyncio
import hashlib
import imaplib
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import scramp
import trustme
from imapclient import IMAPClient

from pymap.auth.authenticator import Authenticator
from pymap.auth.passwords import hash
from pymap.backend.api import User
from pymap.backend.dict import DictBackend
from pymap.config import AuthConfig, OAuthConfig, TlsConfig
from pymap.imap.server import Server, serve
from pymap.tls import Certificates

USERS = {"plain": "p\u00e4ss w\u00f6rd", "hashed": "secret", "boss": "ssob"}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    leaf = authority.issue_cert("localhost", "127.0.0.1")
    leaf.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    backend = DictBackend({"plain": USERS["plain"], "boss": USERS["boss"]})
    backend.users.add(User("hashed", hash(USERS["hashed"], "SCRAM-SHA-256")))
    (tmp_path / "tokens").write_text("t0k3n plain\n")
    config = AuthConfig(
        mechanisms=(
            "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5",
            "OAUTHBEARER", "XOAUTH2", "PLAIN", "LOGIN",
        ),
        masters=frozenset({"boss"}),
        oauth=OAuthConfig(tokens=tmp_path / "tokens"),
    )  # fmt: skip
    context = Certificates(TlsConfig(certs=(tmp_path / "server.pem",))).context
    authenticator = Authenticator(backend.users, config)
    async with serve(backend, ssl_context=context, tls_port=0, authenticator=authenticator) as it:
        yield it


def over_tls(server: Server, tmp_path: Path) -> imaplib.IMAP4_SSL:
    trust = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    host, port = server.addresses[1]
    return imaplib.IMAP4_SSL(host, port, ssl_context=trust)


def scram(mechanism: str, user: str, binding: tuple[str, bytes] | None) -> Callable[[bytes], bytes]:
    """What imaplib and IMAPClient call with each challenge; the last one has the server's proof."""
    client = scramp.ScramClient([mechanism], user, USERS[user], channel_binding=binding)
    steps = iter(("first", "final", "done"))

    def answer(challenge: bytes) -> bytes:
        match next(steps):
            case "first":
                return client.get_client_first().encode()
            case "final":
                client.set_server_first(challenge.decode())
                return client.get_client_final().encode()
            case _:
                client.set_server_final(challenge.decode())  # raises unless it knows the password
                return b""

    return answer


@pytest.mark.parametrize(
    ("mechanism", "user"),
    [("SCRAM-SHA-256-PLUS", "plain"), ("SCRAM-SHA-256-PLUS", "hashed"),
     ("SCRAM-SHA-256", "plain"), ("SCRAM-SHA-256", "hashed"),
     ("SCRAM-SHA-1-PLUS", "plain"), ("SCRAM-SHA-1", "plain")],
)  # fmt: skip
async def test_scram_with_imaplib_over_tls(
    server: Server, tmp_path: Path, mechanism: str, user: str
) -> None:
    def client() -> None:
        imap = over_tls(server, tmp_path)
        assert f"AUTH={mechanism}" in imap.capabilities
        binding = None
        if mechanism.endswith("-PLUS"):
            # RFC 5929 4.1; trustme signs with SHA-256.
            seen = imap.sock.getpeercert(binary_form=True)
            assert seen is not None
            binding = "tls-server-end-point", hashlib.sha256(seen).digest()
        imap.authenticate(mechanism, scram(mechanism, user, binding))
        assert imap.select()[0] == "OK"
        imap.logout()

    await asyncio.to_thread(client)


async def test_scram_and_plain_with_imapclient(server: Server) -> None:
    def client() -> None:
        host, port = server.addresses[0]
        with IMAPClient(host, port, ssl=False) as imap:
            imap.sasl_login("SCRAM-SHA-256", scram("SCRAM-SHA-256", "hashed", None))
            imap.select_folder("INBOX")
        with IMAPClient(host, port, ssl=False) as imap:
            imap.plain_login("boss", USERS["boss"], "plain")  # as somebody else
            imap.create_folder("made by boss")
        with IMAPClient(host, port, ssl=False) as imap:
            imap.oauthbearer_login("plain", "t0k3n")
            assert imap.folder_exists("made by boss")
        with IMAPClient(host, port, ssl=False) as imap:
            imap.oauth2_login("plain", "t0k3n")
            assert imap.folder_exists("made by boss")

    await asyncio.to_thread(client)


async def test_cram_md5_with_imaplib(server: Server) -> None:
    def client() -> None:
        host, port = server.addresses[0]
        imap = imaplib.IMAP4(host, port)
        imap.login_cram_md5("boss", USERS["boss"])
        imap.logout()

    await asyncio.to_thread(client)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
async def test_curl(server: Server, tmp_path: Path, mechanism: str) -> None:
    host, port = server.addresses[1]
    command = [
        "curl", "-sS", "--max-time", "20", "--cacert", str(tmp_path / "ca.pem"),
        "--login-options", f"AUTH={mechanism}", "-u", f"boss:{USERS['boss']}",
        f"imaps://localhost:{port}/", "--connect-to", f"localhost:{port}:{host}:{port}",
    ]  # fmt: skip
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert b"INBOX" in done.stdout
    wrong = [f"boss:{USERS['boss']}x" if part.startswith("boss:") else part for part in command]
    done = await asyncio.to_thread(subprocess.run, wrong, capture_output=True, timeout=30)
    assert done.returncode == 67, done.stderr  # login denied
