"""`pymap-admin` itself: options, exit codes, how it ends. No server is needed."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pymap.admin import calls
from pymap.admin.cli import exits, options
from pymap.admin.cli.exits import Exit

from .command import ARGV, environment, pymap_admin, start

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "the following arguments are required: VERB"),
        (["nonsense"], "invalid choice: 'nonsense'"),
        (["ping", "--nonsense"], "unrecognized arguments: --nonsense"),
        (["pi"], "invalid choice"),
        (["ping", "--js"], "unrecognized arguments: --js"),  # no abbreviations
        (["user"], "required: VERB"),
        (["user", "get", "append", "--nonsense"], "unrecognized arguments"),
        (["kick"], "one of the arguments --id --user --address is required"),
        (["kick", "--id", "-1"], "--id"),
        (["kick", "--id", "x"], "'x' is not the number of a session"),
        (["kick", "--id", "9" * 19], "is not the number of a session"),
        (["kick", "--id", "1", "--user", "x"], "not allowed with argument"),
        (["ping", "--timeout", "0"], "'0' is not a number of seconds"),
        (["ping", "--timeout", "nan"], "is not a number of seconds"),
        (["ping", "--timeout", "soon"], "is not a number of seconds"),
        (["--server", "localhost", "ping"], "is not HOST:PORT"),
        (["--server", ":143", "ping"], "is not HOST:PORT"),
        (["--server", "localhost:0", "ping"], "is not HOST:PORT"),
        (["--server", "localhost:65536", "ping"], "is not HOST:PORT"),
        (["--server", "localhost:١", "ping"], "is not HOST:PORT"),
        (["--server", "a:1", "--socket", "b", "ping"], "exclude each other"),
        (["--server", "a:1", "ping", "--socket", "b"], "exclude each other"),
        (["export", "x", "y"], "required: --format"),
        (["import", "x", "y", "--format", "pst"], "invalid choice: 'pst'"),
        (["completion", "dos"], "invalid choice: 'dos'"),
        (["append", b"\xff"], "an argument is not UTF-8"),
        (["append", "x", "--flag", b"\xff"], "an argument is not UTF-8"),
    ],
)
def test_errors_of_usage(
    arguments: list[str | bytes], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from pymap.admin.cli import run

    argv = [x if isinstance(x, str) else x.decode("utf-8", "surrogateescape") for x in arguments]
    assert run(argv) == Exit.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("pymap-admin")
    assert err.count("\n") == 1
    assert text in err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["append"], "required: USER"),
        (["append", "x", "--nonsense"], "unrecognized arguments: --nonsense"),
        (["--socket", "a", "append", "x", "y"], "unrecognized arguments: y"),
        (["--timeout", "soon", "append", "x"], "is not a number of seconds"),
        (["--server", "a:1", "append", "x", "--socket", "b"], "exclude each other"),
        (["append", "x", "--timestamp", "soon"], "'soon' is no time"),
        (["append", "x", "--timestamp", "9" * 12], "is no time"),
        (["append", "x", "--timestamp", "9" * 400], "is no time"),
        (["append", "x", "--timestamp", "0000-01-01"], "is no time"),
        (["append", "--from"], "expected one argument"),
    ],
)
def test_mail_waits_for_a_better_command_line(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With any other code Postfix would send it back."""
    from pymap.admin.cli import run

    assert run(arguments) == Exit.LATER
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert text in err


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({"PYMAP_ADMIN_TIMEOUT": "soon"}, "PYMAP_ADMIN_TIMEOUT: 'soon' is not a number"),
        ({"PYMAP_ADMIN_SERVER": "x"}, "PYMAP_ADMIN_SERVER: 'x' is not HOST:PORT"),
        ({"PYMAP_ADMIN_SERVER": "x:1", "PYMAP_ADMIN_SOCKET": "y"}, "are both set"),
    ],
)
def test_errors_of_the_environment(
    variables: dict[str, str],
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from pymap.admin.cli import run

    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for verb, code in ((["ping"], Exit.USAGE), (["append", "x"], Exit.LATER)):
        assert run(verb) == code
        assert text in capsys.readouterr().err


def test_the_command_line_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYMAP_ADMIN_SERVER", "elsewhere:1")
    monkeypatch.setenv("PYMAP_ADMIN_TIMEOUT", "7")
    monkeypatch.setenv("PYMAP_ADMIN_CA", "ca.pem")
    for argv in (["--socket", "x", "ping"], ["ping", "--socket", "x"]):
        args = options.read(argv)
        assert (args.socket, args.server, args.timeout) == (Path("x"), None, 7)
    args = options.read(["ping", "--timeout", "8"])
    assert (args.server, args.timeout, args.ca) == (("elsewhere", 1), 8, Path("ca.pem"))
    assert options.read(["--server", "[::1]:143", "ping"]).server == ("::1", 143)


def test_options_of_all_verbs_stand_before_or_after() -> None:
    for argv in (
        ["--json", "user", "list"],
        ["user", "--json", "list"],
        ["user", "list", "--json"],
    ):
        assert options.read(argv).json
    assert not options.read(["user", "list"]).json


@pytest.mark.parametrize("verb", ["", "append", "user", "user add", "export", "mailbox status"])
def test_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    from pymap.admin.cli import run

    assert run([*verb.split(), "--help"]) == Exit.OK
    out, err = capsys.readouterr()
    assert out.startswith(f"usage: pymap-admin {verb}".rstrip())
    assert "--json" in out
    assert err == ""


def test_help_needs_no_library_and_little_time() -> None:
    code = (
        "import sys; from pymap.admin.cli import run; run(['--help']);"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert "pymap.admin.cli" in loaded
    assert not loaded & {"grpclib", "google.protobuf", "rich", "shtab", "asyncio", "ssl"}
    assert not {name for name in loaded if name.startswith(("pymap.imap", "pymap.backend"))}


# -- exit codes --


def test_every_code_of_the_service_has_an_exit_code() -> None:
    assert calls.STATUS.keys() <= exits.CODES.keys()
    assert set(exits.STATUSES.values()) <= exits.CODES.keys()
    for status, code in exits.STATUSES.items():
        assert exits.of_status(status, "x").exit_code == exits.CODES[code][0]
    assert exits.of_code("SOMETHING-NEW", "x").exit_code == Exit.INTERNAL
    assert exits.of_status("UNKNOWN", "x").of_append == Exit.LATER


def test_the_manual_has_the_same_table() -> None:
    text = (ROOT / "docs" / "admin.md").read_text("utf-8")
    rows = re.findall(r"^\| `([A-Z]+)` \|[^|]*\| (\d+) \| (\d+) \|$", text, re.MULTILINE)
    assert {code: (int(one), int(other)) for code, one, other in rows} == exits.CODES
    numbers = re.findall(r"^\| (\d+) \| [^|]*\|$", text, re.MULTILINE)
    assert [int(number) for number in numbers] == list(Exit)


def test_the_manual_has_all_verbs() -> None:
    text = (ROOT / "docs" / "admin.md").read_text("utf-8")
    for verb in ("append", "ping", "version", "health", "who", "kick", "import", "export", "check",
                 "reload", "completion"):  # fmt: skip
        assert f"pymap-admin {verb}" in text
    for verb in ("list", "get", "add", "set-password", "delete"):
        assert f"pymap-admin user {verb}" in text
    for verb in ("list", "create", "delete", "rename", "status"):
        assert f"pymap-admin mailbox {verb}" in text
    for variable in options.VARIABLES.values():
        assert variable in text


# -- finding the server --


@pytest.mark.parametrize("what", ["missing", "file", "left over"])
async def test_the_socket_is_none(what: str, tmp_path: Path) -> None:
    path = tmp_path / "sock"
    if what == "file":
        path.write_text("x")
    if what == "left over":
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(path))
    (await pymap_admin(path, "ping")).says(Exit.UNAVAILABLE, str(path))
    done = await pymap_admin(path, "append", "x", stdin=b"A: 1\n\n")
    done.says(Exit.LATER, str(path))


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0" * 100])
async def test_the_server_is_something_else(answer: bytes, tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.close()

    path = tmp_path / "sock"
    async with await asyncio.start_unix_server(serve, path):
        (await pymap_admin(path, "ping")).says(Exit.UNAVAILABLE, str(path))


async def test_a_server_that_says_nothing(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        ended.set()

    path = tmp_path / "sock"
    async with await asyncio.start_unix_server(serve, path):
        done = await pymap_admin(path, "ping", "--timeout", "0.2")
        done.says(Exit.LATER, "no answer for 0.2 s")
        await ended.wait()


async def test_no_tls_no_token_no_certificates(tmp_path: Path) -> None:
    async def run(*arguments: object) -> None:
        done = await pymap_admin(None, "--server", "127.0.0.1:1", *arguments, "ping")
        codes.append(done.code)
        assert done.err.count("\n") == 1

    codes: list[int] = []
    (tmp_path / "bad").write_bytes(b"two\nlines")
    (tmp_path / "worse").write_bytes(b"\xff")
    await run()
    for name in ("bad", "worse", "missing"):
        await run("--token-file", tmp_path / name)
    for name in ("bad", "missing"):
        await run("--ca", tmp_path / name)
    assert codes == [Exit.UNAVAILABLE, *[Exit.CONFIG] * 5]


async def test_without_the_libraries_it_says_what_to_install(tmp_path: Path) -> None:
    for name in ("grpclib", "shtab"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('not there')\n")
    env = environment(PYTHONPATH=str(tmp_path))
    done = await pymap_admin(tmp_path / "sock", "ping", env=env)
    done.says(Exit.CONFIG, "pip install 'pymap[admin]'")
    done = await pymap_admin(tmp_path / "sock", "append", "x", stdin=b"x", env=env)
    done.says(Exit.LATER, "pip install 'pymap[admin]'")
    done = await pymap_admin(None, "completion", "bash", env=env)
    done.says(Exit.CONFIG, "pip install 'pymap[cli]'")


# -- how it ends --


@pytest.mark.parametrize(
    ("shell", "words"),
    [("bash", "mailbox set-password --timestamp --json"), ("zsh", "mailbox set-password --timestamp"),
     ("tcsh", "mailbox set-password")],
)  # fmt: skip
async def test_completion(shell: str, words: str) -> None:
    text = "\n".join((await pymap_admin(None, "completion", shell)).lines)
    for word in words.split():
        assert word in text


def test_output_that_nobody_reads_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run(
            [*ARGV, "completion", "zsh"], stdout=pipe, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


def test_a_full_disk_is_one_line() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*ARGV, "completion", "bash"], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == Exit.IO
    assert done.stderr == b"pymap-admin: input/output: No space left on device\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_ends_it_at_once(number: signal.Signals, tmp_path: Path) -> None:
    heard = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_unix_server(serve, tmp_path / "sock"):
        process = await start("--socket", tmp_path / "sock", "ping")
        await heard.wait()
        process.send_signal(number)
        out, err = await process.communicate()
    assert (process.returncode, out, err) == (128 + number, b"", b"")
