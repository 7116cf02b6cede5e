"""Many commands in one breath: each is answered once, in order, and nothing else happens."""

from __future__ import annotations

import pytest

from .conftest import Connect, alone


async def test_10000_noops(imap_server, connect: Connect) -> None:
    server = await imap_server()
    client = await (await connect(server)).login(b"INBOX")
    client.send(b"".join(b"n%d NOOP\r\n" % n for n in range(10_000)))
    for n in range(10_000):
        assert (await client.line()).startswith(b"n%d OK " % n)


async def test_mixed_commands_are_answered_in_order(imap_server, connect: Connect) -> None:
    server = await imap_server("demo")
    client = await connect(server)
    commands = [
        b"LOGIN {8+}\r\ndemouser {8+}\r\ndemopass",
        b"SELECT INBOX",
        b"FETCH 1:* BODY.PEEK[]",
        b"XYZZY",
        b"APPEND INBOX {4+}\r\nabcd",
        b"UID FETCH 1:* (FLAGS)",
        b"IDLE\r\nDONE",
        b"SEARCH TEXT a",
        b'LIST "" *',
        b"FETCH 999 FLAGS",
        b"STORE 1 +FLAGS (x)",
        b"COPY 1:* Sent",
        b"CLOSE",
        b"LOGOUT",
    ]
    client.send(b"".join(b"t%d %b\r\n" % (n, c) for n, c in enumerate(commands)))
    rest = await client.rest()
    tagged = [r.split(b" ")[:2] for r in rest if r.startswith(b"t")]
    bad = {3, 9}
    assert tagged == [[b"t%d" % n, b"BAD" if n in bad else b"OK"] for n in range(len(commands))]
    await alone(server)


async def test_one_octet_at_a_time(imap_server, connect: Connect) -> None:
    server = await imap_server("demo")
    client = await connect(server)
    script = b"a LOGIN demouser {8+}\r\ndemopass\r\nb SELECT INBOX\r\nc FETCH 1 FLAGS\r\nd IDLE\r\nDONE\r\ne LOGOUT\r\n"
    for octet in script:
        await client.pour([bytes((octet,))])
    tags = [r[:1] for r in await client.rest() if r[1:2] == b" " and r[:1] not in b"*+"]
    assert tags == [b"a", b"b", b"c", b"d", b"e"]


async def test_garbage_between_commands(imap_server, connect: Connect) -> None:
    server = await imap_server()
    client = await (await connect(server)).login()
    client.send(b"".join(b'n%d NOOP\r\n\0\xff garbage {x} "\r\n' % n for n in range(2000)))
    noops = 0
    for _ in range(4000):
        line = await client.line()
        assert line.startswith((b"n%d OK " % noops, b"* BAD"))
        noops += line.startswith(b"n")
    assert noops == 2000
    await client.ok(b"NOOP")


@pytest.mark.parametrize(
    "after", [b"x NOOP\r\n", b"x LOGIN demouser demopass\r\n", b"\0" * 1000, b"x" * 300_000]
)
async def test_what_follows_logout_is_ignored(imap_server, connect: Connect, after: bytes) -> None:
    server = await imap_server()
    client = await connect(server)
    client.send(b"a LOGOUT\r\n" + after)
    rest = await client.rest()
    assert [r[:5] for r in rest] == [b"* BYE", b"a OK "]
    await alone(server)


async def test_commands_behind_idle_wait_for_done(imap_server, connect: Connect) -> None:
    server = await imap_server()
    client = await (await connect(server)).login(b"INBOX")
    client.send(b"a IDLE\r\nDONE\r\nb NOOP\r\nc IDLE\r\ndone\r\nd NOOP\r\n")
    for start in (b"+ ", b"a OK", b"b OK", b"+ ", b"c OK", b"d OK"):
        assert (await client.line()).startswith(start)
    client.send(b"e IDLE\r\nf NOOP\r\ng NOOP\r\n")  # no DONE: f ends it, and is no command
    for start in (b"+ ", b"e BAD", b"g OK"):
        assert (await client.line()).startswith(start)


async def test_commands_behind_authenticate_are_its_response(imap_server, connect: Connect) -> None:
    server = await imap_server()
    client = await connect(server)
    client.send(b"a AUTHENTICATE PLAIN\r\nb LOGIN demouser demopass\r\nc CAPABILITY\r\n")
    for start in (b"+ ", b"a BAD", b"* CAPABILITY", b"c OK"):
        assert (await client.line()).startswith(start)
    assert (await client.command(b"SELECT INBOX")).condition == b"BAD"


async def test_fetches_without_reading_then_everything(imap_server, connect: Connect) -> None:
    server = await imap_server()
    client = await (await connect(server)).login(b"INBOX")
    message = b"Subject: x\r\n\r\n" + b"0123456789abcde\n" * 4000
    assert (await client.append(message)).condition == b"OK"
    await client.ok(b"NOOP")
    client.send(b"".join(b"f%d FETCH 1 BODY.PEEK[]\r\n" % n for n in range(500)))
    for n in range(500):
        answer = await client.until(b"f%d" % n)
        assert answer.untagged == [b"* 1 FETCH (BODY[] {%d}\r\n%b)\r\n" % (len(message), message)]


async def test_synchronizing_literals_in_one_go(imap_server, connect: Connect) -> None:
    """Clients that do not wait for + are wrong, but the answer is well defined."""
    server = await imap_server()
    client = await connect(server)
    client.send(
        b"a LOGIN {8}\r\ndemouser {8}\r\ndemopass\r\nb APPEND INBOX {3}\r\nxyz\r\nc NOOP\r\n"
    )
    for start in (b"+ ", b"+ ", b"a OK", b"+ ", b"b OK", b"c OK"):
        assert (await client.line()).startswith(start)


async def test_a_client_that_sends_all_and_half_closes_is_answered(
    imap_server, connect: Connect
) -> None:
    """printf ... | nc -N host 143"""
    server = await imap_server()
    client = await connect(server)
    client.send(b"a LOGIN demouser demopass\r\nb SELECT INBOX\r\nc LOGOUT\r\n")
    client.writer.write_eof()
    assert (await client.rest())[-1].startswith(b"c OK")
    await alone(server)
