"""``pymap-admin append``: what a mail system runs for each message."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from server.client import becomes
from server.process import Process

from pymap.admin.cli.exits import Exit
from pymap.backend.dict import DictMailbox
from pymap.backend.errors import (
    BackendError,
    Corrupt,
    InUse,
    LimitReached,
    OverQuota,
    ReadOnly,
    TooBig,
    Unavailable,
)
from pymap.limits import Limits
from pymap.wire.types import InternalDate, UidSet

from .calls import content_of
from .command import ARGV, Done, environment, pymap_admin, start
from .conftest import Admin, Connect, StartAdmin

USER = "demouser"
MESSAGE = b"Subject: hello\n\nHello\n"
STORED = b"Subject: hello\r\n\r\nHello\r\n"


@pytest.fixture
async def alone(start_admin: StartAdmin) -> Admin:
    return await start_admin()


async def append(admin: Admin, *arguments: object, stdin: bytes = MESSAGE, **how: Any) -> Done:
    return await pymap_admin(admin.path, "append", *arguments, stdin=stdin, **how)


async def row_of(admin: Admin, name: str, uid: int) -> Any:
    async with admin.imap.backend.account(USER) as account:
        (row,) = await (await account.open(name)).metadata(UidSet.of(uid))
        return row


async def test_it_prints_two_lines(admin: Admin) -> None:
    validity, uid = (await append(admin, USER)).lines
    async with admin.imap.backend.account(USER) as account:
        assert validity == f"validity: {(await account.open('INBOX')).uid_validity}"
    assert uid == "uid: 105"
    assert await content_of(admin, "INBOX", 105) == STORED
    assert (await row_of(admin, "INBOX", 105)).flags == frozenset()
    assert abs((await row_of(admin, "INBOX", 105)).internal_date.seconds - time.time()) < 60


async def test_all_options(admin: Admin, tmp_path: Path) -> None:
    (tmp_path / "mail").write_bytes(b"Return-Path: <forged@x>\r\nA: 1\r\n\r\n")
    done = await append(
        admin, "--mailbox", "Sent", "--from", "me@example.com", "--to=you@example.com",
        "--timestamp", "2026-11-24T14:00:00+01:00", "--data", tmp_path / "mail", "--seen",
        "--flag", "$Forwarded", "--draft", "--flag", "\\answered", "--json", "--", USER, stdin=b"",
    )  # fmt: skip
    assert done.json["mailbox"] == "Sent"
    uid = done.json["uid"]
    assert await content_of(admin, "Sent", uid) == (
        b"Return-Path: <me@example.com>\r\nDelivered-To: you@example.com\r\nA: 1\r\n\r\n"
    )
    row = await row_of(admin, "Sent", uid)
    names = {flag.name for flag in row.flags}
    assert names == {"\\Seen", "$Forwarded", "\\Draft", "\\Answered"}
    assert row.internal_date.seconds == 1795525200


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("0", InternalDate(0)),
        ("1795525200.9", InternalDate(1795525200)),
        ("2026-11-24T14:00:00+01:00", InternalDate(1795525200, 60)),
        ("2026-11-24 13:00:00Z", InternalDate(1795525200)),
        ("20261124T130000+0000", InternalDate(1795525200)),
        ("2026-11-24T13:00:00", InternalDate(1795525200 - 5 * 3600, 300)),
        ("Tue, 24 Nov 2026 14:00:00 +0100", InternalDate(1795525200, 60)),
        ("24 Nov 2026 14:00:00 +0100", InternalDate(1795525200, 60)),
        ("2026-11-24T14:00:00+00:00:30", InternalDate(1795528770)),
    ],
)
async def test_timestamps(text: str, date: InternalDate, alone: Admin) -> None:
    done = await append(alone, USER, "--timestamp", text, env=environment(TZ="XYZ-5"))
    assert done.lines[1] == "uid: 1"
    found = (await row_of(alone, "INBOX", 1)).internal_date
    # An ISO date of another zone is converted to ours, for datetime does; the instant is the same.
    assert found.seconds == date.seconds
    assert found == date or text[:1] not in "01" or found.zone in (0, 300)


async def test_the_null_sender(alone: Admin) -> None:
    await append(alone, USER, "--from=")
    assert await content_of(alone, "INBOX", 1) == b"Return-Path: <>\r\n" + STORED


async def test_an_address_that_looks_like_an_option(alone: Admin) -> None:
    assert (await append(alone, USER, "--from=--mailbox=x@y", "--to=-f@y")).code == 0
    assert (await content_of(alone, "INBOX", 1)).startswith(b"Return-Path: <--mailbox=x@y>\r\n")
    (await append(alone, "--", "--json")).says(Exit.NO_USER, "No such user")


async def test_a_header_cannot_be_smuggled_in(alone: Admin) -> None:
    for option in ("--from", "--to"):
        done = await append(alone, USER, f"{option}=me@x>\r\nBcc: you@x")
        assert (done.code, done.out) == (Exit.DATA, "")
    assert (await row_count(alone)) == 0


async def row_count(admin: Admin) -> int:
    async with admin.imap.backend.account(USER) as account:
        return len((await (await account.open("INBOX")).snapshot()).uids)


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "text"),
    [
        (["nobody"], MESSAGE, Exit.NO_USER, "No such user"),
        ([""], MESSAGE, Exit.NO_USER, "No such user"),
        ([USER, "--mailbox", "Nope"], MESSAGE, Exit.CANNOT_CREATE, "No such mailbox: Nope"),
        ([USER, "--flag", "a b"], MESSAGE, Exit.DATA, "a b"),
        ([USER, "--flag", "\\Recent"], MESSAGE, Exit.DATA, "Recent"),
        ([USER], b"", Exit.NO_INPUT, "there is no message"),
        ([USER], b"From me Tue Nov 24 14:00:00 2026\n", Exit.DATA, "empty"),
        ([USER, "--data", "/nonexistent/x"], b"", Exit.NO_INPUT, "/nonexistent/x: No such file"),
    ],
)
async def test_what_goes_back_to_the_sender(
    arguments: list[str], stdin: bytes, code: Exit, text: str, alone: Admin
) -> None:
    (await append(alone, *arguments, stdin=stdin)).says(code, text)
    assert await row_count(alone) == 0


async def test_why_the_server_no_longer_listens(
    alone: Admin, caplog: pytest.LogCaptureFixture
) -> None:
    """It has refused the message long before its last piece is sent."""
    caplog.set_level(logging.INFO, "pymap.admin")
    process = await start("--socket", alone.path, "append", "nobody")
    assert process.stdin is not None
    process.stdin.write(b"x" * 100_000)
    assert await becomes(lambda: "NOUSER" in caplog.text)
    await process.stdin.drain()
    _, err = await process.communicate(b"x" * 500_000)
    assert (process.returncode, err) == (Exit.NO_USER, b"pymap-admin: No such user\n")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OverQuota(), Exit.CANNOT_CREATE),
        (TooBig(), Exit.CANNOT_CREATE),
        (LimitReached(), Exit.CANNOT_CREATE),
        (Unavailable(), Exit.LATER),
        (InUse(), Exit.LATER),
        (Corrupt(), Exit.LATER),
        (ReadOnly(), Exit.LATER),
        (RuntimeError("a bug"), Exit.LATER),
    ],
)
async def test_what_waits_and_what_does_not(
    error: Exception, code: Exit, alone: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(self: DictMailbox, messages: object) -> UidSet:
        raise error

    monkeypatch.setattr(DictMailbox, "append", fail)
    expected = str(error) if isinstance(error, BackendError) else "Internal error"
    (await append(alone, USER)).says(code, expected)


async def test_a_message_that_is_too_big(start_admin: StartAdmin) -> None:
    admin = await start_admin(limits=Limits(append=1_000_000))
    done = await append(admin, USER, stdin=b"A: 1\r\n\r\n" + b"x" * 20_000_000)
    done.says(Exit.CANNOT_CREATE, "too big")
    assert await row_count(admin) == 0
    assert (await append(admin, USER, stdin=b"A: 1\r\n\r\n" + b"x" * 900_000)).code == 0


async def test_a_large_message_is_sent_in_pieces(alone: Admin) -> None:
    """Not held in memory: of 60 MB the command needs a few."""
    process = await start("--socket", alone.path, "append", USER)
    stdin = process.stdin
    assert stdin is not None
    piece = b"x" * 998 + b"\r\n"
    stdin.write(b"A: 1\r\n\r\n")
    for _ in range(60):
        stdin.write(piece * 1000)
        await stdin.drain()
    peak = _peak(process.pid)
    stdin.close()
    assert process.stdout is not None
    assert (await process.stdout.read()).endswith(b"uid: 1\n")
    assert await process.wait() == 0
    assert len(await content_of(alone, "INBOX", 1)) == 60_000_008
    assert peak < 80 * 1024 * 1024


def _peak(pid: int) -> int:
    """Of a process, in octets of memory."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


