"""Replays what a client sent, and compares the shape of the answers with the recorded ones.

A recording is text, a line being one of

    store: NAME COUNT [FLAGS]       a mailbox with that many of `messages.message`
    ----                            another connection, after the first was closed
    C: tag COMMAND                  sent; its tagged answer is waited for
    P: tag COMMAND                  sent, and not waited for until the next C:
    S: RESPONSE                     was answered to the commands above, in whatever order
    D: NAME N                       another session delivers message N

A C: or P: line may end in {msg N} or {msg N+}, a literal that waits for "+" or does not.
{plain} is the SASL response, {uidvalidity} and {modseq} are what the last SELECT told. IDLE is
ended by "C: DONE"; what stands as S: between them has to come before it is sent.

Every tagged answer must be OK, if its S: line does not say otherwise. Untagged ones are compared
by `shape`: numbers, dates, octets, and the order of what has no order, do not count; the results
of SEARCH do.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable

from .conftest import PASSWORD, USER, Place
from .messages import message
from .wire import Wire, parse

PLAIN = b64encode(f"\0{USER}\0{PASSWORD}".encode())
_LITERAL = re.compile(rb"\{msg (\d+)(\+?)\}$")


def shape(response: bytes) -> str:
    """What two servers' answers have in common if they say the same kind of thing."""
    if response.startswith(b"+"):
        return "+"
    words = response.split(b" ", 3)
    if words[1].isdigit():
        if words[2].upper() != b"FETCH":
            return f"N {words[2].decode().upper()}"
        names = [re.sub(rb"<\d+>$", b"", name.upper()) for name in parse(words[3])[0][::2]]
        return f"FETCH {b' '.join(sorted(names)).decode()}"
    kind = words[1].decode().upper()
    match kind:
        case "OK" | "NO" | "BAD" | "BYE" | "PREAUTH":
            found = re.match(rb"\* \w+ \[([A-Za-z0-9-]+)", response)
            return f"{kind} [{found[1].decode().upper()}]" if found else kind
        case "LIST" | "LSUB":
            attributes, delimiter, name, *_ = parse(response.split(b" ", 2)[2])
            shown = " ".join(sorted(a.decode().lower() for a in attributes))
            return f"{kind} ({shown}) {delimiter!r} {name!r}"
        case "STATUS":
            name, items = parse(response.split(b" ", 2)[2])
            return f"STATUS {name!r} {sorted(items[::2])}"
        case "SEARCH" | "NAMESPACE" | "ENABLED":
            return response[2:].decode().rstrip()
        case "VANISHED":
            return re.sub(r"\d[\d:,]*", "N", response[2:].decode())
    return kind


def commands(text: str) -> list[tuple[str, str]]:
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found = []
    for line in lines:
        kind, _, rest = line.partition(": ")
        assert kind in ("store", "----", "C", "P", "S", "D"), line
        found.append((kind, rest))
    return found


