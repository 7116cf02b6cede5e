"""Names and directories: tables, what happens on disk, and Dovecot on the same tree."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymap.backend.errors import CannotDo, InUse, MailboxExists, MailboxNotFound, NoPermission
from pymap.backend.maildir import tree
from pymap.backend.maildir.dotlock import dotlock
from pymap.backend.maildir.layout import LAYOUTS, Fs, Layout, MaildirPlusPlus
from pymap.limits import Limits

from .dovecot_process import Dovecot, as_owner, dovecot, quoted

KINDS = list(LAYOUTS)
SUBS = {"cur", "new", "tmp"}


@pytest.fixture(params=KINDS)
def layout(request: pytest.FixtureRequest, tmp_path: Path) -> Layout:
    """With an INBOX, and nothing else."""
    made = LAYOUTS[request.param](tmp_path / "Maildir")
    made.make("INBOX")
    return made


@pytest.fixture(params=KINDS)
def peer(request: pytest.FixtureRequest) -> Iterator[Dovecot]:
    with dovecot(request.param) as found:
        yield found


def plus(path: Path) -> Layout:
    return made_in(MaildirPlusPlus(path / "Maildir"))


def fs(path: Path) -> Layout:
    return made_in(Fs(path / "Maildir"))


def made_in(layout: Layout) -> Layout:
    layout.make("INBOX")
    return layout


def by_hand(path: Path, *subs: str) -> Path:
    for sub in subs or SUBS:
        (path / sub).mkdir(parents=True)
    path.mkdir(exist_ok=True)
    return path


def deliver(directory: Path, text: str = "x") -> Path:
    """A message, to see whether it is lost."""
    message = directory / "new" / f"{time.time_ns()}.x"
    message.write_text(text)
    return message


def left(layout: Layout) -> list[str]:
    """What should not be in the root and its tmp when nothing is going on. After a crash the lock
    file may be there, with nobody who has it."""
    ours = [name for name in os.listdir(layout.root) if name.startswith("pymap-")]
    return [*ours, *os.listdir(layout.root / "tmp")]


# -- names --


@pytest.mark.parametrize(
    ("name", "plus_plus", "fs"),
    [
        ("INBOX", ".", "."),
        ("Work", ".Work", "Work"),
        ("Work/2024/Q 1", ".Work.2024.Q 1", "Work/2024/Q 1"),
        ("INBOX/x", ".INBOX.x", "INBOX/x"),
        ("x/inbox", ".x.inbox", "x/inbox"),
        ("A&B", ".A&-B", "A&-B"),
        ("Entwürfe/日本語 😀", ".Entw&APw-rfe.&ZeVnLIqe- &2D3eAA-", "Entw&APw-rfe/&ZeVnLIqe- &2D3eAA-"),
        ("a/~b", ".a.~b", "a/~b"),
        ("50%_*'\"\\:", ".50%_*'\"\\:", "50%_*'\"\\:"),
        ("cur", ".cur", None),
        ("a/tmp/b", ".a.tmp.b", None),
        ("CUR", ".CUR", "CUR"),
        ("dovecot-uidlist", ".dovecot-uidlist", None),
        ("a/dovecot.index.cache", None, None),
        ("dovecot-users", ".dovecot-users", "dovecot-users"),
        ("dovecot.org", None, "dovecot.org"),
        ("subscriptions", ".subscriptions", None),
        ("pymap-index", ".pymap-index", None),
        ("mailboxes.lock", None, None),
        ("maildirfolder/x", ".maildirfolder.x", None),
        ("a.b", None, "a.b"),
        (".a", None, ".a"),
        ("a/..b", None, "a/..b"),
        ("..", None, None),
        ("a/../b", None, None),
        ("a/.", None, None),
        ("~a", None, None),
        ("~/a", None, None),
        ("inbox", None, None),
        ("Inbox/a", None, None),
        ("", None, None),
        ("a//b", None, None),
        ("/a", None, None),
        ("a/", None, None),
        ("a\0b", None, None),
        ("a\nb", None, None),
        ("a\ud800", None, None),
        ("x" * 254, "." + "x" * 254, "x" * 254),
        ("x" * 255, None, "x" * 255),
        ("x" * 256, None, None),
        ("ä" * 100, None, None),
        ("/".join("x" * 64), "." + ".".join("x" * 64), "/".join("x" * 64)),
        ("/".join("x" * 65), None, None),
        ("/".join(["x" * 200] * 20), None, None),
    ],
)  # fmt: skip
def test_names_on_disk(name: str, plus_plus: str | None, fs: str | None) -> None:
    root = Path("/mail")
    for layout, raw in ((MaildirPlusPlus(root), plus_plus), (Fs(root), fs)):
        if raw is None:
            with pytest.raises(CannotDo):
                layout.path(name)
            with pytest.raises(MailboxNotFound):
                layout.find(name)
        else:
            assert layout.path(name) == root / raw


_LEVELS = st.lists(st.text(min_size=1), min_size=1, max_size=4)


@given(_LEVELS, _LEVELS)
def test_no_name_leaves_the_tree_or_has_the_place_of_another(
    one: list[str], other: list[str]
) -> None:
    root = Path("/mail")
    for kind in LAYOUTS.values():
        places = {}
        for name in {"/".join(one), "/".join(other)}:
            try:
                path = kind(root).path(name)
            except CannotDo:
                continue
            assert os.path.normpath(path) == str(path)
            assert path.parts[:2] == ("/", "mail")
            assert path not in places
            places[path] = name


# -- what is on disk --


def test_a_tree_of_another_hand(tmp_path: Path) -> None:
    layout = plus(tmp_path)
    for raw in (".Work", ".Work.2024", ".INBOX.x", ".A&-B", ".&ZeVnLIqe-", ".x"):
        by_hand(layout.root / raw)
    for raw in (
        ".inbox", ".INBOX", ".Inbox.y", ".&foo", ".bad&", ".&AGE-", ".ä", ".a\tb", ".a\nb", ".&AAo-",
        "..pymap", ".a..b", ".a.", "nodot", "Work", ".~home", ".&AC8-", ".&AC4-",
    ):  # fmt: skip
        by_hand(layout.root / raw)
    by_hand(layout.root / os.fsdecode(b".\xff\xfe"))
    (layout.root / ".file").touch()
    (layout.root / ".git").mkdir()
    assert sorted(layout.names()) == ["A&B", "INBOX", "INBOX/x", "Work", "Work/2024", "x", "日本語"]
    assert layout.find("INBOX/x") == layout.root / ".INBOX.x"
    for name in ("git", "file", "y", "INBOX/y", "Work/2025"):
        with pytest.raises(MailboxNotFound):
            layout.find(name)


def test_a_tree_of_another_hand_in_fs(tmp_path: Path) -> None:
    layout = fs(tmp_path)
    for raw in (
        "Work/2024", "INBOX/x", "INBOX/inbox/q", "A&-B", "&ZeVnLIqe-/x", ".a", "a/.b", "a/..b", "Work/~x",
    ):  # fmt: skip
        by_hand(layout.root / raw)
    for raw in (
        "inbox", "Inbox/y", "&foo", "&AGE-/x", "ä", "a\tb", "~home", "~home/x", "pymap-x", "cur/x",
        "Work/tmp/x", "subscriptions", "INBOX", "dovecot-keywords", "bad&/good",
    ):  # fmt: skip
        by_hand(layout.root / raw)
    (layout.root / "file").touch()
    assert sorted(layout.names()) == [
        ".a", "A&B", "INBOX", "INBOX/inbox/q", "INBOX/x", "Work/2024", "Work/~x", "a/..b", "a/.b", "日本語/x",
    ]  # fmt: skip
    assert layout.find("日本語/x") == layout.root / "&ZeVnLIqe-/x"
    for name in ("Work", "INBOX/inbox", "file", "file/x", "y"):
        with pytest.raises(MailboxNotFound):
            layout.find(name)


@pytest.mark.parametrize(
    ("subs", "plus_plus", "in_fs"),
    [
        ([], False, False),
        (["cur"], True, True),
        (["new"], True, False),
        (["tmp"], True, False),
        (["cur", "tmp"], True, True),
        (["new", "tmp"], True, False),
    ],
)
def test_what_makes_a_mailbox(
    tmp_path: Path, subs: list[str], plus_plus: bool, in_fs: bool
) -> None:
    """Whatever is on disk already, making it gives a whole mailbox and loses no mail."""
    for layout, there in ((plus(tmp_path / "1"), plus_plus), (fs(tmp_path / "2"), in_fs)):
        directory = layout.path("a")
        directory.mkdir()
        for sub in subs:
            (directory / sub).mkdir()
            (directory / sub / "message").touch()
        assert ("a" in layout.names()) == there
        if there:
            assert layout.find("a") == directory
            with pytest.raises(MailboxExists):
                layout.make("a")
        else:
            with pytest.raises(MailboxNotFound):
                layout.find("a")
            assert layout.make("a") == directory
            assert set(os.listdir(directory)) >= SUBS
            assert layout.find("a") == directory
        assert all((directory / sub / "message").exists() for sub in subs)


def test_names_are_nfc_whatever_is_on_disk(tmp_path: Path) -> None:
    """Dovecot makes directories of any spelling; the engine knows one, and must reach them."""
    layout = plus(tmp_path / "1")
    by_hand(layout.root / ".e&AwE-")  # e and a combining accent
    assert sorted(layout.names()) == ["INBOX", "é"]
    assert layout.find("é") == layout.places()["é"] == layout.root / ".e&AwE-"
    with pytest.raises(MailboxExists):
        layout.make("é")
    composed = by_hand(layout.root / ".&AOk-")
    assert sorted(layout.names()) == ["INBOX", "é"]  # never two of one name
    assert layout.find("é") == composed
    layout.remove("é")
    assert layout.find("é") == layout.root / ".e&AwE-"
    assert layout.rename("é", "b") == [(layout.root / ".e&AwE-", layout.root / ".b")]
    assert sorted(layout.names()) == ["INBOX", "b"]

    layout = fs(tmp_path / "2")
    by_hand(layout.root / "e&AwE-" / "x")
    assert sorted(layout.names()) == ["INBOX", "é/x"]
    assert layout.find("é/x") == layout.root / "e&AwE-" / "x"
    assert layout.make("é/y") == layout.root / "e&AwE-" / "y"
    assert layout.make("é") == layout.root / "e&AwE-"
    layout.rename("é/x", "é/ö")
    assert sorted(layout.names()) == ["INBOX", "é", "é/y", "é/ö"]
    layout.rename("é", "z")
    assert sorted(layout.names()) == ["INBOX", "z", "z/y", "z/ö"]


# -- links --


def test_links_do_not_lead_out(layout: Layout, tmp_path: Path) -> None:
    outside = by_hand(tmp_path / "outside")
    by_hand(outside / "inner")
    message = deliver(outside)
    for name in ("out", "a/out"):
        layout.path(name).parent.mkdir(exist_ok=True)
        layout.path(name).symlink_to(outside)
    layout.path("dangling").symlink_to(tmp_path / "nowhere")
    for sub in SUBS:
        place = by_hand(layout.path(f"with-{sub}"), *(SUBS - {sub}))
        (place / sub).symlink_to(outside / sub)
    assert layout.names() == ["INBOX"]
    for name in ("out", "out/inner", "a/out", "dangling", *(f"with-{sub}" for sub in SUBS)):
        with pytest.raises(MailboxNotFound):
            layout.find(name)
        with pytest.raises(MailboxNotFound):
            layout.remove(name)
        with pytest.raises(MailboxNotFound):
            layout.rename(name, "new")
    for name in ("out", "out/inner"):
        if isinstance(layout, Fs) or name == "out":
            with pytest.raises(CannotDo):
                layout.make(name)
    layout.make("b")
    with pytest.raises(MailboxExists):
        layout.rename("b", "out")
    assert message.exists()
    assert set(os.listdir(outside)) == {*SUBS, "inner"}


def test_a_link_to_another_folder_is_an_alias(layout: Layout) -> None:
    real = layout.make("Sent")
    message = deliver(real)
    alias = layout.path("Sent Items")
    alias.symlink_to(real.name)
    assert sorted(layout.names()) == ["INBOX", "Sent", "Sent Items"]
    assert layout.find("Sent Items") == alias
    assert layout.rename("Sent Items", "Gesendet") == [(alias, layout.path("Gesendet"))]
    layout.remove("Gesendet")
    assert sorted(layout.names()) == ["INBOX", "Sent"]
    assert message.exists()


def test_loops_of_links_end(tmp_path: Path) -> None:
    layout = fs(tmp_path)
    for name in ("a", "b", "a/c"):
        layout.make(name)
    for link, target in (("a/up", ".."), ("a/self", "."), ("b/a", "../a"), ("a/c/b", "../../b")):
        (layout.root / link).symlink_to(target)
    assert sorted(layout.names()) == [
        "INBOX", "a", "a/c", "a/c/b", "a/self", "a/up", "b", "b/a",
    ]  # fmt: skip
    for name in ("a/up/a", "b/a/c", "a/self/self"):
        with pytest.raises(MailboxNotFound):
            layout.find(name)
        with pytest.raises(CannotDo):
            layout.make(f"{name}/new")


def test_the_root_may_be_a_link(tmp_path: Path) -> None:
    for kind in KINDS:
        made_in(LAYOUTS[kind](tmp_path / f"real{kind}"))
        (tmp_path / f"link{kind}").symlink_to(tmp_path / f"real{kind}")
        layout = LAYOUTS[kind](tmp_path / f"link{kind}")
        layout.make("a")
        layout.path("alias").symlink_to(layout.path("a").name)
        layout.rename("a", "b/c")
        layout.remove("b/c")
        assert layout.names() == ["INBOX"]
        assert left(layout) == []


def test_tmp_of_inbox_must_not_lead_out(layout: Layout, tmp_path: Path) -> None:
    layout.make("a")
    (layout.root / "tmp").rmdir()
    (layout.root / "tmp").symlink_to(tmp_path)
    for change in (lambda: layout.make("b"), lambda: layout.remove("a")):
        with pytest.raises(NoPermission):
            change()
    assert sorted(layout.names()) == ["INBOX", "a"]


# -- hostile trees --


def test_a_deep_tree_is_looked_at_so_far(tmp_path: Path) -> None:
    layout = Fs(tmp_path / "Maildir", Limits(mailbox_levels=3))
    layout.make("INBOX")
    by_hand(layout.root / "1/2/3/4")
    for deep in ("1/2/3", "1/2"):
        by_hand(layout.root / deep)
    assert sorted(layout.names()) == ["1/2", "1/2/3", "INBOX"]
    with pytest.raises(MailboxNotFound):
        layout.find("1/2/3/4")
    layout.make("a/b")
    with pytest.raises(CannotDo):
        layout.rename("a", "x/y/z")  # b would be too deep
    assert "a/b" in layout.names()


@pytest.mark.parametrize("kind", KINDS)
def test_a_huge_directory_has_an_end(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    layout = LAYOUTS[kind](tmp_path / "Maildir", Limits(mailboxes=1))
    layout.make("INBOX")
    for n in range(40):
        layout.make(f"a{n}")
    assert len(layout.names()) == 41 or kind == "fs"
    for n in range(100):
        (layout.root / f"file{n}").touch()
    caplog.clear()
    assert len(layout.names()) < 41
    assert "far too many files" in caplog.text


def test_deleting_knows_no_depth_and_follows_no_link(tmp_path: Path) -> None:
    layout = plus(tmp_path)
    kept = by_hand(tmp_path / "kept")
    message = deliver(kept)
    deep = layout.make("a")
    for _ in range(300):
        deep = deep / "deeper"
    deep.mkdir(parents=True)
    (deep / "link").symlink_to(kept)
    layout.remove("a")
    assert left(layout) == []
    assert message.exists()


def test_what_may_not_be_entered_shows(peer: Dovecot) -> None:
    """What is below it does not. As the owner, for root may enter all."""
    for name in ("INBOX", "open/a", "shut/a"):
        peer.layout.make(name)
    closed = peer.layout.path("shut") if peer.kind == "fs" else peer.layout.path("shut/a")
    closed.chmod(0)
    peer.give()
    shut = "shut" if peer.kind == "fs" else "shut/a"
    assert sorted(as_owner(peer.layout.names)) == ["INBOX", "open/a", shut]
    assert as_owner(lambda: str(peer.layout.find(shut))) == str(closed)
    closed.chmod(0o700)


def test_a_merge_has_an_end_in_the_deep(tmp_path: Path) -> None:
    layout = fs(tmp_path)
    for name in ("s", "t"):
        (layout.make(f"{name}/a") / ("x/" * 100)).mkdir(parents=True)
    layout.remove("t/a")
    with pytest.raises(CannotDo):
        layout.rename("s", "t")
    assert sorted(layout.names()) == ["INBOX", "s/a"]


# -- making, removing, renaming --


def test_inbox_is_made_with_all_above_it(tmp_path: Path) -> None:
    for kind in KINDS:
        layout = LAYOUTS[kind](tmp_path / kind / "user" / "Maildir")
        assert layout.make("INBOX") == layout.root == layout.find("INBOX")
        assert set(os.listdir(layout.root)) == SUBS
        assert layout.root.stat().st_mode & 0o777 == 0o700
        with pytest.raises(MailboxExists):
            layout.make("INBOX")
        (layout.root / "cur").rmdir()  # a crash in the middle
        layout.make("INBOX")
        assert set(os.listdir(layout.root)) == SUBS


def test_inbox_stays(layout: Layout) -> None:
    with pytest.raises(CannotDo):
        layout.remove("INBOX")
    with pytest.raises(CannotDo):
        layout.rename("INBOX", "a")
    layout.make("a")
    with pytest.raises(MailboxExists):
        layout.rename("a", "INBOX")


def test_made_as_dovecot_makes_it(layout: Layout) -> None:
    for mode in (0o700, 0o750):
        layout.root.chmod(mode)
        made = layout.make(f"a{mode}/b")
        assert made == layout.path(f"a{mode}/b") == layout.find(f"a{mode}/b")
        plus_plus = isinstance(layout, MaildirPlusPlus)
        assert set(os.listdir(made)) == SUBS | ({"maildirfolder"} if plus_plus else set())
        for path in (made, *(made / sub for sub in SUBS)):
            assert path.stat().st_mode & 0o777 == mode
        assert f"a{mode}" not in layout.names()
    assert left(layout) == []


def test_a_name_is_taken_once(layout: Layout) -> None:
    layout.make("a")
    with pytest.raises(MailboxExists):
        layout.make("a")
    layout.make("A")
    layout.path("file").touch()
    with pytest.raises(CannotDo):
        layout.make("file")
    if isinstance(layout, Fs):
        with pytest.raises(CannotDo):
            layout.make("file/below")
    assert sorted(layout.names()) == ["A", "INBOX", "a"]
    assert left(layout) == []


def test_removing_leaves_inferiors(layout: Layout) -> None:
    for name in ("a", "a/b/c", "ab"):
        layout.make(name)
    deliver(layout.path("a"))
    (layout.path("a") / "dovecot-uidlist").touch()
    kept = deliver(layout.path("a/b/c"))
    with pytest.raises(MailboxNotFound):
        layout.remove("a/b")
    layout.remove("a")
    assert sorted(layout.names()) == ["INBOX", "a/b/c", "ab"]
    assert kept.exists()
    with pytest.raises(MailboxNotFound):
        layout.remove("a")
    assert left(layout) == []
    if isinstance(layout, Fs):
        assert os.listdir(layout.path("a")) == ["b"]
        layout.remove("a/b/c")
        assert layout.path("a/b").is_dir()  # an empty level stays, as with Dovecot
    made = layout.make("a")
    assert os.listdir(made / "new") == []
    assert not (made / "dovecot-uidlist").exists()


def test_removing_keeps_directories_that_are_no_mailboxes(tmp_path: Path) -> None:
    layout = fs(tmp_path)
    layout.make("a")
    message = deliver(by_hand(layout.root / "a" / "bad&"))
    (layout.root / "a" / "link").symlink_to(tmp_path)
    layout.remove("a")
    assert layout.names() == ["INBOX"]
    assert message.exists()
    assert sorted(os.listdir(layout.root / "a")) == ["bad&", "link"]


def test_renaming_takes_inferiors_along(layout: Layout) -> None:
    names = ("a", "a/b", "a/b/c", "a/d/e", "ab", "x/a/b", "A/b")
    messages = {name: deliver(layout.make(name), name).name for name in names}
    moved = layout.rename("a", "n/m")
    renamed = {name: "n/m" + name[1:] for name in ("a", "a/b", "a/b/c", "a/d/e")}
    assert set(moved) == {(layout.path(old), layout.path(new)) for old, new in renamed.items()}
    assert set(layout.names()) == {"INBOX"} | {renamed.get(name, name) for name in names}
    for name in names:
        path = layout.find(renamed.get(name, name)) / "new" / messages[name]
        assert path.read_text() == name
    assert len(layout.rename("n", "q")) == 4  # only a level above others
    assert {"q/m", "q/m/b", "q/m/b/c", "q/m/d/e"} < set(layout.names())
    assert left(layout) == []


def test_what_cannot_be_renamed_stays(layout: Layout) -> None:
    for name in ("a", "a/b", "x/b", "c", "empty"):
        layout.make(name)
    layout.remove("empty")
    layout.path("file").touch()
    before = {name: os.stat(layout.find(name)).st_ino for name in layout.names()}
    refused: list[tuple[str, str, type[Exception]]] = [
        ("nowhere", "b", MailboxNotFound),
        ("empty", "b", MailboxNotFound),
        ("a", "c", MailboxExists),
        ("a", "x", MailboxExists),  # a/b would be x/b
        ("a", "a", MailboxExists),
        ("a/b", "a", MailboxExists),
        ("a", "INBOX", MailboxExists),
        ("a", "a/b/c", CannotDo),
        ("a", "file", MailboxExists),
        ("a", "x" * 260, CannotDo),
        ("a", "x" * 254, CannotDo if isinstance(layout, MaildirPlusPlus) else Exception),
        ("a", "~b", CannotDo),
    ]
    for name, new_name, error in refused[:-2] if isinstance(layout, Fs) else refused:
        with pytest.raises(error):
            layout.rename(name, new_name)
    assert {name: os.stat(layout.find(name)).st_ino for name in layout.names()} == before
    assert left(layout) == []


def test_renaming_to_a_level_above_others(layout: Layout) -> None:
    """Where directories are nested they must be merged."""
    names = ("s", "s/a", "s/b/c", "t/x", "t/b/d", "t/y/z")
    messages = {name: deliver(layout.make(name), name).name for name in names}
    layout.make("t/b")
    layout.remove("t/b")
    moved = layout.rename("s", "t")
    assert set(moved) == {
        (layout.path(name), layout.path("t" + name[1:])) for name in ("s", "s/a", "s/b/c")
    }
    assert set(layout.names()) == {"INBOX", "t", "t/a", "t/b/c", "t/x", "t/b/d", "t/y/z"}
    for name in names:
        path = layout.find("t" + name[1:]) / "new" / messages[name]
        assert path.read_text() == name
    assert left(layout) == []
    assert not layout.path("s").exists()


def test_renaming_up(layout: Layout) -> None:
    names = ("a/b/c", "a/b/c/b", "a/b/c/b/c", "a/x")
    messages = {name: deliver(layout.make(name), name).name for name in names}
    layout.rename("a/b/c", "a")
    for name, new_name in zip(names, ("a", "a/b", "a/b/c", "a/x"), strict=True):
        assert (layout.find(new_name) / "new" / messages[name]).read_text() == name
    assert set(layout.names()) == {"INBOX", "a", "a/b", "a/b/c", "a/x"}
    assert left(layout) == []


def test_what_is_in_the_way_of_a_merge_is_not_lost(tmp_path: Path) -> None:
    layout = fs(tmp_path)
    for name in ("s", "s/a", "t/x"):
        layout.make(name)
    message = deliver(by_hand(layout.root / "t", "new"))  # a mailbox that lost its cur
    with pytest.raises(MailboxExists):
        layout.rename("s", "t")
    assert message.exists()
    assert sorted(layout.names()) == ["INBOX", "s", "s/a", "t/x"]
    message.unlink()
    layout.rename("s", "t")
    assert sorted(layout.names()) == ["INBOX", "t", "t/a", "t/x"]


def test_a_level_gives_nothing_to_a_new_mailbox(tmp_path: Path) -> None:
    """What Dovecot leaves when it is cut off while it deletes: UIDs, an identity, rights."""
    layout = fs(tmp_path)
    for name in ("a/b", "s", "t/x"):
        layout.make(name)
    for level in ("a", "t"):
        for left_over in (
            "dovecot-uidlist",
            "dovecot.index.log",
            "pymap-index",
            "dovecot-acl",
            "mine",
        ):
            (layout.root / level / left_over).touch()
    layout.make("a")
    layout.rename("s", "t")
    assert set(os.listdir(layout.root / "a")) == {*SUBS, "b", "mine"}
    assert set(os.listdir(layout.root / "t")) == {*SUBS, "x", "mine"}


def test_files_that_others_remove_or_make_meanwhile(tmp_path: Path) -> None:
    layout = fs(tmp_path)
    for name in ("s", "s/a"):
        layout.make(name)
    moves = [
        tree.Move("s", "tmp/pymap-moving.1", os.stat(layout.root / "s").st_ino),
        tree.Move("tmp/pymap-moving.1/dovecot-uidlist.tmp", "s2", 0),  # gone by then
        tree.Move("tmp/pymap-moving.1", "s3", 0),
    ]
    tree.carry_out(layout.root, moves)
    assert sorted(layout.names()) == ["INBOX", "s3", "s3/a"]
    with pytest.raises(FileNotFoundError):
        tree.carry_out(layout.root, moves[1:2])
    with pytest.raises(FileNotFoundError):  # there is no place for it
        tree.carry_out(layout.root, [tree.Move("s3", "s4", 0), tree.Move("s4", "no/where", 0)])
    assert sorted(layout.names()) == ["INBOX", "s3", "s3/a"]
    assert left(layout) == []


def test_a_failure_in_the_middle_changes_nothing(tmp_path: Path) -> None:
    """The second of three renames is refused by the file system."""
    layout = plus(tmp_path)
    for name in ("a", "a/b", "a/c"):
        deliver(layout.make(name))
    moves = [
        tree.Move(f".a{sub}", f".z{sub}", os.stat(layout.root / f".a{sub}").st_ino)
        for sub in ("", ".b", ".c")
    ]
    deliver(by_hand(layout.root / ".z.b"))
    with pytest.raises(MailboxExists):
        tree.carry_out(layout.root, moves)
    assert sorted(layout.names()) == ["INBOX", "a", "a/b", "a/c", "z/b"]
    assert left(layout) == []


# -- crashes --


def crash_at(step: int, change: Callable[[], object]) -> bool:
    """Run it in a process of its own that dies just before its `step`th change of the file system;
    whether it came to that. What was done is there: this is a kill, not a power cut."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads
        child = os.fork()
    if not child:
        steps = iter(range(step))

        def die(event: str, _: object) -> None:
            if event in ("os.rename", "os.mkdir", "os.remove", "os.rmdir"):
                if next(steps, None) is None:
                    os._exit(9)

        sys.addaudithook(die)
        try:
            change()
        except BaseException:
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 9), "it failed"
    return status == 9


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "new_name"), [("a", "z"), ("a", "p/q"), ("a", "lvl"), ("up/a", "up"), ("a", "INBOX/a")]
)
def test_a_rename_is_whole_after_any_crash(
    kind: str, name: str, new_name: str, tmp_path: Path
) -> None:
    outcomes = set()
    for step in range(100):
        layout = made_in(LAYOUTS[kind](tmp_path / f"Maildir{step}"))
        messages = {}
        for sub in ("", "/b", "/b/c", "/a"):
            messages[sub] = deliver(layout.make(name + sub), sub).name
        for other in ("lvl/x", "lvl/b/x", "ab"):
            layout.make(other)
        before = set(layout.names())
        crashed = crash_at(step, lambda: layout.rename(name, new_name))  # noqa: B023
        again = LAYOUTS[kind](layout.root)
        again.clean_up()
        assert left(again) == []
        after = set(again.names())
        outcomes.add(after != before)
        assert len(after) == len(before)
        for sub, message in messages.items():
            here = name + sub if after == before else new_name + sub
            assert (again.find(here) / "new" / message).read_text() == sub
        if after == before:
            again.rename(name, new_name)
        if not crashed:
            assert step > 2
            break
    assert outcomes == {False, True}


