"""A server as a process: sockets, privileges, signals, what is read again, the end.

The order is the point. Sockets are bound and keys read as the user who starts it, often root; then
it becomes the user it is to run as; then the store and the services start; clients are taken last.
At the end the clients go first, and services and store see them go.
"""

from __future__ import annotations

import asyncio
import codecs
import encodings.aliases
import errno
import gc
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pymap
from pymap import logs, systemd
from pymap.auth.authenticator import Authenticator
from pymap.backend.api import Backend
from pymap.config import Config
from pymap.imap.server import ReloadFailed, Server
from pymap.plugin import Service
from pymap.tls import Certificates

__all__ = ["run"]

log = logging.getLogger("pymap")

ENDINGS = (signal.SIGTERM, signal.SIGINT)
LOOPBACK = ("127.0.0.1", "::1")
CERTIFICATES_S = 60
"""How often it is looked whether the files of the certificates have changed."""


def run(config: Config, backend: Backend, services: Sequence[Service]) -> None:
    """Serve until SIGTERM or SIGINT. Raises OSError, ValueError or BackendError, with a text for
    the operator, if it cannot begin."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(config, backend, services))
        for number in ENDINGS:
            signal.signal(number, signal.SIG_IGN)  # a second one must not spoil the exit code


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _serve(config: Config, backend: Backend, services: Sequence[Service]) -> None:
    _allow_many_sockets()
    sys.unraisablehook = _log_unraisable
    certificates = None if config.tls is None else Certificates(config.tls)
    server = Server(
        backend,
        limits=config.limits,
        ssl_context=None if certificates is None else certificates.context,
        insecure_login=config.insecure_login,
        authenticator=Authenticator(backend.users, config.auth),
        proxy_from=config.proxy_from,
        extensions=config.extensions,
    )
    _set_up_reloading(server, config, certificates)
    stop, hup = _signals()
    try:
        await _listen(server, config)
        async with AsyncExitStack() as stack:
            stack.enter_context(_pid_file(config.pid_file))
            for service in services:
                service.load()
            _drop_privileges(config)
            if not await _unless(stop, backend.start()):
                return
            stack.push_async_callback(backend.stop)
            for service in services:
                await stack.enter_async_context(service.run(server))
            await stack.enter_async_context(_beside(_reload_on(hup, server)))
            if certificates is not None:
                await stack.enter_async_context(_beside(_watch(server, certificates)))
            await stack.enter_async_context(_beside(systemd.watchdog()))
            await server.open()
            _announce(server, config)
            systemd.ready()
            # What is loaded now stays: the collector need not look at it again.
            gc.collect()
            gc.freeze()
            gc.set_threshold(50_000, 20, 50)
            await stop.wait()
            log.info("shutting down")
            systemd.stopping("draining")
            await server.close(config.drain_s)
    finally:
        await server.close()  # what was bound, if the start failed


async def _unless(stop: asyncio.Event, coroutine: Coroutine[None, None, None]) -> bool:
    """Whether it could be done before the server is to end."""
    doing, stopping = asyncio.ensure_future(coroutine), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((doing, stopping), return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            doing.result()
            return True
        doing.cancel()
        await asyncio.wait((doing,))
        if not doing.cancelled() and (error := doing.exception()) is not None:
            log.warning("the store had not started: %s", error)
        return False
    finally:
        stopping.cancel()


@asynccontextmanager
async def _beside(coroutine: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Runs for as long as the context lasts."""

    def ended(task: asyncio.Future[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("what runs beside the server has ended", exc_info=error)

    task = asyncio.ensure_future(coroutine)
    task.add_done_callback(ended)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))


def _log_unraisable(error: sys.UnraisableHookArgs) -> None:
    """One line for what Python cannot raise: a client can cause it, by asking in a handshake for a
    host whose name is not ASCII."""
    log.warning("ignored: %r in %r", error.exc_value, error.object)


