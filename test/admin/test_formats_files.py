""".eml files, trees of files, and where an export is put."""

from __future__ import annotations

import io
import json
import os
import threading
from pathlib import Path

import pytest

from pymap.admin.formats import eml, maildir, mbox
from pymap.admin.formats.export import NoPlace, destination
from pymap.admin.formats.sources import NoMail, Source, octets_of, read
from pymap.wire.types import InternalDate

from .mail import Given, Read, files, taken, write

FROM = b"From a@b Tue Nov 24 14:00:00 2026\n"
TIME = 1_000_000_000
NONE = frozenset[str]()


def make(root: Path, **found: bytes) -> None:
    """`a__b_eml` is the file b.eml in the directory a."""
    for name, content in found.items():
        path = root / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (TIME, TIME))


def found(*paths: object, pipe: bytes = b"", **how: object) -> list[Read]:
    source = Source([str(path) for path in paths], **how)  # type: ignore[arg-type]
    return taken(read(source, io.BufferedReader(io.BytesIO(pipe))))  # type: ignore[arg-type]


def places(*paths: object, **how: object) -> list[tuple[str, bytes]]:
    return [(message.mailbox, message.content) for message in found(*paths, **how)]


# -- .eml --


def test_a_pipe_with_a_name_is_read_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for content, read_ in ((b"A: 1\n\nx\n", b"A: 1\r\n\r\nx\r\n"), (FROM + b"A: 2\n", b"A: 2\r\n")):
        writer = threading.Thread(target=pipe.write_bytes, args=(content,))
        writer.start()
        assert places(pipe) == [("", read_)]
        writer.join()


def test_a_file_is_a_message_with_the_date_of_the_file(tmp_path: Path) -> None:
    make(tmp_path, x_eml=b"Date: Tue, 24 Nov 2026 14:00:00 +0100\n\nx\n")
    content = b"Date: Tue, 24 Nov 2026 14:00:00 +0100\r\n\r\nx\r\n"
    assert found(tmp_path / "x.eml") == [Read("", NONE, InternalDate(TIME), content)]
    (message,) = found(tmp_path / "x.eml", date_header=True)
    assert message.date == InternalDate(1795525200)
    assert found(tmp_path / "x.eml", mailbox="Old")[0].mailbox == "Old"


@pytest.mark.parametrize(
    "octets",
    [b"Date: nonsense\n\n", b"A: 1\n\nDate: Tue, 24 Nov 2026 14:00:00 +0100\n", b"\0", b"",
     b"X-Date: Tue, 24 Nov 2026 14:00:00 +0100\n\n"],
)  # fmt: skip
def test_a_date_that_is_not_there(octets: bytes, tmp_path: Path) -> None:
    make(tmp_path, x_eml=octets)
    (message,) = found(tmp_path / "x.eml", date_header=True)
    assert message.date == InternalDate(TIME)


def test_the_pipe_is_a_message_or_an_mbox() -> None:
    (message,) = found("-", pipe=b"date:\n Tue, 24 Nov 2026 14:00:00 +0100\n\nx")
    assert message == Read(
        "", NONE, InternalDate(1795525200), b"date:\r\n Tue, 24 Nov 2026 14:00:00 +0100\r\n\r\nx"
    )
    assert found("-", pipe=b"Fro")[0].date is None  # now
    assert len(found("-", pipe=(FROM + b"A: 1\n\n") * 2)) == 2
    assert len(found("-", pipe=(FROM + b"A: 1\n\n") * 2, format="eml")) == 1
    with pytest.raises(mbox.NotMbox, match="standard input"):
        found("-", pipe=b"x", format="mbox")
    with pytest.raises(NoMail):
        found("-", format="maildir")


def test_the_index_is_believed_as_far_as_it_makes_sense(tmp_path: Path) -> None:
    lines = [
        {"file": "1.eml", "octets": 4, "flags": ["\\Seen", "a b", "Junk"],
         "internal_date": "24-Nov-2026 14:00:00 +0100"},
        {"file": "2.eml", "octets": 99, "flags": [], "internal_date": "24-Nov-2026 14:00:00 +0100"},
        {"file": "3.eml", "octets": "4", "flags": 7, "internal_date": None},
        {"file": "../secret", "octets": 1, "flags": [], "internal_date": ""},
        ["3.eml"],
    ]  # fmt: skip
    text = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    make(
        tmp_path, **{"1_eml": b"a\n\nb", "2_eml": b"a\n\nb", "3_eml": b"a\n\nb",
        "index_jsonl": text + b"[" * 100_000 + b"\n\xff\n" + b"{}" * 1_000_000},
    )  # fmt: skip
    date = InternalDate(1795525200, 60)
    assert found(tmp_path) == [
        Read("", frozenset({"\\Seen", "Junk"}), date, b"a\n\nb"),  # octet for octet
        Read("", NONE, date, b"a\r\n\r\nb"),
        Read("", NONE, InternalDate(TIME), b"a\r\n\r\nb"),
    ]


