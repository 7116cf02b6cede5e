"""Tokens: from a file, by a signature, by asking a server; what is refused, and what happens when
the server is slow, wrong or away."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import logging
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jwt
import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from pymap.auth import keyset, sources, tokens
from pymap.auth.keyset import KeyFile, KeyServer, parse_key_set
from pymap.auth.tokens import (
    Introspection,
    SignedTokens,
    TokenChecker,
    TokenFile,
    TokenRefused,
    TokenUnavailable,
    user_in,
)
from pymap.config import OAuthConfig

NOW = 1_700_000_000.0
Json = dict[str, Any]


class Clock:
    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Web:
    """A server of the test's own, which answers as the test says."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str], str]] = []
        self.answer: Callable[[str], tuple[int, bytes]] = lambda body: (200, b"{}")
        self.headers: dict[str, str] = {}
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                headers = {name.lower(): value for name, value in self.headers.items()}
                web.requests.append((self.command, self.path, headers, body))
                status, octets = web.answer(body)
                self.send_response(status)
                for name, value in web.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                with suppress(OSError):  # who does not want to hear it
                    self.wfile.write(octets)

            do_GET = do_POST

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/ask"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))

    def says(self, value: object, status: int = 200) -> None:
        octets = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.answer = lambda body: (status, octets)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


@pytest.fixture
def web() -> Iterator[Web]:
    web = Web()
    web.start()
    yield web
    web.stop()


@cache
def private(kind: str, n: int) -> Any:
    """One key for each `n`."""
    match kind:
        case "rsa":
            return rsa.generate_private_key(65537, 2048)
        case "weak":
            return rsa.generate_private_key(65537, 1024)
        case "ed":
            return ed25519.Ed25519PrivateKey.generate()
        case "p384":
            return ec.generate_private_key(ec.SECP384R1())
        case "p521":
            return ec.generate_private_key(ec.SECP521R1())
    return ec.generate_private_key(ec.SECP256R1())


def public(kind: str = "ec", n: int = 0, **fields: Any) -> Json:
    key = private(kind, n).public_key()
    algorithm: Any = {"rsa": RSAAlgorithm, "weak": RSAAlgorithm, "ed": OKPAlgorithm}.get(
        kind, ECAlgorithm
    )
    return {**algorithm.to_jwk(key, as_dict=True), **fields}


def sign(
    claims: object | None = None,
    kind: str = "ec",
    algorithm: str = "ES256",
    n: int = 0,
    **header: object,
) -> str:
    payload = {"email": "alice", "exp": NOW + 60} if claims is None else claims
    octets = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return jwt.PyJWS().encode(octets, private(kind, n), algorithm, headers=header or None)


def in_file(path: Path, *keys: object) -> Path:
    path.write_text(json.dumps({"keys": keys}))
    return path


@pytest.fixture
def signed(tmp_path: Path) -> Callable[..., SignedTokens]:
    """Tokens checked by keys in a file."""

    def make(*keys: Json, **options: Any) -> SignedTokens:
        path = in_file(tmp_path / "jwks.json", *(keys or (public(),)))
        return SignedTokens(OAuthConfig(jwks=str(path), **options), lambda: NOW)

    return make


# -- configuration --


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "by introspection, by a key set or by a file"),
        ({"jwks": "x", "introspection": "https://x"}, "by introspection, by a key set or by a"),
        ({"introspection": "http://idp.example/x"}, "without TLS"),
        ({"introspection": "http://127.evil.example/x"}, "without TLS"),
        ({"jwks": "http://idp.example/x"}, "without TLS"),
        ({"jwks": "file:///etc/keys"}, "expected a URL"),
        ({"introspection": "ftp://localhost/x"}, "expected a URL"),
        ({"introspection": "https://"}, "expected a URL"),
        ({"introspection": ""}, "expected a URL"),
        ({"introspection": "https://[::1/x"}, "expected a URL"),
        ({"introspection": "https://x:port/"}, "expected a URL"),
        ({"introspection": "https://ü.example/"}, "expected a URL"),
        ({"introspection": "https://x/", "client_secret": "secret"}, "nothing without its id"),
        ({"introspection": "https://me:secret@idp.example/"}, "must not hold a password"),
    ],
)
def test_what_cannot_be_is_told(options: Json, text: str) -> None:
    with pytest.raises(ValueError, match=text) as raised:
        TokenChecker.from_config(OAuthConfig(**options))
    assert "secret@" not in str(raised.value)


