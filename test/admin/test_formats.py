"""What is exported and imported again is the same mail, in each format."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from unicodedata import normalize

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pymap.admin.formats import eml, maildir, mbox
from pymap.admin.formats.content import bare_lfs, with_crlf
from pymap.admin.formats.dates import date_of, date_text
from pymap.admin.formats.export import Tree
from pymap.admin.formats.names import to_name, to_path
from pymap.admin.formats.sources import Source, read
from pymap.wire.types import InternalDate

from .mail import Given, Read, contents, dates, files, mailbox, taken, write

MakeTree = Callable[[Path], Tree]
TREES: dict[str, MakeTree] = {
    "mbox": mbox.MboxTree,
    "eml": eml.EmlTree,
    "maildir": maildir.MaildirTree,
    "maildir fs": lambda root: maildir.MaildirTree(root, "fs"),
}
NAMES = ["INBOX", "Work", "Work/2024", "Ä ö/日本", "a&b", "100%", "Work.mbox", "x.eml/y"]


def again(root: Path, kind: str, recursive: bool = True) -> list[Read]:
    format, _, layout = kind.partition(" ")
    source = Source([str(root)], format, "", recursive, layout or "++")
    return taken(read(source, io.BytesIO()))


def where(name: str) -> str:
    """What an import calls it."""
    return "" if name == "INBOX" else name


def expected(name: str, messages: Sequence[Given], kind: str) -> list[Read]:
    zone = 0 if kind.startswith("maildir") else None  # the time of a file has none
    return [
        Read(
            where(name), message.flags,
            message.date if zone is None else message.date._replace(zone=zone), message.content,
        )
        for message in messages
    ]  # fmt: skip


@pytest.mark.parametrize("kind", TREES)
@settings(deadline=None, max_examples=60)
@given(st.data())
def test_what_is_exported_is_imported_the_same(kind: str, data: st.DataObject) -> None:
    names = [name for name in NAMES if "." not in name or kind != "maildir"]
    names = data.draw(st.lists(st.sampled_from(names), unique=True, max_size=3))
    mailboxes = {name: data.draw(mailbox()) for name in names}
    with tempfile.TemporaryDirectory() as directory:
        write(TREES[kind](Path(directory)), mailboxes)
        if not any(mailboxes.values()):
            return  # an empty tree is nothing to import
        found = again(Path(directory), kind)
    for name, messages in mailboxes.items():
        wanted = expected(name, messages, kind)
        assert [message for message in found if message.mailbox == where(name)] == wanted
    assert len(found) == sum(map(len, mailboxes.values()))


@pytest.mark.parametrize("kind", TREES)
def test_messages_larger_than_any_buffer(kind: str, tmp_path: Path) -> None:
    size = 5 * 1024 * 1024
    line = b"From the start of a line that is long: " + b"x" * 900 + b"\r\n"
    given = [
        Given(1, frozenset(), InternalDate(0), line * (size // len(line))),
        Given(2, frozenset(), InternalDate(0), b"\0" * size),  # one line
        Given(3, frozenset(), InternalDate(0), b"\r" * size + b"\n" + b"\r\n" * 300_000),
        Given(4, frozenset({"\\Seen"}), InternalDate(5), b"From\xa0" * (size // 5)),
        Given(5, frozenset(), InternalDate(0), (b"y" * 262_143 + b"\r\n") * 3 + b">From me"),
    ]
    write(TREES[kind](tmp_path), {"INBOX": given})
    assert again(tmp_path, kind) == expected("INBOX", given, kind)


@pytest.mark.parametrize("kind", TREES)
def test_many_messages_keep_their_order(kind: str, tmp_path: Path) -> None:
    given = [
        Given(uid, frozenset(), InternalDate(10**9 - uid // 9), b"X: %d\r\n\r\n" % uid)
        for uid in [*range(1, 120), 4_000_000_000]
    ]
    write(TREES[kind](tmp_path), {"INBOX": given})
    assert again(tmp_path, kind) == expected("INBOX", given, kind)


@pytest.mark.parametrize("kind", TREES)
def test_without_recursion_only_the_mailbox_itself_is_read(kind: str, tmp_path: Path) -> None:
    given = [Given(1, frozenset(), InternalDate(0), b"X: 1\r\n\r\n")]
    write(TREES[kind](tmp_path), {"Work": given, "INBOX": given})
    root = tmp_path / "INBOX" if kind == "eml" else tmp_path
    expected = 2 if kind == "mbox" else 1  # both are files of one directory
    assert [read.mailbox for read in again(root, kind, recursive=False)] == [""] * expected


def test_the_same_mail_is_written_the_same(tmp_path: Path) -> None:
    given = [Given(3, frozenset({"\\Seen", "Junk"}), InternalDate(1000), b"A: b\r\n\r\nc\r\n")]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(eml.EmlTree(tmp_path / name), {"INBOX": given})
    assert files(tmp_path / "one") == files(tmp_path / "two")


# -- what all formats are made of --


@given(st.lists(contents()))
def test_line_ends_do_not_depend_on_the_pieces(parts: list[bytes]) -> None:
    whole = b"".join(parts)
    wanted = whole.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    assert b"".join(with_crlf(parts)) == wanted
    assert len(wanted) - len(whole) == bare_lfs(parts)
    assert bare_lfs([wanted]) == 0


@given(dates())
@example(InternalDate(0, -90))
@example(InternalDate(951_782_400, 825))
def test_dates_are_text_and_back(date: InternalDate) -> None:
    assert date_of(date_text(date)) == date


@pytest.mark.parametrize(
    "text",
    ["", "24-Nov-2026", "31-Feb-2026 00:00:00 +0000", "1-Foo-2026 00:00:00 +0000", "x" * 100,
     "24-Nov-2026 25:00:00 +0000", "24-Nov-2026 14:00:00 +9900", "01-Jan-0000 00:00:00 +0000"],
)  # fmt: skip
def test_no_date(text: str) -> None:
    with pytest.raises(ValueError):
        date_of(text)


LEVELS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/"), min_size=1, max_size=20
).map(lambda level: normalize("NFC", level))


@given(st.lists(LEVELS, min_size=1, max_size=4).map("/".join))
@example("..")
@example("../../etc/passwd")
@example(".hidden/./..")
@example("a\\b/C:/%2E%2E")
@example("nul\0/tab\t")
def test_names_stay_inside_and_come_back(name: str) -> None:
    path = to_path(name)
    assert to_name(path) == name
    assert not path.is_absolute()
    assert len(path.parts) == name.count("/") + 1
    assert not any(part.startswith(".") or "\0" in part for part in path.parts)


@pytest.mark.parametrize("kind", ["mbox", "eml"])
def test_no_name_makes_a_tree_look_like_another(kind: str, tmp_path: Path) -> None:
    names = ["cur", "cur/x", "Work.sbd", "Work.sbd/x", "Work"]
    for name in names:
        path = tmp_path / f"{to_path(name)}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "mbox":
            Path(f"{path}.mbox").write_bytes(b"From a@b Tue Nov 24 14:00:00 2026\nx\n\n")
        else:
            path.mkdir(exist_ok=True)
            (path / "1.eml").write_bytes(b"x\n")
    assert sorted(message.mailbox for message in again(tmp_path, "auto")) == sorted(names)


def test_no_two_names_have_one_path() -> None:
    names = [
        "a.mbox",
        "a%2Embox",
        "A.EML",
        "a",
        "a%",
        "a%25",
        ".a",
        "%2Ea",
        "index.jsonl",
        "cur",
        "%63ur",
    ]
    assert len({str(to_path(name)) for name in names}) == len(names)
