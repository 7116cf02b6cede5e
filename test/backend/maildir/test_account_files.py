"""Subscriptions, special uses, UIDVALIDITY: as files, among threads and processes, with Dovecot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pymap.backend.errors import CannotDo, Corrupt
from pymap.backend.maildir import tree
from pymap.backend.maildir.account_files import SpecialUses, Subscriptions, next_uid_validity
from pymap.backend.maildir.layout import LAYOUTS, Layout

from .dovecot_process import Dovecot, as_owner, dovecot, quoted

KINDS = list(LAYOUTS)


@pytest.fixture(params=KINDS)
def layout(request: pytest.FixtureRequest, tmp_path: Path) -> Layout:
    made = LAYOUTS[request.param](tmp_path / "Maildir")
    made.make("INBOX")
    return made


@pytest.fixture(params=KINDS)
def peer(request: pytest.FixtureRequest) -> Iterator[Dovecot]:
    with dovecot(request.param) as found:
        yield found


def at_once(*calls: Callable[[], None]) -> None:
    """Each in a thread; what one raises is raised."""
    failed: list[BaseException] = []
    start = threading.Barrier(len(calls))

    def run(call: Callable[[], None]) -> None:
        start.wait()
        try:
            call()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in failed:
        raise error


# -- subscriptions --


@pytest.mark.parametrize(
    ("octets", "plus_plus", "in_fs"),
    [
        (b"", set(), set()),
        (b"V\t2\n\n", set(), set()),
        (b"Work\nINBOX\n", {"Work", "INBOX"}, {"Work", "INBOX"}),
        (b"V\t2\n\nWork\t2024\nINBOX\n", {"Work/2024", "INBOX"}, {"Work/2024", "INBOX"}),
        (b"Work.2024\n", {"Work/2024"}, {"Work.2024"}),
        (b"Work/2024\n", set(), {"Work/2024"}),
        (b"V\t2\n\nx.y\tz\n", {"x/y/z"}, {"x.y/z"}),
        (b"V\t2\n\nu/v\tw\n", set(), {"u/v/w"}),
        (b"V\t2\n\nGr&APw-n\nA&-B\n", {"Grün", "A&B"}, {"Grün", "A&B"}),
        (b"bad&\n\xc3\xa4\n&AGE-\n", {"bad&", "ä", "&AGE-"}, {"bad&", "ä", "&AGE-"}),
        (b"V\t2\n\ne&AwE-\n&AOk-\n", {"é"}, {"é"}),
        (b"inbox\nV\t2\n\n", {"INBOX"}, {"INBOX"}),
        (b"V\t2\n\nInbox\tx\n", {"INBOX/x"}, {"INBOX/x"}),
        (b"a\r\nb \n\nc", {"a", "b ", "c"}, {"a", "b ", "c"}),
        (b"V\t2\n\na\x01tb\n\xff\nx\t\ty\n\tz\n", set(), set()),
        (b"V\t2\nfoo\n", {"foo"}, {"foo"}),
    ],
)
def test_subscriptions_are_read(
    octets: bytes, plus_plus: set[str], in_fs: set[str], tmp_path: Path
) -> None:
    for kind, names in (("++", plus_plus), ("fs", in_fs)):
        subscriptions = Subscriptions(LAYOUTS[kind](tmp_path))
        subscriptions.path.write_bytes(octets)
        assert subscriptions.read() == names


def test_subscriptions_begin_as_dovecots_do(layout: Layout) -> None:
    subscriptions = Subscriptions(layout)
    assert subscriptions.read() == frozenset()
    subscriptions.remove("a")
    assert not subscriptions.path.exists()
    for name in ("Work/2024", "Grün/A&B", "INBOX", "INBOX"):
        subscriptions.add(name)
    assert subscriptions.path.read_bytes() == b"V\t2\n\nWork\t2024\nGr&APw-n\tA&-B\nINBOX\n"
    assert subscriptions.path.stat().st_mode & 0o777 == 0o600
    assert subscriptions.read() == {"Work/2024", "Grün/A&B", "INBOX"}
    for name in ("Work/2024", "Work/2024", "never"):
        subscriptions.remove(name)
    assert subscriptions.path.read_bytes() == b"V\t2\n\nGr&APw-n\tA&-B\nINBOX\n"
    assert {"subscriptions", "cur", "new", "tmp"} == set(os.listdir(layout.root))


@pytest.mark.parametrize("head", [b"", b"V\t2\n\n"])
def test_what_is_no_name_here_stays(layout: Layout, head: bytes) -> None:
    subscriptions = Subscriptions(layout)
    strange = b"a\x01tb\nu/v\n\xff\xfe\nx.y\n"
    subscriptions.path.write_bytes(head + strange + b"ours\n&AOk-\ne&AwE-\n")
    subscriptions.remove("é")
    subscriptions.remove("ours")
    subscriptions.add("more")
    assert subscriptions.path.read_bytes() == head + strange + b"more\n"


def test_version_1_stays(layout: Layout) -> None:
    subscriptions = Subscriptions(layout)
    subscriptions.path.write_bytes(b"")
    subscriptions.add("Work/2024")
    assert subscriptions.path.read_bytes() == b"Work%s2024\n" % layout.separator.encode()


def test_a_name_that_cannot_be_is_not_subscribed(layout: Layout) -> None:
    with pytest.raises(CannotDo):
        Subscriptions(layout).add("~a" if layout.separator == "." else "a/cur")


@pytest.mark.parametrize("head", [b"", b"V\t2\n\n"])
def test_what_others_share_may_be_subscribed_whatever_their_names(
    layout: Layout, head: bytes
) -> None:
    """Folders .Work.2024 cannot have a dot in a level, the names of users do."""
    subscriptions = Subscriptions(layout)
    subscriptions.path.write_bytes(head + b"x\n")
    names = {"Other Users/jane@example.com/INBOX", "Other Users/é.x./a&b"}
    for name in names:
        subscriptions.add(name)
    assert subscriptions.read() == {*names, "x"}
    for name in names:
        subscriptions.remove(name)
    assert subscriptions.path.read_bytes() == head + b"x\n"


def test_changes_by_others_are_seen(layout: Layout) -> None:
    """Also when they come within one tick of the file system's clock."""
    one, other = Subscriptions(layout), Subscriptions(layout)
    for n in range(50):
        other.add(f"a{n % 10}")
        assert f"a{n % 10}" in one.read()
        other.remove(f"a{n % 10}")
        assert one.read() == frozenset()


