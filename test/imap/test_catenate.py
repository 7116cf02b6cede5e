"""CATENATE: what it reads, and how much."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from remote_store import RemoteMailbox

from pymap.limits import Limits

StartServer = Any


async def run(server: Any, octets: bytes) -> bytes:
    """All that is answered to some commands, which LOGOUT ends."""
    reader, writer = await asyncio.open_connection(*server.addresses[0])
    writer.write(b"l LOGIN demouser demopass\r\n" + octets + b"o LOGOUT\r\n")
    async with asyncio.timeout(60):
        said = await reader.read()
    writer.close()
    await writer.wait_closed()
    return said


def append(content: bytes) -> bytes:
    return b"a APPEND INBOX {%d+}\r\n%b\r\n" % (len(content), content)


async def test_each_message_is_read_once(
    imap_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    real = RemoteMailbox.content

    async def content(self: RemoteMailbox, uid: int) -> bytes:
        read.append(uid)
        return await real(self, uid)

    monkeypatch.setattr(RemoteMailbox, "content", content)
    server = await imap_server(store="remote")
    urls = b" ".join(b"URL /INBOX/;UID=%d/;PARTIAL=%d.1" % (n % 3 + 1, n) for n in range(300))
    said = await run(
        server,
        b"".join(append(b"%c" % letter * 300) for letter in b"abc")
        + b"c APPEND INBOX CATENATE (%b)\r\ns EXAMINE INBOX\r\nf FETCH 4 BODY[]\r\n" % urls,
    )
    assert b"BODY[] {300}\r\n" + b"abc" * 100 in said
    assert sorted(read) == [1, 2, 3, 4]  # and 4 is the FETCH


async def test_the_total_is_bounded(imap_server: StartServer) -> None:
    """Of each message, and of all together, before anything is made."""
    server = await imap_server(limits=Limits(append=1000, append_total=2500))
    url = b"URL /INBOX/;UID=1"
    said = await run(
        server,
        append(b"x" * 500)
        + b"b APPEND INBOX CATENATE (%b %b)\r\n" % (url, url)
        + b"c APPEND INBOX CATENATE (%b TEXT {1+}\r\nx %b)\r\n" % (url, url)
        + b"d APPEND INBOX CATENATE (%b %b) CATENATE (%b %b) {500+}\r\n" % ((url,) * 4)
        + b"x" * 500
        + b"\r\ne APPEND INBOX CATENATE (%b %b) CATENATE (%b %b) CATENATE (%b TEXT {1+}\r\nx)\r\n"
        % ((url,) * 5)
        + b"f APPEND INBOX CATENATE (URL /INBOX/;UID=1/;PARTIAL=0.499 %b)\r\n" % url
        + b"g STATUS INBOX (MESSAGES)\r\n",
    )
    answers = [line[:12] for line in said.split(b"\r\n")[2:] if line[1:2] == b" "]
    assert answers == [
        b"a OK [APPEND", b"b OK [APPEND", b"c NO [TOOBIG", b"d OK [APPEND", b"e NO [TOOBIG",
        b"f OK [APPEND", b"* STATUS INB", b"g OK STATUS ", b"* BYE Loggin", b"o OK LOGOUT ",
    ]  # fmt: skip
    assert b"(MESSAGES 6)" in said


async def test_a_hundred_parts_of_a_large_message(imap_server: StartServer) -> None:
    server = await imap_server()
    content = b"Subject: x\r\n\r\n" + bytes(range(65, 91)) * 100_000
    urls = b" ".join(
        b"URL ;UID=1/;PARTIAL=%d.26000" % (14 + 26_000 * n) for n in reversed(range(100))
    )
    said = await run(
        server,
        append(content)
        + b"s SELECT INBOX\r\nc APPEND INBOX CATENATE (%b)\r\nf FETCH 2 BODY[]\r\n" % urls,
    )
    assert b"BODY[] {2600000}\r\n" + bytes(range(65, 91)) * 100_000 in said