# -- trees --


def test_a_directory_and_what_lies_deeper(tmp_path: Path) -> None:
    make(
        tmp_path, **{"1_eml": b"1", "10_eml": b"10", "2_eml": b"2", "Work__1_eml": b"w",
        "Work__Old__1_eml": b"o", "Sent_mbox": FROM + b"S: 1\n\n", "Sent__Old_mbox": FROM + b"\n",
        "notes_txt": b"no mail", "_hidden__1_eml": b"no mail", "INBOX__1_eml": b"i"},
    )  # fmt: skip
    top = [("", b"1"), ("", b"2"), ("", b"10")]
    assert places(tmp_path) == [*top, ("", b"S: 1\r\n")]
    assert places(tmp_path, mailbox="In") == [("In", x) for _, x in places(tmp_path)]
    assert places(tmp_path, format="eml") == top
    assert places(tmp_path, format="mbox") == [("", b"S: 1\r\n")]
    deep = [*top, ("Sent", b"S: 1\r\n"), ("", b"i"), ("Sent/Old", b""), ("Work", b"w"),
            ("Work/Old", b"o")]  # fmt: skip
    assert places(tmp_path, recursive=True) == deep
    below = [(f"In/{name}" if name else "In", content) for name, content in deep]
    assert places(tmp_path, recursive=True, mailbox="In") == below


def test_links_in_a_tree_lead_nowhere(tmp_path: Path) -> None:
    make(tmp_path, mail__1_eml=b"1", secret__2_eml=b"2", secret__x_mbox=FROM + b"3\n")
    for name in ("2.eml", "x.mbox"):
        (tmp_path / "mail" / name).symlink_to(tmp_path / "secret" / name)
    (tmp_path / "mail" / "deep").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "mail" / "3.eml")
    assert places(tmp_path / "mail", recursive=True) == [("", b"1")]
    # What the user names may be a link.
    assert places(tmp_path / "mail" / "deep", format="eml") == [("", b"2")]
    assert places(tmp_path / "mail" / "2.eml") == [("", b"2")]


def test_mboxes_without_an_ending(tmp_path: Path) -> None:
    """As Thunderbird and mutt keep them."""
    make(tmp_path, Sent=FROM + b"1\n", Sent_msf=b"index", Sent_sbd__Old=FROM + b"2\n")
    with pytest.raises(NoMail, match=r"has no .mbox or .eml files in it"):
        places(tmp_path)
    expected = [("Sent", b"1\r\n"), ("Sent/Old", b"2\r\n")]
    assert places(tmp_path, format="mbox", recursive=True) == expected
    assert places(tmp_path / "Sent") == [("", b"1\r\n")]


def test_a_maildir_is_known_by_its_cur(tmp_path: Path) -> None:
    make(tmp_path, **{"cur__1:2,S": b"1", "_Work__cur__2": b"2", "_Work_Old__new__3": b"3"})
    (tmp_path / ".Work.Old" / "cur").mkdir()
    assert places(tmp_path) == [("", b"1")]
    expected = [("", b"1"), ("Work", b"2"), ("Work/Old", b"3")]
    assert places(tmp_path, recursive=True) == expected
    assert places(tmp_path / ".Work", mailbox="W") == [("W", b"2")]
    with pytest.raises(NoMail):
        places(tmp_path / "cur", format="maildir")
    with pytest.raises(NoMail):
        places(tmp_path / "cur" / "1:2,S", format="maildir")


def test_folders_of_a_maildir_without_an_inbox(tmp_path: Path) -> None:
    make(tmp_path, _Work__cur__2=b"2")
    for format in ("maildir", "auto"):
        assert places(tmp_path, format=format, recursive=True) == [("Work", b"2")]
    with pytest.raises(NoMail):
        places(tmp_path / ".Work" / "cur", format="maildir", recursive=True)


