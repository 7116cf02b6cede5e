"""Access lists that pymap and Dovecot's ACL plugin both read and write, on one tree at once."""

from __future__ import annotations

import random
import re

import pytest

from .client import Mail, quoted
from .conftest import Connect, NewPlace
from .place import SEED

LAYOUTS = pytest.mark.parametrize("layout", ["++", "fs"])
USERS = ("alice", "bob", "carol")
TEAM = "Other Users/alice/Team"
WHO = ("alice", "bob", "carol", "anyone", "john smith", "-alice", "-bob", "-anyone", "-john smith")
LETTERS = "lrswipkxtea"


async def _rights(client: Mail, name: str) -> set[str]:
    """MYRIGHTS; nothing if there is no such mailbox for this user."""
    answer = await client.command(b"MYRIGHTS " + quoted(name))
    if answer.condition != b"OK":
        assert b"[NONEXISTENT]" in answer.tagged, answer.tagged
        return set()
    (line,) = answer.untagged
    rights = set(line.split()[-1].strip(b'"').decode()) - {"c", "d"}
    return rights if rights & set("lrikxa") else set()  # RFC 4314 4; Dovecot tells them


async def _list(client: Mail) -> dict[str, set[str]]:
    answer = await client.command(b"GETACL Team")
    assert answer.condition == b"OK", answer.tagged
    (line,) = answer.untagged
    words = [
        quoted_word.decode() or plain.decode()
        for quoted_word, plain in re.findall(rb'"([^"]*)"|(\S+)', line)
    ][3:]
    return {
        who: set(rights) - {"c", "d"} for who, rights in zip(words[::2], words[1::2], strict=True)
    }


@LAYOUTS
async def test_dovecot_and_pymap_grant_the_same(
    new_place: NewPlace, connect: Connect, layout: str
) -> None:
    print("PYMAP_TEST_SEED", SEED)
    chance = random.Random(SEED)
    place = new_place(layout, USERS)
    place.own(place.base)  # what is of no single user is kept there
    pymap, dovecot = await place.pymap(), await place.dovecot(acl=True)
    here = await connect(pymap, user="alice")
    for name in USERS[1:]:
        await connect(dovecot, user=name)
    assert (await here.command(b"CREATE Team")).condition == b"OK"
    for step in range(12):
        for _ in range(3):
            who = chance.choice(WHO)
            some = chance.sample(LETTERS, chance.randint(1, 5))
            rights = chance.choice("+-") + "".join(some) if chance.random() < 0.3 else "".join(some)
            if who == "alice":
                rights = "la" + rights.lstrip("+-")  # Dovecot lets an owner lock himself out
            if who == "-alice":
                rights = "w"
            # A connection to Dovecot keeps what it has read for a while.
            writer = here if step % 2 else await connect(dovecot, user="alice")
            line = (
                f'SETACL Team "{who}" {rights}'
                if chance.random() < 0.9
                else f'DELETEACL Team "{who}"'
            )
            assert (await writer.command(line.encode())).condition == b"OK"
        theirs = await connect(dovecot, user="alice")
        assert await _rights(here, "Team") == await _rights(theirs, "Team") | set("la")
        ours, others = await _list(here), await _list(theirs)
        for sign in ("", "-"):  # which Dovecot tells apart
            if (owner := others.pop(f"{sign}owner", None)) is not None:
                others.setdefault(f"{sign}alice", owner)
        assert ours.pop("alice") == others.pop("alice", set(LETTERS)) | set("la")
        assert ours == others
        for name in USERS[1:]:
            ask, answer = await connect(pymap, user=name), await connect(dovecot, user=name)
            assert await _rights(ask, TEAM) == await _rights(answer, TEAM), await _list(here)
    assert not [line for line in dovecot.complaints() if "acl" in line.lower()]


@LAYOUTS
async def test_what_pymap_shares_dovecot_lists(
    new_place: NewPlace, connect: Connect, layout: str
) -> None:
    place = new_place(layout, USERS)
    place.own(place.base)  # what is of no single user is kept there
    dovecot = await place.dovecot(acl=True)
    theirs = await connect(dovecot, user="alice")
    assert (await theirs.command(b"CREATE Team")).condition == b"OK"
    # It has looked where lists are, and found none.
    await (await connect(dovecot, user="bob")).command(b'LIST "" "Other Users/alice/*"')
    pymap = await place.pymap()
    here = await connect(pymap, user="alice")
    assert (await here.command(b"SETACL Team bob lr")).condition == b"OK"
    await (await connect(dovecot, user="alice")).command(b'LIST "" *')
    for server in (pymap, dovecot):
        bob = await connect(server, user="bob")
        answer = await bob.command(b'LIST "" "Other Users/alice/*"')
        assert any(line.strip().endswith(b'Team"') for line in answer.untagged), answer
    # The list goes along, and ends with the mailbox.
    assert (await here.command(b"RENAME Team Moved")).condition == b"OK"
    bob = await connect(dovecot, user="bob")
    assert await _rights(bob, "Other Users/alice/Moved") == set("lr")
    assert (await here.command(b"DELETE Moved")).condition == b"OK"
    assert (await here.command(b"CREATE Moved")).condition == b"OK"
    for server in (pymap, dovecot):
        bob = await connect(server, user="bob")
        assert await _rights(bob, "Other Users/alice/Moved") == set()


async def test_what_dovecot_shares_is_found_once_its_owner_looks(
    new_place: NewPlace, connect: Connect
) -> None:
    place = new_place("++", USERS)
    place.own(place.base)
    dovecot = await place.dovecot(acl=True)
    theirs = await connect(dovecot, user="alice")
    assert (await theirs.command(b"CREATE Team")).condition == b"OK"
    assert (await theirs.command(b"SETACL Team bob lr")).condition == b"OK"
    pymap = await place.pymap()
    bob = await connect(pymap, user="bob")
    assert await _rights(bob, TEAM) == set()
    assert (await _list(await connect(pymap, user="alice")))["bob"] == set("lr")
    assert await _rights(bob, TEAM) == set("lr")
