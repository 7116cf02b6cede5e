"""A tree goes from Dovecot to pymap and back, and no client can tell who serves it.

Everything is compared as clients see it: LIST, LSUB, STATUS, UIDVALIDITY, UIDNEXT, UIDs, flags,
INTERNALDATE as an instant, RFC822.SIZE and the octets.
"""

from __future__ import annotations

import pytest

from .client import BODY, BODY_ITEM, Mail, flags, message_id
from .conftest import Connect, NewPlace
from .deliver import appendable, crlf, deliver, mail, shapes
from .dovecot import Dovecot
from .picture import Picture, picture
from .place import Place, Server, stop
from .tree import KEYWORDS, SYSTEM, body, change, fill, fresh, names, same

LAYOUTS = pytest.mark.parametrize("layout", ["++", "fs"])


@LAYOUTS
async def test_a_tree_goes_to_pymap_and_back_and_again(
    new_place: NewPlace, connect: Connect, layout: str
) -> None:
    place = new_place(layout)
    dovecot = await place.dovecot()
    await fill(dovecot, connect, place)
    shown = await fresh(dovecot, connect)
    _is_as_filled(shown, layout)
    await stop(dovecot)

    # A level with others below it, the lowest level, and what the other server made.
    delete = ["Work/2024", "one-down/a/b", "Neu two/ünten/deep", "1/2/3/4/5/6/7/8/9"]
    leave = ["Work", "Grüße/日本/メール", "two für alle/below", "three für alle/below"]
    for here, back in (("one", "two"), ("three", "four")):
        pymap = await place.pymap()
        await same(pymap, connect, shown)
        await change(pymap, connect, place, here, leave.pop(0), delete.pop(0))
        shown = await fresh(pymap, connect)
        await stop(pymap)

        dovecot = await place.dovecot()
        await same(dovecot, connect, shown)
        await change(dovecot, connect, place, back, leave.pop(0), delete.pop(0))
        shown = await fresh(dovecot, connect)
        await stop(dovecot)
        assert not dovecot.complaints()

    pymap = await place.pymap()
    await same(pymap, connect, shown)


def _is_as_filled(shown: Picture, layout: str) -> None:
    """That there is something to compare."""
    assert set(names(layout)) < set(shown.listed)
    assert shown.listed["Only"] >= {b"\\noselect"}
    assert len(shown.boxes["INBOX"].messages) == len(shapes())
    work = shown.boxes["Work"].messages
    seen = frozenset().union(*(message.flags for message in work.values()))
    assert seen >= {*KEYWORDS, *(flag.lower() for flag in SYSTEM)}


@LAYOUTS
async def test_mail_that_only_was_delivered(
    new_place: NewPlace, connect: Connect, layout: str
) -> None:
    """pymap gives the UIDs, Dovecot finds them; then new mail is given them the other way."""
    place = new_place(layout)
    await stop(await _made(place, connect))
    for n, octets in enumerate(shapes().values()):
        deliver(place.maildir(), octets, 1_600_000_000 + n)
        # As programs leave them that moved it to cur: with flags, some with sizes.
        path = deliver(place.folder("box"), octets, 1_600_000_000 + n)
        size = f",S={len(octets)}" if n % 2 else ""
        path.rename(
            path.parent.parent / "cur" / f"{path.name}{size}:2,{['', 'S', 'FS', 'T'][n % 4]}"
        )
    pymap = await place.pymap()
    client = await connect(pymap)
    shown = await picture(client)
    assert shown.boxes["INBOX"].uid_next == len(shapes()) + 1
    wanted = {(len(crlf(octets)), 1_600_000_000 + n) for n, octets in enumerate(shapes().values())}
    for name in ("INBOX", "box"):
        rows = shown.boxes[name].messages.values()
        assert {(row.size, row.instant) for row in rows} == wanted
    await client.select("INBOX")
    bodies = [items[BODY_ITEM] for items in (await client.everything(BODY)).values()]
    assert sorted(bodies) == sorted(map(crlf, shapes().values()))
    # Without PEEK, as clients do: all are \Seen.
    await client.ok(b"FETCH 1:* BODY[TEXT]")
    await client.close()
    shown = await fresh(pymap, connect)
    assert all(b"\\seen" in row.flags for row in shown.boxes["INBOX"].messages.values())
    await stop(pymap)
    dovecot = await place.dovecot()
    await same(dovecot, connect, shown)
    deliver(place.maildir(), mail("more"))
    shown = await fresh(dovecot, connect)
    assert shown.boxes["INBOX"].uid_next == len(shapes()) + 2
    await stop(dovecot)
    assert not dovecot.complaints()
    await same(await place.pymap(), connect, shown)


