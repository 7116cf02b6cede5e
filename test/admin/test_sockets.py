"""Where the admin socket is, and which servers run."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pymap.admin import sockets
from pymap.admin.sockets import find, listen

UID = os.geteuid()


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No directory of this machine takes part."""
    (tmp_path / "tmp").mkdir(mode=0o700)
    (tmp_path / "run").mkdir(mode=0o755)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(sockets, "RUN", tmp_path / "run")
    for name in ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def not_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root has a directory of its own; others do not."""
    monkeypatch.setattr(sockets, "RUN", Path("/nowhere"))


def left_over(path: Path) -> Path:
    """What a server leaves that is killed."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    return path


def test_a_server_is_found_while_it_runs() -> None:
    assert find() == []
    with listen() as (_, path):
        assert path.name == f"admin-{os.getpid()}.sock"
        assert path.parent.name == "pymap"
        assert stat.S_IMODE(path.parent.lstat().st_mode) == 0o700
        assert stat.S_IMODE(path.lstat().st_mode) == 0o600
        assert find() == [path]
        assert [child.name for child in path.parent.iterdir()] == [path.name]
    assert find() == []
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("variable", ["RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"])
def test_the_runtime_directory_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o755)
    monkeypatch.setenv(variable, str(runtime))
    with listen() as (_, path):
        below = variable == "XDG_RUNTIME_DIR"
        assert path.parent == (runtime / "pymap" if below else runtime)
        assert find() == [path]


def test_several_servers_are_found(tmp_path: Path) -> None:
    with listen() as (_, mine):
        other = mine.with_name("admin-1.sock")
        with listen(other):
            assert find() == [other, mine]


def test_what_killed_servers_left_goes_away() -> None:
    with listen() as (_, path):
        pass
    dead = left_over(path.with_name("admin-1.sock"))
    again = left_over(path)  # of a process that had our number
    other = path.with_name("other.sock")
    other.write_text("")
    assert find() == []
    with listen() as (_, path):
        assert find() == [path] == [again]
        assert not dead.exists()
    assert other.exists()


def test_it_really_is_what_a_killed_process_leaves(tmp_path: Path) -> None:
    path = tmp_path / "s"
    code = (
        "import os, sys, pathlib; from pymap.admin.sockets import listen\n"
        "with listen(pathlib.Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert path.is_socket()
    with listen(path):
        assert path.is_socket()
    assert not path.exists()


@pytest.mark.usefixtures("not_root")
def test_a_directory_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    theirs = tmp_path / "tmp" / "pymap"
    theirs.mkdir(mode=0o777)
    theirs.chmod(0o777)
    for prepare in (lambda: None, theirs.rmdir, lambda: theirs.symlink_to(tmp_path)):
        prepare()
        if theirs.exists():
            with listen() as (_, path):
                assert path.parent == tmp_path / "tmp" / f"pymap-{UID}"
                assert find() == [path]


@pytest.mark.usefixtures("not_root")
def test_without_a_safe_directory_there_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "tmp" / "pymap").write_text("")
    (tmp_path / "tmp" / f"pymap-{UID}").symlink_to(tmp_path)
    with pytest.raises(OSError, match="there is no place for the admin socket"), listen():
        pass


@pytest.mark.skipif(UID != 0, reason="to be another user takes root")
def test_nobody_is_lured_to_a_server_of_somebody_else(tmp_path: Path) -> None:
    """A client gives passwords and mail to the server that it finds."""
    (tmp_path / "tmp").chmod(0o1777)
    theirs = tmp_path / "tmp" / "pymap-0"
    with listen(left_over(theirs / "admin-1.sock")) as (_, path):
        path.chmod(0o666)
        os.chown(theirs, 65534, -1)
        assert find() == []
        os.chown(theirs, 0, -1)
        assert find() == [path]
        theirs.chmod(0o777)
        assert find() == []
        theirs.chmod(0o700)
        # In /run, only root can have made it for another user.
        service = tmp_path / "run" / "pymap"
        with listen(left_over(service / "admin-2.sock")) as (_, other):
            os.chown(service, 65534, -1)
            assert find() == [other, path]
            (tmp_path / "run").chmod(0o1777)
            assert find() == [path]


def test_a_path_that_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with listen(path):
        with pytest.raises(OSError, match="another server listens there"), listen(path):
            pass
        assert path.is_socket()
    path.write_text("mail")
    with pytest.raises(OSError, match="exists, and is not a socket"), listen(path):
        pass
    assert path.read_text() == "mail"
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="exists, and is not a socket"), listen(path):
        pass


def test_a_path_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file or directory"), listen(tmp_path / "x" / "s"):
        pass
    with pytest.raises(OSError, match="too long for a socket"), listen(tmp_path / ("x" * 100)):
        pass


def test_a_socket_that_was_replaced_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with listen(path):
        path.unlink()
        left_over(path)
    assert path.is_socket()


def test_a_server_that_is_busy_is_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "BACKLOG", 0)
    waiting = []
    with listen() as (_, path):
        while True:
            sock = socket.socket(socket.AF_UNIX)
            sock.setblocking(False)
            waiting.append(sock)
            try:
                sock.connect(str(path))
            except BlockingIOError:
                break
        assert find() == [path]
    for sock in waiting:
        sock.close()
