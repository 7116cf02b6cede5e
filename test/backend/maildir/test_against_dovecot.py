"""The files beside a Maildir, used by a real Dovecot and by our modules at the same time."""

from __future__ import annotations

import encodings.idna  # noqa: F401  not to be looked for when we are somebody else
import imaplib
import os
import re
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
from maildir.dovecot import PASSWORD, Dovecot
from maildir.place import OWNER, ROOT, Place

from pymap.backend.maildir.dotlock import HOST, dotlock
from pymap.backend.maildir.filenames import NameMaker, build_info, parse_info, sizes, split
from pymap.backend.maildir.keywords import Keywords
from pymap.backend.maildir.uidlist import Entry, Header, UidList
from pymap.wire.types import FLAGGED

MESSAGE = b"Subject: x\r\nFrom: a@b\r\n\r\nhello\r\n"
USER = "demouser"


class Box:
    """The INBOX of a user: `client` is at Dovecot, everything else here works on the files."""

    def __init__(self, place: Place, dovecot: Dovecot) -> None:
        self.dovecot = dovecot
        self.path = place.maildir(USER)
        self.maker = NameMaker()
        self.client = self.connect()

    def connect(self) -> imaplib.IMAP4:
        client = imaplib.IMAP4("127.0.0.1", self.dovecot.port, timeout=150)
        client.login(USER, PASSWORD)
        assert client.select("INBOX")[0] == "OK"
        return client

    def deliver(self, name: str | bytes, content: bytes = MESSAGE, folder: str = "cur") -> None:
        path = os.fsencode(self.path / folder) + b"/" + os.fsencode(name)
        with open(path, "xb") as file:
            file.write(content)

    def names(self) -> list[str]:
        return sorted(os.listdir(self.path / "cur"))

    def base_of(self, uid: int) -> str:
        return {each.uid: each.base for each in self.read()}[uid]

    def read(self) -> list[Entry]:
        read = UidList(self.path).refresh()
        assert read is not None
        return read.entries


@contextmanager
def as_owner() -> Iterator[None]:
    """What is made inside belongs to whom Dovecot runs as. For all threads of the process."""
    if not ROOT:
        yield
        return
    os.setegid(OWNER.pw_gid)
    os.seteuid(OWNER.pw_uid)
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)
        os.seteuid(0)
        os.setegid(0)


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    place = Place()
    yield place
    await place.close()


@pytest.fixture
async def dovecot(place: Place) -> Dovecot:
    dovecot = await place.dovecot()
    dovecot.log.chmod(0o644)
    return dovecot


@pytest.fixture
def box(place: Place, dovecot: Dovecot) -> Iterator[Box]:
    with as_owner():
        box = Box(place, dovecot)
        yield box
        box.client.logout()


def append(client: imaplib.IMAP4, message: bytes = MESSAGE, flags: str = "(\\Seen)") -> int:
    """The UID that it got."""
    kind, data = client.append("INBOX", flags, "", message)
    assert kind == "OK", data
    found = re.search(rb"APPENDUID \d+ (\d+)", data[0])
    assert found
    return int(found[1])


def fetch(client: imaplib.IMAP4, what: str) -> dict[int, bytes]:
    """By UID, whatever came for it."""
    client.noop()
    kind, data = client.uid("FETCH", "1:*", f"({what})")
    assert kind == "OK", data
    found: dict[int, bytes] = {}
    for item in data:
        if item is None or item == b")":
            continue
        line, octets = item if isinstance(item, tuple) else (item, b"")
        if uid := re.search(rb"UID (\d+)", line):  # else it is news of flags
            found[int(uid[1])] = octets or line
    return found


def flags(line: bytes) -> set[str]:
    found = re.search(rb"FLAGS \(([^)]*)\)", line)
    assert found
    return set(found[1].decode().split()) - {"\\Recent"}


# -- uidlist --