def _signals() -> tuple[asyncio.Event, asyncio.Event]:
    """Events that are set by the signals that end, and by SIGHUP."""
    loop = asyncio.get_running_loop()

    def sets(event: asyncio.Event) -> Callable[[int, object], None]:
        def handler(number: int, frame: object) -> None:
            with suppress(RuntimeError):  # the loop is closed: it has ended already
                loop.call_soon_threadsafe(event.set)

        return handler

    stop, hup = asyncio.Event(), asyncio.Event()
    # Not the loop's own handlers: it takes them away when it closes.
    for number in ENDINGS:
        signal.signal(number, sets(stop))
    signal.signal(signal.SIGHUP, sets(hup))
    return stop, hup


# -- what is read again --


def _set_up_reloading(server: Server, config: Config, certificates: Certificates | None) -> None:
    async def reopen_logs() -> None:
        await asyncio.to_thread(logs.reload, config)

    async def read_certificates() -> None:
        assert certificates is not None
        await asyncio.to_thread(certificates.reload)
        server.ssl_context = certificates.context

    server.reloaders["logging"] = reopen_logs
    if certificates is not None:
        server.reloaders["certificates"] = read_certificates
    if config.auth.oauth is not None:
        server.reloaders["token keys"] = server.authenticator.reload


async def _reload_on(hup: asyncio.Event, server: Server) -> None:
    while True:
        await hup.wait()
        hup.clear()
        systemd.reloading()
        with suppress(ReloadFailed):  # the log says what it was
            await server.reload()
        systemd.ready()


async def _watch(server: Server, certificates: Certificates) -> None:
    """Whoever renews a certificate need not tell us. (That of the admin service over TCP is read
    again on SIGHUP.)"""
    while True:
        await asyncio.sleep(CERTIFICATES_S)
        if await asyncio.to_thread(certificates.changed):
            try:
                await server.reloaders["certificates"]()
                log.info("certificates: read again")
            except (OSError, ValueError) as error:
                log.error("certificates: %s; those read before go on to count", error)
            except Exception:
                log.exception("certificates: those read before go on to count")


# -- sockets --


async def _listen(server: Server, config: Config) -> None:
    """Bind what is configured; what systemd has bound for us takes its place."""
    given = systemd.listeners()
    for name, sock in given:
        await server.listen_on(sock, tls=name.startswith("imaps"))
    if given:
        return
    hosts: tuple[str | None, ...] = config.hosts or (None,)
    if not config.hosts and server.backend.loopback_only:
        hosts = LOOPBACK
    for port, tls in ((config.port, False), (config.tls_port, True)):
        if port is None:
            continue
        limits = config.message_limits
        extensions = replace(
            config.extensions, message_limit=limits.get(port, config.extensions.message_limit)
        )
        for host in hosts:
            try:
                await server.listen(host, port, tls=tls, extensions=extensions)
            except OSError as error:
                # A machine without IPv6 has no ::1.
                missing = error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
                if hosts is LOOPBACK and host == "::1" and missing:
                    continue
                reason = error.strerror or str(error)
                if error.errno and not isinstance(error, socket.gaierror):
                    reason = os.strerror(error.errno)  # asyncio's own text is a long one
                raise OSError(f"cannot listen on {host or '*'} port {port}: {reason}") from error
    if not server.addresses:
        raise ValueError("there is nothing to listen on: give --port or --tls-port")


def _announce(server: Server, config: Config) -> None:
    """One line: what listens where and, if that is no secret, how to log in."""
    places = [
        f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in server.addresses
    ]
    tls = "" if config.tls is None else ", TLS" if config.tls_port else ", STARTTLS"
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


# -- the process --


@contextmanager
def _pid_file(path: Path | None) -> Iterator[None]:
    """It names this process for as long as it runs."""
    if path is None:
        yield
        return
    text = f"{os.getpid()}\n"
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        new.unlink(missing_ok=True)
        with new.open("x") as file:  # not through a link that somebody has laid there
            file.write(text)
        new.rename(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    try:
        yield
    finally:
        # The user that we have become may not be allowed to; and it may be a successor's by now.
        with suppress(OSError):
            if path.read_text() == text:
                path.unlink()


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