async def _made(place: Place, connect: Connect) -> Dovecot:
    dovecot = await place.dovecot()
    client = await connect(dovecot)
    await client.run(b"CREATE box")
    return dovecot


async def test_pymap_makes_a_tree_that_dovecot_takes(new_place: NewPlace, connect: Connect) -> None:
    """The other way round: the account was never Dovecot's."""
    for layout in ("++", "fs"):
        place = new_place(layout)
        pymap = await place.pymap()
        await fill(pymap, connect, place)
        shown = await fresh(pymap, connect)
        _is_as_filled(shown, layout)
        await stop(pymap)
        dovecot = await place.dovecot()
        await same(dovecot, connect, shown)
        await change(dovecot, connect, place, "one", "Work", "Work/2024")
        shown = await fresh(dovecot, connect)
        await stop(dovecot)
        assert not dovecot.complaints()
        await same(await place.pymap(), connect, shown)


async def test_more_keywords_than_maildir_has_letters(
    new_place: NewPlace, connect: Connect
) -> None:
    """26 are in the names of files and known to both; of the others each keeps its own."""
    place = new_place()
    server: Server = await place.dovecot()
    client = await connect(server)
    for n in range(30):
        await client.append("INBOX", (body(f"m{n}"), b"d%d \\Flagged" % n))
    await client.close()
    await stop(server)
    shared = {b"d%d" % n for n in range(26)}

    server = await place.pymap()
    client = await connect(server, "INBOX")
    rows = await client.everything()
    assert {uid: flags(items) & (shared | {b"\\flagged"}) for uid, items in rows.items()} == {
        n + 1: frozenset({b"\\flagged"} | ({b"d%d" % n} & shared)) for n in range(30)
    }
    for n in range(10):  # with names that Dovecot does not know
        await client.ok(b"UID STORE %d +FLAGS (p%d \\Seen)" % (n + 1, n))
        await client.append("INBOX", (body(f"p{n}"), b"p%d d%d" % (n, n)))
    mine = {uid: flags(items) for uid, items in (await client.everything()).items()}
    assert mine[1] == {b"d0", b"p0", b"\\seen", b"\\flagged"}
    assert mine[31] == {b"d0", b"p0"}
    await client.close()
    await stop(server)

    server = await place.dovecot()
    client = await connect(server, "INBOX")
    theirs = {uid: flags(items) for uid, items in (await client.everything()).items()}
    for uid, seen in theirs.items():
        assert seen & shared == mine[uid] & shared
        assert (b"\\seen" in seen) == (b"\\seen" in mine[uid])
    assert [b"d%d" % n in theirs[n + 1] for n in range(26, 30)] == [True] * 4
    await client.ok(b"UID STORE 1:15 +FLAGS (\\Answered)")  # the files get other names
    await client.ok(b"UID STORE 2,32 -FLAGS (d1)")
    await client.close()
    await stop(server)

    client = await connect(await place.pymap(), "INBOX")
    now = {uid: flags(items) for uid, items in (await client.everything()).items()}
    for uid, seen in now.items():
        wanted = (mine[uid] | ({b"\\answered"} if uid <= 15 else set())) - (
            {b"d1"} if uid in (2, 32) else set()
        )
        assert seen == wanted, uid


