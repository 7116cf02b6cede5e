"""What was known of a mailbox, to be found again after a fault."""

from __future__ import annotations

from dataclasses import dataclass

from server.process import Process

from .client import BODY, BODY_ITEM, Mail, a_set, flags, message_id
from .conftest import Connect
from .deliver import crlf, mail
from .picture import picture
from .place import Place, stop


@dataclass
class Known:
    uid_validity: int
    uid_next: int
    modseq: int
    messages: dict[bytes, tuple[int, frozenset[bytes], bytes]]
    "By Message-ID: UID, flags, octets."

    def flags(self, but: frozenset[bytes] | None = None) -> dict[bytes, frozenset[bytes]]:
        return {n: f if but is None else f & but for n, (_, f, _) in self.messages.items()}

    def uids(self) -> dict[bytes, int]:
        return {name: uid for name, (uid, _, _) in self.messages.items()}

    def octets(self) -> dict[bytes, bytes]:
        return {name: octets for name, (_, _, octets) in self.messages.items()}


async def known(client: Mail, box: str) -> Known:
    selected = await client.select(box, b"(CONDSTORE)")
    messages = {}
    for uid, items in (await client.everything(BODY)).items():
        name = message_id(items[BODY_ITEM])
        assert name not in messages, f"{box}: {name!r} is there twice"
        messages[name] = (uid, flags(items), items[BODY_ITEM])
    return Known(selected.uid_validity, selected.uid_next, selected.modseq, messages)


async def fill(client: Mail, box: str) -> None:
    """Eight messages, of which 3 and 8 are gone again: UIDNEXT is 9."""
    given = {n: b"k%d \\Seen" % n if n % 2 else b"\\Flagged shared" for n in range(1, 9)}
    await client.append(
        box, *((crlf(mail(f"m{n}", b"text\n" * n)), flags) for n, flags in given.items())
    )
    await client.select(box)
    await client.ok(b"UID STORE 3,8 +FLAGS.SILENT (\\Deleted)")
    await client.ok(b"EXPUNGE")
    await client.ok(b"UID STORE 5 FLAGS.SILENT (\\Draft again)")
    await client.fetch(b"1:*", b"ENVELOPE", b"BODYSTRUCTURE")  # what may be cached is


async def works(client: Mail, box: str, other: str = "INBOX") -> None:
    """All that clients do can be done in it."""
    selected = await client.select(box)
    added = await client.append(box, (crlf(mail("works")), b"\\Seen brandnew"))
    assert added.uid_validity == selected.uid_validity
    assert added.uids[0] >= selected.uid_next
    uid = b"%d" % added.uids[0]
    await client.ok(b"UID STORE ", uid, b" +FLAGS (\\Flagged another)")
    rows = await client.fetch(uid, b"ENVELOPE", b"BODYSTRUCTURE", BODY)
    assert flags(rows[added.uids[0]]) == {b"\\seen", b"\\flagged", b"brandnew", b"another"}
    assert rows[added.uids[0]][BODY_ITEM] == crlf(mail("works"))
    copied = await client.copy(added.uids, other)
    moved = await client.copy(added.uids, other, b"MOVE")
    gone = a_set([*copied.target, *moved.target])
    await client.select(other)
    await client.ok(b"UID STORE ", gone, b" +FLAGS.SILENT (\\Deleted)")
    await client.ok(b"UID EXPUNGE ", gone)


async def known_all(client: Mail, box: str) -> list[bytes]:
    await client.select(box)
    return [items[BODY_ITEM] for items in (await client.everything(BODY)).values()]


async def dovecot_agrees(
    place: Place, connect: Connect, server: Process, but: frozenset[str] = frozenset()
) -> None:
    """Stop pymap and compare; of mailboxes `but`, nobody knows what would be right."""
    client = await connect(server)
    shown = await picture(client, but)
    await client.close()
    await stop(server)
    dovecot = await place.dovecot()
    client = await connect(dovecot)
    difference = shown.difference(await picture(client, but))
    assert not difference, "\n".join(["pymap / dovecot", *difference[:20]])
    await client.close()
    await stop(dovecot)
    assert not dovecot.complaints()
