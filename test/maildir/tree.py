"""An account with everything in it, and all that clients change in one."""

from __future__ import annotations

from .client import a_set, quoted
from .conftest import Connect
from .deliver import appendable, crlf, deliver, mail, shapes
from .picture import Picture, picture
from .place import USER, Place, Server

SYSTEM = [b"\\Answered", b"\\Flagged", b"\\Deleted", b"\\Seen", b"\\Draft"]
KEYWORDS = [
    b"$Forwarded",
    b"$MDNSent",
    b"$Junk",
    b"NonJunk",
    b"$label1",
    b"a'b+c.d:e",
    b"CamelCase",
]
KEYWORDS += [b"key%d" % n for n in range(26 - len(KEYWORDS))]

NAMES = [
    "Work",
    "Work/2024",
    "Work/2024/Q1",
    "Only/child",
    "Grüße/日本/メール",
    "😀",
    "é",
    "R&D",
    "&",
    "with space",
    " leading",
    "trailing ",
    "50%",
    "a*b",
    'quo"te',
    "back\\slash",
    "(paren)",
    "brace{3}",
    "#hash",
    "'apos'",
    "-dash",
    "a:b,c;d=e|f^g",
    "INBOX/below",
    "Sent",
    "x" * 200,
    "1/2/3/4/5/6/7/8/9",
    "pymap",
]
ONLY_FS = ["v1.2/x.y", ".hidden", ".a/b", "trailing."]
ONLY_PLUS = ["cur", "new", "tmp/below", "subscriptions", "dovecot-uidlist", "maildirfolder"]


def names(layout: str) -> list[str]:
    return [*NAMES, *(ONLY_FS if layout == "fs" else ONLY_PLUS)]


def body(name: str) -> bytes:
    return crlf(mail(name))


async def fresh(server: Server, connect: Connect, user: str = USER) -> Picture:
    """What a client sees that was not there before."""
    client = await connect(server, user=user)
    shown = await picture(client)
    await client.close()
    return shown


async def same(server: Server, connect: Connect, before: Picture) -> None:
    now = await fresh(server, connect)
    difference = before.difference(now)
    assert not difference, "\n".join(["before / now", *difference[:40]])


async def fill(server: Server, connect: Connect, place: Place) -> None:
    """Folders, flags, keywords, subscriptions, and mail of all shapes, delivered and appended."""
    client = await connect(server)
    for name in names(place.layout):
        await client.run(b"CREATE ", quoted(name))
    for name in names(place.layout)[::2]:
        await client.run(b"SUBSCRIBE ", quoted(name))
    await client.run(b"CREATE gone")
    await client.run(b"SUBSCRIBE gone")
    await client.run(b"DELETE gone")
    when = 1_000_000_000
    for n, octets in enumerate(shapes().values()):
        deliver(place.maildir(), octets, when + n * 86_400)
        if n % 3 == 0:
            deliver(place.folder("Work/2024"), octets)
    await client.append(
        "Grüße/日本/メール",
        *((crlf(o), b"\\Seen key%d" % (n % 4)) for n, o in enumerate(appendable().values())),
    )
    # One flag each, all pairs with a keyword, and all keywords at once.
    single = [(body(f"flag{n}"), flag) for n, flag in enumerate([*SYSTEM, *KEYWORDS])]
    pairs = [
        (body(f"pair{n}"), SYSTEM[n % len(SYSTEM)] + b" " + keyword)
        for n, keyword in enumerate(KEYWORDS)
    ]
    await client.append("Work", *single)
    await client.append("Work", *pairs, date=" 1-Mar-1999 23:59:59 -0130")
    await client.append("Work", (body("all"), b" ".join([*SYSTEM, *KEYWORDS])))
    await client.append("Work", *((body(f"end{n}"), b"") for n in range(3)))
    for name in names(place.layout)[3::2]:
        await client.append(name, (body("one"), b"\\Flagged"))
        deliver(place.folder(name), mail("two"), 1_234_567_890)
    # UIDs with gaps, also at the end.
    await client.select("Work")
    await client.ok(b"STORE 6:9,* +FLAGS.SILENT (\\Deleted)")
    await client.ok(b"UID EXPUNGE 6:9,62:100")
    await client.select("INBOX")
    await client.ok(b"STORE 1:5 +FLAGS.SILENT (\\Seen $Forwarded)")
    await client.close()


async def change(
    server: Server, connect: Connect, place: Place, round_: str, leave: str, delete: str
) -> None:
    """All that clients change; `round_` makes names and messages that were not there before.
    The mailbox `leave` is unsubscribed, `delete` deleted."""
    client = await connect(server)
    top = f"{round_} für alle"
    for name in (top, f"{top}/below", f"{top}/below/deep", f"{round_} & gone", f"{round_}-up/a/b"):
        await client.run(b"CREATE ", quoted(name))
    await client.run(b"SUBSCRIBE ", quoted(f"{top}/below"))
    await client.run(b"SUBSCRIBE ", quoted(f"{round_} & gone"))
    await client.run(b"UNSUBSCRIBE ", quoted(leave))
    await client.append(
        f"{top}/below",
        *(
            (crlf(o), SYSTEM[n % 5] + b" key%d" % (n % 5))
            for n, o in enumerate(appendable().values())
        ),
    )
    await client.append(
        "INBOX", *((body(f"{round_}{n}"), flag) for n, flag in enumerate([*SYSTEM, *KEYWORDS[:5]]))
    )
    await client.append("INBOX", (body(f"{round_}-old"), b""), date="01-Jan-1980 00:00:00 +1200")
    deliver(place.maildir(), mail(f"{round_}-delivered"))

    selected = await client.select("Work")
    uids = sorted(await client.everything())
    assert selected.exists == len(uids) > 20
    await client.ok(b"UID STORE ", a_set(uids[0:4]), b" +FLAGS (\\Seen $Junk)")
    await client.ok(
        b"UID STORE ", a_set(uids[2:6]), b" -FLAGS.SILENT (\\Seen \\Flagged NonJunk key3)"
    )
    await client.ok(b"UID STORE ", a_set(uids[6:9]), b" FLAGS (\\Draft CamelCase)")
    await client.ok(b"UID STORE ", a_set(uids[9:10]), b" FLAGS ()")
    await client.copy(uids[1:8:2], f"{top}/below")
    await client.copy(uids[10:13], f"{top}/below/deep", b"MOVE")
    await client.copy(uids[0:2], "Work")
    await client.ok(b"UID STORE ", a_set(uids[13:15]), b" +FLAGS (\\Deleted)")
    await client.ok(b"UID EXPUNGE ", a_set(uids[13:15]))
    await client.select("INBOX")
    inbox = sorted(await client.everything())
    await client.copy(inbox[2:5], "Grüße/日本/メール", b"MOVE")
    # The last one: UIDNEXT must not fall.
    await client.ok(b"UID STORE ", a_set(inbox[-1:]), b" +FLAGS (\\Deleted)")
    await client.ok(b"EXPUNGE")
    await client.ok(b"CLOSE")

    await client.run(b"RENAME ", quoted(f"{top}/below"), b" ", quoted(f"Neu {round_}/ünten"))
    await client.run(b"RENAME ", quoted(f"{round_}-up"), b" ", quoted(f"{round_}-down"))
    await client.run(b"DELETE ", quoted(f"{round_} & gone"))
    await client.run(b"DELETE ", quoted(delete))
    await client.append(f"Neu {round_}/ünten/deep", (body(f"{round_}-after"), b"\\Seen key1"))
    await client.close()
