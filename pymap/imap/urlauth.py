"""GENURLAUTH and RESETKEY: a user lets others read a part of a message, by its URL.   RFC 4467

Rule 1: a token is an HMAC of the URL as it stands, to the octet. Its first octet names the
        algorithm, so that another can follow without the old tokens being lost (RFC 4467 2.4.1).
Rule 2: the key is one mailbox's and one user's, is made when it is first needed, and never leaves
        the server. It is kept among the properties of the mailbox, and so ends with it: a mailbox
        that gets the name of another does not get its URLs.
Rule 3: the host of a URL is not looked at. It is part of what was authorized, so nothing can be had
        under another name than the one that the owner wrote; and which names a server goes by,
        behind a proxy or beside others over one store, it does not know.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from secrets import token_bytes
from urllib.parse import quote

from pymap.backend.api import Mailbox
from pymap.backend.errors import CannotDo, MailboxGone, MailboxNotFound
from pymap.imap.guarded import bare, need
from pymap.imap.session import Done, Session
from pymap.wire import responses as r
from pymap.wire.commands import GenUrlAuth, ResetKey
from pymap.wire.errors import BadCommand
from pymap.wire.url import BadUrl, ImapUrl, parse_url

__all__ = ["gen_url_auth", "key_of", "reset_key", "verified"]

INTERNAL = "INTERNAL"
_HMAC_SHA256 = b"\1"
_KEY_SIZE = 32


async def gen_url_auth(session: Session, command: GenUrlAuth) -> Done:
    """RFC 4467 7"""
    session.require("URLAUTH")
    authorized = []
    keys: dict[str, bytes] = {}
    for text, mechanism in command.urls:
        if mechanism != INTERNAL:
            raise BadCommand("Unknown mechanism")
        name, uid_validity = _own_mailbox(session, text)
        try:
            mailbox = await session.authenticated().open(name)
            need(mailbox, "r")  # nobody gives what he has not
        except MailboxNotFound as error:
            raise BadCommand(str(error)) from error
        # A URL that is stale is one of a mailbox that does not exist.   RFC 5092 5
        if uid_validity not in (None, mailbox.uid_validity):
            raise BadCommand("The mailbox has another UIDVALIDITY")
        if mailbox.id not in keys:
            keys[mailbox.id] = await _make_key(mailbox, session.user or "")
        authorized.append(f"{text}:{INTERNAL}:{_token(keys[mailbox.id], text).hex()}")
        if len(authorized) % 32 == 0:
            await session.peer.breathe()
    session.send(r.GenUrlAuth(authorized))
    return Done("GENURLAUTH completed")


def _own_mailbox(session: Session, text: str) -> tuple[str, int | None]:
    """The mailbox of a URL that this user may authorize, and its UIDVALIDITY. Whether there is
    anybody of the name that it is for is not looked at, so not told either.   RFC 4467 7"""
    try:
        url = parse_url(text, session.delimiter)
    except BadUrl as error:
        raise BadCommand("Not an IMAP URL") from error
    if url.access is None or url.token is not None:
        raise BadCommand("The URL must end in an access identifier")
    if url.host is None or url.mailbox is None or url.user is None:
        raise BadCommand("The URL must name its owner and the server")
    if url.user != session.user:
        raise BadCommand("The URL must be one of yours")
    return url.mailbox, url.uid_validity


async def reset_key(session: Session, command: ResetKey) -> Done:
    """What was authorized with the old key is so no longer.   RFC 4467 7"""
    session.require("URLAUTH")
    if any(mechanism != INTERNAL for mechanism in command.mechanisms):
        raise BadCommand("Unknown mechanism")
    if command.mailbox is None:
        await _remove_keys(session)
        return Done("All keys removed")
    mailbox = await session.authenticated().open(command.mailbox)
    need(mailbox, "r")
    properties, user = mailbox.properties, session.user or ""
    if properties is None:
        raise CannotDo
    await properties.write({_name(user): token_bytes(_KEY_SIZE)})
    opened = session.open_mailboxes.get(bare(mailbox))
    opened.rekey(user)
    if (view := session.view) is not None and view.opened is opened:
        view.rekeyed = opened.rekeyed[user]  # this session hears of it here
    return Done("New key", session.url_mechanisms)


async def _remove_keys(session: Session) -> None:
    account, name = session.authenticated(), _name(session.user or "")
    for info in await account.mailboxes():
        if info.id is None:
            continue
        try:
            properties = (await account.open(info.name)).properties
            if properties is not None and name in await properties.read():
                await properties.write({name: None})
        except (MailboxNotFound, MailboxGone):
            continue  # and its key with it
        await session.peer.breathe()


# -- keys and tokens --


def _name(user: str) -> str:
    # As annotations name users: keys of properties have no control characters.
    return f"urlauth/{quote(user, safe='', errors='surrogatepass')}"


async def key_of(mailbox: Mailbox, user: str) -> bytes | None:
    """The key that a user's URLs of a mailbox are authorized with, if there is one."""
    if mailbox.properties is None:
        return None
    return (await mailbox.properties.read()).get(_name(user))


async def _make_key(mailbox: Mailbox, user: str) -> bytes:
    """The same; one is made if there is none, however many sessions want it at once."""
    if mailbox.properties is None:
        raise CannotDo
    while (key := await key_of(mailbox, user)) is None:
        made = {_name(user): token_bytes(_KEY_SIZE)}
        await mailbox.properties.write(made, expected={_name(user): None})
    return key


def _token(key: bytes, rump: str) -> bytes:
    return _HMAC_SHA256 + hmac.digest(key, rump.encode("utf-8"), sha256)


def verified(url: ImapUrl, rump: str, key: bytes | None) -> bool:
    """Whether the URL's token was made for its rump. Without a key the work is the same, so that
    time does not tell what mailboxes there are.   RFC 4467 6"""
    expected = _token(key or token_bytes(_KEY_SIZE), rump)
    return hmac.compare_digest(expected, url.token or b"") and key is not None