@pytest.mark.parametrize("options", [{"jwks": "nowhere.json"}, {"tokens": Path("nowhere")}])
def test_a_file_that_is_not_there_is_told(tmp_path: Path, options: Json) -> None:
    options = {name: type(value)(tmp_path / value) for name, value in options.items()}
    with pytest.raises(FileNotFoundError, match="nowhere"):
        TokenChecker.from_config(OAuthConfig(**options))


def test_a_server_need_not_be_there_at_the_start() -> None:
    for url in ("https://nowhere.invalid/x", "http://[::1]:1/x", "http://localhost:1/x"):
        assert isinstance(TokenChecker.from_config(OAuthConfig(jwks=url)), SignedTokens)
        assert isinstance(TokenChecker.from_config(OAuthConfig(introspection=url)), Introspection)


# -- octets --

HOSTILE = [
    "", " ", "a b", "a\0", "a\r\nb", "\ud800", "ü", "=", "a=b", "x" * 8193, "a,b", "%00", "'", "a\n",
    ".", "..", "...", "a.b.c", "e30.e30.", "e30..", "=" * 9, "/" * 8192,
]  # fmt: skip


@pytest.mark.parametrize("token", HOSTILE)
async def test_hostile_tokens_are_refused_and_ask_nobody(
    signed: Callable[..., SignedTokens], tmp_path: Path, web: Web, token: str
) -> None:
    (tmp_path / "tokens").write_text("good alice\n")
    for checker in (signed(), TokenFile(OAuthConfig(tokens=tmp_path / "tokens"))):
        with pytest.raises(TokenRefused):
            await checker.check(token)
    with pytest.raises(TokenRefused):
        await SignedTokens(OAuthConfig(jwks=web.url)).check(token)
    with pytest.raises(TokenRefused):
        await Introspection(OAuthConfig(introspection=web.url)).check(token)
    looks_like_one = len(token) <= tokens.LONGEST and tokens._TOKEN.fullmatch(token)
    assert len(web.requests) == bool(looks_like_one)


B64 = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", max_size=12)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | NUMBERS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)
HEADERS = st.dictionaries(
    st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk", "jku", "x5u", "x5c"]),
    JSON | st.sampled_from(["none", "HS256", "ES256", "RS256", "k"]),
)


def segment(value: object) -> str:
    octets = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


@settings(deadline=None)
@given(
    st.text(max_size=30)
    | st.tuples(B64, B64, B64).map(".".join)
    | st.tuples(HEADERS, JSON | st.binary(max_size=9), st.binary(max_size=64)).map(
        lambda three: ".".join(map(segment, three))
    )
)
@example(segment({"alg": "none"}) + "." + segment({"email": "alice", "exp": 9e9}) + ".")
@example(segment({"alg": ["ES256"]}) + ".e30.AAAA")
@example(segment(b"[" * 4000) + ".e30.AAAA")
def test_no_octets_break_it(token: str) -> None:
    checker = SignedTokens(OAuthConfig(jwks="x", audience="y"), lambda: NOW, known_keys())
    with pytest.raises(TokenRefused):
        asyncio.run(checker.check(token))


@cache
def known_keys() -> keyset.KeySet:
    class Known(keyset.KeySet):
        keys = parse_key_set(json.dumps({"keys": [public(kid="k"), public("rsa")]}).encode())

        async def refresh(self) -> None:
            pass

        async def reload(self) -> None:
            pass

    return Known()


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(["kty", "crv", "x", "y", "n", "e", "alg", "use", "key_ops", "kid"]),
                    JSON | st.sampled_from(["EC", "RSA", "OKP", "P-256", "Ed25519", "AQAB", "sig"]))
    | JSON
)  # fmt: skip
def test_no_key_set_breaks_it(key: object) -> None:
    with suppress(ValueError):
        parse_key_set(json.dumps({"keys": [key]}).encode())
    keys = parse_key_set(json.dumps({"keys": [key, public()]}).encode())
    assert keys[-1].algorithm == "ES256"


