"""A private Dovecot on the tree of a `Place`: what it shows is what pymap must show.

It runs as the owner of the tree, on loopback and a free port, with its sockets and its log in a
directory of its own. Every user name is let in with the password `PASSWORD`.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from server.client import Client, becomes
from transcripts.dovecot import free_port

DOVECOT = Path("/usr/sbin/dovecot")
PASSWORD = "demopass"

CONFIG = """
base_dir = {base}/run
state_dir = {base}/run
log_path = {base}/log
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
auth_failure_delay = 0
{rootless}
mail_uid = {user}
mail_gid = {group}
first_valid_uid = 0
first_valid_gid = 0
mail_home = {mail}/%u
mail_location = maildir:~/Maildir{layout}
mail_fsync = optimized
mail_max_userip_connections = 0
mail_max_keyword_length = 100
imap_idle_notify_interval = 10 secs
namespace inbox {{
  inbox = yes
  separator = /
}}
service anvil {{
  chroot =
}}
service imap-login {{
  chroot =
  process_limit = 2
  service_count = 0
  client_limit = 1000
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service imap {{
  process_limit = 512
}}
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={mail}/%u
}}
"""

# Dovecot's own unprivileged users are for root to switch to.
ROOTLESS = """
default_internal_user = {name}
default_internal_group = {group}
default_login_user = {name}
"""


ACL = """
mail_plugins = acl
protocol imap {{
  mail_plugins = acl imap_acl
}}
plugin {{
  acl = vfile
  acl_anyone = allow
  acl_shared_dict = file:{mail}/shared
}}
namespace others {{
  type = shared
  separator = /
  prefix = Other Users/%%u/
  location = maildir:{mail}/%%u/Maildir{layout}
  subscriptions = no
  list = children
}}
"""


class Dovecot:
    def __init__(
        self,
        base: Path,
        mail: Path,
        layout: str,
        owner: pwd.struct_passwd,
        acl: bool = False,
        more: str = "",
    ) -> None:
        """`base` is for its own files, `mail` holds USER/Maildir, in `layout` ``++`` or ``fs``. With
        `acl` users see what others share with them; `more` stands behind the configuration."""
        if not DOVECOT.exists():
            pytest.fail(
                f"{DOVECOT} is not there (Debian package dovecot-imapd); scripts/test installs it"
            )
        self.base, self.port = base, free_port()
        self.log = base / "log"
        base.mkdir()
        base.chmod(0o755)
        config = base / "dovecot.conf"
        rootless = "" if os.getuid() == 0 else ROOTLESS.format(name=owner.pw_name, group=_group())
        config.write_text(
            CONFIG.format(
                base=base,
                mail=mail,
                layout=":LAYOUT=fs" if layout == "fs" else "",
                port=self.port,
                password=PASSWORD,
                user=owner.pw_uid,
                group=owner.pw_gid,
                rootless=rootless,
            )
            + (ACL.format(mail=mail, layout=":LAYOUT=fs" if layout == "fs" else "") if acl else "")
            + more
        )
        with (base / "out").open("wb") as out:
            self.popen = subprocess.Popen(
                [DOVECOT, "-F", "-c", config],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self.addresses = [("127.0.0.1", self.port)]

    @property
    def output(self) -> str:
        return self.log.read_text("utf-8", "backslashreplace") if self.log.exists() else ""

    async def ready(self) -> None:
        async with asyncio.timeout(20):
            while True:
                assert self.popen.poll() is None, self.output
                try:
                    client = await Client.connect(self.addresses[0])
                except OSError:
                    await asyncio.sleep(0.02)
                    continue
                await client.close()
                if client.greeting.startswith(b"* OK"):
                    return

    def complaints(self) -> list[str]:
        """What it found wrong with the tree."""
        bad = ("Error: ", "Warning: ", "Panic: ", "Fatal: ")
        lines = [line for line in self.output.splitlines() if " imap(" in line]
        return [line for line in lines if any(word in line for word in bad)]

    async def stop(self) -> None:
        """At the end nothing of it runs any more: it has written all it knows."""
        # Those of clients end in order. Nothing else of it touches mail, and the master alone
        # would take a second.
        for process in self._processes(b"imap"):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)
        in_order = await becomes(lambda: not self._processes(b"imap"), 20)
        await self.kill()
        assert in_order, self.output

    async def kill(self) -> None:
        for process in self._processes():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.popen.wait(20)
        assert await becomes(lambda: not self._processes(), 20), self.output

    def _processes(self, name: bytes | None = None) -> list[int]:
        """Those of its session that still run; the master began it."""
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                before, _, after = path.read_bytes().rpartition(b")")
            except OSError:
                continue
            state, _, _, session = after.split()[:4]
            if int(session) == self.popen.pid and state != b"Z":
                if name is None or before.endswith(b"(" + name):
                    found.append(int(path.parent.name))
        return found


def _group() -> str:
    import grp

    return grp.getgrgid(os.getgid()).gr_name
