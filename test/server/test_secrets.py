"""What attackers and mistakes put into the log and on the screen."""

from __future__ import annotations

import base64
import subprocess
import sys

from pymap.auth.authenticator import Authenticator
from pymap.backend.dict import DictBackend
from pymap.config import AuthConfig
from pymap.imap.server import serve

from .client import becomes
from .conftest import Connect, Spawn


async def test_a_connection_that_is_refused_again_and_again_ends(connect: Connect) -> None:
    """A login that the throttle refuses costs nothing and is answered at once, so a connection must
    not have any number of them: each is a line in the log, 15,000 a second of one connection. As
    with wrong passwords, `failed_logins` of them end it."""
    backend = DictBackend({"alice": "s"})
    authenticator = Authenticator(backend.users, AuthConfig(free_failures=1, refused_after=1))
    async with serve(
        backend, authenticator=authenticator, insecure_login=True, proxy_from=["127.0.0.0/8"]
    ) as server:
        client = await connect(server, greeted=False)
        client.send(b"PROXY TCP4 192.0.2.1 198.51.100.9 1000 143\r\n")
        assert (await client.line()).startswith(b"* OK ")
        assert (await client.command(b"LOGIN alice wrong")).condition == b"NO"
        for n in range(50):
            client.send(b"r%d LOGIN somebody wrong\r\n" % n)
        client.send(b"end LOGOUT\r\n")
        answers = await client.rest()
        refused = [answer for answer in answers if b"[UNAVAILABLE]" in answer]
        assert len(refused) <= server.limits.failed_logins


def test_no_part_of_a_password_is_shown_with_a_slash_in_it() -> None:
    """Whoever forgets to write / as %2F has made a mistake, and `config show` is what one shows to
    others to find it: nothing between :// and the last @ may be seen of the password."""
    shown = subprocess.run(
        [sys.executable, "-m", "pymap", "config", "show"],
        env={"PYMAP_BACKEND": "redis", "PYMAP_REDIS_URL": "redis://:sec/ret@localhost/0"},
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert "sec" not in shown.stdout.partition("redis://")[2].partition("\n")[0]


async def test_a_password_that_comes_after_login_is_not_traced(
    connect: Connect, spawn: Spawn
) -> None:
    """--debug shows no password: also where a client that is logged in already says AUTHENTICATE
    once more, and sends its response although it was refused. A line of one word is no command, in
    any state, and need not be shown."""
    process = await spawn("--debug")
    client = await connect(process)
    await client.login()
    secret = base64.b64encode(b"\0demouser\0demopass")
    client.send(b"a AUTHENTICATE PLAIN\r\n", secret, b"\r\n")
    assert (await client.line()).startswith(b"a BAD ")
    assert b" BAD " in await client.line()
    await client.ok(b"NOOP")
    client.send(b"b LOGOUT\r\n")
    await client.rest()
    assert await becomes(lambda: "session ended" in process.output)
    assert secret.decode() not in process.output
