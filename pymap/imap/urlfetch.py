"""URLFETCH: what somebody has authorized is read by others.   RFC 4467, RFC 5524

Rule 1: who asks learns nothing but the data: whatever is wrong with a URL, the answer is NIL.
Rule 2: a URL is read as its owner would read it now, in the owner's account, which is entered for
        the moment; the token only says that the owner wants it so.   RFC 4467 7
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Concatenate, NamedTuple, ParamSpec, TypeVar

from pymap import mime
from pymap.backend.api import Account
from pymap.backend.errors import FAULTS, BackendError, MailboxGone, MailboxNotFound
from pymap.imap.part import Read, cut, named, read
from pymap.imap.session import THREAD, Done, Session
from pymap.imap.sharing import enter_account
from pymap.imap.urlauth import INTERNAL, key_of, verified
from pymap.wire import responses as r
from pymap.wire.commands import UrlFetch, UrlItem
from pymap.wire.url import Access, BadUrl, ImapUrl, parse_url, split_token

__all__ = ["url_fetch"]

CHUNK = 64 * 1024  # octets until the answer is sent on its way
_NUL = re.compile(rb"\0")

Octets = bytes | memoryview
_P = ParamSpec("_P")
_T = TypeVar("_T")


class _Authorized(NamedTuple):
    """A URL whose form is right; whether its token is remains to be seen."""

    url: ImapUrl
    owner: str
    mailbox: str
    uid: int
    rump: str


async def url_fetch(session: Session, command: UrlFetch) -> Done:
    """One response for each URL, so that only one message is held at a time."""
    session.require("URLAUTH")
    if any(wanted.items for wanted in command.urls):
        session.require("URLAUTH=BINARY")
    for wanted in command.urls:
        authorized = _authorized(wanted.url, session.delimiter)
        message = None if authorized is None else await _message(session, authorized)
        # Nothing is said before all of an answer is known: an error of the store is a NO.
        answer: Sequence[Octets] = (b" NIL",)
        if message is not None and authorized is not None:
            answer = await _answer(message, authorized.url, wanted.items)
        session.peer.write(b"* URLFETCH " + r.string(wanted.url.encode("utf-8")))
        for octets in answer:
            await _write(session, octets)
        session.peer.write(b"\r\n")
        await session.peer.breathe()
    return Done("URLFETCH completed")


# -- who may read what --


def _authorized(text: str, delimiter: str) -> _Authorized | None:
    try:
        rump, _ = split_token(text)
        url = parse_url(text, delimiter)
    except BadUrl:
        return None
    if url.host is None or url.user is None or url.mailbox is None or url.uid is None:
        return None
    # After that date and time it MUST be rejected.   RFC 4467 3
    if url.mechanism != INTERNAL or (url.expires is not None and url.expires < time.time()):
        return None
    return _Authorized(url, url.user, url.mailbox, url.uid, rump)


async def _message(session: Session, wanted: _Authorized) -> Read | None:
    """The message of a URL that is for this session, None if anything is wrong with it. Raises
    those errors of the store that pass."""
    try:
        there = (
            wanted.owner == session.user
            or await session.backend.users.get(wanted.owner) is not None
        )
        async with _account(session, wanted.owner, there) as account:
            return await _read(session, account, there, wanted)
    except BackendError as error:
        if error.code in FAULTS:
            raise
        return None


@asynccontextmanager
async def _account(session: Session, owner: str, there: bool) -> AsyncIterator[Account]:
    """The account of a user. Of one that is not there, the asker's: entering his would make it, and
    with less work to do, time would tell what users there are."""
    if owner == session.user:
        yield session.authenticated()
        return
    # With what others share with the owner, as far as he may read it by now.
    user = owner if there else session.user or ""
    async with enter_account(session.backend, user, session.limits) as account:
        yield account


async def _read(
    session: Session, account: Account, there: bool, wanted: _Authorized
) -> Read | None:
    mailbox = key = None
    try:
        mailbox = await account.open(wanted.mailbox)
        key = await key_of(mailbox, wanted.owner)
    except (MailboxNotFound, MailboxGone):
        mailbox = None
    if not verified(wanted.url, wanted.rump, key if there else None) or mailbox is None:
        return None
    if not await _is_for(session, wanted.url):
        return None
    # Of a stale URL, the mailbox does not exist.   RFC 5092 5
    if wanted.url.uid_validity not in (None, mailbox.uid_validity):
        return None
    return await read(mailbox, wanted.uid)


async def _is_for(session: Session, url: ImapUrl) -> bool:
    """Whether the access identifier means this session's authorization identity.   RFC 4467 3"""
    name = session.user or ""
    match url.access:
        case Access.ANONYMOUS | Access.AUTHUSER:
            return True  # nobody logs in as anonymous
        case Access.USER:
            return url.access_user == name
        case Access.SUBMIT:
            # That the message is submitted by the user named there, the submission server "MUST
            # validate", not we.
            if name in session.extensions.submitters:
                return True
            user = await session.backend.users.get(name)
            return user is not None and "submit" in user.roles
        case None:
            return False


