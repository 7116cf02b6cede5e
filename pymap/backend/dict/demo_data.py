"""Fills an account from `demo/manifest.toml` and the messages beside it."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import TYPE_CHECKING

from pymap.backend.api import NewMessage, digest
from pymap.wire.types import Flag, InternalDate

if TYPE_CHECKING:
    from pymap.backend.dict import DictAccount

__all__ = ["load_demo"]


def load_demo(account: DictAccount) -> None:
    """Make the mailboxes of the manifest, each subscribed, with their messages."""
    folder = files("pymap.backend.dict") / "demo"
    manifest = tomllib.loads((folder / "manifest.toml").read_text("utf-8"))
    for entry in manifest["mailbox"]:
        messages = entry.get("message", ())
        first = messages[0]["uid"] if messages else 1
        mailbox = account.add(entry["name"], tuple(entry.get("special_use", ())), first)
        account.subscribed.add(entry["name"])
        for message in messages:
            content = folder.joinpath(message["file"]).read_bytes()
            flags = frozenset(map(Flag.of, message["flags"]))
            date = InternalDate(int(message["internal_date"].timestamp()))
            mailbox.add(
                [NewMessage(content, flags, date, digest(content))],
                recent=message.get("recent", False),
            )
