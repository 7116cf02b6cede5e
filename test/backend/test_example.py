"""The example of docs/backends.md passes the suite, speaks IMAP, and is what the page shows."""

from __future__ import annotations

import asyncio
import imaplib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from docs import example_backend
from docs.example_backend import SqliteBackend
from pymap.backend.api import Backend
from pymap.backend.conformance import BackendConformance, new_message
from pymap.backend.errors import Unavailable
from pymap.imap.server import serve

SOURCE = Path(example_backend.__file__)
GUIDE = SOURCE.with_name("backends.md")


class TestExample(BackendConformance):
    @pytest.fixture
    async def backend(self, tmp_path: Path) -> AsyncIterator[SqliteBackend]:
        backend = SqliteBackend(tmp_path / "mail.db")
        await backend.start()
        yield backend
        await backend.stop()

    async def reopen(self, backend: Backend) -> Backend:
        assert isinstance(backend, SqliteBackend)
        await backend.stop()
        again = SqliteBackend(backend.database.path)
        await again.start()
        return again


def _session(host: str, port: int) -> None:
    with imaplib.IMAP4(host, port, timeout=10) as client:
        client.login("alice", "secret")
        client.create("Work")
        client.subscribe("Work")
        mail = b"From: a@example.com\r\nSubject: hello\r\n\r\nworld\r\n"
        code, [answer] = client.append("Work", r"(\Flagged $New)", "", mail)
        assert code == "OK"
        assert re.search(rb"APPENDUID \d+ 1\]", answer)
        assert client.select("Work") == ("OK", [b"1"])
        _, found = client.fetch("1", "(FLAGS RFC822.SIZE ENVELOPE BODY.PEEK[])")
        assert isinstance(found[0], tuple)
        assert b'"hello"' in found[0][0]
        assert found[0][1] == mail
        assert client.store("1", "+FLAGS", r"(\Deleted)")[0] == "OK"
        assert client.search(None, "DELETED", "KEYWORD", "$new") == ("OK", [b"1"])
        assert client.copy("1", "INBOX")[0] == "OK"
        assert client.expunge() == ("OK", [b"1"])
        assert client.status("Work", "(MESSAGES UIDNEXT)")[1] == [b"Work (MESSAGES 0 UIDNEXT 2)"]
        client.close()
        assert client.rename("Work", "Play/Ground")[0] == "OK"
        names = [line.rpartition(b" ")[2] for line in client.list()[1] if isinstance(line, bytes)]
        assert names == [b"INBOX", b"Play", b"Play/Ground"]
        assert client.delete("Play/Ground")[0] == "OK"


async def test_a_client_uses_it(tmp_path: Path) -> None:
    async with serve(SqliteBackend(tmp_path / "mail.db", {"alice": "secret"})) as server:
        await asyncio.to_thread(_session, *server.addresses[0])
    again = SqliteBackend(tmp_path / "mail.db")
    async with serve(again) as server, again.account("alice") as account:
        assert (await (await account.open("INBOX")).status()).messages == 1


async def test_idle_hears_of_new_mail(tmp_path: Path) -> None:
    backend = SqliteBackend(tmp_path / "mail.db", {"alice": "secret"})
    async with serve(backend) as server, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(*server.addresses[0])
        writer.write(b"1 LOGIN alice secret\r\n2 SELECT INBOX\r\n3 IDLE\r\n")
        await reader.readuntil(b"+ idling\r\n")
        async with backend.account("alice") as account:
            await (await account.open("INBOX")).append([new_message()])
        assert await reader.readline() == b"* 1 EXISTS\r\n"
        writer.write(b"DONE\r\n4 LOGOUT\r\n")
        assert (await reader.read()).endswith(b"4 OK LOGOUT completed\r\n")
        writer.close()
        await writer.wait_closed()


async def test_what_the_library_raises_is_translated(tmp_path: Path) -> None:
    backend = SqliteBackend(tmp_path / "mail.db")
    await backend.start()
    backend.database.connection.execute("DROP TABLE subscriptions")
    async with backend.account("alice") as account:
        with pytest.raises(Unavailable):
            await account.subscriptions()
    await backend.stop()
    with pytest.raises(OSError, match="unable to open"):
        await SqliteBackend(tmp_path / "nowhere" / "mail.db").start()


# -- as a plugin --


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """The environment of a process that has the example installed, as its pyproject.toml says."""
    entry_points = _block("toml").partition('[project.entry-points."pymap.backend"]\n')[2]
    assert entry_points
    site = tmp_path / "site"
    info = site / "pymap_example-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pymap-example\nVersion: 0.1\n")
    declared = entry_points.partition("\n[")[0].replace('"', "")
    (info / "entry_points.txt").write_text(f"[pymap.backend]\n{declared}")
    (site / "example_backend.py").write_bytes(SOURCE.read_bytes())
    return {**os.environ, "PYTHONPATH": str(site)}


async def _pymap(environment: dict[str, str], *args: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pymap", *args, env=environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip


async def test_it_runs_as_a_plugin(tmp_path: Path, installed: dict[str, str]) -> None:
    file = str(tmp_path / "mail.db")
    async with asyncio.timeout(20):
        process = await _pymap(
            installed, "--host", "127.0.0.1", "--port", "0", "--no-service", "admin",
            "example", file, "--user", "alice:secret",
        )  # fmt: skip
        assert process.stdout is not None
        try:
            line = (await process.stdout.readline()).decode()
            found = re.search(r"127\.0\.0\.1:(\d+)", line)
            assert found, line
            await asyncio.to_thread(_session, "127.0.0.1", int(found[1]))
        finally:
            process.send_signal(signal.SIGTERM)
            rest, _ = await process.communicate()
        assert process.returncode == 0, rest.decode()


async def test_a_file_that_cannot_be_opened_is_one_line(
    tmp_path: Path, installed: dict[str, str]
) -> None:
    async with asyncio.timeout(20):
        process = await _pymap(installed, "--port", "0", "example", str(tmp_path))
        output, _ = await process.communicate()
    assert process.returncode == 1
    assert output.decode() == f"pymap: {tmp_path}: unable to open database file\n"


# -- the page --


def _block(language: str) -> str:
    return GUIDE.read_text("utf-8").partition(f"```{language}\n")[2].partition("```")[0]


def test_the_page_shows_the_file() -> None:
    """Each Python block stands in the file as it is; each `# step:` of the file has a heading."""
    page, source = GUIDE.read_text("utf-8"), SOURCE.read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    parts = [part for block in blocks for part in re.split(r"^ *\.\.\.\n", block, flags=re.M)]
    assert len(blocks) > 5
    wanting = [part for part in parts if part.strip("\n") not in source]
    # The test class that the page proposes is the one above.
    mine = Path(__file__).read_text("utf-8")
    assert not [part for part in wanting if part.strip("\n") not in mine]
    steps = re.findall(r"^ *# step: (.+)$", source, re.MULTILINE)
    headings = [heading.lower() for heading in re.findall(r"^### \d+\. (.+)$", page, re.MULTILINE)]
    assert headings == steps
