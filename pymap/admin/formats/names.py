"""Mailbox names as paths of files, for mbox and .eml: ``Work/2024`` is the directory ``Work`` with
``2024.mbox``.

Rule 1: a level is written as it is, but for "%", control characters, a dot in front, the dot of an
        ending that our own files or Thunderbird's directories have, and the first letter of "cur":
        these are %XX. So no name leads anywhere else, none is hidden, none is that of a file beside
        it, and none makes the tree look like a Maildir.
Rule 2: what is read may be written in any way: %XX is resolved, the rest is taken as it stands.
"""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import PurePath
from urllib.parse import unquote

__all__ = ["INBOX", "NoSuchPath", "below", "to_name", "to_path"]

INBOX = "INBOX"
LONGEST = 255 - len(".mbox.new")  # octets of one level

_ODD = re.compile(
    r"[%\x00-\x1f\x7f/\\:]|^\.|\.(?=(?:mbox|eml|jsonl|new|sbd)$)|^c(?=ur$)", re.IGNORECASE
)


class NoSuchPath(ValueError):
    """A name that cannot be written here."""


def to_path(name: str) -> PurePath:
    """Relative, without an ending. Raises NoSuchPath."""
    levels = [_ODD.sub(_escape, level) for level in name.split("/")]
    if not all(levels):
        raise NoSuchPath("a level of the name is empty")
    if any(len(os.fsencode(level)) > LONGEST for level in levels):
        raise NoSuchPath("the name is too long for a file")
    return PurePath(*levels)


def _escape(odd: re.Match[str]) -> str:
    return f"%{ord(odd[0]):02X}"  # quote() leaves dots and letters as they are


def to_name(path: PurePath) -> str:
    """The mailbox of a relative path that has no ending; "" for the directory itself."""
    levels = [unquote(os.fsencode(level).decode("utf-8", "replace")) for level in path.parts]
    return unicodedata.normalize("NFC", "/".join(levels))


def below(mailbox: str, name: str) -> str:
    """Where a mailbox of a tree goes that is imported into `mailbox`, or into the account if that
    is empty: its INBOX becomes the mailbox itself."""
    if name in ("", INBOX):
        return mailbox
    return f"{mailbox}/{name}" if mailbox else name
