"""Full disks, disks and files that may not be written or read, too few descriptors: a clear NO.

What is there can be read all the same, nothing is lost, and with room it all goes on.
"""

from __future__ import annotations

import pytest
from server.client import becomes
from server.process import Process

from .client import Mail, code, message_id
from .conftest import Connect, NewPlace
from .disk import full, modes, read_only, small_disk, tree_read_only
from .known import Known, fill, known, known_all, works
from .place import Place, stop

WRITES = [
    b"APPEND INBOX {3+}\r\nabc",
    b"APPEND INBOX {3+}\r\nabc {4+}\r\nabcd",
    b"STORE 1 +FLAGS (\\Answered fresh)",
    b"STORE 2:4 -FLAGS (\\Seen \\Flagged)",
    b"COPY 1:2 box",
    b"MOVE 1 box",
    b"CREATE fresh",
    b"RENAME box boxes",
    b"DELETE box",
    b"SUBSCRIBE box",
    b"UNSUBSCRIBE INBOX",
]


async def prepared(place: Place, connect: Connect) -> tuple[Process, Mail]:
    server = await place.pymap()
    client = await connect(server)
    await client.run(b"CREATE box")
    await client.run(b"SUBSCRIBE INBOX")
    await fill(client, "box")
    await fill(client, "INBOX")
    return server, client


async def refuses(client: Mail, codes: set[bytes], lines: list[bytes], all_: bool) -> None:
    """NO with one of these codes; unless `all_`, what needs no room may be OK."""
    for line in lines:
        answer = await client.command(line)
        assert answer.condition in ((b"NO",) if all_ else (b"OK", b"NO")), (line, answer.tagged)
        if answer.condition == b"NO":
            assert code(answer)[0] in codes, (line, answer.tagged)


async def test_a_full_disk(new_place: NewPlace, connect: Connect) -> None:
    """NO [OVERQUOTA], what is there can be read and removed, and with room it all goes on."""
    place = new_place()
    with small_disk(place.mail):
        server, client = await prepared(place, connect)
        was = await known(client, "INBOX")
        for round_ in range(2):
            with full(place.mail):
                large = b"x" * 200_000
                for line in (b"APPEND INBOX {200000+}\r\n" + large,
                             b"APPEND INBOX {3+}\r\nabc {200000+}\r\n" + large):  # fmt: skip
                    answer = await client.command(line)
                    assert answer.condition == b"NO"
                    assert code(answer)[0] == b"OVERQUOTA", answer.tagged
                now = await known(await connect(server), "INBOX")
                assert now.octets() == was.octets()
                assert now.uids() == was.uids()
                if round_ == 0:
                    deliver_in_no_room(place)
                    await known(await connect(server), "INBOX")
                await client.select("INBOX")
                writes = [*WRITES[:5], b"CREATE fresh", b"SUBSCRIBE box"]
                await refuses(client, {b"OVERQUOTA"}, writes, all_=False)
                # To make room is what must be possible.
                await client.ok(b"STORE 1 +FLAGS.SILENT (\\Deleted)")
                await client.ok(b"EXPUNGE")
            await works(client, "INBOX", "box")
            await client.command(b"DELETE fresh")
            was = await known(client, "INBOX")
        assert not place.left_in_tmp()
        await client.close()
        await stop(server)
        server = await place.pymap()
        now = await known(await connect(server), "INBOX")
        assert (now.uids(), now.octets()) == (was.uids(), was.octets())
        await stop(server)


def deliver_in_no_room(place: Place) -> None:
    """An empty file is all that a delivery agent gets onto a full disk."""
    path = place.maildir() / "new" / "1700000000.empty.there"
    path.touch()
    place.own(path)


async def test_a_disk_that_was_full_at_the_start(new_place: NewPlace, connect: Connect) -> None:
    """Nothing of ours is there and nothing can be written: mail can be read all the same."""
    place = new_place()
    with small_disk(place.mail):
        server, client = await prepared(place, connect)
        was = await known(client, "INBOX")
        await client.close()
        await stop(server)
        for path in place.mail.rglob("pymap-*"):
            path.unlink()
        with full(place.mail):
            server = await place.pymap()
            client = await connect(server)
            now = await known(client, "INBOX")
            assert now.uids() == was.uids()
            assert now.octets() == was.octets()
            assert now.flags() == was.flags()
            assert now.modseq >= was.modseq
        await works(client, "INBOX", "box")
        await client.close()
        await stop(server)


async def test_files_that_may_not_grow(new_place: NewPlace, connect: Connect) -> None:
    """As a full disk, where none can be mounted: EFBIG in the midst of a write."""
    place = new_place()
    server, client = await prepared(place, connect)
    was = await known(client, "INBOX")
    await client.close()
    await stop(server)
    with place.limited("ulimit -S -f 128"):  # of 512 octets
        server = await place.pymap()
    client = await connect(server, "INBOX")
    large = b"x" * 200_000
    for line in (b"APPEND INBOX {200000+}\r\n" + large,
                 b"APPEND INBOX {3+}\r\nabc {200000+}\r\n" + large):  # fmt: skip
        answer = await client.command(line)
        assert answer.condition == b"NO"
        assert code(answer)[0] in (b"OVERQUOTA", b"TOOBIG", b"LIMIT"), answer.tagged
    now = await known(await connect(server), "INBOX")
    assert (now.uids(), now.octets()) == (was.uids(), was.octets())
    await works(client, "INBOX", "box")
    await client.close()
    await stop(server)
    assert not place.left_in_tmp()