def test_file_of_dovecot_is_followed(box: Box) -> None:
    uids = UidList(box.path)
    read = uids.refresh()
    assert read is not None
    assert uids.header is not None
    assert (read.entries, uids.header.uid_next) == ([], 1)
    validity = box.client.response("UIDVALIDITY")[1][0]
    assert validity is not None
    assert uids.header.uid_validity == int(validity)
    assert re.fullmatch("[0-9a-f]{32}", uids.header.guid)

    assert [append(box.client) for _ in range(3)] == [1, 2, 3]
    read = uids.refresh()
    assert read is not None
    assert not read.whole
    assert [each.uid for each in read.entries] == [1, 2, 3]
    assert sorted(each.base for each in read.entries) == [split(name)[0] for name in box.names()]
    assert uids.header.uid_next == 4

    # A copy in the mailbox has a name of its own, and the first name is its GUID.
    first = read.entries[0].base
    box.client.uid("COPY", "1", "INBOX")
    read = uids.refresh()
    assert read is not None
    assert [(each.uid, each.extensions) for each in read.entries] == [(4, f"G{first}")]

    # When a quarter is gone, the file is made anew.
    box.client.uid("STORE", "1:3", "+FLAGS", "(\\Deleted)")
    box.client.expunge()
    box.client.select("INBOX")
    read = uids.refresh()
    assert read is not None
    assert read.whole
    assert not read.damaged
    assert [(each.uid, each.extensions) for each in read.entries] == [(4, f"G{first}")]
    assert uids.header.uid_next == 5


def test_copy_in_another_mailbox_keeps_its_name(box: Box) -> None:
    append(box.client)
    box.client.create("Other")
    box.client.uid("COPY", "1", "Other")
    read = UidList(box.path / ".Other").refresh()
    assert read is not None
    assert read.entries == [Entry(1, box.base_of(1), "")]


def test_lines_appended_while_dovecot_runs(box: Box) -> None:
    """It takes them on at once, keeps letters that it does not know, and goes on above them."""
    append(box.client)
    uids = UidList(box.path)
    base = box.maker.make(len(MESSAGE), len(MESSAGE))
    with uids.lock():
        uids.refresh()
        box.deliver(f"{base}:2,S")
        uids.append([Entry(5, base, "W32 X99 Yabc")])
    assert list(fetch(box.client, "UID")) == [1, 5]
    assert append(box.client) == 6
    box.client.uid("STORE", "1", "+FLAGS", "(\\Deleted)")
    box.client.expunge()
    box.client.select("INBOX")
    read = UidList(box.path).refresh()
    assert read is not None
    assert read.entries[0] == Entry(5, base, "W32 X99 Yabc")
    assert [each.uid for each in read.entries] == [5, 6]
    assert not box.dovecot.complaints()


def test_file_made_anew_while_dovecot_runs(box: Box) -> None:
    for _ in range(3):
        append(box.client)
    uids = UidList(box.path)
    with uids.lock():
        read = uids.refresh()
        assert read is not None
        assert uids.header is not None
        uids.write(uids.header._replace(uid_next=10), read.entries)
    made = (box.path / "dovecot-uidlist").stat()
    assert made.st_mode & 0o777 == box.path.stat().st_mode & 0o666
    assert list(fetch(box.client, "UID")) == [1, 2, 3]
    assert append(box.client) == 10
    assert uids.refresh() is not None
    other = box.connect()
    assert list(fetch(other, "UID")) == [1, 2, 3, 10]
    other.logout()
    assert not box.dovecot.complaints()


def test_line_without_a_file_is_no_message_and_takes_its_uid(box: Box) -> None:
    append(box.client)
    uids = UidList(box.path)
    with uids.lock():
        uids.refresh()
        uids.append([Entry(2, "100.gone", "")])
    assert list(fetch(box.client, "UID")) == [1]
    assert append(box.client) == 3
    other = box.connect()
    assert list(fetch(other, "UID")) == [1, 3]
    other.logout()
    assert not box.dovecot.complaints()


