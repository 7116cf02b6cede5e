"""Plays a case over real sockets.

Rule 1: a block's answer is everything up to the last thing the block waits for: its tagged lines,
        its "+", the end of the connection; a block that sent nothing waits for its own lines.
Rule 2: every line that came must be expected, and every line expected must come.
Time is only a guard: nothing is ever slept for.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from .pattern import BadScript, Env, evaluate, expand, unescape
from .response import Atom, Response, Text, Value, parse
from .script import Block, Case, Expected

GUARD_S = 10.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server with a new store in it, and the account to use."""

    host: str
    port: int
    user: str = "demouser"
    password: str = "demopass"

    def name(self, number: int) -> str:
        """The name of the first, second or third user; all have the same password."""
        return self.user if number == 1 else f"{self.user}{number}"


class Mismatch(AssertionError):
    """The server did not say what the transcript says."""


class Ended(Exception):
    """The server has said BYE where the transcript allows it: the case is over, and fine."""


class Client:
    """One connection; keeps a log of both sides for the failure report."""

    def __init__(self, number: int, log: list[str]) -> None:
        self.number = "" if number == 1 else str(number)
        self.log = log
        self.utf8 = False
        self.closed = False
        self.pending: list[Response] = []

    async def open(self, endpoint: Endpoint) -> None:
        self.reader, self.writer = await asyncio.open_connection(
            endpoint.host, endpoint.port, limit=2**24
        )
        self.pending.append(await self.read())

    async def send(self, octets: bytes) -> None:
        self.log.append(f"C{self.number}: {shown(octets, 200)}")
        try:
            self.writer.write(octets)
            await self.writer.drain()
        except ConnectionError:
            self.log.append("   (the connection is gone)")

    async def read(self) -> Response:
        """The next response; EOFError when there is none."""
        raw = b""
        while True:
            line = await self.line()
            raw += line
            if (m := re.search(rb"\{(\d+)\}\r\n$", line)) and not is_text(raw):
                raw += await self.reader.readexactly(int(m[1]))
            else:
                break
        self.log.append(f"S{self.number}: {shown(raw, 2000)}")
        response = parse(raw[:-2], utf8=self.utf8)
        if response.name == b"ENABLED":
            on = {v.value.upper() for v in response.values if isinstance(v, Atom)}
            self.utf8 |= bool(on & {b"UTF8=ACCEPT", b"IMAP4REV2"})
        return response

    async def line(self) -> bytes:
        try:
            line = await self.reader.readline()
        except ConnectionError:
            line = b""
        if not line:
            self.closed = True
            self.log.append(f"S{self.number}: (closed)")
            raise EOFError
        if not line.endswith(b"\r\n"):
            raise Mismatch(f"a line does not end with CRLF: {line!r}")
        return line

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


def shown(octets: bytes, most: int) -> str:
    text = octets.decode("utf-8", "backslashreplace").rstrip()
    return text if len(text) <= most else f"{text[:most]}... ({len(octets)} octets)"


def is_text(raw: bytes) -> bool:
    """Human text may end like a literal."""
    return bool(re.match(rb"\S+ (OK|NO|BAD|BYE|PREAUTH)\b|\+", raw, re.I)) and b"[" not in raw


# -- what is sent --


@dataclass(frozen=True, slots=True)
class Piece:
    octets: bytes
    wait: bool  # for the server's "+" after it


def pieces(text: str, env: Env) -> list[Piece]:
    """A C line as octets: {"literal"}, {@name}, {@name+}, {x0D}, {20*(}, {expression}."""
    done: list[Piece] = []
    out = b""
    at = 0
    while (start := text.find("{", at)) >= 0:
        out += text[at:start].encode()
        m = SENT.match(text, start)
        if m is None:
            raise BadScript(f"not understood: {text[start:]}")
        at = m.end()
        if m["count"]:
            out += m[0].encode()
        elif m["hex"]:
            out += bytes.fromhex(m["hex"])
        elif m["times"]:
            out += m["what"].encode() * int(m["times"])
        elif m["expr"]:
            out += evaluate(m["expr"], env)
        else:
            name = m["name"]
            octets = evaluate(name, env) if name else unescape(m["quoted"].encode())
            out += b"{%d%s}\r\n" % (len(octets), m["plus"].encode())
            if not m["plus"]:
                done.append(Piece(out, True))
                out = b""
            out += octets
    return [*done, Piece(out + text[at:].encode() + b"\r\n", False)]


