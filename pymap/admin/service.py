"""The service as the server knows it: its options, and what runs."""

from __future__ import annotations

import logging
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pymap.plugin import Service

if TYPE_CHECKING:
    from pymap.admin.network import Network
    from pymap.imap.server import Server

__all__ = ["AdminService"]

log = logging.getLogger("pymap.admin")

HINT = "the admin service needs more: pip install 'pymap[admin]'"


class AdminService(Service):
    """For pymap-admin: on a UNIX socket, and over TCP if that is asked for."""

    def __init__(self, path: Path | None = None, network: Network | None = None) -> None:
        """`path` of the socket; None is where clients look for it."""
        self.path = path
        self.network = network
        self.installed = True

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        add = parser.add_argument
        add(
            "--admin-socket",
            type=Path,
            metavar="PATH",
            help="UNIX socket of the admin service (default: where pymap-admin looks for it)",
        )
        add(
            "--admin-listen",
            type=_address,
            metavar="HOST:PORT",
            help="admin service over TCP as well, with --admin-cert and --admin-token-file",
        )
        add("--admin-cert", type=Path, metavar="FILE", help="certificate chain for --admin-listen")
        add("--admin-key", type=Path, metavar="FILE", help="its key, if not in the same file")
        add(
            "--admin-token-file", type=Path, metavar="FILE", help="holds what its clients must know"
        )

    @classmethod
    def from_args(cls, args: Namespace) -> Self:
        network = None
        tcp = (args.admin_cert, args.admin_key, args.admin_token_file)
        if args.admin_listen is not None:
            if args.admin_cert is None or args.admin_token_file is None:
                raise ValueError("--admin-listen needs --admin-cert and --admin-token-file")
            from pymap.admin.network import Network

            host, port = args.admin_listen
            network = Network(host, port, *tcp)
        elif any(option is not None for option in tcp):
            raise ValueError("--admin-cert, --admin-key and --admin-token-file need --admin-listen")
        made = cls(args.admin_socket, network)
        made.installed = _is_installed()
        if not made.installed and (network or made.path):
            raise ValueError(HINT)
        return made

    def load(self) -> None:
        if self.installed:
            import pymap.admin.serving  # noqa: F401

    @asynccontextmanager
    async def run(self, server: Server) -> AsyncIterator[None]:
        if not self.installed:
            log.info("%s", HINT)
            yield
            return
        from pymap.admin.serving import serving

        async with serving(server, self.path, self.network):
            yield


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host, int(port)


def _is_installed() -> bool:
    try:
        return find_spec("grpclib") is not None and find_spec("google.protobuf") is not None
    except ModuleNotFoundError:
        return False