@pytest.mark.parametrize("kind", KINDS)
def test_a_mailbox_is_there_or_not_after_any_crash(kind: str, tmp_path: Path) -> None:
    for step in range(100):
        layout = made_in(LAYOUTS[kind](tmp_path / f"Maildir{step}"))
        layout.make("a/b")
        making = crash_at(step, lambda: layout.make("a"))  # noqa: B023
        again = LAYOUTS[kind](layout.root)
        again.clean_up()
        assert left(again) == []
        if "a" not in again.names():
            again.make("a")
        deliver(again.find("a"))
        (again.find("a") / "dovecot-uidlist").touch()
        removing = crash_at(step, lambda: again.remove("a"))  # noqa: B023
        again.clean_up()
        assert left(again) == []
        assert set(again.names()) - {"a"} == {"INBOX", "a/b"}
        if "a" in again.names():
            again.remove("a")
        assert not list(again.root.rglob("dovecot-uidlist"))
        assert os.listdir(again.make("a") / "new") == []
        if not making and not removing:
            assert step > 4
            return
    raise AssertionError("it never ends")


def test_a_list_of_moves_touches_what_it_means_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """After the crash others may have gone on, before anybody has finished."""
    layout = plus(tmp_path)
    for name in ("a", "b", "c", "d"):
        deliver(layout.make(name), name)
    inode = {name: os.stat(layout.path(name)).st_ino for name in ("a", "b", "c", "d")}
    layout.remove("a")
    spare = layout.make("spare")  # may not get the inode of the next
    message = deliver(layout.make("a"), "another")
    moves = [
        (".a", ".1", inode["a"] if inode["a"] != os.stat(layout.path("a")).st_ino else 0),
        (".b", ".2", inode["b"]),
        (".c", ".spare", inode["c"]),  # is there, and not empty
        (".gone", ".4", 12345),
        (".d", ".5/x", inode["d"]),  # where there is no directory any more
    ]
    deliver(spare)
    (layout.root / tree.MOVES).write_text(json.dumps({"moves": moves}))
    layout.make("other")
    assert message.exists()
    assert sorted(layout.names()) == ["2", "INBOX", "a", "c", "other", "spare"]
    assert os.stat(layout.root / ".5" / "x").st_ino == inode["d"]
    assert "cannot become" in caplog.text
    assert left(layout) == []


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b"\xff",
        b"[1]",
        b'{"moves": 1}',
        b'{"moves": [[1]]}',
        b'{"moves": [["a", "b", Infinity]]}',
        b'{"moves": [["../a", ".b", 1]]}',
        b'{"moves": [[".a", "/etc/b", 1]]}',
        b'{"moves": [[".a", "x\\u0000", 1]]}',
    ],
)
def test_a_damaged_list_of_moves_is_set_aside(tmp_path: Path, damaged: bytes) -> None:
    layout = plus(tmp_path)
    layout.make("a")
    (layout.root / tree.MOVES).write_bytes(damaged)
    layout.clean_up()
    assert sorted(layout.names()) == ["INBOX", "a"]
    assert (layout.root / f"{tree.MOVES}.damaged").read_bytes() == damaged


