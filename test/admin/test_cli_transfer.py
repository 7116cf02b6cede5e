"""``pymap-admin import`` and ``export``: the real command, over each store."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import signal
from pathlib import Path
from typing import Any

import pytest
from server.client import becomes

from pymap.admin import imports
from pymap.admin.cli.exits import Exit
from pymap.backend.dict import DictMailbox
from pymap.backend.errors import OverQuota
from pymap.imap.append import new_message
from pymap.limits import Limits
from pymap.wire.types import InternalDate, UidSet

from .command import environment, pymap_admin, start
from .conftest import Admin, StartAdmin
from .mail import files

USER = "demouser"
FROM = b"From a@b Tue Nov 24 14:00:00 2026\n"
FORMATS = ("mbox", "maildir", "eml")


@pytest.fixture
async def alone(start_admin: StartAdmin) -> Admin:
    return await start_admin()


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


async def mail_of(admin: Admin, user: str = USER) -> dict[str, list[Any]]:
    """Everything of a user, by mailbox: flags, internal date, content."""
    found = {}
    async with admin.imap.backend.account(user) as account:
        for info in await account.mailboxes():
            if info.id is not None:
                mailbox = await account.open(info.name)
                uids = UidSet.from_sorted((await mailbox.snapshot()).uids)
                found[info.name] = [
                    (row.flags, row.internal_date.seconds, await mailbox.content(row.uid))
                    for row in await mailbox.metadata(uids)
                ]
    return found


# -- there and back --


@pytest.mark.parametrize("format", FORMATS)
async def test_what_one_user_exports_another_imports(
    format: str, admin: Admin, tmp_path: Path
) -> None:
    path = tmp_path / "out"
    await pymap_admin(admin.path, "mailbox", "create", USER, "Größe/日本 & Co")
    await pymap_admin(
        admin.path, "append", USER, "--mailbox", "Größe/日本 & Co", "--flag", "$Forwarded",
        stdin=b"A: 1\r\n\r\nFrom me\r\n>From you\r\n\0\xff\nno end",
    )  # fmt: skip
    done = await pymap_admin(admin.path, "export", "--format", format, USER, path, "--json")
    before = await mail_of(admin)
    names = {mailbox["name"] for mailbox in done.json["mailboxes"]}
    assert names == before.keys()
    assert done.json["messages"] == sum(map(len, before.values()))
    assert done.json["octets"] == sum(len(m[2]) for mails in before.values() for m in mails)
    await pymap_admin(admin.path, "user", "add", "alice", "--stdin", stdin=b"x")
    command = ("import", "alice", path, "--recursive", "--create")
    found = (await pymap_admin(admin.path, *command, "--json")).json
    assert found == {"messages": done.json["messages"], "octets": done.json["octets"]}
    after = await mail_of(admin, "alice")
    assert after == {name: mails for name, mails in before.items() if mails or name in after}
    assert (await pymap_admin(admin.path, "check", "alice")).lines[0].startswith("all is well")


async def test_export_of_some_and_again(admin: Admin, tmp_path: Path) -> None:
    path = tmp_path / "out"
    command = ("export", USER, path, "--format", "mbox", "--mailbox", "Sent", "--mailbox", "INBOX")
    lines = (await pymap_admin(admin.path, *command)).lines
    assert lines[:2] == ["mailboxes: 2", "messages: 6"]
    assert sorted(os.listdir(path)) == ["INBOX.mbox", "Sent.mbox"]
    before = files(path)
    (await pymap_admin(admin.path, *command)).says(Exit.CANNOT_CREATE, "out: is not empty")
    assert (await pymap_admin(admin.path, *command, "--force")).code == 0
    assert files(path) == before
    done = await pymap_admin(admin.path, "export", USER, path, "--format", "eml", "--force")
    done.says(Exit.CANNOT_CREATE, "was made by no export of this format")
    assert files(path) == before
    for arguments, code, text in (
        (["nobody", tmp_path / "new"], Exit.NO_USER, "No such user"),
        ([USER, tmp_path / "new", "--mailbox", "Nope"], Exit.DATA, "No such mailbox: Nope"),
        ([USER, tmp_path / "no" / "way"], Exit.CANNOT_CREATE, "No such file or directory"),
        ([USER, path / "Sent.mbox"], Exit.CANNOT_CREATE, "is no directory"),
    ):
        (await pymap_admin(admin.path, "export", *arguments, "--format", "eml")).says(code, text)
    assert sorted(os.listdir(tmp_path / "out")) == ["INBOX.mbox", "Sent.mbox"]
    assert not (tmp_path / "new").exists()


async def test_export_to_a_pipe(admin: Admin, tmp_path: Path) -> None:
    command = ("export", USER, "--format", "mbox", "--mailbox", "INBOX")
    done = await pymap_admin(admin.path, *command, "-")
    assert (done.code, done.err) == (0, "")
    await pymap_admin(admin.path, *command, tmp_path / "out")
    assert (tmp_path / "out" / "INBOX.mbox").read_text("utf-8") == done.out
    for arguments in (("--format", "mbox"), ("--format", "eml", "--mailbox", "INBOX")):
        done = await pymap_admin(admin.path, "export", USER, "-", *arguments)
        done.says(Exit.USAGE, "one --mailbox, as mbox")


async def test_a_name_without_a_place_is_told_and_the_rest_is_there(
    alone: Admin, tmp_path: Path
) -> None:
    for name in ("v1.2", "Work"):
        await pymap_admin(alone.path, "mailbox", "create", USER, name)
        await pymap_admin(alone.path, "append", USER, "--mailbox", name, stdin=b"A: 1\n\n")
    command = ("export", USER, tmp_path / "out", "--format", "maildir")
    done = await pymap_admin(alone.path, *command)
    assert done.code == Exit.CANNOT_CREATE
    assert done.out.splitlines()[:2] == ["mailboxes: 2", "messages: 1"]
    assert done.err.startswith("pymap-admin: v1.2: left out: ")
    assert (tmp_path / "out" / ".Work" / "cur").is_dir()
    done = await pymap_admin(alone.path, *command, "--force", "--layout", "fs")
    assert (done.code, done.err) == (0, "")
    assert (tmp_path / "out" / "v1.2" / "cur").is_dir()


# -- import --


async def test_import_of_files_into_one_mailbox(admin: Admin, tmp_path: Path) -> None:
    box = put(tmp_path / "box", (FROM + b"Status: RO\nA: 1\n\nx\n\n") * 2)
    one = put(tmp_path / "one.eml", b"A: 3\n\n")
    lines = (await pymap_admin(admin.path, "import", USER, box, one)).lines
    assert lines == ["messages: 3", "octets: 30 B"]
    mail = (await mail_of(admin))["INBOX"][4:]
    assert [content for _, _, content in mail] == [b"A: 1\r\n\r\nx\r\n"] * 2 + [b"A: 3\r\n\r\n"]
    assert [len(flags) for flags, _, _ in mail] == [1, 1, 0]
    assert mail[0][1] == 1795528800
    done = await pymap_admin(admin.path, "import", USER, one, "--mailbox", "New/Sub")
    done.says(
        Exit.DATA, "No such mailbox: New/Sub (--create makes it); before that 0 messages came in"
    )
    done = await pymap_admin(admin.path, "import", USER, one, "--mailbox", "New/Sub", "--create")
    assert done.code == 0
    assert len((await mail_of(admin))["New/Sub"]) == 1


async def test_import_from_a_pipe(alone: Admin) -> None:
    command = ("import", USER, "-", "--json")
    found = (await pymap_admin(alone.path, *command, stdin=(FROM + b"A: 1\n\n") * 250)).json
    assert found == {"messages": 250, "octets": 250 * 6}
    found = (await pymap_admin(alone.path, *command, stdin=b"A: 1\n\n")).json
    assert found["messages"] == 1


async def test_empty_messages_are_passed_over(alone: Admin, tmp_path: Path) -> None:
    box = put(tmp_path / "box", FROM + b"\n" + FROM + b"A: 1\n\n" + FROM)
    empty = put(tmp_path / "x.eml", b"")
    assert (await pymap_admin(alone.path, "import", USER, empty, box)).lines[0] == "messages: 1"
    assert (await pymap_admin(alone.path, "import", USER, empty)).lines[0] == "messages: 0"


@pytest.mark.parametrize(
    ("name", "content", "arguments", "code", "text"),
    [
        ("missing", None, [], Exit.NO_INPUT, "missing: No such file or directory"),
        ("dir/x.txt", b"x", [], Exit.NO_INPUT, "dir: has no .mbox or .eml files in it"),
        ("dir/x.eml", b"x", ["--format", "mbox"], Exit.NO_INPUT, "dir: has no mbox files in it"),
        ("dir/x.eml", b"x", ["--format", "maildir"], Exit.NO_INPUT, "dir: is no Maildir"),
        ("", None, [], Exit.NO_INPUT, "a path is empty"),
        ("x.mbox", b"no", [], Exit.DATA, "x.mbox: is not an mbox"),
        ("x", b"A: 1\n\n", ["--format", "mbox"], Exit.DATA, "x: is not an mbox"),
    ],
)
async def test_what_cannot_be_imported(
    name: str,
    content: bytes | None,
    arguments: list[str],
    code: Exit,
    text: str,
    alone: Admin,
    tmp_path: Path,
) -> None:
    if content is not None:
        put(tmp_path / name, content)
    path = tmp_path / name.partition("/")[0] if name else ""
    done = await pymap_admin(alone.path, "import", USER, path, *arguments)
    done.says(code, text)
    done = await pymap_admin(alone.path, "import", "nobody", path, *arguments)
    assert done.code == code  # it is looked at first
    good = put(tmp_path / "good", FROM + b"A: 1\n\n")
    (await pymap_admin(alone.path, "import", "nobody", good)).says(Exit.NO_USER, "No such user")


async def test_what_comes_before_an_error_arrives(alone: Admin, tmp_path: Path) -> None:
    good = put(tmp_path / "good", (FROM + b"A: 1\n\n") * 130)
    bad = put(tmp_path / "bad.mbox", b"no mbox")
    done = await pymap_admin(alone.path, "import", USER, good, bad, good)
    done.says(Exit.DATA, "bad.mbox: is not an mbox, which begins with a line From")
    assert done.err.endswith("before that 130 messages came in\n")
    assert len((await mail_of(alone))["INBOX"]) == 130


async def test_what_comes_before_a_message_too_big_arrives(
    start_admin: StartAdmin, tmp_path: Path
) -> None:
    """The server ends the call while there is much to send: what it said before is heard."""
    admin = await start_admin(limits=Limits(append=1_000_000))
    box = put(
        tmp_path / "box",
        (FROM + b"A: 1\n\n") * 250 + FROM + b"x" * 30_000_000 + b"\n\n" + (FROM + b"B: 1\n\n") * 9,
    )
    done = await pymap_admin(admin.path, "import", USER, box)
    done.says(Exit.CANNOT_CREATE, "too big; before that 250 messages came in")
    assert len((await mail_of(admin))["INBOX"]) == 250


async def test_an_account_that_is_full(
    alone: Admin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = DictMailbox.append

    async def some(self: DictMailbox, messages: Any) -> UidSet:
        if len((await self.snapshot()).uids) >= 2 * imports.BATCH_MESSAGES:
            raise OverQuota
        return await append(self, messages)

    monkeypatch.setattr(DictMailbox, "append", some)
    box = put(tmp_path / "box", (FROM + b"A: 1\n\n" + b"x" * 10_000 + b"\n") * 3000)
    done = await pymap_admin(alone.path, "import", USER, box)
    done.says(Exit.CANNOT_CREATE, "Over quota; before that 200 messages came in")


async def test_names_of_files_cannot_drive_the_terminal(alone: Admin, tmp_path: Path) -> None:
    put(tmp_path / "Maildir" / "cur" / "1", b"A: 1\n\n")
    (tmp_path / "Maildir" / "cur" / "2\x1b[2J\udcff").symlink_to(tmp_path)
    done = await pymap_admin(alone.path, "import", USER, tmp_path / "Maildir")
    assert done.out.splitlines()[0] == "messages: 1"
    assert done.err.endswith("2\\x1b[2J\\udcff: gone, or no plain file, left out\n")


async def test_octets_stay_as_they_are(alone: Admin, tmp_path: Path) -> None:
    """Also those of a message that has only bare line feeds."""
    async with alone.imap.backend.account(USER) as account:
        inbox = await account.open("INBOX")
        for content in (b"A: 1\n\nx\n", b"A: 2\r\n\nx"):
            await inbox.append([await new_message(content, frozenset(), InternalDate(0))])
    await pymap_admin(alone.path, "user", "add", "alice", "--stdin", stdin=b"x")
    for format in FORMATS:
        path = tmp_path / format
        await pymap_admin(alone.path, "export", USER, path, "--format", format)
        await pymap_admin(alone.path, "import", "alice", path, "--recursive")
    mail = (await mail_of(alone, "alice"))["INBOX"]
    assert [content for _, _, content in mail] == [b"A: 1\n\nx\n", b"A: 2\r\n\nx"] * 3


async def test_what_is_full_is_named(alone: Admin, tmp_path: Path) -> None:
    """A limit of the process stands for a disk that is full."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, 5_000_000))

    env = environment(TMPDIR=str(tmp_path))
    box = put(tmp_path / "box", (FROM + b"A: 1\n\n") * 2 + FROM + b"x" * 6_000_000)
    done = await pymap_admin(alone.path, "import", USER, box, preexec_fn=limit, env=env)
    done.says(Exit.IO, f"{tmp_path}: File too large; before that 2 messages came in")
    await pymap_admin(alone.path, "import", USER, box)
    command = ("export", USER, tmp_path / "out", "--format", "mbox")
    done = await pymap_admin(alone.path, *command, preexec_fn=limit, env=env)
    done.says(Exit.IO, f"{tmp_path}: File too large")  # the message is gathered first
    for _ in range(2):
        await pymap_admin(alone.path, "append", USER, stdin=b"A: 1\n\n" + b"x" * 3_000_000)
    await pymap_admin(alone.path, "mailbox", "create", USER, "Small")
    small = put(tmp_path / "small", (FROM + b"A: 1\n\n" + b"x" * 3_000_000 + b"\n") * 2)
    await pymap_admin(alone.path, "import", USER, small, "--mailbox", "Small")
    done = await pymap_admin(alone.path, *command, "--mailbox", "Small", preexec_fn=limit, env=env)
    done.says(Exit.IO, f"{tmp_path / 'out'}: File too large")


