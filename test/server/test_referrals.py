"""Users and mailboxes that are on another server.   RFC 2221, RFC 2193"""

from __future__ import annotations

from argparse import ArgumentTypeError

import pytest

from pymap.config import ExtensionConfig
from pymap.imap.referrals import mailbox_referral
from pymap.options import values
from pymap.wire import commands as c

from .conftest import Connect

LOGIN = ExtensionConfig(
    login_referrals=(("nobody", "imap://x/"), ("demo*", "imap://server2"), ("*", "imap://y/"))
)
MAILBOXES = ExtensionConfig(
    mailbox_referrals=(
        ("Team", "imap://server2/"),
        ("Team", "imap://server3:1143/Shared/Our%20Team"),
        ("News/World", "imap://reader@server4/World"),
    )
)


def names(answers: list[bytes]) -> list[bytes]:
    return [answer.rstrip().rsplit(b" ", 1)[1] for answer in answers]


async def test_a_user_of_another_server(imap_server, connect: Connect) -> None:
    client = await connect(await imap_server(extensions=LOGIN))
    assert b" LOGIN-REFERRALS " in client.greeting
    # Not for one who has not proved who it is: RFC 2221 6.
    answer = await client.command(b"LOGIN demouser wrong")
    assert b"NO [AUTHENTICATIONFAILED]" in answer.tagged
    code = b"NO [REFERRAL imap://demouser;AUTH=*@server2/] "
    answer = await client.command(b"LOGIN demouser demopass")
    assert answer.tagged.split(b" ", 1)[1].startswith(code)
    answer = await client.command(b"AUTHENTICATE PLAIN AGRlbW91c2VyAGRlbW9wYXNz")
    assert answer.tagged.split(b" ", 1)[1].startswith(code)
    assert (await client.command(b"SELECT INBOX")).condition == b"BAD"


async def test_nothing_is_announced_that_is_not_configured(imap_server, connect: Connect) -> None:
    client = await connect(await imap_server())
    assert b"REFERRALS" not in client.greeting
    answer = await client.command(b"LOGIN demouser demopass")
    assert b"REFERRALS" not in answer.tagged
    for command in (b'RLIST "" *', b'RLSUB "" *'):
        assert (await client.command(command)).condition == b"BAD"


TEAM = (
    b"[REFERRAL imap://demouser;AUTH=*@server2/Team%b"
    b" imap://demouser;AUTH=*@server3:1143/Shared/Our%%20Team%b]"
)


@pytest.mark.parametrize("store", ["dict", "remote"])
async def test_commands_that_name_a_mailbox_elsewhere(
    imap_server, connect: Connect, store: str
) -> None:
    """RFC 2193 4.1, 4.2, 4.4"""
    client = await connect(await imap_server(store=store, extensions=MAILBOXES))
    answer = await client.command(b"LOGIN demouser demopass")
    assert b" MAILBOX-REFERRALS " in answer.tagged
    assert b" LOGIN-REFERRALS" not in answer.tagged
    assert (await client.append(b"Subject: x\r\n\r\n")).condition == b"OK"
    for command in (
        b"CREATE Team", b"DELETE Team", b"SUBSCRIBE Team", b"UNSUBSCRIBE Team", b"CREATE Team/",
        b"STATUS Team (MESSAGES)", b"APPEND Team {5+}\r\nx: y\n", b"SELECT Team", b"EXAMINE Team",
    ):  # fmt: skip
        answer = await client.command(command)
        assert answer.tagged.split(b" ", 1)[1].startswith(b"NO " + TEAM % (b"", b"")), command
    answer = await client.command(b'SELECT "Team/a b/&AOQ-"')
    assert TEAM % ((b"/a%20b/%C3%A4",) * 2) in answer.tagged
    await client.ok(b"SELECT INBOX")
    for command in (b"COPY 1 Team", b"UID COPY 1 Team", b"MOVE 1 Team", b"UID MOVE 1 Team"):
        assert TEAM % (b"", b"") in (await client.command(command)).tagged
    # It stays selected until it is tried to select another one.   RFC 9051 6.3.2
    await client.ok(b"FETCH 1 UID")
    answer = await client.command(b"SELECT News/World")
    assert b"[REFERRAL imap://reader@server4/World]" in answer.tagged
    assert any(b"[CLOSED]" in line for line in answer.untagged)
    assert (await client.command(b"FETCH 1 UID")).condition == b"BAD"
    for near in (b"Teams", b"News", b"team"):
        await client.ok(b"CREATE ", near)


