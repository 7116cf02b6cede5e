"""mbsync: two-way synchronisation with a Maildir, and nothing to do the second time."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from .conftest import PASSWORD, USER, Place
from .messages import message
from .wire import Wire, fetched

CONFIG = """
IMAPAccount there
Host localhost
Port {port}
User {user}
Pass {password}
AuthMechs {mechanism}
{tls}
Timeout 15

IMAPStore far
Account there

MaildirStore near
Path {mail}/
Inbox {mail}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Remove Both
Expunge Both
CopyArrivalDate yes
SyncState *
"""

CLEAR = "*** IMAP Warning *** Password is being sent in the clear"


@dataclass(frozen=True)
class Sync:
    program: str
    config: Path
    mail: Path

    def run(self) -> str:
        done = subprocess.run(
            [self.program, "-V", "-c", str(self.config), "-a"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        text = (done.stdout + done.stderr).replace(CLEAR, "")
        problems = re.findall(r".*(?:[Ww]arning|[Ee]rror):? .*", text)
        assert not problems, problems
        return done.stdout

    def files(self, mailbox: str = "INBOX") -> dict[bytes, Path]:
        """The files by X-Hx-Id."""
        found = {}
        for folder in ("cur", "new"):
            for path in (self.mail / mailbox / folder).iterdir():
                match = re.search(rb"^X-Hx-Id: (.+)$", path.read_bytes(), re.MULTILINE)
                assert match is not None, path
                found[match[1]] = path
        return found

    def flags(self, mailbox: str = "INBOX") -> dict[bytes, str]:
        return {n: path.name.partition(":2,")[2] for n, path in self.files(mailbox).items()}

    def octets(self, mailbox: str = "INBOX") -> dict[bytes, bytes]:
        """As on the wire: with CRLF."""
        return {
            n: without_tuid(path.read_bytes().replace(b"\n", b"\r\n"))
            for n, path in self.files(mailbox).items()
        }

    def mark(self, n: int, flags: str, mailbox: str = "INBOX") -> None:
        path = self.files(mailbox)[b"hx%d" % n]
        path.rename(path.parent.parent / "cur" / f"{path.name.partition(':2,')[0]}:2,{flags}")

    def deliver(self, n: int, mailbox: str = "INBOX") -> None:
        folder = self.mail / mailbox
        for name in ("cur", "new", "tmp"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "new" / f"1700000000.{n}.here").write_bytes(message(n).replace(b"\r\n", b"\n"))


def without_tuid(octets: bytes) -> bytes:
    """Without the field that mbsync adds to what it pulls and pushes."""
    return re.sub(rb"X-TUID: .*\n", b"", octets)


def configured(server: Place, program: str, path: Path, tls: str, mechanism: str) -> Sync:
    mail = path / "mail"
    mail.mkdir()
    config = path / "mbsyncrc"
    config.write_text(
        CONFIG.format(
            port=server.tls_port if "IMAPS" in tls else server.port,
            user=USER,
            password=PASSWORD,
            mail=mail,
            tls=tls,
            mechanism=mechanism,
        )
    )
    return Sync(program, config, mail)


def tls_type(program: str) -> str:
    """What the option is called: it was renamed in isync 1.5."""
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"(\d+)\.(\d+)", version.stdout)
    assert found is not None
    return "TLSType" if (int(found[1]), int(found[2])) >= (1, 5) else "SSLType"


@pytest.fixture
def sync(server: Place, mbsync: str, tmp_path: Path) -> Sync:
    return configured(server, mbsync, tmp_path, f"{tls_type(mbsync)} None", "LOGIN")


def fill(wire: Wire, numbers: range, mailbox: bytes = b"INBOX") -> None:
    for n in numbers:
        wire.ok(
            b'APPEND %b (\\Seen) "%02d-Mar-2011 07:06:40 +0000" {}' % (mailbox, n % 28 + 1),
            message(n),
        )


def far(wire: Wire, mailbox: bytes = b"INBOX") -> dict[bytes, tuple[bytes, set[bytes]]]:
    """Octets and flags by X-Hx-Id, Recent left out."""
    wire.ok(b"EXAMINE " + mailbox)
    found = {}
    for items in fetched(wire.ok(b"FETCH 1:* (FLAGS BODY.PEEK[])")).values():
        octets = items[b"BODY[]"]
        match = re.search(rb"^X-Hx-Id: (.+)\r$", octets, re.MULTILINE)
        assert match is not None
        found[match[1]] = without_tuid(octets), set(items[b"FLAGS"]) - {rb"\Recent"}
    return found


def same(sync: Sync, wire: Wire, mailbox: str = "INBOX", raw: bytes = b"INBOX") -> None:
    there = far(wire, raw)
    assert sync.octets(mailbox) == {n: octets for n, (octets, _) in there.items()}
    letters = {rb"\Draft": "D", rb"\Flagged": "F", rb"\Answered": "R", rb"\Seen": "S"}
    expected = {
        n: "".join(sorted(letters[f] for f in flags if f in letters))
        for n, (_, flags) in there.items()
    }
    assert sync.flags(mailbox) == expected


def unchanged(sync: Sync, wire: Wire) -> None:
    """A further run does nothing, on neither side."""
    before = {
        p: p.stat().st_mtime_ns for p in sync.mail.rglob("*") if p.parent.name in ("cur", "new")
    }
    status = wire.ok(b"STATUS INBOX (MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ)")
    sync.run()
    assert wire.ok(b"STATUS INBOX (MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ)") == status
    after = {
        p: p.stat().st_mtime_ns for p in sync.mail.rglob("*") if p.parent.name in ("cur", "new")
    }
    assert after == before


def test_two_hundred_messages_are_pulled(sync: Sync, server: Place) -> None:
    with server.wire() as wire:
        fill(wire, range(200))
        sync.run()
        assert len(sync.files()) == 200
        same(sync, wire)
        path = sync.files()[b"hx3"]
        assert path.stat().st_mtime == 1299222400  # 4-Mar-2011 07:06:40 UTC
        wire.ok(b"UNSELECT")
        unchanged(sync, wire)


def test_new_local_messages_are_pushed(sync: Sync, server: Place) -> None:
    with server.wire() as wire:
        fill(wire, range(3))
        sync.run()
        for n in range(3, 20):
            sync.deliver(n)
        sync.mark(5, "FS")
        sync.mark(6, "R")
        sync.run()
        same(sync, wire)
        assert far(wire)[b"hx5"][1] == {rb"\Flagged", rb"\Seen"}
        assert {n: o for n, (o, _) in far(wire).items()} == {
            b"hx%d" % n: message(n) for n in range(20)
        }
        wire.ok(b"UNSELECT")
        unchanged(sync, wire)


def test_flags_go_both_ways_and_keywords_stay(sync: Sync, server: Place) -> None:
    with server.wire() as wire:
        fill(wire, range(12))
        wire.ok(b"SELECT INBOX")
        wire.ok(b"STORE 1:12 +FLAGS ($Label1 Work)")
        wire.ok(b"UNSELECT")
        sync.run()
        sync.mark(0, "FS")
        sync.mark(1, "")
        sync.mark(2, "DRS")
        wire.ok(b"SELECT INBOX")
        wire.ok(b"UID STORE 4 +FLAGS.SILENT (\\Flagged \\Answered)")
        wire.ok(b"UID STORE 5 -FLAGS.SILENT (\\Seen)")
        wire.ok(b"UID STORE 1 +FLAGS.SILENT (\\Answered)")
        wire.ok(b"UNSELECT")
        sync.run()
        same(sync, wire)
        there = far(wire)
        kept = {b"$Label1", b"Work"}
        assert there[b"hx0"][1] == kept | {rb"\Flagged", rb"\Seen", rb"\Answered"}
        assert there[b"hx1"][1] == kept
        assert there[b"hx2"][1] == kept | {rb"\Draft", rb"\Answered", rb"\Seen"}
        assert sync.flags()[b"hx3"] == "FRS"
        assert sync.flags()[b"hx4"] == ""
        wire.ok(b"UNSELECT")
        unchanged(sync, wire)


def test_expunge_goes_both_ways(sync: Sync, server: Place) -> None:
    with server.wire() as wire:
        fill(wire, range(12))
        sync.run()
        wire.ok(b"SELECT INBOX")
        wire.ok(b"UID STORE 1:3 +FLAGS.SILENT (\\Deleted)")
        wire.ok(b"EXPUNGE")
        wire.ok(b"UNSELECT")
        sync.files()[b"hx4"].unlink()
        sync.mark(5, "ST")
        sync.run()
        assert sorted(sync.files()) == sorted(b"hx%d" % n for n in (3, *range(6, 12)))
        same(sync, wire)
        wire.ok(b"UNSELECT")
        unchanged(sync, wire)


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("Box/a/b c", b'"Box/a/b c"'),
        ("x & y", b'"x &- y"'),
        ("Entwürfe/日本", b'"Entw&APw-rfe/&ZeVnLA-"'),
        ("(odd) {3} ~x", b'"(odd) {3} ~x"'),
        ('quo"te\\back', b'"quo\\"te\\\\back"'),
    ],
)
def test_mailboxes_with_odd_names(sync: Sync, server: Place, name: str, raw: bytes) -> None:
    with server.wire() as wire:
        wire.ok(b"CREATE " + raw)
        fill(wire, range(3), raw)
        sync.run()
        if not (sync.mail / name).exists():  # isync 1.4 leaves the names as they are on the wire
            name = re.sub(r"\\(.)", r"\1", raw[1:-1].decode())
        same(sync, wire, name, raw)
        sync.deliver(20, name)
        sync.deliver(21, name + " new")
        sync.run()
        same(sync, wire, name, raw)
        same(sync, wire, name + " new", raw[:-1] + b' new"')


def test_mailbox_that_only_one_side_has_is_made_and_removed(sync: Sync, server: Place) -> None:
    with server.wire() as wire:
        wire.ok(b"CREATE there")
        sync.run()
        assert (sync.mail / "there" / "cur").is_dir()
        sync.deliver(1, "here")
        sync.run()
        assert list(far(wire, b"here")) == [b"hx1"]
        wire.ok(b"UNSELECT")


@pytest.mark.parametrize("mechanism", ["LOGIN", "PLAIN"])
def test_over_tls(server: Place, mbsync: str, tmp_path: Path, mechanism: str) -> None:
    tls = f"{tls_type(mbsync)} IMAPS\nCertificateFile {server.ca}\nSystemCertificates no"
    sync = configured(server, mbsync, tmp_path, tls, mechanism)
    with server.wire() as wire:
        fill(wire, range(9))
        sync.run()
        same(sync, wire)
