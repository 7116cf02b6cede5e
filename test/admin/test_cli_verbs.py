"""Each verb of `pymap-admin`, against a server with real sockets."""

from __future__ import annotations

import asyncio
import os
import pty
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trustme
from server.client import becomes

import pymap
from pymap.admin import sockets
from pymap.admin.cli import run
from pymap.admin.cli.exits import Exit
from pymap.admin.cli.options import VARIABLES
from pymap.admin.network import Network
from pymap.admin.service import AdminService
from pymap.auth import passwords
from pymap.backend.api import MailboxInfo
from pymap.backend.dict import DictAccount, DictBackend, DictMailbox
from pymap.backend.errors import Unavailable
from pymap.imap.server import Server, serve

from .command import ARGV, environment, pymap_admin
from .conftest import Admin, Connect, StartAdmin

USER = "demouser"


@pytest.fixture
async def alone(start_admin: StartAdmin) -> Admin:
    """Over the dict store, empty."""
    return await start_admin()


async def test_ping(admin: Admin) -> None:
    found = (await pymap_admin(admin.path, "ping", "--json")).json
    host, port = admin.imap.addresses[0]
    assert found["version"] == pymap.__version__
    assert found["pid"] == os.getpid()
    assert found["addresses"] == [f"{host}:{port}"]
    assert (found["ready"], found["trouble"], found["connections"]) == (True, "", 0)
    assert abs(found["started"] - admin.imap.started) <= 1
    lines = (await pymap_admin(admin.path, "ping")).lines
    assert f"backend: {found['backend']}" in lines
    assert f"addresses: {host}:{port}" in lines
    assert "ready: yes" in lines


async def test_version_and_health(alone: Admin) -> None:
    run = pymap_admin
    version = pymap.__version__
    assert (await run(alone.path, "version")).lines == [f"client: {version}", f"server: {version}"]
    assert (await run(alone.path, "health")).lines == ["ready"]
    assert (await run(None, "--version")).lines == [f"pymap-admin {version}"]
    found = (await run(alone.path, "version", "--json")).json
    assert found == {"client": version, "server": version}


async def test_a_server_that_is_not_ready(alone: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ping(self: DictBackend) -> None:
        raise Unavailable("the disk has melted")

    monkeypatch.setattr(DictBackend, "ping", ping)
    done = await pymap_admin(alone.path, "health")
    assert (done.code, done.err) == (Exit.UNAVAILABLE, "")
    assert done.out.startswith("not ready: ")
    assert "the disk has melted" in done.out
    done = await pymap_admin(alone.path, "--json", "health")
    assert done.code == Exit.UNAVAILABLE
    assert '"ready": false' in done.out
    assert any("melted" in line for line in (await pymap_admin(alone.path, "ping")).lines)


@pytest.fixture
def own_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where servers and clients of this test look for sockets: nobody else's are there."""
    for name in ("XDG_RUNTIME_DIR", *VARIABLES.values()):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))
    monkeypatch.setattr(sockets, "RUN", tmp_path / "nowhere")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "run").mkdir(mode=0o700)
    return tmp_path / "run"


async def test_the_socket_is_found_by_itself(
    own_places: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serve(DictBackend({USER: "x"})))
        await stack.enter_async_context(AdminService(own_places / "admin-1.sock").run(server))
        assert await asyncio.to_thread(run, ["health"]) == 0
        assert capfd.readouterr() == ("ready\n", "")
        other = own_places / "admin-2.sock"
        await stack.enter_async_context(AdminService(other).run(server))
        assert await asyncio.to_thread(run, ["health"]) == Exit.CONFIG
        found = f"2 servers are running, choose one by --socket: {own_places / 'admin-1.sock'}, "
        assert capfd.readouterr() == ("", f"pymap-admin: {found}{other}\n")
        assert await asyncio.to_thread(run, ["append", USER]) == Exit.LATER
        monkeypatch.setenv("PYMAP_ADMIN_SOCKET", str(other))
        assert await asyncio.to_thread(run, ["health"]) == 0


