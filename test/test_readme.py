"""The README is true: its session answers as printed, its lines of Python run."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

from pymap.imap.server import Server

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
SERVER_LINE = re.compile(r"\* |\+ |\. (OK|NO|BAD)\b")


def _session() -> list[str]:
    printed = README.partition("<!-- session -->")[2].partition("<!-- end of session -->")[0]
    return printed.strip().strip("`").strip("\n").split("\n")


async def test_the_session_answers_as_printed(
    imap_server: Callable[..., Awaitable[Server]],
) -> None:
    server = await imap_server("demo")
    reader, writer = await asyncio.open_connection(*server.addresses[0])
    heard = 0
    async with asyncio.timeout(10):
        for line in _session():
            if SERVER_LINE.match(line):
                answer = (await reader.readline()).decode("utf-8").rstrip("\r\n")
                pattern = ".*".join(map(re.escape, line.split("...")))
                assert re.fullmatch(pattern, answer), (line, answer)
                heard += 1
            else:
                writer.write(line.encode("utf-8") + b"\r\n")
        assert await reader.read() == b"", "nothing is left unsaid"
    assert heard > 20
    writer.close()
    await writer.wait_closed()


def test_the_lines_of_python_run() -> None:
    block = README.partition("## Inside a program")[2].partition("```python\n")[2]
    code = block.partition("```")[0]
    body = "".join(f"    {line}\n" for line in code.splitlines())
    scope: dict[str, Callable[[], Awaitable[tuple[str, int]]]] = {}
    exec(f"async def run():\n{body}    return host, port\n", {}, scope)

    async def run() -> tuple[str, int]:
        return await scope["run"]()

    host, port = asyncio.run(run())
    assert host == "127.0.0.1"
    assert port > 0