def test_what_is_on_the_move_is_never_deleted(tmp_path: Path) -> None:
    layout = fs(tmp_path)
    message = deliver(by_hand(layout.root / tree.moving(layout.root)))
    empty = layout.root / tree.moving(layout.root)
    by_hand(empty / "a" / "b", "c")
    trash = by_hand(layout.root / tree.trash(layout.root))
    deliver(trash)
    layout.clean_up()
    assert message.exists()
    assert not empty.exists()
    assert not trash.exists()


def test_cleaning_up_never_fails(layout: Layout, caplog: pytest.LogCaptureFixture) -> None:
    (layout.root / tree.MOVES).mkdir()
    layout.clean_up()
    assert "set aside" in caplog.text
    (layout.root / "mailboxes.lock").mkdir()
    (layout.root / tree.MOVES).touch()
    layout.clean_up()
    assert "cannot be cleaned up" in caplog.text


def test_trash_that_cannot_be_deleted_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tree.delete(tmp_path / "nowhere")
    assert not caplog.records
    tree.delete("/proc/self/fdinfo")
    assert "cannot be deleted" in caplog.text


# -- one at a time --


def test_of_many_who_make_it_one_does(layout: Layout) -> None:
    made, refused = [], []
    start = threading.Barrier(8)

    def make() -> None:
        mine = type(layout)(layout.root)
        start.wait()
        for n in range(10):
            try:
                made.append(mine.make(f"a/{n}"))
            except MailboxExists:
                refused.append(n)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(made), len(refused)) == (10, 70)
    assert set(layout.names()) == {"INBOX", *(f"a/{n}" for n in range(10))}
    assert left(layout) == []