SENT = re.compile(
    r"\{(?:(?P<count>\d+\+?)|x(?P<hex>(?:[0-9A-F]{2})+)|(?P<times>\d+)\*(?P<what>[^}]+)"
    r'|(?:@(?P<name>[^}+]+)|"(?P<quoted>(?:[^"\\]|\\.)*)")(?P<plus>\+?)|(?P<expr>[^}"@]+))\}'
)


# -- what comes back --


def ambient(r: Response) -> bool:
    """Lines that a server may add anywhere, and that mean nothing new: not an error unasked."""
    if r.name in (b"RECENT", b"FLAGS", b"CAPABILITY"):
        return True
    if r.tag == b"*" and r.name == b"OK":
        return r.code is None or r.code[0] in AMBIENT_CODES
    return False


AMBIENT_CODES = tuple(
    Atom(name) for name in (b"PERMANENTFLAGS", b"HIGHESTMODSEQ", b"MAILBOXID", b"URLMECH")
)


def settle(block: Block, got: list[Response], env: Env) -> Env:
    """Every line finds its expectation, or Mismatch says what is left."""
    left = list(got)
    env = take_sums(block, left, env)
    wanted = [e for e in block.expected if e.line and e.mark in ":>"]
    for found in assign(wanted, left, env, -1):
        used, env = found
        break
    else:
        raise Mismatch(explain(wanted, left, env))
    rest = [r for n, r in enumerate(left) if n not in used]
    for e in block.expected:
        if e.mark == "?" and e.line:
            for r in list(rest):
                if next(e.line.matches(r, env), None) is not None:
                    rest.remove(r)
        if e.mark == "!" and e.line:
            for r in got:
                if next(e.line.matches(r, env), None) is not None:
                    raise Mismatch(f"line {e.line_no} forbids: {r.raw!r}")
    rest = [r for r in rest if not ambient(r)]
    anything = any(e.word == "..." for e in block.expected)
    if rest and not anything:
        raise Mismatch("not expected: " + ", ".join(repr(r.raw) for r in rest))
    return env


def assign(
    wanted: list[Expected], got: list[Response], env: Env, after: int
) -> Iterator[tuple[frozenset[int], Env]]:
    """Ways to give each expectation a response of its own."""
    yield from _assign(tuple(wanted), got, frozenset(), env, after)


def _assign(
    wanted: tuple[Expected, ...],
    got: list[Response],
    used: frozenset[int],
    env: Env,
    after: int,
) -> Iterator[tuple[frozenset[int], Env]]:
    if not wanted:
        yield used, env
        return
    first, line = wanted[0], wanted[0].line
    assert line is not None
    for n, r in enumerate(got):
        if n in used or (first.mark == ">" and n <= after):
            continue
        for e in line.matches(r, env):
            then = n if first.mark == ">" else after
            yield from _assign(wanted[1:], got, used | {n}, e, then)


def explain(wanted: list[Expected], got: list[Response], env: Env) -> str:
    for n in range(1, len(wanted) + 1):
        if next(assign(wanted[:n], got, env, -1), None) is None:
            return f"line {wanted[n - 1].line_no} never came: {wanted[n - 1].text}"
    return "no reading of the lines fits"


def take_sums(block: Block, left: list[Response], env: Env) -> Env:
    """`expunges 2,4` and `vanishes 7:9`: what a run of lines comes to, however it was said."""
    for e in block.expected:
        if e.word == "expunges":
            mine = [r for r in left if r.name == b"EXPUNGE"]
            check(e, original_numbers([r.number or 0 for r in mine]), env)
        elif e.word == "vanishes":
            earlier = "(EARLIER)" in e.text
            mine = [
                r
                for r in left
                if r.name == b"VANISHED" and isinstance(r.values[0], tuple) == earlier
            ]
            uids = [u for r in mine for u in expand(last_atom(r.values))]
            check(e, uids, env)
        else:
            continue
        for r in mine:
            left.remove(r)
    return env


def check(e: Expected, found: list[int], env: Env) -> None:
    text = re.sub(r"\{([^}]+)\}", lambda m: evaluate(m[1], env).decode(), e.text.split(" ")[-1])
    if sorted(found) != sorted(expand(text.encode())):
        raise Mismatch(f"line {e.line_no}: {e.text}, but it was {sorted(found)}")


def last_atom(values: tuple[Value, ...]) -> bytes:
    last = values[-1]
    assert isinstance(last, Atom | Text)
    return last.value


