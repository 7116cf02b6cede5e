"""``completion``: what a shell needs to complete the command line."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from pymap.admin.cli.exits import Exit, Failure
from pymap.admin.output import Output

if TYPE_CHECKING:
    from pymap.admin.cli.options import Verbs

__all__ = ["add_verbs"]

SHELLS = ("bash", "zsh", "tcsh")


def add_verbs(verbs: Verbs) -> None:
    verb = verbs.add("completion", "print a script that completes in a shell", alone=completion)
    verb.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))


def completion(args: Namespace, output: Output) -> None:
    from pymap.admin.cli.options import parser

    try:
        import shtab
    except ImportError as error:
        raise Failure(Exit.CONFIG, f"needs more ({error}): pip install 'pymap[cli]'") from error
    output.line(shtab.complete(parser(), args.shell).rstrip("\n"))