# -- what a token says --

CLAIMS = {"email": "alice", "exp": NOW + 60, "iss": "https://idp", "aud": ["imap", "x"]}
STRICT = OAuthConfig(issuer="https://idp", audience="imap", scope="imap read")


@pytest.mark.parametrize(
    "claims",
    [
        {"scope": "read x imap"},
        {"scope": ["imap", "read"]},
        {"scp": ["imap", "read", 5, None]},
        {"scope": "imap", "scp": "read"},
        {"scope": "imap read", "aud": "imap"},
        {"scope": "imap read", "exp": NOW - 29, "nbf": NOW + 30},
        {"scope": "imap read", "exp": 10**400},
        {"scope": "imap read", "exp": None, "nbf": None},
        {"scope": "imap read", "email": None, "sub": "alice", "email_verified": False},
        {"scope": "imap read", "email_verified": True},
        {"scope": "imap read", "email_verified": "true"},
    ],
)
def test_claims_that_count(claims: Json) -> None:
    assert user_in({**CLAIMS, **claims}, STRICT, NOW) == "alice"


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": NOW - 30}, "expired"),
        ({"exp": "never"}, "no time"),
        ({"exp": True}, "no time"),
        ({"nbf": NOW + 31}, "not valid yet"),
        ({"nbf": []}, "no time"),
        ({"iss": "https://idp/"}, "issuer"),
        ({"iss": None}, "issuer"),
        ({"iss": ["https://idp"]}, "issuer"),
        ({"aud": "imap2"}, "audience"),
        ({"aud": ["x", ["imap"]]}, "audience"),
        ({"aud": {"imap": 1}}, "audience"),
        ({"aud": None}, "audience"),
        ({"scope": "imap"}, "scope"),
        ({"scope": "imapread"}, "scope"),
        ({"scope": {"imap": 1, "read": 1}}, "scope"),
        ({"email": ""}, "no name"),
        ({"email": None}, "names no user"),
        ({"email": ["alice"]}, "no name"),
        ({"email": "a\0"}, "no name"),
        ({"email": "a\nb"}, "no name"),
        ({"email": "\ud800"}, "no name"),
        ({"email": "a" * 256}, "no name"),
        ({"email_verified": False}, "not verified"),
        ({"email_verified": "false"}, "not verified"),
        ({"email_verified": None}, "not verified"),
    ],
)
def test_claims_that_do_not_count(claims: Json, reason: str) -> None:
    with pytest.raises(TokenRefused, match=reason):
        user_in({**CLAIMS, "scope": "imap read", **claims}, STRICT, NOW)


def test_the_first_claim_that_is_there_names_the_user() -> None:
    config = OAuthConfig(claim=("upn", "sub"))
    assert user_in({"sub": "s", "email": "e"}, config, NOW) == "s"
    assert user_in({"sub": "s", "upn": "ü"}, config, NOW) == "ü"
    with pytest.raises(TokenRefused, match="names no user"):
        user_in({"email": "e"}, config, NOW)
    # That of others than `email` need not be verified.
    assert user_in({"sub": "s", "email_verified": False}, config, NOW) == "s"


# -- signatures --


@pytest.mark.parametrize(
    ("kind", "algorithm"),
    [
        ("ec", "ES256"), ("p384", "ES384"), ("p521", "ES512"), ("ed", "EdDSA"),
        ("rsa", "RS256"), ("rsa", "RS384"), ("rsa", "RS512"), ("rsa", "PS256"), ("rsa", "PS512"),
    ],
)  # fmt: skip
async def test_signatures_that_count(
    signed: Callable[..., SignedTokens], kind: str, algorithm: str
) -> None:
    key = public(kind, kid="k")
    for field in ({}, {"alg": algorithm}, {"use": "sig"}, {"key_ops": ["verify"]}):
        checker = signed(public(n=9), {**key, **field})
        assert await checker.check(sign(None, kind, algorithm, kid="k")) == "alice"
        assert await checker.check(sign(None, kind, algorithm)) == "alice"
        for kid in ("another", ""):
            with pytest.raises(TokenRefused, match="no known key"):
                await checker.check(sign(None, kind, algorithm, kid=kid))