def original_numbers(expunged: list[int]) -> list[int]:
    """Which messages left, counted as before the first EXPUNGE.   RFC 9051 7.5.1"""
    gone: list[int] = []
    for seq in expunged:
        for earlier in sorted(gone):
            seq += earlier <= seq
        gone.append(seq)
    return gone


# -- a case --


class Player:
    def __init__(self, case: Case, endpoint: Endpoint) -> None:
        self.case = case
        self.endpoint = endpoint
        self.clients: dict[int, Client] = {}
        self.log: list[str] = []
        user, password = endpoint.user.encode(), endpoint.password.encode()
        self.env: Env = {
            "user": user,
            "user2": endpoint.name(2).encode(),
            "user3": endpoint.name(3).encode(),
            "minus2": b"-" + endpoint.name(2).encode(),
            "others": b"Other Users/" + user,
            "pass": password,
            "plain": base64.b64encode(b"\0" + user + b"\0" + password),
            "badplain": base64.b64encode(b"\0" + user + b"\0not" + password),
            **case.env,
        }

    async def play(self) -> None:
        try:
            for block in self.case.blocks:
                try:
                    await self.block(block)
                except TimeoutError:
                    raise Mismatch(f"the block at line {block.line_no} got no answer") from None
                except (AssertionError, EOFError) as e:
                    raise Mismatch(f"block at line {block.line_no}: {e!r}") from e
        except Ended:
            pass
        except Mismatch as e:
            raise Mismatch(f"{e}\n\n" + "\n".join(self.log)) from None
        finally:
            for client in self.clients.values():
                await client.close()

    async def client(self, number: int) -> Client:
        if number in self.clients:
            return self.clients[number]
        client = self.clients[number] = Client(number, self.log)
        await client.open(self.endpoint)
        if self.case.settings.login:
            users = self.case.settings.users
            user = self.endpoint.name(users[number - 1] if number <= len(users) else 1)
            login = f"login LOGIN {user} {self.endpoint.password}\r\n"
            await client.send(login.encode())
            while (r := await client.read()).tag != b"login":
                pass
            assert r.name == b"OK", r.raw
            client.pending.clear()
        return client

    async def block(self, block: Block) -> None:
        async with asyncio.timeout(GUARD_S):
            client = await self.client(block.connection)
            if block.close:
                await client.close()
                del self.clients[block.connection]
                return
            got: list[Response] = []
            if block.commands:
                client.pending.clear()  # the greeting, when nobody looked at it
            got += client.pending
            client.pending = []
            await self.send(client, block, got)
            await self.receive(client, block, got)
        self.env = settle(block, got, self.env)

    async def send(self, client: Client, block: Block, got: list[Response]) -> None:
        """Commands without synchronizing literals leave in one write, pipelined."""
        out = b""
        for command in block.commands:
            for piece in pieces(command, self.env):
                out += piece.octets
                if not piece.wait:
                    continue
                await client.send(out)
                out = b""
                tag = command.split(" ")[0].encode()
                while (r := await client.read()).tag not in (b"+", tag):
                    got.append(r)
                if r.tag != b"+":  # refused: the literal is not sent   RFC 9051 4.3
                    got.append(r)
                    break
        if out:
            await client.send(out)

    async def receive(self, client: Client, block: Block, got: list[Response]) -> None:
        to_the_end = any(e.mark == ":" and e.word == "closed" for e in block.expected)
        waits = [e for e in block.expected if e.line and e.mark in ":>" and e.line.tag != b"*"]
        tags = {e.line.tag for e in waits if e.line}
        while to_the_end or not self.enough(block, tags, got):
            try:
                got.append(await client.read())
            except EOFError:
                if to_the_end:
                    return
                may_end = any(e.mark == "?" and e.word == "closed" for e in block.expected)
                if may_end and got and got[-1].name == b"BYE":
                    raise Ended from None
                raise

    def enough(self, block: Block, tags: set[bytes], got: list[Response]) -> bool:
        if tags:
            return tags <= {r.tag for r in got}
        try:
            settle(block, got, self.env)
        except Mismatch:
            # A line too many will not go away by waiting.
            wanted = [e for e in block.expected if e.line and e.mark in ":>"]
            sums = any(e.word in ("expunges", "vanishes") for e in block.expected)
            return not sums and next(assign(wanted, got, self.env, -1), None) is not None
        return True


async def play(case: Case, endpoint: Endpoint) -> None:
    await Player(case, endpoint).play()
