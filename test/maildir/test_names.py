"""Names of mailboxes: what is refused, kept apart, or spelled in a way of its own."""

from __future__ import annotations

from unicodedata import normalize

import pytest

from .client import Refused, quoted
from .conftest import Connect, NewPlace
from .picture import Picture
from .place import USER, stop
from .tree import body, fresh, same

LAYOUTS = pytest.mark.parametrize("layout", ["++", "fs"])


@LAYOUTS
async def test_what_is_refused_or_kept_apart(
    new_place: NewPlace, connect: Connect, layout: str
) -> None:
    """Names that would leave the tree, or that mean something to Maildir: NO, or a mailbox that
    LIST shows as it was named and that nothing else collides with."""
    place = new_place(layout)
    pymap = await place.pymap()
    client = await connect(pymap)
    await client.append("INBOX", (body("inbox"), b""))
    bad = ["..", "../x", "a/../../x", "../../x", "./x", ".", "/etc/x", "a//b", "~", "~/x", "~root"]
    bad += ["cur", "new", "tmp", "cur/x", "Work/cur", "Work/new/x", "a/tmp", "a.b", ".a", "a/.b"]
    bad += ["subscriptions", "dovecot-uidlist", "dovecot-keywords", "dovecot-uidvalidity"]
    bad += ["maildirfolder", "pymap-index", "pymap-log", "pymap-cache", "dovecot-uidlist.lock"]
    bad += ["dovecot.index", "dovecot.index.log", "dovecot.list.index", "subscriptions.lock"]
    bad += ["x" * 255, "y" * 256, "日" * 200, "a" * 250 + "/" + "b" * 250, "INBOX.x", "inbox/x"]
    made = []
    for name in bad:
        answer = await client.command(b"CREATE ", quoted(name))
        assert answer.condition in (b"OK", b"NO", b"BAD"), (name, answer.tagged)
        assert b"SERVERBUG" not in answer.tagged, (name, answer.tagged)
        if answer.condition == b"OK":
            name = "INBOX" + name[5:] if name.startswith("inbox/") else name
            made.append(name)
            await client.append(name, (body(f"in {name}"[:60]), b""))
    listed = await client.names()
    assert set(made) <= set(listed)
    for name in made:
        await client.select(name)
        assert list(await client.message_ids()) == [f"in {name}"[:60].encode()]
    for name in ("../x", "../../x", "/etc/x", "a/../../x", "..", "~/x"):
        assert name not in made
        if "ok" not in await client.names():
            await client.run(b"CREATE ok")
        for command in (b"SELECT %b", b"STATUS %b (MESSAGES)", b"DELETE %b", b"RENAME ok %b",
                        b"RENAME %b ok2", b"APPEND %b {3+}\r\nabc"):  # fmt: skip
            answer = await client.command(command % quoted(name))
            assert answer.condition in (b"NO", b"BAD"), (command, name, answer.tagged)
            assert b"SERVERBUG" not in answer.tagged
    assert sorted(path.name for path in (place.mail / USER).iterdir()) == ["Maildir"]
    assert sorted(path.name for path in place.mail.iterdir()) == [USER]
    await client.select("INBOX")
    assert list(await client.message_ids()) == [b"inbox"]
    await client.close()
    shown = await fresh(pymap, connect)
    await stop(pymap)
    await same(await place.dovecot(), connect, shown)


async def test_a_rename_onto_a_taken_name_changes_nothing(
    new_place: NewPlace, connect: Connect
) -> None:
    for layout in ("++", "fs"):
        place = new_place(layout)
        pymap = await place.pymap()
        client = await connect(pymap)
        for name in ("a", "a/x", "a/y", "b/y"):
            await client.run(b"CREATE ", quoted(name))
            await client.append(name, (body(name), b""))
        await client.close()
        before = await fresh(pymap, connect)
        client = await connect(pymap)
        for target in ("a", "a/x", "b", "INBOX"):
            with pytest.raises(Refused):
                await client.run(b"RENAME a ", quoted(target))
        await client.close()
        await same(pymap, connect, before)
        await stop(pymap)
        await same(await place.dovecot(), connect, before)


# Macs spell an é in two characters, and so are the names of some folders.
DECOMPOSED = ["e\u0301t\u00e9", "o\u0308/a\u0308"]


@LAYOUTS
async def test_a_name_that_is_not_in_nfc(
    new_place: NewPlace, connect: Connect, layout: str
) -> None:
    """Such a folder of Dovecot's is shown in NFC (RFC 9051 5.1), and found by either name."""
    place = new_place(layout)
    dovecot = await place.dovecot()
    client = await connect(dovecot)
    for name in DECOMPOSED:
        await client.run(b"CREATE ", quoted(name))
        await client.run(b"SUBSCRIBE ", quoted(name))
        await client.append(name, (body(name.encode("unicode_escape").decode()), b""))
    await client.close()
    shown = await fresh(dovecot, connect)
    await stop(dovecot)
    composed = Picture(
        {normalize("NFC", name): attributes for name, attributes in shown.listed.items()},
        {normalize("NFC", name) for name in shown.subscribed},
        {normalize("NFC", name): box for name, box in shown.boxes.items()},
    )
    pymap = await place.pymap()
    await same(pymap, connect, composed)
    client = await connect(pymap)
    for name in DECOMPOSED:
        await client.select(name)
        await client.select(normalize("NFC", name))
    await client.close()


@LAYOUTS
async def test_of_two_spellings_the_composed_one_is_shown(
    new_place: NewPlace, connect: Connect, layout: str
) -> None:
    """IMAP4rev2 has one name for both. The other folder stays as it is, for Dovecot."""
    place = new_place(layout)
    dovecot = await place.dovecot()
    client = await connect(dovecot)
    for name in ("e\u0301", "\u00e9"):
        await client.run(b"CREATE ", quoted(name))
        await client.append(name, (body(name.encode("unicode_escape").decode()), b""))
    await client.close()
    before = await fresh(dovecot, connect)
    await stop(dovecot)
    pymap = await place.pymap()
    now = await fresh(pymap, connect)
    assert now.boxes["\u00e9"] == before.boxes["\u00e9"]
    assert "e\u0301" not in now.listed
    await stop(pymap)
    await same(await place.dovecot(), connect, before)
