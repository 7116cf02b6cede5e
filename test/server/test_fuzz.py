"""Any octets in any state: the answer is BAD, NO, OK or BYE, and never a bug of ours."""

from __future__ import annotations

import asyncio
import random
import re

import pytest

from pymap.imap.server import Server
from pymap.limits import Limits

from .client import Client
from .conftest import Connect, alone

STATES = {
    "not authenticated": b"",
    "authenticated": b"s LOGIN demouser demopass\r\n",
    "selected": b"s LOGIN demouser demopass\r\ns SELECT INBOX\r\n",
    "idle": b"s LOGIN demouser demopass\r\ns SELECT INBOX\r\ns IDLE\r\n",
    "authenticate": b"s AUTHENTICATE PLAIN\r\n",
    "logout": b"s LOGOUT\r\n",
}

COMMANDS = [
    b"NOOP", b"CAPABILITY", b"LOGOUT", b"STARTTLS", b"CHECK", b"CLOSE", b"UNSELECT", b"NAMESPACE", b"EXPUNGE",
    b"IDLE\r\nDONE", b"ID NIL", b'ID ("name" "x" "y" NIL)', b"LOGIN demouser demopass",
    b"LOGIN {8+}\r\ndemouser {8+}\r\ndemopass", b"AUTHENTICATE PLAIN AGRlbW91c2VyAGRlbW9wYXNz",
    b"AUTHENTICATE LOGIN\r\nZGVtb3VzZXI=\r\nZGVtb3Bhc3M=", b"ENABLE CONDSTORE UTF8=ACCEPT IMAP4rev2 QRESYNC",
    b"SELECT INBOX", b"EXAMINE Sent (CONDSTORE)", b"SELECT INBOX (QRESYNC (1 2 1:5 (1:3 101:103)))",
    b"CREATE a/b/c", b"CREATE x (USE (\\Sent))", b"DELETE a/b/c", b"RENAME a b", b"RENAME INBOX old", b"SUBSCRIBE a", b"UNSUBSCRIBE a",
    b"GETMETADATA (DEPTH infinity MAXSIZE 100) INBOX (/private /shared/comment)", b'SETMETADATA "" (/private/filters/values/x "FILTER x" /private/a {3+}\r\nabc)',
    b"SETMETADATA INBOX (/private/comment ~{2+}\r\n\0b /shared/comment NIL)", b"SEARCH FILTER x", b'LIST "" % RETURN (METADATA (/private/comment))',
    b'LIST "" *', b'LIST (SUBSCRIBED RECURSIVEMATCH) "" (a% *b) RETURN (CHILDREN STATUS (MESSAGES SIZE))', b'LSUB "" %', b"LIST \"\" &AOQ-*",
    b"STATUS INBOX (MESSAGES UNSEEN UIDNEXT UIDVALIDITY HIGHESTMODSEQ MAILBOXID SIZE DELETED)",
    b"APPEND INBOX (\\Seen $x) \"01-Jan-2020 00:00:00 +0000\" {10+}\r\nFrom: a\r\n\r\n", b"APPEND INBOX ~{3+}\r\n\0ab {2+}\r\nxy",
    b"APPEND INBOX UTF8 (~{3+}\r\nabc)", b"FETCH 1:* (FLAGS UID ENVELOPE BODYSTRUCTURE BODY RFC822.SIZE INTERNALDATE MODSEQ EMAILID THREADID SAVEDATE)",
    b"FETCH 1:2,* BODY.PEEK[1.2.HEADER.FIELDS (from \"to\" {2+}\r\ncc)]<0.100>", b"UID FETCH 1:* (BINARY.SIZE[1] BINARY.PEEK[1]<1.5> BODY[2.MIME]) (CHANGEDSINCE 1 VANISHED)",
    b"FETCH 4 (RFC822 RFC822.HEADER RFC822.TEXT)", b"FETCH $ FULL", b"STORE 1 +FLAGS.SILENT (\\Deleted a NIL)", b"UID STORE 101:104 (UNCHANGEDSINCE 5) -FLAGS x",
    b"SEARCH RETURN (MIN MAX ALL COUNT SAVE) CHARSET UTF-8 OR NOT SUBJECT {3+}\r\nabc (FROM x TEXT \"y\") SINCE 1-Jan-2000",
    b"UID SEARCH UID 1:* KEYWORD x SENTON 01-Feb-2001 LARGER 1 MODSEQ \"/flags/\\\\seen\" all 7 YOUNGER 5 HEADER a b BODY z EMAILID M1",
    b"SETACL INBOX bob +lrc", b"DELETEACL INBOX {3+}\r\nbob", b"GETACL INBOX", b'LISTRIGHTS INBOX "-bob"', b"MYRIGHTS INBOX",
    b'LIST "" ("Other Users/%" *) RETURN (MYRIGHTS)',
    b"COPY 1:* Sent", b"UID MOVE 101 Trash", b"UID EXPUNGE 1:*",
]  # fmt: skip

