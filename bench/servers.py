"""The servers under load: how each is started, filled and stopped.

A Peer listens on a free loopback port with everything it writes below one temporary directory.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import ClassVar

from . import messages, proc
from .client import TAG, Client, Failure

USER, PASSWORD = "demouser", "demopass"
REPOSITORY = Path(__file__).resolve().parent.parent

# One user has thousands of connections, and no admin service is to be measured with it.
LISTEN = (
    "--host", "127.0.0.1", "--no-service", "admin", "--limit", "connections_per_user=20000",
)  # fmt: skip
_START_S = 15
_GROUP = 64  # messages in one MULTIAPPEND: about 256 KiB
_GROUPS_AT_ONCE = 4
_MAILDIR_FLAGS = {"\\Seen": "S", "\\Answered": "R"}


class Peer(ABC):
    """One running server."""

    name: ClassVar[str]
    note: ClassVar[str]
    """The settings in which it runs, for the report."""
    mail_in_memory: ClassVar[bool] = False
    needs: ClassVar[str | None] = None
    """A program without which it is left out."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.dir = Path(tempfile.mkdtemp(prefix="pymap-bench-"))
        self.log = self.dir / "log"
        self.process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def version(self) -> str: ...

    @abstractmethod
    def command(self) -> Sequence[str]:
        """The command line, in the foreground."""

    @abstractmethod
    def load(self, name: str, n: int) -> None:
        """Create mailbox `name` with messages 0 to n-1, in this order."""

    def cannot_tell(self, listeners: int) -> str | None:
        """Why it cannot inform so many idling connections here, or None."""
        return None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        with self.log.open("ab") as log:
            # TZ: SINCE compares dates in the server's zone.
            self.process = subprocess.Popen(
                self.command(),
                cwd=REPOSITORY,
                env=os.environ | {"TZ": "UTC"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + _START_S
        while True:
            try:
                self.client().close()
                return
            except (OSError, Failure) as exc:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    tail = self.log.read_text(errors="replace")[-2000:]
                    raise Failure(f"{self.name} does not listen: {exc}\n{tail}") from exc
            time.sleep(0.05)

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def client(self, mailbox: str | None = None) -> Client:
        """A new connection, logged in; with `mailbox`, selected."""
        client = Client(self.port)
        client.login(USER, PASSWORD)
        if mailbox is not None:
            client.select(mailbox)
        return client

    def cpu_s(self) -> float:
        return proc.cpu_s(self.pid)

    def pss_bytes(self) -> int:
        return proc.pss_bytes(self.pid)

    def settle(self) -> None:
        proc.settle(self.pid)


class PymapDict(Peer):
    """pymap with its in-memory store; mail comes in through IMAP."""

    name = "pymap-dict"
    note = "one process, mail in memory, demo user, otherwise defaults"
    mail_in_memory = True

    def version(self) -> str:
        out = _output(sys.executable, "-m", "pymap", "--version")
        try:
            return f"{out}, uvloop {metadata.version('uvloop')}"
        except metadata.PackageNotFoundError:
            return f"{out}, asyncio's loop (no uvloop)"

    def command(self) -> Sequence[str]:
        listen = [*LISTEN, "--port", str(self.port)]
        demo = ["--demo-data", "--demo-user", USER, "--demo-password", PASSWORD]
        return [sys.executable, "-m", "pymap", *listen, "dict", *demo]

    def load(self, name: str, n: int) -> None:
        """Pipelined MULTIAPPEND with non-synchronizing literals.   RFC 3502, RFC 7888"""
        client = self.client()
        able = client.command("CAPABILITY").split()
        if b"LITERAL+" not in able:
            raise Failure(f"{self.name} has no LITERAL+: cannot load")
        size = _GROUP if b"MULTIAPPEND" in able else 1
        client.command(f"CREATE {name}")
        expected = 0
        for start in range(0, n, size * _GROUPS_AT_ONCE):
            stop = min(n, start + size * _GROUPS_AT_ONCE)
            requests = [
                append(name, range(first, min(stop, first + size)))
                for first in range(start, stop, size)
            ]
            if expected:  # the server stores a batch while we build the next
                _finish(client)
            expected = len(requests)
            client.send(b"".join(requests), expected)
        _finish(client)
        client.close()


class PymapMaildir(PymapDict):
    """pymap over the same tree as Dovecot, and durable like it."""

    name = "pymap-maildir"
    note = "one process, Maildir, durable, defaults"
    mail_in_memory = False

    @property
    def home(self) -> Path:
        return self.dir / "home"

    def command(self) -> Sequence[str]:
        users = self.dir / "users"
        users.write_text(f"{USER}:home/Maildir:{PASSWORD}\n")
        listen = [*LISTEN, "--port", str(self.port)]
        return [sys.executable, "-m", "pymap", *listen, "maildir", str(users)]

    def load(self, name: str, n: int) -> None:
        write_maildir(self.home / "Maildir" / f".{name}", n)
        client = self.client(name)
        client.close()


class PymapRedis(PymapDict):
    """pymap over a Redis of its own."""

    name = "pymap-redis"
    note = "one process; Redis on a UNIX socket, without persistence, not counted in CPU and memory"
    needs = "redis-server"

    def start(self) -> None:
        path = self.dir / "redis.sock"
        self.redis = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", str(path), "--save", ""],
            cwd=self.dir,
            stdout=subprocess.DEVNULL,
        )
        ask = ["redis-cli", "-s", str(path), "SET", USER, PASSWORD]
        deadline = time.monotonic() + _START_S
        while subprocess.run(ask, capture_output=True, check=False).stdout.strip() != b"OK":
            if time.monotonic() > deadline:
                raise Failure("redis-server does not answer")
            time.sleep(0.02)
        super().start()

    def command(self) -> Sequence[str]:
        listen = [*LISTEN, "--port", str(self.port)]
        return [sys.executable, "-m", "pymap", *listen, "redis", f"unix://{self.dir}/redis.sock"]

    def stop(self) -> None:
        super().stop()
        self.redis.terminate()
        self.redis.wait()


class Dovecot(Peer):
    """Debian's Dovecot over Maildir. Mail is written as files and indexed at the first SELECT:
    100,000 durable APPENDs would take minutes and measure the disk."""

    name = "dovecot"
    note = (
        "Maildir, default caching and fsync, default one process per login and per session; "
        "process and connection limits raised"
    )
    needs = "dovecot"
    extra: ClassVar[str] = ""

    def version(self) -> str:
        return _output("dovecot", "--version")

    def command(self) -> Sequence[str]:
        self.dir.chmod(0o755)  # the mail user passes through
        self.home.mkdir(exist_ok=True)
        shutil.chown(self.home, *_mail_owner())
        conf = self.dir / "dovecot.conf"
        conf.write_text(self._conf())
        return ["dovecot", "-F", "-c", str(conf)]

    @property
    def home(self) -> Path:
        return self.dir / "home"

    def load(self, name: str, n: int) -> None:
        write_maildir(self.home / "Maildir" / f".{name}", n)
        uid, gid = _mail_owner()
        if os.getuid() != uid:
            subprocess.run(["chown", "-R", f"{uid}:{gid}", str(self.home)], check=True)
        client = self.client(name)
        client.close()

    def cannot_tell(self, listeners: int) -> str | None:
        # Each imap process that IDLEs holds one inotify instance of the mail user; without it
        # Dovecot looks every 30 s.
        limit = int(Path("/proc/sys/fs/inotify/max_user_instances").read_text())
        if listeners + 8 > limit:
            return f"fs.inotify.max_user_instances = {limit}"
        return None

    def _conf(self) -> str:
        uid, gid = _mail_owner()
        conf = f"""
            base_dir = {self.dir}/run
            state_dir = {self.dir}/state
            log_path = {self.log}
            protocols = imap
            listen = 127.0.0.1
            ssl = no
            disable_plaintext_auth = no
            mail_location = maildir:~/Maildir
            first_valid_uid = 1
            first_valid_gid = 1
            mail_max_userip_connections = 100000
            default_client_limit = 20000
            default_process_limit = 8000
            passdb {{
              driver = static
              args = password={PASSWORD}
            }}
            userdb {{
              driver = static
              args = uid={uid} gid={gid} home={self.home}
            }}
            service imap-login {{
              inet_listener imap {{
                port = {self.port}
              }}
              inet_listener imaps {{
                port = 0
              }}
            }}
            service imap {{
              process_limit = 8000
            }}
            {self.extra}
        """
        if os.getuid() != 0:
            me = _output("id", "-un")
            conf += f"""
            default_internal_user = {me}
            default_login_user = {me}
            default_internal_group = {_output("id", "-gn")}
            service anvil {{
              chroot =
            }}
            service imap-login {{
              chroot =
            }}
            """
        return conf


class DovecotTuned(Dovecot):
    """Dovecot's documented high-performance mode: processes are used again."""

    name = "dovecot-tuned"
    note = "as dovecot, with login processes that stay and session processes used again"
    extra = """
            service imap-login {
              service_count = 0
              process_min_avail = 2
            }
            service imap {
              service_count = 1000
              process_min_avail = 2
            }
    """


PEERS: dict[str, type[Peer]] = {
    p.name: p for p in (PymapDict, PymapMaildir, PymapRedis, Dovecot, DovecotTuned)
}


def write_maildir(box: Path, n: int) -> None:
    """Files as Dovecot's own delivery writes them: LF, sizes in the name, date as mtime."""
    for sub in ("cur", "new", "tmp"):
        (box / sub).mkdir(parents=True, exist_ok=True)
    cur = box / "cur"
    for i in range(n):
        raw = messages.message(i)
        octets = raw.replace(b"\r\n", b"\n")
        letters = sorted(_MAILDIR_FLAGS[flag] for flag in messages.flags(i))
        date = messages.internal_date(i)
        path = f"{cur}/{date}.M1P{i}.bench,S={len(octets)},W={len(raw)}:2,{''.join(letters)}"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(fd, octets)
        os.close(fd)
        os.utime(path, (date, date))


def append(name: str, indexes: Sequence[int]) -> bytes:
    """One APPEND of messages 0..; more than one make it a MULTIAPPEND."""
    parts = [TAG + b" APPEND " + name.encode()]
    for i in indexes:
        raw = messages.message(i)
        flags = " ".join(messages.flags(i))
        head = f' ({flags}) "{messages.imap_date_time(i)}" {{{len(raw)}+}}\r\n'
        parts += [head.encode(), raw]
    return b"".join(parts) + b"\r\n"


def _finish(client: Client) -> None:
    while not client.feed():
        pass
    client.response()


def _mail_owner() -> tuple[int, int]:
    """Dovecot refuses to serve root's mail."""
    return (os.getuid(), os.getgid()) if os.getuid() else (1000, 1000)


def _output(*command: str) -> str:
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    if done.returncode:
        raise Failure(f"{' '.join(command)}: {done.stderr.strip()[-500:]}")
    return done.stdout.strip()
