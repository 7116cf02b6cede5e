"""What the log looks like, and that nobody waits for who reads it."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pymap import logs
from pymap.config import Config
from pymap.logs import JsonFormatter, Output, TextFormatter

log = logging.getLogger("pymap.test")

ROOT = Path(__file__).parents[1]

# Names that want to be more than a name.
HOSTILE = [
    "a\nINFO login failed: address=192.0.2.9",
    "a\r\nb",
    "a\x1b[2Jb",
    "a\x00b",
    "a\x85b\x9bc",
    "a\u2028b\u2029c",
    "a\u202eb",
    "a\udc80b\ud800",
    "a\x0b\x0c\x1c\x1d\x1eb",
]


def record(message: object, *args: object, **more: Any) -> logging.LogRecord:
    made = logging.LogRecord("pymap.test", logging.INFO, "", 0, message, args, None)
    made.__dict__.update(more)
    return made


def raised(error: BaseException) -> Any:
    try:
        raise error
    except BaseException:
        return sys.exc_info()


class Awkward:
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


# -- text --


def test_text_is_one_line_with_its_time() -> None:
    line = TextFormatter().format(record("%s: FETCH", "192.0.2.1:99"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO 192.0.2.1:99: FETCH", line)
    assert TextFormatter(timed=False).format(record("started")) == "INFO started"


def test_what_can_be_read_stays_as_it_is() -> None:
    line = TextFormatter(timed=False).format(record(r"S: FLAGS (\Seen) Entwürfe 受信箱"))
    assert line == r"INFO S: FLAGS (\Seen) Entwürfe 受信箱"


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_no_name_makes_a_second_line(formatter: logging.Formatter, name: str) -> None:
    line = formatter.format(record("user=%s", name, fields={"user": name, name: 1}))
    assert line.isprintable()
    assert len(line.splitlines()) == 1
    line.encode()


def test_a_traceback_can_be_read() -> None:
    text = TextFormatter(timed=False).format(record("failed", exc_info=raised(KeyError("x"))))
    first, *lines = text.split("\n")
    assert first == "INFO failed"
    assert lines[0] == "  | Traceback (most recent call last):"
    assert lines[-1] == "  | KeyError: 'x'"
    assert all(line.startswith("  | ") for line in lines)


@pytest.mark.parametrize("name", HOSTILE)
def test_the_text_of_an_exception_looks_like_no_record(name: str) -> None:
    text = TextFormatter(timed=False).format(record("failed", exc_info=raised(ValueError(name))))
    first, *lines = text.splitlines()
    assert first == "INFO failed"
    assert all(line.startswith("  | ") for line in lines)
    text.encode()


def test_arguments_that_do_not_fit_are_still_a_line() -> None:
    for formatter in (TextFormatter(), JsonFormatter()):
        assert "%d octets" in formatter.format(record("%d octets", "many"))
        assert "TypeError" in formatter.format(record("%d octets", "many"))
        assert "RuntimeError" in formatter.format(record("%s", Awkward()))
        assert "<Awkward>" in formatter.format(record(Awkward()))


# -- json --


def told(message: object, *args: object, **more: Any) -> dict[str, Any]:
    line = JsonFormatter().format(record(message, *args, **more))
    assert "\n" not in line

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    parsed: dict[str, Any] = json.loads(line, parse_constant=refuse)
    return parsed


def test_json_has_time_level_logger_message_and_fields() -> None:
    fields = {"command": "FETCH", "result": "ok", "seconds": 0.000231}
    got = told("%s done", "FETCH", fields=fields, created=1_800_000_000.0625)
    assert got == {
        "time": "2027-01-15T08:00:00.062Z",
        "level": "info",
        "logger": "pymap.test",
        "message": "FETCH done",
        **fields,
    }


def test_a_field_takes_nobodys_place() -> None:
    fields = {"time": 1, "level": "error", "message": "forged", "exception": "none", "user": "u"}
    got = told("real", fields=fields, exc_info=raised(KeyError("x")))
    assert (got["level"], got["message"], got["user"]) == ("info", "real", "u")
    assert got["exception"].endswith("KeyError: 'x'")


CIRCLE: list[object] = []
CIRCLE.append(CIRCLE)

ODD: list[tuple[object, object]] = [
    (b"a\xff", "a\\xff"),
    (bytearray(b"a"), "a"),
    (memoryview(b"a"), "a"),
    ({3, 1, 2}, [1, 2, 3]),
    (frozenset({"a", 1}), [1, "a"]),
    ((1, None, True), [1, None, True]),
    ({b"k": {1: 2}}, {"b'k'": {"1": 2}}),
    ("a\udc80", "a\\udc80"),
    (float("nan"), "nan"),
    (float("-inf"), "-inf"),
    (2**64 - 1, 2**64 - 1),
    (10**30, str(10**30)),
    (Path("a/b"), "a/b"),
    (signal.SIGHUP, 1),
    (Awkward(), "<Awkward>"),
    (ValueError("a\nb"), "a\nb"),
]


@pytest.mark.parametrize(("value", "shown"), ODD, ids=lambda value: type(value).__name__)
def test_any_value_can_be_written(value: object, shown: object) -> None:
    assert told("m", fields={"value": value})["value"] == shown


@pytest.mark.parametrize(
    "value", [CIRCLE, 10**5000, {"a": CIRCLE}, {Awkward(): 1}, "x" * 10**6],
    ids=["circle", "number", "inside", "key", "text"],
)  # fmt: skip
def test_values_without_end_come_to_one(value: object) -> None:
    assert "value" in told("m", fields={"value": value})


@pytest.mark.parametrize("fields", [None, 7, "text", [("a", 1)], b"\xff"])
def test_fields_may_be_no_mapping(fields: object) -> None:
    assert "fields" in told("m", fields=fields)


# -- fail2ban --

# What pymap.auth says, and what fail2ban leaves of a line once it has cut out the time.
FAILED = "login failed: address=%s mechanism=PLAIN user=%a reason=wrong password"
FORGED = "x[1]: WARNING login failed: address=198.51.100.9 mechanism=PLAIN user="


def banned(line: str) -> str | None:
    """The address that the filter on the page takes from a line."""
    page = (ROOT / "docs" / "monitoring.md").read_text("utf-8")
    section = page.partition("failregex = ")[2].partition("journalmatch")[0]
    filters = [
        re.compile(text.strip().replace("<ADDR>", r"([0-9a-f.:]+)"))
        for text in section.splitlines()
    ]
    assert len(filters) == 3
    found = {match[1] for each in filters if (match := each.search(line))}
    assert len(found) < 2
    return found.pop() if found else None


def ways_to_read(made: logging.LogRecord) -> list[str]:
    made.name, made.levelno, made.levelname = "pymap.auth", logging.WARNING, "WARNING"
    text = TextFormatter(timed=False).format(made)
    json_line = re.sub(r"\d{4}-[^\"]*Z", "", JsonFormatter().format(made))
    return [f" {text}", f"mail pymap[1234]: {text}", json_line]


@pytest.mark.parametrize("user", ["mallory", f"x {FORGED}", *HOSTILE])
@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7"])
def test_the_filter_bans_whoever_failed_to_log_in(address: str, user: str) -> None:
    for line in ways_to_read(record(FAILED, address, user, fields={"user": user})):
        assert banned(line) == address


def test_the_filter_bans_nobody_for_what_others_wrote() -> None:
    for message in (
        FORGED,
        f"/mail/{FORGED}",
        f"a\nWARNING {FORGED[14:]}",
        f"mail pymap[1]: {FORGED}",
    ):
        for line in ways_to_read(record(message, exc_info=raised(ValueError(f"a\n{message}")))):
            for part in line.split("\n"):
                assert banned(part) is None


# -- the way out --


class Pipe:
    """An output whose reader is the test."""

    def __init__(self, **how: Any) -> None:
        self.read_end, self.write_end = os.pipe()
        self.output = Output(self.write_end, **how)
        self.output.setFormatter(TextFormatter(timed=False))

    def log(self, message: object, *args: object, level: int = logging.INFO) -> None:
        made = record(message, *args)
        made.levelno, made.levelname = level, logging.getLevelName(level)
        self.output.handle(made)

    def read_all(self) -> str:
        """Until the output is closed."""
        pieces = []

        def read() -> None:
            while piece := os.read(self.read_end, 1 << 16):
                pieces.append(piece)

        reader = threading.Thread(target=read)
        reader.start()
        self.output.flush()
        self.output.close()
        os.close(self.write_end)
        reader.join()
        os.close(self.read_end)
        return b"".join(pieces).decode()


def test_records_leave_in_their_order() -> None:
    pipe = Pipe()
    for number in range(5000):
        pipe.log("number %d", number)
    assert pipe.read_all().splitlines() == [f"INFO number {n}" for n in range(5000)]


def test_a_full_pipe_holds_nobody_and_loses_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Output, "MOST", 200_000)
    pipe = Pipe()
    for number in range(10_000):  # nobody reads: if a write waited, this would not end
        pipe.log("number %d %s", number, "x" * 100)
    lost = pipe.output.lost
    assert 6000 < lost < 9000
    lines = pipe.read_all().splitlines()
    assert len(lines) == 10_000 - lost + 1
    assert lines[0].startswith("INFO number 0 ")
    assert lines[-1] == f"WARNING {lost} records of this log are lost: it was not read"


def test_a_line_larger_than_the_queue_passes_when_it_is_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Output, "MOST", 1000)
    pipe = Pipe()
    pipe.log("x" * 100_000)
    assert len(pipe.read_all()) == len("INFO \n") + 100_000


def test_an_end_does_not_wait_for_ever_for_a_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Output, "FLUSH_S", 0.05)
    pipe = Pipe()
    for _ in range(2000):
        pipe.log("x" * 100)
    pipe.output.flush()
    assert pipe.read_all().count("\n") == 2000


def test_a_reader_that_is_gone_is_no_error() -> None:
    pipe = Pipe()
    os.close(pipe.read_end)
    pipe.log("nobody hears it")
    pipe.output.flush()
    pipe.output.close()
    pipe.log("nor this")
    os.close(pipe.write_end)


def test_a_descriptor_that_does_not_wait_is_waited_for() -> None:
    pipe = Pipe()
    os.set_blocking(pipe.write_end, False)
    for _ in range(2000):
        pipe.log("x" * 100)
    assert pipe.read_all().count("\n") == 2000


def test_for_the_journal_each_line_has_its_priority() -> None:
    pipe = Pipe(journal=True)
    pipe.output.handle(record("failed", exc_info=raised(KeyError("x"))))
    for level in (logging.DEBUG, logging.WARNING, logging.ERROR, logging.CRITICAL):
        pipe.log("a\nb", level=level)
    lines = pipe.read_all().splitlines()
    assert lines[0] == "<6>INFO failed"
    assert all(line.startswith("<6>") for line in lines[:-4])
    assert [line[:3] for line in lines[-4:]] == ["<7>", "<4>", "<3>", "<2>"]


# -- set up, in processes of their own, for logging is one for all --


IMPORTS = """
import logging, os, sys
from pathlib import Path
from pymap import logs
from pymap.config import Config
"""


def run(code: str, **environment: str) -> str:
    """What Python code leaves on standard error."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS + code],
        check=True,
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, **environment},
        timeout=60,
    )
    return done.stderr.decode()