def test_who_has_the_lock_of_a_mailbox_may_finish(layout: Layout) -> None:
    for name in ("a", "a/b"):
        layout.make(name)
    renaming = threading.Thread(target=layout.rename, args=("a", "z"))
    with dotlock(layout.find("a/b") / "dovecot-uidlist"):
        renaming.start()
        renaming.join(0.05)
        assert sorted(layout.names()) == ["INBOX", "a", "a/b"]
    renaming.join()
    assert sorted(layout.names()) == ["INBOX", "z", "z/b"]
    assert not list(layout.root.rglob("*.lock"))


HOLD = """
import fcntl, sys
file = open(sys.argv[1], "a")
fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_lock_of_dovecots_kind_is_waited_for(layout: Layout) -> None:
    """A write lock of a process on `mailboxes.lock`."""
    lock = layout.root / "mailboxes.lock"
    command = [sys.executable, "-c", HOLD, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(InUse), tree.lock_tree(layout.root, 0.05):
            pass
        lock.rename(lock.with_name("elsewhere"))  # then it is no longer the lock
        with tree.lock_tree(layout.root, 0.05):
            assert lock.exists()
        other.stdin.close()
    assert not lock.exists()


def test_the_lock_is_gone_with_its_holder(layout: Layout) -> None:
    assert crash_at(0, lambda: layout.make("a"))
    assert not layout.path("a").exists()
    layout.make("a")
    assert left(layout) == []


def test_a_lock_that_others_remove_is_logged(
    layout: Layout, caplog: pytest.LogCaptureFixture
) -> None:
    with tree.lock_tree(layout.root):
        (layout.root / "mailboxes.lock").unlink()
    assert "vanished" in caplog.text


def test_dovecot_waits_for_our_lock(peer: Dovecot) -> None:
    peer.imap('LIST "" *')
    with tree.lock_tree(peer.root):
        making = peer.start("CREATE theirs")
        end = time.monotonic() + 20
        while not waits_for_a_lock(making.pid):
            assert time.monotonic() < end
            assert making.poll() is None
        assert "theirs" not in peer.layout.names()
    out = making.communicate(timeout=30)[0]
    assert b"c0 OK" in out
    assert "theirs" in peer.layout.names()
    assert peer.log == []


def waits_for_a_lock(pid: int) -> bool:
    return any(
        line.split()[1] == "->" and int(line.split()[5]) == pid
        for line in Path("/proc/locks").read_text().splitlines()
    )


# -- Dovecot on the same tree --

NAMES = (
    "Work", "Work/2024/Q1", "Entwürfe/日本語 😀", "INBOX/x", "INBOX/INBOX/y", "A&B", "a b", " a", "50%", "*",
    'q"uo\\te', "a/~b", "x/inbox", "CUR", "&", "ü/ü/ü", "!x", "#y", "a:b", "DEL\x7f", "x\u2028y", "dovecot-users",
    "maildirsize2", "nfs1",
)  # fmt: skip
ONLY_PLUS = ("cur", "a/new", "subscriptions", "dovecot-uidlist", "pymap-index", "maildirfolder")
ONLY_FS = ("a.b", ".a", "a/.b", "..c", "a/..b", "dovecot.org", "INBOX.z")


def names_for(peer: Dovecot) -> set[str]:
    return {*NAMES, *(ONLY_FS if peer.kind == "fs" else ONLY_PLUS)}


def test_what_dovecot_makes_is_listed_and_found(peer: Dovecot) -> None:
    names = names_for(peer)
    peer.imap(*(f"CREATE {quoted(name)}" for name in names))
    assert peer.names() == {"INBOX", *names}
    assert set(peer.layout.names()) == {"INBOX", *names}
    for name in names:
        assert peer.layout.find(name) == peer.layout.path(name)
        with pytest.raises(MailboxExists):
            peer.layout.make(name)
    assert peer.log == []


def test_what_dovecot_refuses_we_refuse(peer: Dovecot) -> None:
    refused = ["~a", "~/x", "a/../b", "..", "."]
    refused += ["cur", "a/new", "tmp/x"] if peer.kind == "fs" else ["a.b", ".a", "dovecot.index"]
    for name in refused:
        assert peer.refuses(f"CREATE {quoted(name)}")
        with pytest.raises(CannotDo):
            peer.layout.path(name)


def test_what_we_make_dovecot_has(peer: Dovecot) -> None:
    peer.layout.make("INBOX")
    names = names_for(peer)
    for name in names:
        peer.layout.make(name)
    assert peer.names() == {"INBOX", *names}
    peer.imap(*(f"SELECT {quoted(name)}" for name in names))
    assert set(peer.layout.names()) == {"INBOX", *names}
    made = peer.layout.path("a b")
    theirs = peer.imap("CREATE theirs") and peer.layout.path("theirs")
    for path in ("", "cur", "new", "tmp"):
        assert (made / path).stat().st_mode == (theirs / path).stat().st_mode
    ours, others = ({n for n in os.listdir(d) if "dovecot" not in n} for d in (made, theirs))
    assert ours == others
    assert peer.log == []


def test_both_change_the_tree_by_turns(peer: Dovecot) -> None:
    layout = peer.layout

    def same(*names: str) -> None:
        assert peer.names() == {"INBOX", *names} == set(layout.names())
        for name in names:
            peer.imap(f"SELECT {quoted(name)}")

    peer.imap("CREATE a", "CREATE a/b/c", "CREATE x/y")
    validity = peer.uid_validity("a/b/c")
    same("a", "a/b/c", "x/y")
    layout.rename("a", "n/ü")
    same("n/ü", "n/ü/b/c", "x/y")
    assert peer.uid_validity("n/ü/b/c") == validity
    peer.imap("RENAME n a", f"CREATE {quoted('a/ü/d')}")
    same("a/ü", "a/ü/b/c", "a/ü/d", "x/y")
    layout.remove("a/ü")
    same("a/ü/b/c", "a/ü/d", "x/y")
    layout.rename("x/y", "a/ü")  # which is a level now
    same("a/ü", "a/ü/b/c", "a/ü/d")
    peer.imap(f"DELETE {quoted('a/ü/b/c')}")
    same("a/ü", "a/ü/d")
    layout.rename("a/ü", "x")
    layout.make("a/ü")
    same("x", "x/d", "a/ü")
    peer.imap("DELETE x/d", "DELETE x")
    layout.remove("a/ü")
    same()
    assert left(layout) == []
    assert peer.log == []


def test_dovecot_lists_nothing_of_what_is_under_way(peer: Dovecot) -> None:
    """Neither what a crash leaves of a mailbox, nor trash, nor our files."""
    layout = peer.layout
    layout.make("INBOX")
    layout.make("a")
    for place in (tree.trash(layout.root), tree.moving(layout.root)):
        by_hand(layout.root / place)
        by_hand(layout.root / place / "inner")
    (layout.root / tree.MOVES).write_text("{}")
    (layout.root / "pymap-special-use").write_text("{}")
    assert peer.names() == {"INBOX", "a"} == set(layout.names())
    peer.imap("SELECT INBOX", "CHECK")
    assert peer.log == []
