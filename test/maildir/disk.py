"""Disks that are small, full or read-only."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from .place import OWNER, ROOT


def _run(*command: str | Path) -> subprocess.CompletedProcess[bytes]:
    # Without a password or not at all.
    prefix = () if ROOT else ("sudo", "-n")
    return subprocess.run([*prefix, *command], capture_output=True, check=False)


@contextmanager
def small_disk(path: Path, size: str = "2m") -> Iterator[None]:
    """A file system in memory at `path`, of `size`. Skips where nothing may be mounted."""
    options = f"size={size},mode=755,uid={OWNER.pw_uid},gid={OWNER.pw_gid}"
    try:
        mounted = _run("mount", "-t", "tmpfs", "-o", options, "tmpfs", path)
    except OSError as error:  # no sudo
        pytest.skip(f"cannot mount a small disk: {error}")
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk: {mounted.stderr.decode().strip()}")
    try:
        yield
    finally:
        _run("umount", "-l", path)


@contextmanager
def read_only(path: Path) -> Iterator[None]:
    """A disk of `small_disk` that cannot be written for a while, as after an error of its."""
    done = _run("mount", "-o", "remount,ro", path)
    assert done.returncode == 0, done.stderr
    try:
        yield
    finally:
        _run("mount", "-o", "remount,rw", path)


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Nothing more fits while this lasts."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            with suppress(OSError):
                while True:
                    file.write(b"\0" * size)
    assert os.statvfs(folder).f_bavail == 0
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def modes(changed: dict[Path, int]) -> Iterator[None]:
    """Permissions that are others for a while; the deepest are changed first."""
    before = {path: path.stat().st_mode for path in changed}
    for path in sorted(changed, reverse=True):
        path.chmod(changed[path])
    try:
        yield
    finally:
        for path in sorted(before):
            path.chmod(before[path])


def tree_read_only(top: Path) -> dict[Path, int]:
    """For `modes`: no directory and no file of it can be written."""
    return {
        path: (0o555 if path.is_dir() else 0o444)
        for path in [top, *top.rglob("*")]
        if not path.is_symlink() and os.path.lexists(path)
    }