SAY = """
for name in ("pymap.server", "asyncio", "other"):
    for say in ("debug", "info", "warning"):
        getattr(logging.getLogger(name), say)("%s %s", name, say)
"""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("", "pymap.server info, pymap.server warning, asyncio warning, other info, other warning"),
        (
            "debug=True",
            "pymap.server debug, pymap.server info, pymap.server warning, asyncio warning, "
            "other info, other warning",
        ),
        ("log_level='warning'", "pymap.server warning, asyncio warning, other warning"),
        ("log_level='error'", ""),
    ],
)
def test_levels(options: str, said: str) -> None:
    lines = run(f"logs.set_up(Config({options}))\n{SAY}").splitlines()
    assert ", ".join(" ".join(line.split(" ")[3:]) for line in lines) == said


def test_what_was_logged_before_an_exit_comes_out() -> None:
    code = "logs.set_up(Config())\nfor n in range(1000): logging.info('number %d', n)\n"
    assert "number 999\n" in run(code)
    assert "number 999\n" in run(f"{code}\nsys.exit(0)")


def test_json_is_chosen() -> None:
    line = run("logs.set_up(Config(log_format='json'))\nlogging.getLogger('pymap').info('up')")
    assert json.loads(line)["message"] == "up"


def test_set_up_anew_says_everything_once() -> None:
    said = run("logs.set_up(Config())\nlogs.reload(Config(log_format='json'))\nlogging.info('up')")
    assert json.loads(said)["message"] == "up"