@pytest.mark.parametrize("format", ["auto", "mbox", "eml"])
def test_a_path_that_is_not_there(format: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        found(tmp_path / "nothing", format=format)
    with pytest.raises(NoMail):
        found(tmp_path, format=format)


def test_an_mbox_is_named_when_it_is_none(tmp_path: Path) -> None:
    make(tmp_path, a_mbox=b"not at all", b_mbox=b"")
    with pytest.raises(mbox.NotMbox, match=r"a\.mbox: is not an mbox"):
        found(tmp_path / "a.mbox")
    assert found(tmp_path / "b.mbox") == []


def test_how_much_there_is(tmp_path: Path) -> None:
    make(tmp_path, a__1_eml=b"12345", a__b__2_eml=b"123", c_mbox=b"1")
    paths = [str(tmp_path / "a"), str(tmp_path / "c.mbox"), str(tmp_path / "nothing")]
    assert octets_of(Source(paths)) == 9
    assert octets_of(Source([*paths, "-"])) is None


# -- where an export goes --

MAIL = {"INBOX": [Given(1, NONE, InternalDate(0), b"A: 1\r\n")], "Work": []}
TREES = {"mbox": mbox, "eml": eml, "maildir": maildir}
KINDS = {"mbox": mbox.MboxTree, "eml": eml.EmlTree, "maildir": maildir.MaildirTree}


def export(path: Path, kind: str = "eml", force: bool = False) -> None:
    with destination(path, force, TREES[kind].is_ours) as root:
        write(KINDS[kind](root), MAIL)


@pytest.mark.parametrize("kind", TREES)
def test_a_new_directory_and_then_only_by_force(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "new"
    export(path, kind)
    before = files(path)
    assert before
    assert path.stat().st_mode & 0o777 == 0o700
    assert os.listdir(tmp_path) == ["new"]
    with pytest.raises(NoPlace, match="is not empty"):
        export(path, kind)
    assert files(path) == before
    export(path, kind, force=True)
    if kind != "maildir":  # whose names are new each time
        assert files(path) == before
    assert len(files(path)) == len(before)


@pytest.mark.parametrize("kind", TREES)
@pytest.mark.parametrize("name", ["thesis.tex", "Work/thesis.tex", ".hidden", "dovecot.index"])
def test_force_takes_nothing_that_no_export_has_made(kind: str, name: str, tmp_path: Path) -> None:
    export(tmp_path, kind)
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("precious")
    before = files(tmp_path)
    with pytest.raises(NoPlace, match="was made by no export"):
        export(tmp_path, kind, force=True)
    assert files(tmp_path) == before


def test_force_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "1.eml").write_text("precious")
    (tmp_path / "mail").mkdir()
    (tmp_path / "mail" / "INBOX").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NoPlace):
        export(tmp_path / "mail", force=True)
    assert files(tmp_path / "elsewhere") == {"1.eml": b"precious"}


@pytest.mark.parametrize("name", ["cur/1:2,S", "new/2", "tmp/3", "maildirfolder"])
def test_force_takes_no_maildir_that_is_used(name: str, tmp_path: Path) -> None:
    """Not every program keeps a dovecot-uidlist."""
    for sub in ("cur", "new", "tmp"):
        (tmp_path / sub).mkdir()
    (tmp_path / name).write_text("precious")
    with pytest.raises(NoPlace, match="was made by no export"):
        export(tmp_path, "maildir", force=True)
    assert files(tmp_path) == {name: b"precious"}


def test_what_cannot_be_put_in_place_is_moved_back(tmp_path: Path) -> None:
    export(tmp_path)
    before = files(tmp_path)

    def in_the_way() -> None:
        with destination(tmp_path, True, eml.is_ours) as root:
            write(eml.EmlTree(root), {"A": MAIL["INBOX"], "Zoo": MAIL["INBOX"]})
            (tmp_path / "Zoo" / "mine").mkdir(parents=True)  # just now, by somebody else

    with pytest.raises(OSError, match="not empty"):
        in_the_way()
    assert files(tmp_path) == before
    assert sorted(os.listdir(tmp_path)) == ["INBOX", "Work", "Zoo"]


def broken(path: Path, error: BaseException, force: bool = False) -> None:
    """An export that fails half-way."""
    with destination(path, force, eml.is_ours) as root:
        (root / "half").write_text("x")
        raise error


@pytest.mark.parametrize("exists", [True, False])
def test_what_fails_leaves_nothing(exists: bool, tmp_path: Path) -> None:
    path = tmp_path / "new"
    if exists:
        path.mkdir()
    with pytest.raises(OSError, match="disk full"):
        broken(path, OSError("disk full"))
    assert path.exists() == exists
    assert not exists or not list(path.iterdir())


def test_what_fails_by_force_leaves_the_old(tmp_path: Path) -> None:
    export(tmp_path)
    before = files(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        broken(tmp_path, KeyboardInterrupt(), force=True)
    assert files(tmp_path) == before


def test_what_one_that_was_killed_has_left_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".pymap-export-abc" / "INBOX").mkdir(parents=True)
    (tmp_path / ".pymap-export-abc" / "INBOX" / "1.eml").write_text("half")
    export(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["INBOX", "Work"]


def test_places_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "x", tmp_path / "no" / "x"):
        with pytest.raises(NoPlace):
            export(path)
