"""The smallest blocking IMAP client: lines and literals out, whole responses in."""

from __future__ import annotations

import re
import socket
from typing import Any, Self

__all__ = ["Wire", "parse", "fetched"]

_LITERAL_AT_END = re.compile(rb"~?\{(\d+)\}\r\n\Z")


class Wire:
    """A connection. It says nothing by itself."""

    def __init__(self, port: int, host: str = "127.0.0.1", timeout_s: float = 20) -> None:
        self.socket = socket.create_connection((host, port), timeout_s)
        self.file = self.socket.makefile("rb")
        self.count = 0
        self.greeting = self.response()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def close(self) -> None:
        self.file.close()
        self.socket.close()

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def response(self) -> bytes:
        """One response with its literals and line ends; empty once the server has closed."""
        whole = line = self.file.readline()
        while found := _LITERAL_AT_END.search(line):
            whole += self.file.read(int(found[1]))
            line = self.file.readline()
            whole += line
        return whole

    def finish(self, tag: bytes) -> tuple[list[bytes], bytes]:
        """All responses up to the tagged one: those before it, and itself without its tag."""
        before = []
        while response := self.response():
            if response.startswith(tag + b" "):
                return before, response[len(tag) + 1 :].removesuffix(b"\r\n")
            before.append(response.removesuffix(b"\r\n"))
        raise EOFError(f"closed before {tag!r} was answered; {before[-1:]!r}")

    def command(self, line: bytes, *literals: bytes) -> tuple[list[bytes], bytes]:
        """Send a command; each literal replaces one `{}` in the line. The answers."""
        self.count += 1
        tag = b"t%d" % self.count
        first, *rest = line.split(b"{}")
        out = tag + b" " + first
        for literal, after in zip(literals, rest, strict=True):
            out += b"{%d+}\r\n" % len(literal) + literal + after
        self.send(out + b"\r\n")
        return self.finish(tag)

    def ok(self, line: bytes, *literals: bytes) -> list[bytes]:
        """As `command`, and it must succeed. The untagged answers."""
        untagged, tagged = self.command(line, *literals)
        assert tagged.startswith(b"OK"), (line, tagged, untagged[-3:])
        return untagged

    def login(self, user: str = "demouser", password: str = "demopass") -> Self:
        self.ok(f'LOGIN "{user}" "{password}"'.encode())
        return self


_TOKEN = re.compile(
    rb"""\s*(?: (?P<open>\() | (?P<close>\))
    | "(?P<quoted>(?:[^"\\]|\\.)*)" | ~?\{(?P<literal>\d+)\}\r\n
    | (?P<atom>(?:BODY|BINARY(?:\.SIZE)?)\[[^\]]*\](?:<\d+>)?|[^\s()"{]+) )""",
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)


def parse(octets: bytes) -> list[Any]:
    """A response as nested lists: strings and atoms are bytes, NIL is None."""
    stack: list[list[Any]] = [[]]
    at = 0
    while found := _TOKEN.match(octets, at):
        at = found.end()
        if found["open"]:
            stack.append([])
        elif found["close"]:
            done = stack.pop()
            stack[-1].append(done)
        elif found["literal"]:
            size = int(found["literal"])
            stack[-1].append(octets[at : at + size])
            at += size
        elif found["quoted"] is not None:
            stack[-1].append(re.sub(rb"\\(.)", rb"\1", found["quoted"]))
        else:
            stack[-1].append(None if found["atom"].upper() == b"NIL" else found["atom"])
    assert len(stack) == 1, octets
    assert not octets[at:].strip(), octets[at:]
    return stack[0]


def fetched(untagged: list[bytes]) -> dict[int, dict[bytes, Any]]:
    """The items of FETCH responses by sequence number; names in upper case."""
    found: dict[int, dict[bytes, Any]] = {}
    for response in untagged:
        match re.match(rb"\* (\d+) FETCH ", response):
            case None:
                continue
            case head:
                items = parse(response[head.end() :])[0]
        names = (name.upper() for name in items[::2])
        found.setdefault(int(head[1]), {}).update(zip(names, items[1::2], strict=True))
    return found