async def test_octets_are_those_that_were_appended(new_place: NewPlace, connect: Connect) -> None:
    """With lone CR, without an end: what comes back is what RFC822.SIZE says, on every path."""
    place = new_place()
    pymap = await place.pymap()
    client = await connect(pymap)
    await client.run(b"CREATE other")
    given = {}
    for name, octets in appendable().items():
        added = await client.append("INBOX", (crlf(octets), b""))
        given[added.uids[0]] = (name, octets)
    await client.select("INBOX")
    first = await client.everything(BODY, b"RFC822.SIZE", b"BINARY.SIZE[]")
    for uid, (name, octets) in given.items():
        assert first[uid][BODY_ITEM] == crlf(octets), name
        assert int(first[uid][b"RFC822.SIZE"]) == len(crlf(octets)), name
        parts = (await client.fetch(b"%d" % uid, b"BODY.PEEK[HEADER]", b"BODY.PEEK[TEXT]"))[uid]
        assert parts[b"BODY[HEADER]"] + parts[b"BODY[TEXT]"] == crlf(octets), name
        partial = (await client.fetch(b"%d" % uid, b"BODY.PEEK[]<100.1000>"))[uid]
        assert partial[b"BODY[]<100>"] == crlf(octets)[100:1100], name
    copied = await client.copy(sorted(given), "other")
    await client.select("other")
    rows = await client.everything(BODY, b"RFC822.SIZE")
    for source, target in zip(copied.source, copied.target, strict=True):
        assert rows[target][BODY_ITEM] == first[source][BODY_ITEM]
        assert rows[target][b"RFC822.SIZE"] == first[source][b"RFC822.SIZE"]
        assert message_id(rows[target][BODY_ITEM]) == message_id(crlf(given[source][1]))
    await client.close()
    shown = await fresh(pymap, connect)
    await stop(pymap)
    await same(await place.dovecot(), connect, shown)


def delete_index(place: Place) -> None:
    for path in place.maildir().glob("pymap-*"):
        path.unlink()


async def test_bare_lf_that_was_appended_comes_back_as_it_was(
    new_place: NewPlace, connect: Connect
) -> None:
    """Octets in are octets out, also without the index. Dovecot shows CRLF, as it does of all files,
    and finds the sizes in their names right."""
    place = new_place()
    pymap = await place.pymap()
    client = await connect(pymap)
    given = [mail("lf"), crlf(mail("both")) + b"one\ntwo\r\nthree\n", b"x\n\n"]
    for octets in given:
        await client.append("INBOX", (octets, b""))

    async def shown() -> list[bytes]:
        await client.select("INBOX")
        rows = await client.everything(BODY, b"RFC822.SIZE")
        octets = [items[BODY_ITEM] for _, items in sorted(rows.items())]
        assert [int(items[b"RFC822.SIZE"]) for _, items in sorted(rows.items())] == [
            len(one) for one in octets
        ]
        return octets

    assert await shown() == given
    await client.close()
    await stop(pymap)
    delete_index(place)
    pymap = await place.pymap()
    client = await connect(pymap)
    assert await shown() == given
    await client.close()
    await stop(pymap)
    dovecot = await place.dovecot()
    client = await connect(dovecot)
    assert await shown() == [crlf(octets.replace(b"\r\n", b"\n")) for octets in given]
    await client.close()
    await stop(dovecot)
    assert not dovecot.complaints()


async def test_what_dovecot_does_not_keep_is_kept_through_its_turn(
    new_place: NewPlace, connect: Connect
) -> None:
    """Mailbox ids, message ids and save dates outlive that Dovecot served the tree."""
    place = new_place()
    server: Server = await place.pymap()
    client = await connect(server)
    await client.run(b"CREATE box")
    await client.append("box", (body("a"), b""), date="01-Jan-2001 00:00:00 +0000")
    await client.append("box", (body("b"), b""))
    ids = await _ids(client)
    await client.close()
    await stop(server)
    server = await place.dovecot()
    client = await connect(server, "box")
    await client.ok(b"STORE 1:* +FLAGS (\\Flagged Moved)")
    await client.run(b"RENAME box new")
    await client.run(b"RENAME new box")
    await client.append("box", (body("c"), b""))
    await client.close()
    await stop(server)
    now = await _ids(await connect(await place.pymap()))
    assert now[0] == ids[0]
    assert {uid: now[1][uid] for uid in ids[1]} == ids[1]


async def _ids(client: Mail) -> tuple[list[bytes], dict[int, tuple[object, object]]]:
    selected = await client.select("box")
    (mailbox_id,) = [r for r in selected.untagged if b"[MAILBOXID" in r]
    rows = await client.everything(b"EMAILID", b"SAVEDATE")
    return mailbox_id.split()[3:4], {u: (i[b"EMAILID"], i[b"SAVEDATE"]) for u, i in rows.items()}
