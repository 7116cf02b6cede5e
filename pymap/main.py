"""The command line: ``pymap [options] BACKEND [backend options]``."""

from __future__ import annotations

import asyncio
import codecs
import encodings.aliases
import errno
import gc
import json
import logging
import logging.config
import os
import resource
import signal
import socket
import ssl
import sys
import tomllib
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pymap
from pymap.backend.api import Backend
from pymap.backend.errors import BackendError
from pymap.config import Config
from pymap.imap.server import Server
from pymap.plugin import Plugins, Service, backends, services

__all__ = ["main"]

log = logging.getLogger("pymap")

SIGNALS = (signal.SIGTERM, signal.SIGINT)
LOOPBACK = ("127.0.0.1", "::1")


def main(argv: Sequence[str] | None = None) -> None:
    """Run a server until SIGTERM or SIGINT. Exits 0 then, 1 with one line for what went wrong, 2
    for a bad option."""
    argv = sys.argv[1:] if argv is None else argv
    found, beside = backends(), services()
    parser = _parser(found, beside)
    args = parser.parse_args(argv)
    try:
        config = _config(args)
        unknown = config.no_services - beside.found.keys() - beside.missing.keys()
        if unknown:
            parser.error(f"--no-service: there is no service named {', '.join(sorted(unknown))}")
        backend = found.found[args.backend].from_args(args)
        chosen = [s.from_args(args) for n, s in beside.found.items() if n not in config.no_services]
        _set_up_logging(config)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_run(config, backend, chosen))
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN)  # a second one must not spoil the exit code
    except (OSError, ValueError, BackendError) as error:
        sys.exit(f"pymap: {_reason(error)}")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


# -- options --


def _parser(found: Plugins[Backend], beside: Plugins[Service]) -> ArgumentParser:
    parser = ArgumentParser(
        prog="pymap",
        description="An IMAP server. BACKEND is where the mail is.",
        epilog="pymap BACKEND --help shows a backend's own options.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--version", action="version", version=f"pymap {pymap.__version__}")
    add(
        "--host",
        action="append",
        default=[],
        metavar="IFACE",
        help="listen on this interface; may be repeated (default: all)",
    )
    add("--port", type=_port, default=143, metavar="N", help="for IMAP (default: 143)")
    add("--tls-port", type=_port, metavar="N", help="for IMAP over TLS, usually 993")
    add("--cert", type=Path, metavar="FILE", help="certificate chain in PEM: gives STARTTLS")
    add("--key", type=Path, metavar="FILE", help="its private key, if not in the same file")
    add("--insecure-login", action="store_true", help="take passwords over the network without TLS")
    add("--debug", action="store_true", help="log the protocol, without passwords and messages")
    add("--set-uid", metavar="USER", help="become this user once the sockets are bound")
    add("--set-gid", metavar="GROUP", help="become this group once the sockets are bound")
    add(
        "--logging-cfg",
        type=Path,
        metavar="FILE",
        help="logging configuration: .json or .toml (dictConfig), otherwise fileConfig",
    )
    add(
        "--no-service",
        action="append",
        default=[],
        metavar="NAME",
        help="leave a service out; may be repeated",
    )
    for service in beside.found.values():
        service.add_arguments(parser)
    subparsers = parser.add_subparsers(dest="backend", metavar="BACKEND", required=True)
    for name, backend in found.found.items():
        subparser = subparsers.add_parser(name, help=_first_line(backend), allow_abbrev=False)
        backend.add_arguments(subparser)
    for name, why in found.missing.items():
        # Not in the list of backends, but known: naming it says what to do.
        subparsers.choices[name] = _Missing(why)
    return parser  # fmt: skip


class _Missing(ArgumentParser):
    """Stands for a backend that cannot be loaded."""

    def __init__(self, why: str) -> None:
        super().__init__(prog="pymap", add_help=False)
        self.why = why

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        self.exit(2, f"pymap: {self.why}\n")


def _first_line(backend: type[Backend]) -> str:
    return (backend.__doc__ or "").strip().partition("\n")[0]


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise ArgumentTypeError(f"{text!r} is not a port")
    return int(text)


def _config(args: Namespace) -> Config:
    return Config(
        hosts=tuple(args.host),
        port=args.port,
        tls_port=args.tls_port,
        cert=args.cert,
        key=args.key,
        insecure_login=args.insecure_login,
        debug=args.debug,
        set_uid=args.set_uid,
        set_gid=args.set_gid,
        logging_cfg=args.logging_cfg,
        no_services=frozenset(args.no_service),
    )


