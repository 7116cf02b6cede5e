"""A server in a process of its own: its memory, its log, its end."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from .client import becomes

_PLACE = re.compile(r"(?:\[([0-9a-f:]+)\]|([0-9.]+)):(\d+)(?=[ ;]|$)")


class Process:
    def __init__(self, arguments: list[str], log: Path, host: str | None = "127.0.0.1") -> None:
        """On `host`, unless it is None or --host is given, and on a free port without --port."""
        if "--port" not in arguments:
            arguments = ["--port", "0", *arguments]
        if "--host" not in arguments and host is not None:
            arguments = ["--host", host, *arguments]
        self.log = log
        with log.open("wb") as out:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "pymap", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        self.addresses: list[tuple[str, int]] = []

    @property
    def output(self) -> str:
        return self.log.read_text("utf-8", "backslashreplace")

    async def ready(self) -> None:
        """Once it has said what listens where."""
        async with asyncio.timeout(20):
            while not (
                lines := [
                    x for x in self.output.splitlines(True) if ": IMAP" in x and x.endswith("\n")
                ]
            ):
                assert self.popen.poll() is None, self.output
                await asyncio.sleep(0.01)
        places = lines[0].partition(" on ")[2].strip()
        self.addresses = [(six or four, int(port)) for six, four, port in _PLACE.findall(places)]
        assert self.addresses, lines[0]

    def status(self, name: str) -> str:
        """A line of what Linux says of it."""
        text = Path(f"/proc/{self.popen.pid}/status").read_text()
        found = re.search(rf"^{name}:\s+(.*)$", text, re.MULTILINE)
        assert found is not None
        return found[1]

    def _size(self, name: str) -> int:
        return int(self.status(name).removesuffix(" kB")) * 1024

    @property
    def memory(self) -> int:
        """Resident now, in octets."""
        return self._size("VmRSS")

    @property
    def peak(self) -> int:
        """Resident at most, since the last `forget_peak`."""
        return self._size("VmHWM")

    def forget_peak(self) -> None:
        Path(f"/proc/{self.popen.pid}/clear_refs").write_text("5")

    @property
    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.popen.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.popen.pid}/fd").iterdir()))

    def signal(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    async def ended(self, within_s: float = 20) -> int:
        """Its exit code."""
        assert await becomes(lambda: self.popen.poll() is not None, within_s), "it does not end"
        code: int = self.popen.returncode
        return code

    async def kill(self) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
        await self.ended()
