"""The server's own options, and the `Config` that they make."""

from __future__ import annotations

from argparse import (
    ArgumentParser,
    ArgumentTypeError,
    BooleanOptionalAction,
    Namespace,
    _ArgumentGroup,
)
from collections.abc import Sequence
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import pymap
from pymap.config import AuthConfig, Config, ExtensionConfig, OAuthConfig, TlsConfig
from pymap.limits import Limits
from pymap.options import values
from pymap.options.layers import Entry, Pairs, read_secret, suggestion

__all__ = ["config_of", "parser_of"]

CONFIG = Config()
AUTH = AuthConfig()
EXTENSIONS = ExtensionConfig()
LIMITS = {field.name: getattr(CONFIG.limits, field.name) for field in fields(Limits)}


def parser_of(backends: Sequence[str]) -> ArgumentParser:
    """Everything but the services' and the backends' options."""
    parser = ArgumentParser(
        prog="pymap",
        usage="pymap [options] BACKEND [backend options]",
        description="An IMAP server. BACKEND is where the mail is.",
        epilog="pymap BACKEND --help shows a backend's own options. Each option may also stand in a"
        " configuration file (port = 143) or in the environment (PYMAP_PORT=143). pymap config"
        " example prints a file with all of them.",
        allow_abbrev=False,
    )
    _general(parser, backends)
    _listening(parser)
    _tls(parser)
    _logins(parser)
    _tokens(parser)
    _extensions(parser)
    _process(parser)
    _logs(parser)
    return parser


def _general(parser: ArgumentParser, backends: Sequence[str]) -> None:
    parser.add_argument("--version", action="version", version=f"pymap {pymap.__version__}")
    add = parser.add_argument_group("in general").add_argument
    add("--config", type=Path, metavar="FILE", help="read options from this TOML file")
    add(
        "--backend",
        choices=backends,
        metavar="NAME",
        help="the backend, for a file or an environment that is to name it",
    )
    add(
        "--no-service",
        action="append",
        default=[],
        metavar="NAME",
        help="leave a service out; may be repeated",
    )
    add(
        "--limit",
        action=Pairs,
        table="limits",
        entries=_limit_entries,
        type=_limit,
        default={},
        metavar="NAME=VALUE",
        help="a bound on what clients may send and hold, such as append=25M or idle_timeout_s=1h;"
        " may be repeated",
    )


def _listening(parser: ArgumentParser) -> None:
    add = parser.add_argument_group("where it listens").add_argument
    add(
        "--host",
        action="append",
        default=[],
        metavar="IFACE",
        help="listen on this interface; may be repeated (default: all)",
    )
    add(
        "--port",
        type=values.port,
        default=CONFIG.port,
        metavar="N",
        help="for IMAP, or none (default: %(default)s)",
    )
    add("--tls-port", type=values.port, metavar="N", help="for IMAP over TLS, usually 993")
    add(
        "--proxy-from",
        action="append",
        default=[],
        type=values.network,
        metavar="NETWORK",
        help="connections from here begin with a header of the PROXY protocol; may be repeated",
    )


def _tls(parser: ArgumentParser) -> None:
    add = parser.add_argument_group("TLS").add_argument
    add(
        "--cert",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="certificate chain in PEM: gives STARTTLS; may be repeated, for other host names",
    )
    add(
        "--key",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="its private key, if not in the same file; the first one is that of the first --cert,"
        " and so on",
    )
    add(
        "--tls-minimum",
        choices=["1.2", "1.3"],
        default=TlsConfig().minimum,
        help="the oldest version of TLS (default: %(default)s)",
    )
    add("--tls-ciphers", metavar="LIST", help="for TLS 1.2, as OpenSSL writes them")
    add(
        "--client-ca",
        type=Path,
        metavar="FILE",
        help="who signs the certificates of clients, in PEM; without it none are asked for",
    )
    add(
        "--client-cert",
        choices=["optional", "required"],
        default="optional",
        help="whether a client must have one (default: %(default)s)",
    )