SPICE = [
    b"(", b")", b"{", b"}", b'"', b"\\", b"*", b"%", b"[", b"]", b"<", b">", b" ", b"\r\n", b"\n", b"\r", b"\0", b"\xff", b"\x80",
    b"&", b"&-", b"&AOQ-", b"=", b"+", b"~", b"$", b",", b":", b"0", b"4294967295", b"4294967296", b"9" * 19, b"9" * 30, b"NIL", b"INBOX",
    b"{0}", b"{0+}\r\n", b"{5+}\r\nhello", b"~{1+}\r\n\0", b"{3}\r\nabc", b"{99999999999999999999999}\r\n", b"{1}}", b"()", b"((((", b"BODY[", b"UID ", b"DONE", b"/", b"//", b"..", b"\xc3\xa4", b"\xed\xa0\x80",
    b"CHARSET utf-7 ", b"CHARSET rot13 ", b"CHARSET x\0 ", b"31-Feb-2020", b"1-Jan-0000", b"31-Dec-9999",
]  # fmt: skip

_ANSWER = re.compile(
    rb"(\* (OK|NO|BAD|BYE|CAPABILITY|FLAGS|LIST|LSUB|STATUS|METADATA|SEARCH|ESEARCH|ENABLED|ID|NAMESPACE|ACL|MYRIGHTS|LISTRIGHTS|VANISHED)(?=[ \r])"
    rb"|\* \d+ (EXISTS|RECENT|EXPUNGE|FETCH \()|\+ |[^\s*+]+ (OK|NO|BAD) ).*\r\n\Z",
    re.DOTALL,
)


def mutated(rng: random.Random) -> bytes:
    line = bytearray(rng.choice(COMMANDS))
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3, 8))):
        at = rng.randint(0, len(line))
        match rng.randrange(6):
            case 0:
                line[at:at] = rng.choice(SPICE)
            case 1:
                del line[at : at + rng.randint(1, 4)]
            case 2 if at < len(line):
                line[at] = rng.randrange(256)
            case 3:
                line[at:at] = line[rng.randint(0, at) : at]
            case 4:
                other = rng.choice(COMMANDS)
                line[at:] = other[rng.randint(0, len(other)) :]
            case 5:
                words = bytes(line).split(b" ")
                rng.shuffle(words)
                line[:] = b" ".join(words)
    return b"f%d %b\r\n" % (rng.randrange(1000), line)


def noise(rng: random.Random) -> bytes:
    return rng.randbytes(rng.randint(0, 300)) + b"\r\n"


def spice(rng: random.Random) -> bytes:
    return b"f " + b"".join(rng.choices(SPICE, k=rng.randint(1, 30))) + b"\r\n"


async def torment(server: Server, state: bytes, octets: bytes, rng: random.Random) -> None:
    """Send, half-close, and look at all that comes back."""
    client = await Client.connect(server.addresses[0])
    try:
        client.send(state)
        at = 0
        while at < len(octets):
            step = rng.choice((1, 7, 100, 1000, 100_000))
            client.send(octets[at : at + step])
            at += step
            if not rng.randrange(20):
                await asyncio.sleep(0)
        client.writer.write_eof()
        while response := await client.response():
            assert _ANSWER.match(response), response[:300]
            assert b"SERVERBUG" not in response, (octets, response)
    finally:
        await client.close()


