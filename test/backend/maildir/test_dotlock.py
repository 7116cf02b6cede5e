"""Lock files: one holder at a time, among threads and processes, and no lock for ever."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pymap.backend.errors import InUse
from pymap.backend.maildir import dotlock as module
from pymap.backend.maildir.dotlock import HOST, dotlock, holds, is_running

from .conftest import SmallDisk


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dovecot-uidlist"


@pytest.fixture
def lock(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def dead_pid() -> int:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    return gone.pid


def test_lock_is_a_file_that_says_who_holds_it(path: Path, lock: Path) -> None:
    with dotlock(path):
        assert lock.read_text() == f"{os.getpid()}:{socket.gethostname()}"
        assert holds(path)
    assert not lock.exists()
    assert not holds(path)


def test_lock_is_given_back_after_an_error(path: Path, lock: Path) -> None:
    with pytest.raises(KeyError), dotlock(path):
        raise KeyError
    assert not lock.exists()


def test_a_second_one_waits_until_the_first_is_done(path: Path) -> None:
    order: list[str] = []
    inside, done = threading.Event(), threading.Event()

    def first() -> None:
        with dotlock(path):
            inside.set()
            done.wait(10)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    assert inside.wait(10)
    assert not holds(path)  # another thread does
    threading.Timer(0.05, done.set).start()
    with dotlock(path):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]


def test_waiting_ends_with_in_use(path: Path, lock: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = f"{os.getppid()}:{HOST}"
    lock.write_text(content)
    start = time.monotonic()
    with pytest.raises(InUse) as raised, dotlock(path, 0.1):
        pass
    assert 0.1 <= time.monotonic() - start < 5
    assert str(path.parent) not in str(raised.value)
    assert str(lock) in caplog.text
    assert lock.read_text() == content


def test_without_patience_it_tries_once(path: Path, lock: Path) -> None:
    with dotlock(path, 0):
        with pytest.raises(InUse), dotlock(path, 0):
            pass
        assert lock.exists()


def test_threads_exclude_one_another(path: Path) -> None:
    total = 0

    def work() -> None:
        nonlocal total
        for _ in range(25):
            with dotlock(path):
                seen = total
                time.sleep(0)  # lets the others run here
                total = seen + 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert total == 150


ADDS = """
import sys
from pathlib import Path
from pymap.backend.maildir.dotlock import dotlock
path = Path(sys.argv[1])
for _ in range(100):
    with dotlock(path):
        path.write_text(str(int(path.read_text()) + 1))
"""


def test_processes_exclude_one_another(path: Path) -> None:
    path.write_text("0")
    adding = [subprocess.Popen([sys.executable, "-c", ADDS, path]) for _ in range(3)]
    assert [each.wait(60) for each in adding] == [0, 0, 0]
    assert path.read_text() == "300"


def test_lock_of_a_dead_process_is_taken_over_at_once(
    path: Path, lock: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pid = dead_pid()
    lock.write_text(f"{pid}:{HOST}")
    with dotlock(path, 0.5):
        assert lock.read_text() == f"{os.getpid()}:{HOST}"
    assert f"process {pid} is gone" in caplog.text


def test_many_who_find_a_stale_lock_still_exclude_one_another(path: Path, lock: Path) -> None:
    pid = dead_pid()
    inside = 0
    most = 0

    def work(start: threading.Barrier) -> None:
        nonlocal inside, most
        start.wait()
        with dotlock(path):
            inside += 1
            most = max(most, inside)
            time.sleep(0.0002)
            inside -= 1

    for _ in range(20):
        lock.write_text(f"{pid}:{HOST}")
        start = threading.Barrier(6)
        threads = [threading.Thread(target=work, args=[start]) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert most == 1


@pytest.mark.parametrize("content", ["1234567:elsewhere", "", "hello\n", "77", "0:" + HOST])
def test_lock_of_unknown_holder_is_taken_over_after_two_minutes(
    path: Path, lock: Path, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock.write_text(content)
    with pytest.raises(InUse), dotlock(path, 0.01):
        pass
    # An old mtime is not enough, as for Dovecot: the file was touched just now.
    os.utime(lock, (1, 1))
    with pytest.raises(InUse), dotlock(path, 0.01):
        pass
    monkeypatch.setattr(module, "STALE_S", -1)
    with dotlock(path, 0.01):
        assert lock.read_text() == f"{os.getpid()}:{HOST}"


def test_lock_of_a_living_process_is_never_taken_over(
    path: Path, lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock.write_text(f"{os.getppid()}:{HOST}")
    monkeypatch.setattr(module, "STALE_S", -1)
    with pytest.raises(InUse), dotlock(path, 0.01):
        pass


def test_lock_left_by_an_earlier_process_of_our_number_is_taken_over(
    path: Path, lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container, where the server has the same number each time."""
    lock.write_text(f"{os.getpid()}:{HOST}")
    with pytest.raises(InUse), dotlock(path, 0.01):
        pass
    monkeypatch.setattr(module, "_started", time.time() + 60)
    # What we hold is not left by anybody, whatever the clock says.
    with dotlock(path, 0.5), pytest.raises(InUse), dotlock(path, 0.01):
        pass


def test_lock_that_was_taken_over_is_left_to_the_new_holder(
    path: Path, lock: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with dotlock(path):
        lock.unlink()
        lock.write_text("1:elsewhere")
    assert lock.read_text() == "1:elsewhere"
    assert "taken over by somebody else" in caplog.text


def test_lock_that_vanished_is_only_told_of(
    path: Path, lock: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with dotlock(path):
        os.link(lock, path)  # so that the file lives on, under another name
        lock.unlink()
    assert "vanished" in caplog.text


def test_a_lock_that_is_no_file_is_somebody_elses(path: Path, lock: Path) -> None:
    lock.mkdir()
    with pytest.raises(InUse), dotlock(path, 0.01):
        pass
    lock.rmdir()
    lock.symlink_to(path)
    with pytest.raises(InUse), dotlock(path, 0.01):
        pass
    assert lock.is_symlink()


def test_directory_that_is_gone_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), dotlock(tmp_path / "gone" / "file"):
        pass


def test_full_disk_can_still_be_locked(small_disk: SmallDisk) -> None:
    """Or nothing could be expunged from it."""
    small_disk.fill()
    with dotlock(small_disk.path / "file"):
        assert (small_disk.path / "file.lock").read_bytes() == b""
        with pytest.raises(InUse), dotlock(small_disk.path / "file", 0.01):
            pass
    assert not (small_disk.path / "file.lock").exists()


def test_waiting_does_not_fill_the_log(
    path: Path, lock: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    lock.write_text("1:elsewhere")
    with pytest.raises(InUse), dotlock(path, 0.2):
        pass
    assert len(caplog.records) == 1


def test_which_processes_run() -> None:
    assert is_running(os.getpid())
    assert is_running(1)  # perhaps not ours
    assert not is_running(dead_pid())
    assert not is_running(10**30)
