"""What clients say in SASL, taken apart: what each of them claims, and nothing of whether it is so.

pysasl has the formats, except that of OAUTHBEARER. It compares a password as soon as it is shown
one, while here the user may have to be fetched and the password hashed off the event loop; so only
its parsing is used, and a `_Listener` hears the secret. Three of its habits stay outside: text that
is not UTF-8 raises UnicodeDecodeError, which like every other malformed response is a ValueError
here; the challenge of CRAM-MD5 would ask the DNS for the name of this host; and PLAIN without an
authorization identity has the user's name there.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from typing import NamedTuple

from pysasl.creds.external import ExternalVerificationRequired
from pysasl.creds.server import ServerCredentials
from pysasl.exception import AuthenticationError
from pysasl.identity import Identity
from pysasl.mechanism import ChallengeResponse, ServerMechanism
from pysasl.mechanism.crammd5 import CramMD5Mechanism
from pysasl.mechanism.external import ExternalMechanism
from pysasl.mechanism.login import LoginMechanism
from pysasl.mechanism.oauth import OAuth2Mechanism
from pysasl.mechanism.plain import PlainMechanism

__all__ = [
    "PASSWORD",
    "SASLNAME",
    "USERNAME",
    "Bearer",
    "Credentials",
    "Digest",
    "cram_md5",
    "cram_md5_challenge",
    "external",
    "login",
    "oauthbearer",
    "oauthbearer_error",
    "plain",
    "saslname",
    "xoauth2",
    "xoauth2_error",
]

USERNAME, PASSWORD = b"Username:", b"Password:"
"""The challenges of LOGIN, which was never standardised; old clients know nothing else."""

SASLNAME = r"(?:[^\0=,]|=2C|=3D)+"
"""A name in a list with commas.   RFC 5801 4, RFC 5802 7"""


class Credentials(NamedTuple):
    """`authorization_id` is whom the user wants to act for, "" for itself."""

    user: str
    password: str
    authorization_id: str = ""


class Digest(NamedTuple):
    """The answer to a challenge of CRAM-MD5."""

    user: str
    answer: ServerCredentials

    def is_of(self, password: str) -> bool:
        """Whether it was made with this password; compares in constant time."""
        try:
            return self.answer.verify(_Listener(self.user, password))
        except UnicodeEncodeError:  # a lone surrogate, which no client can send
            return False


class Bearer(NamedTuple):
    """An access token; `authorization_id` is the account that it is to open, "" for its user's.
    Without a token the client only asks what token it should have.   RFC 7628 4.3"""

    token: str
    authorization_id: str


def plain(response: bytes) -> Credentials:
    """message = [authzid] NUL authcid NUL passwd    RFC 4616 2"""
    found = _parse(PlainMechanism("PLAIN"), (b"", response))
    wanted = "" if found.authzid == found.authcid else found.authzid
    return Credentials(found.authcid, _secret(found), wanted)


def login(name: bytes, password: bytes) -> Credentials:
    found = _parse(LoginMechanism("LOGIN"), (USERNAME, name), (PASSWORD, password))
    return Credentials(_name(found.authcid), _secret(found))


def external(response: bytes) -> str:
    """The authorization identity, "" where the certificate should say it.   RFC 4422 A.1"""
    return _name(_parse(ExternalMechanism("EXTERNAL"), (b"", response)).authzid)


def cram_md5_challenge() -> bytes:
    """Never the same twice. It is to look like a message id; the name of the host is left out, as
    asking for it may take a while and is none of the client's business.   RFC 2195 2"""
    return f"<{secrets.randbits(64)}.{time.time_ns()}@pymap.invalid>".encode()


def cram_md5(challenge: bytes, response: bytes) -> Digest:
    """The name of the user, a space, 32 hexadecimal digits.   RFC 2195 2"""
    found = _parse(CramMD5Mechanism("CRAM-MD5"), (challenge, response))
    return Digest(_name(found.authcid), found)


