"""Small named values: a file beside a mailbox, one in the root of an account, and one for each
scope of the whole store.

JSON of version 1: `properties` has for each key its value as text or, if the octets are not UTF-8,
as `{"base64": ...}`. A new file is written beside the old one and renamed over it, so a reader sees
one or the other, and Dovecot neither. One that is damaged is never taken for an empty one: it may
say who must not read a mailbox. So it stays, and all that needs it is refused, until somebody
mends or removes it.
"""

from __future__ import annotations

import json
import logging
import os
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

from pymap.backend.api import Properties
from pymap.backend.errors import Corrupt
from pymap.backend.maildir.cached_file import CachedFile
from pymap.backend.maildir.replace import replace_file
from pymap.backend.maildir.tree import lock_tree, make_directory, sync

__all__ = [
    "ACCOUNT_PROPERTIES", "MAILBOX_PROPERTIES", "STORE_PROPERTIES", "LockedProperties",
    "MaildirProperties", "PropertiesFile", "file_name",
]  # fmt: skip

log = logging.getLogger("pymap.maildir")

MAILBOX_PROPERTIES = "pymap-properties"
ACCOUNT_PROPERTIES = "pymap-account-properties"
STORE_PROPERTIES = "pymap-store-properties"  # a directory, below the base directory
VERSION = 1
LONGEST_NAME = 200  # octets, of what is quoted; the rest is found by its hash

Values = Mapping[str, bytes]
Changes = Mapping[str, bytes | None]


class PropertiesFile:
    """Blocking; OSError passes through. Whoever writes keeps out other writers of all processes."""

    def __init__(self, path: Path) -> None:
        self._cached = CachedFile(path, _parse, _pack({}))

    def read(self) -> Values:
        """One stat when nothing has changed. Raises Corrupt."""
        try:
            return self._cached.read()
        except ValueError as error:
            log.error("%s: damaged, to be mended or removed: %s", self._cached.path, error)
            raise Corrupt("What is kept beside the mailboxes is damaged") from error

    def write(self, changes: Changes, expected: Changes | None) -> bool:
        """As `Properties.write`. Raises Corrupt."""
        known = self.read()
        if any(known.get(key) != value for key, value in (expected or {}).items()):
            return False
        merged = {**known, **changes}
        values = {key: value for key, value in merged.items() if value is not None}
        if values != known:
            path = self._cached.path
            replace_file(str(path), f"{path}.new", _pack(values))
        return True


class LockedProperties(PropertiesFile):
    """One that is written under the lock of the tree that its directory is, or could be. The
    directory is made by the first who writes, its parent must be there."""

    def write(self, changes: Changes, expected: Changes | None) -> bool:
        """As `Properties.write`. Raises Corrupt, InUse."""
        directory = self._cached.path.parent
        if not directory.is_dir():
            with suppress(FileExistsError):
                make_directory(directory, os.stat(directory.parent))
            sync(directory.parent)
        with lock_tree(directory):
            return super().write(changes, expected)


class MaildirProperties(Properties):
    """`read` and `write` of whoever knows the file and its lock."""

    def __init__(
        self,
        read: Callable[[], Awaitable[Values]],
        write: Callable[[Changes, Changes | None], Awaitable[bool]],
    ) -> None:
        self._read = read
        self._write = write

    async def read(self) -> Values:
        return await self._read()

    async def write(self, changes: Changes, expected: Changes | None = None) -> bool:
        return await self._write(changes, expected)


def file_name(scope: str) -> str:
    """The file of a scope: another one for each, and never one outside of the directory."""
    quoted = quote(scope, safe="", errors="surrogatepass")
    if len(quoted) > LONGEST_NAME:
        # No quoted text has a + in it.
        digest = sha256(quoted.encode()).hexdigest()
        quoted = f"{quoted[: LONGEST_NAME - len(digest) - 1]}+{digest}"
    return f"properties-{quoted}"


def _pack(values: Values) -> bytes:
    shown = {key: _shown(value) for key, value in sorted(values.items())}
    found = {"version": VERSION, "properties": shown}
    return json.dumps(found, ensure_ascii=False, indent=1).encode() + b"\n"


def _shown(value: bytes) -> str | dict[str, str]:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": b64encode(value).decode("ascii")}


def _parse(octets: bytes) -> Values:
    """Raises ValueError for what `_pack` would not write."""
    try:
        found = json.loads(octets.decode("utf-8"))
        if found["version"] != VERSION:
            raise ValueError(f"of version {found['version']!r}")
        return {key: _octets(shown) for key, shown in found["properties"].items()}
    except (LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not as pymap writes it: {error!r}") from error


def _octets(shown: str | dict[str, str]) -> bytes:
    if isinstance(shown, str):
        return shown.encode("utf-8")
    return b64decode(shown["base64"], validate=True)