async def test_a_key_does_only_what_it_is_for(signed: Callable[..., SignedTokens]) -> None:
    good = public(n=9)
    for field in (
        {"alg": "RS512"},
        {"use": "enc"},
        {"key_ops": ["sign"]},
        {"key_ops": 5},
        {"kid": 5},
    ):
        with pytest.raises(TokenRefused, match="no known key"):
            await signed(good, {**public("rsa"), **field}).check(sign(None, "rsa", "RS256"))
    with pytest.raises(TokenRefused, match="no known key"):
        await signed(public(n=1)).check(sign())


async def test_a_token_has_no_say_in_how_it_is_checked(
    signed: Callable[..., SignedTokens],
) -> None:
    secret = public("rsa")
    checker = signed(
        secret, {"kty": "oct", "k": segment(b"x" * 32), "alg": "HS256", "kid": "h"}, public()
    )
    claims = segment({"email": "alice", "exp": NOW + 60})
    for header in ({"alg": "none"}, {"alg": "None"}, {"alg": ""}, {}, {"alg": None}):
        with pytest.raises(TokenRefused):
            await checker.check(f"{segment(header)}.{claims}.")
    pem = json.dumps(secret)
    for key in (b"x" * 32, pem.encode()):
        for kid in ({}, {"kid": "h"}):
            start = f"{segment({'alg': 'HS256', **kid})}.{claims}"
            token = f"{start}.{segment(hmac.digest(key, start.encode(), 'sha256'))}"
            with pytest.raises(TokenRefused, match="not signed in a way that counts"):
                await checker.check(token)
    # A key that the token brings along.
    for header in ({"jwk": public(n=5)}, {"jku": "https://evil.example/"}):
        with pytest.raises(TokenRefused, match="no known key"):
            await checker.check(sign(n=5, **header))
    with pytest.raises(TokenRefused, match="not known"):
        await checker.check(forged({"alg": "ES256", "crit": ["b64"], "b64": True}))


def forged(header: object) -> str:
    return f"{segment(header)}.{segment({'email': 'alice'})}.{segment(b'x' * 64)}"


async def test_a_changed_token_is_refused(signed: Callable[..., SignedTokens]) -> None:
    checker, token = signed(), sign()
    head, _, signature = token.split(".")
    other = segment({"email": "mallory", "exp": NOW + 60})
    for changed in (f"{head}.{other}.{signature}", token[:-4], token + "AA", f"{token}.x"):
        with pytest.raises(TokenRefused):
            await checker.check(changed)


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"email": "alice"}, "does not expire"),
        ({"email": "alice", "exp": None}, "does not expire"),
        ({"email": "alice", "exp": NOW - 30}, "has expired"),
        (["alice"], "no claims"),
        (b"{", "no claims"),
        (b'{"email": "alice", "exp": NaN}', "no claims"),
        (b'{"email": "alice", "exp": Infinity}', "no claims"),
        (b"[" * 5000, "no claims"),
        (b"\xff", "no claims"),
    ],
)
async def test_what_is_signed_may_still_be_nothing(
    signed: Callable[..., SignedTokens], claims: object, reason: str
) -> None:
    with pytest.raises(TokenRefused, match=reason):
        await signed().check(sign(claims))


@pytest.mark.parametrize(
    "content",
    [
        b"", b"x", b"[]", b"{}", b'{"keys": []}', b'{"keys": {}}', b'{"keys": [1, {}, {"kty": 1}]}',
        json.dumps({"keys": [public("weak")]}).encode(),
        json.dumps({"keys": [{"kty": "oct", "k": "AAAA"}]}).encode(),
        json.dumps({"keys": [{**public(), "y": "AAAA"}]}).encode(), b"x" * (1 << 20) + b"x",
    ],
)  # fmt: skip
async def test_a_set_without_keys_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "jwks"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=str(path)):
        KeyFile(path)


async def test_private_keys_in_a_set_only_check(signed: Callable[..., SignedTokens]) -> None:
    whole: Any = ECAlgorithm.to_jwk(private("ec", 0), as_dict=True)
    assert "d" in whole
    assert await signed(whole).check(sign()) == "alice"


