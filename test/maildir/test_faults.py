"""Files and folders that vanish, have odd names, are there twice, or lead elsewhere.

The log of every server is searched for tracebacks when its test ends (`Place.close`).
"""

from __future__ import annotations

import os
import shutil

from .client import BODY, BODY_ITEM, code, flags, message_id, quoted
from .conftest import Connect, NewPlace
from .deliver import crlf, deliver, mail
from .known import fill, known_all, works
from .place import USER, stop


async def test_a_message_file_that_vanishes(new_place: NewPlace, connect: Connect) -> None:
    """Removed by another program after the client learned of it: RFC 2180 4.1."""
    place = new_place()
    server = await place.pymap()
    client = await connect(server)
    await client.run(b"CREATE box")
    for n in range(1, 31):
        await client.append("INBOX", (crlf(mail(f"m{n}")), b""))
    await client.select("INBOX")
    lines = [
        b"UID FETCH %d BODY[]",
        b"UID FETCH %d (BODY.PEEK[TEXT] RFC822.SIZE)",
        b"UID FETCH %d (FLAGS)",
        b"UID FETCH %d (ENVELOPE BODYSTRUCTURE)",
        b"UID STORE %d +FLAGS (\\Seen)",
        b"UID COPY %d box",
        b"UID MOVE %d box",
        b"UID EXPUNGE %d",
        b"UID SEARCH UID %d TEXT text",
        b"UID FETCH 1:30 (BODY.PEEK[])",
    ]
    for n, line in enumerate(lines, 10):
        place.file_of(b"<m%d>" % n).unlink()
        answer = await client.command(line % n if b"%d" in line else line)
        assert answer.condition in (b"OK", b"NO"), (line, answer.tagged)
        if answer.condition == b"NO":
            assert code(answer)[0] in (b"EXPUNGEISSUED", b"NONEXISTENT"), (line, answer.tagged)
        assert not any(b"BODY[] NIL" in r and b"UID %d " % n not in r for r in answer.untagged)
    await client.ok(b"NOOP")
    assert sorted((await client.message_ids()).values()) == [*range(1, 10), *range(20, 31)]
    rows = await client.everything(BODY)
    assert all(items[BODY_ITEM] for items in rows.values())


async def test_directories_that_vanish(new_place: NewPlace, connect: Connect) -> None:
    place = new_place(users=(USER, "other"))
    server = await place.pymap()
    client = await connect(server)
    for sub in ("cur", "new", "tmp"):
        await client.run(b"CREATE ", quoted(sub * 2))
        await fill(client, sub * 2)
        shutil.rmtree(place.folder(sub * 2) / sub)
        for line in (b"NOOP", b"FETCH 1 BODY.PEEK[]", b"STORE 1 +FLAGS (\\Draft)",
                     b"APPEND %b {3+}\r\nabc" % quoted(sub * 2), b"EXPUNGE", b"CHECK",
                     b"STATUS %b (MESSAGES)" % quoted(sub * 2)):  # fmt: skip
            answer = await client.command(line)
            assert b"SERVERBUG" not in answer.tagged, (sub, line, answer.tagged)
            if answer.condition == b"NO":
                assert code(answer)[0], (sub, line, answer.tagged)
        client = await connect(server)
        answer = await client.command(b"SELECT ", quoted(sub * 2))
        assert answer.condition == b"OK" or code(answer)[0], answer.tagged
        if sub != "cur":
            assert sorted((await client.message_ids()).values())[:6] == [1, 2, 4, 5, 6, 7]
    # The whole account: its sessions may end, the server does not.
    shutil.rmtree(place.mail / USER)
    try:
        for line in (b"NOOP", b"SELECT INBOX", b"APPEND INBOX {3+}\r\nabc", b'LIST "" "*"'):
            answer = await client.command(line)
            assert b"SERVERBUG" not in answer.tagged, (line, answer.tagged)
    except EOFError:
        pass
    client = await connect(server)
    await works(client, "INBOX")
    await works(await connect(server, user="other"), "INBOX")


# -- names of files --


async def test_files_with_odd_names(new_place: NewPlace, connect: Connect) -> None:
    """Each message is there once, and Dovecot sees the same ones."""
    place = new_place()
    server = await place.pymap()
    await (await connect(server)).run(b"CREATE box")
    folder = place.folder("box")
    names = [
        "new/plain",
        "new/1700000000.1.host:2,",
        "new/1700000000.2.host:2,FS",
        "cur/without-info",
        "cur/1700000000.3.host:2,",
        "cur/1700000000.4.host:2,SFRTDP",
        "cur/1700000000.5.host:2,XYZ-S",
        "cur/1700000000.6.host:2,abcxyz",
        "cur/1700000000.7.host:1,experimental",
        "cur/1700000000.8.host:3,S",
        "cur/1700000000.9.host:2,S:2,F",
        "cur/1700000000.10.host,S=4,W=5:2,S",
        "cur/1700000000.11.host,S=99999999999999999999:2,S",
        "cur/1700000000.12.host,S=,W=x:2,S",
        "cur/1700000000.13.host,S=-1:2,S",
        "cur/with space and 'quotes':2,S",
        "cur/grüße:2,F",
        "cur/latin-\udce4:2,F",
        "cur/" + "x" * 200 + ":2,S",
        "cur/" + "y" * 251 + ":2,S",
        "cur/:2,S",
        "cur/=,S=1,:2,S",
        "cur/#1:2,",
    ]
    for n, name in enumerate(names):
        path = folder / name
        path.write_bytes(mail(f"m{n}"))
        place.own(path)
    hidden = place.own(deliver(folder, mail("hidden")).rename(folder / "cur" / ".nfs000012"))
    for name in ("directory", "directory:2,S"):
        (folder / "cur" / name).mkdir()
        place.own(folder / "cur" / name)
    client = await connect(server, "box")
    wanted = {b"m%d" % n for n in range(len(names))}
    found = await client.message_ids()
    assert set(found) == wanted
    for items in (await client.everything(BODY)).values():
        assert items[BODY_ITEM] == crlf(mail(message_id(items[BODY_ITEM]).decode()))
    answer = await client.command(b"STORE 1:* +FLAGS (\\Answered key)")
    assert b"SERVERBUG" not in answer.tagged, answer.tagged
    # Names at their greatest length have no room for a flag: NO is an answer, with a code.
    assert answer.condition == b"OK" or code(answer)[0], answer.tagged
    await client.ok(b"NOOP")
    assert await client.message_ids() == found
    await client.copy(list(found.values()), "INBOX")
    await client.select("INBOX")
    assert set(await client.message_ids()) == wanted
    assert hidden.exists()
    await client.close()
    await stop(server)
    # Not their octets: Dovecot believes sizes in names. Nor does it tell a directory from a file.
    for name in ("directory", "directory:2,S"):
        (folder / "cur" / name).rmdir()
    client = await connect(await place.dovecot(), "box")
    assert set(await client.everything()) == set(found.values())