def test_nothing_is_read_again_that_is_the_same(layout: Layout) -> None:
    subscriptions = Subscriptions(layout)
    subscriptions.add("a")
    settled = time.time() - 60
    os.utime(subscriptions.path, (settled, settled))
    assert subscriptions.read() is subscriptions.read()


def test_a_list_that_is_no_file(layout: Layout, tmp_path: Path) -> None:
    subscriptions = Subscriptions(layout)
    os.mkfifo(subscriptions.path)
    for call in (subscriptions.read, lambda: subscriptions.add("a")):
        with pytest.raises(Corrupt):
            call()
    subscriptions.path.unlink()
    (tmp_path / "secret").write_text("a\n")
    subscriptions.path.symlink_to(tmp_path / "secret")
    with pytest.raises(Corrupt):
        subscriptions.read()
    subscriptions.path.unlink()
    subscriptions.path.touch()
    os.truncate(subscriptions.path, 1 << 40)
    with pytest.raises(Corrupt):
        subscriptions.read()


def test_no_subscription_is_lost_among_many(layout: Layout) -> None:
    def subscribe(who: int) -> None:
        mine = Subscriptions(layout)
        mine.add("common")
        for n in range(5):
            mine.add(f"{who}/{n}")
        mine.remove(f"{who}/0")

    at_once(*(lambda who=who: subscribe(who) for who in range(6)))  # type: ignore[misc]
    names = {f"{who}/{n}" for who in range(6) for n in range(1, 5)}
    assert Subscriptions(layout).read() == {"common", *names}


SUBSCRIBED = (
    "Work",
    "Work/2024",
    "Entwürfe/日本語 😀",
    "INBOX/x",
    "INBOX",
    "A&B",
    "a b",
    "&",
    'q"\\',
)