@pytest.mark.parametrize("damage", ["garbage\n", "1 :100.back\n", "\n", "5 :100.x\n4 :100.y\n"])
def test_what_dovecot_makes_of_damage_we_do_too(box: Box, damage: str) -> None:
    for _ in range(2):
        append(box.client)
    box.client.close()
    with (box.path / "dovecot-uidlist").open("a") as file:
        file.write(damage)
    uids = UidList(box.path)
    read = uids.refresh()
    assert read is not None
    assert read.damaged
    ours = [each.uid for each in read.entries if each.base != "100.x"]  # there is no such file
    header = uids.header
    assert header is not None
    box.client.select("INBOX")
    assert list(fetch(box.client, "UID")) == ours
    assert append(box.client) == header.uid_next
    assert box.dovecot.complaints()  # it says so


def test_mended_file_does_not_disturb_dovecot(box: Box) -> None:
    for _ in range(2):
        append(box.client)
    with (box.path / "dovecot-uidlist").open("a") as file:
        file.write("nonsense\n3 :ha")
    uids = UidList(box.path)
    with uids.lock():
        read = uids.refresh()
        assert read is not None
        assert read.damaged
        box.deliver("100.a:2,S")
        uids.append([Entry(4, "100.a", "")])
    assert list(fetch(box.client, "UID")) == [1, 2, 4]
    assert append(box.client) == 5
    assert not box.dovecot.complaints()


def test_version_1_is_read_by_both_alike(box: Box) -> None:
    for _ in range(2):
        append(box.client)
    uids = UidList(box.path)
    before = uids.refresh()
    assert before is not None
    assert uids.header is not None
    validity = uids.header.uid_validity
    box.client.logout()
    for path in box.path.glob("dovecot.index*"):
        path.unlink()
    lines = [f"1 {validity} 7", *(f"{each.uid} {each.base}" for each in before.entries), ""]
    (box.path / "dovecot-uidlist").write_text("\n".join(lines))
    read = uids.refresh()
    assert read is not None
    assert (read.entries, uids.header) == (before.entries, Header(validity, 7, ""))
    box.client = box.connect()
    assert box.client.response("UIDVALIDITY")[1] == [str(validity).encode()]
    assert list(fetch(box.client, "UID")) == [1, 2]
    assert append(box.client) == 7


# -- locks --


def test_dovecot_waits_for_our_lock(box: Box) -> None:
    append(box.client)
    done: list[int] = []
    thread = threading.Thread(target=lambda: done.append(append(box.client)))
    uids = UidList(box.path)
    with uids.lock():
        thread.start()
        thread.join(0.5)
        assert not done
        uids.refresh()
        uids.append([Entry(2, "100.a", "")])
    thread.join(30)
    assert done == [3]
    assert not box.dovecot.complaints()


def test_dovecot_takes_over_what_a_killed_process_left(box: Box) -> None:
    append(box.client)
    gone = subprocess.Popen([sys.executable, "-c", ""]) if not ROOT else None
    pid = gone.pid if gone is not None and gone.wait() == 0 else 4_000_000  # above all there are
    (box.path / "dovecot-uidlist.lock").write_text(f"{pid}:{HOST}")
    assert append(box.client) == 2
    # And so do we, of Dovecot's: it looks the same.
    (box.path / "dovecot-uidlist.lock").write_text(f"{pid}:{HOST}")
    with dotlock(box.path / "dovecot-uidlist", 1):
        pass


# -- keywords --


