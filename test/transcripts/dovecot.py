"""Run a command beside a private Dovecot: a second opinion on the transcripts.

    python test/transcripts/dovecot.py python -m pytest test/transcripts

Everything lives in a temporary directory, on loopback and a free port; any user name is let in with
the password "demopass", so each case gets a store of its own by taking a new name.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CONFIG = """
base_dir = {base}/run
state_dir = {base}/run
log_path = {base}/log
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
mail_uid = {user}
mail_gid = {group}
first_valid_uid = 1
first_valid_gid = 1
mail_home = {base}/mail/%u
mail_location = maildir:~/Maildir:LAYOUT=fs
mail_max_userip_connections = 0
mailbox_list_index = yes
mail_max_keyword_length = 100
mail_attribute_dict = file:%h/Maildir/dovecot-attributes
protocol imap {{
  imap_metadata = yes
}}
imap_idle_notify_interval = 10 secs
namespace inbox {{
  inbox = yes
  separator = /
  mailbox Sent {{
    special_use = \\Sent
  }}
  mailbox Trash {{
    special_use = \\Trash
  }}
  mailbox Drafts {{
    special_use = \\Drafts
  }}
}}
mail_plugins = acl
protocol imap {{
  mail_plugins = acl imap_acl
}}
plugin {{
  acl = vfile
  acl_anyone = allow
  acl_shared_dict = file:{base}/mail/shared
}}
namespace others {{
  type = shared
  separator = /
  prefix = Other Users/%%u/
  location = maildir:{base}/mail/%%u/Maildir:LAYOUT=fs
  subscriptions = no
  list = children
}}
service imap-login {{
  chroot =
  process_limit = 4
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
  args = password=demopass
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={base}/mail/%u
}}
"""


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


def wait_for(port: int, timeout_s: float = 10) -> None:
    end = time.monotonic() + timeout_s
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as s:
                if s.recv(4).startswith(b"* OK"):
                    return
        except OSError:
            if time.monotonic() > end:
                raise
        time.sleep(0.05)


def main(command: list[str]) -> int:
    owner = pwd.getpwnam("nobody")
    base = Path(tempfile.mkdtemp(prefix="pymap-dovecot-"))
    base.chmod(0o755)
    (base / "mail").mkdir()
    if os.getuid() == 0:
        os.chown(base / "mail", owner.pw_uid, owner.pw_gid)
    port = free_port()
    config = base / "dovecot.conf"
    config.write_text(CONFIG.format(base=base, port=port, user=owner.pw_uid, group=owner.pw_gid))
    server = subprocess.Popen(["/usr/sbin/dovecot", "-F", "-c", str(config)])
    try:
        wait_for(port)
        env = {
            **os.environ,
            "PYMAP_TEST_ENDPOINT": f"127.0.0.1:{port}",
            "PYMAP_TEST_PEER": "dovecot",
        }
        return subprocess.run(command, env=env, check=False).returncode
    finally:
        server.terminate()
        server.wait(20)
        if "PYMAP_TEST_KEEP" not in os.environ:
            shutil.rmtree(base, ignore_errors=True)
        else:
            print(f"kept {base}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
