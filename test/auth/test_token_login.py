"""Logging in with a token: a client, a server and whoever issues tokens, over real sockets."""

from __future__ import annotations

import asyncio
import base64
import imaplib
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from pymap.auth.authenticator import Authenticator
from pymap.backend.dict import DictBackend
from pymap.config import AuthConfig, OAuthConfig
from pymap.imap.server import Server, serve

ISSUER = "https://id.example.com"
KEY = ec.generate_private_key(ec.SECP256R1())


def token(user: str = "alice", key: ec.EllipticCurvePrivateKey = KEY, **claims: object) -> str:
    standard = {"iss": ISSUER, "aud": "imap", "scope": "mail", "exp": time.time() + 60}
    said: dict[str, Any] = {**standard, "email": user, **claims}
    return jwt.encode(said, key, "ES256", headers={"kid": "one"})


def oauthbearer(token: str, wanted: str = "") -> bytes:
    authzid = f"a={wanted}" if wanted else ""
    return f"n,{authzid},\1host=localhost\1port=143\1auth=Bearer {token}\1\1".encode()


def xoauth2(token: str, user: str = "alice") -> bytes:
    return f"user={user}\1auth=Bearer {token}\1\1".encode()


def server_with(oauth: OAuthConfig, **options: Any) -> Any:
    backend = DictBackend({"alice": "secret", "bob": "secret", "root": "secret"})
    return serve(
        backend, authenticator=Authenticator(backend.users, AuthConfig(oauth=oauth, **options))
    )


@pytest.fixture
def signed(tmp_path: Path) -> OAuthConfig:
    """Tokens that `token` makes count."""
    path = tmp_path / "jwks.json"
    public: Any = ECAlgorithm.to_jwk(KEY.public_key(), as_dict=True)
    path.write_text(json.dumps({"keys": [{**public, "kid": "one"}]}))
    return OAuthConfig(jwks=str(path), issuer=ISSUER, audience="imap", scope="mail")