def _set_up_logging(config: Config) -> None:
    path = config.logging_cfg
    if path is None:
        level = logging.DEBUG if config.debug else logging.INFO
        logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=level)
        logging.getLogger("asyncio").setLevel(logging.WARNING)
    elif path.suffix == ".json":
        logging.config.dictConfig(json.loads(path.read_text("utf-8")))
    elif path.suffix == ".toml":
        logging.config.dictConfig(tomllib.loads(path.read_text("utf-8")))
    else:
        path.open().close()  # fileConfig tells nothing of a file that is not there
        logging.config.fileConfig(path, disable_existing_loggers=False)


def _ssl_context(config: Config) -> ssl.SSLContext | None:
    if config.cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for path in (config.cert, config.key):
        if path is not None:
            path.open("rb").close()  # names the file that cannot be read
    try:
        context.load_cert_chain(config.cert, config.key)
    except ssl.SSLError as error:
        raise ValueError(f"{config.cert}: not a certificate with its key ({error})") from error
    return context


# -- running --


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _run(config: Config, backend: Backend, chosen: Sequence[Service]) -> None:
    _allow_many_sockets()
    server = Server(
        backend,
        limits=config.limits,
        ssl_context=_ssl_context(config),
        insecure_login=config.insecure_login,
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def end(number: int, frame: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: it has ended already
            loop.call_soon_threadsafe(stop.set)

    # Not the loop's own handlers: it takes them away when it closes.
    for number in SIGNALS:
        signal.signal(number, end)
    try:
        await _listen(server, config)
        _drop_privileges(config)
        await backend.start()
        try:
            async with AsyncExitStack() as stack:
                for service in chosen:
                    await stack.enter_async_context(service.run(server))
                await server.open()
                _announce(server, config)
                # What is loaded now stays: the collector need not look at it again.
                gc.collect()
                gc.freeze()
                gc.set_threshold(50_000, 20, 50)
                await stop.wait()
                log.info("shutting down")
        finally:
            await server.close()
            await backend.stop()
    finally:
        await server.close()  # what was bound, if the start failed


async def _listen(server: Server, config: Config) -> None:
    hosts: tuple[str | None, ...] = config.hosts or (None,)
    if not config.hosts and server.backend.loopback_only:
        hosts = LOOPBACK
    for port, tls in ((config.port, False), (config.tls_port, True)):
        if port is None:
            continue
        for host in hosts:
            try:
                await server.listen(host, port, tls=tls)
            except OSError as error:
                # A machine without IPv6 has no ::1.
                missing = error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
                if hosts is LOOPBACK and host == "::1" and missing:
                    continue
                reason = error.strerror or str(error)
                if error.errno and not isinstance(error, socket.gaierror):
                    reason = os.strerror(error.errno)  # asyncio's own text is a long one
                raise OSError(f"cannot listen on {host or '*'} port {port}: {reason}") from error


def _announce(server: Server, config: Config) -> None:
    """One line: what listens where and, if that is no secret, how to log in."""
    places = [
        f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in server.addresses
    ]
    tls = "" if config.cert is None else ", TLS" if config.tls_port else ", STARTTLS"
    hint = server.backend.login_hint
    log.info(
        "pymap %s: IMAP%s on %s%s",
        pymap.__version__,
        tls,
        " ".join(places),
        f"; {hint}" if hint else "",
    )


def _allow_many_sockets() -> None:
    with suppress(ValueError, OSError):
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _load_encodings() -> None:
    """Python reads each encoding from its file when some mail first needs it, which the new user
    may not be allowed to."""
    for name in set(encodings.aliases.aliases.values()):
        with suppress(LookupError):  # of another system
            codecs.lookup(name)


def _drop_privileges(config: Config) -> None:
    """Become another user, the groups first: afterwards it would no longer be allowed."""
    import grp
    import pwd

    user = group = None
    if config.set_uid is not None:
        try:
            text = config.set_uid
            user = pwd.getpwuid(int(text)) if text.isdigit() else pwd.getpwnam(text)
        except KeyError:
            raise ValueError(f"--set-uid: no such user: {config.set_uid}") from None
    if config.set_gid is not None:
        try:
            text = config.set_gid
            group = int(text) if text.isdigit() else grp.getgrnam(text).gr_gid
        except KeyError:
            raise ValueError(f"--set-gid: no such group: {config.set_gid}") from None
    elif user is not None:
        group = user.pw_gid
    if group is not None or user is not None:
        _load_encodings()
    if group is not None:
        os.setgroups([] if user is None else os.getgrouplist(user.pw_name, group))
        os.setgid(group)
    if user is not None:
        os.setuid(user.pw_uid)