async def test_somebody_types(alone: Admin) -> None:
    """A message may come slower than any timeout: only the server's answers are waited for."""
    process = await start("--socket", alone.path, "--timeout", "0.5", "append", USER)
    assert process.stdin is not None
    process.stdin.write(b"Subject: x\n")
    await process.stdin.drain()
    await asyncio.sleep(1)  # what is tested is that nothing happens in this time
    process.stdin.write(b"\nHello\n")
    process.stdin.close()
    assert (await process.communicate())[1] == b""
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, Exit.INTERRUPTED), (signal.SIGTERM, Exit.LATER), (signal.SIGHUP, Exit.LATER)],
)
async def test_an_interrupted_message_is_not_there(
    number: signal.Signals, code: Exit, alone: Admin
) -> None:
    process = await start("--socket", alone.path, "append", USER)
    assert process.stdin is not None
    process.stdin.write(b"Subject: half a mess" * 10_000)
    await process.stdin.drain()
    process.send_signal(number)
    out, err = await process.communicate()
    assert (process.returncode, out, err) == (code, b"", b"")
    assert await row_count(alone) == 0


async def test_a_file_that_says_nothing(alone: Admin, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    process = await start("--socket", alone.path, "append", USER, "--data", tmp_path / "pipe")
    try:
        with (tmp_path / "pipe").open("wb"):
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(20):
                assert await process.wait() == Exit.LATER
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_what_is_delivered_is_not_brought_again(alone: Admin) -> None:
    """Though the two lines cannot be printed."""
    reading, writing = os.pipe()
    os.close(reading)
    full = os.open("/dev/full", os.O_WRONLY)
    for stdout in (writing, full):
        done = await append(alone, USER, stdout=stdout)
        os.close(stdout)
        assert done.code == 0
        assert done.err.endswith("is in its mailbox, but its UID could not be printed\n")
    assert await row_count(alone) == 2


async def test_idle_clients_hear_of_it_at_once(admin: Admin, connect: Connect) -> None:
    client = await connect(admin)
    await client.login(b"INBOX")
    await client.idle()
    assert (await append(admin, USER)).code == 0
    assert await client.response() == b"* 5 EXISTS\r\n"


# -- a server of its own --


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Process]:
    """As an operator starts it."""
    process = Process(
        ["--admin-socket", str(tmp_path / "sock"), "dict", "--demo-data"], tmp_path / "log"
    )
    try:
        await process.ready()
        yield process
    finally:
        await process.kill()


async def test_a_shell_and_a_server(server: Process, tmp_path: Path) -> None:
    """The lines of the manual, as they stand there."""
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "pymap-admin"
    command.write_text(f'#!/bin/sh\nexec {" ".join(ARGV)} "$@"\n')
    command.chmod(0o755)
    script = "cat <<EOF | pymap-admin append demouser\nSubject: hello\n\nHello\nEOF\n"
    env = environment(
        PYMAP_ADMIN_SOCKET=str(tmp_path / "sock"),
        PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}",
    )
    process = await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", script, env=env, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert re.fullmatch(rb"validity: \d+\nuid: 105\n", out)
    assert process.returncode == 0


async def test_a_server_that_goes_away(server: Process, tmp_path: Path) -> None:
    process = await start("--socket", tmp_path / "sock", "append", USER)
    assert process.stdin is not None
    process.stdin.write(b"Subject: x\n\n" + b"x" * 1_000_000)
    await process.stdin.drain()
    await server.kill()
    out, err = await process.communicate(b"x" * 10_000_000)
    assert (process.returncode, out) == (Exit.LATER, b"")
    assert err.startswith(f"pymap-admin: {tmp_path / 'sock'}: ".encode())
    assert err.count(b"\n") == 1
