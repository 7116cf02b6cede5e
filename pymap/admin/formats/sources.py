"""What the paths of an import are, and the messages in them.

A directory with a `cur` is a Maildir, and with `recursive` one with such folders. Any other one is
a tree of files: ``*.mbox`` and ``*.eml``, and if it is said that they are mbox, whatever begins
like one. Only with `recursive` does what lies deeper count, and then its place says which mailbox
it is for. Links inside a tree are not followed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path, PurePath
from typing import BinaryIO, NamedTuple

from pymap.admin.formats import eml, mbox
from pymap.admin.formats.content import Message
from pymap.admin.formats.files import open_plain
from pymap.admin.formats.names import below, to_name

__all__ = ["FORMATS", "NoMail", "Source", "octets_of", "read"]

FORMATS = ("auto", "mbox", "maildir", "eml")
PIPE = "-"


class NoMail(Exception):
    """There is nothing of that kind."""


class Source(NamedTuple):
    """What to import. `mailbox` "" is INBOX, and the account where there are several mailboxes."""

    paths: Sequence[str]
    format: str = "auto"
    mailbox: str = ""
    recursive: bool = False
    layout: str = "++"
    date_header: bool = False


def read(source: Source, pipe: BinaryIO) -> Generator[Message, None, None]:
    """The messages, one after the other. Raises NoMail, NotMbox, OSError, which name the path."""
    for path in source.paths:
        if not path:
            raise NoMail("a path is empty")
        if path == PIPE:
            yield from _read_pipe(source, pipe)
        elif os.path.isdir(path):
            yield from _read_directory(source, Path(path))
        else:
            yield from _read_file(source, Path(path))


def octets_of(source: Source) -> int | None:
    """How much there is to read, roughly; None if that is not to be known."""
    total = 0
    for path in source.paths:
        if path == PIPE:
            return None
        if os.path.isdir(path):
            for directory, _, names in os.walk(path):
                total += sum(_size(os.path.join(directory, name)) for name in names)
        else:
            total += _size(path)
    return total


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0


def _read_pipe(source: Source, pipe: BinaryIO) -> Iterator[Message]:
    if source.format == "maildir":
        raise NoMail("standard input is no Maildir")
    start = pipe.peek(5) if hasattr(pipe, "peek") else b""
    if source.format == "mbox" or (source.format == "auto" and mbox.looks_like_mbox(start)):
        yield from _named("standard input", mbox.read(pipe, source.mailbox))
    else:
        yield from eml.read_pipe(pipe, source.mailbox)


def _read_file(source: Source, path: Path) -> Iterator[Message]:
    if source.format == "maildir":
        raise NoMail(f"{path}: is no directory")
    with path.open("rb") as file:
        is_mbox = source.format == "mbox" or (
            source.format == "auto"
            and (path.suffix == mbox.ENDING or mbox.looks_like_mbox(file.peek(5)))
        )
        if is_mbox:
            yield from _named(path, mbox.read(file, source.mailbox))
            return
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # as the shell's <(command)
            yield from eml.read_pipe(file, source.mailbox)
            return
    yield from eml.read_file(path, source.mailbox, source.date_header)


def _read_directory(source: Source, path: Path) -> Iterator[Message]:
    if source.format == "maildir" or (source.format == "auto" and _is_maildir(source, path)):
        yield from _read_maildir(source, path)
        return
    found = False
    for directory, names in _directories(path, source.recursive):
        mailbox = source.mailbox
        if source.recursive:
            mailbox = below(source.mailbox, _name(directory.relative_to(path)))
        messages = [directory / name for name in names if name.endswith(eml.ENDING)]
        if messages and source.format != "mbox":
            found = True
            yield from eml.read_files(messages, mailbox, source.date_header)
        for name in names:
            if source.format != "eml" and _is_mbox(directory / name, source.format):
                found = True
                if source.recursive:
                    inside = (directory / name.removesuffix(mbox.ENDING)).relative_to(path)
                    mailbox = below(source.mailbox, _name(inside))
                with open_plain(directory / name) as file:
                    yield from _named(directory / name, mbox.read(file, mailbox))
    if not found:
        kinds = {"mbox": "mbox files", "eml": ".eml files"}.get(
            source.format, ".mbox or .eml files"
        )
        raise NoMail(f"{path}: has no {kinds} in it, and is no Maildir")


def _is_maildir(source: Source, path: Path) -> bool:
    """With `recursive` also folders without an INBOX, as an export of some mailboxes has them."""
    from pymap.admin.formats import maildir

    if maildir.looks_like_maildir(path) or not source.recursive:
        return maildir.looks_like_maildir(path)
    return any(map(maildir.looks_like_maildir, maildir.places(path, source.layout).values()))


def _read_maildir(source: Source, path: Path) -> Iterator[Message]:
    from pymap.admin.formats import maildir

    if not source.recursive:
        if not maildir.looks_like_maildir(path):
            raise NoMail(f"{path}: is no Maildir, it has no directory cur")
        yield from maildir.read(path, source.mailbox)
        return
    found = maildir.places(path, source.layout)
    there = {name: place for name, place in found.items() if maildir.looks_like_maildir(place)}
    if not there:
        raise NoMail(f"{path}: has no Maildir in it")
    for name, place in sorted(there.items()):
        yield from maildir.read(place, below(source.mailbox, name))


def _directories(path: Path, recursive: bool) -> Iterator[tuple[Path, list[str]]]:
    """Each directory and the names of its files, in order; what is hidden is passed over."""
    waiting = [path]
    while waiting:
        directory = waiting.pop()
        deeper, names = [], []
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    deeper.append(Path(entry.path))
                elif entry.is_file(follow_symlinks=False):
                    names.append(entry.name)
        yield directory, sorted(names)
        if recursive:
            waiting += sorted(deeper, reverse=True)


def _is_mbox(path: Path, format: str) -> bool:
    if path.suffix == mbox.ENDING:
        return True
    if format != "mbox":
        return False
    with open_plain(path) as file:
        return mbox.looks_like_mbox(file.read(5))


def _name(inside: PurePath) -> str:
    """Of a directory or file in the tree. Thunderbird has what is below Work in Work.sbd."""
    return to_name(PurePath(*(level.removesuffix(".sbd") for level in inside.parts)))


def _named(path: object, messages: Iterator[Message]) -> Iterator[Message]:
    try:
        yield from messages
    except mbox.NotMbox as error:
        raise mbox.NotMbox(f"{path}: is not an mbox, which begins with a line From") from error