def test_keywords_go_both_ways(box: Box) -> None:
    append(box.client, flags="(\\Seen Foo $Bar)")
    keywords = Keywords(box.path)
    assert keywords.refresh()
    assert keywords.names[:3] == ("Foo", "$Bar", "")
    keywords.admit(["ours", "foo"])
    assert keywords.letters(["OURS"]) == {"OURS": "c"}
    (name,) = box.names()
    base, info = split(name)
    found = parse_info(info)
    renamed = base + build_info(found.flags, found.letters + "c", found.other)
    (box.path / "cur" / name).rename(box.path / "cur" / renamed)
    assert flags(fetch(box.client, "FLAGS")[1]) == {"\\Seen", "Foo", "$Bar", "ours"}
    box.client.uid("STORE", "1", "+FLAGS", "(theirs)")
    assert keywords.refresh()
    assert keywords.names[:4] == ("Foo", "$Bar", "ours", "theirs")
    assert box.names() == [f"{base}:2,Sabcd"]
    assert not box.dovecot.complaints()


def test_dovecot_writes_26_keywords(box: Box) -> None:
    append(box.client)
    box.client.uid("STORE", "1", "+FLAGS", f"({' '.join(f'k{n:02}' for n in range(28))})")
    keywords = Keywords(box.path)
    keywords.refresh()
    assert keywords.names == tuple(f"k{n:02}" for n in range(26))


def test_letter_without_a_name(box: Box) -> None:
    """Dovecot gives it one, so we must not give it another."""
    box.deliver("100.a:2,Sb")
    Keywords(box.path).admit(["first", "third"], used="b")
    assert flags(fetch(box.client, "FLAGS")[1]) == {"\\Seen", "unknown-1"}
    box.client.uid("STORE", "1", "+FLAGS", "(FIRST)")
    assert box.names() == ["100.a:2,Sab"]


# -- names --


@pytest.mark.parametrize(
    "content",
    [
        MESSAGE,
        MESSAGE.replace(b"\r\n", b"\n"),
        b"Subject: x\r\n\r\nbare\nlf\r\nmore\n",
        b"Subject: x\r\n\r\n\r\r\n\n\r",
    ],
)
@pytest.mark.parametrize("verbatim", [False, True])
def test_names_that_we_make(box: Box, content: bytes, verbatim: bool) -> None:
    virtual = len(re.sub(rb"(?<!\r)\n", b"\r\n", content))
    base = box.maker.make(len(content), virtual, verbatim)
    uids = UidList(box.path)
    with uids.lock():
        uids.refresh()
        box.deliver(f"{base}:2,", content)
        uids.append([Entry(1, base, "")])
    assert f"RFC822.SIZE {virtual}".encode() in fetch(box.client, "RFC822.SIZE")[1]
    shown = fetch(box.client, "BODY.PEEK[]")[1]
    assert len(shown) == virtual
    box.client.uid("STORE", "1", "+FLAGS", "(\\Flagged kw)")
    assert box.names() == [f"{base}:2,Fa"]
    box.client.uid("STORE", "1", "FLAGS", "()")
    assert box.names() == [f"{base}:2,"]
    box.client.create("Other")
    box.client.uid("MOVE", "1", "Other")
    read = UidList(box.path / ".Other").refresh()
    assert read is not None
    assert [each.base for each in read.entries] == [base]
    assert sizes(base).verbatim is verbatim
    assert not box.dovecot.complaints()


def test_copy_of_dovecot_within_a_mailbox_forgets_verbatim(box: Box) -> None:
    """There is nothing we could do: the copy is what Dovecot shows of the message."""
    base = box.maker.make(len(MESSAGE), len(MESSAGE), verbatim=True)
    box.deliver(f"{base}:2,S")
    fetch(box.client, "UID")
    box.client.uid("COPY", "1", "INBOX")
    entry = box.read()[1]
    assert entry.extensions == f"G{base}"
    assert sizes(entry.base) == (len(MESSAGE), len(MESSAGE), False)


