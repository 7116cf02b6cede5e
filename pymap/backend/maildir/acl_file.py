"""`dovecot-acl`: who may do what with a mailbox, beside it, as Dovecot's ACL plugin has it.

Seen of Dovecot 2.3.19:

Rule 1: a line is an identifier, a space, letters, and perhaps ``:`` and rights by their long
        names. An identifier with a space is in quotes, with backslashes; a dash before it takes
        away.
Rule 2: two lines of one identifier are one. Empty lines and those that begin with # say nothing.
Rule 3: a line that is none of this makes the file worthless: nobody is let in, the owner included.
Rule 4: which mailboxes have a list stands in `dovecot-acl-list` in the root, and others than the
        owner are shown these. When it is not there, it is made as soon as the owner lists his
        mailboxes; but nobody notices a list that Dovecot has not written.

Ours: ``authenticated`` is ANYONE, for nobody is not; where both stand, it counts. ``group`` and
``group-override`` mean nothing here. Lines stay as and where they are, but for what is changed.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pymap.backend.errors import Corrupt
from pymap.backend.maildir.dotlock import dotlock
from pymap.backend.maildir.replace import replace_file
from pymap.backend.maildir.tree import read_plain
from pymap.backend.rights import ALL_RIGHTS, ANYONE, NO_RIGHTS, OWNER, AccessList, Rights

__all__ = ["ACL", "ACL_LIST", "change_access", "read_access"]

log = logging.getLogger("pymap.maildir")

ACL = "dovecot-acl"
ACL_LIST = "dovecot-acl-list"
LONGEST = 1024 * 1024
_ORDER = "lrwstipekxa"
_LINE = re.compile(rb'(?:"((?:[^"\\]|\\.)*)"|([^" ][^ ]*))(?: +([a-z]*) *(?::(.*))?)?')
_WHO = re.compile(r"anyone|authenticated|owner|(?:user|group|group-override)=[^\x00-\x1f\x7f]*")
_QUOTED = re.compile(r'([\\"])')
_NAMES = {
    "lookup": "l", "read": "r", "write": "w", "write-seen": "s", "write-deleted": "t",
    "insert": "i", "post": "p", "expunge": "e", "create": "k", "delete": "x", "admin": "a",
}  # fmt: skip


class _Line(NamedTuple):
    octets: bytes
    """As it stands in the file."""
    sign: str = ""
    who: str = ""
    """The identifier as Dovecot has it, without its sign; empty for what is no entry."""
    rights: Rights = NO_RIGHTS
    others: tuple[str, ...] = ()
    """Long names of rights that are not the RFC's."""

    @property
    def key(self) -> str | None:
        """The identifier as we have it, None if it means nothing here."""
        kind, equals, name = self.who.partition("=")
        if kind == "user" and name not in ("", ANYONE):
            return self.sign + name
        if equals:
            return None
        known = {"owner": OWNER, "anyone": ANYONE, "authenticated": ANYONE}.get(kind)
        return None if known is None else self.sign + known


def read_access(directory: Path) -> AccessList:
    """The list of the mailbox in that directory. Blocking. Raises Corrupt, OSError."""
    try:
        return _entries(_lines(directory))
    except FileNotFoundError:
        return {}


def change_access(
    directory: Path,
    root: Path,
    changes: Mapping[str, Rights | None],
    expected: Mapping[str, Rights | None],
) -> bool:
    """As `Account.set_access`, with the lock of the tree at `root` held. Blocking. Raises Corrupt,
    InUse, OSError."""
    path = directory / ACL
    with dotlock(path):
        try:
            lines, is_new = _lines(directory), False
        except FileNotFoundError:
            lines, is_new = [], True
        known = _entries(lines)
        if any(known.get(key) != rights for key, rights in expected.items()):
            return False
        octets = b"".join(line.octets + b"\n" for line in _changed(lines, changes))
        replace_file(str(path), f"{directory}/pymap-acl.new", octets)
    if is_new:
        with suppress(FileNotFoundError):
            os.unlink(root / ACL_LIST)  # Rule 4
    return True


def _lines(directory: Path) -> list[_Line]:
    path = directory / ACL
    octets, _ = read_plain(path, LONGEST + 1)
    try:
        if len(octets) > LONGEST:
            raise ValueError("longer than can be")
        lines = octets.removesuffix(b"\n").split(b"\n") if octets else []
        return [_line(line.removesuffix(b"\r")) for line in lines]
    except ValueError as error:
        log.error("%s: damaged, to be mended or removed: %s", path, error)
        raise Corrupt("The access list of this mailbox is damaged") from error


def _line(octets: bytes) -> _Line:
    if not octets or octets.startswith(b"#"):
        return _Line(octets)
    found = _LINE.fullmatch(octets)
    if found is None:
        raise ValueError(f"not understood: {octets[:100]!r}")
    quoted, plain, letters, long = found.groups()
    text = (plain or re.sub(rb"\\(.)", rb"\1", quoted or b"")).decode("utf-8")
    sign = "-" if text.startswith("-") else ""
    if not _WHO.fullmatch(text.removeprefix(sign)):
        raise ValueError(f"nobody is called so: {octets[:100]!r}")
    rights = set((letters or b"").decode("ascii"))
    if not rights <= ALL_RIGHTS:
        raise ValueError(f"not all of these are rights: {octets[:100]!r}")
    names = (long or b"").decode("utf-8").split()
    rights.update(_NAMES[name] for name in names if name in _NAMES)
    others = tuple(name for name in names if name not in _NAMES)
    return _Line(octets, sign, text.removeprefix(sign), frozenset(rights), others)


def _entries(lines: list[_Line]) -> AccessList:
    found: dict[str, Rights] = {}
    authenticated: dict[str, Rights] = {}
    for line in lines:
        if (key := line.key) is not None:
            into = authenticated if line.who == "authenticated" else found
            into[key] = into.get(key, NO_RIGHTS) | line.rights
    return found | authenticated


def _changed(lines: list[_Line], changes: Mapping[str, Rights | None]) -> list[_Line]:
    made, done = [], set()
    for line in lines:
        key = line.key
        if key is None or key not in changes:
            made.append(line)
        elif (rights := changes[key]) is not None:
            made.append(_written(line.sign, line.who, rights, line.others))
            done.add(key)
    for key, rights in changes.items():
        if rights is not None and key not in done:
            sign, who = ("-", key[1:]) if key.startswith("-") else ("", key)
            who = "owner" if who == OWNER else who if who == ANYONE else f"user={who}"
            made.append(_written(sign, who, rights))
    return made


def _written(sign: str, who: str, rights: Rights, others: tuple[str, ...] = ()) -> _Line:
    text = sign + who
    if " " in text or text.startswith(('"', "#")):
        text = '"' + _QUOTED.sub(r"\\\1", text) + '"'
    letters = "".join(letter for letter in _ORDER if letter in rights)
    long = f" :{' '.join(others)}" if others else ""
    return _Line(f"{text} {letters}{long}".encode(), sign, who, rights, others)