def test_subscriptions_are_dovecots(peer: Dovecot) -> None:
    subscriptions = Subscriptions(peer.layout)
    peer.imap(*(f"CREATE {quoted(name)}" for name in SUBSCRIBED if name != "INBOX"))
    peer.imap(*(f"SUBSCRIBE {quoted(name)}" for name in SUBSCRIBED[::2]))
    assert subscriptions.read() == set(SUBSCRIBED[::2]) == peer.subscribed()
    for name in (*SUBSCRIBED, "nowhere/ü"):
        subscriptions.add(name)
    assert subscriptions.read() == {*SUBSCRIBED, "nowhere/ü"} == peer.subscribed()
    peer.imap(*(f"UNSUBSCRIBE {quoted(name)}" for name in SUBSCRIBED[::3]))
    assert subscriptions.read() == {*SUBSCRIBED, "nowhere/ü"} - set(SUBSCRIBED[::3])
    for name in SUBSCRIBED:
        subscriptions.remove(name)
    assert subscriptions.read() == {"nowhere/ü"} == peer.subscribed()
    assert peer.log == []


def test_dovecot_does_not_mind_a_dot_in_what_is_subscribed(peer: Dovecot) -> None:
    subscriptions = Subscriptions(peer.layout)
    shared = "Other Users/jane@example.com/INBOX"
    peer.imap("SUBSCRIBE INBOX")
    subscriptions.add(shared)
    assert subscriptions.read() == {shared, "INBOX"}
    assert peer.subscribed() > {"INBOX"}
    peer.imap("UNSUBSCRIBE INBOX")
    assert subscriptions.read() == {shared}
    assert peer.log == []


def test_subscriptions_of_an_older_dovecot(peer: Dovecot) -> None:
    peer.layout.make("INBOX")
    subscriptions = Subscriptions(peer.layout)
    between = peer.layout.separator.encode()
    subscriptions.path.write_bytes(b"Work%s2024\nGr&APw-n\nInbox%sq\nbad&\n" % (between, between))
    names = {"Work/2024", "Grün", "INBOX/q", "bad&"}
    assert subscriptions.read() == names == peer.subscribed()
    subscriptions.add("n/m")
    peer.imap("UNSUBSCRIBE Work/2024")
    assert subscriptions.read() == {*names, "n/m"} - {"Work/2024"} == peer.subscribed()
    assert not subscriptions.path.read_bytes().startswith(b"V")


def test_subscribing_while_dovecot_does(peer: Dovecot) -> None:
    subscriptions = Subscriptions(peer.layout)
    theirs = [f"theirs/{n}" for n in range(40)]
    peer.imap(*(f"CREATE {name}" for name in theirs))
    process = peer.start(*(f"SUBSCRIBE {name}" for name in theirs))
    ours = [f"ours/{n}" for n in range(40)]
    as_owner(lambda: [subscriptions.add(name) for name in ours])
    assert process.communicate(timeout=60)[0].count(b" OK Subscribe") == 40
    assert subscriptions.read() == {*theirs, *ours}


# -- special uses --


def test_special_uses_last(layout: Layout) -> None:
    uses = SpecialUses(layout.root)
    assert uses.read() == {}
    uses.set("Gesendet/ü", ["\\Sent"])
    uses.set("a", ["\\Drafts", "\\Important"])
    uses.set("a/b", ("\\Trash",))
    uses.set("ab", ("\\Junk",))
    uses.set("none", ())
    uses.rename("a", "x/y")
    uses.remove("ab")
    uses.remove("never")
    uses.rename("never", "ever")
    expected = {
        "Gesendet/ü": ("\\Sent",),
        "x/y": ("\\Drafts", "\\Important"),
        "x/y/b": ("\\Trash",),
    }
    assert SpecialUses(layout.root).read() == uses.read() == expected
    assert {name: tuple(found) for name, found in json.loads(uses.path.read_text()).items()} == (
        expected
    )
    uses.read().clear()
    assert uses.read() == expected
    uses.set("a", ("\\All",))
    uses.rename("x", "a")  # the names come together, and those of the moved one count
    assert uses.read()["a/y/b"] == ("\\Trash",)
    assert set(os.listdir(layout.root)) == {"cur", "new", "tmp", "pymap-special-use"}


