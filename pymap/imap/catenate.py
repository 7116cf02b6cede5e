"""CATENATE: messages put together from octets of the command and parts of messages in the store.

Rule 1: a part is kept only when it is known that there is room for it, and nothing is joined before
        all parts are there.
Rule 2: each message is read once in a command, however many parts are taken from it. So the cost is
        in the octets of the command, of the messages that it names, and of what comes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pymap.backend.api import Mailbox
from pymap.backend.errors import MailboxNotFound, NoPermission
from pymap.imap.guarded import need
from pymap.imap.part import cut, named, read
from pymap.imap.session import Session
from pymap.limits import Limits
from pymap.wire.commands import Catenation, Message
from pymap.wire.errors import Refused
from pymap.wire.url import BadUrl, ImapUrl, escape, parse_url

__all__ = ["assemble"]

BREATH = 32  # URLs taken apart until others get their turn


class _Place(NamedTuple):
    """A URL, and where its octets go. Places compare by their order in the command."""

    message: int
    part: int
    text: str
    url: ImapUrl


async def assemble(session: Session, messages: Sequence[Message]) -> list[bytes]:
    r"""The octets of each message. Nothing becomes \Seen by it.   RFC 4469 3

    Raises Refused with TOOBIG, or with BADURL and the first text that is no URL, else the first
    URL that names nothing.   RFC 4469 4
    """
    room = _Room(session.limits, len(messages))
    urls = 0
    parts: list[list[bytes]] = []
    wanted: dict[tuple[str | None, int | None], list[_Place]] = {}
    for at, message in enumerate(messages):
        content = message.content
        given = content.parts if isinstance(content, Catenation) else (content,)
        for index, part in enumerate(given):
            if isinstance(part, bytes):
                room.take(at, len(part))
            else:
                place = _Place(at, index, part, _url(session, part))
                wanted.setdefault((place.url.mailbox, place.url.uid), []).append(place)
                urls += 1
                if urls % BREATH == 0:
                    await session.peer.breathe()
        parts.append([part if isinstance(part, bytes) else b"" for part in given])
    bad: list[_Place] = []
    mailboxes: dict[str | None, Mailbox | None] = {}
    for (name, _), places in wanted.items():
        if name not in mailboxes:
            mailboxes[name] = await _mailbox(session, name)
        bad += await _fill(mailboxes[name], places, parts, room)
        await session.peer.breathe()
    if bad:
        raise _bad_url(min(bad).text)
    return [pieces[0] if len(pieces) == 1 else b"".join(pieces) for pieces in parts]


async def _fill(
    mailbox: Mailbox | None, places: Sequence[_Place], parts: list[list[bytes]], room: _Room
) -> list[_Place]:
    """Put parts of one message where they go; returns the places for which there is none."""
    bad: list[_Place] = []
    uid = places[0].url.uid
    message = None if mailbox is None or uid is None else await read(mailbox, uid)
    for place in places:
        url = place.url
        octets = None
        if message is not None and url.uid_validity in (None, mailbox and mailbox.uid_validity):
            octets = await named(message, url.section)
        if octets is None:
            bad.append(place)
            continue
        octets = cut(octets, url.partial)
        room.take(place.message, len(octets))
        parts[place.message][place.part] = bytes(octets)
    return bad


def _url(session: Session, text: str) -> ImapUrl:
    """A URL of a message or part, relative to the session: no other is taken.   RFC 4469 3"""
    try:
        url = parse_url(text, session.delimiter)
    except BadUrl:
        raise _bad_url(text) from None
    if url.host is not None or url.uid is None or url.access or url.expires is not None:
        raise _bad_url(text)
    if url.mailbox is None and session.view is None:
        raise _bad_url(text)
    return url


async def _mailbox(session: Session, name: str | None) -> Mailbox | None:
    """The mailbox of that name, or the selected one; None if there is none to be read."""
    if name is None:
        return session.selected().mailbox
    try:
        mailbox = await session.authenticated().open(name)
        need(mailbox, "r")
        return mailbox
    except (MailboxNotFound, NoPermission):
        return None


def _bad_url(text: str) -> Refused:
    code = f"BADURL {escape(text)}" if text else None
    return Refused(code, "This URL names no message or part")


class _Room:
    """How much may still be put together."""

    def __init__(self, limits: Limits, messages: int) -> None:
        self._left = [limits.append] * messages
        self._total = limits.append_total

    def take(self, message: int, octets: int) -> None:
        """Raises Refused.   RFC 4469 4.2, RFC 7889 4"""
        self._left[message] -= octets
        self._total -= octets
        if self._left[message] < 0 or self._total < 0:
            raise Refused("TOOBIG", "Message too big")