@contextmanager
def issuer(answer: Callable[[str], object]) -> Iterator[str]:
    """A server that is asked about tokens; `answer` is given the form, and None is its death."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = self.rfile.read(int(self.headers["Content-Length"])).decode()
            said = answer(form)
            self.send_response(503 if said is None else 200)
            self.end_headers()
            self.wfile.write(json.dumps(said).encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/introspect"
        server.shutdown()
        thread.join()


def _log_in(server: Server, mechanism: str, response: bytes) -> tuple[str, list[bytes]]:
    """What a client is told at last, and the challenges on the way, which it answers with an empty
    response, or with ^A as RFC 7628 3.2.3 wants it."""
    challenges: list[bytes] = []

    def answer(challenge: bytes) -> bytes | None:
        challenges.append(challenge)
        if not challenge:
            return response
        return b"\1" if mechanism == "OAUTHBEARER" else b""

    with imaplib.IMAP4(*server.addresses[0], timeout=10) as client:
        assert f"AUTH={mechanism}" in client.capabilities
        try:
            client.authenticate(mechanism, answer)
            assert client.select("INBOX")[0] == "OK"
            return "OK", challenges
        except imaplib.IMAP4.error as error:
            return str(error), challenges


async def log_in(server: Server, mechanism: str, response: bytes) -> tuple[str, list[bytes]]:
    return await asyncio.to_thread(_log_in, server, mechanism, response)


async def test_a_client_logs_in_with_a_signed_token(signed: OAuthConfig) -> None:
    async with server_with(signed) as server:
        assert await log_in(server, "OAUTHBEARER", oauthbearer(token())) == ("OK", [b""])
        assert await log_in(server, "OAUTHBEARER", oauthbearer(token(), "alice")) == ("OK", [b""])
        assert await log_in(server, "XOAUTH2", xoauth2(token())) == ("OK", [b""])


async def test_an_initial_response_saves_a_round_trip(signed: OAuthConfig) -> None:
    """RFC 4959"""
    async with server_with(signed) as server, asyncio.timeout(10):
        for said, mechanism in (
            (oauthbearer(token()), b"OAUTHBEARER"),
            (xoauth2(token()), b"XOAUTH2"),
        ):
            reader, writer = await asyncio.open_connection(*server.addresses[0])
            writer.write(
                b"1 AUTHENTICATE %b %b\r\n2 LOGOUT\r\n" % (mechanism, base64.b64encode(said))
            )
            answer = await reader.read()
            assert re.search(rb"^1 OK \[CAPABILITY ", answer, re.MULTILINE)
            writer.close()
            await writer.wait_closed()


@pytest.mark.parametrize(
    "bad",
    [
        token(key=ec.generate_private_key(ec.SECP256R1())),
        token(exp=time.time() - 60),
        token(aud="web"),
        token(iss="https://elsewhere.example.com"),
        token(scope="calendar"),
        token("nobody"),
        token()[:-8],
        "x",
    ],
    ids=["key", "expired", "audience", "issuer", "scope", "nobody", "cut", "x"],
)
async def test_a_token_that_does_not_count_is_told_in_json(
    signed: OAuthConfig, bad: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with server_with(signed) as server:
        text, (_, challenge) = await log_in(server, "OAUTHBEARER", oauthbearer(bad))
        assert "[AUTHENTICATIONFAILED]" in text
        assert json.loads(challenge) == {
            "status": "invalid_token",
            "scope": "mail",
            "openid-configuration": f"{ISSUER}/.well-known/openid-configuration",
        }
        text, (_, challenge) = await log_in(server, "XOAUTH2", xoauth2(bad))
        assert "[AUTHENTICATIONFAILED]" in text
        assert json.loads(challenge) == {"status": "401", "schemes": "bearer", "scope": "mail"}
    if len(bad) > 1:
        assert bad not in caplog.text
        assert bad.split(".")[2] not in caplog.text


async def test_a_token_is_for_one_account_unless_a_master_has_it(signed: OAuthConfig) -> None:
    async with server_with(signed, masters=frozenset({"root"})) as server:
        text, _ = await log_in(server, "OAUTHBEARER", oauthbearer(token(), "bob"))
        assert "[AUTHORIZATIONFAILED]" in text
        text, _ = await log_in(server, "XOAUTH2", xoauth2(token(), "bob"))
        assert "[AUTHORIZATIONFAILED]" in text
        assert (await log_in(server, "XOAUTH2", xoauth2(token("root"), "bob")))[0] == "OK"


async def test_a_server_is_asked(tmp_path: Path) -> None:
    said: dict[str, object] | None = {"active": True, "username": "alice"}
    with issuer(lambda form: said) as url:
        oauth = OAuthConfig(introspection=url, client_id="pymap", client_secret="x")
        async with server_with(oauth) as server:
            assert (await log_in(server, "OAUTHBEARER", oauthbearer("opaque")))[0] == "OK"
            said = {"active": False}
            # The first one is remembered for a minute.
            assert (await log_in(server, "XOAUTH2", xoauth2("opaque")))[0] == "OK"
            text, _ = await log_in(server, "XOAUTH2", xoauth2("another"))
            assert "[AUTHENTICATIONFAILED]" in text
            said = None
            text, challenges = await log_in(server, "XOAUTH2", xoauth2("another"))
            assert "[UNAVAILABLE]" in text
            assert challenges == [b""]  # it may be valid: no JSON that says otherwise


async def test_a_list_of_tokens_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text("t0ken alice\n")
    async with server_with(OAuthConfig(tokens=path)) as server:
        assert (await log_in(server, "OAUTHBEARER", oauthbearer("t0ken")))[0] == "OK"
        path.write_text("other alice\n")
        assert (await log_in(server, "OAUTHBEARER", oauthbearer("other")))[0] == "OK"
        text, _ = await log_in(server, "OAUTHBEARER", oauthbearer("t0ken"))
        assert "[AUTHENTICATIONFAILED]" in text


async def test_octets_of_all_kinds_end_in_an_answer(signed: OAuthConfig) -> None:
    async with server_with(signed) as server, asyncio.timeout(30):
        for said in (
            b"", b"\0", b"\1", b"\xff" * 50, b"n,,", b"n,,\1\1", b"n,,\1auth=Bearer \1\1",
            b"n,,\1auth=Bearer \xff\1\1", b"n,,\1auth=Basic eA==\1\1", b"user=\1auth=Bearer\1\1",
            b"user=alice\1auth=Bearer a b\1\1", b"n,,\1auth=Bearer " + b"a." * 2500 + b"\1\1",
        ):  # fmt: skip
            for mechanism in (b"OAUTHBEARER", b"XOAUTH2"):
                reader, writer = await asyncio.open_connection(*server.addresses[0])
                encoded = base64.b64encode(said) or b"="
                writer.write(b"1 AUTHENTICATE %b %b\r\n\r\n2 LOGOUT\r\n" % (mechanism, encoded))
                answer = await reader.read()
                assert re.search(rb"^1 (NO|BAD) ", answer, re.MULTILINE), (mechanism, said)
                assert b"SERVERBUG" not in answer
                writer.close()
                await writer.wait_closed()