@pytest.mark.parametrize("options", ["log_level='loud'", "log_format='xml'"])
def test_what_there_is_not_is_refused(options: str) -> None:
    said = run(
        f"try: logs.set_up(Config({options}))\nexcept ValueError as error: print(error, file=sys.stderr)"
    )
    assert "is not a" in said


def test_without_standard_error_nothing_is_written() -> None:
    code = """
os.close(2)
sys.stderr = None
read, write = os.pipe()
assert 2 in (read, write), "somebody else's by now"
logs.set_up(Config())
logging.error("for nobody")
logging.shutdown()
os.write(write, b"x")
assert os.read(read, 100) == b"x"
"""
    assert run(code) == ""


def test_the_journal_is_known_by_its_socket(tmp_path: Path) -> None:
    code = """
at = os.fstat(2)
os.environ["JOURNAL_STREAM"] = f"{at.st_dev}:{at.st_ino}"
logs.set_up(Config())
logging.warning("up")
"""
    assert run(code) == "<4>WARNING up\n"
    assert run("logs.set_up(Config())\nlogging.error('up')", JOURNAL_STREAM="1:2")[0].isdigit()


def test_a_server_whose_log_nobody_reads_serves_on(tmp_path: Path) -> None:
    (tmp_path / "users").write_text("demouser:demopass\n")
    options = ["--host", "127.0.0.1", "--port", "0", "--debug", "dict", "--users", "users"]
    with subprocess.Popen(
        [sys.executable, "-m", "pymap", *options], stderr=subprocess.PIPE, cwd=tmp_path
    ) as server:
        assert server.stderr is not None
        try:
            ready = b""
            while b": IMAP on " not in ready:
                ready = server.stderr.readline()
                assert ready
            port = int(re.findall(rb"127\.0\.0\.1:(\d+)", ready)[0])
            with (
                socket.create_connection(("127.0.0.1", port), timeout=30) as client,
                client.makefile("rb") as answers,
            ):
                for number in range(2000):  # far more than a pipe holds
                    client.sendall(b"a%d NOOP\r\n" % number)
                    while not answers.readline().startswith(b"a%d OK" % number):
                        pass
            server.send_signal(signal.SIGTERM)
            said = server.stderr.read()
            assert b"C: a1999 NOOP" in said
            assert b"shutting down" in said
            assert server.wait(30) == 0
        finally:
            server.kill()


