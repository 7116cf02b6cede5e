"""The Lua scripts: each operation on the store is one of them, and one round trip."""

from __future__ import annotations

from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import NamedTuple

__all__ = ["Script", "script"]

_ACCOUNT = {"enter", "open", "create", "delete", "rename", "renew"}
"""Those that know the names of mailboxes."""


_ALONE = {"access", "properties", "read", "set_properties", "sweep"}
"""Those that know nothing of messages."""


class Script(NamedTuple):
    text: str
    digest: str
    """What Redis knows it by, once it has seen it."""


@cache
def script(name: str) -> Script:
    """The script of a file, with what it shares before it."""
    directory = files("pymap.backend.redis") / "lua"
    parts = [name]
    if name not in _ALONE:
        parts = ["common", *(["names"] if name in _ACCOUNT else []), name]
    if name == "pull":
        parts = ["unchanged", *parts]
    text = "\n".join((directory / f"{part}.lua").read_text("utf-8") for part in parts)
    # Not a secret: it is how EVALSHA names a script.
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())