# -- what it is --


async def _answer(message: Read, url: ImapUrl, items: Sequence[UrlItem]) -> Sequence[Octets]:
    """What follows the URL. A part that is not there is empty, for NIL is said of URLs (RFC 4467
    8); what cannot be decoded is NIL (RFC 5524 3.2)."""
    octets = cut(await named(message, url.section) or b"", url.partial)
    if not items:
        return (b" ", *_nstring(octets))
    decoded: Octets | None = None
    if UrlItem.BINARY in items:
        decoded = await _in_thread_if_large(_decoded, message, url)
    answer: list[Octets] = []
    for item in items:
        answer.append(f" ({item.value} ".encode("ascii"))
        match item:
            case UrlItem.BODY:
                answer += _nstring(octets)
            case UrlItem.BINARY:
                answer += _nstring(None if decoded is None else cut(decoded, url.partial))
            case UrlItem.BODYPARTSTRUCTURE:
                structure = await _in_thread_if_large(_structure, message, url, decoded)
                if structure is None:
                    return (b" NIL",)  # there is no NIL among the structures
                answer.append(structure)
        answer.append(b")")
    return answer


def _decoded(message: Read, url: ImapUrl) -> Octets | None:
    """The part without its Content-Transfer-Encoding; headers have none.   RFC 5524 3.1"""
    content, parts = message.content, message.digest.parts
    try:
        if url.section.text is None:
            return mime.binary(content, parts, url.section.path) or b""
        return mime.section(content, parts, url.section) or b""
    except mime.UnknownEncoding:
        return None


def _structure(message: Read, url: ImapUrl, decoded: Octets | None) -> bytes | None:
    """The structure of the part: as it comes, so decoded if that is what is wanted."""
    if url.section.text is not None:
        decoded = None
    content, parts = message.content, message.digest.parts
    return mime.part_structure(content, parts, url.section.path, decoded)


def _nstring(octets: Octets | None) -> Sequence[Octets]:
    """nstring / literal8, which is for octets with NUL.   RFC 5524 5"""
    if octets is None:
        return (b"NIL",)
    if not octets:
        return (b'""',)
    tilde = b"~" if _NUL.search(octets) else b""
    return b"%b{%d}\r\n" % (tilde, len(octets)), octets


async def _write(session: Session, octets: Octets) -> None:
    """A chunk at a time, at the client's pace."""
    view = memoryview(octets)
    for start in range(0, len(view), CHUNK):
        session.peer.write(view[start : start + CHUNK])
        if len(view) > CHUNK:
            await session.peer.breathe()


async def _in_thread_if_large(
    call: Callable[Concatenate[Read, _P], _T], message: Read, *args: _P.args, **kwargs: _P.kwargs
) -> _T:
    """Take a message apart; off the event loop, where that takes long."""
    if len(message.content) > THREAD:
        return await asyncio.to_thread(call, message, *args, **kwargs)
    return call(message, *args, **kwargs)
