"""Verbs about who may log in. A password is never on the command line, where everybody sees it."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from pymap.admin.cli.exits import Exit, Failure
from pymap.admin.cli.messages import as_dict
from pymap.admin.output import Column, Output

if TYPE_CHECKING:
    from pymap.admin.cli.connection import Client
    from pymap.admin.cli.options import Verbs

__all__ = ["add_verbs"]

LONGEST = 64 * 1024
"""Octets of a file with a password that are looked at."""
_USER = (
    Column("name", "name"),
    Column("scheme", "scheme"),
    Column("roles", "roles", ",".join),
)


def add_verbs(verbs: Verbs) -> None:
    users = verbs.group("user", "list, show, add, change and delete users")
    users.add("list", "list all users", list_)
    users.add("get", "show a user", get).add_argument("user", metavar="USER")
    verb = users.add("add", "add a user", add, prepare=_take_password)
    verb.add_argument(
        "--role", action="append", default=[], metavar="ROLE",
        help="what the user may do besides; a `master` may act for all others; may be repeated",
    )  # fmt: skip
    _add_password(verb)
    verb = users.add(
        "set-password", "give a user another password", set_password, prepare=_take_password
    )
    _add_password(verb)
    verb = users.add("delete", "delete a user; the mail stays", delete)
    verb.add_argument("user", metavar="USER")


def _add_password(to: ArgumentParser) -> None:
    to.add_argument("user", metavar="USER")
    source = to.add_mutually_exclusive_group()
    source.add_argument(
        "--password-file",
        type=Path,
        metavar="FILE",
        help="take the password from the first line of FILE, instead of asking for it",
    )
    source.add_argument(
        "--stdin", action="store_true", help="take it from the first line of standard input"
    )
    how = to.add_mutually_exclusive_group()
    how.add_argument(
        "--hashed", action="store_true", help="what is given is a stored value, {SCHEME}..."
    )
    how.add_argument(
        "--scheme", default="", metavar="SCHEME",
        help="how it is to be stored (default: the best one that the server has)",
    )  # fmt: skip


async def list_(client: Client, args: Namespace, output: Output) -> None:
    from pymap.admin.proto.admin_pb2 import UserListRequest

    found = client.receive(client.users.List, UserListRequest())
    rows = [as_dict(user) async for user in found]
    output.table(sorted(rows, key=lambda row: str(row["name"])), _USER)


async def get(client: Client, args: Namespace, output: Output) -> None:
    from pymap.admin.proto.admin_pb2 import UserGetRequest

    found = await client.call(client.users.Get, UserGetRequest(name=args.user))
    output.fields(as_dict(found), _USER)


async def add(client: Client, args: Namespace, output: Output) -> None:
    from pymap.admin.proto.admin_pb2 import UserAddRequest

    request = UserAddRequest(
        name=args.user, password=args.password, scheme=args.scheme.upper(),
        hashed=args.hashed, roles=args.role,
    )  # fmt: skip
    output.fields(as_dict(await client.call(client.users.Add, request)), _USER)


async def set_password(client: Client, args: Namespace, output: Output) -> None:
    from pymap.admin.proto.admin_pb2 import UserSetPasswordRequest

    request = UserSetPasswordRequest(
        name=args.user, password=args.password, scheme=args.scheme.upper(), hashed=args.hashed
    )
    output.fields(as_dict(await client.call(client.users.SetPassword, request)), _USER)


async def delete(client: Client, args: Namespace, output: Output) -> None:
    from pymap.admin.proto.admin_pb2 import UserDeleteRequest

    await client.call(client.users.Delete, UserDeleteRequest(name=args.user))
    if output.as_json:
        output.document({})


# -- the password --


def _take_password(args: Namespace) -> None:
    """From where the options say. Raises Failure."""
    args.password = _password(args)


def _password(args: Namespace) -> str:
    if args.password_file is not None:
        try:
            with args.password_file.open("rb") as file:
                return _first_line(file, str(args.password_file))
        except OSError as error:
            text = f"{args.password_file}: {error.strerror}"
            raise Failure(Exit.NO_INPUT, text) from error
    if args.stdin:
        return _first_line(sys.stdin.buffer, "standard input")
    if not sys.stdin.isatty():
        raise Failure(Exit.USAGE, "no terminal to ask for the password: --password-file or --stdin")
    return _ask("Stored value: " if args.hashed else "Password: ")


def _first_line(file: BinaryIO, name: str) -> str:
    line = file.readline(LONGEST).removesuffix(b"\n").removesuffix(b"\r")
    try:
        password = line.decode("utf-8")
    except UnicodeDecodeError:
        raise Failure(Exit.DATA, f"{name}: not UTF-8") from None
    if not password:
        raise Failure(Exit.DATA, f"{name}: no password in its first line")
    return password


def _ask(prompt: str) -> str:
    from getpass import getpass

    try:
        password = getpass(prompt)
        again = getpass("The same again: ")
    except EOFError:
        raise Failure(Exit.NO_INPUT, "no password was given") from None
    if password != again:
        raise Failure(Exit.DATA, "the two are not the same")
    if not password:
        raise Failure(Exit.DATA, "no password was given")
    return password