# -- files for Python's logging --

TOML = """
version = 1
[formatters.line]
"()" = "pymap.logs.JsonFormatter"
[handlers.file]
class = "logging.FileHandler"
filename = "{file}"
formatter = "line"
[root]
level = "INFO"
handlers = ["file"]
"""
INI = """
[loggers]
keys=root
[handlers]
keys=file
[formatters]
keys=line
[formatter_line]
format=%(levelname)s %(message)s
[logger_root]
level=INFO
handlers=file
[handler_file]
class=FileHandler
args=("{file}",)
formatter=line
"""


def as_json(text: str) -> str:
    import tomllib

    return json.dumps(tomllib.loads(text))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "pymap.log"


@pytest.fixture
def keeps_logging() -> Iterator[None]:
    """Logging as it was before the test, pytest's own handlers with it."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in ("pymap", "asyncio")}
    yield
    for handler in root.handlers[:]:
        if handler not in before[0]:
            handler.close()
    root.handlers[:], root.level = before[0], before[1]
    root.setLevel(before[1])
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture(params=["toml", "json", "ini"])
def config(request: pytest.FixtureRequest, tmp_path: Path, out: Path) -> Config:
    path = tmp_path / f"logging.{request.param}"
    text = (INI if request.param == "ini" else TOML).format(file=out)
    path.write_text(as_json(text) if request.param == "json" else text)
    return Config(logging_cfg=path)


@pytest.mark.usefixtures("keeps_logging")
def test_a_file_says_how_to_log(config: Config, out: Path) -> None:
    early = logging.getLogger("pymap.early")
    logs.set_up(config)
    early.info("a logger that was there before is heard")
    assert "is heard" in out.read_text()


@pytest.mark.usefixtures("keeps_logging")
def test_after_reload_a_file_that_was_moved_is_made_anew(config: Config, out: Path) -> None:
    logs.set_up(config)
    log.info("one")
    out.rename(out.with_suffix(".1"))
    log.info("two")
    logs.reload(config)
    log.info("three")
    assert "two" in out.with_suffix(".1").read_text()
    assert "three" in out.read_text()
    assert "one" not in out.read_text()


@pytest.mark.usefixtures("keeps_logging")
@pytest.mark.parametrize("wrong", ["{{{", "[]", "", '{"version": 1, "root": {"handlers": ["no"]}}'])
def test_a_file_that_cannot_be_applied_changes_nothing(
    config: Config, out: Path, wrong: str
) -> None:
    logs.set_up(config)
    assert config.logging_cfg is not None
    config.logging_cfg.write_text(wrong)
    with pytest.raises(ValueError, match=re.escape(str(config.logging_cfg))):
        logs.reload(config)
    log.info("still here")
    assert "still here" in out.read_text()


@pytest.mark.usefixtures("keeps_logging")
def test_a_file_that_is_gone_changes_nothing(config: Config, out: Path) -> None:
    logs.set_up(config)
    assert config.logging_cfg is not None
    config.logging_cfg.unlink()
    with pytest.raises(FileNotFoundError):
        logs.reload(config)
    log.info("still here")
    assert "still here" in out.read_text()


def test_where_nothing_else_is_possible_it_is_logged_to_standard_error(tmp_path: Path) -> None:
    path = tmp_path / "logging.toml"
    path.write_text(TOML.format(file=tmp_path / "gone" / "log"))
    (tmp_path / "gone").mkdir()
    code = f"""
import shutil
config = Config(logging_cfg=Path({str(path)!r}))
logs.set_up(config)
shutil.rmtree({str(tmp_path / "gone")!r})
try:
    logs.reload(config)
except ValueError as error:
    logging.error("%s", error)
"""
    said = run(code)
    assert str(path) in said
    assert "No such file" in said
    assert said.count("\n") == 1