def _logins(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("who may log in")
    add = group.add_argument
    _switch(group, "--insecure-login", "take passwords over the network without TLS")
    add(
        "--mechanism",
        action="append",
        default=[],
        type=values.mechanism,
        metavar="NAME",
        help="offer this SASL mechanism; may be repeated (default: all that every user can use)",
    )
    add(
        "--master",
        action="append",
        default=[],
        metavar="USER",
        help="may act for every other user; may be repeated",
    )
    add(
        "--master-separator",
        default=AUTH.master_separator,
        type=values.separator,
        metavar="SIGN",
        help="alice*master logs master in as alice; empty: never (default: %(default)s)",
    )
    add(
        "--auth-free-failures",
        type=values.count,
        default=AUTH.free_failures,
        metavar="N",
        help="failed logins of an address or a user that cost no delay (default: %(default)s)",
    )
    add(
        "--auth-longest-delay",
        type=values.seconds,
        default=AUTH.longest_delay_s,
        metavar="TIME",
        help="the most that each one after these costs, in seconds or as 2m (default: %(default)s)",
    )
    add(
        "--auth-refused-after",
        type=values.count,
        default=AUTH.refused_after,
        metavar="N",
        help="failed logins of an address after which it is refused unseen; five times as many of"
        " a user (default: %(default)s)",
    )
    add(
        "--auth-forgotten-after",
        type=values.seconds,
        default=AUTH.forgotten_after_s,
        metavar="TIME",
        help="how long failed logins count, in seconds or as 1h (default: %(default)s)",
    )


def _tokens(parser: ArgumentParser) -> None:
    add = parser.add_argument_group(
        "tokens, for OAUTHBEARER and XOAUTH2",
        "They are checked in one way: --oauth-introspection, --oauth-jwks or --oauth-tokens.",
    ).add_argument
    add(
        "--oauth-introspection",
        type=values.url,
        metavar="URL",
        help="where a server tells of tokens, RFC 7662",
    )
    add("--oauth-client-id", metavar="ID", help="the name that this server has there")
    add(
        "--oauth-client-secret-file",
        type=Path,
        metavar="FILE",
        help="holds the password that goes with it",
    )
    add(
        "--oauth-jwks",
        type=values.url_or_path,
        metavar="URL|FILE",
        help="the keys that tokens are signed with, a JSON Web Key Set, RFC 7517",
    )
    add("--oauth-tokens", type=Path, metavar="FILE", help="lines of a token and a user, for tests")
    add("--oauth-issuer", metavar="TEXT", help="whose tokens count: their claim iss")
    add("--oauth-audience", metavar="TEXT", help="whom they must be for: their claim aud")
    add("--oauth-scope", metavar="TEXT", help="what they must allow: in their claim scope")
    add(
        "--oauth-claim",
        action="append",
        default=[*OAuthConfig().claim],
        metavar="NAME",
        help="the claim that has the user's name; may be repeated, the first one that is there"
        f" counts (default: {', '.join(OAuthConfig().claim)})",
    )


def _extensions(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("extensions of IMAP")
    add = group.add_argument
    _switch(group, "--identify", "tell the server's name and version (ID)", EXTENSIONS.identify)
    _switch(group, "--gmail", "speak Gmail's dialect, with labels and queries (X-GM-EXT-1)")
    add(
        "--admin-contact",
        type=values.uri,
        metavar="URI",
        help="how to reach the administrator, as mailto:... (METADATA; default: not told)",
    )
    add(
        "--message-limit",
        action="append",
        default=[],
        type=values.limit_of_port,
        metavar="N",
        help="messages that one command works on (MESSAGELIMIT); PORT=N for one port alone; may be"
        " repeated (default: any number)",
    )
    add(
        "--save-limit",
        type=values.positive,
        metavar="N",
        help="messages that one COPY or APPEND adds (SAVELIMIT; default: any number)",
    )
    add(
        "--language",
        choices=["en", "de"],
        default=EXTENSIONS.language,
        help="of texts for clients that ask for the default (LANGUAGE; default: %(default)s)",
    )
    add(
        "--login-referral",
        action="append",
        default=[],
        type=values.referral,
        metavar="USER=URL",
        help="users (* stands for any text) whose mail is on another server, as"
        " imap://server.example/ (LOGIN-REFERRALS); may be repeated",
    )
    add(
        "--mailbox-referral",
        action="append",
        default=[],
        type=values.referral,
        metavar="NAME=URL",
        help="a mailbox that is on another server with all below it (MAILBOX-REFERRALS); may be"
        " repeated",
    )
    add(
        "--submitter",
        action="append",
        default=[],
        metavar="USER",
        help="a submission server logs in as this user, and may fetch what users let it send"
        " (URLAUTH, BURL); may be repeated",
    )
    add(
        "--quota-storage",
        type=values.size,
        metavar="SIZE",
        help="what the messages of an account may come to, such as 5G; SETQUOTA may say otherwise"
        " of an account (default: no limit)",
    )
    add("--quota-messages", type=values.size, metavar="N", help="the same, in messages")
    add("--quota-mailboxes", type=values.size, metavar="N", help="the same, in mailboxes")


def _process(parser: ArgumentParser) -> None:
    add = parser.add_argument_group("the process").add_argument
    add("--set-uid", metavar="USER", help="become this user once the sockets are bound")
    add("--set-gid", metavar="GROUP", help="become this group once the sockets are bound")
    add("--pid-file", type=Path, metavar="FILE", help="holds the number of the process")
    add(
        "--drain",
        type=values.seconds,
        default=CONFIG.drain_s,
        metavar="TIME",
        help="how long commands that run at the end may take, in seconds or as 1m"
        " (default: %(default)s)",
    )


def _logs(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("logs")
    add = group.add_argument
    _switch(group, "--debug", "log the protocol, without passwords and messages")
    add(
        "--log-format",
        choices=["text", "json"],
        default=CONFIG.log_format,
        help="lines for people or for programs (default: %(default)s)",
    )
    add(
        "--log-level",
        choices=["debug", "info", "warning", "error"],
        default=CONFIG.log_level,
        help="the least that is logged (default: %(default)s)",
    )
    add(
        "--logging-cfg",
        type=Path,
        metavar="FILE",
        help="logging configuration instead: .json or .toml (dictConfig), otherwise fileConfig",
    )


def _switch(group: _ArgumentGroup, name: str, text: str, default: bool = False) -> None:
    """With a --no-... that takes back what a lower place says."""
    # Given with the rest, some versions of Python add "(default: False)" to the help.
    group.add_argument(name, action=BooleanOptionalAction, default=default).help = text


# -- limits --


def _limit(text: str) -> tuple[str, float]:
    name, equals, value = text.partition("=")
    name = name.strip().replace("-", "_")
    if not equals:
        raise ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    if name not in LIMITS:
        raise ArgumentTypeError(f"there is no limit {name!r}{suggestion(name, LIMITS)}")
    bound = values.seconds(value) if name.endswith("_s") else values.size(value)
    if bound <= 0:
        raise ArgumentTypeError(f"{name} must be above 0")
    return name, bound


def _limit_entries() -> list[Entry]:
    """Each with the text that stands below it in `Limits`."""
    import ast
    import inspect

    body = ast.parse(inspect.getsource(Limits)).body[0]
    assert isinstance(body, ast.ClassDef)
    texts = {}
    for above, below in pairwise(body.body):
        match above, below:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                texts[name] = " ".join(text.split())

    def shown(name: str, value: float) -> str:
        return f"{value:g}" if name.endswith("_s") else values.shown_size(value)

    # Only `..._before_login` has none, each below the limit that holds after login.
    return [
        Entry(name, shown(name, default), texts.get(name, "The same, before login."))
        for name, default in LIMITS.items()
    ]


# -- what they make --


def config_of(args: Namespace) -> Config:
    """Raises ValueError where options do not go together or the secret cannot be read."""
    return Config(
        hosts=tuple(args.host),
        port=args.port,
        tls_port=args.tls_port,
        tls=_tls_config(args),
        insecure_login=args.insecure_login,
        auth=AuthConfig(
            mechanisms=tuple(args.mechanism) or None,
            masters=frozenset(args.master),
            master_separator=args.master_separator,
            oauth=_oauth_config(args),
            free_failures=args.auth_free_failures,
            longest_delay_s=args.auth_longest_delay,
            refused_after=args.auth_refused_after,
            forgotten_after_s=args.auth_forgotten_after,
        ),
        proxy_from=tuple(args.proxy_from),
        set_uid=args.set_uid,
        set_gid=args.set_gid,
        pid_file=args.pid_file,
        drain_s=args.drain,
        debug=args.debug,
        log_format=args.log_format,
        log_level=args.log_level,
        logging_cfg=args.logging_cfg,
        no_services=frozenset(args.no_service),
        limits=Limits(**args.limit),
        extensions=ExtensionConfig(
            identify=args.identify,
            language=args.language,
            gmail=args.gmail,
            login_referrals=tuple(args.login_referral),
            mailbox_referrals=tuple(args.mailbox_referral),
            admin_contact=args.admin_contact,
            message_limit=dict(args.message_limit).get(None),
            save_limit=args.save_limit,
            submitters=frozenset(args.submitter),
            quota_storage=args.quota_storage,
            quota_messages=args.quota_messages,
            quota_mailboxes=args.quota_mailboxes,
        ),
        message_limits={port: limit for port, limit in args.message_limit if port is not None},
    )


def _tls_config(args: Namespace) -> TlsConfig | None:
    if not args.cert:
        for name in ("key", "tls_ciphers", "client_ca"):
            if getattr(args, name):
                raise ValueError(f"{_flag(name)} needs --cert")
        return None
    if args.client_cert == "required" and args.client_ca is None:
        raise ValueError("--client-cert required needs --client-ca")
    return TlsConfig(
        certs=tuple(args.cert),
        keys=tuple(args.key),
        minimum=args.tls_minimum,
        ciphers=args.tls_ciphers,
        client_ca=args.client_ca,
        client_required=args.client_cert == "required",
    )


def _oauth_config(args: Namespace) -> OAuthConfig | None:
    ways = ("oauth_introspection", "oauth_jwks", "oauth_tokens")
    others = ("oauth_client_id", "oauth_client_secret_file", "oauth_issuer", "oauth_audience")
    chosen = [_flag(name) for name in ways if getattr(args, name) is not None]
    if len(chosen) > 1:
        raise ValueError(f"{' and '.join(chosen)}: tokens are checked in one way")
    if not chosen:
        for name in (*others, "oauth_scope"):
            if getattr(args, name) is not None:
                raise ValueError(f"{_flag(name)} needs one of {', '.join(map(_flag, ways))}")
        return None
    secret = args.oauth_client_secret_file
    return OAuthConfig(
        introspection=args.oauth_introspection,
        client_id=args.oauth_client_id,
        client_secret=None if secret is None else read_secret(secret),
        jwks=None if args.oauth_jwks is None else str(args.oauth_jwks),
        tokens=args.oauth_tokens,
        issuer=args.oauth_issuer,
        audience=args.oauth_audience,
        scope=args.oauth_scope,
        claim=tuple(args.oauth_claim),
    )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
