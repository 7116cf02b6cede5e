"""Files that are damaged, cut, emptied or deleted: what they alone knew is lost, and nothing else.

The random choices are repeated with PYMAP_TEST_SEED.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from server.process import Process

from .client import Refused, by_uid, code, flags, numbers, quoted
from .conftest import Connect, NewPlace
from .deliver import crlf, deliver, mail
from .known import Known, dovecot_agrees, fill, known, known_all, works
from .picture import picture
from .place import SEED, Place, stop

SYSTEM = frozenset({b"\\seen", b"\\flagged", b"\\answered", b"\\draft", b"\\deleted"})


# -- files that are damaged while nobody runs --

Damage = Callable[[Path, Random], None]


def cut(path: Path, random: Random) -> None:
    size = path.stat().st_size
    os.truncate(path, random.randrange(size) if size else 0)


def cut_last_line(path: Path, random: Random) -> None:
    """Half-written: the last octets of the file are missing."""
    os.truncate(path, max(0, path.stat().st_size - random.randint(1, 12)))


def garbage(path: Path, random: Random) -> None:
    path.write_bytes(random.randbytes(max(100, path.stat().st_size)))


def garbage_within(path: Path, random: Random) -> None:
    octets = bytearray(path.read_bytes())
    at = random.randrange(max(1, len(octets)))
    octets[at : at + 16] = random.randbytes(16)
    path.write_bytes(octets)


def garbage_after(path: Path, random: Random) -> None:
    with path.open("ab") as file:
        file.write(random.randbytes(50))


def zeros(path: Path, random: Random) -> None:
    """As some file systems leave it after a power cut."""
    path.write_bytes(bytes(path.stat().st_size))


def zeros_after(path: Path, random: Random) -> None:
    with path.open("ab") as file:
        file.write(bytes(4096))


def empty(path: Path, random: Random) -> None:
    path.write_bytes(b"")


def delete(path: Path, random: Random) -> None:
    path.unlink()


def older(path: Path, random: Random) -> None:
    """What it was like some lines ago, as out of a backup."""
    lines = path.read_bytes().splitlines(True)
    path.write_bytes(b"".join(lines[: max(1, len(lines) // 2)]))


def twice(path: Path, random: Random) -> None:
    lines = path.read_bytes().splitlines(True)
    path.write_bytes(b"".join([*lines, *lines[1:]]))


def bad_numbers(path: Path, random: Random) -> None:
    lines = path.read_bytes().splitlines(True)
    more = [b"99999999999999999999 :x\n", b"0 :y\n", b"-1 :z\n", b"a b c\n"]
    path.write_bytes(b"".join([*lines, *more, b"27 z\n", b"3 \n", b"\n", b"3"]))


ANY: list[Damage] = [
    cut,
    cut,
    cut,
    cut_last_line,
    garbage,
    garbage_within,
    garbage_within,
    garbage_after,
    zeros,
    zeros_after,
    empty,
    delete,
    older,
    twice,
    bad_numbers,
]


async def damaged(
    place: Place, connect: Connect, name: str, damages: list[Damage]
) -> tuple[Process, dict[str, Known], dict[str, str]]:
    """A mailbox for each damage to the files whose names match; the server that is started after.
    Returns what was known of them before, and what was done to each."""
    print(f"PYMAP_TEST_SEED={SEED}")
    server = await place.pymap()
    client = await connect(server)
    done: dict[str, str] = {}
    before: dict[str, Known] = {}
    for n, damage in enumerate(damages):
        box = f"d{n}"
        await client.run(b"CREATE ", quoted(box))
        await fill(client, box)
        before[box] = await known(client, box)
        done[box] = damage.__name__
    await client.close()
    await stop(server)
    found = 0
    for n, damage in enumerate(damages):
        for path in sorted(place.folder(f"d{n}").glob(name)):
            damage(path, Random(f"{SEED} {n}"))
            found += 1
    assert found, f"no {name} in {[p.name for p in place.folder('d0').iterdir()]}"
    return await place.pymap(), before, done


@pytest.mark.parametrize("name", ["pymap-index*", "pymap-log*", "pymap-cache*", "pymap-*"])
async def test_our_own_files_hold_nothing_that_is_lost_with_them(
    new_place: NewPlace, connect: Connect, name: str
) -> None:
    """UIDs, UIDVALIDITY, flags and keywords a-z stay; modseqs never go back."""
    place = new_place()
    server, before, done = await damaged(place, connect, name, ANY)
    client = await connect(server)
    for box, was in before.items():
        about = f"{box}: {name} {done[box]}"
        now = await known(client, box)
        assert now.uid_validity == was.uid_validity, about
        assert now.uids() == was.uids(), about
        assert now.octets() == was.octets(), about
        assert now.flags() == was.flags(), about
        assert now.uid_next == was.uid_next, about
        assert now.modseq >= was.modseq, about
        await client.ok(b"UID STORE 1 +FLAGS.SILENT (\\Answered)")
        later = await client.select(box, b"(CONDSTORE)")
        assert later.modseq > max(was.modseq, now.modseq), about
        await works(client, box)
        rows = await client.everything(b"MODSEQ")
        assert all(int(items[b"MODSEQ"][0]) <= 2**63 - 1 for items in rows.values())
    await client.close()
    await dovecot_agrees(place, connect, server)


async def test_who_resynchronises_after_a_rebuild_misses_nothing(
    new_place: NewPlace, connect: Connect
) -> None:
    """Without its history the server cannot tell what vanished since; then it must tell all."""
    place = new_place()
    server = await place.pymap()
    client = await connect(server)
    await client.ok(b"ENABLE QRESYNC")
    await fill(client, "INBOX")
    was = await known(client, "INBOX")
    mirror = {uid: given for uid, given, _ in was.messages.values()}
    await client.ok(b"UID STORE 1 FLAGS (\\Answered)")
    await client.ok(b"UID STORE 2 +FLAGS.SILENT (\\Deleted)")
    await client.ok(b"UID EXPUNGE 2")
    await client.close()
    await stop(server)
    for path in place.maildir().glob("pymap-*"):
        path.unlink()
    deliver(place.maildir(), mail("new"))
    client = await connect(await place.pymap())
    await client.ok(b"ENABLE QRESYNC")
    since = b"(QRESYNC (%d %d))" % (was.uid_validity, was.modseq)
    selected = await client.select("INBOX", since)
    assert selected.modseq > was.modseq
    for response in selected.untagged:
        if response.startswith(b"* VANISHED (EARLIER) "):
            for uid in numbers(response.split()[3]):
                mirror.pop(uid, None)
    mirror |= {uid: flags(items) for uid, items in by_uid(selected.untagged).items()}
    now = await known(client, "INBOX")
    assert mirror == {uid: given for uid, given, _ in now.messages.values()}
    assert now.uids()[b"new"] == 9


async def test_a_damaged_uidlist_loses_no_message(new_place: NewPlace, connect: Connect) -> None:
    """Where UIDVALIDITY stays, no UID means another message than before."""
    place = new_place()
    server, before, done = await damaged(place, connect, "dovecot-uidlist", ANY)
    client = await connect(server)
    kept = 0
    for box, was in before.items():
        about = f"{box}: {done[box]}"
        now = await known(client, box)
        assert now.octets() == was.octets(), about
        assert now.flags() == was.flags(), about
        assert now.uid_validity >= was.uid_validity, about
        if now.uid_validity == was.uid_validity:
            kept += 1
            for name, uid in now.uids().items():
                assert uid == was.uids()[name] or uid >= was.uid_next, (about, name)
            assert now.uid_next >= was.uid_next, about
            assert now.modseq >= was.modseq, about
        await works(client, box)
    print(f"UIDVALIDITY stayed in {kept} of {len(before)}")
    # What only lost its end, or got something after it, still says what it says.
    for box, was in before.items():
        if done[box] in ("cut_last_line", "garbage_after", "zeros_after", "twice", "bad_numbers"):
            selected = await client.select(box)
            assert selected.uid_validity == was.uid_validity, f"{box}: {done[box]}"
    await client.close()
    await dovecot_agrees(place, connect, server)


async def test_a_damaged_keywords_file_loses_no_message(
    new_place: NewPlace, connect: Connect
) -> None:
    place = new_place()
    server, before, done = await damaged(place, connect, "dovecot-keywords", ANY)
    client = await connect(server)
    for box, was in before.items():
        about = f"{box}: {done[box]}"
        now = await known(client, box)
        assert now.uid_validity == was.uid_validity, about
        assert now.uids() == was.uids(), about
        assert now.octets() == was.octets(), about
        assert now.flags(SYSTEM) == was.flags(SYSTEM), about
        await works(client, box)
    await client.close()
    # Dovecot takes any octets for the name of a keyword.
    but = frozenset(box for box in done if done[box] in ("garbage", "garbage_within"))
    await dovecot_agrees(place, connect, server, but)


async def test_damaged_files_of_the_account(new_place: NewPlace, connect: Connect) -> None:
    """`subscriptions`, `dovecot-uidvalidity` and what else lies at its top."""
    users = tuple(f"user{n}" for n in range(len(ANY)))
    place = new_place(users=users)
    server = await place.pymap()
    before: dict[str, Any] = {}
    for user in users:
        client = await connect(server, user=user)
        for box in ("a", "a/b", "c"):
            await client.run(b"CREATE ", quoted(box))
            await client.run(b"SUBSCRIBE ", quoted(box))
        await client.append("a/b", (crlf(mail("one")), b"k \\Seen"))
        before[user] = await picture(client)
        await client.close()
    await stop(server)
    damaged = 0
    for n, (user, damage) in enumerate(zip(users, ANY, strict=True)):
        top = place.maildir(user)
        names = {"subscriptions", "dovecot-uidvalidity", "dovecot-keywords"}
        for path in sorted(top.iterdir()):
            if path.is_file() and (path.name in names or path.name.startswith("pymap")):
                damage(path, Random(f"{SEED} {n} {path.name}"))
                damaged += 1
        if n % 3 == 2:
            for path in top.glob("dovecot-uidvalidity.*"):
                path.unlink()
    assert damaged > len(users)
    server = await place.pymap()
    for user, damage in zip(users, ANY, strict=True):
        about = f"{user}: {damage.__name__}"
        client = await connect(server, user=user)
        now = await picture(client)
        assert now.boxes == before[user].boxes, about
        assert now.listed == before[user].listed, about
        await client.run(b"CREATE fresh")
        fresh = await client.select("fresh")
        assert fresh.uid_validity > max(b.uid_validity for b in now.boxes.values()), about
        await client.run(b"SUBSCRIBE fresh")
        assert "fresh" in await client.names(b"LSUB"), about
        await client.run(b"RENAME c c2")
        await client.run(b"DELETE fresh")
        await client.close()


# -- damage while a client looks on --


async def test_files_that_are_damaged_under_a_client(new_place: NewPlace, connect: Connect) -> None:
    print(f"PYMAP_TEST_SEED={SEED}")
    place = new_place()
    server = await place.pymap()
    client = await connect(server)
    for n, damage in enumerate((garbage, delete, empty, cut, zeros)):
        for name in (
            "dovecot-uidlist",
            "dovecot-keywords",
            "pymap-index*",
            "pymap-log*",
            "pymap-*",
        ):
            box = f"{damage.__name__}-{name[:9].strip('*')}-{len(name)}"
            await client.run(b"CREATE ", quoted(box))
            await fill(client, box)
            was = await known(client, box)
            for path in place.folder(box).glob(name):
                damage(path, Random(f"{SEED} {n}"))
            for line in (b"NOOP", b"UID STORE 1 +FLAGS (\\Draft)", b"UID FETCH 2 BODY.PEEK[]",
                         b"APPEND %b {3+}\r\nabc" % quoted(box), b"CHECK"):  # fmt: skip
                answer = await client.command(line)
                assert answer.condition in (b"OK", b"NO"), (box, line, answer.tagged)
                assert b"SERVERBUG" not in answer.tagged, (box, line, answer.tagged)
                if answer.condition == b"NO":
                    assert code(answer)[0], (box, line, answer.tagged)
            await client.command(b"UNSELECT")
            try:
                now = await known_all(client, box)
            except Refused as error:
                raise AssertionError(f"{box}: {error}\n{server.output[-3000:]}") from error
            assert set(was.octets().values()) <= set(now), box
            await works(client, box)
