"""What the operator asks for, from all places where options may stand.

``pymap [options] BACKEND [backend options]``, and ``pymap config check|show|example``. `layers`
says how the command line, the environment and the configuration file come together, `arguments`
which options the server has.
"""

from __future__ import annotations

import os
import sys
from argparse import PARSER, REMAINDER, ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn

from pymap.backend.api import Backend
from pymap.config import Config
from pymap.options.arguments import config_of, parser_of
from pymap.options.layers import (
    Layer,
    Option,
    from_command_line,
    from_environment,
    from_file,
    namespace,
    options_of,
    suggestion,
    unknown_variables,
)
from pymap.plugin import Plugins, Service, backends, services

__all__ = ["Catalogue", "Options", "read"]


class Options(NamedTuple):
    """What the operator asks for. `backend` is None only with `only_check`, where none need be
    named. `notes` are for the log."""

    config: Config
    backend: Backend | None
    services: tuple[Service, ...]
    notes: tuple[str, ...]
    only_check: bool


def read(argv: Sequence[str], environ: Mapping[str, str] = os.environ) -> Options:
    """Exits with 2 and a text for a bad option, with 0 for --help and the like, ``config show``
    and ``config example``. What the backend and the services say against theirs, they raise:
    OSError, ValueError, BackendError."""
    catalogue = Catalogue(backends(), services())
    parser = catalogue.parser
    parsed = parser.parse_args(argv)
    command, own_parsed, asked = parsed.command, Namespace(), _Asked()
    if command == "config":
        command = None
        catalogue.config_parser.parse_args(parsed.rest, asked)
        if asked.action == "example":
            _print_example(catalogue)
    elif command is not None:
        own_parsed = catalogue.parse(command, parsed.rest)

    file, variables, line = _layers(catalogue, parsed, asked.file, environ)
    args = namespace(catalogue.server, file, variables, line)
    name, own = command or args.backend, []
    if name is not None:
        if command is None:
            own_parsed = catalogue.parse(name, [])
        own = catalogue.own[name]
        line = {**line, **from_command_line(own, own_parsed)}
    elif not asked.action:
        parser.error("which BACKEND? Name it here, or as backend in the configuration file")
    layers = (file, variables, line)
    if asked.action == "show":
        _print_what_counts(catalogue, name, layers)
    _require([*catalogue.server, *own], layers)
    # With what only the command line can have: arguments that a backend hands on as they are.
    own_args = Namespace(**{**vars(own_parsed), **vars(namespace(own, *layers))})
    try:
        config = config_of(args)
        catalogue.check_services(config.no_services)
    except ValueError as error:
        parser.exit(2, f"pymap: {error}\n")
    return Options(
        config,
        catalogue.backends[name].from_args(own_args) if name is not None else None,
        tuple(
            service.from_args(args)
            for name, service in catalogue.services.items()
            if name not in config.no_services
        ),
        tuple(unknown_variables(catalogue.options, environ, catalogue.missing)),
        only_check=asked.action == "check",
    )


@dataclass
class _Asked(Namespace):
    """What ``pymap config`` is to do."""

    action: str = ""
    file: Path | None = None


def _layers(
    catalogue: Catalogue, parsed: Namespace, path: Path | None, environ: Mapping[str, str]
) -> tuple[Layer, Layer, Layer]:
    """The file, at `path` or where --config says, the environment and the command line. Exits if
    something is wrong in one of them, and says all of it."""
    problems: list[str] = []
    line = from_command_line(catalogue.server, parsed)
    variables = from_environment(catalogue.options, environ, problems)
    path = path or namespace(catalogue.server, variables, line).config
    file: Layer = {}
    if path is not None:
        file = from_file(catalogue.in_file, path, catalogue.missing, problems)
    if problems:
        catalogue.parser.exit(2, "".join(f"pymap: {problem}\n" for problem in problems))
    return file, variables, line


def _print_example(catalogue: Catalogue) -> NoReturn:
    from pymap.options.explain import example

    print(example(catalogue.in_file), end="")
    sys.exit()


