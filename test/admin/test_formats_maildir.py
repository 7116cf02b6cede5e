"""Maildir as others keep it, and what Dovecot and pymap's own store make of an export."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest
from backend.maildir.dovecot_process import dovecot, quoted

from pymap.admin.formats import maildir
from pymap.admin.formats.export import Mailbox
from pymap.admin.formats.names import NoSuchPath
from pymap.backend.maildir import MaildirBackend
from pymap.backend.maildir.users import UsersFile
from pymap.wire.types import InternalDate, UidSet

from .mail import Given, taken, write


def make(root: Path, **found: bytes) -> Path:
    """A mailbox with files: `cur__name` is the file of that name in cur."""
    for sub in ("cur", "new", "tmp"):
        (root / sub).mkdir(parents=True, exist_ok=True)
    for number, (name, content) in enumerate(found.items()):
        sub, _, rest = name.partition("__")
        path = root / sub / rest.replace("__", ":")
        path.write_bytes(content)
        os.utime(path, (1_000_000_000 + number,) * 2)
    return root


def test_flags_and_keywords_of_the_names(tmp_path: Path) -> None:
    make(tmp_path, **{"cur__1.a__2,FSac": b"A: 1\r\n", "cur__2.a__2,DRTb": b"A: 2\r\n"})
    make(tmp_path, **{"new__3.a": b"A: 3\r\n", "cur__4.a__2,z": b"A: 4\r\n", "cur__5.a": b"5"})
    (tmp_path / "dovecot-keywords").write_text("0 $Forwarded\n2 Junk\n1 bad\\name\n")
    messages = taken(maildir.read(tmp_path, "Work"))
    assert [message.flags for message in messages] == [
        {"\\Flagged", "\\Seen", "$Forwarded", "Junk"},
        {"\\Draft", "\\Answered", "\\Deleted"},  # "b" has no name that IMAP could show
        set(),
        set(),  # and "z" none at all
        set(),
    ]
    assert {message.mailbox for message in messages} == {"Work"}
    assert messages[1].date == InternalDate(1_000_000_001)


def test_uids_give_the_order(tmp_path: Path) -> None:
    names = ["9.a", "10.a", "1.late", "b", "a"]
    make(tmp_path, **{f"cur__{name}__2,S": name.encode() for name in names})
    (tmp_path / "dovecot-uidlist").write_text("3 V7 N99\n5 :b\n7 :10.a\n9 :gone\n12 G1 :a\n")
    found = [message.content for message in taken(maildir.read(tmp_path))]
    assert found == [b"b", b"10.a", b"a", b"1.late", b"9.a"]  # the others by age


def test_without_a_list_age_gives_the_order(tmp_path: Path) -> None:
    names = ["100.a", "99.b", "100.M2", "x"]
    make(tmp_path, **{f"new__{name}": name.encode() for name in names})
    found = [message.content for message in taken(maildir.read(tmp_path))]
    assert found == [b"x", b"99.b", b"100.M2", b"100.a"]


def test_line_ends_become_those_of_imap(tmp_path: Path) -> None:
    make(
        tmp_path,
        **{"cur__1.a,S=9__2,": b"A: 1\n\nx\n\n", "cur__2.a__2,": b"A: 1\r\n\nx",
           "cur__3.a,V__2,": b"A: 1\n\r\n", "cur__4.a__2,": b"", "cur__5.a,S=999,W=1__2,": b"\n"},
    )  # fmt: skip
    found = [message.content for message in taken(maildir.read(tmp_path))]
    assert found == [b"A: 1\r\n\r\nx\r\n\r\n", b"A: 1\r\n\r\nx", b"A: 1\n\r\n", b"", b"\r\n"]


def test_what_is_no_message_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make(tmp_path, cur__1=b"1", cur__2=b"2")
    (tmp_path / "secret").write_bytes(b"not mine")
    (tmp_path / "cur" / "3").symlink_to(tmp_path / "secret")
    (tmp_path / "cur" / "4").mkdir()
    os.mkfifo(tmp_path / "cur" / "5")
    (tmp_path / "cur" / ".6").write_bytes(b"hidden")
    (tmp_path / "cur" / ":2,S").write_bytes(b"no name")
    (tmp_path / "tmp" / "7").write_bytes(b"half")
    assert [message.content for message in taken(maildir.read(tmp_path))] == [b"1", b"2"]
    # The odd name, the link, the directory, the pipe; ".6" never is one.
    assert len(caplog.records) == 4
    assert ":2,S: no name of a message" in caplog.text


def test_links_beside_the_mail_are_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make(tmp_path, **{"cur__1__2,Sa": b"1"})
    (tmp_path / "elsewhere").write_text("0 Junk\n")
    for name in ("dovecot-keywords", "dovecot-uidlist"):
        (tmp_path / name).symlink_to(tmp_path / "elsewhere")
    (message,) = taken(maildir.read(tmp_path))
    assert message.flags == {"\\Seen"}
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / name}: cannot be read, passed over: a link"
        for name in ("dovecot-keywords", "dovecot-uidlist")
    ]


def test_a_message_whose_flags_change_meanwhile_is_found(tmp_path: Path) -> None:
    make(tmp_path, **{"cur__1__2,": b"1", "cur__2__2,": b"2", "new__3": b"3", "new__4": b"4"})
    messages = maildir.read(tmp_path)
    assert b"".join(next(messages).pieces) == b"1"
    (tmp_path / "cur" / "2:2,").rename(tmp_path / "cur" / "2:2,FS")
    (tmp_path / "new" / "3").rename(tmp_path / "cur" / "3:2,")
    (tmp_path / "new" / "4").unlink()
    assert [(message.content, message.flags) for message in taken(messages)] == [
        (b"2", {"\\Flagged", "\\Seen"}),
        (b"3", set()),
    ]


def test_damaged_files_beside_the_mail_are_no_obstacle(tmp_path: Path) -> None:
    make(tmp_path, **{"cur__1__2,Sa": b"1"})
    (tmp_path / "dovecot-uidlist").write_bytes(b"\0\xff" * 1000)
    (tmp_path / "dovecot-keywords").write_bytes(b"0\n\xff x\n999999999999999999999 y\n")
    (message,) = taken(maildir.read(tmp_path))
    assert message.flags == {"\\Seen"}


def test_reading_changes_nothing(tmp_path: Path) -> None:
    make(tmp_path, **{"new__1": b"1", "cur__2__2,Sa": b"2"})
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    taken(maildir.read(tmp_path))
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


# -- what an export is --

MAIL = {
    "INBOX": [
        Given(3, frozenset({"\\Seen", "Junk"}), InternalDate(1_000_000_000), b"A: 1\r\n\r\nx\r\n"),
        Given(70, frozenset({"Junk", "$Forwarded"}), InternalDate(5), b"A: 2\n\r\n\xff"),
        Given(99, frozenset(), InternalDate(2_000_000_000), b"A: 3\r\n"),
    ],
    "Wörk/2024": [Given(5, frozenset({"\\Draft"}), InternalDate(1), b"B: 1\r\n")],
    "Empty": [],
}


@pytest.mark.parametrize("layout", ["++", "fs"])
async def test_pymap_serves_it_with_the_same_uids(layout: str, tmp_path: Path) -> None:
    root = tmp_path / "alice"
    root.mkdir()
    write(maildir.MaildirTree(root, layout), MAIL, uid_validity=77)
    (tmp_path / "users").write_text("alice::secret\n")
    backend = MaildirBackend(UsersFile(tmp_path / "users"), layout)
    await backend.start()
    try:
        async with backend.account("alice") as account:
            assert {info.name for info in await account.mailboxes()} == MAIL.keys()
            for name, messages in MAIL.items():
                mailbox = await account.open(name)
                assert mailbox.uid_validity == 77
                snapshot = await mailbox.snapshot()
                assert list(snapshot.uids) == [given.uid for given in messages]
                assert snapshot.uid_next == (messages[-1].uid + 1 if messages else 1)
                rows = await mailbox.metadata(UidSet.from_sorted(snapshot.uids))
                for row, given in zip(rows, messages, strict=True):
                    assert {flag.name for flag in row.flags} == given.flags
                    assert row.internal_date.seconds == given.date.seconds
                    assert await mailbox.content(row.uid) == given.content
                    assert row.size == len(given.content)
    finally:
        await backend.stop()


def test_the_files_beside_the_mail(tmp_path: Path) -> None:
    tree = maildir.MaildirTree(tmp_path)
    tree.begin(Mailbox("Sent", 8, 12, ("\\Sent",), True))
    tree.end()
    tree.begin(Mailbox("Ä/b", 9, 1, (), True))
    tree.end()
    tree.begin(Mailbox("INBOX", 7, 1))
    tree.end()
    tree.finish()
    assert (tmp_path / "subscriptions").read_bytes() == b"V\t2\n\nSent\n&AMQ-\tb\n"
    assert json.loads((tmp_path / "pymap-special-use").read_bytes()) == {"Sent": ["\\Sent"]}
    assert (tmp_path / ".Sent" / "dovecot-uidlist").read_bytes() == b"3 V8 N12\n"
    assert (tmp_path / ".Sent" / "maildirfolder").exists()
    assert not (tmp_path / "maildirfolder").exists()
    assert {path.name for path in tmp_path.iterdir()} == {
        "cur", "new", "tmp", "dovecot-uidlist", "subscriptions", "pymap-special-use", ".Sent",
        ".&AMQ-.b",
    }  # fmt: skip


def test_the_27th_keyword_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keywords = [f"k{number:02}" for number in range(28)]
    given = [
        Given(uid, frozenset(keywords[:uid]), InternalDate(0), b"A: 1\r\n") for uid in (1, 26, 28)
    ]
    with caplog.at_level(logging.WARNING):
        write(maildir.MaildirTree(tmp_path), {"INBOX": given})
    (record,) = caplog.records
    assert record.getMessage() == "INBOX: a Maildir has 26 keywords, left out: k26 k27"
    messages = taken(maildir.read(tmp_path))
    assert [len(message.flags) for message in messages] == [1, 26, 26]


@pytest.mark.parametrize(
    "name", ["v1.2", "..", "a/../../b", ".hidden", "~root", "inbox", "x" * 300]
)
def test_names_that_have_no_place(name: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    with pytest.raises(NoSuchPath):
        maildir.MaildirTree(root).begin(Mailbox(name, 7, 1))
    assert not list(root.iterdir())


@pytest.mark.parametrize(
    "name", ["..", "a/../../b", "cur", "a/new", "dovecot-uidlist", "./x", "~x"]
)
def test_names_that_have_no_place_in_the_other_layout(name: str, tmp_path: Path) -> None:
    with pytest.raises(NoSuchPath):
        maildir.MaildirTree(tmp_path, "fs").begin(Mailbox(name, 7, 1))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("layout", ["++", "fs"])
def test_dovecot_serves_it_with_the_same_uids(layout: str) -> None:
    with dovecot(layout) as process:
        process.root.mkdir()
        write(maildir.MaildirTree(process.root, layout), MAIL, uid_validity=77)
        assert process.names() == MAIL.keys()
        for name, messages in MAIL.items():
            assert process.uid_validity(name) == 77
            if not messages:
                continue
            lines = process.imap(f"EXAMINE {quoted(name)}", "UID FETCH 1:* (FLAGS INTERNALDATE)")
            fetched = [line for line in lines if b" FETCH " in line]
            for line, given in zip(fetched, messages, strict=True):
                assert f"UID {given.uid} ".encode() in line
                flags = line.partition(b"FLAGS (")[2].partition(b")")[0].decode().split()
                assert set(flags) - {"\\Recent"} == given.flags
            assert b'INTERNALDATE "09-Sep-2001' in fetched[0] or name != "INBOX"
        assert not process.log
