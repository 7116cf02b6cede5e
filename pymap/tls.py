"""Certificates: what a TLS handshake is done with, and what it tells of a connection.

Rule 1: all files or none. What cannot be read or does not fit leaves the certificates as they were.
Rule 2: a context is never changed after it was handed out. Sessions keep the one that their
        handshake used; new handshakes get new ones.
Rule 3: every handshake of TLS 1.3 is a full one. A mail client connects seldom and stays long;
        resuming would save 0.4 ms, and let in who has shown a certificate that is no longer good.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from pymap.config import TlsConfig

__all__ = ["Certificates", "ChannelFacts", "channel_facts", "stamp"]

log = logging.getLogger("pymap.tls")

SUBJECT_ALT_NAME = b"\x55\x1d\x11"
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
# For TLS 1.2: forward secrecy and authenticated encryption only, as Mozilla's "intermediate"
# configuration has it. Those of TLS 1.3 are all good.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


class Certificates:
    """The certificates of a server, read from files, and again when these have changed.

    Reading takes a few milliseconds and may wait for a disk: call `reload` and `changed` in a
    thread where that matters; `context` may be asked for meanwhile.
    """

    def __init__(self, config: TlsConfig) -> None:
        """Raises OSError and ValueError with a text for the operator that names the file."""
        self._config = config
        self.reload()

    @property
    def context(self) -> ssl.SSLContext:
        """For a new handshake: it picks the certificate by the name that the client asks for."""
        return self._context

    def reload(self) -> None:
        """Read all files again. Raises as the constructor does; then what was read before counts
        on, until the files change once more and `changed` says so."""
        # Looked at before it is read: what is written meanwhile shows as a change.
        self._seen = self._look()
        self._context = _context(self._config)

    def changed(self) -> bool:
        """Whether a file is another than `reload` has last seen, whatever came of that.

        Symbolic links are followed, so it sees a link that was turned (certbot), and so was the
        link to the directory (Kubernetes' ..data).
        """
        return self._look() != self._seen

    def _look(self) -> list[tuple[int, ...] | None]:
        config = self._config
        paths = [*config.certs, *config.keys, config.client_ca]
        return [stamp(path) for path in paths if path is not None]


class ChannelFacts(NamedTuple):
    """What a handshake has told; `names` and `end_point` are those of `auth.channel.Channel`."""

    names: tuple[str, ...]
    end_point: bytes
    version: str


def channel_facts(ssl_object: ssl.SSLObject | ssl.SSLSocket) -> ChannelFacts:
    """What is known of a connection whose handshake is done.

    The names are those of a client certificate that was verified: the mail addresses in its
    subjectAltName, those in its subject (which RFC 5280 4.1.2.6 calls legacy), then its most
    specific common name. Of an address, the part behind the @ is in lower case, for there case
    does not count; all else is as written (RFC 5280 7.5). No name is made up from a part of one:
    alice@example.org and alice@example.net may be two people.
    """
    try:
        certificate: Any = ssl_object.getpeercert() or {}
    except ValueError:  # text in it that is no UTF-8
        certificate = {}
    return ChannelFacts(
        _client_names(certificate),
        # After SNI, this is the context that was picked.
        getattr(ssl_object.context, "end_point", b""),
        ssl_object.version() or "",
    )


def _client_names(certificate: Any) -> tuple[str, ...]:
    subject = [pair for pairs in certificate.get("subject", ()) for pair in pairs]
    addresses = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "email"]
    addresses += [value for kind, value in subject if kind == "emailAddress"]
    names = []
    for address in addresses:
        local, at, host = address.rpartition("@")
        names.append(local + at + host.lower())
    # In a subject like DC=org, CN=Users, CN=alice only the last one is a person.
    names += [value for kind, value in subject if kind == "commonName"][-1:]
    return tuple(dict.fromkeys(name for name in names if name and name.isprintable()))


# -- from files to contexts --


class _Context(ssl.SSLContext):
    """Knows of its certificate the names of hosts, in lower case, and the channel binding
    tls-server-end-point, empty if it has none."""

    names: tuple[str, ...] = ()
    end_point: bytes = b""


def stamp(path: Path) -> tuple[int, ...] | None:
    """What is another one once a file has changed; None: it is not there."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    # The time of the last change of the inode shows a file that was copied with its old time.
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _context(config: TlsConfig) -> _Context:
    """The first certificate's context, which hands over to the others by SNI.   RFC 6066 3"""
    if not config.certs:
        raise ValueError("TLS needs a certificate")
    if len(config.keys) > len(config.certs):
        raise ValueError(f"{config.keys[len(config.certs)]}: a key without a certificate")
    if config.client_required and config.client_ca is None:
        raise ValueError("client certificates are required, but no CA for them is named")
    contexts: list[_Context] = []
    by_name: dict[str, _Context] = {}
    for path, key in zip_longest(config.certs, config.keys):
        context = _load(path, key or path)
        _configure(context, config)
        for name in context.names:
            by_name.setdefault(name, context)
        if contexts and not context.names:
            log.warning("%s: names no host in subjectAltName, so it is never used", path)
        contexts.append(context)
    first = contexts[0]
    if len(contexts) > 1:
        first.sni_callback = partial(_pick, by_name)
    return first


def _pick(
    by_name: dict[str, _Context],
    ssl_object: ssl.SSLObject | ssl.SSLSocket,
    name: str | None,
    first: ssl.SSLContext,
) -> None:
    """A wildcard stands for exactly one label.   RFC 9525 6.3"""
    if name is not None:
        name = name.lower()
        wildcard = "*." + name.partition(".")[2]
        # None of them: the first one, for many clients do not look at the name.
        ssl_object.context = by_name.get(name) or by_name.get(wildcard) or first


def _load(path: Path, key: Path) -> _Context:
    def ask() -> NoReturn:
        # OpenSSL would ask on the terminal.
        raise ValueError(f"{key}: the key is encrypted with a password")

    # The first one in the file is the server's own, those behind it lead to the CA.
    found = re.search(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", _pem(path), re.S)
    if found is None:
        raise ValueError(f"{path}: holds no certificate in PEM")
    if b"PRIVATE KEY-----" not in _pem(key):
        raise ValueError(f"{key}: holds no private key in PEM")
    context = _Context(ssl.PROTOCOL_TLS_SERVER)
    try:
        der = ssl.PEM_cert_to_DER_cert(found[0].decode("ascii"))
        context.names, begins, ends, context.end_point = _parse(der)
    except (ValueError, IndexError) as error:
        raise ValueError(f"{path}: not a certificate") from error
    try:
        context.load_cert_chain(path, key, ask)
    except ssl.SSLError as error:
        reason = error.reason or str(error)
        # The second comes of a key for another algorithm.
        if reason in ("KEY_VALUES_MISMATCH", "NO_CERTIFICATE_ASSIGNED"):
            raise ValueError(f"{key}: not the key of the certificate in {path}") from error
        both = path if path == key else f"{path} and {key}"
        raise ValueError(f"{both}: not a certificate and its key ({reason})") from error
    if not begins <= datetime.now(UTC) <= ends:
        log.warning("%s: the certificate is valid from %s to %s only", path, begins, ends)
    return context


def _pem(path: Path) -> bytes:
    octets = path.read_bytes()
    if octets.count(b"-----BEGIN ") != octets.count(b"-----END "):
        raise ValueError(f"{path}: its end is missing")
    return octets


def _configure(context: _Context, config: TlsConfig) -> None:
    if config.minimum not in VERSIONS:
        raise ValueError(f"there is no TLS {config.minimum} here: choose {' or '.join(VERSIONS)}")
    context.minimum_version = VERSIONS[config.minimum]
    try:
        context.set_ciphers(config.ciphers or CIPHERS)
    except ssl.SSLError as error:
        raise ValueError(f"no cipher that OpenSSL knows: {config.ciphers}") from error
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    # Tickets of TLS 1.2 would be encrypted with one key for as long as the context lives: who
    # gets at it could read the past. Sessions of TLS 1.2 are kept in memory instead.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    if config.client_ca is not None:
        _ask_for_certificate(context, config.client_ca, config.client_required)


def _ask_for_certificate(context: _Context, path: Path, required: bool) -> None:
    """A client that shows a bad certificate is turned away, also where none is required."""
    path.open("rb").close()  # names the file that cannot be read, which OpenSSL does not
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise ValueError(f"{path}: holds no certificate of a CA ({error.reason})") from error
    if context.cert_store_stats()["crl"]:
        # Lists of revoked certificates count if they stand in the same file.
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL


# -- what is written in a certificate --
#
# The standard library tells it of a verified peer only, not of the own certificate. These are
# files of the operator, and OpenSSL refuses what is no certificate: there is nothing to defend.


def _parse(der: bytes) -> tuple[tuple[str, ...], datetime, datetime, bytes]:
    """Host names, first and last moment of validity, tls-server-end-point.   RFC 5280 4.1"""
    [(_, certificate)] = _elements(der)
    (_, signed), (_, algorithm), _ = _elements(certificate)
    fields = [field for field in _elements(signed) if field[0] != 0xA0]  # without the version
    begins, ends = (_time(text) for _, text in _elements(fields[3][1]))
    names = [name for tag, content in fields if tag == 0xA3 for name in _host_names(content)]
    # Of a signature without a hash, such as Ed25519, RFC 5929 leaves the channel binding
    # undefined. PostgreSQL has none either, though some clients take SHA-512.
    hash_name = _hash(algorithm)
    end_point = hashlib.new(hash_name, der).digest() if hash_name else b""
    return tuple(names), begins, ends, end_point


def _host_names(content: bytes) -> Iterator[str]:
    """The dNSNames of extensions.   RFC 5280 4.2.1.6"""
    [(_, extensions)] = _elements(content)
    for _, extension in _elements(extensions):
        (_, oid), *_, (_, value) = _elements(extension)
        if oid == SUBJECT_ALT_NAME:
            [(_, names)] = _elements(value)
            for tag, name in _elements(names):
                if tag == 0x82:
                    yield name.decode().lower()


def _elements(der: bytes) -> list[tuple[int, bytes]]:
    """Tag and content of the elements that stand one behind the other.   X.690 8.1"""
    found = []
    at = 0
    while at < len(der):
        tag, length = der[at], der[at + 1]
        at += 2
        if length & 0x80:
            more = length & 0x7F
            length = int.from_bytes(der[at : at + more])
            at += more
        found.append((tag, der[at : at + length]))
        at += length
    return found


def _time(text: bytes) -> datetime:
    """Two digits are a year from 1950 to 2049.   RFC 5280 4.1.2.5"""
    digits = text.decode()
    if len(digits) == len("yymmddhhmmssZ"):
        digits = ("19" if digits >= "5" else "20") + digits
    return datetime.strptime(digits, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


# The algorithms that sign certificates, without those that hash in no or in some other way.
HASHES = {
    "2a864886f70d010104": "sha256",  # RSA with MD5, which counts as SHA-256: RFC 5929 4.1
    "2a864886f70d010105": "sha256",  # RSA with SHA-1, alike
    "2a864886f70d01010e": "sha224",  # RSA, PKCS #1 v1.5
    "2a864886f70d01010b": "sha256",
    "2a864886f70d01010c": "sha384",
    "2a864886f70d01010d": "sha512",
    "2a8648ce3d0401": "sha256",  # ECDSA with SHA-1
    "2a8648ce3d040301": "sha224",  # ECDSA
    "2a8648ce3d040302": "sha256",
    "2a8648ce3d040303": "sha384",
    "2a8648ce3d040304": "sha512",
    "2b0e03021a": "sha256",  # the hashes themselves: SHA-1
    "608648016503040204": "sha224",
    "608648016503040201": "sha256",
    "608648016503040202": "sha384",
    "608648016503040203": "sha512",
}
RSA_PSS = "2a864886f70d01010a"


def _hash(algorithm: bytes) -> str:
    """The hash of a signature algorithm, as tls-server-end-point takes it.   RFC 5929 4.1"""
    (_, oid), *rest = _elements(algorithm)
    if oid.hex() == RSA_PSS:
        # It stands in the parameters, and is SHA-1 unless given.   RFC 4055 3.1
        for tag, content in _elements(rest[0][1]):
            if tag == 0xA0:
                [(_, algorithm)] = _elements(content)
                return _hash(algorithm)
        return "sha256"
    return HASHES.get(oid.hex(), "")
