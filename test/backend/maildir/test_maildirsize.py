"""`maildirsize`: when it is believed, when all is counted anew, and who appends to it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from pymap.backend.api import Quota, Usage
from pymap.backend.maildir import maildirsize
from pymap.backend.maildir.layout import LAYOUTS, Layout
from pymap.backend.maildir.maildirsize import MOST_OCTETS, STALE_S, MaildirSize

QUOTA = Quota(1000, 10)
FIRST = "1000S,10C\n"


@pytest.fixture(params=list(LAYOUTS))
def layout(request: pytest.FixtureRequest, tmp_path: Path) -> Layout:
    made = LAYOUTS[request.param](tmp_path / "Maildir")
    made.make("INBOX")
    return made


@pytest.fixture
def size(layout: Layout) -> MaildirSize:
    return MaildirSize(layout)


def deliver(place: Path, name: str, octets: int = 5) -> None:
    (place / name).write_bytes(b"x" * octets)


def file_of(layout: Layout) -> Path:
    return layout.root / "maildirsize"


def test_all_mailboxes_are_counted_by_name_or_by_file(layout: Layout, size: MaildirSize) -> None:
    deliver(layout.root, "cur/1.x,S=100,W=104:2,ST")  # also what is marked as deleted
    deliver(layout.root, "new/2.x,S=20")
    deliver(layout.make("Trash"), "new/3.x")  # by its file
    deliver(layout.make("a/b"), "cur/4.x,S=1:2,")
    deliver(layout.root, "tmp/5.x")
    deliver(layout.root, "new/.6.x")
    deliver(layout.root, "cur/7,U=1:2,a,S=9")  # behind the colon it is no size
    assert size.usage(QUOTA, again=False) == (131, 5)
    assert file_of(layout).read_text() == f"{FIRST}131 5\n"
    assert [path.name for path in (layout.root / "tmp").iterdir()] == ["5.x"]


def test_many_files_are_counted_step_by_step(
    layout: Layout, size: MaildirSize, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maildirsize, "AT_ONCE", 3)
    for n in range(7):
        deliver(layout.root, f"cur/{n}.x,S={n}:2,")
    deliver(layout.root, "cur/8.x", 100)
    assert size.usage(QUOTA, again=False) == (121, 8)


def test_an_alias_holds_nothing_of_its_own(layout: Layout, size: MaildirSize) -> None:
    one = layout.make("one")
    deliver(one, "cur/1.x,S=100:2,")
    layout.path("two").symlink_to(one)
    assert "two" in layout.names()
    assert size.usage(QUOTA, again=False) == (100, 1)


@pytest.mark.parametrize(
    ("quota", "first"),
    [
        (Quota(1000), "1000S"),
        (Quota(messages=10), "10C"),
        (Quota(1 << 80, 1 << 70), "9223372036854775807S,9223372036854775807C"),
        (Quota(0), "1S,1C"),  # 0 is no limit to others
        (Quota(1000, 0), "1S,1C"),
    ],
)
def test_limits_as_others_read_them(
    layout: Layout, size: MaildirSize, quota: Quota, first: str
) -> None:
    size.usage(quota, again=False)
    assert file_of(layout).read_text() == f"{first}\n0 0\n"


def test_without_limits_none_is_kept(layout: Layout, size: MaildirSize) -> None:
    deliver(layout.root, "cur/1.x,S=100:2,")
    for quota in (Quota(), Quota(mailboxes=7)):
        file_of(layout).write_text(f"{FIRST}7 7\n")
        assert size.usage(quota, again=False) == (100, 1)
        assert not file_of(layout).exists()


@pytest.mark.parametrize(
    "text",
    [
        f"{FIRST}7 2\n",
        f"{FIRST}7 2\n30 1\n-30 -1\n",
        f"{FIRST}           7            2\n",  # as Courier writes it
        "10C,1000S\n7 2\n",
        "1000S,10C,\n0 0\n7 2\n",
    ],
)
def test_what_is_believed(layout: Layout, size: MaildirSize, text: str) -> None:
    file_of(layout).write_text(text)
    assert size.usage(QUOTA, again=False) == (7, 2)
    assert file_of(layout).read_text() == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        FIRST,
        FIRST.strip(),
        f"{FIRST}7",
        f"{FIRST}7 2",  # cut off: perhaps it was 20
        f"{FIRST}7 2\n3\n",
        f"{FIRST}7 2\n\n",
        f"{FIRST}7 2\nx y\n",
        f"{FIRST}7 2 1\n",
        f"{FIRST}7 2\n-8 -1\n",
        f"{FIRST}7 2\n-7 -3\n",
        f"{FIRST}7 2\n{'1' * 300} 1\n",
        f"{FIRST}7 2\n{'9' * 19} 1\n",  # nothing is as large
        "1000S\n7 2\n",  # other limits
        "1000S,11C\n7 2\n",
        "\0\0\0\0",
        FIRST + "7 2\n" * (MOST_OCTETS // 4),
    ],
)
def test_what_is_counted_anew(layout: Layout, size: MaildirSize, text: str) -> None:
    deliver(layout.root, "cur/1.x,S=100:2,")
    file_of(layout).write_text(text)
    assert size.usage(QUOTA, again=False) == (100, 1)
    assert file_of(layout).read_text() == f"{FIRST}100 1\n"


def test_what_is_no_file_is_not_followed(layout: Layout, size: MaildirSize, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    file_of(layout).symlink_to(victim)
    size.add([5])
    assert size.usage(QUOTA, again=False) == (0, 0)
    assert victim.read_text() == "precious"
    assert not file_of(layout).is_symlink()
    file_of(layout).unlink()
    file_of(layout).mkdir()
    size.add([5])
    assert size.usage(QUOTA, again=False) == (0, 0)
    file_of(layout).rmdir()
    os.mkfifo(file_of(layout))
    size.add([5])  # waits for no reader
    os.mkfifo(file_of(layout))
    assert size.usage(QUOTA, again=False) == (0, 0)
    assert file_of(layout).is_file()


def test_who_is_about_to_be_refused_is_counted_once(layout: Layout, size: MaildirSize) -> None:
    deliver(layout.root, "cur/1.x,S=100:2,")
    file = file_of(layout)
    file.write_text(f"{FIRST}900 9\n90 1\n")
    assert size.usage(QUOTA, again=False) == (990, 10)
    assert size.usage(QUOTA, again=True) == (100, 1)
    deliver(layout.root, "new/2.x,S=20")
    assert size.usage(QUOTA, again=True) == (100, 1)  # it was just counted
    old = time.time() - STALE_S - 10
    os.utime(file, (old, old))
    assert size.usage(QUOTA, again=False) == (100, 1)
    assert size.usage(QUOTA, again=True) == (120, 2)


def test_lines_are_appended_where_somebody_counts(layout: Layout, size: MaildirSize) -> None:
    asked = iter([5])
    size.add(asked)
    size.take_away(Usage(5, 1))
    assert not file_of(layout).exists()
    assert next(asked) == 5  # nobody has looked
    assert size.held_in(layout.root) is None
    size.usage(QUOTA, again=False)
    size.add([5, 6])
    size.add([5], -1)
    size.take_away(Usage(6, 1))
    assert file_of(layout).read_text() == f"{FIRST}0 0\n11 2\n-5 -1\n-6 -1\n"
    assert size.held_in(layout.root) == (0, 0)
    assert size.usage(QUOTA, again=False) == (0, 0)


def test_what_comes_while_all_is_counted(
    layout: Layout, size: MaildirSize, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message that comes into a mailbox after that was listed: its line tells of it."""
    size.usage(QUOTA, again=False)
    held_in, other = maildirsize._held_in, MaildirSize(layout)
    came = iter([True])

    def slow(mailbox: Path) -> Usage:
        found = held_in(mailbox)
        if next(came, False):
            deliver(mailbox, "cur/1.x,S=100:2,")
            other.add([100])
        return found

    monkeypatch.setattr(maildirsize, "_held_in", slow)
    assert size.usage(Quota(5000), again=False) == (100, 1)
    assert file_of(layout).read_text() == "5000S\n100 1\n"
