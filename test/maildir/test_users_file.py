"""The users file: what its lines may say, and what becomes of those that say nothing good."""

from __future__ import annotations

import pytest
from server.client import becomes

from .client import Mail
from .conftest import Connect, NewPlace
from .dovecot import PASSWORD
from .known import works
from .place import USER, Place


async def failed(place: Place) -> str:
    """A start that fails: its one line for the operator."""
    process = await place.pymap(ready=False)
    assert await process.ended() == 1, process.output
    assert "Traceback" not in process.output
    return process.output


@pytest.mark.parametrize(
    "line", ["nopassword", "user:path", ":path:secret", "u\0ser:x:secret", "user:pa\0th:secret"]
)
async def test_a_bad_line_is_named_with_its_number(new_place: NewPlace, line: str) -> None:
    place = new_place()
    place.users.write_text(f"# a comment\n\n{USER}::{PASSWORD}\n{line}\nlast::secret\n")
    output = await failed(place)
    assert "4" in output.replace(str(place.users), ""), output
    assert "secret" not in output


async def test_no_users_file(new_place: NewPlace) -> None:
    place = new_place()
    place.users.unlink()
    assert "users" in await failed(place)


async def test_what_lines_may_say(new_place: NewPlace, connect: Connect) -> None:
    """Empty, relative and absolute paths; passwords with colons, plain and hashed."""
    place = new_place()
    absolute = place.mail / "far" / "away"
    sha256 = "{SHA256}XohImNooBHFR0OVvjcYpJ3NgPQ1qq73WKhHvch0VQtg="  # of "password"
    place.users.write_text(
        f"# comment\n\n  \nempty::pass:with:colons\nrelative:mail/rel:p\nabsolute:{absolute}:p\n"
        f"plain:mail/plain:{{PLAIN}}p:q\nhashed:mail/hashed:{sha256}\r\nlast@host:mail/last:ümläut"
    )
    place.own(place.base)
    server = await place.pymap()
    for user, password in (("empty", "pass:with:colons"), ("relative", "p"), ("absolute", "p"),
                           ("plain", "p:q"), ("hashed", "password")):  # fmt: skip
        client = await Mail.to(server.addresses[0])
        await client.enter(user, password)
        await works(client, "INBOX")
        await client.close()
        client = await Mail.to(server.addresses[0])
        assert (await client.command(f"LOGIN {user} wrong".encode())).condition == b"NO"
        await client.close()
    for path in (place.base / "empty", place.mail / "rel", absolute, place.mail / "plain"):
        assert (path / "cur").is_dir(), path
    # The file is read again when it changes, and a mistake in it locks nobody out.
    place.users.write_text(f"new:mail/new:{PASSWORD}\nrelative:mail/rel:p\n")
    client = await Mail.to(server.addresses[0])
    await client.enter("new")
    await client.close()
    client = await Mail.to(server.addresses[0])
    assert (await client.command(b"LOGIN plain p:q")).condition == b"NO"
    await client.close()
    place.users.write_text(f"new:mail/new:{PASSWORD}\nrelative:mail/rel:p\noops\n")
    client = await Mail.to(server.addresses[0])
    await client.enter("new")
    await client.close()

    def told() -> bool:
        return any("3" in x for x in server.output.splitlines() if "users" in x)

    assert await becomes(told), server.output


@pytest.mark.parametrize("name", ["..", ".", "../x", "a/b", "../../etc", "/abs", "x/../../y"])
async def test_user_names_that_would_leave_the_directory(
    new_place: NewPlace, connect: Connect, name: str
) -> None:
    """With an empty path the name is the path: refused at the start, or at the login."""
    place = new_place()
    place.users.write_text(f"{name}::{PASSWORD}\n")
    process = await place.pymap(ready=False)
    before = set(place.base.rglob("*"))
    if process.popen.poll() is None:
        try:
            await process.ready()
        except AssertionError:
            assert process.popen.returncode == 1, process.output
    if process.popen.poll() is None:
        client = await Mail.to(process.addresses[0])
        answer = await client.command(f'LOGIN "{name}" {PASSWORD}'.encode())
        assert answer.condition == b"NO", answer.tagged
        assert b"SERVERBUG" not in answer.tagged
        await client.close()
    else:
        assert "1" in process.output
    assert set(place.base.rglob("*")) == before
