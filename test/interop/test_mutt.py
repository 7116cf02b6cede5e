"""mutt under a pseudo-terminal, driven by `push`: what it does is looked at from a second session."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .conftest import PASSWORD, USER, Place
from .messages import message
from .wire import Wire, fetched

RC = """
set spoolfile="imap://{user}@127.0.0.1:{port}/Box"
set folder="imap://{user}@127.0.0.1:{port}/"
set imap_user="{user}"
set imap_pass="{password}"
set imap_authenticators="{mechanism}"
set ssl_starttls=no
set ssl_force_tls=no
set imap_condstore={condstore}
set imap_qresync={condstore}
set delete=yes
set confirmappend=no
set confirmcreate=no
set move=no
set copy=no
set mark_old=no
set wait_key=no
set quit=yes
set timeout=1
set sort=mailbox-order
set header_cache=""
unset record
"""

Mutt = Callable[..., str]


@pytest.fixture(params=["no", "yes"], ids=["plain", "qresync"])
def run(request: pytest.FixtureRequest, server: Place, mutt: str, tmp_path: Path) -> Mutt:
    rc = tmp_path / "muttrc"
    cache = tmp_path / "cache"

    def run(keys: str, mechanism: str = "plain") -> str:
        """What it drew on the screen. The keys have to end it."""
        text = RC.format(
            user=USER,
            password=PASSWORD,
            port=server.port,
            mechanism=mechanism,
            condstore=request.param,
        )
        if request.param == "yes":
            text = text.replace('header_cache=""', f'header_cache="{cache}"')
        rc.write_text(text)
        control, terminal = pty.openpty()
        process = subprocess.Popen(
            [mutt, "-n", "-F", str(rc), "-e", f"push '{keys}'"],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env={
                **os.environ,
                "HOME": str(tmp_path),
                "TERM": "vt100",
                "LC_ALL": "C.UTF-8",
                "LINES": "40",
                "COLUMNS": "100",
            },
            start_new_session=True,
        )
        os.close(terminal)
        drawn = b""
        end = time.monotonic() + 20
        try:
            while time.monotonic() < end:
                if not select.select([control], [], [], 0.2)[0]:
                    if process.poll() is not None:
                        break
                    continue
                try:
                    octets = os.read(control, 65536)
                except OSError:  # the other side has closed it
                    break
                drawn += octets
            code = process.wait(max(0.1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            pytest.fail(f"mutt did not end: {drawn[-600:]!r}")
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            os.close(control)
        assert code == 0, drawn
        return drawn.decode("utf-8", "replace")

    return run


@pytest.fixture
def box(server: Place) -> Iterator[Wire]:
    with server.wire() as wire:
        for name in (b"Box", b"copies"):
            wire.ok(b"CREATE " + name)
        for n in range(9):
            wire.ok(b"APPEND Box {}", message(n))
        yield wire


def flags(wire: Wire, mailbox: bytes = b"Box") -> dict[int, set[bytes]]:
    """By UID."""
    wire.ok(b"EXAMINE " + mailbox)
    got = fetched(wire.ok(b"FETCH 1:* (UID FLAGS)")).values()
    wire.ok(b"UNSELECT")
    return {int(items[b"UID"]): set(items[b"FLAGS"]) - {rb"\Recent"} for items in got}


def test_index_is_listed_with_decoded_subjects(run: Mutt, box: Wire) -> None:
    screen = run("<exit>")
    assert "alternative 3 odd" in screen
    assert "Grüße 日本 café" in screen
    assert set(map(frozenset, flags(box).values())) == {frozenset()}


@pytest.mark.parametrize("mechanism", ["plain", "login"])
def test_reading_marks_as_seen(run: Mutt, box: Wire, mechanism: str, tmp_path: Path) -> None:
    file = tmp_path / "piped"
    run(f"2<enter><display-message><exit><pipe-message>cat > {file}<enter><quit>", mechanism)
    assert file.read_bytes() == message(1).replace(b"\r\n", b"\n")
    assert [uid for uid, found in flags(box).items() if rb"\Seen" in found] == [2]


def test_flagging_by_pattern(run: Mutt, box: Wire) -> None:
    run("<tag-pattern>~s odd<enter><tag-prefix><flag-message><quit>")
    assert [uid for uid, found in flags(box).items() if rb"\Flagged" in found] == [2, 4, 6]


def test_copying(run: Mutt, box: Wire) -> None:
    run("<tag-pattern>~s attach<enter><tag-prefix><copy-message>=copies<enter><quit>")
    assert list(flags(box, b"copies")) == [1]
    assert len(flags(box)) == 9
    box.ok(b"EXAMINE copies")
    assert fetched(box.ok(b"FETCH 1 BODY.PEEK[]"))[1][b"BODY[]"] == message(4)


def test_saving_to_another_mailbox_and_deleting(run: Mutt, box: Wire) -> None:
    run(
        "<tag-pattern>~s even<enter><tag-prefix><save-message>=copies<enter>2<enter><delete-message><quit>"
    )
    left = flags(box)
    assert 2 not in left
    assert len(left) == 9 - 1 - len(flags(box, b"copies"))
    assert len(flags(box, b"copies")) == 5


def test_body_search_is_done_by_the_server(run: Mutt, box: Wire) -> None:
    run('<tag-pattern>=b "inner text"<enter><tag-prefix><delete-message><quit>')
    assert sorted(flags(box)) == [1, 2, 3, 4, 5, 8, 9]


def test_a_second_run_sees_what_the_first_one_left(run: Mutt, box: Wire) -> None:
    run("1<enter><delete-message><quit>")
    box.ok(b"APPEND Box {}", message(10))
    screen = run("<exit>")
    assert "plain 10 even" in screen
    assert "plain 0 even" not in screen
    run("<last-entry><flag-message><quit>")
    assert rb"\Flagged" in flags(box)[10]