@pytest.mark.parametrize("make", [mutated, noise, spice])
@pytest.mark.parametrize("state", STATES)
async def test_octets_in_a_state(imap_server, state: str, make, caplog) -> None:
    server = await imap_server("demo", limits=Limits(bad_commands=1000))
    for seed in range(60):
        rng = random.Random(f"{state} {make.__name__} {seed}")
        octets = b"".join(make(rng) for _ in range(rng.choice((1, 5, 30))))
        await torment(server, STATES[state], octets, rng)
        errors = [
            (r.getMessage(), r.exc_text or r.exc_info)
            for r in caplog.records
            if r.levelname == "ERROR"
        ]
        assert errors == [], octets
    await alone(server)


async def test_the_server_is_well_afterwards(imap_server, connect: Connect) -> None:
    server = await imap_server("demo")
    rng = random.Random(7)
    for _ in range(50):
        await torment(server, STATES["selected"], b"".join(mutated(rng) for _ in range(40)), rng)
    client = await (await connect(server)).login(b"INBOX")
    await client.ok(b"FETCH 1:* (FLAGS ENVELOPE BODYSTRUCTURE BODY.PEEK[])")
    await client.ok(b'LIST "" *')


MALFORMED = [
    b"\r\n", b"\0", b"Subject", b":", b"Content-Type: multipart/mixed; boundary=\r\n\r\n--\r\n",
    b"Content-Type: multipart/mixed; boundary=\"\xff\"\r\n\r\n--\xff\r\n\r\n", b"From: <@,:;\"\\\r\nTo: (((\r\nDate: 99 Xxx 99999\r\n\r\n",
    b"Content-Type: message/rfc822\r\n\r\n", b"Content-Transfer-Encoding: base64\r\n\r\n=====A", b"Subject: =?x?b?=?= =?utf-16?b?/w==?=\r\n\r\n\xed\xa0\x80",
    b"Content-Type: text/plain; charset=\"utf-7\"\r\n\r\n+2AA-", b"Content-Type: ;=;=\r\nContent-Disposition: =;\"\r\nContent-Language: ,,\r\n\r\n",
]  # fmt: skip


async def test_malformed_messages(imap_server, connect: Connect, caplog) -> None:
    server = await imap_server()
    client = await (await connect(server)).login(b"INBOX")
    await client.ok(b"ENABLE UTF8=ACCEPT")
    rng = random.Random(11)
    messages = list(MALFORMED)
    for _ in range(300):
        base = bytearray(b"\r\n".join(rng.choices(MALFORMED, k=rng.randint(1, 5))))
        for _ in range(rng.randint(0, 10)):
            at = rng.randint(0, len(base))
            base[at:at] = rng.choice(
                (
                    b"\r\n",
                    b"--",
                    b"\0",
                    b"\xff",
                    b";",
                    b'"',
                    b"=?",
                    b"?=",
                    b"(",
                    b"\r\n\r\n",
                    b"*0*=",
                )
            )
        messages.append(bytes(base))
    for message in messages:
        answer = await client.command(b"APPEND INBOX ~{%d+}\r\n" % len(message) + message)
        assert answer.condition == b"OK", message
    await client.ok(b"NOOP")
    for items in (
        b"(ENVELOPE BODYSTRUCTURE)", b"BODY", b"(BODY.PEEK[1] BODY.PEEK[1.HEADER] BODY.PEEK[1.MIME] BODY.PEEK[TEXT])",
        b"BODY.PEEK[HEADER.FIELDS (SUBJECT)]", b"BODY.PEEK[HEADER.FIELDS.NOT (SUBJECT)]", b"(BINARY.SIZE[1] BINARY.PEEK[1])", b"(BINARY.PEEK[])",
    ):  # fmt: skip
        answer = await client.command(b"FETCH 1:* " + items)
        assert b"SERVERBUG" not in answer.tagged
        assert answer.condition == b"OK" or b"UNKNOWN-CTE" in answer.tagged
    found = await client.ok(b"FETCH 1:* BODY.PEEK[]")
    assert len(found) == len(messages)
    for response, message in zip(found, messages, strict=True):
        assert response.endswith(
            b"{%d}\r\n%b)\r\n" % (len(message), message)
        )  # octets in, octets out
    await client.ok(b"SEARCH OR TEXT x OR FROM x SENTSINCE 1-Jan-2000")
    assert [r for r in caplog.records if r.levelname == "ERROR"] == []
