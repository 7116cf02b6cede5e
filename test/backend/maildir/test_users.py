"""The users file: what a line may be, how changes are seen, how it is changed."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymap.backend.api import User
from pymap.backend.errors import CannotDo, NoPermission, Unavailable
from pymap.backend.maildir import users as module
from pymap.backend.maildir.users import Entry, UsersFile

if TYPE_CHECKING:
    from .conftest import SmallDisk

Make = Callable[..., UsersFile]


@pytest.fixture(params=["just changed", "long settled"])
def make(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A users file of that content, read. A file that has just been changed is read each time;
    one that settled long ago is not unless `stat` shows a change."""
    if request.param == "long settled":
        monkeypatch.setattr(module, "_SETTLED_NS", -1)

    def made(content: str | bytes, base_dir: Path | None = None) -> UsersFile:
        path = tmp_path / "users"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        users = UsersFile(path, base_dir)
        users.load()
        return users

    return made


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]


# -- lines --


def test_path_is_the_name_or_relative_or_absolute(make: Make, tmp_path: Path) -> None:
    users = make("alice::one\nbob:mail/b:two\ncarol:/srv/../mail:three\nd.e@example.org::four\n")
    assert users.entry("alice") == Entry("alice", tmp_path / "alice", "one")
    assert users.entry("bob") == Entry("bob", tmp_path / "mail/b", "two")
    assert users.entry("carol") == Entry("carol", Path("/srv/../mail"), "three")
    assert users.entry("d.e@example.org") == Entry(
        "d.e@example.org", tmp_path / "d.e@example.org", "four"
    )
    for name in ("", "Alice", "alice ", "dave", "alice:", "\n", "\0", "\ud800"):
        assert users.entry(name) is None


def test_base_directory_may_be_another(make: Make, tmp_path: Path) -> None:
    users = make("alice::one\nbob:x/../b:two\n", tmp_path / "not there yet")
    assert users.entry("alice") == Entry("alice", tmp_path / "not there yet/alice", "one")
    assert users.entry("bob") == Entry("bob", tmp_path / "not there yet/b", "two")


@pytest.mark.parametrize(
    "password",
    [
        "a:b",
        ":",
        "::",
        " x ",
        "#",
        "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
        "päss",
        "\x85",
        "\u2028",
        "\t",
        "a\rb",
    ],
)
def test_password_is_the_rest_of_the_line(make: Make, password: str) -> None:
    entry = make(f"alice::{password}\n").entry("alice")
    assert entry is not None
    assert entry.password == password


def test_comments_blank_lines_byte_order_mark_and_crlf(make: Make) -> None:
    users = make(b"\xef\xbb\xbfalice::one\r\n\r\n  \t\r\n# bob::no\r\n#\r\nbob::two")
    found = [users.entry(name) for name in ("alice", "bob", "# bob", "\ufeffalice")]
    assert [entry and entry.password for entry in found] == ["one", "two", None, None]
    assert make("").entry("alice") is None


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("alice", "expected user:mailbox path:password"),
        ("alice:secret", "expected user:mailbox path:password"),
        ("::secret", "expected user:mailbox path:password"),
        (" # comment", "expected user:mailbox path:password"),
        ("alice::", "the password is empty"),
        ("alice:mail:", "the password is empty"),
        ("first::secret", "the same user as in line 2"),
        ("alice::sec\0ret", "NUL"),
        (b"alice::\xff", "not UTF-8"),
        ("..::secret", "needs an absolute mailbox path"),
        (".::secret", "needs an absolute mailbox path"),
        ("/x::secret", "needs an absolute mailbox path"),
        ("a/b::secret", "needs an absolute mailbox path"),
        ("a/b:mail/ab:secret", "needs an absolute mailbox path"),
        ("..:mail:secret", "needs an absolute mailbox path"),
        ("alice:..:secret", "not below the base directory"),
        ("alice:.:secret", "not below the base directory"),
        ("alice:mail/..:secret", "not below the base directory"),
        ("alice:mail/../../x:secret", "not below the base directory"),
        ("alice:link/x:secret", "not below the base directory"),
        ("alice:link:secret", "not below the base directory"),
        ("link::secret", "not below the base directory"),
    ],
)
def test_bad_line_is_named_with_its_number(
    make: Make, tmp_path: Path, line: str | bytes, reason: str
) -> None:
    (tmp_path / "link").symlink_to("/")
    raw = line.encode() if isinstance(line, str) else line
    for end in (b"\n", b"\r\n", b""):
        with pytest.raises(ValueError) as raised:
            make(b"# a comment\nfirst::secret\n" + raw + end)
        text = str(raised.value)
        assert text.startswith(f"{tmp_path}/users, line 3: ")
        assert reason in text
        assert "secret" not in text