async def test_too_many_open_files(new_place: NewPlace, connect: Connect) -> None:
    """All descriptors are taken by connections: NO, and when some are free again all works."""
    place = new_place()
    server, client = await prepared(place, connect)
    was = await known(client, "INBOX")
    await client.close()
    await stop(server)
    with place.limited("ulimit -n 50"):
        server = await place.pymap()
    client = await connect(server, "INBOX")
    others = []
    while server.descriptors < 50:
        others.append(await connect(server))
    lines = [*WRITES, b"SELECT box", b"SELECT INBOX", b"UID FETCH 1:* BODY.PEEK[]", b"NOOP"]
    for line in lines:
        answer = await client.command(line)
        assert b"SERVERBUG" not in answer.tagged, (line, answer.tagged)
        if answer.condition == b"NO":
            assert code(answer)[0] in (b"UNAVAILABLE", b"LIMIT", b"INUSE"), (line, answer.tagged)
    for other in others:
        await other.close()
    assert await becomes(lambda: server.descriptors < 45)
    client = await connect(server)
    octets = await known_all(client, "INBOX")
    assert set(octets) >= {o for n, o in was.octets().items() if n not in (b"m1", b"m2")}
    await works(client, "INBOX")


# -- permissions --


async def _read_only_tree(
    place: Place, connect: Connect, server: Process, was: Known, codes: set[bytes]
) -> None:
    client = await connect(server)
    now = await known(client, "INBOX")
    assert (now.uid_validity, now.uid_next) == (was.uid_validity, was.uid_next)
    assert (now.uids(), now.flags(), now.octets()) == (was.uids(), was.flags(), was.octets())
    await refuses(client, codes, [*WRITES, b"EXPUNGE"], all_=True)
    # Reading sets no flag then, and is no error.
    answer = await client.command(b"FETCH 2 BODY[]")
    assert b"SERVERBUG" not in answer.tagged
    now = await known(client, "INBOX")
    assert (now.uids(), now.flags(), now.octets()) == (was.uids(), was.flags(), was.octets())
    await client.close()


# A disk of which files are open for writing cannot be made read-only.
@pytest.mark.parametrize(
    ("how", "when"),
    [("modes", "while running"), ("modes", "before the start"), ("disk", "before the start")],
)
async def test_a_tree_that_cannot_be_written(
    new_place: NewPlace, connect: Connect, how: str, when: str
) -> None:
    """It can be read; every change is NO [NOPERM] and changes nothing."""
    place = new_place()
    with small_disk(place.mail) if how == "disk" else modes({}):
        server, client = await prepared(place, connect)
        await client.ok(b"STORE 3 +FLAGS.SILENT (\\Deleted)")
        was = await known(client, "INBOX")
        await client.close()
        if when == "before the start":
            await stop(server)
            for path in place.mail.rglob("pymap-*"):
                path.unlink()
        before = sorted(place.mail.rglob("*"))
        cannot = read_only(place.mail) if how == "disk" else modes(tree_read_only(place.mail))
        with cannot:
            if when == "before the start":
                server = await place.pymap()
            await _read_only_tree(place, connect, server, was, {b"NOPERM"})
        assert sorted(place.mail.rglob("*")) == before
        await works(await connect(server), "INBOX", "box")
        await stop(server)


async def test_what_may_not_be_read(new_place: NewPlace, connect: Connect) -> None:
    """One file or folder without permissions: NO [NOPERM] for it, and all else works."""
    place = new_place()
    server, client = await prepared(place, connect)
    was = await known(client, "INBOX")
    await client.ok(b"UNSELECT")
    await client.close()
    inbox = place.maildir()
    targets = [place.file_of(b"<m4>"), inbox / "cur", inbox / "new", place.folder("box")]
    targets += [inbox / "dovecot-uidlist", inbox / "dovecot-keywords"]
    targets += sorted(inbox.glob("pymap-*"))
    for path in targets:
        for restart in (False, True):
            if restart:
                await stop(server)
            with modes({path: 0}):
                if restart:
                    server = await place.pymap()
                client = await connect(server)
                lines = [b"SELECT INBOX", b"UID FETCH 1:* (FLAGS BODY.PEEK[])", b"STORE 1 +FLAGS (x)",
                         b"STATUS INBOX (MESSAGES)", b"SELECT box", b"UID FETCH 1 BODY.PEEK[]",
                         b'LIST "" "*"', b"APPEND INBOX {3+}\r\nabc"]  # fmt: skip
                if path.name.startswith("dovecot-"):
                    lines.pop()  # what it would be worth without them is another question
                for line in lines:
                    answer = await client.command(line)
                    about = (path.name, restart, line, answer.tagged)
                    assert b"SERVERBUG" not in answer.tagged, about
                    if answer.condition == b"NO" and line.split()[0] != b"UID":
                        assert code(answer)[0] in (b"NOPERM", b"UNAVAILABLE"), about
                await client.close()
    client = await connect(server)
    now = await known_with_more(client, "INBOX")
    for name, octets in was.octets().items():
        assert now[name] == octets
    await works(client, "INBOX", "box")


async def known_with_more(client: Mail, box: str) -> dict[bytes, bytes]:
    return {message_id(octets): octets for octets in await known_all(client, box)}
