"""A maildir backend that holds what a dict backend holds: its tree is written here as Dovecot
would have left it, so that each test also takes over a tree."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import mkdtemp

from pymap.backend.dict import DictBackend, DictMailbox
from pymap.backend.maildir import MaildirBackend
from pymap.backend.maildir.account_files import SpecialUses, Subscriptions
from pymap.backend.maildir.filenames import build_info
from pymap.backend.maildir.layout import MaildirPlusPlus
from pymap.backend.maildir.users import UsersFile
from pymap.limits import Limits
from pymap.wire.types import UidSet

ALL = UidSet(((1, 0xFFFFFFFF),))


def maildir_of(local: DictBackend, directory: Path, limits: Limits | None = None) -> MaildirBackend:
    directory = Path(mkdtemp(dir=directory))
    users = directory / "users"
    names = list(local.users._users.values())
    users.write_text("".join(f"{user.name}::{user.password}\n" for user in names))
    for user in names:
        _write_account(local, user.name, directory / user.name)
    return MaildirBackend(UsersFile(users), limits=limits)


def _write_account(local: DictBackend, user: str, root: Path) -> None:
    account = local.account_of(user)
    layout = MaildirPlusPlus(root)
    subscriptions, uses = Subscriptions(layout), SpecialUses(root)
    for name, mailbox in account._mailboxes.items():
        path = root if name == "INBOX" else layout.path(name)
        _write_mailbox(mailbox, path)
        if special := account._special_use.get(name):
            uses.set(name, special)
    for name in account.subscribed:
        subscriptions.add(name)


def _write_mailbox(mailbox: DictMailbox, path: Path) -> None:
    for folder in ("tmp", "new", "cur"):
        (path / folder).mkdir(parents=True)
    index = mailbox.index
    keywords = [flag.name for flag in index.flags.keywords.values()]
    if keywords:
        lines = "".join(f"{at} {name}\n" for at, name in enumerate(keywords))
        (path / "dovecot-keywords").write_text(lines)
    lines = f"3 V{mailbox.uid_validity} N{index.uid_next} G{mailbox.id[1:]:0>32}\n"
    for row in index.rows(ALL):
        base = f"{1_600_000_000 + row.uid}.M{row.uid}.demo"
        letters = [chr(ord("a") + keywords.index(f.name)) for f in row.flags if not f.is_system]
        recent = row.uid >= mailbox._recent_from
        file = (
            path / "new" / base if recent else path / f"cur/{base}{build_info(row.flags, letters)}"
        )
        # With LF alone, as most programs deliver it, where that says the same.
        content = mailbox.messages[row.uid].content
        if b"\n" not in content.replace(b"\r\n", b""):
            content = content.replace(b"\r\n", b"\n")
        file.write_bytes(content)
        os.utime(file, (row.internal_date.seconds, row.internal_date.seconds))
        lines += f"{row.uid} :{base}\n"
    (path / "dovecot-uidlist").write_text(lines)