@pytest.mark.parametrize(
    "damaged", [b"{", b"[]", b'{"a": 1}', b'{"a": [1]}', b"\xff", b"[" * 100_000, b"null"]
)
def test_damaged_special_uses_are_set_aside(
    layout: Layout, damaged: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    uses = SpecialUses(layout.root)
    aside = uses.path.with_name("pymap-special-use.damaged")
    uses.path.write_bytes(damaged)
    assert uses.read() == {}
    assert aside.read_bytes() == damaged
    assert "damaged, set aside" in caplog.text
    aside.unlink()
    uses.path.write_bytes(damaged)
    uses.set("a", ["\\Sent"])
    assert aside.read_bytes() == damaged
    assert uses.read() == {"a": ("\\Sent",)}


def test_damaged_special_uses_that_must_stay(peer: Dovecot) -> None:
    """The mailboxes show all the same, without."""
    peer.layout.make("INBOX")
    uses = SpecialUses(peer.root)
    uses.path.write_bytes(b"{")
    peer.give()
    peer.root.chmod(0o500)
    assert as_owner(uses.read) == {}
    assert uses.path.read_bytes() == b"{"


def test_no_special_use_is_lost_among_many(layout: Layout) -> None:
    def change(who: int) -> None:
        mine = SpecialUses(layout.root)
        for n in range(5):
            mine.set(f"{who}/{n}", ["\\Junk"])

    at_once(*(lambda who=who: change(who) for who in range(6)))  # type: ignore[misc]
    assert len(SpecialUses(layout.root).read()) == 30


# -- UIDVALIDITY --


def given(root: Path) -> list[str]:
    return sorted(name for name in os.listdir(root) if name.startswith("dovecot-uidvalidity"))


def test_the_first_uid_validity(layout: Layout) -> None:
    before = int(time.time())
    value = next_uid_validity(layout.root)
    assert before <= value <= time.time() + 1
    assert given(layout.root) == ["dovecot-uidvalidity", f"dovecot-uidvalidity.{value:08x}"]
    assert (layout.root / "dovecot-uidvalidity").read_text() == f"{value:08x}"
    again = [next_uid_validity(layout.root) for _ in range(3)]
    assert value < again[0] < again[1] < again[2]
    assert given(layout.root) == ["dovecot-uidvalidity", f"dovecot-uidvalidity.{again[2]:08x}"]
    assert next_uid_validity(layout.root, 4_000_000_000) == 4_000_000_001
    assert next_uid_validity(layout.root) == 4_000_000_002


HIGH = 4_100_000_000  # later than any clock of today


@pytest.mark.parametrize(
    "files",
    [
        {"dovecot-uidlist": f"3 V{HIGH} N4 Gabc\n1 :x\n"},
        {"dovecot-uidlist": f"3 N4 V{HIGH}"},
        {"dovecot-uidlist": f"1 {HIGH} 17\n"},
        {".a.b/dovecot-uidlist": f"3 V{HIGH} N4 Gabc\n"},
        {"a/b/c/dovecot-uidlist": f"3 V{HIGH} N4 Gabc\n", "a/dovecot-uidlist": "3 V1 N4 Gabc\n"},
        {"dovecot-uidvalidity": f"{HIGH:08x}"},
        {"dovecot-uidvalidity": "", f"dovecot-uidvalidity.{HIGH:08x}": ""},
        {"dovecot-uidvalidity": "0badc0de", f"dovecot-uidvalidity.{HIGH:08X}": ""},
        {f"dovecot-uidvalidity.{HIGH:x}": "", "dovecot-uidvalidity.1234": ""},
        {f"dovecot-uidvalidity.{HIGH:x}": "", "dovecot-uidvalidity.x": "", "dovecot-uidvalidity.123456789": ""},
        {
            "dovecot-uidvalidity": "nonsense",
            f"dovecot-uidvalidity.{HIGH:08x}": "",
            "dovecot-uidlist": "3 Vx\n",
        },
    ],
)  # fmt: skip
def test_a_uid_validity_is_above_all_before(tmp_path: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert next_uid_validity(tmp_path) == HIGH + 1
    assert (tmp_path / "dovecot-uidvalidity").read_text() == f"{HIGH + 1:08x}"
    assert f"dovecot-uidvalidity.{HIGH + 1:08x}" in given(tmp_path)
    assert "dovecot-uidvalidity.1234" not in given(tmp_path)
    assert next_uid_validity(tmp_path) == HIGH + 2


@pytest.mark.parametrize("text", ["", "\n", "3 Vx N1\n", "1\n", "1 x\n", "V\n", "\xff", "3 V-5\n"])
def test_a_damaged_uidlist_tells_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "dovecot-uidlist").write_text(text)
    assert next_uid_validity(tmp_path) <= time.time() + 1


def test_no_link_and_no_message_directory_is_looked_into(tmp_path: Path) -> None:
    root, outside = tmp_path / "Maildir", tmp_path / "outside"
    for directory in (outside, root / "cur", root / "a"):
        directory.mkdir(parents=True)
        (directory / "dovecot-uidlist").write_text(f"3 V{HIGH} N1\n")
    (root / "a" / "dovecot-uidlist").unlink()
    (root / "link").symlink_to(outside)
    (root / "loop").symlink_to(".")
    (root / "a" / "dovecot-uidlist").symlink_to(outside / "dovecot-uidlist")
    os.mkfifo(root / "dovecot-uidlist")
    assert next_uid_validity(root) < HIGH


def test_there_may_be_none_left(tmp_path: Path) -> None:
    (tmp_path / "dovecot-uidvalidity.ffffffff").touch()
    with pytest.raises(Corrupt):
        next_uid_validity(tmp_path)
    assert given(tmp_path) == ["dovecot-uidvalidity.ffffffff"]


TAKE = """
import sys
from pathlib import Path
from pymap.backend.maildir.account_files import next_uid_validity
sys.stdin.read()
for _ in range(60):
    print(next_uid_validity(Path(sys.argv[1])))
"""


def test_no_two_processes_get_the_same(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TAKE, str(tmp_path)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(3)
    ]
    for process in processes:  # go
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    mine = [next_uid_validity(tmp_path) for _ in range(60)]
    theirs = [
        [int(value) for value in process.communicate(timeout=60)[0].split()]
        for process in processes
    ]
    for values in (mine, *theirs):
        assert values == sorted(values)
    assert len(set(mine).union(*theirs)) == 240
    assert len(given(tmp_path)) == 2


def test_dovecot_goes_on_from_ours_and_we_from_its(peer: Dovecot) -> None:
    peer.layout.make("INBOX")
    ours = next_uid_validity(peer.root, HIGH)
    peer.imap("CREATE a", "CREATE b")
    theirs = [peer.uid_validity(name) for name in ("a", "b")]
    assert ours < theirs[0] < theirs[1] < next_uid_validity(peer.root)
    peer.imap("CREATE c")
    assert len(given(peer.root)) == 2
    (peer.root / "dovecot-uidvalidity").unlink()
    ours = next_uid_validity(peer.root)
    assert ours > peer.uid_validity("c")
    assert peer.log == []


def test_uid_validities_while_dovecot_takes_some(peer: Dovecot) -> None:
    """From a tree that has none on, so that the first ones are made by two at once."""
    names = [f"theirs{n}" for n in range(40)]
    process = peer.start(*(f"CREATE {name}" for name in names))
    while not peer.root.exists():
        assert process.poll() is None
    ours = as_owner(lambda: [next_uid_validity(peer.root) for _ in range(100)])
    assert process.communicate(timeout=60)[0].count(b" OK Create") == 40
    theirs = [peer.uid_validity(name) for name in names]
    assert len({*ours, *theirs}) == 140
    assert len(given(peer.root)) == 2


def test_the_tree_is_locked_meanwhile(tmp_path: Path) -> None:
    """Two of ours never need Dovecot's way of finding out who was quicker."""
    with tree.lock_tree(tmp_path):
        taker = threading.Thread(target=next_uid_validity, args=(tmp_path,))
        taker.start()
        taker.join(0.05)
        assert given(tmp_path) == []
    taker.join()
    assert len(given(tmp_path)) == 2
