"""Dovecot's imap process on a tree of our own, without its server: commands in, answers out."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import subprocess
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pymap.backend.maildir.layout import LAYOUTS, Layout
from pymap.wire import modutf7

IMAP = Path("/usr/lib/dovecot/imap")
OWNER = pwd.getpwnam("nobody") if os.getuid() == 0 else pwd.getpwuid(os.getuid())

CONFIG = """
base_dir = {base}/run
state_dir = {base}/run
ssl = no
mail_location = maildir:{base}/Maildir{layout}
mail_home = {base}
mail_uid = {user}
mail_gid = {group}
first_valid_uid = 0
first_valid_gid = 0
namespace inbox {{
  inbox = yes
  separator = /
}}
"""

_LISTED = re.compile(rb'\* (?:LIST|LSUB) \([^)]*\) "/" (?:"((?:[^"\\]|\\.)*)"|(\S+))')


class Dovecot:
    """One account, in a layout, that Dovecot and we work on. As root, Dovecot runs as nobody: it
    refuses to serve root's mail."""

    def __init__(self, base: Path, kind: str) -> None:
        if not IMAP.exists():
            pytest.fail(
                f"{IMAP} is not there (Debian package dovecot-imapd); scripts/test installs it"
            )
        self.base, self.kind = base, kind
        self.root = base / "Maildir"
        self.layout: Layout = LAYOUTS[kind](self.root)
        self._config = base / "dovecot.conf"
        self._config.write_text(
            CONFIG.format(
                base=base,
                layout=":LAYOUT=fs" if kind == "fs" else "",
                user=OWNER.pw_uid,
                group=OWNER.pw_gid,
            )
        )
        self._log = base / "log"
        self._log.touch()

    def start(self, *commands: str) -> subprocess.Popen[bytes]:
        self.give()
        log = self._log.open("ab")
        process = subprocess.Popen(
            [IMAP, "-c", self._config],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env={"USER": OWNER.pw_name, "HOME": str(self.base), "PATH": os.environ["PATH"]},
            user=OWNER.pw_uid if os.getuid() == 0 else None,
            group=OWNER.pw_gid if os.getuid() == 0 else None,
            extra_groups=[] if os.getuid() == 0 else None,
        )
        log.close()
        assert process.stdin is not None
        process.stdin.write("".join(f"{c}\r\n" for c in self._tagged(commands)).encode())
        process.stdin.close()
        process.stdin = None
        return process

    def run(self, *commands: str) -> bytes:
        return self.start(*commands).communicate(timeout=30)[0]

    def imap(self, *commands: str) -> list[bytes]:
        """Run commands; all must be OK. Untagged lines are returned, INBOX is made if need be."""
        out = self.run(*commands)
        lines = out.split(b"\r\n")
        for tag, command in enumerate(commands):
            done = [line for line in lines if line.startswith(b"c%d " % tag)]
            assert done, (command, out, self.log)
            assert done[0].split()[1] == b"OK", (command, done, self.log)
        return [line for line in lines if line.startswith(b"* ")]

    def refuses(self, command: str) -> bool:
        return b"c0 NO" in self.run(command)

    def names(self) -> set[str]:
        """What LIST shows and can be opened. The attributes do not tell: Dovecot's list index keeps
        those of a mailbox that was removed but has inferiors (in Maildir++ also after a DELETE
        of its own), and of a level that has become a mailbox."""
        listed = self._listed('LIST "" *')
        out = self.run(*(f"STATUS {quoted(name)} (UIDNEXT)" for name in listed))
        return {name for tag, name in enumerate(listed) if b"c%d OK" % tag in out}

    def subscribed(self) -> set[str]:
        return set(self._listed('LSUB "" *'))

    def uid_validity(self, name: str) -> int:
        (line,) = self.imap(f"STATUS {quoted(name)} (UIDVALIDITY)")[-2:-1]
        return int(re.findall(rb"UIDVALIDITY (\d+)", line)[0])

    @property
    def log(self) -> list[str]:
        """What it found wrong with the tree, or with itself."""
        bad = ("Error:", "Warning:", "Panic:", "Fatal:")
        lines = self._log.read_text("utf-8", "replace").splitlines()
        return [line for line in lines if any(word in line for word in bad)]

    def _listed(self, command: str) -> list[str]:
        found = []
        for line in self.imap(command):
            if match := _LISTED.fullmatch(line):
                raw = match[2] or re.sub(rb"\\(.)", rb"\1", match[1])
                found.append(modutf7.decode(raw))
        return found

    @staticmethod
    def _tagged(commands: tuple[str, ...]) -> list[str]:
        return [*(f"c{tag} {command}" for tag, command in enumerate(commands)), "z LOGOUT"]

    def give(self) -> None:
        """What we have made as root, Dovecot must be able to change."""
        if os.getuid() == 0:
            for directory, subs, files in os.walk(self.base):
                for name in (".", *subs, *files):
                    path = os.path.join(directory, name)
                    os.chown(path, OWNER.pw_uid, OWNER.pw_gid, follow_symlinks=False)


def quoted(name: str) -> str:
    raw = modutf7.encode(name).decode()
    return '"' + raw.replace("\\", "\\\\").replace('"', '\\"') + '"'


def as_owner(call: Callable[[], object]) -> Any:
    """What a call returns that is made as the user that Dovecot runs as, for when both work at
    once. Goes through JSON."""
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads
        child = os.fork()
    if not child:
        try:
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(OWNER.pw_gid)
                os.setuid(OWNER.pw_uid)
            with open(write, "w") as file:
                json.dump(call(), file)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(write)
    with open(read) as file:
        text = file.read()
    assert os.waitpid(child, 0)[1] == 0
    return json.loads(text)


@contextmanager
def dovecot(kind: str) -> Iterator[Dovecot]:
    # Not pytest's tmp_path: nobody else may enter that.
    base = Path(tempfile.mkdtemp(prefix="pymap-dovecot-"))
    base.chmod(0o755)
    try:
        yield Dovecot(base, kind)
    finally:
        shutil.rmtree(base, ignore_errors=True)