async def test_a_message_whose_name_is_there_twice(new_place: NewPlace, connect: Connect) -> None:
    """In new and in cur, or in cur with two sets of flags: others crashed between link and unlink,
    or two programs renamed at once. It is shown, and the end is one both servers agree on."""
    place = new_place()
    server = await place.pymap()
    await (await connect(server)).run(b"CREATE box")
    folder = place.folder("box")
    for n in range(3):
        path = deliver(folder, mail(f"new{n}"))
        os.link(path, folder / "cur" / f"{path.name}:2,{['', 'S', 'FS'][n]}")
    for n, letters in enumerate([("S", "F"), ("", "S"), ("RS", "S")]):
        for letter in letters:
            path = folder / "cur" / f"170000000{n}.7.host:2,{letter}"
            path.write_bytes(mail(f"cur{n}"))
            place.own(path)
    client = await connect(server, "box")
    octets = await known_all(client, "box")
    assert {message_id(o) for o in octets} == {b"new0", b"new1", b"new2", b"cur0", b"cur1", b"cur2"}
    for _ in range(3):
        await client.ok(b"NOOP")
    first = await client.everything()
    await client.ok(b"NOOP")
    assert set(await client.everything()) == set(first), "it never comes to rest"
    await client.ok(b"STORE 1:* +FLAGS (\\Answered)")
    await client.ok(b"NOOP")
    rows = await client.everything()
    assert all(b"\\answered" in flags(items) for items in rows.values())
    await client.close()
    await stop(server)
    dovecot = await place.dovecot()
    client = await connect(dovecot, "box")
    theirs = {message_id(octets) for octets in await known_all(client, "box")}
    assert theirs == {b"new0", b"new1", b"new2", b"cur0", b"cur1", b"cur2"}


async def test_nothing_leads_out_of_the_tree(new_place: NewPlace, connect: Connect) -> None:
    """Symbolic links to a file and to a folder outside, and a file that is none."""
    for layout in ("++", "fs"):
        place = new_place(layout)
        server = await place.pymap()
        client = await connect(server)
        await client.append("INBOX", (crlf(mail("real")), b""))
        secret = place.base / "secret"
        secret.write_bytes(mail("secret"))
        secret.chmod(0o644)
        outside = place.base / "outside"
        for sub in ("", "cur", "new", "tmp"):
            (outside / sub).mkdir()
            place.own(outside / sub)
        deliver(outside, mail("outside"))
        top = place.maildir()
        (top / "new" / "1.link.host").symlink_to(secret)
        (top / "cur" / "2.link.host:2,S").symlink_to(secret)
        (top / "new" / "3.dangling.host").symlink_to(place.base / "nowhere")
        os.mkfifo(top / "new" / "4.fifo.host")
        place.own(top / "new" / "4.fifo.host")
        place.folder("evil").symlink_to(outside)
        half = place.folder("half")
        half.mkdir()
        place.own(half)
        for sub in ("new", "tmp"):
            (half / sub).mkdir()
            place.own(half / sub)
        (half / "cur").symlink_to(outside / "new")
        client = await connect(server)
        for box in ("INBOX", "evil", "half"):
            answer = await client.command(b"SELECT ", quoted(box))
            assert b"SERVERBUG" not in answer.tagged, (box, answer.tagged)
            if answer.condition == b"OK":
                got = await client.command(b"FETCH 1:* (BODY.PEEK[])")
                assert b"SERVERBUG" not in got.tagged, (box, got.tagged)
                for response in got.untagged:
                    assert b"<secret>" not in response, box
                    assert b"<outside>" not in response, box
            else:
                assert code(answer)[0], (box, answer.tagged)
        await client.select("INBOX")
        real = [u for u, i in (await client.everything(b"RFC822.SIZE")).items() if u == 1]
        assert real == [1]
        assert (await client.fetch(b"1", BODY))[1][BODY_ITEM] == crlf(mail("real"))
        for line in (b"APPEND evil {3+}\r\nabc", b"DELETE evil", b"RENAME half other",
                     b"CREATE evil/below", b"STATUS evil (MESSAGES)"):  # fmt: skip
            answer = await client.command(line)
            assert b"SERVERBUG" not in answer.tagged, (line, answer.tagged)
        assert secret.read_bytes() == mail("secret")
        assert len(list((outside / "new").iterdir())) == 1
        assert sorted(p.name for p in outside.iterdir()) == ["cur", "new", "tmp"]
        await client.append("INBOX", (crlf(mail("after")), b""))
