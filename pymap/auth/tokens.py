"""Tokens of OAUTHBEARER and XOAUTH2: whose are they?   RFC 6750, RFC 7628

Three ways to find out: a server is asked (introspection, RFC 7662), a signature is checked (RFC
7515, RFC 7519), or a file says so, for tests.

Rule 1: a token is never logged, nor shown in an error, and no more than a digest is remembered.
Rule 2: what does not look like a token is refused unseen: too long, or octets that RFC 6750 2.1
        does not have.
Rule 3: whoever says that a token is valid, what it says of itself is checked as well: its time,
        issuer, audience and scope.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import math
import os
import re
import time
from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlencode

from pymap.auth.keyset import ALGORITHMS, KeyFile, KeyServer, KeySet, pyjwt
from pymap.auth.sources import FileSource, ServerSource, TokenUnavailable, json_object
from pymap.config import OAuthConfig

__all__ = ["TokenChecker", "TokenRefused", "TokenUnavailable"]

log = logging.getLogger("pymap.tokens")

LONGEST = 8192  # octets of a token
LONGEST_NAME = 255
REMEMBERED_S = 60
REMEMBERED = 4096  # tokens, of some 200 octets each
CLOCKS_DIFFER_S = 30

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")


class TokenRefused(ValueError):
    """This token is nobody's. The text says why, without the token."""


class TokenChecker(ABC):
    """Tells whose token it is."""

    @classmethod
    def from_config(cls, config: OAuthConfig) -> TokenChecker:
        """No server is asked yet. Raises ValueError or OSError with a text for the operator."""
        ways = (config.introspection, config.jwks, config.tokens)
        if sum(way is not None for way in ways) != 1:
            raise ValueError("tokens are checked by introspection, by a key set or by a file")
        if config.introspection is not None:
            return Introspection(config)
        if config.jwks is not None:
            return SignedTokens(config)
        return TokenFile(config)

    async def check(self, token: str) -> str:
        """The user that a valid token is for. Raises TokenRefused and TokenUnavailable."""
        try:
            if len(token) > LONGEST or not _TOKEN.fullmatch(token):
                raise TokenRefused("it does not look like one")
            return await self.user_of(token)
        except TokenRefused as error:
            log.info("a token is refused: %s", error)
            raise

    @abstractmethod
    async def user_of(self, token: str) -> str:
        """`check`, of what looks like a token."""

    @abstractmethod
    async def reload(self) -> None:
        """Read keys again. Raises OSError and ValueError; those read before then still count."""


class Introspection(TokenChecker):
    """RFC 7662: a server is told the token and says whose it is.

    A yes is remembered for a minute, or until the token expires, as clients open several
    connections at once. What is withdrawn meanwhile counts for so long.   RFC 7662 4
    """

    def __init__(self, config: OAuthConfig, clock: Callable[[], float] = time.time) -> None:
        """Raises ValueError."""
        self._config = config
        self._clock = clock
        self._server = ServerSource(config.introspection or "")
        self._headers = {
            "Accept": "application/json",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        if config.client_id is not None:  # RFC 6749 2.3.1
            pair = f"{quote_plus(config.client_id)}:{quote_plus(config.client_secret or '')}"
            self._headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        elif config.client_secret is not None:
            raise ValueError("a client's secret is nothing without its id")
        self._key = os.urandom(32)
        self._known: dict[bytes, tuple[str, float]] = {}  # digest -> user, until when

    async def user_of(self, token: str) -> str:
        digest = hashlib.blake2b(token.encode(), key=self._key).digest()
        user, until = self._known.get(digest, ("", 0.0))
        if 0 < until - self._clock() <= REMEMBERED_S:  # the clock may be set back
            return user
        self._known.pop(digest, None)
        form = urlencode({"token": token, "token_type_hint": "access_token"}).encode()
        claims = await self._server.ask(form, self._headers, json_object)
        if claims.get("active") is not True:
            raise TokenRefused("it is not active")
        now = self._clock()
        user = user_in(claims, self._config, now)
        self._known[digest] = user, min(now + REMEMBERED_S, _time(claims, "exp", math.inf))
        if len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]
        return user

    async def reload(self) -> None:
        """What is remembered is forgotten."""
        self._known.clear()