@pytest.mark.parametrize(
    "name",
    [
        "100.a",
        "100.a:1,S",
        "100.a:2",
        "100.a:2,",
        "100.a:2,S",
        "100.a:2,SzPX9!",
        "100.a:2,SSTaDb",
        "100.a:2,RS,b=3",
        "100.a:2,PSc,XYZ",
        "100.a:b",
        "100. b c:2,S",
        b"100.\xff\xe9:2,Sa",
        "100.a,S=32,W=32x:2,S",
        "100.a,S=32,W=32,S=7:2,S",
    ],
)
def test_flags_are_written_as_dovecot_does(box: Box, name: str | bytes) -> None:
    box.deliver(name)
    base, info = split(os.fsdecode(name))
    found = parse_info(info)
    line = fetch(box.client, "FLAGS RFC822.SIZE")[1]
    assert {flag for flag in flags(line) if flag[0] == "\\"} == {f.name for f in found.flags}
    assert f"RFC822.SIZE {sizes(base).virtual or len(MESSAGE)}".encode() in line
    assert box.read()[0].base == base
    box.client.uid("STORE", "1", "+FLAGS", "(\\Flagged)")
    assert box.names() == [base + build_info({*found.flags, FLAGGED}, found.letters, found.other)]
    box.client.uid("STORE", "1", "-FLAGS", "(\\Flagged)")
    assert box.names() == [base + build_info(found.flags, found.letters, found.other)]


# -- all at once --


def test_dovecot_and_we_never_disagree_about_a_uid(box: Box) -> None:
    """Two of each append; Dovecot expunges, and both make the file anew now and then."""
    told: dict[int, str] = {}
    failed: list[object] = []
    guard = threading.Lock()

    def tell(uid: int, subject: str) -> None:
        with guard:
            if uid in told:
                failed.append((uid, told[uid], subject))
            told[uid] = subject

    def message(subject: str) -> bytes:
        return b"Subject: %s\r\n\r\nbody\r\n" % subject.encode()

    def by_dovecot(name: str) -> None:
        client = box.connect()
        for n in range(80):
            tell(append(client, message(f"{name}-{n}"), "(\\Seen kw)"), f"{name}-{n}")
            if n % 20 == 19:
                client.uid("STORE", f"1:{n // 2}", "+FLAGS", "(\\Deleted)")
                client.expunge()
        client.logout()

    def by_us(name: str) -> None:
        uids, keywords = UidList(box.path), Keywords(box.path)
        kept: list[Entry] = []
        for n in range(80):
            content = message(f"{name}-{n}")
            base = box.maker.make(len(content), len(content))
            box.deliver(base, content, "tmp")
            with uids.lock():
                keywords.admit([f"{name}{n % 3}"])
                read = uids.refresh()
                if read is not None:
                    if read.damaged:
                        failed.append(read)
                    kept = [*([] if read.whole else kept), *read.entries]
                assert uids.header is not None
                entry = Entry(uids.header.uid_next, base, "")
                os.rename(box.path / "tmp" / base, box.path / "cur" / f"{base}:2,S")
                if n % 15 == 14:
                    there = {split(file)[0] for file in box.names()}
                    kept = [each for each in kept if each.base in there]
                    uids.write(uids.header, [*kept, entry])
                else:
                    uids.append([entry])
                kept.append(entry)
            tell(entry.uid, f"{name}-{n}")

    def run(work: object, name: str) -> None:
        try:
            work(name)  # type: ignore[operator]
        except BaseException as error:
            failed.append(error)

    threads = [
        threading.Thread(target=run, args=(work, name))
        for work, name in [(by_dovecot, "d"), (by_dovecot, "e"), (by_us, "u"), (by_us, "v")]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert sorted(told) == list(range(1, 321))

    client = box.connect()
    subjects = {
        uid: octets.decode().split()[1]
        for uid, octets in fetch(client, "BODY.PEEK[HEADER.FIELDS (SUBJECT)]").items()
    }
    client.logout()
    assert len(subjects) >= 160
    assert subjects.items() <= told.items()
    files = {split(name)[0]: name for name in box.names()}
    entries = {each.uid: each.base for each in box.read()}
    for uid, subject in subjects.items():
        content = (box.path / "cur" / files[entries[uid]]).read_text()
        assert content.split()[1] == subject
    assert not box.dovecot.complaints()
