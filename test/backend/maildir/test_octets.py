"""What of a message file can be read without waiting."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pymap.backend.maildir.octets import read_message, read_message_now

CRLF = b"Subject: x\r\n\r\nbody\r\n"
LF = CRLF.replace(b"\r\n", b"\n")


@pytest.mark.parametrize("octets", [CRLF, LF, b"Subject: x\n\r\nbody\r\n", b""])
def test_as_read_message_reads_it(tmp_path: Path, octets: bytes) -> None:
    path = tmp_path / "message"
    path.write_bytes(octets)
    read = read_message(str(path), None, verbatim=False)
    assert read_message_now(str(path), len(read)) == read


@pytest.mark.parametrize("size", [0, 1, len(LF) - 1, len(LF) + 1, 1000])
def test_another_size_is_left_to_read_message(tmp_path: Path, size: int) -> None:
    path = tmp_path / "message"
    path.write_bytes(LF)
    assert read_message_now(str(path), size) is None


def test_what_is_no_file_is_left_to_it_too(tmp_path: Path) -> None:
    (tmp_path / "message").write_bytes(CRLF)
    (tmp_path / "link").symlink_to(tmp_path / "message")
    os.mkfifo(tmp_path / "fifo")
    for name in ("link", "fifo", "missing", "."):
        assert read_message_now(str(tmp_path / name), len(CRLF)) is None
