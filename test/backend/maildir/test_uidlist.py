"""dovecot-uidlist: what Dovecot wrote is read, what we write is what Dovecot would have."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pymap.backend.errors import InUse, LimitReached
from pymap.backend.maildir.uidlist import Entry, Header, Read, UidList

from .conftest import SmallDisk

GUID = "707eb8245e75056b2c2e000083ecc375"
HEADER = Header(1795519838, 6, GUID)
# Made by Dovecot 2.3.19: three messages appended, two copied within the mailbox.
DOVECOT = """\
3 V1795519838 N1 G707eb8245e75056b2c2e000083ecc375
1 :1795519838.M618445P11820.vm,S=28,W=32
2 :1795519838.M620701P11820.vm,S=28,W=32
3 :1795519838.M621934P11820.vm,S=28,W=32
4 G1795519838.M618445P11820.vm,S=28,W=32 :1795519838.M623945P11820.vm,S=28,W=32
5 G1795519838.M620701P11820.vm,S=28,W=32 :1795519838.M623946P11820.vm,S=28,W=32
"""
ENTRIES = [
    Entry(1, "1795519838.M618445P11820.vm,S=28,W=32", ""),
    Entry(2, "1795519838.M620701P11820.vm,S=28,W=32", ""),
    Entry(3, "1795519838.M621934P11820.vm,S=28,W=32", ""),
    Entry(4, "1795519838.M623945P11820.vm,S=28,W=32", "G1795519838.M618445P11820.vm,S=28,W=32"),
    Entry(5, "1795519838.M623946P11820.vm,S=28,W=32", "G1795519838.M620701P11820.vm,S=28,W=32"),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dovecot-uidlist"


def replace(path: Path, content: str | bytes) -> None:
    beside = path.with_name("beside")
    beside.write_bytes(content if isinstance(content, bytes) else content.encode())
    beside.rename(path)


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def entry(uid: int) -> Entry:
    return Entry(uid, f"m{uid}", "")


# -- reading --


def test_file_of_dovecot(path: Path) -> None:
    path.write_text(DOVECOT)
    uids = UidList(path.parent)
    assert uids.refresh() == Read(True, ENTRIES, False)
    assert uids.header == HEADER
    assert uids.refresh() is None


def test_no_file(path: Path) -> None:
    uids = UidList(path.parent)
    assert uids.refresh() == Read(True, [], False)
    assert uids.header is None
    assert uids.refresh() is None
    path.write_text(DOVECOT)
    assert uids.refresh() == Read(True, ENTRIES, False)
    path.unlink()
    assert uids.refresh() == Read(True, [], False)
    assert uids.header is None
    assert uids.refresh() is None


@pytest.mark.parametrize(
    ("lines", "uid_next"),
    [("3 V1 N1\n", 1), ("3 V1 N7\n", 7), ("3 V1 N7\n6 :a\n", 7), ("3 V1 N7\n7 :a\n", 8)],
)
def test_next_uid_is_above_all(path: Path, lines: str, uid_next: int) -> None:
    path.write_text(lines)
    uids = UidList(path.parent)
    uids.refresh()
    assert uids.header == Header(1, uid_next, "")


def test_only_what_was_appended_is_read_again(path: Path) -> None:
    path.write_text(DOVECOT)
    uids = UidList(path.parent)
    uids.refresh()
    append(path, "6 W32 :a\n8 :b\n")
    assert uids.refresh() == Read(False, [Entry(6, "a", "W32"), Entry(8, "b", "")], False)
    assert uids.header == HEADER._replace(uid_next=9)
    append(path, "9 :c\n")
    assert uids.refresh() == Read(False, [Entry(9, "c", "")], False)


def test_line_without_its_end_is_not_there_yet(path: Path) -> None:
    path.write_text(DOVECOT)
    uids = UidList(path.parent)
    uids.refresh()
    append(path, "6 :a")
    assert uids.refresh() is None
    append(path, "bc")
    assert uids.refresh() is None
    append(path, "\n7 :d")
    assert uids.refresh() == Read(False, [Entry(6, "abc", "")], False)


def test_file_that_was_only_touched_is_unchanged(path: Path) -> None:
    path.write_text(DOVECOT)
    uids = UidList(path.parent)
    uids.refresh()
    os.utime(path, (1, 1))
    assert uids.refresh() is None
    assert uids.refresh() is None


def test_file_made_anew_is_read_as_a_whole(path: Path) -> None:
    path.write_text(DOVECOT)
    uids = UidList(path.parent)
    uids.refresh()
    replace(path, DOVECOT.replace("N1 ", "N6 ") + "6 :a\n")
    read = uids.refresh()
    assert read == Read(True, [*ENTRIES, Entry(6, "a", "")], False)


@pytest.mark.parametrize(
    "content",
    [
        DOVECOT.replace("N1 ", "N7 ") + "7 :a\n",  # the header differs
        DOVECOT[:-2] + "33\n7 :a\n",  # the last line that we know does
        DOVECOT[:200],
        "3 V1 N1\n",
        "",
    ],
)
def test_another_file_with_the_same_inode_is_read_as_a_whole(path: Path, content: str) -> None:
    path.write_text(DOVECOT)
    uids = UidList(path.parent)
    uids.refresh()
    inode = path.stat().st_ino
    path.write_text(content)
    assert path.stat().st_ino == inode
    fresh = UidList(path.parent)
    read = uids.refresh()
    assert read is not None
    assert read.whole
    assert read == fresh.refresh()
    assert uids.header == fresh.header


def test_file_that_shrank_is_read_as_a_whole(path: Path) -> None:
    path.write_text(DOVECOT)
    uids = UidList(path.parent)
    uids.refresh()
    os.truncate(path, DOVECOT.index("3 :") - 5)
    assert uids.refresh() == Read(True, ENTRIES[:1], False)
    assert uids.header == HEADER._replace(uid_next=2)


def test_a_name_that_comes_again_has_the_later_uid(path: Path) -> None:
    """Dovecot moves a message away and back under its name, and the first line may still be there."""
    path.write_text(DOVECOT + "6 :a\n7 :b\n8 :a\n")
    uids = UidList(path.parent)
    read = uids.refresh()
    assert read == Read(True, [*ENTRIES, Entry(7, "b", ""), Entry(8, "a", "")], False)
    with path.open("a") as file:
        file.write(f"9 :{ENTRIES[0].base}\n")
    assert uids.refresh() == Read(False, [Entry(9, ENTRIES[0].base, "")], False)
    assert uids.header == HEADER._replace(uid_next=10)


@pytest.mark.parametrize(
    ("lines", "kept", "uid_next"),
    [
        ("garbage\n6 :a\n", [(6, "a")], 7),
        ("\n6 :a\n", [(6, "a")], 7),
        ("6 a\n", [], 6),
        ("6 :\n", [], 6),
        ("6 :a\n6 :b\n", [(6, "a")], 7),
        ("9 :a\n7 :b\n10 :c\n", [(9, "a"), (10, "c")], 11),
        ("6 :a:2,S\n", [], 7),
        ("6 :a,S=27 :b\n", [], 7),  # Dovecot has appended to half a line
        ("-6 :a\n0 :b\nx :c\n :d\n", [], 6),
        ("4294967295 :a\n4294967296 :b\n", [(4294967295, "a")], 4294967296),
        (f"{'9' * 5000} :a\n6 :b\n", [(6, "b")], 7),
    ],
)
def test_damaged_lines_are_passed_over(
    path: Path,
    lines: str,
    kept: list[tuple[int, str]],
    uid_next: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path.write_text(DOVECOT + lines)
    whole = UidList(path.parent)
    added = [Entry(uid, base, "") for uid, base in kept]
    assert whole.refresh() == Read(True, ENTRIES + added, True)
    assert whole.header == HEADER._replace(uid_next=uid_next)
    assert len(caplog.records) == 1

    path.write_text(DOVECOT)
    uids = UidList(path.parent)
    uids.refresh()
    append(path, lines)
    assert uids.refresh() == Read(False, added, True)
    assert uids.header == HEADER._replace(uid_next=uid_next)
    append(path, "4294967290 :z\n")
    read = uids.refresh()
    assert read is not None
    assert read.damaged  # still


@pytest.mark.parametrize(
    "header",
    [
        "hello",
        "",
        "3",
        "3 N1",
        "3 V12x N1",
        "3 V0 N1",
        "3 V4294967296 N1",
        "3 V1 Nx",
        "3 V1",
        "4 V1 N1",
        "1 5",
        "1 5 x",
        "1 :a",
    ],
)
def test_header_that_makes_no_sense(
    path: Path, header: str, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_text(header + "\n6 :a\n7 :b\n")
    uids = UidList(path.parent)
    assert uids.refresh() == Read(True, [Entry(6, "a", ""), Entry(7, "b", "")], True)
    assert uids.header is None
    assert len(caplog.records) == 1
    assert uids.refresh() is None
    append(path, "8 :c\n")
    read = uids.refresh()
    assert read is not None
    assert read.whole
    assert len(read.entries) == 3
    with pytest.raises(ValueError):
        uids.append([entry(9)])
    uids.write(Header(5, 1, ""), read.entries)
    assert path.read_text() == "3 V5 N9\n6 :a\n7 :b\n8 :c\n"


def test_empty_file_is_damaged(path: Path) -> None:
    path.touch()
    uids = UidList(path.parent)
    assert uids.refresh() == Read(True, [], True)
    assert uids.header is None


def test_guid_that_makes_no_sense_is_none(path: Path) -> None:
    path.write_text("3 V1 N1 G123\n")
    uids = UidList(path.parent)
    uids.refresh()
    assert uids.header == Header(1, 1, "")


def test_version_1(path: Path) -> None:
    path.write_text("1 1795519986 3\n1 1795519986.M978197P12384.vm,S=28,W=32\n2 a b\n")
    uids = UidList(path.parent)
    assert uids.refresh() == Read(
        True, [Entry(1, "1795519986.M978197P12384.vm,S=28,W=32", ""), Entry(2, "a b", "")], False
    )
    assert uids.header == Header(1795519986, 3, "")
    uids.append([entry(3)])  # which makes it version 3, as Dovecot does
    assert path.read_text() == (
        "3 V1795519986 N4\n1 :1795519986.M978197P12384.vm,S=28,W=32\n2 :a b\n3 :m3\n"
    )


def test_names_are_octets(path: Path) -> None:
    path.write_bytes(b"3 V1 N1\n1 :\xff\xe9.\xc3\xa9\n2 :a\r\x85\xe2\x80\xa8b\n")
    uids = UidList(path.parent)
    read = uids.refresh()
    assert read is not None
    assert [os.fsencode(each.base) for each in read.entries] == [
        b"\xff\xe9.\xc3\xa9",
        b"a\r\x85\xe2\x80\xa8b",
    ]
    uids.append([Entry(3, os.fsdecode(b"\xfe"), "")])
    assert path.read_bytes().endswith(b"\n3 :\xfe\n")
    uids.write(Header(1, 1, ""), read.entries)
    assert path.read_bytes() == b"3 V1 N4\n1 :\xff\xe9.\xc3\xa9\n2 :a\r\x85\xe2\x80\xa8b\n"


@given(st.binary(max_size=200))
def test_any_octets_can_be_read(tmp_path_factory: pytest.TempPathFactory, octets: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "dovecot-uidlist"
    for content in (octets, b"3 V1 N1\n1 :a\n" + octets, b"1 1 1\n" + octets):
        path.write_bytes(content)
        uids = UidList(path.parent)
        read = uids.refresh()
        assert read is not None
        assert read.whole
        numbers = [each.uid for each in read.entries]
        assert numbers == sorted(set(numbers))
        assert len({each.base for each in read.entries}) == len(numbers)
        if uids.header is not None:
            assert uids.header.uid_next > max(numbers, default=0)
            if uids.header.uid_next < 1 << 32:
                new = Entry(uids.header.uid_next, "new", "")
                uids.append([new])
                again = UidList(path.parent).refresh()
                assert again == Read(True, [*read.entries, new], False)
    path.unlink()


# -- writing --


def test_appended_lines_are_those_of_dovecot(path: Path) -> None:
    path.write_text(DOVECOT[: DOVECOT.index("3 :")])
    uids = UidList(path.parent)
    uids.refresh()
    inode = path.stat().st_ino
    with uids.lock():
        assert uids.refresh() is None
        uids.append(ENTRIES[2:])
    assert path.read_text() == DOVECOT
    assert path.stat().st_ino == inode
    assert uids.refresh() is None
    assert uids.header == HEADER


def test_appending_nothing_changes_nothing(path: Path) -> None:
    path.write_text(DOVECOT)
    before = path.stat()
    uids = UidList(path.parent)
    uids.refresh()
    uids.append([])
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert uids.refresh() is None


def test_others_see_what_was_appended(path: Path) -> None:
    path.write_text(DOVECOT)
    one, other = UidList(path.parent), UidList(path.parent)
    one.refresh()
    other.refresh()
    one.append([entry(6), entry(8)])
    assert other.refresh() == Read(False, [entry(6), entry(8)], False)
    other.append([entry(9)])
    assert one.refresh() == Read(False, [entry(9)], False)
    assert one.header == other.header == HEADER._replace(uid_next=10)


@pytest.mark.parametrize("rest", ["6 :a", "garbage\n", "2 :b\n", "6 :m1\n6 :m2\ngarb"])
def test_damaged_file_is_made_anew_by_the_next_append(path: Path, rest: str) -> None:
    path.write_text(DOVECOT.replace(f"G{GUID}", f"G{GUID} Xkept") + rest)
    uids = UidList(path.parent)
    read = uids.refresh()
    assert read is not None
    assert uids.header is not None
    new = Entry(uids.header.uid_next, "new", "")
    uids.append([new])
    assert uids.refresh() is None
    fresh = UidList(path.parent)
    assert fresh.refresh() == Read(True, [*read.entries, new], False)
    assert fresh.header == uids.header
    assert f" G{GUID} Xkept\n" in path.read_text()


def test_append_without_a_refresh_is_refused(path: Path) -> None:
    path.write_text(DOVECOT)
    uids = UidList(path.parent)
    with pytest.raises(ValueError):
        uids.append([entry(6)])
    uids.refresh()
    append(path, "6 :a\n")
    with pytest.raises(InUse):
        uids.append([entry(6)])
    uids.refresh()
    replace(path, path.read_bytes())
    with pytest.raises(InUse):
        uids.append([entry(7)])
    assert path.read_text() == DOVECOT + "6 :a\n"


@pytest.mark.parametrize(
    "entries",
    [
        [Entry(5, "a", "")],
        [Entry(7, "a", ""), Entry(6, "b", "")],
        [Entry(6, "a", ""), Entry(7, "a", "")],
        [Entry(6, ENTRIES[0].base, "")],
        [Entry(6, "", "")],
        [Entry(6, "a:2,S", "")],
        [Entry(6, "a\nb", "")],
        [Entry(6, "a", ":x")],
        [Entry(6, "a", "W1 :x")],
        [Entry(6, "a", "W1\n")],
    ],
)
def test_what_could_not_be_read_back_is_not_written(path: Path, entries: list[Entry]) -> None:
    path.write_text(DOVECOT)
    uids = UidList(path.parent)
    uids.refresh()
    with pytest.raises(ValueError):
        uids.append(entries)
    assert path.read_text() == DOVECOT


def test_uids_end_somewhere(path: Path) -> None:
    path.write_text("3 V1 N4294967295\n")
    uids = UidList(path.parent)
    uids.refresh()
    uids.append([entry(4294967295)])
    assert uids.header is not None
    with pytest.raises(LimitReached):
        uids.append([entry(uids.header.uid_next)])


def test_written_file_is_that_of_dovecot(path: Path) -> None:
    uids = UidList(path.parent)
    uids.refresh()
    with uids.lock():
        uids.write(HEADER, ENTRIES)
    assert path.read_text() == DOVECOT.replace(" N1 ", " N6 ")
    assert sorted(os.listdir(path.parent)) == ["dovecot-uidlist"]
    assert uids.refresh() is None
    assert uids.header == HEADER
    assert UidList(path.parent).refresh() == Read(True, ENTRIES, False)
    uids.append([entry(6)])
    assert uids.refresh() is None
    assert path.read_text().endswith("6 :m6\n")


def test_next_uid_never_goes_back_in_one_uid_validity(path: Path) -> None:
    path.write_text("3 V1 N100\n")
    uids = UidList(path.parent)
    uids.refresh()
    uids.write(Header(1, 5, ""), [entry(7)])
    assert uids.header == Header(1, 100, "")
    uids.write(Header(2, 5, ""), [entry(7)])
    assert uids.header == Header(2, 8, "")
    assert path.read_text() == "3 V2 N8\n7 :m7\n"


@pytest.mark.parametrize("mode", [0o700, 0o750, 0o770, 0o755])
def test_mode_is_that_of_the_directory(tmp_path: Path, mode: int) -> None:
    directory = tmp_path / "box"
    directory.mkdir()
    directory.chmod(mode)
    before = os.umask(0o027)
    try:
        UidList(directory).write(HEADER, [])
    finally:
        os.umask(before)
    made = (directory / "dovecot-uidlist").stat()
    assert made.st_mode & 0o777 == mode & 0o666
    assert made.st_gid == directory.stat().st_gid


def test_what_a_crash_left_beside_is_replaced(path: Path) -> None:
    target = path.with_name("target")
    target.write_text("precious")
    path.with_name("dovecot-uidlist.tmp").symlink_to(target)
    UidList(path.parent).write(HEADER, ENTRIES)
    assert target.read_text() == "precious"
    assert not path.is_symlink()


# -- full disks --


def test_full_disk_leaves_the_file_as_it_was(small_disk: SmallDisk) -> None:
    path = small_disk.path / "dovecot-uidlist"
    path.write_text(DOVECOT)
    uids = UidList(small_disk.path)
    uids.refresh()
    small_disk.fill()
    with pytest.raises(OSError, match="No space"):
        uids.write(HEADER, ENTRIES)
    assert path.read_text() == DOVECOT
    assert not path.with_name("dovecot-uidlist.tmp").exists()
    assert uids.refresh() is None
    small_disk.free()
    uids.write(HEADER, ENTRIES)
    assert UidList(small_disk.path).refresh() == Read(True, ENTRIES, False)


def test_full_disk_in_the_middle_of_an_append(small_disk: SmallDisk) -> None:
    """The lines that fit have been seen by others: their UIDs are used up."""
    path = small_disk.path / "dovecot-uidlist"
    path.write_text(DOVECOT)
    uids = UidList(small_disk.path)
    uids.refresh()
    small_disk.fill(leave=4096)
    many = [entry(uid) for uid in range(6, 2000)]
    with pytest.raises(OSError, match="No space"):
        uids.append(many)
    read = uids.refresh()
    assert read is not None
    assert 0 < len(read.entries) < len(many)
    assert read == Read(False, many[: len(read.entries)], False)
    assert path.read_bytes().endswith(b"\n")
    small_disk.free()
    assert uids.header is not None
    uids.append([entry(uids.header.uid_next)])
    fresh = UidList(small_disk.path).refresh()
    assert fresh is not None
    assert not fresh.damaged
    assert len(fresh.entries) == 5 + len(read.entries) + 1


# -- all at once --

APPENDS = """
import sys
from pathlib import Path
from pymap.backend.maildir.uidlist import Entry, UidList
uids = UidList(Path(sys.argv[1]))
kept = []
for n in range(int(sys.argv[3])):
    with uids.lock():
        read = uids.refresh()
        if read is not None:
            if read.whole:
                kept.clear()
            kept += read.entries
        new = [
            Entry(uids.header.uid_next + i, f"{sys.argv[2]}-{n}-{i}", "") for i in range(n % 3 + 1)
        ]
        if n % 10 == 9:
            kept = [*kept[len(kept) // 4 :], *new]  # as after an expunge
            uids.write(uids.header, kept)
        else:
            uids.append(new)
            kept += new
        print(*(f"{each.uid}:{each.base}" for each in new))
"""


def test_many_processes_never_disagree_about_a_uid(path: Path) -> None:
    """Two append and now and then make the file anew; a reader takes no lock."""
    UidList(path.parent).write(Header(1, 1, GUID), [])
    rounds = "200"
    writing = [
        subprocess.Popen(
            [sys.executable, "-c", APPENDS, path.parent, name, rounds],
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("a", "b")
    ]
    given: dict[int, str] = {}
    uids = UidList(path.parent)
    seen: dict[int, str] = {}
    stop = threading.Event()
    wrong: list[object] = []

    def read_on() -> None:
        highest = 0
        while not stop.is_set():
            read = uids.refresh()
            if read is None:
                time.sleep(0)
                continue
            if read.damaged or uids.header is None or uids.header.uid_next <= highest:
                wrong.append(read)
            if not read.whole and read.entries and read.entries[0].uid <= highest:
                wrong.append(read)
            for each in read.entries:
                if seen.setdefault(each.uid, each.base) != each.base:
                    wrong.append(each)
                highest = max(highest, each.uid)

    reader = threading.Thread(target=read_on)
    reader.start()
    try:
        for process in writing:
            out, _ = process.communicate(timeout=60)
            assert process.returncode == 0
            for pair in out.split():
                uid, _, base = pair.partition(":")
                assert int(uid) not in given
                given[int(uid)] = base
    finally:
        stop.set()
        reader.join()
    assert not wrong
    assert sorted(given) == list(range(1, len(given) + 1))
    assert seen.items() <= given.items()


class AgainstModel(RuleBasedStateMachine):
    """Two that write in turn, one that only looks: all know what is there."""

    def __init__(self) -> None:
        super().__init__()
        self.place = tempfile.TemporaryDirectory()
        self.path = Path(self.place.name, "dovecot-uidlist")
        self.lists = [UidList(self.path.parent) for _ in range(3)]
        self.known: list[list[Entry]] = [[], [], []]
        self.model: list[Entry] = []
        self.uid_next = 1
        self.count = 0
        self.lists[0].write(Header(7, 1, GUID), [])

    def teardown(self) -> None:
        self.place.cleanup()

    def look(self, which: int) -> None:
        read = self.lists[which].refresh()
        if read is not None:
            if read.whole:
                self.known[which].clear()
            self.known[which] += read.entries
        assert self.known[which] == self.model
        assert self.lists[which].header == Header(7, self.uid_next, GUID)
        assert self.lists[which].refresh() is None

    def make(self, many: int, gap: int) -> list[Entry]:
        new = []
        for _ in range(many):
            self.count += 1
            new.append(Entry(self.uid_next + gap, f"m{self.count}", "W1" if many == 2 else ""))
            self.uid_next += gap + 1
        return new

    @rule(which=st.integers(0, 1), many=st.integers(0, 3), gap=st.integers(0, 2))
    def append(self, which: int, many: int, gap: int) -> None:
        self.look(which)
        new = self.make(many, gap)
        self.lists[which].append(new)
        self.known[which] += new
        self.model += new

    @rule(which=st.integers(0, 1), keep=st.integers(0, 5))
    def write(self, which: int, keep: int) -> None:
        self.look(which)
        self.model = self.model[-keep:] if keep else []
        self.known[which] = list(self.model)
        header = self.lists[which].header
        assert header is not None
        self.lists[which].write(header, self.model)

    @rule()
    def another_writes_half_a_line(self) -> None:
        append(self.path, "12")

    @rule()
    def another_writes_nonsense(self) -> None:
        append(self.path, "\nnonsense\n")

    @rule()
    def watch(self) -> None:
        self.look(2)

    @precondition(lambda self: self.model)
    @invariant()
    def uids_ascend(self) -> None:
        numbers = [each.uid for each in self.model]
        assert numbers == sorted(set(numbers))


TestAgainstModel = AgainstModel.TestCase


def test_large_file_is_read_quickly(path: Path) -> None:
    """Some 0.1 s; this bound leaves room for a busy machine."""
    many = [
        Entry(n, f"1795519838.M{n:06}P1182Q{n}R12345678.vm,S=28,W=32", "") for n in range(1, 100001)
    ]
    UidList(path.parent).write(HEADER, many)
    start = time.perf_counter()
    read = UidList(path.parent).refresh()
    took = time.perf_counter() - start
    logging.getLogger(__name__).info("100,000 lines: %.0f ms", took * 1000)
    assert read == Read(True, many, False)
    assert took < 2
