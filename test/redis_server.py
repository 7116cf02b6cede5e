"""A redis-server of the tests' own: on a socket in a directory, without a file on disk unless asked
for. Its absence fails the tests."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path
from tempfile import mkdtemp

__all__ = ["RedisCluster", "RedisServer", "free_ports"]

START_S = 10.0


class RedisServer:
    """One redis-server process; `url` is where it listens."""

    def __init__(self, *options: str, port: int = 0) -> None:
        program = shutil.which("redis-server")
        assert program, "redis-server is not installed (Debian: apt-get install redis-server)"
        # Not below pytest's own directory: the path of a socket may have 107 octets.
        self.directory = Path(mkdtemp(prefix="pymap-redis-"))
        self.path = self.directory / "s"
        self.port = port
        self.url = f"unix://{self.path}"
        self.command = [
            program, "--port", str(port), "--bind", "127.0.0.1", "--unixsocket", str(self.path),
            "--dir", str(self.directory), "--save", "", "--enable-debug-command", "local", *options,
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers."""
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(self.command, stdout=log, stderr=log)
        deadline = time.monotonic() + START_S
        while True:
            try:
                if self.ask("PING") == b"+PONG\r\n":
                    return
            except OSError:
                pass
            assert self._process.poll() is None, (self.directory / "log").read_text()
            assert time.monotonic() < deadline, (self.directory / "log").read_text()
            time.sleep(0.005)

    def ask(self, *words: str) -> bytes:
        """One command on a connection of its own; the answer as it comes, if it is a short one."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(START_S)
            sock.connect(str(self.path))
            octets = [word.encode() for word in words]
            request = b"*%d\r\n" % len(octets)
            sock.sendall(request + b"".join(b"$%d\r\n%b\r\n" % (len(o), o) for o in octets))
            return sock.recv(1 << 16)

    def must(self, *words: str) -> bytes:
        """`ask`, unless the answer is an error."""
        answer = self.ask(*words)
        assert not answer.startswith(b"-"), (words, answer)
        return answer

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


class RedisCluster:
    """Three nodes with a third of the slots each."""

    def __init__(self) -> None:
        self.nodes = [RedisServer("--cluster-enabled", "yes", port=port) for port in free_ports(3)]
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        self.url = f"redis+cluster://{hosts}"

    def start(self) -> None:
        for node in self.nodes:
            node.start()
        self.ids = [node.must("CLUSTER", "MYID").split()[1].decode() for node in self.nodes]
        for at, node in enumerate(self.nodes):
            first, last = 16384 * at // 3, 16384 * (at + 1) // 3 - 1
            node.must("CLUSTER", "ADDSLOTSRANGE", str(first), str(last))
            node.must("CLUSTER", "SET-CONFIG-EPOCH", str(at + 1))
        for node in self.nodes[1:]:
            node.must("CLUSTER", "MEET", "127.0.0.1", str(self.nodes[0].port))
        deadline = time.monotonic() + START_S
        for node in self.nodes:
            while not self._joined(node):
                assert time.monotonic() < deadline, node.ask("CLUSTER", "INFO")
                time.sleep(0.02)

    @staticmethod
    def _joined(node: RedisServer) -> bool:
        info = node.ask("CLUSTER", "INFO")
        return b"cluster_state:ok" in info and b"cluster_known_nodes:3" in info

    def empty(self) -> None:
        for node in self.nodes:
            node.must("FLUSHALL")

    def close(self) -> None:
        for node in self.nodes:
            node.close()


def free_ports(count: int) -> list[int]:
    """Free ones; ten thousand higher is the port of the nodes' own talk, which must be one too."""
    found: list[int] = []
    for port in range(20_000, 50_000, 7):
        try:
            for number in (port, port + 10_000):
                with socket.socket() as sock:
                    sock.bind(("127.0.0.1", number))
        except OSError:
            continue
        found.append(port)
        if len(found) == count:
            break
    return found
