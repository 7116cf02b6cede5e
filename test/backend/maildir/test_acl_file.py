"""`dovecot-acl`: what its lines say, and what becomes of them. test/maildir/test_acl.py asks
Dovecot."""

from __future__ import annotations

from pathlib import Path

import pytest

from pymap.backend.errors import Corrupt
from pymap.backend.maildir.acl_file import ACL, ACL_LIST, change_access, read_access
from pymap.backend.rights import ALL_RIGHTS, ANYONE, NO_RIGHTS, OWNER, Rights

LR = frozenset("lr")

READ: list[tuple[str, dict[str, Rights]]] = [
    ("", {}),
    ("\n", {}),
    ("anyone lr\n", {ANYONE: LR}),
    ("anyone lr", {ANYONE: LR}),
    ("anyone lr\r\n", {ANYONE: LR}),
    ("-anyone lr\n", {"-anyone": LR}),
    ("owner lrwstipekxa\n", {OWNER: ALL_RIGHTS}),
    ("-owner lr\n", {"-": LR}),
    ("user=bob lr\n", {"bob": LR}),
    ("user=bob  lr \n", {"bob": LR}),
    ("user=bob\n", {"bob": NO_RIGHTS}),
    ("user=bob \n", {"bob": NO_RIGHTS}),
    ("-user=bob lr\n", {"-bob": LR}),
    ('"user=john smith" lr\n', {"john smith": LR}),
    ('"-user=john smith" lr\n', {"-john smith": LR}),
    ('"user=a \\"b\\" \\\\c" lr\n', {'a "b" \\c': LR}),
    ('user=x"y lr\n', {'x"y': LR}),
    ("user=a=b lr\n", {"a=b": LR}),
    ("user=j\u00fcrgen lr\n", {"j\u00fcrgen": LR}),
    ("# user=bob lr\n\nuser=jane lr\n", {"jane": LR}),
    ("user=bob l\nuser=bob r\n", {"bob": LR}),
    ("user=bob :lookup read\n", {"bob": LR}),
    ("user=bob l :read x-ours\n", {"bob": LR}),
    ("authenticated lr\n", {ANYONE: LR}),
    ("authenticated lr\nanyone lrw\n", {ANYONE: LR}),
    ("group=staff lr\n-group=staff w\ngroup-override=x lr\n", {}),
    ("user=anyone lr\n", {}),
    ("user= lr\n", {}),
]

DAMAGED = [
    "USER=bob lr", "user=bob lrz", "user=bob lR", " user=bob lr", "user=bob l r",
    '"user=bob"lr', '"user=bob lr', "user=bob\tlr lr", "user=bob lr x",
]  # fmt: skip


@pytest.mark.parametrize(("text", "entries"), READ)
def test_lines_are_entries(tmp_path: Path, text: str, entries: dict[str, Rights]) -> None:
    (tmp_path / ACL).write_bytes(text.encode())
    assert read_access(tmp_path) == entries


def test_no_file_is_an_empty_list(tmp_path: Path) -> None:
    assert read_access(tmp_path) == {}


@pytest.mark.parametrize("line", DAMAGED)
def test_a_damaged_file_is_no_empty_list(tmp_path: Path, line: str) -> None:
    octets = f"anyone lr\n{line}\n".encode()
    (tmp_path / ACL).write_bytes(octets)
    with pytest.raises(Corrupt):
        read_access(tmp_path)
    with pytest.raises(Corrupt):
        change_access(tmp_path, tmp_path, {"bob": LR}, {})
    assert (tmp_path / ACL).read_bytes() == octets


@pytest.mark.parametrize("octets", [b"user=\xff lr\n", b"\0\n", b"x" * 2_000_000])
def test_any_octets_are_damaged(tmp_path: Path, octets: bytes) -> None:
    (tmp_path / ACL).write_bytes(octets)
    with pytest.raises(Corrupt):
        read_access(tmp_path)


def test_what_is_not_changed_stays_as_it_stood(tmp_path: Path) -> None:
    before = (
        "# who may see this\n\nuser=jane  lr \ngroup=staff lrs\nuser=bob l :read x-ours\n"
        "-owner x\nanyone :lookup\nuser=jim lr\n"
    )
    (tmp_path / ACL).write_text(before)
    changes = {"bob": frozenset("i"), "jim": None, "new one": LR, OWNER: LR, "-": NO_RIGHTS}
    assert change_access(tmp_path, tmp_path, changes, {"jim": LR, "bob": LR, OWNER: None})
    assert (tmp_path / ACL).read_text() == (
        "# who may see this\n\nuser=jane  lr \ngroup=staff lrs\nuser=bob i :x-ours\n"
        '-owner \nanyone :lookup\n"user=new one" lr\nowner lr\n'
    )
    assert read_access(tmp_path) == {
        "jane": LR, "bob": frozenset("i"), "-": NO_RIGHTS, ANYONE: frozenset("l"), "new one": LR,
        OWNER: LR,
    }  # fmt: skip


def test_anyone_is_also_whom_dovecot_calls_authenticated(tmp_path: Path) -> None:
    (tmp_path / ACL).write_text("authenticated lr\nanyone l\n")
    assert change_access(tmp_path, tmp_path, {ANYONE: frozenset("i")}, {ANYONE: LR})
    assert (tmp_path / ACL).read_text() == "authenticated i\nanyone i\n"
    assert change_access(tmp_path, tmp_path, {ANYONE: None}, {})
    assert (tmp_path / ACL).read_text() == ""


def test_dovecot_has_to_look_again_where_lists_are(tmp_path: Path) -> None:
    directory = tmp_path / ".Team"
    directory.mkdir()
    (tmp_path / ACL_LIST).write_text("1 Other\n")
    assert change_access(directory, tmp_path, {"bob": LR}, {})
    assert not (tmp_path / ACL_LIST).exists()
    (tmp_path / ACL_LIST).write_text("2 Team\n")
    assert change_access(directory, tmp_path, {"bob": None}, {"bob": LR})
    assert (tmp_path / ACL_LIST).exists()
    assert not list(tmp_path.rglob("*.new"))