async def test_two_exports_to_one_place(
    alone: Admin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pymap_admin(alone.path, "append", USER, stdin=b"A: 1\n\n")
    goes_on, reached = asyncio.Event(), asyncio.Event()
    contents = DictMailbox.contents

    async def wait(self: DictMailbox, uids: Any) -> Any:
        reached.set()
        await goes_on.wait()
        return await contents(self, uids)

    monkeypatch.setattr(DictMailbox, "contents", wait)
    command = ("export", USER, tmp_path / "out", "--format", "eml", "--force")
    one = asyncio.create_task(pymap_admin(alone.path, *command))
    await reached.wait()
    assert await becomes(lambda: any((tmp_path / "out").glob(".pymap-export-*/INBOX")))
    (await pymap_admin(alone.path, *command)).says(Exit.LATER, "another export goes there now")
    goes_on.set()
    assert (await one).code == 0
    assert os.listdir(tmp_path / "out") == ["INBOX"]
    assert (await pymap_admin(alone.path, *command)).code == 0


# -- interrupted --


async def test_an_import_that_is_interrupted(alone: Admin, tmp_path: Path) -> None:
    """From a pipe that says nothing more: batches that were complete are in."""
    process = await start("--socket", alone.path, "import", USER, "-")
    assert process.stdin is not None
    process.stdin.write((FROM + b"A: 1\n\n" + b"x" * 1000 + b"\n") * 2000)
    await process.stdin.drain()

    process.send_signal(signal.SIGTERM)
    out, err = await process.communicate()
    assert (process.returncode, out) == (128 + signal.SIGTERM, b"")
    found = re.fullmatch(rb"pymap-admin: interrupted; at least ([\d,]+) messages came in\n", err)
    assert found is not None
    told = int(found[1].replace(b",", b""))
    there = len((await mail_of(alone))["INBOX"])
    assert there >= told
    assert there % imports.BATCH_MESSAGES == 0


@pytest.mark.parametrize("kind", ["pipe without a writer", "silent pipe", "device"])
async def test_a_signal_is_heard_while_a_file_is_read(
    kind: str, alone: Admin, tmp_path: Path
) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    command = ("import", USER, "/dev/zero" if kind == "device" else path)
    process = await start("--socket", alone.path, *command, env=environment(TMPDIR=str(tmp_path)))
    if kind == "silent pipe":
        with path.open("wb"):
            await ended_by(process, signal.SIGTERM)
    else:
        assert await becomes(lambda: reads(process.pid, kind))
        await ended_by(process, signal.SIGTERM)


def reads(pid: int, kind: str) -> bool:
    """Whether a process is where it reads: in a thread of its own."""
    if kind == "device":
        return any(os.path.realpath(fd) == "/dev/zero" for fd in Path(f"/proc/{pid}/fd").iterdir())
    return len(os.listdir(f"/proc/{pid}/task")) > 1


async def ended_by(process: asyncio.subprocess.Process, number: int) -> None:
    try:
        process.send_signal(number)
        async with asyncio.timeout(20):
            assert await process.wait() == 128 + number
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_an_export_that_is_interrupted_leaves_nothing(
    number: signal.Signals, alone: Admin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        await pymap_admin(alone.path, "append", USER, stdin=b"A: 1\n\n")
    reached = asyncio.Event()

    async def wait(self: DictMailbox, uids: object) -> Any:
        reached.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(DictMailbox, "contents", wait)
    path = tmp_path / "out"
    process = await start("--socket", alone.path, "export", USER, path, "--format", "eml")
    await reached.wait()
    assert await becomes(lambda: any(path.glob(".pymap-export-*/INBOX")))
    process.send_signal(number)
    out, err = await process.communicate()
    assert (process.returncode, out, err) == (128 + number, b"", b"")
    assert not path.exists()


async def test_nobody_reads_an_export(admin: Admin) -> None:
    """`pymap-admin export ... - | head -1`"""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = await pymap_admin(
            admin.path, "export", USER, "-", "--format", "mbox", "--mailbox", "INBOX",
            stdout=writing,
        )  # fmt: skip
    finally:
        os.close(writing)
    assert (done.code, done.err) == (128 + signal.SIGPIPE, "")
