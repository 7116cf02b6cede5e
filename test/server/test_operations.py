"""The process as those who run it see it: signals, systemd, the PID file, a drain under load."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import sys
from pathlib import Path

import pytest
import trustme

from .client import Client, becomes
from .conftest import Connect, Spawn
from .process import Process


def write(certificate: trustme.LeafCert, path: Path) -> None:
    new = path.with_suffix(".new")
    certificate.private_key_and_cert_chain_pem.write_to_path(new)
    new.rename(path)


async def names_of(process: Process, client_tls: ssl.SSLContext) -> list[str]:
    """The hosts in the certificate that a new handshake shows."""
    client = await Client.connect(process.addresses[-1], ssl=client_tls)
    shown = client.writer.get_extra_info("peercert")
    await client.close()
    return [value for _, value in shown["subjectAltName"]]


async def test_sighup_under_live_sessions(
    spawn: Spawn, connect: Connect, tmp_path: Path, authority: trustme.CA, client_tls
) -> None:
    client_tls.check_hostname = False
    pem = tmp_path / "server.pem"
    write(authority.issue_cert("old.example.org"), pem)
    process = await spawn("--tls-port", "0", "--cert", str(pem))
    idle = await (await connect(process.addresses[-1], ssl=client_tls)).login(b"INBOX")
    await idle.idle()
    assert await names_of(process, client_tls) == ["old.example.org"]

    write(authority.issue_cert("new.example.org"), pem)
    process.signal(signal.SIGHUP)
    assert await becomes(lambda: "reloaded: " in process.output)
    assert await names_of(process, client_tls) == ["new.example.org"]

    pem.write_text("-----BEGIN CERTIFICATE-----\nhalf a fi")
    process.signal(signal.SIGHUP)
    assert await becomes(lambda: "reload: certificates: " in process.output)
    assert await names_of(process, client_tls) == ["new.example.org"]

    writer = await (await connect(process)).login()
    assert (await writer.append(b"Subject: x\r\n\r\n")).condition == b"OK"
    assert await idle.line() == b"* 1 EXISTS\r\n"  # it has noticed nothing of all that


async def test_what_systemd_is_told(
    spawn: Spawn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        process = await spawn()

        async def told() -> bytes:
            return await asyncio.to_thread(manager.recv, 4096)

        assert (await told()).startswith(b"READY=1\n")
        process.signal(signal.SIGHUP)
        assert (await told()).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        assert (await told()).startswith(b"READY=1\n")
        process.signal(signal.SIGTERM)
        assert (await told()).startswith(b"STOPPING=1\n")
        assert await process.ended() == 0


async def test_sockets_that_systemd_has_bound(
    tmp_path: Path, authority: trustme.CA, client_tls: ssl.SSLContext
) -> None:
    """They take the place of --host and the ports; the name says which one is for TLS."""
    pem, users = tmp_path / "server.pem", tmp_path / "users"
    write(authority.issue_cert("localhost", "127.0.0.1"), pem)
    users.write_text("demouser:demopass\n")
    plain, tls = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
    # The numbers of the descriptors and of the process are part of the protocol.
    start = f"""
import os
os.dup2({plain.fileno()}, 50); os.dup2({tls.fileno()}, 51)
os.dup2(50, 3); os.dup2(51, 4)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="2", LISTEN_FDNAMES="imap:imaps")
os.execv({sys.executable!r}, [{sys.executable!r}, "-m", "pymap", "--port", "1", "--cert", {str(pem)!r},
    "--no-service", "admin", "dict", "--users", {str(users)!r}])
"""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", start, pass_fds=(plain.fileno(), tls.fileno()),
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        with plain, tls:
            # The connection is there before the server is.
            client = await Client.connect(plain.getsockname())
            await client.login()
            await client.close()
            client = await Client.connect(tls.getsockname(), ssl=client_tls)
            await client.login()
            await client.close()
    finally:
        child.terminate()
        _, output = await child.communicate()
    assert child.returncode == 0, output.decode()


async def test_the_pid_file(spawn: Spawn, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    process = await spawn("--pid-file", str(path))
    assert path.read_text() == f"{process.popen.pid}\n"
    process.signal(signal.SIGTERM)
    assert await process.ended() == 0
    assert not path.exists()
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for pid in range(process.popen.pid, process.popen.pid + 200):  # one of them will be the next
        (tmp_path / f".pid.{pid}").symlink_to(victim)
    process = await spawn("--pid-file", str(path))
    assert victim.read_text() == "precious"
    process = await spawn("--pid-file", str(tmp_path / "nowhere" / "pid"), ready=False)
    assert await process.ended() == 1
    assert process.output.strip() == f"pymap: {tmp_path}/nowhere/pid: No such file or directory"


async def test_a_drain_under_load(spawn: Spawn, connect: Connect) -> None:
    """Everybody has the answer to what was running, whole, and is told BYE."""
    message = b"x: y\r\n\r\n" + b"0123456789abcde\n" * 200_000
    process = await spawn("--drain", "30")
    clients = [await (await connect(process, limit=4096)).login() for _ in range(12)]
    assert (await clients[0].append(message)).condition == b"OK"
    for client in clients:
        await client.ok(b"SELECT INBOX")
        client.send(b"a FETCH 1 BODY.PEEK[]\r\n")
        assert (await client.line()).startswith(b"* 1 FETCH")
    process.signal(signal.SIGTERM)
    assert await becomes(lambda: "shutting down" in process.output)

    async def finish(client: Client) -> None:
        assert await client.read(len(message)) == message
        rest = await client.rest()
        assert rest[0] == b")\r\n"
        assert rest[1].startswith(b"a OK")
        assert rest[-1].startswith(b"* BYE")

    await asyncio.gather(*map(finish, clients))
    assert await process.ended() == 0
    with pytest.raises(OSError):
        await Client.connect(process.addresses[0])


async def test_a_configuration_file_is_enough(tmp_path: Path) -> None:
    (tmp_path / "users").write_text("demouser:demopass\n")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (tmp_path / "pymap.toml").write_text(
        f'backend = "dict"\nhost = "127.0.0.1"\nport = {port}\nlog-format = "json"\n'
        'no-service = ["admin"]\n\n[dict]\nusers = "users"\n'
    )
    command = [sys.executable, "-m", "pymap", "--config", str(tmp_path / "pymap.toml")]
    child = await asyncio.create_subprocess_exec(
        *command, stderr=asyncio.subprocess.PIPE, cwd=os.path.sep
    )
    assert child.stderr is not None
    try:
        assert b'"message": "pymap ' in await asyncio.wait_for(child.stderr.readline(), 20)
        client = await Client.connect(("127.0.0.1", port))
        await client.login()
        await client.close()
    finally:
        child.terminate()
        await child.communicate()
    assert child.returncode == 0
