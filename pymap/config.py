"""What the operator asks for, in one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pymap.limits import Limits

__all__ = ["AuthConfig", "Config", "ExtensionConfig", "OAuthConfig", "TlsConfig"]


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """Certificates. `keys` pairs with `certs` in order, None where the key is in the same file. The
    first certificate is for clients that ask for no name, or for one that no other is for."""

    certs: tuple[Path, ...] = ()
    keys: tuple[Path | None, ...] = ()
    minimum: str = "1.2"
    """The oldest version of TLS: 1.2 or 1.3."""
    ciphers: str | None = None
    """For TLS 1.2, as OpenSSL writes them."""
    client_ca: Path | None = None
    """Who signs client certificates; None: none are asked for."""
    client_required: bool = False
    """Whether a client without a certificate is turned away in the handshake."""


@dataclass(frozen=True, slots=True)
class OAuthConfig:
    """How OAUTHBEARER and XOAUTH2 tokens are checked: one of `introspection`, `jwks`, `tokens`."""

    introspection: str | None = None
    """URL of RFC 7662."""
    client_id: str | None = None
    client_secret: str | None = None
    jwks: str | None = None
    """URL or path of a JSON Web Key Set, RFC 7517."""
    tokens: Path | None = None
    """A file of lines ``token user``, for tests."""
    issuer: str | None = None
    audience: str | None = None
    scope: str | None = None
    """What a token must say, where given."""
    claim: tuple[str, ...] = ("email", "username", "preferred_username", "sub")
    """Where the user's name is: the first one that a token has."""


@dataclass(frozen=True, slots=True)
class AuthConfig:
    """Who may log in, and how."""

    mechanisms: tuple[str, ...] | None = None
    """SASL mechanisms to offer, in upper case; None: those that all users can use."""
    masters: frozenset[str] = frozenset()
    """Users that may act for every other one, beside those whose store says so."""
    master_separator: str = "*"
    """``alice*master`` logs master in as alice where a mechanism has no authorization identity;
    empty: never."""
    oauth: OAuthConfig | None = None
    free_failures: int = 3
    """Failed logins of an address or a user that cost no delay."""
    longest_delay_s: float = 15
    refused_after: int = 20
    """Failed logins of an address after which it is refused without looking, until they are
    forgotten; five times as many of a user, from addresses where it has not logged in lately."""
    forgotten_after_s: float = 15 * 60


@dataclass(frozen=True, slots=True)
class ExtensionConfig:
    """What some extensions are told: the choices that are the operator's."""

    identify: bool = True
    """Whether ID tells the server's name and version.   RFC 2971"""
    admin_contact: str | None = None
    """How to reach the administrator: a URI, told as /shared/admin.   RFC 5464 3.2.1.1"""
    message_limit: int | None = None
    """Messages that one command works on: announced as MESSAGELIMIT, RFC 9738."""
    save_limit: int | None = None
    """Messages that one COPY or APPEND adds, where `message_limit` is None: SAVELIMIT."""
    language: str = "en"
    """Of texts to those who ask for the default.   RFC 5255 3.2"""
    gmail: bool = False
    """Whether Gmail's dialect is spoken: X-GM-EXT-1."""
    login_referrals: tuple[tuple[str, str], ...] = ()
    """Patterns of user names, as of files, and the server that has their mail.   RFC 2221"""
    mailbox_referrals: tuple[tuple[str, str], ...] = ()
    """Mailboxes with all below them, and where they are; several times for replicas, the preferred
    one first.   RFC 2193"""
    submitters: frozenset[str] = frozenset()
    """Users that are submission servers, beside those whose store says so: they may fetch what
    URLAUTH has for ``submit+``.   RFC 4467 3"""
    quota_storage: int | None = None
    """Octets of an account, unless SETQUOTA says otherwise of it; None: any number.   RFC 9208"""
    quota_messages: int | None = None
    quota_mailboxes: int | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """The options of the command line that concern the server and not its backend.

    No `hosts` means every interface. `port` None means no listener that begins in the clear;
    `tls_port` None means no implicit TLS.
    """

    hosts: tuple[str, ...] = ()
    port: int | None = 143
    tls_port: int | None = None
    tls: TlsConfig | None = None
    insecure_login: bool = False
    auth: AuthConfig = field(default_factory=AuthConfig)
    proxy_from: tuple[str, ...] = ()
    """Networks whose connections begin with a PROXY protocol header."""
    set_uid: str | None = None
    set_gid: str | None = None
    pid_file: Path | None = None
    drain_s: float = 5
    """For running commands at the end."""
    debug: bool = False
    log_format: str = "text"
    """text or json."""
    log_level: str = "info"
    logging_cfg: Path | None = None
    no_services: frozenset[str] = frozenset()
    limits: Limits = field(default_factory=Limits)
    extensions: ExtensionConfig = field(default_factory=ExtensionConfig)
    message_limits: Mapping[int, int | None] = field(default_factory=dict)
    """By port, where it is not the one of `extensions`."""

    def __post_init__(self) -> None:
        if self.tls_port is not None and self.tls is None:
            raise ValueError("--tls-port needs --cert")