async def test_rename_is_told_pairs(imap_server, connect: Connect) -> None:
    """RFC 2193 4.3"""
    client = await (await connect(await imap_server(extensions=MAILBOXES))).login()
    await client.ok(b"CREATE here")
    answer = await client.command(b"RENAME Team/a News/World/b")
    assert (
        b"NO [REFERRAL imap://demouser;AUTH=*@server2/Team/a imap://reader@server4/World/b]"
    ) in answer.tagged
    for command in (b"RENAME here Team/here", b"RENAME Team here2"):
        assert b"NO [CANNOT]" in (await client.command(command)).tagged
    await client.ok(b"RENAME here there")


async def test_lists(imap_server, connect: Connect) -> None:
    """RFC 2193 3, 5; RFC 5258 3.1"""
    server = await imap_server(extensions=MAILBOXES)
    client = await (await connect(server)).login()
    await client.ok(b"CREATE Own")
    await client.ok(b"SUBSCRIBE Own")
    # What is in the store by that name cannot be reached, and is not shown.
    async with server.backend.account("demouser") as account:
        await account.create("Team/old")
        await account.subscribe("Team/old")
    assert names(await client.ok(b'LIST "" *')) == [b"INBOX", b"Own"]
    assert names(await client.ok(b'LSUB "" *')) == [b"Own"]
    assert await client.ok(b'RLIST "" *') == [
        b'* LIST (\\HasNoChildren) "/" INBOX\r\n',
        b'* LIST (\\Noselect \\HasChildren) "/" News\r\n',
        b'* LIST (\\Remote) "/" News/World\r\n',
        b'* LIST (\\HasNoChildren) "/" Own\r\n',
        b'* LIST (\\Remote) "/" Team\r\n',
    ]
    assert names(await client.ok(b'RLIST "" %')) == [b"INBOX", b"News", b"Own", b"Team"]
    assert names(await client.ok(b"RLIST News/ %")) == [b"News/World"]
    assert names(await client.ok(b'RLSUB "" *')) == [b"News/World", b"Own", b"Team"]
    assert await client.ok(b'RLSUB "" T%') == [b'* LSUB () "/" Team\r\n']
    assert await client.ok(b'RLIST "" ""') == [b'* LIST (\\Noselect) "/" ""\r\n']
    remote = await client.ok(b'LIST (REMOTE) "" Team RETURN (CHILDREN)')
    assert remote == [b'* LIST (\\Remote) "/" Team\r\n']
    listed = await client.ok(b'LIST (SUBSCRIBED REMOTE) "" *')
    assert names(listed) == [b"News/World", b"Own", b"Team"]
    assert b"\\Subscribed" in listed[0]


def test_names_are_encoded() -> None:
    refused = mailbox_referral(MAILBOXES, "a@b;c/d", c.Delete("t", 'Team/x"]\\%'))
    assert refused is not None
    assert refused.code is not None
    assert refused.code.startswith(
        "REFERRAL imap://a%40b%3Bc%2Fd;AUTH=*@server2/Team/x%22%5D%5C%25 imap://"
    )


def test_options() -> None:
    assert values.referral("a=b=imap://x") == ("a=b", "imap://x")
    assert values.referral("*@x=imap://u;AUTH=*@x:1/a%20b") == ("*@x", "imap://u;AUTH=*@x:1/a%20b")
    for wrong in ("", "a", "=imap://x", "a=http://x", "a=imap://", "a=imap://x/ y", "a=imap://x/]"):
        with pytest.raises(ArgumentTypeError):
            values.referral(wrong)