def test_names_that_lead_elsewhere_may_have_an_absolute_path(make: Make) -> None:
    users = make("..:/srv/a:one\na/b:/srv/b:two\n")
    assert users.entry("..") == Entry("..", Path("/srv/a"), "one")
    assert users.entry("a/b") == Entry("a/b", Path("/srv/b"), "two")


def test_link_that_stays_below_is_followed(make: Make, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    entry = make("alice:link/a:x\n").entry("alice")
    assert entry is not None
    assert entry.directory == tmp_path / "real/a"


def test_base_directory_may_be_a_link(make: Make, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    entry = make("alice::x\n", tmp_path / "link").entry("alice")
    assert entry is not None
    assert entry.directory == tmp_path / "real/alice"


def test_link_made_later_is_not_followed_out(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    users = make("alice:mail/a:x\n")
    (tmp_path / "mail").symlink_to("/tmp")
    assert users.entry("alice") is None
    assert errors(caplog) == [
        f"{tmp_path}/users, line 1: the mailbox path is not below the base directory"
    ]


@given(
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.text(st.characters(codec="utf-8"), max_size=20),
)
def test_nothing_relative_leads_outside(name: str, path: str) -> None:
    base = Path("/srv/mail")  # which need not exist
    users = UsersFile(base / "users")
    try:
        lines = users._parse(f"{name}:{path.lstrip('/')}:x".encode())
        found = [users._directory(line) for line in lines.values()]
    except ValueError:
        return
    assert all(base in directory.parents for directory in found)


# -- changes that others make --


def test_changes_are_seen_at_once(make: Make) -> None:
    """Each of them: as many as fit into one tick of the file system's clock, of the same size."""
    users = make("alice::000\n")
    for n in range(300):
        users.path.write_text(f"alice::{n:03}\n")
        entry = users.entry("alice")
        assert entry is not None
        if module._SETTLED_NS > 0:
            assert entry.password == f"{n:03}"
    new = users.path.with_name("new")
    new.write_text("bob::b\n")
    new.rename(users.path)
    assert users.entry("alice") is None
    assert users.entry("bob") is not None


def test_bad_line_keeps_the_old_users_and_is_told_once(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    users = make("alice::one\n")
    users.path.write_text("alice::two\nbob:secret\n")
    for _ in range(3):
        entry = users.entry("alice")
        assert entry is not None
        assert entry.password == "one"
        assert users.entry("bob") is None
    (told,) = errors(caplog)
    assert f"{users.path}, line 2: expected" in told
    assert "secret" not in caplog.text
    with pytest.raises(ValueError, match="line 2"):
        users.load()
    users.path.write_text("alice::three\n\nbob:secret\n")
    for _ in range(3):
        assert users.entry("bob") is None
    assert ["line 2" in line for line in errors(caplog)] == [True, False]
    users.path.write_text("alice::three\nbob::x\n")
    assert users.entry("alice") == Entry("alice", users.path.parent / "alice", "three")
    users.path.write_text("alice::three\n\nbob:secret\n")  # the same again
    assert users.entry("bob") is not None
    assert len(errors(caplog)) == 3


def test_file_that_vanishes_keeps_the_old_users_and_is_told_once(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    users = make("alice::one\n")
    for _ in range(2):
        aside = users.path.with_name("aside")
        users.path.rename(aside)
        caplog.clear()
        for _ in range(3):
            assert users.entry("alice") is not None
        (told,) = errors(caplog)
        assert str(users.path) in told
        with pytest.raises(FileNotFoundError):
            users.load()
        aside.rename(users.path)
        assert users.entry("alice") is not None
    users.path.unlink()
    users.path.mkdir()
    assert users.entry("alice") is not None
    users.path.rmdir()
    users.path.write_text("bob::x\n")
    assert users.entry("alice") is None


def test_without_load_the_users_come_once_the_file_is_good(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    users = UsersFile(tmp_path / "users")
    assert users.entry("alice") is None
    users.path.write_text("alice\n")
    assert users.entry("alice") is None
    assert len(errors(caplog)) == 2
    users.path.write_text("alice::x\n")
    assert users.entry("alice") is not None


async def test_user_store(make: Make) -> None:
    users = make("alice:mail:{PLAIN}x:y\n")
    assert await users.get("alice") == User("alice", "{PLAIN}x:y")
    assert await users.get("bob") is None


async def test_names_and_schemes(make: Make) -> None:
    users = make("# c\nalice:mail:{ssha.hex}ab\nbob::x\ncarol::{SHA}y\ndave::{not a scheme}\n")
    assert [name async for name in users.names()] == ["alice", "bob", "carol", "dave"]
    assert users.schemes() == {"SSHA", "PLAIN", "SHA"}
    users.path.write_text("bob::{SHA256}x\n")
    assert [name async for name in users.names()] == ["bob"]
    assert users.schemes() == {"SHA256"}
    users.path.write_text("bob::{SHA256}x\nbad\n")
    assert [name async for name in users.names()] == ["bob"]
    assert users.schemes() == {"SHA256"}


async def test_schemes_wait_for_no_disk_and_follow_it(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asking for them begins a look at the file, whose result the next one hears."""
    monkeypatch.setattr(module, "_LOOK_S", 1000)
    users = make("bob::x\n")
    users.path.write_text("bob::{SHA}x\n")
    with users._lock:  # as if the disk did not answer
        assert users.schemes() == {"PLAIN"}
        assert users.schemes() == {"PLAIN"}
    await asyncio.get_running_loop().shutdown_default_executor()  # it has been looked at
    assert users.schemes() == {"SHA"}


async def test_roles_are_refused(make: Make) -> None:
    users = make("alice::x\n")
    for name in ("alice", "bob"):
        with pytest.raises(CannotDo):
            await users.put(User(name, "y", frozenset(("master",))))
    assert users.path.read_text() == "alice::x\n"


# -- changes of ours --


async def test_put_and_delete_keep_all_the_rest(make: Make) -> None:
    users = make("# users\nalice:mail/a:one\n\n#bob::no\ncarol:/srv/c:two\n")
    await users.put(User("carol", "{SHA}x:y="))
    await users.put(User("bob", "three"))
    await users.put(User("alice", "one"))
    assert users.path.read_text() == (
        "# users\nalice:mail/a:one\n\n#bob::no\ncarol:/srv/c:{SHA}x:y=\nbob::three\n"
    )
    assert await users.get("carol") == User("carol", "{SHA}x:y=")
    assert await users.get("bob") == User("bob", "three")
    await users.delete("alice")
    await users.delete("alice")
    await users.delete("nobody\nat all:")
    assert users.path.read_text() == "# users\n\n#bob::no\ncarol:/srv/c:{SHA}x:y=\nbob::three\n"
    assert await users.get("alice") is None
    assert [path.name for path in users.path.parent.iterdir()] == ["users"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b"bob::new\n"),
        (b"a::x", b"a::x\nbob::new\n"),
        (b"a::x\r\nb::y", b"a::x\r\nb::y\r\nbob::new\r\n"),
        (b"a::x\r\nbob:m:y\r\n", b"a::x\r\nbob:m:new\r\n"),
        (b"\xef\xbb\xbfbob:m:y\r\na::x", b"\xef\xbb\xbfbob:m:new\r\na::x"),
        (b"\xef\xbb\xbf", b"\xef\xbb\xbfbob::new\n"),
        (b"a::x\nbob:m:y", b"a::x\nbob:m:new"),
        (b"# end", b"# end\nbob::new\n"),
    ],
)
async def test_put_writes_as_the_file_is_written(make: Make, before: bytes, after: bytes) -> None:
    users = make(before)
    await users.put(User("bob", "new"))
    assert users.path.read_bytes() == after
    assert await users.get("bob") == User("bob", "new")


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("", "x"), ("a:b", "x"), ("a\nb", "x"), ("#a", "x"), ("\ufeffa", "x"), ("a\0", "x"),
        ("..", "x"), (".", "x"), ("a/b", "x"), ("/a", "x"), ("link", "x"), ("\ud800", "x"),
        ("bob", ""), ("bob", "a\nb"), ("bob", "a\r"), ("bob", "a\0b"), ("bob", "\ud800"),
        ("bob", "x\neve:/:x"), ("bob\neve", "x"), ("alice", "x\neve:/:x"), ("alice", ""),
    ],
)  # fmt: skip
async def test_what_a_line_cannot_hold_is_refused(
    make: Make, tmp_path: Path, name: str, password: str
) -> None:
    (tmp_path / "link").symlink_to("/")
    users = make("alice::x\n")
    with pytest.raises(CannotDo):
        await users.put(User(name, password))
    assert users.path.read_text() == "alice::x\n"


WORDS = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    [":", "#", "\r", "..", "a/b", "\ufeff"]
)


@given(WORDS, WORDS, st.sampled_from(["", "\ufeff", "# c\r\nx::y\r\n", "x::y", "\n\nx:m:y\n"]))
def test_what_is_put_is_found_and_nothing_else_changes(
    name: str, password: str, before: str
) -> None:
    users = UsersFile(Path("/srv/mail/users"))
    old = users._parse(before.encode())
    try:
        after = users._changed(before.encode(), name, password)
    except CannotDo:
        return
    new = users._parse(after)
    assert new[name].password == password
    assert new[name].path == (old[name].path if name in old else "")
    assert {k: v for k, v in new.items() if k != name} == {
        k: v for k, v in old.items() if k != name
    }
    if name not in old:
        assert users._parse(users._changed(after, name, None)) == old


async def test_file_with_a_bad_line_is_not_rewritten(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    users = make("alice::one\n")
    users.path.write_text("alice::one\nbob:secret\n")
    for change in (users.put(User("alice", "two")), users.delete("alice")):
        with pytest.raises(Unavailable):
            await change
    assert users.path.read_text() == "alice::one\nbob:secret\n"
    assert "line 2" in errors(caplog)[0]
    assert "secret" not in caplog.text


async def test_file_that_is_gone_is_not_made_anew(make: Make) -> None:
    """It would hold one user, and the others would be gone."""
    users = make("alice::one\n")
    users.path.unlink()
    with pytest.raises(Unavailable):
        await users.put(User("bob", "x"))
    assert not users.path.exists()


async def test_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/users").write_text("alice::one\n")
    link = tmp_path / "users"
    link.symlink_to("etc/users")
    users = UsersFile(link)
    await users.put(User("alice", "two"))
    assert link.is_symlink()
    assert (tmp_path / "etc/users").read_text() == "alice::two\n"


async def test_what_a_killed_writer_left_is_no_hindrance(make: Make, tmp_path: Path) -> None:
    users = make("alice::one\n")
    (tmp_path / ".users.new").symlink_to(tmp_path / "elsewhere")
    await users.put(User("alice", "two"))
    assert users.path.read_text() == "alice::two\n"
    assert os.listdir(tmp_path) == ["users"]


PUTS = """
import asyncio, sys
from pathlib import Path
from pymap.backend.api import User
from pymap.backend.maildir.users import UsersFile

async def main(path, prefix):
    users = UsersFile(Path(path))
    for n in range(40):
        await users.put(User(f"{prefix}{n}", "x"))
        await users.put(User("both", prefix))

asyncio.run(main(*sys.argv[1:]))
"""


async def test_two_processes_do_not_undo_each_other(make: Make) -> None:
    users = make("both::x\ngone::x\n")
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", PUTS, str(users.path), prefix)
        for prefix in ("a", "b")
    ]
    await asyncio.gather(*(users.put(User(f"c{n}", "x")) for n in range(40)), users.delete("gone"))
    assert [await process.wait() for process in processes] == [0, 0]
    names = [line.partition(":")[0] for line in users.path.read_text().splitlines()]
    assert sorted(names) == sorted(["both", *(f"{p}{n}" for p in "abc" for n in range(40))])


# -- permissions and disks --


@pytest.fixture
def nobodys(tmp_path: Path) -> Iterator[Path]:
    """A directory of a user whom permissions bind; the test runs as that user."""
    base = Path(tempfile.mkdtemp(prefix="pymap-users-"))  # nobody else may enter pytest's
    if os.geteuid():
        yield base
    else:
        os.chown(base, 65534, 65534)
        os.seteuid(65534)
        try:
            yield base
        finally:
            os.seteuid(0)
    base.chmod(0o700)
    shutil.rmtree(base)


@pytest.mark.parametrize(("file_mode", "directory_mode"), [(0o400, 0o700), (0o600, 0o500)])
async def test_what_may_not_be_written_stays(
    nobodys: Path, file_mode: int, directory_mode: int
) -> None:
    path = nobodys / "users"
    path.write_text("alice::one\n")
    os.chmod(path, file_mode)
    os.chmod(nobodys, directory_mode)
    users = UsersFile(path)
    for change in (users.put(User("bob", "two")), users.delete("alice")):
        with pytest.raises(NoPermission) as raised:
            await change
        assert str(nobodys) not in str(raised.value)
    assert path.read_text() == "alice::one\n"
    assert os.listdir(nobodys) == ["users"]


async def test_file_that_may_not_be_read_any_more(
    nobodys: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = nobodys / "users"
    path.write_text("alice::one\n")
    users = UsersFile(path)
    users.load()
    path.chmod(0)
    assert [await users.get("alice") for _ in range(3)] == [User("alice", "one")] * 3
    assert len(errors(caplog)) == 1
    with pytest.raises(PermissionError):
        users.load()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
async def test_mode_and_owner_stay(make: Make) -> None:
    users = make("alice::one\n")
    users.path.chmod(0o640)
    os.chown(users.path, 1234, 5678)
    await users.put(User("alice", "two"))
    status = users.path.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (1234, 5678, 0o640)


async def test_mode_does_not_follow_the_umask(make: Make) -> None:
    users = make("alice::one\n")
    users.path.chmod(0o666)
    await users.put(User("alice", "two"))
    assert users.path.stat().st_mode & 0o7777 == 0o666
    users.path.chmod(0o600)
    await users.put(User("alice", "three"))
    assert users.path.stat().st_mode & 0o7777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
async def test_another_group_is_not_given_what_was_meant_for_one(nobodys: Path) -> None:
    path = nobodys / "users"
    path.write_text("alice::one\n")
    path.chmod(0o664)
    os.seteuid(0)
    os.chown(path, 65534, 5678)
    os.seteuid(65534)
    await UsersFile(path).put(User("alice", "two"))
    assert path.read_text() == "alice::two\n"
    assert path.stat().st_mode & 0o7777 == 0o604


async def test_full_disk_leaves_the_old_file(
    small_disk: SmallDisk, caplog: pytest.LogCaptureFixture
) -> None:
    path = small_disk.path / "users"
    path.write_text("alice::one\n")
    users = UsersFile(path)
    small_disk.fill()
    with pytest.raises(Unavailable):
        await users.put(User("alice", "two"))
    assert path.read_text() == "alice::one\n"
    assert sorted(os.listdir(small_disk.path)) == ["filler", "users"]
    assert "two" not in caplog.text
    small_disk.free()
    await users.put(User("alice", "two"))
    assert await users.get("alice") == User("alice", "two")


def test_read_only_disk(small_disk: SmallDisk) -> None:
    path = small_disk.path / "users"
    path.write_text("alice::one\n")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk.path)], check=True)
    users = UsersFile(path)
    with pytest.raises(NoPermission):
        asyncio.run(users.put(User("alice", "two")))
    assert asyncio.run(users.get("alice")) == User("alice", "one")