def xoauth2(response: bytes) -> Bearer:
    """``user=`` name ^A ``auth=Bearer`` SP token ^A ^A. Google's, never standardised."""
    found = _parse(OAuth2Mechanism("XOAUTH2"), (b"", response))
    return Bearer(_token(_secret(found)), _name(found.authzid))


def xoauth2_error(scope: str | None) -> bytes:
    """Which the client answers with an empty response, and then it has failed."""
    return _json(status="401", schemes="bearer", scope=scope)


_OAUTHBEARER = re.compile(
    rf"[ny],(?:a=(?P<authzid>{SASLNAME}))?,\x01"
    r"(?P<pairs>(?:[A-Za-z]+=[\t\n\r -~]*\x01)*)\x01"
)


def oauthbearer(response: bytes) -> Bearer:
    """client-resp = (gs2-header kvsep *kvpair kvsep) / kvsep
    kvpair = key "=" value kvsep    RFC 7628 3.1

    The second form answers an error and is malformed here. Keys that are not known are passed
    over; so are `host` and `port`, for which we know no values to compare them with.
    """
    found = _OAUTHBEARER.fullmatch(response.decode())
    if found is None:
        raise ValueError("malformed response")
    pairs = [pair.partition("=") for pair in found["pairs"].split("\x01")[:-1]]
    values = [value for key, _, value in pairs if key == "auth"]
    if len(values) != 1:
        raise ValueError("it must have one authorization")
    scheme, _, token = values[0].partition(" ")
    if scheme.lower() not in ("bearer", ""):
        raise ValueError("the authorization must be a bearer token")
    return Bearer(_token(token), saslname(found["authzid"] or ""))


def oauthbearer_error(scope: str | None, issuer: str | None) -> bytes:
    """Which the client answers with ^A, and then it has failed.   RFC 7628 3.2.2"""
    openid = f"{issuer.rstrip('/')}/.well-known/openid-configuration" if issuer else None
    return _json(status="invalid_token", scope=scope, **{"openid-configuration": openid})


def saslname(text: str) -> str:
    """A name in which ``,`` and ``=`` were written as =2C and =3D.   RFC 5801 4"""
    return text.replace("=2C", ",").replace("=3D", "=")


def _token(text: str) -> str:
    """b64token = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="    RFC 6750 2.1

    None at all is a question, and left to the caller.
    """
    if text and not re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", text):
        raise ValueError("malformed token")
    return text


def _json(**members: str | None) -> bytes:
    return json.dumps({key: value for key, value in members.items() if value}).encode()


def _name(text: str) -> str:
    """No name has NUL in it.   RFC 4422 3.4.1"""
    if "\0" in text:
        raise ValueError("a name with NUL")
    return text


# -- pysasl --


class _Listener(Identity):
    """Hears the secret that credentials are verified with, or knows the one to verify by."""

    def __init__(self, name: str, knows: str | None = None) -> None:
        self.name = name
        self.knows = knows
        self.heard = ""

    @property
    def authcid(self) -> str:
        return self.name

    def compare_authcid(self, authcid: str) -> bool:
        return True

    def compare_secret(self, secret: str) -> bool:
        self.heard = secret
        return True

    def get_clear_secret(self) -> str | None:
        return self.knows


def _parse(mechanism: ServerMechanism, *said: tuple[bytes, bytes]) -> ServerCredentials:
    """`said` are all the challenges and their responses. Raises ValueError."""
    try:
        found, _ = mechanism.server_attempt([ChallengeResponse(*pair) for pair in said])
    except AuthenticationError as error:
        raise ValueError(str(error)) from error
    return found


def _secret(credentials: ServerCredentials) -> str:
    """The password, or the token."""
    listener = _Listener(credentials.authcid)
    try:
        credentials.verify(listener)
    except ExternalVerificationRequired as needs:
        return needs.token or ""
    return listener.heard
