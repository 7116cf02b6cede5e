"""`maildirsize` beside a Dovecot that keeps it too, and a delivery agent that does not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .client import Mail, Refused
from .conftest import Connect, NewPlace
from .place import USER, Place, stop

KEEPS_QUOTA = """
mail_plugins = quota
protocol imap {
  mail_plugins = quota imap_quota
}
plugin {
  quota = maildir:User quota
}
"""
MESSAGE = b"Subject: x\r\n\r\n" + b"y" * 100 + b"\r\n"


async def quota(client: Mail) -> dict[bytes, tuple[int, int]]:
    """Usage and limit of what a Maildir knows."""
    (line,) = [
        line
        for line in (await client.run(b"GETQUOTAROOT INBOX")).untagged
        if line.startswith(b"* QUOTA ")
    ]
    found = re.findall(rb"(STORAGE|MESSAGE) (\d+) (\d+)", line)
    return {name: (int(usage), int(limit)) for name, usage, limit in found}


def counted(place: Place) -> tuple[int, int]:
    """What there is: octets and messages."""
    boxes = [p for p in place.maildir().rglob("*") if p.parent.name in ("cur", "new")]
    return sum(p.stat().st_size for p in boxes), len(boxes)


def said(file: Path) -> tuple[int, int]:
    lines = [line.split() for line in file.read_text().splitlines()[1:]]
    return sum(int(octets) for octets, _ in lines), sum(int(n) for _, n in lines)


@pytest.mark.parametrize("layout", ["++", "fs"])
async def test_both_count_and_obey(new_place: NewPlace, connect: Connect, layout: str) -> None:
    place = new_place(layout)
    file = place.maildir() / "maildirsize"
    ours = await connect(await place.pymap("--master", USER))
    await ours.run(b"SETQUOTA %b (STORAGE 100 MESSAGE 12)" % USER.encode())
    server = await place.dovecot(more=KEEPS_QUOTA)
    theirs = await connect(server)
    clients = [ours, theirs]

    async def agreed() -> None:
        assert said(file) == counted(place)
        found = [await quota(client) for client in clients]
        octets, messages = counted(place)
        assert found == [{b"STORAGE": (-(-octets // 1024), 100), b"MESSAGE": (messages, 12)}] * 2

    await agreed()
    for n, client in enumerate(clients):
        box = b"box%d" % n
        await client.run(b"CREATE ", box)
        await client.append("INBOX", (MESSAGE, b""))
        await client.append(box.decode(), (MESSAGE, b""), (MESSAGE, b"\\Deleted"))
        await agreed()
        await client.select("INBOX")
        await client.run(b"COPY 1 ", box)
        await client.run(b"MOVE 1 ", box)
        await agreed()
        await client.select(box.decode())
        await client.run(b"EXPUNGE")
        await client.run(b"COPY 1 ", box)
        await agreed()
    # What the other one has made goes as well.
    for client in clients:
        await client.run(b"UNSELECT")
    await ours.run(b"DELETE box1")
    await agreed()
    await theirs.run(b"RENAME box0 box2")
    await ours.run(b"RENAME INBOX old")
    await agreed()
    await theirs.select("box2")
    await theirs.run(b"STORE 1:* +FLAGS.SILENT (\\Deleted)")
    await theirs.run(b"CLOSE")
    await agreed()
    room = 12 - counted(place)[1]
    for n in range(room):
        await clients[n % 2].append("old", (MESSAGE, b""))
    await agreed()
    for client in clients:
        assert await client.refused(b"APPEND old {116+}\r\n", MESSAGE) == b"OVERQUOTA"
    await ours.run(b"SETQUOTA %b (MESSAGE %d)" % (USER.encode(), counted(place)[1] + 2))
    for client in clients:
        await client.append("old", (MESSAGE, b""))
        assert said(file) == counted(place)
    assert await theirs.refused(b"APPEND old {116+}\r\n", MESSAGE) == b"OVERQUOTA"
    await ours.run(b"SETQUOTA %b ()" % USER.encode())
    await ours.append("old", (MESSAGE, b""))
    await (await connect(server)).append("old", (MESSAGE, b""))
    assert not server.complaints()
    for started in place.started:
        await stop(started)


async def test_what_others_did_unseen_is_found_when_it_matters(
    new_place: NewPlace, connect: Connect
) -> None:
    place = new_place("++")
    file = place.maildir() / "maildirsize"
    client = await connect(await place.pymap("--quota-messages", "3"))
    await client.append("INBOX", (MESSAGE, b""), (MESSAGE, b""))
    assert await quota(client) == {b"MESSAGE": (2, 3)}
    for path in place.files():
        path.unlink()
    await client.append("INBOX", (MESSAGE, b""))
    assert await quota(client) == {b"MESSAGE": (3, 3)}  # as far as it is known
    await client.append("INBOX", (MESSAGE, b""))  # about to be refused: counted
    assert await quota(client) == {b"MESSAGE": (2, 3)}
    file.write_text("damaged")
    delivered = place.maildir() / "new/1.x"
    delivered.write_bytes(MESSAGE)
    place.own(delivered)
    with pytest.raises(Refused) as refused:
        await client.append("INBOX", (MESSAGE, b""))
    assert refused.value.code == b"OVERQUOTA"
    assert said(file) == counted(place) == (3 * len(MESSAGE), 3)