async def test_no_server_runs(
    own_places: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mail").write_bytes(b"A: 1\n\n")
    (own_places / "admin-7.sock").write_text("this is no socket")
    assert await asyncio.to_thread(run, ["ping"]) == Exit.UNAVAILABLE
    assert "no running server" in capfd.readouterr().err
    command = ["append", USER, "--data", str(tmp_path / "mail")]
    assert await asyncio.to_thread(run, command) == Exit.LATER  # the mail waits


# -- users --


async def test_users(admin: Admin) -> None:
    path = admin.path
    added = await pymap_admin(path, "user", "add", "alice", "--stdin", stdin=b"s3cret\nrest\n")
    assert added.lines[0] == "name: alice"
    assert "s3cret" not in added.out
    user = await admin.imap.backend.users.get("alice")
    assert await passwords.verify(user, "s3cret")
    found = (await pymap_admin(path, "user", "list", "--json")).json
    assert {row["name"] for row in found} >= {USER, "alice"}
    assert all(row.keys() == {"name", "scheme", "roles"} for row in found)
    title, *rows = (await pymap_admin(path, "user", "list")).lines
    assert title.split() == ["NAME", "SCHEME", "ROLES"]
    assert {row.split()[0] for row in rows} >= {USER, "alice"}
    done = await pymap_admin(path, "user", "add", "alice", "--stdin", stdin=b"other\n")
    done.says(Exit.CANNOT_CREATE, "exists")
    assert (await pymap_admin(path, "user", "delete", "alice")).lines == []
    (await pymap_admin(path, "user", "delete", "alice")).says(Exit.NO_USER, "No such user")
    (await pymap_admin(path, "user", "get", "alice")).says(Exit.NO_USER, "No such user")


async def test_passwords_come_from_files_and_may_be_hashed(alone: Admin, tmp_path: Path) -> None:
    path, secret = alone.path, tmp_path / "secret"
    secret.write_bytes("pässwörd\r\nnot this".encode())
    command = ("user", "set-password", USER, "--password-file", secret)
    found = (await pymap_admin(path, *command, "--scheme", "scram-sha-256", "--json")).json
    assert found == {"name": USER, "scheme": "SCRAM-SHA-256", "roles": []}
    user = await alone.imap.backend.users.get(USER)
    assert await passwords.verify(user, "pässwörd")
    secret.write_text("{PLAIN}hello\n")
    found = (await pymap_admin(path, *command, "--hashed", "--json")).json
    assert found["scheme"] == "PLAIN"
    for content, code in ((b"", Exit.DATA), (b"\nx", Exit.DATA), (b"\xff", Exit.DATA)):
        secret.write_bytes(content)
        (await pymap_admin(path, *command)).says(code, str(secret))
    secret.unlink()
    (await pymap_admin(path, *command)).says(Exit.NO_INPUT, str(secret))
    (await pymap_admin(path, *command, "--stdin")).says(Exit.USAGE, "not allowed with")
    done = await pymap_admin(path, "user", "set-password", USER)
    done.says(Exit.USAGE, "no terminal")
    done = await pymap_admin(path, "user", "set-password", USER, "--stdin")
    done.says(Exit.DATA, "standard input: no password")
    done = await pymap_admin(path, "user", "set-password", USER, "--stdin", "--hashed", stdin=b"x")
    assert done.code == Exit.DATA
    done = await pymap_admin(path, "user", "set-password", "nobody", "--stdin", stdin=b"x")
    done.says(Exit.NO_USER, "No such user")


async def test_roles(alone: Admin) -> None:
    command = ("user", "add", "alice", "--stdin", "--role", "master", "--json")
    found = (await pymap_admin(alone.path, *command, stdin=b"x")).json
    assert found["roles"] == ["master"]
    assert "roles: master" in (await pymap_admin(alone.path, "user", "get", "alice")).lines


@pytest.mark.parametrize(
    ("typed", "code", "text"),
    [
        (["hello", "hello"], Exit.OK, "name: alice"),
        (["hello", "hallo"], Exit.DATA, "the two are not the same"),
        (["", ""], Exit.DATA, "no password was given"),
        (["\x04"], Exit.NO_INPUT, "no password was given"),
    ],
)
async def test_a_terminal_is_asked_twice(
    typed: list[str], code: Exit, text: str, alone: Admin
) -> None:
    """The prompts go to the terminal, and what is typed is not shown."""
    loop = asyncio.get_running_loop()
    ours, theirs = pty.openpty()
    heard = b""
    try:
        argv = [*ARGV, "--socket", str(alone.path), "user", "add", "alice"]
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=theirs, stdout=theirs, stderr=theirs, env=environment(),
            start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        for prompt, line in zip((b"Password: ", b"The same again: "), typed, strict=False):
            while prompt not in heard:
                heard += await loop.run_in_executor(None, os.read, ours, 1000)
            os.write(ours, line.encode() + b"\n")
        ended = asyncio.create_task(process.wait())
        try:
            while True:
                heard += await loop.run_in_executor(None, os.read, ours, 1000)
        except OSError:  # that is how a terminal ends
            pass
        assert await ended == code
    finally:
        os.close(ours)
    assert text.encode() in heard
    assert b"hello" not in heard


# -- mailboxes --


async def test_mailboxes(admin: Admin) -> None:
    path = admin.path
    made = await pymap_admin(path, "mailbox", "create", USER, "Größe/日本", "--json")
    identity = made.json["id"]
    found = (await pymap_admin(path, "mailbox", "list", USER, "--json")).json
    (row,) = [row for row in found if row["name"] == "Größe/日本"]
    assert row == {
        "name": "Größe/日本", "id": identity, "special_use": [], "subscribed": row["subscribed"],
    }  # fmt: skip
    done = await pymap_admin(path, "mailbox", "create", USER, "Größe/日本")
    done.says(Exit.CANNOT_CREATE, "exists")
    assert (await pymap_admin(path, "mailbox", "rename", USER, "Größe/日本", "Neu")).lines == []
    assert (await pymap_admin(path, "mailbox", "delete", USER, "Neu", "--json")).json == {}
    for verb in ("delete", "status"):
        done = await pymap_admin(path, "mailbox", verb, USER, "Neu")
        done.says(Exit.DATA, "No such mailbox: Neu")
    done = await pymap_admin(path, "mailbox", "rename", USER, "Neu", "Alt")
    done.says(Exit.DATA, "No such mailbox: Neu")
    done = await pymap_admin(path, "mailbox", "create", USER, "--json", "--", "-drafts-")
    assert done.json["id"]
    done = await pymap_admin(path, "append", "--mailbox=-drafts-", USER, stdin=b"A: 1\n")
    assert done.lines[1] == "uid: 1"
    assert (await pymap_admin(path, "mailbox", "delete", USER, "--", "-drafts-")).code == 0
    done = await pymap_admin(path, "mailbox", "create", USER, "a//b")
    assert (done.code, done.out) == (Exit.DATA, "")
    for verb in ("list", "status"):
        done = await pymap_admin(path, "mailbox", verb, "nobody")
        done.says(Exit.NO_USER, "No such user")


async def test_status_of_some_or_all(admin: Admin) -> None:
    found = (await pymap_admin(admin.path, "mailbox", "status", USER, "--json")).json
    listed = (await pymap_admin(admin.path, "mailbox", "list", USER, "--json")).json
    assert [row["name"] for row in found] == [row["name"] for row in listed]
    inbox = next(row for row in found if row["name"] == "INBOX")
    assert (inbox["messages"], inbox["unseen"], inbox["uid_next"]) == (4, 1, 105)
    assert isinstance(inbox["highest_modseq"], int)
    title, row = (await pymap_admin(admin.path, "mailbox", "status", USER, "INBOX")).lines
    assert title.split()[:4] == ["NAME", "MESSAGES", "UNSEEN", "DELETED"]
    assert row.split()[:3] == ["INBOX", "4", "1"]
    assert "KiB" in row


async def test_a_mailbox_that_goes_while_all_are_counted(
    alone: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = DictAccount.mailboxes

    async def too_many(self: DictAccount) -> Sequence[MailboxInfo]:
        return [*await listed(self), MailboxInfo("Gone", "F1")]

    monkeypatch.setattr(DictAccount, "mailboxes", too_many)
    found = (await pymap_admin(alone.path, "mailbox", "status", USER, "--json")).json
    assert [mailbox["name"] for mailbox in found] == ["INBOX"]
    done = await pymap_admin(alone.path, "mailbox", "status", USER, "Gone")
    done.says(Exit.DATA, "No such mailbox")


async def test_special_use(alone: Admin) -> None:
    for name, use in (("Gesendet", "Sent"), ("Müll", "\\Junk")):
        done = await pymap_admin(alone.path, "mailbox", "create", USER, name, "--special-use", use)
        assert done.code == 0
    lines = (await pymap_admin(alone.path, "mailbox", "list", USER)).lines
    assert [line.split()[:2] for line in lines if "\\" in line] == [
        ["Gesendet", "\\Sent"], ["Müll", "\\Junk"],
    ]  # fmt: skip
    # Columns stand below one another.
    assert len({line.index(word) for line in lines[1:] for word in ("yes", "no ") if word in line})


# -- sessions --


async def test_who_and_kick(alone: Admin, connect: Connect) -> None:
    client = await connect(alone)
    await client.login(b"INBOX")
    (row,) = (await pymap_admin(alone.path, "who", "--json")).json
    assert (row["user"], row["state"], row["mailbox"]) == (USER, "selected", "INBOX")
    assert row["address"].startswith("127.0.0.1:")
    assert row["received"] > 0
    title, line = (await pymap_admin(alone.path, "who", USER)).lines
    assert title.split()[:3] == ["ID", "USER", "ADDRESS"]
    assert line.split()[:3] == [str(row["id"]), USER, row["address"]]
    assert (await pymap_admin(alone.path, "who", "nobody", "--json")).json == []
    nobody = (("--id", "0"), ("--user", "nobody"), ("--address", "192.0.2.1"))
    for whom in nobody:
        assert (await pymap_admin(alone.path, "kick", *whom)).lines == ["kicked: 0"]
    (await pymap_admin(alone.path, "kick", "--address", "x")).says(Exit.DATA, "not an IP address")
    found = (await pymap_admin(alone.path, "kick", "--id", row["id"], "--json")).json
    assert found == {"kicked": 1}
    assert any(line.startswith(b"* BYE") for line in await client.rest())
    assert await becomes(lambda: not alone.imap.clients)
    assert (await pymap_admin(alone.path, "who", "--json")).json == []


async def test_reload(alone: Admin) -> None:
    reloaded = []

    async def again() -> None:
        reloaded.append(1)

    alone.imap.reloaders["the weather"] = again
    assert any("the weather" in line for line in (await pymap_admin(alone.path, "reload")).lines)
    assert "the weather" in (await pymap_admin(alone.path, "reload", "--json")).json["reloaded"]
    assert reloaded == [1, 1]


async def test_a_reload_that_fails(alone: Admin) -> None:
    async def again() -> None:
        raise ValueError("no such file: cert.pem")

    alone.imap.reloaders["the weather"] = again
    done = await pymap_admin(alone.path, "reload")
    done.says(Exit.DATA, "cert.pem")


# -- check --


async def test_check_of_what_is_well(admin: Admin) -> None:
    done = await pymap_admin(admin.path, "check", USER)
    assert done.lines[0].startswith("all is well: 1 user, 6 mailboxes, 8 messages, ")
    found = (await pymap_admin(admin.path, "check", USER, "--mailbox", "INBOX", "--json")).json
    assert found["findings"] == []
    assert (found["progress"]["mailboxes"], found["progress"]["messages"]) == (1, 4)
    (await pymap_admin(admin.path, "check", "nobody")).says(Exit.NO_USER, "No such user")
    done = await pymap_admin(admin.path, "check", USER, "--mailbox", "Nope")
    done.says(Exit.DATA, "No such mailbox: Nope")


async def test_check_tells_what_it_finds(
    start_admin: StartAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = await start_admin("demo")
    content = DictMailbox.content

    async def shorter(self: DictMailbox, uid: int) -> bytes:
        return (await content(self, uid))[:-1]

    monkeypatch.setattr(DictMailbox, "content", shorter)
    done = await pymap_admin(admin.path, "check", USER, "--mailbox", "Sent")
    assert (done.code, done.err) == (Exit.DATA, "")
    title, *rows = done.out.splitlines()
    assert title.split() == ["USER", "MAILBOX", "UID", "FINDING"]
    assert [row.split()[:3] for row in rows if " octets" in row] == [
        [USER, "Sent", "1"], [USER, "Sent", "2"],
    ]  # fmt: skip
    done = await pymap_admin(admin.path, "check", USER, "--mailbox", "Sent", "--json")
    assert done.code == Exit.DATA
    assert '"uid": 2' in done.out


# -- over the network --


@pytest.fixture
async def elsewhere(tmp_path: Path) -> AsyncIterator[list[str]]:
    """The options for a server over TCP."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate = authority.issue_cert("localhost").private_key_and_cert_chain_pem
    certificate.write_to_path(str(tmp_path / "cert.pem"))
    (tmp_path / "token").write_text("a token-that-is-long".replace(" ", "-") + "\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    network = Network("127.0.0.1", port, tmp_path / "cert.pem", None, tmp_path / "token")
    async with serve(DictBackend({USER: "x"})) as server:
        assert isinstance(server, Server)
        async with AdminService(tmp_path / "sock", network).run(server):
            yield [
                "--server", f"localhost:{port}", "--ca", str(tmp_path / "ca.pem"),
                "--token-file", str(tmp_path / "token"),
            ]  # fmt: skip


async def test_a_server_elsewhere(elsewhere: list[str], tmp_path: Path) -> None:
    assert (await pymap_admin(None, *elsewhere, "health")).lines == ["ready"]
    assert (await pymap_admin(None, "health", *elsewhere)).lines == ["ready"]
    server, ca, token = elsewhere[1::2]
    variables = environment(
        PYMAP_ADMIN_SERVER=server, PYMAP_ADMIN_CA=ca, PYMAP_ADMIN_TOKEN_FILE=token
    )
    assert (await pymap_admin(None, "health", env=variables)).lines == ["ready"]
    message = b"A: 1\n\nx\n" * 100_000
    done = await pymap_admin(None, *elsewhere, "append", USER, stdin=message)
    assert done.lines[1] == "uid: 1"
    # Whom the system trusts is somebody else.
    done = await pymap_admin(None, "--server", server, "--token-file", token, "ping")
    done.says(Exit.UNAVAILABLE, "certificate is not good")
    done = await pymap_admin(None, *elsewhere[:4], "ping")
    done.says(Exit.PERMISSION, "a token is needed")
    done = await pymap_admin(None, *elsewhere[:4], "append", USER, stdin=message)
    done.says(Exit.LATER, "a token is needed")
    (tmp_path / "other").write_text("x" * 30)
    done = await pymap_admin(None, *elsewhere[:4], "--token-file", tmp_path / "other", "ping")
    done.says(Exit.PERMISSION, "a token is needed")
    assert "x" * 30 not in done.err
    done = await pymap_admin(None, "--server", f"127.0.0.1:{server[10:]}", *elsewhere[2:], "ping")
    done.says(Exit.UNAVAILABLE, "certificate is not good")