def _print_what_counts(
    catalogue: Catalogue, backend: str | None, layers: Sequence[Layer]
) -> NoReturn:
    from pymap.options.explain import show

    print(show([o for o in catalogue.in_file if o.table in ("", backend)], layers), end="")
    sys.exit()


def _require(options: Sequence[Option], layers: Sequence[Layer]) -> None:
    for option in options:
        if option.required and not any(option.key in layer for layer in layers):
            positional = option.action.metavar or option.action.dest
            name = option.action.option_strings[-1] if option.action.option_strings else positional
            option.parser.error(
                f"{name} is needed: here, as {option.variable} in the environment,"
                f" or as {option.shown} in the configuration file"
            )


class Catalogue:
    """Every option there is, of the server with its services and of each backend."""

    def __init__(self, found: Plugins[Backend], beside: Plugins[Service]) -> None:
        self.backends = found.found
        self.services = beside.found
        self.missing = {**beside.missing, **found.missing}
        """Why a plugin is not there, by name."""
        self.parser = parser_of([*found.found, *found.missing])
        for service in beside.found.values():
            service.add_arguments(self.parser)
        self.server = options_of(self.parser)
        self.own: dict[str, list[Option]] = {}
        self.config_parser = _config_parser()
        self._parsers: dict[str, ArgumentParser] = {}
        self._known_services = {*beside.found, *beside.missing}
        subparsers = self.parser.add_subparsers(
            dest="command", metavar="BACKEND", parser_class=_Later
        )
        for name, backend in found.found.items():
            subparsers.add_parser(name, help=_first_line(backend), add_help=False)
            parser = ArgumentParser(prog=f"pymap {name}", allow_abbrev=False)
            backend.add_arguments(parser)
            self._parsers[name] = parser
            self.own[name] = options_of(parser, name)
        for name in found.missing:
            # Not in the list of backends, but known: naming it says what to do.
            subparsers.choices[name] = _Later(add_help=False)
        subparsers.add_parser("config", help=CONFIG_HELP, add_help=False)
        for name, n in Counter(option.variable for option in self.options).items():
            if n > 1:  # a plugin's fault: better said than one of them never read
                raise ValueError(f"{n} options have the name {name} in the environment")

    @property
    def options(self) -> list[Option]:
        """All of them."""
        return [*self.server, *(option for own in self.own.values() for option in own)]

    @property
    def in_file(self) -> list[Option]:
        """Those that a configuration file may have."""
        return [option for option in self.options if option.key != "config"]

    def parse(self, backend: str, arguments: Sequence[str]) -> Namespace:
        """What stands behind the name of a backend. Exits if it is not there, and says why."""
        if backend not in self._parsers:
            self.parser.exit(2, f"pymap: {self.missing[backend]}\n")
        parser = self._parsers[backend]
        if any(action.nargs in (PARSER, REMAINDER) for action in parser._actions):
            return parser.parse_args(arguments)
        # All positional arguments are optional here, for they may stand elsewhere; only intermixed
        # parsing finds such an argument behind an option.
        return parser.parse_intermixed_args(arguments)

    def check_services(self, names: Iterable[str]) -> None:
        """Raises ValueError for one that there is not."""
        for name in sorted(names):
            if name not in self._known_services:
                close = suggestion(name, self._known_services)
                raise ValueError(f"--no-service: there is no service named {name}{close}")


CONFIG_HELP = "not a backend: check or show the configuration, or print an example of one"


class _Later(ArgumentParser):
    """Stands for a subcommand, whose arguments it keeps. Its own parser has them to itself: a
    backend may have a --host or a --port as well."""

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        return Namespace(rest=args), []


def _config_parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="pymap config",
        description="Looks at the configuration: check says what is wrong with it, show prints what"
        " counts and where it comes from, example prints a file with all options in it.",
    )
    parser.add_argument("action", choices=["check", "show", "example"])
    parser.add_argument("file", type=Path, nargs="?", metavar="FILE", help="instead of --config")
    return parser


def _first_line(backend: type[Backend]) -> str:
    return (backend.__doc__ or "").strip().partition("\n")[0]
