"""The text of a transcript file, read into cases, blocks and lines (README.md has the format)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from .pattern import BadScript, Line, unescape


@dataclass(frozen=True, slots=True)
class Expected:
    """One S line. `mark` is ":" must, "?" may, "!" must not, ">" must and in this order."""

    mark: str
    text: str
    line_no: int
    line: Line | None  # None for the words below

    @property
    def word(self) -> str:
        """`...`, `closed`, `expunges` or `vanishes`; "" for a response."""
        return "" if self.line else self.text.split(" ")[0]


@dataclass(slots=True)
class Block:
    """What one connection sends in one go, and what comes back."""

    connection: int
    line_no: int
    commands: list[str] = field(default_factory=list)
    expected: list[Expected] = field(default_factory=list)
    close: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    fixture: str = "empty"
    login: bool = True
    users: tuple[int, ...] = ()  # which user each connection logs in as, if not the first
    skip: tuple[tuple[str, str], ...] = ()  # (peer, reason)
    extensions: tuple[tuple[str, object], ...] = ()  # fields of ExtensionConfig


@dataclass(slots=True)
class Case:
    name: str
    settings: Settings
    blocks: list[Block]
    env: dict[str, bytes]


SAID = re.compile(r"([CS])(\d*)([:?!>])(?: (.*))?")
COMMENT = re.compile(r"(^|\s\s+)#( .*)?$")
WORDED = {"yes": True, "no": False, "none": None}
WORDS = ("...", "closed", "expunges", "vanishes")


def read(path: Path) -> list[Case]:
    return Reader(path).cases


class Reader:
    """Lines before the first `==` are done at the start of each case."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cases: list[Case] = []
        self.shared = Case("", Settings(), [], {})
        self.case = self.shared
        self.heredocs = 0
        lines = path.read_text("utf-8").split("\n")
        at = 0
        while at < len(lines):
            at = self.statement(lines, at)

    def statement(self, lines: list[str], at: int) -> int:
        line = COMMENT.sub("", lines[at])
        octets, after = heredoc(lines, at + 1)
        if not line.strip():
            return at + 1
        if line.startswith("== "):
            self.begin(line[3:].strip())
        elif m := SAID.fullmatch(line):
            self.said(m, at + 1, octets)
            return after
        elif line.startswith("let "):
            self.let(line[4:], octets)
            return after
        elif line.startswith("close"):
            number = int(line[5:].strip() or 1)
            self.case.blocks.append(Block(number, at + 1, close=True))
        else:
            self.directive(line, at + 1)
        return at + 1

    def begin(self, name: str) -> None:
        # Blocks are only read once parsed, so cases may share those of the preamble.
        shared = self.shared
        self.case = Case(name, shared.settings, list(shared.blocks), dict(shared.env))
        self.cases.append(self.case)
        self.first = len(shared.blocks)

    def said(self, m: re.Match[str], line_no: int, octets: bytes) -> None:
        who, number, mark, text = m[1], int(m[2] or 1), m[3], m[4] or ""
        if "{<<" in text:
            self.heredocs += 1
            name = f"_{self.heredocs}"
            self.case.env[name] = octets
            text = text.replace("{<<", ("{@" if who == "C" else "{") + name)
        if who == "C":
            block = self.last(number)
            if block is None or block.expected:
                block = self.add(number, line_no)
            block.commands.append(text)
            return
        block = self.last(number) or self.add(number, line_no)
        word = text.split(" ")[0] in WORDS
        try:
            line = None if word else Line.parse(text)
        except Exception as e:
            raise BadScript(f"{self.path.name}:{line_no}: {e}") from e
        block.expected.append(Expected(mark, text, line_no, line))

    def last(self, number: int) -> Block | None:
        """The block that this connection still speaks in, unless another has spoken since."""
        mine = self.case.blocks[self.first if self.case is not self.shared else 0 :]
        if mine and mine[-1].connection == number and not mine[-1].close:
            return mine[-1]
        return None

    def add(self, number: int, line_no: int) -> Block:
        block = Block(number, line_no)
        self.case.blocks.append(block)
        return block

    def let(self, text: str, octets: bytes) -> None:
        """let a | octets, let a = "octets", let a = 5000*"x" """
        name, equals, value = text.partition("=")
        if equals:
            m = re.fullmatch(r'\s*(?:(\d+)\*)?"((?:[^"\\]|\\.)*)"\s*', value)
            if m is None:
                raise BadScript(f"{self.path.name}: let {text}")
            octets = unescape(m[2].encode()) * int(m[1] or 1)
        self.case.env[name.strip()] = octets

    def directive(self, line: str, line_no: int) -> None:
        key, _, value = (part.strip() for part in line.partition(":"))
        settings = self.case.settings
        if key == "fixture":
            settings = replace(settings, fixture=value)
        elif key == "login":
            settings = replace(settings, login=value == "yes")
        elif key == "option":
            name, _, text = value.partition("=")
            given = WORDED.get(text, int(text) if text.isdigit() else text)
            settings = replace(settings, extensions=(*settings.extensions, (name, given)))
        elif key == "users":
            settings = replace(settings, users=tuple(map(int, value.split())))
        elif key.startswith("not "):
            settings = replace(settings, skip=(*settings.skip, (key[4:], value)))
        else:
            raise BadScript(f"{self.path.name}:{line_no}: {line}")
        self.case.settings = settings


def heredoc(lines: list[str], at: int) -> tuple[bytes, int]:
    """The lines that begin with "|", each ended by CRLF, and where they stop."""
    found = b""
    while at < len(lines) and lines[at].startswith("|"):
        text = lines[at][1:]
        found += text.removeprefix(" ").encode() + b"\r\n"
        at += 1
    return found, at
