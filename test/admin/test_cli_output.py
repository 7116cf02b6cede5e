"""Tables, fields, JSON and progress."""

from __future__ import annotations

import io
import json
import os
import pty
import sys
from pathlib import Path

import pytest

from pymap.admin import output
from pymap.admin.cli.messages import as_dict
from pymap.admin.output import Column, Output
from pymap.admin.proto.admin_pb2 import MailboxInfo, PingResponse, WhoResponse

COLUMNS = (
    Column("name", "name"),
    Column("size", "size", output.octets, right=True),
    Column("flags", "flags", " ".join),
)
ROWS = [
    {"name": "日本", "size": 1536, "flags": ["a", "b"]},
    {"name": "x", "size": 0, "flags": []},
]


class Stream(io.TextIOWrapper):
    """Standard output or a terminal."""

    def __init__(self, encoding: str = "utf-8", terminal: bool = False) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, newline="", write_through=True)
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal

    @property
    def text(self) -> str:
        self.seek(0)
        return self.read()


def test_columns_are_wide_enough_for_all() -> None:
    stream = Stream()
    Output(False, stream).table(ROWS, COLUMNS)
    assert stream.text == "NAME     SIZE  FLAGS\n日本  1.5 KiB  a b\nx         0 B  -\n"


def test_an_empty_table_has_its_titles() -> None:
    stream = Stream()
    Output(False, stream).table([], COLUMNS)
    assert stream.text == "NAME  SIZE  FLAGS\n"


def test_fields() -> None:
    stream = Stream()
    for row in ROWS:
        Output(False, stream).fields(row, COLUMNS)
    assert stream.text == "name: 日本\nsize: 1.5 KiB\nflags: a b\nname: x\nsize: 0 B\nflags:\n"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_json_is_raw(encoding: str) -> None:
    stream = Stream(encoding)
    Output(True, stream).table(ROWS, COLUMNS)
    assert json.loads(stream.text) == ROWS
    stream = Stream(encoding)
    Output(True, stream).fields(ROWS[0], COLUMNS)
    assert json.loads(stream.text) == ROWS[0]


def test_a_name_cannot_drive_the_terminal() -> None:
    stream = Stream()
    Output(False, stream).table(
        [{"name": "a\n\x1b[2J\x9b1\u2028b\x00", "size": 1, "flags": []}], COLUMNS
    )
    assert stream.text.splitlines()[1] == r"a\n\x1b[2J\x9b1\u2028b\x00   1 B  -"


def test_a_terminal_has_a_table_of_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    stream = Stream(terminal=True)
    Output(False, stream).table([{"name": "[red]x[/red]", "size": 7, "flags": []}], COLUMNS)
    assert "[red]x[/red]" in stream.text  # it is text, not markup
    assert "─" in stream.text
    monkeypatch.setitem(sys.modules, "rich", None)
    for name in [name for name in sys.modules if name.startswith("rich.")]:
        monkeypatch.delitem(sys.modules, name)
    stream = Stream(terminal=True)
    Output(False, stream).table(ROWS, COLUMNS)
    assert stream.text.startswith("NAME     SIZE  FLAGS\n")


def test_nobody_reads() -> None:
    class Closed(Stream):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    with pytest.raises(output.OutputGone):
        Output(False, Closed()).line("x")
    with pytest.raises(output.OutputGone):
        Output(False, Closed(terminal=True)).table(ROWS, COLUMNS)


def test_characters_that_the_terminal_has_not() -> None:
    """Never an error: a name in another script is not worth one."""
    stream = Stream("ascii")
    Output(False, stream).line("Größe")
    assert stream.text == "Gr\\xf6\\xdfe\n"


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (10_240, "10 KiB"),
     (1023 * 1024, "1.0 MiB"), (5 * 1024**3, "5.0 GiB"), (2**63, "8388608 TiB")],
)  # fmt: skip
def test_octets(size: int, text: str) -> None:
    assert output.octets(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59, "59s"), (60, "1m00s"), (3725, "1h02m"), (86_400 * 3 + 3600, "3d01h")],
)
def test_durations(seconds: int, text: str) -> None:
    assert output.duration(seconds) == text


def test_counts() -> None:
    counted = [output.count(number, "message") for number in (0, 1, 1234)]
    assert counted == ["0 messages", "1 message", "1,234 messages"]


def test_messages_are_plain_values_with_all_fields() -> None:
    found = as_dict(PingResponse(started=2**40, addresses=["a:1"]))
    assert found["started"] == 2**40
    assert found["addresses"] == ["a:1"]
    assert found["ready"] is False
    assert as_dict(WhoResponse()) == {"sessions": []}
    info = as_dict(MailboxInfo(name="x", special_use=["\\Sent"]))
    assert info == {"name": "x", "id": "", "special_use": ["\\Sent"], "subscribed": False}


# -- progress --


def test_nothing_is_shown_where_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream, term in ((Stream(), "xterm"), (Stream(terminal=True), "dumb")):
        monkeypatch.setenv("TERM", term)
        with output.progress("import", stream) as show:
            show("1 message", 0.5)
        assert stream.text == ""


def test_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    stream = Stream(terminal=True)
    with output.progress("import [x]", stream) as show:
        show("1 message", None)
        show("2 [b]messages[/b]", 0.5)
        show("3 messages", 7.0)
    assert "import [x]" in stream.text


def test_a_counter_without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setitem(sys.modules, "rich", None)
    for name in [name for name in sys.modules if name.startswith("rich.")]:
        monkeypatch.delitem(sys.modules, name)
    stream, clock = Stream(terminal=True), iter([0.0, 0.0, 0.0, 0.05, 1.0, 1.0])
    with output.progress("import", stream, lambda: next(clock)) as show:
        show("1 message", None)
        show("2 messages", None)  # too soon after the last one
        show("3\nmessages", 0.5)
    assert stream.text == ("\rimport 1 message\x1b[K\rimport 50% 3\\nmessages\x1b[K\r\x1b[K")


def test_a_real_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs = pty.openpty()
    try:
        with open(theirs, "w", encoding="utf-8") as terminal:
            Output(False, terminal).table(ROWS, COLUMNS)
            text = os.read(ours, 10_000).decode()
    finally:
        os.close(ours)
    assert "日本" in text