class Replay:
    def __init__(self, place: Place) -> None:
        self.place = place
        self.side = place.wire()  # prepares, and delivers
        self.wire: Wire | None = None
        self.values = {b"plain": PLAIN}
        self.open: list[bytes] = []  # tags that are not answered
        self.heard: list[bytes] = []  # untagged answers since the commands were sent
        self.tagged: dict[bytes, bytes] = {}
        self.told: set[bytes] = set()  # tags whose answer an S: line named
        self.idle = b""
        self.challenged = b""

    def close(self) -> None:
        self.side.close()
        self.hang_up()

    def hang_up(self) -> None:
        if self.wire is not None:
            self.judge()
            self.wire.close()
            self.wire = None
        self.idle = b""

    def store(self, rest: str) -> None:
        name, count, *flags = re.findall(r'"[^"]*"|\S+', rest)
        if name != "INBOX":
            self.side.ok(b"CREATE " + name.encode())
        for n in range(int(count)):
            line = f'APPEND {name} ({" ".join(flags)}) "20-Mar-2017 08:53:{n % 60:02d} +0000" '
            self.side.ok(line.encode() + b"{}", message(n))

    def deliver(self, rest: str) -> None:
        name, n = rest.rsplit(" ", 1)
        self.side.ok(f"APPEND {name} ".encode() + b"{}", message(int(n)))

    # -- sending --

    def send(self, line: str, wait: bool) -> None:
        self.judge()
        if self.wire is None:
            self.wire = Wire(self.place.port)
        octets = line.encode()
        for name, value in self.values.items():
            octets = octets.replace(b"{%b}" % name, value)
        if self.idle and octets == b"DONE":
            self.wire.send(b"DONE\r\n")
            self.idle = b""
        elif self.challenged:
            self.wire.send(octets + b"\r\n")
            self.challenged = b""
        else:
            self.command(octets)
        if wait:
            self.collect()

    def command(self, octets: bytes) -> None:
        assert self.wire is not None
        tag, _, command = octets.partition(b" ")
        self.open.append(tag)
        if found := _LITERAL.search(octets):
            literal = message(int(found[1]))
            self.wire.send(octets[: found.start()] + b"{%d%b}\r\n" % (len(literal), found[2]))
            if not found[2]:
                self.collect(until_go_ahead=True)
            self.wire.send(literal + b"\r\n")
            return
        self.wire.send(octets + b"\r\n")
        if command.upper() == b"IDLE":
            self.idle = tag
            self.collect(until_go_ahead=True)
        elif command.upper().startswith(b"AUTHENTICATE") and command.count(b" ") == 1:
            self.challenged = tag
            self.collect(until_go_ahead=True)

    # -- hearing --

    def next(self) -> bytes:
        assert self.wire is not None
        response = self.wire.response().removesuffix(b"\r\n")
        assert response, f"closed; open: {self.open}; heard: {self.heard[-3:]}"
        tag, _, rest = response.partition(b" ")
        if tag in self.open:
            self.open.remove(tag)
            self.tagged[tag] = rest
        elif tag != b"+":
            self.heard.append(response)
            for name in (b"UIDVALIDITY", b"HIGHESTMODSEQ"):
                if found := re.match(rb"\* OK \[%b (\d+)\]" % name, response):
                    self.values[name.lower().replace(b"highestm", b"m")] = found[1]
        return response

    def collect(self, until_go_ahead: bool = False) -> None:
        if not until_go_ahead and (self.idle or self.challenged):
            return
        while self.open:
            if self.next().startswith(b"+") and until_go_ahead:
                return

    def expect(self, line: str) -> None:
        expected = line.encode()
        tag, _, rest = expected.partition(b" ")
        if tag in self.tagged or (tag not in (b"*", b"+")):
            got = self.tagged[tag]
            self.told.add(tag)
            kind = shape(b"* " + rest)
            assert (
                shape(b"* " + got) == kind if "[" in kind else got.startswith(rest.split(b" ")[0])
            ), (
                line,
                got,
            )
            return
        if tag == b"+":
            return
        wanted = shape(expected)
        while not any(shape(r) == wanted for r in self.heard):
            shapes = sorted({shape(r) for r in self.heard})
            assert self.idle, f"{wanted!r} was not answered, but {shapes}; {self.tagged}"
            self.next()

    def judge(self) -> None:
        """Before the next command: all were OK whose answer was not named."""
        for tag, rest in self.tagged.items():
            if tag not in self.told:
                assert rest.startswith(b"OK"), (tag, rest)
        if not self.open:
            self.tagged, self.heard, self.told = {}, [], set()


def replay(place: Place, text: str) -> int:
    """Run a recording; the number of commands. Raises AssertionError where the server differs."""
    run = Replay(place)
    steps: dict[str, Callable[[str], None]] = {
        "store": run.store,
        "----": lambda _: run.hang_up(),
        "C": lambda line: run.send(line, True),
        "P": lambda line: run.send(line, False),
        "S": run.expect,
        "D": run.deliver,
    }
    count = 0
    try:
        for kind, rest in commands(text):
            try:
                steps[kind](rest)
            except AssertionError as error:
                raise AssertionError(f"at {kind}: {rest}\n{error}") from error
            count += kind in "CP"
        run.hang_up()
    finally:
        run.close()
    return count
