"""dovecot-keywords: the letters of keywords."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymap.backend.errors import InUse
from pymap.backend.maildir import keywords as module
from pymap.backend.maildir.dotlock import HOST, dotlock
from pymap.backend.maildir.keywords import Keywords

from .conftest import SmallDisk

ALPHABET = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dovecot-keywords"


def named(**letters: str) -> tuple[str, ...]:
    return tuple(letters.get(letter, "") for letter in ALPHABET)


def test_no_file(path: Path) -> None:
    keywords = Keywords(path.parent)
    assert not keywords.refresh()
    assert keywords.names == named()
    assert keywords.letters(["a"]) == {}


def test_file_of_dovecot(path: Path) -> None:
    path.write_text("0 Foo\n1 $Bar\n25 last\n")
    keywords = Keywords(path.parent)
    assert keywords.refresh()
    assert keywords.names == named(a="Foo", b="$Bar", z="last")
    assert not keywords.refresh()
    assert keywords.letters(["$bar", "none", "LAST"]) == {"$bar": "b", "LAST": "z"}
    path.unlink()
    assert keywords.refresh()
    assert keywords.names == named()
    assert not keywords.refresh()


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("0 foo\nhello\n3 bar\n", named(a="foo", d="bar")),
        ("0 foo\n0 bar\n", named(a="bar")),
        ("0 foo\n26 bar\n99 baz\n-1 x\n\n1 \n2\n", named(a="foo")),
        ("0 foo\n1 half", named(a="foo")),
        ("0 foo\n1 FOO\n", named(a="foo", b="FOO")),
        ("0 with space\n1 a(b\n2 été\n3 \\Seen\n4 x]\n5 ok\n", named(f="ok")),
        ("", named()),
    ],
)
def test_what_makes_no_sense_is_passed_over(
    path: Path, content: str, names: tuple[str, ...]
) -> None:
    path.write_text(content)
    keywords = Keywords(path.parent)
    assert keywords.refresh()
    assert keywords.names == names


@given(st.binary(max_size=100))
def test_any_octets_can_be_read(tmp_path_factory: pytest.TempPathFactory, octets: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "dovecot-keywords"
    path.write_bytes(b"0 foo\n" + octets)
    keywords = Keywords(path.parent)
    assert keywords.refresh()
    before = keywords.names
    keywords.admit(["surely-new"])
    for old, new in zip(before, keywords.names, strict=True):
        assert new == old or (not old and new == "surely-new")
    again = Keywords(path.parent)
    again.refresh()
    assert again.names == keywords.names


# -- new ones --


def test_new_keywords_get_the_first_free_letters(path: Path) -> None:
    path.write_text("0 Foo\n2 Bar\n")
    keywords = Keywords(path.parent)
    keywords.admit(["foo", "New", "other", "NEW"])
    assert keywords.names == named(a="Foo", b="New", c="Bar", d="other")
    assert path.read_text() == "0 Foo\n1 New\n2 Bar\n3 other\n"
    assert not keywords.refresh()
    assert sorted(os.listdir(path.parent)) == ["dovecot-keywords"]


def test_first_keyword_makes_the_file(path: Path) -> None:
    path.parent.chmod(0o750)
    Keywords(path.parent).admit(["$Junk"])
    assert path.read_text() == "0 $Junk\n"
    assert path.stat().st_mode & 0o777 == 0o640


def test_known_keywords_write_nothing(path: Path) -> None:
    path.write_text("0 Foo\n")
    before = path.stat()
    keywords = Keywords(path.parent)
    with dotlock(path.with_name("dovecot-uidlist")):
        keywords.admit(["foo"])
        keywords.admit([])
    assert path.stat() == before


def test_keywords_beyond_26_are_left_out(path: Path) -> None:
    keywords = Keywords(path.parent)
    keywords.admit([f"k{n:02}" for n in range(30)])
    assert keywords.names == tuple(f"k{n:02}" for n in range(26))
    assert "k26" not in keywords.letters(["k25", "k26"])
    before = path.stat()
    keywords.admit(["more"])
    assert path.stat() == before


@pytest.mark.parametrize("name", ["", "a b", "a\n1 b", "été", "\\Seen", "a\x7f", "(", "]"])
def test_what_is_no_keyword_is_left_out(path: Path, name: str) -> None:
    Keywords(path.parent).admit([name, "ok"])
    assert path.read_text() == "0 ok\n"


def test_an_index_is_never_used_again(path: Path) -> None:
    """Also when its name cannot be shown: files have its letter."""
    path.write_text("0 with space\n1 FOO\n2 foo\nnonsense\n4 x\n")
    keywords = Keywords(path.parent)
    keywords.admit(["new"])
    assert path.read_text() == "0 with space\n1 FOO\n2 foo\n3 new\n4 x\n"


def test_letters_that_files_have_are_not_given_away(path: Path) -> None:
    """Their names are lost; a file with the letter must not get another keyword by that."""
    keywords = Keywords(path.parent)
    keywords.admit(["new", "other"], used="ac")
    assert path.read_text() == "1 new\n3 other\n"


def test_what_others_admitted_is_kept(path: Path) -> None:
    one, other = Keywords(path.parent), Keywords(path.parent)
    one.admit(["first"])
    other.admit(["second"])
    one.admit(["third", "second"])
    assert path.read_text() == "0 first\n1 second\n2 third\n"
    assert other.refresh()
    assert other.names == one.names


def test_lock_file_of_keywords_locks_nothing(path: Path) -> None:
    """Dovecot removes it without asking."""
    path.with_name("dovecot-keywords.lock").write_text("what a crash has left")
    Keywords(path.parent).admit(["new"])
    assert path.read_text() == "0 new\n"


def test_lock_is_that_of_the_uidlist(path: Path) -> None:
    lock = path.with_name("dovecot-uidlist.lock")
    lock.write_text(f"{os.getppid()}:{HOST}")
    keywords = Keywords(path.parent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "dotlock", lambda path: dotlock(path, 0.05))
        with pytest.raises(InUse):
            keywords.admit(["new"])
    lock.unlink()
    with dotlock(path.with_name("dovecot-uidlist")):
        keywords.admit(["new"])
    assert path.read_text() == "0 new\n"


ADMITS = """
import sys
from pathlib import Path
from pymap.backend.maildir.keywords import Keywords
keywords = Keywords(Path(sys.argv[1]))
for n in range(13):
    keywords.admit([f"{sys.argv[2]}{n}"])
"""


def test_many_processes_lose_none(path: Path) -> None:
    admitting = [
        subprocess.Popen([sys.executable, "-c", ADMITS, path.parent, name]) for name in ("x", "y")
    ]
    assert [each.wait(60) for each in admitting] == [0, 0]
    keywords = Keywords(path.parent)
    keywords.refresh()
    assert sorted(keywords.names) == sorted(f"{name}{n}" for name in "xy" for n in range(13))


def test_full_disk_leaves_the_file_as_it_was(small_disk: SmallDisk) -> None:
    path = small_disk.path / "dovecot-keywords"
    path.write_text("0 Foo\n")
    keywords = Keywords(small_disk.path)
    small_disk.fill()
    with pytest.raises(OSError, match="No space"):
        keywords.admit(["new"])
    assert path.read_text() == "0 Foo\n"
    assert keywords.names == named(a="Foo")
    assert not path.with_name("dovecot-keywords.lock").exists()
    small_disk.free()
    keywords.admit(["new"])
    assert path.read_text() == "0 Foo\n1 new\n"
