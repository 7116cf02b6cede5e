"""The server's side of SCRAM, as octets in and octets out.   RFC 5802, RFC 7677

Of our own, although scramp has one: that refuses every authorization identity, wants the user's
keys by a function that cannot wait for a store or a thread, refuses salts of less than 12 octets
and names with code points that Unicode 3.2 did not know. Its client is the oracle of the tests.

Rule 1: the client's flag is believed only if it fits: "p" is for the -PLUS form and names the
        binding that we have, "y" is a sign of somebody in between if the -PLUS form was announced,
        and what the flag said comes again in `c=`, under the proof.
Rule 2: what the client wrote goes into the hash as it wrote it.
Rule 3: a mandatory extension ends it; an optional one is passed over.

tls-server-end-point is the only binding. RFC 5802 6.1 asks for tls-unique, which is not defined in
TLS 1.3, and RFC 9266 for tls-exporter in its place, which Python's `ssl` cannot compute.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from binascii import a2b_base64, b2a_base64
from typing import NamedTuple

from pymap.auth.sasl import SASLNAME, saslname

__all__ = ["ClientFirst", "Conversation", "Keys", "WrongBinding", "client_first", "derive"]

END_POINT = "tls-server-end-point"


class WrongBinding(Exception):
    """The client and we do not see the same channel."""


class Keys(NamedTuple):
    """What proves one side to the other. Neither of them is the password, nor a client's key."""

    stored: bytes
    server: bytes


def derive(algorithm: str, password: bytes, salt: bytes, iterations: int) -> Keys:
    """The keys of a password, already prepared. Slow, as it should be.   RFC 5802 3"""
    salted = hashlib.pbkdf2_hmac(algorithm, password, salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", algorithm)
    stored = hashlib.new(algorithm, client_key).digest()
    return Keys(stored, hmac.digest(salted, b"Server Key", algorithm))


class ClientFirst(NamedTuple):
    """client-first-message: `header` is gs2-header and `bare` the rest, as they came."""

    header: str
    flag: str
    binding: str | None
    authorization_id: str
    bare: str
    user: str
    nonce: str


_NONCE = r"[!-+\--~]+"
_EXTENSIONS = r"(?:,(?![anmrcsipve]=)[A-Za-z]=[^\0,]+)*"
_FIRST = re.compile(
    rf"(?P<header>(?P<flag>[ny]|p=(?P<binding>[A-Za-z0-9.-]+)),(?:a=(?P<authzid>{SASLNAME}))?,)"
    rf"(?P<bare>n=(?P<user>{SASLNAME}),r=(?P<nonce>{_NONCE}){_EXTENSIONS})"
)
_FINAL = re.compile(
    rf"(?P<unproved>c=(?P<channel>[A-Za-z0-9+/]+=*),r=(?P<nonce>{_NONCE}){_EXTENSIONS})"
    r",p=(?P<proof>[A-Za-z0-9+/]+=*)"
)


def client_first(message: bytes) -> ClientFirst:
    """client-first-message = gs2-header client-first-message-bare
    client-first-message-bare = [reserved-mext ","] username "," nonce ["," extensions]

    Raises ValueError.   RFC 5802 7
    """
    found = _FIRST.fullmatch(message.decode())
    if found is None:
        raise ValueError("malformed client-first-message")
    return ClientFirst(
        found["header"], found["flag"][0], found["binding"], saslname(found["authzid"] or ""),
        found["bare"], saslname(found["user"]), found["nonce"],
    )  # fmt: skip


class Conversation:
    """What follows the client's first message. `challenge` is the answer to it."""

    def __init__(
        self,
        algorithm: str,
        first: ClientFirst,
        salt: bytes,
        iterations: int,
        end_point: bytes = b"",
        plus_announced: bool = False,
        nonce: str | None = None,
    ) -> None:
        """`end_point` is the channel binding of the -PLUS form, empty in the other; it is told
        whether the -PLUS form is announced. Raises WrongBinding.   RFC 5802 6, RFC 5801 5"""
        if end_point:
            fits = first.binding == END_POINT
        else:
            fits = first.flag == "n" or (first.flag == "y" and not plus_announced)
        if not fits:
            raise WrongBinding
        self._algorithm = algorithm
        self._first = first
        self._nonce = first.nonce + (secrets.token_urlsafe(18) if nonce is None else nonce)
        self._channel = _base64(first.header.encode() + end_point)
        self.challenge = f"r={self._nonce},s={_base64(salt)},i={iterations}".encode()
        self._signed = self._proof = b""

    def client_final(self, message: bytes) -> None:
        """client-final-message = channel-binding "," nonce ["," extensions] "," proof

        Raises ValueError, and WrongBinding.   RFC 5802 7
        """
        found = _FINAL.fullmatch(message.decode())
        if found is None or found["nonce"] != self._nonce:
            raise ValueError("malformed client-final-message")
        if not hmac.compare_digest(found["channel"], self._channel):
            raise WrongBinding
        self._proof = a2b_base64(found["proof"], strict_mode=True)
        size = hashlib.new(self._algorithm).digest_size
        if len(self._proof) != size or _base64(self._proof) != found["proof"]:
            raise ValueError("malformed proof")
        said = (self._first.bare, self.challenge.decode(), found["unproved"])
        self._signed = ",".join(said).encode()

    def answer(self, keys: Keys) -> bytes | None:
        """server-final-message, None if the proof is not of these keys.   RFC 5802 3"""
        signature = hmac.digest(keys.stored, self._signed, self._algorithm)
        client_key = bytes(a ^ b for a, b in zip(self._proof, signature, strict=True))
        stored = hashlib.new(self._algorithm, client_key).digest()
        verifier = hmac.digest(keys.server, self._signed, self._algorithm)
        right = hmac.compare_digest(stored, keys.stored)
        return f"v={_base64(verifier)}".encode() if right else None


def _base64(octets: bytes) -> str:
    return b2a_base64(octets, newline=False).decode()
