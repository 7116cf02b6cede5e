"""The command line: options of all verbs, and each verb with its own."""

from __future__ import annotations

import os
import sys
from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError, Namespace, _SubParsersAction
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pymap
from pymap.admin.cli.exits import Exit, Failure

__all__ = ["Verbs", "parser", "read"]

TIMEOUT_S = 60.0
VARIABLES = {
    "socket": "PYMAP_ADMIN_SOCKET",
    "server": "PYMAP_ADMIN_SERVER",
    "token_file": "PYMAP_ADMIN_TOKEN_FILE",
    "ca": "PYMAP_ADMIN_CA",
    "timeout": "PYMAP_ADMIN_TIMEOUT",
}


class Parser(ArgumentParser):
    """Whose errors are one line, and have the exit code of sysexits.h."""

    verbs: Collection[str] = ()

    def __init__(self, **how: Any) -> None:
        super().__init__(allow_abbrev=False, **how)

    def error(self, message: str) -> NoReturn:
        self.exit(Exit.USAGE, f"{self.prog}: {message} (see {self.prog} --help)\n")


class Verbs:
    """Where modules put their verbs."""

    def __init__(self, under: Parser, common: Parser) -> None:
        self._common = common
        self._parsers: _SubParsersAction[Parser] = under.add_subparsers(
            metavar="VERB", required=True, parser_class=Parser
        )

    def add(
        self, name: str, summary: str, run: Callable[..., Any] | None = None, **defaults: Any
    ) -> ArgumentParser:
        """A verb, and what carries it out: a coroutine function of connection, options and output.
        `defaults` are `alone` (a function of the last two, for a verb without a server), `prepare`
        (a function of the options, called before there is a connection), `delivers` (exit codes
        are those for a mail system), `usual_timeout` in seconds."""
        made = self._parsers.add_parser(
            name, help=summary, description=_sentence(summary), parents=[self._common]
        )
        settings = {"alone": None, "prepare": None, "delivers": False, "usual_timeout": TIMEOUT_S}
        made.set_defaults(run=run, **{**settings, **defaults})
        return made

    @property
    def names(self) -> Collection[str]:
        return self._parsers.choices.keys()

    def group(self, name: str, summary: str) -> Verbs:
        """A verb that has verbs below it."""
        made = self._parsers.add_parser(
            name, help=summary, description=_sentence(summary), parents=[self._common]
        )
        return Verbs(made, self._common)


def _sentence(summary: str) -> str:
    return f"{summary[0].upper()}{summary[1:]}."


def read(argv: Sequence[str] | None = None) -> Namespace:
    """A command line, that of the process if none is given, and what the environment says besides.
    Raises SystemExit for an error, which has been told, and for --help; Failure if an argument is
    no text."""
    words = sys.argv[1:] if argv is None else argv
    arguments = parser()
    try:
        args = arguments.parse_args(words)
        _settle(args, arguments)
    except SystemExit as done:
        # The operator puts it right, in master.cf or the environment. Meanwhile the mail waits.
        verb = next((word for word in words if word in arguments.verbs), None)
        if done.code == Exit.USAGE and verb == "append":
            raise SystemExit(Exit.LATER) from None
        raise
    return args


def parser() -> Parser:
    from pymap.admin.cli import append, check, completion, mailboxes, server, transfer, users

    made = Parser(
        prog="pymap-admin",
        description="Administers a running pymap server.",
        epilog="Exit codes are those of sysexits.h; docs/admin.md lists them. pymap-admin VERB "
        "--help shows the options of a verb.",
    )
    version = f"pymap-admin {pymap.__version__}"
    made.add_argument("--version", action="version", version=version)
    _add_connection(made, None)
    common = Parser(add_help=False)
    _add_connection(common, SUPPRESS)  # what stands before the verb must not be forgotten
    verbs = Verbs(made, common)
    for module in (append, server, users, mailboxes, transfer, check, completion):
        module.add_verbs(verbs)
    made.verbs = verbs.names
    return made


def _add_connection(to: Parser, default: Any) -> None:
    group = to.add_argument_group("options of every verb, before or after it")
    add = group.add_argument
    add(
        "--socket",
        type=Path,
        metavar="PATH",
        default=default,
        help="the server's admin socket (default: that of the only server that runs here)",
    )
    add(
        "--server",
        type=_host_and_port,
        metavar="HOST:PORT",
        default=default,
        help="a server elsewhere, over TLS",
    )
    add(
        "--token-file",
        type=Path,
        metavar="FILE",
        default=default,
        help="holds the token that --server needs",
    )
    add(
        "--ca",
        type=Path,
        metavar="FILE",
        default=default,
        help="who signs the certificate of --server (default: whom this system trusts)",
    )
    add(
        "--timeout",
        type=_seconds,
        metavar="S",
        default=default,
        help=f"seconds to wait for an answer (default: {TIMEOUT_S:g}; 600 for long work)",
    )
    add(
        "--json", action="store_true", default=default or False,
        help="print one JSON document",
    )  # fmt: skip


def _settle(args: Namespace, parser: Parser) -> None:
    """Take from the environment what the command line leaves open. Raises Failure for what no
    operator can put right: an address of an envelope that is not UTF-8."""
    for value in vars(args).values():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and not _is_unicode(text):
                raise Failure(Exit.USAGE, "an argument is not UTF-8")
    if args.socket is not None and args.server is not None:
        parser.error("--socket and --server exclude each other")
    names = list(VARIABLES)
    if args.socket is not None or args.server is not None:
        names = names[2:]  # which server is decided
    for name in names:
        value = os.environ.get(VARIABLES[name])
        if value and getattr(args, name) is None:
            try:
                setattr(args, name, _READ.get(name, Path)(value))
            except ArgumentTypeError as error:
                parser.error(f"{VARIABLES[name]}: {error}")
    if args.socket is not None and args.server is not None:
        parser.error("PYMAP_ADMIN_SOCKET and PYMAP_ADMIN_SERVER are both set")


def _is_unicode(text: str) -> bool:
    """Octets of the command line that are no text are lone surrogates."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host, int(port)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < 1e9:
        raise ArgumentTypeError(f"{text!r} is not a number of seconds")
    return seconds


_READ: dict[str, Callable[[str], Any]] = {"server": _host_and_port, "timeout": _seconds}