async def test_who_has_no_audience_takes_no_token_for_one(
    signed: Callable[..., SignedTokens],
) -> None:
    claims = {"email": "alice", "exp": NOW + 60}
    for audience in ("imap", ["imap"], [], ""):
        with pytest.raises(TokenRefused, match="none is configured"):
            await signed().check(sign({**claims, "aud": audience}))
    assert await signed().check(sign({**claims, "aud": None})) == "alice"
    assert await signed(audience="imap").check(sign({**claims, "aud": ["x", "imap"]})) == "alice"
    with pytest.raises(TokenRefused, match="another audience"):
        await signed(audience="imap").check(sign(claims))


async def test_a_key_file_is_read_again(
    signed: Callable[..., SignedTokens], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "jwks.json"
    checker = signed(public())
    in_file(path, public(n=1))
    assert await checker.check(sign(n=1)) == "alice"
    with pytest.raises(TokenRefused):
        await checker.check(sign())
    caplog.clear()
    for content in ("{}", "{", None):
        path.unlink() if content is None else path.write_text(content)
        for _ in range(2):
            assert await checker.check(sign(n=1)) == "alice"
            with pytest.raises((OSError, ValueError), match=str(path)):
                await checker.reload()
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(told) == 3
    in_file(path, public())
    await checker.reload()
    assert await checker.check(sign()) == "alice"


# -- keys from a URL --


class Fetched:
    def __init__(self, web: Web) -> None:
        self.clock = Clock(1000.0)
        self.keys = KeyServer(web.url, self.clock)
        self.checker = SignedTokens(OAuthConfig(audience=None), lambda: NOW, self.keys)
        self.web = web

    async def refused(self, token: str) -> None:
        with pytest.raises(TokenRefused):
            await self.checker.check(token)

    async def unavailable(self, token: str) -> str:
        with pytest.raises(TokenUnavailable) as raised:
            await self.checker.check(token)
        return str(raised.value)


@pytest.fixture
def fetched(web: Web) -> Fetched:
    return Fetched(web)


async def test_keys_are_fetched_once_and_for_a_new_key(fetched: Fetched, web: Web) -> None:
    web.says({"keys": [public(kid="one")]})
    many = await asyncio.gather(*(fetched.checker.check(sign(kid="one")) for _ in range(20)))
    assert many == ["alice"] * 20
    assert [request[:2] for request in web.requests] == [("GET", "/ask")]
    web.says({"keys": [public(kid="one"), public(n=1, kid="two")]})
    await fetched.refused(sign(n=1, kid="two"))  # too early to ask again
    fetched.clock.now += keyset.AGAIN_S
    assert await fetched.checker.check(sign(kid="one")) == "alice"
    assert len(web.requests) == 1
    assert await fetched.checker.check(sign(n=1, kid="two")) == "alice"
    assert len(web.requests) == 2
    for n in range(20):  # nobody can make us ask all the time
        await fetched.refused(sign(n=1, kid=f"made up {n}"))
    assert len(web.requests) == 2


async def test_a_withdrawn_key_counts_no_longer_than_an_hour(fetched: Fetched, web: Web) -> None:
    web.says({"keys": [public()]})
    assert await fetched.checker.check(sign()) == "alice"
    web.says({"keys": [public(n=1)]})
    fetched.clock.now += keyset.OLD_S - 1
    assert await fetched.checker.check(sign()) == "alice"
    fetched.clock.now += 1
    assert await fetched.checker.check(sign()) == "alice"  # and it is fetched meanwhile
    assert fetched.keys._fetching is not None
    await fetched.keys._fetching
    await fetched.refused(sign())


async def test_known_keys_count_while_the_server_is_away(
    fetched: Fetched, web: Web, caplog: pytest.LogCaptureFixture
) -> None:
    web.says({"keys": [public(kid="one")]})
    assert await fetched.checker.check(sign()) == "alice"
    web.says(b"", 503)
    for _ in range(3):
        fetched.clock.now += keyset.OLD_S
        assert await fetched.checker.check(sign()) == "alice"
        await fetched.refused(sign(n=1, kid="two"))
    assert [record.levelname for record in caplog.records].count("ERROR") == 1
    assert "HTTP status 503" in caplog.text
    with pytest.raises(ValueError, match=r"127\.0\.0\.1: HTTP status 503"):
        await fetched.checker.reload()
    web.says({"keys": [public(n=1)]})
    await fetched.checker.reload()
    assert await fetched.checker.check(sign(n=1)) == "alice"
    assert "answers again" in caplog.text


async def test_without_keys_nothing_is_known(fetched: Fetched, web: Web) -> None:
    for value, status in ((b"", 500), (b"<html>", 200), ({"keys": []}, 200), (b"x", 404)):
        web.says(value, status)
        asked = len(web.requests)
        assert "127.0.0.1: " in await fetched.unavailable(sign())
        assert "no keys yet" in await fetched.unavailable(sign())
        assert len(web.requests) == asked + 1
        fetched.clock.now += keyset.MISSING_S
    web.says({"keys": [public()]})
    assert await fetched.checker.check(sign()) == "alice"


async def test_a_redirect_is_not_followed(fetched: Fetched, web: Web) -> None:
    web.headers["Location"] = web.url
    web.says({"keys": [public()]}, 302)
    assert "HTTP status 302" in await fetched.unavailable(sign())
    assert len(web.requests) == 1


async def test_who_goes_away_does_not_stop_the_fetching(fetched: Fetched, web: Web) -> None:
    asked, answer = threading.Event(), threading.Event()

    def slowly(body: str) -> tuple[int, bytes]:
        asked.set()
        answer.wait(10)
        return 200, json.dumps({"keys": [public()]}).encode()

    web.answer = slowly
    first = asyncio.ensure_future(fetched.checker.check(sign()))
    await asyncio.to_thread(asked.wait, 10)
    second = asyncio.ensure_future(fetched.checker.check(sign()))
    first.cancel()
    await asyncio.sleep(0)
    answer.set()
    assert await second == "alice"
    assert len(web.requests) == 1


# -- introspection --


@pytest.fixture
def asking(web: Web) -> Callable[..., Introspection]:
    def make(clock: Clock | None = None, **options: Any) -> Introspection:
        config = OAuthConfig(introspection=web.url, **options)
        return Introspection(config, clock or Clock())

    return make


async def test_what_is_asked(asking: Callable[..., Introspection], web: Web) -> None:
    web.says({"active": True, "username": "alice"})
    assert await asking().check("ab+/c==") == "alice"
    assert await asking(client_id="me:ü", client_secret="s p&%").check("t") == "alice"
    assert await asking(client_id="me").check("t") == "alice"
    (method, path, headers, body), *others = web.requests
    assert (method, path) == ("POST", "/ask")
    assert parse_qs(body) == {"token": ["ab+/c=="], "token_type_hint": ["access_token"]}
    assert headers["content-type"] == "application/x-www-form-urlencoded"
    assert "authorization" not in headers
    credentials = [headers["authorization"] for _, _, headers, _ in others]
    assert credentials == [
        f"Basic {base64.b64encode(pair).decode()}" for pair in (b"me%3A%C3%BC:s+p%26%25", b"me:")
    ]


async def test_a_yes_is_remembered_for_a_minute(
    asking: Callable[..., Introspection], web: Web
) -> None:
    clock = Clock()
    checker = asking(clock)
    web.says({"active": True, "username": "alice"})
    assert [await checker.check("t0ken") for _ in range(3)] == ["alice"] * 3
    assert len(web.requests) == 1
    web.says({"active": True, "username": "bob"})
    assert await checker.check("u") == "bob"
    clock.now += 59
    assert await checker.check("t0ken") == "alice"
    clock.now += 1
    assert await checker.check("t0ken") == "bob"
    clock.now -= 5000  # somebody sets the clock
    web.says({"active": False})
    with pytest.raises(TokenRefused, match="not active"):
        await checker.check("t0ken")
    assert "t0ken" not in repr(checker._known)


async def test_a_yes_ends_when_the_token_does(
    asking: Callable[..., Introspection], web: Web
) -> None:
    clock = Clock()
    checker = asking(clock)
    web.says({"active": True, "username": "alice", "exp": NOW + 10})
    assert await checker.check("t") == "alice"
    clock.now += 9
    assert await checker.check("t") == "alice"
    assert len(web.requests) == 1
    clock.now += 1
    assert await checker.check("t") == "alice"  # clocks may differ; but it is asked
    assert len(web.requests) == 2
    clock.now += 30
    with pytest.raises(TokenRefused, match="expired"):
        await checker.check("t")


async def test_a_no_is_not_remembered_and_reload_forgets(
    asking: Callable[..., Introspection], web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    checker = asking()
    for answer in ({"active": False}, {}, {"active": "true", "username": "alice"}, {"active": 1}):
        web.says(answer)
        with pytest.raises(TokenRefused, match="not active"):
            await checker.check("t")
    web.says({"active": True, "username": "alice"})
    assert await checker.check("t") == "alice"
    web.says({"active": False})
    await checker.reload()
    with pytest.raises(TokenRefused):
        await checker.check("t")
    monkeypatch.setattr(tokens, "REMEMBERED", 3)
    web.says({"active": True, "username": "alice"})
    for n in range(9):
        await checker.check(f"t{n}")
    assert len(checker._known) == 3


async def test_what_a_token_must_say_counts_here_too(
    asking: Callable[..., Introspection], web: Web
) -> None:
    checker = asking(audience="imap")
    web.says({"active": True, "username": "alice", "aud": "other"})
    with pytest.raises(TokenRefused, match="audience"):
        await checker.check("t")
    web.says({"active": True, "username": "alice", "aud": "imap"})
    assert await checker.check("t") == "alice"


@pytest.mark.parametrize(
    ("value", "status", "text"),
    [
        (b"", 200, "not a JSON object"),
        (b"[]", 200, "not a JSON object"),
        (b"[" * 50_000, 200, "not a JSON object"),
        (b"\xff\xfe", 200, "not a JSON object"),
        (b'{"active": true, "username": "s3cret"}', 500, "HTTP status 500"),
        ({"active": True, "username": "alice"}, 401, "HTTP status 401"),
        ({"active": True, "username": "alice"}, 302, "HTTP status 302"),
        (b" " * (sources.LARGEST + 1), 200, "too long"),
    ],
)
async def test_no_answer_is_not_a_no(
    asking: Callable[..., Introspection],
    web: Web,
    caplog: pytest.LogCaptureFixture,
    value: object,
    status: int,
    text: str,
) -> None:
    checker = asking(client_id="me", client_secret="pa55")
    web.headers["Location"] = web.url
    web.says(value, status)
    for _ in range(2):
        with pytest.raises(TokenUnavailable, match=text):
            await checker.check("t0ken")
    assert caplog.text.count("asking about tokens: 127.0.0.1: ") == 1
    web.says({"active": True, "username": "alice"})
    assert await checker.check("t0ken") == "alice"
    assert "answers again" in caplog.text
    for hidden in ("t0ken", "pa55", "s3cret"):
        assert hidden not in caplog.text


async def test_nobody_there_is_unavailable() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/"
        with pytest.raises(TokenUnavailable, match="refused"):
            await Introspection(OAuthConfig(introspection=url)).check("t")


async def test_what_is_not_http_is_unavailable() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        await writer.drain()
        writer.close()

    said = b""
    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        checker = Introspection(OAuthConfig(introspection=f"http://127.0.0.1:{port}/"))
        for said in (b"", b"* OK IMAP4rev2\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"):  # noqa: B007
            with pytest.raises(TokenUnavailable):
                await checker.check("t")


async def test_a_slow_server_is_given_up_and_asked_no_more_than_so_often(
    asking: Callable[..., Introspection], web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "TIMEOUT_S", 0.01)
    monkeypatch.setattr(sources, "WAITING", 6)
    answer = threading.Event()

    def slowly(body: str) -> tuple[int, bytes]:
        answer.wait(10)
        return 200, b'{"active": true, "username": "alice"}'

    web.answer = slowly
    checker = asking()
    # The threads' own timeout is the same, and as they give up there is room again.
    results = await asyncio.gather(*(checker.check("t") for _ in range(9)), return_exceptions=True)
    texts = [str(result) for result in results if isinstance(result, TokenUnavailable)]
    assert len(texts) == 9
    assert sum("too many" in text for text in texts) == 3
    answer.set()
    web.says({"active": True, "username": "alice"})
    monkeypatch.setattr(sources, "TIMEOUT_S", 10)
    checker = asking()
    assert await checker.check("t") == "alice"


async def test_certificates_are_checked(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, evil = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    good.issue_cert("localhost").configure_cert(context)
    web.server.socket = context.wrap_socket(web.server.socket, server_side=True)
    web.server.handle_error = lambda *args: None  # type: ignore[method-assign]
    web.says({"active": True, "username": "alice"})

    def checker(host: str, ca: trustme.CA) -> Introspection:
        ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        url = f"https://{host}:{web.port}/ask"
        return Introspection(OAuthConfig(introspection=url, client_id="me", client_secret="x"))

    for host, ca in (("localhost", evil), ("127.0.0.1", good)):
        with pytest.raises(TokenUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            await checker(host, ca).check("t")
    assert not web.requests
    assert await checker("localhost", good).check("t") == "alice"


async def test_no_proxy_hears_what_goes_to_this_machine(
    asking: Callable[..., Introspection], web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    web.says({"active": True, "username": "alice"})
    assert await asking().check("t") == "alice"


# -- a file of tokens --


async def test_tokens_in_a_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "tokens"
    path.write_text("# c\n\nabc== alice\r\ndef   bob smith \nghi alice")
    checker = TokenChecker.from_config(OAuthConfig(tokens=path))
    assert isinstance(checker, TokenFile)
    found = [await checker.check(token) for token in ("abc==", "def", "ghi")]
    assert found == ["alice", "bob smith", "alice"]
    for token in ("abc", "abc=", "ABC==", "de", "alice", "#"):
        with pytest.raises(TokenRefused):
            await checker.check(token)
    path.write_text("def carol\n")
    assert await checker.check("def") == "carol"
    path.write_text("def dave\ns3cret\n")
    for _ in range(2):
        assert await checker.check("def") == "carol"
        with pytest.raises(ValueError, match=f"{path}: line 2"):
            await checker.reload()
    assert caplog.text.count("goes on to count") == 1
    assert "s3cret" not in caplog.text
    path.write_text("")
    await checker.reload()
    with pytest.raises(TokenRefused):
        await checker.check("def")


@pytest.mark.parametrize(
    "line", [b"token", b"to,ken alice", b"t\0 alice", b"t \xff", b"t a\0b", b"ok eve", b"t " + b"a" * 256]
)  # fmt: skip
def test_a_bad_line_is_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "tokens"
    path.write_bytes(b"\nok alice\n" + line + b"\n")
    with pytest.raises(ValueError, match=f"^{path}: line 3: ") as raised:
        TokenFile(OAuthConfig(tokens=path))
    assert "token alice" not in str(raised.value)


# -- what is told of it --


async def test_the_log_says_why_but_not_what(
    signed: Callable[..., SignedTokens], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    checker = signed(audience="imap")
    refused = [sign({"email": "alice", "exp": 5, "aud": "imap"}), sign(n=1), "t0ken", "t0 ken"]
    for token in refused:
        with pytest.raises(TokenRefused) as raised:
            await checker.check(token)
        assert token not in str(raised.value)
        assert token not in caplog.text
    for reason in ("has expired", "is signed with no known key", "is no JSON Web Token"):
        assert f"a token is refused: it {reason}" in caplog.text


def test_libraries_are_loaded_when_they_are_needed(tmp_path: Path) -> None:
    code = (
        "import sys; import pymap.auth.tokens; "
        "print([m for m in ('jwt', 'cryptography', 'urllib.request', 'http.client') if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert output == b"[]\n"


def test_a_missing_library_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = in_file(tmp_path / "jwks", public())
    for missing in ("jwt", "cryptography"):
        with monkeypatch.context() as context:
            context.setitem(sys.modules, missing, None)
            with pytest.raises(ValueError, match=r"pip install 'pymap\[oauth\]'"):
                TokenChecker.from_config(OAuthConfig(jwks=str(path)))
