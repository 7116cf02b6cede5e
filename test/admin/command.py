"""`pymap-admin` as a process, or inside this one with a server that it talks to."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pymap.admin.cli.exits import Exit

ARGV = (sys.executable, "-W", "error", "-m", "pymap.admin.cli")


class Done(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Of a command that went well, and said nothing else."""
        assert (self.code, self.err) == (0, "")
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        assert (self.code, self.err) == (0, "")
        return self.out.splitlines()

    def says(self, code: Exit, text: str) -> None:
        """That it failed with this code, in one line that has this text, and printed nothing."""
        assert (self.code, self.out) == (code, ""), self
        assert self.err.startswith("pymap-admin"), self
        assert self.err.count("\n") == 1, self
        assert text in self.err, self


def environment(**more: str) -> Mapping[str, str]:
    """Without what the one who runs the tests has set."""
    kept = {name: value for name, value in os.environ.items() if "PYMAP" not in name}
    return {**kept, "TERM": "dumb", **more}


async def start(*arguments: object, **how: Any) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    how = {"stdin": pipe, "stdout": pipe, "stderr": pipe, "env": environment(), **how}
    return await asyncio.create_subprocess_exec(*ARGV, *map(str, arguments), **how)


async def pymap_admin(
    socket: Path | None, *arguments: object, stdin: bytes = b"", **how: Any
) -> Done:
    """The command, with that socket if there is one."""
    if socket is not None:
        arguments = ("--socket", socket, *arguments)
    process = await start(*arguments, **how)
    async with asyncio.timeout(60):
        out, err = await process.communicate(stdin)
    code = process.returncode
    assert code is not None
    return Done(code, (out or b"").decode("utf-8"), err.decode("utf-8"))