class SignedTokens(TokenChecker):
    """JSON Web Tokens, by the keys that they are signed with."""

    def __init__(
        self,
        config: OAuthConfig,
        clock: Callable[[], float] = time.time,
        keys: KeySet | None = None,
    ) -> None:
        """Raises OSError and ValueError."""
        pyjwt()
        where = config.jwks or ""
        self._config = config
        self._clock = clock
        self._keys = keys or (KeyServer(where) if "://" in where else KeyFile(Path(where)))

    async def user_of(self, token: str) -> str:
        jwt = pyjwt()
        signed = jwt.PyJWS()
        try:
            header = signed.get_unverified_header(token)
        except (jwt.PyJWTError, RecursionError):  # older ones let the latter through
            raise TokenRefused("it is no JSON Web Token") from None
        if header.get("alg") not in ALGORITHMS:
            raise TokenRefused("it is not signed in a way that counts")
        if "crit" in header:  # RFC 7515 4.1.11
            raise TokenRefused("it wants something that is not known")
        for key in await self._keys.find(header.get("kid"), header["alg"]):
            try:
                payload: bytes = signed.decode(token, key.key, algorithms=[key.algorithm])
            except jwt.PyJWTError:
                continue
            return self._user_in(payload)
        raise TokenRefused("it is signed with no known key")

    def _user_in(self, payload: bytes) -> str:
        try:
            claims = json_object(payload)
        except ValueError:
            raise TokenRefused("it holds no claims") from None
        if claims.get("exp") is None:
            raise TokenRefused("it does not expire")
        # It may be for another service of the same issuer.   RFC 7519 4.1.3
        if self._config.audience is None and claims.get("aud") is not None:
            raise TokenRefused("it is for an audience, and none is configured")
        return user_in(claims, self._config, self._clock())

    async def reload(self) -> None:
        await self._keys.reload()


class TokenFile(TokenChecker):
    """Lines ``token user``, for tests: these tokens do not expire. Blank lines and lines that begin
    with # are passed over. The file is read again when it changes."""

    def __init__(self, config: OAuthConfig) -> None:
        """Raises OSError and ValueError."""
        self._file = FileSource(config.tokens or Path(), _lines)

    async def user_of(self, token: str) -> str:
        digest, user = _digest(token), None
        for known, its_user in await asyncio.to_thread(self._file.current):
            if hmac.compare_digest(known, digest):
                user = its_user  # and on, so that it does not tell where it was
        if user is None:
            raise TokenRefused("it is not in the file")
        return user

    async def reload(self) -> None:
        await asyncio.to_thread(self._file.read)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _lines(octets: bytes) -> list[tuple[bytes, str]]:
    """Digests of tokens, and users. Raises ValueError, which names the line."""
    found: dict[bytes, str] = {}
    for number, raw in enumerate(octets.splitlines(), 1):
        try:
            line = raw.decode("utf-8").strip()
        except UnicodeDecodeError:
            raise ValueError(f"line {number}: not UTF-8") from None
        if not line or line.startswith("#"):
            continue
        token, _, user = line.partition(" ")
        if not _TOKEN.fullmatch(token) or not _is_name(user.strip()):
            raise ValueError(f"line {number}: expected a token and a user")
        if _digest(token) in found:
            raise ValueError(f"line {number}: the same token as before")
        found[_digest(token)] = user.strip()
    return list(found.items())


# -- what a token says --


def user_in(claims: Mapping[str, Any], config: OAuthConfig, now: float) -> str:
    """The user that these claims are of; `now` in seconds since 1970. A claim that is null is none.
    Raises TokenRefused.   RFC 7519 4.1, RFC 7662 2.2"""
    if now >= _time(claims, "exp", math.inf) + CLOCKS_DIFFER_S:
        raise TokenRefused("it has expired")
    if now < _time(claims, "nbf", -math.inf) - CLOCKS_DIFFER_S:
        raise TokenRefused("it is not valid yet")
    if config.issuer is not None and claims.get("iss") != config.issuer:
        raise TokenRefused("it has another issuer")
    audience = claims.get("aud")
    if config.audience is not None and config.audience not in (
        audience if isinstance(audience, list) else [audience]
    ):
        raise TokenRefused("it is for another audience")
    # RFC 8693 4.2; some issuers write "scp", or a list.
    if not {*_words(claims.get("scope")), *_words(claims.get("scp"))} >= {*_words(config.scope)}:
        raise TokenRefused("it lacks a scope")
    claim = next((name for name in config.claim if claims.get(name) is not None), None)
    if claim is None:
        raise TokenRefused("it names no user")
    # Where people may enter any address as theirs, they may enter that of somebody else.
    if claim == "email" and claims.get("email_verified", True) not in (True, "true"):
        raise TokenRefused("its email is not verified")
    name = claims[claim]
    if not isinstance(name, str) or not _is_name(name):
        raise TokenRefused("its user is no name")
    return name


def _is_name(text: str) -> bool:
    return 0 < len(text) <= LONGEST_NAME and text.isprintable()


def _time(claims: Mapping[str, Any], claim: str, default: float) -> float:
    """Seconds since 1970."""
    value = claims.get(claim)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenRefused(f"its {claim} is no time")
    return value


def _words(value: object) -> list[str]:
    if isinstance(value, str):
        return value.split()
    return [word for word in value if isinstance(word, str)] if isinstance(value, list) else []
