"""GETMETADATA and SETMETADATA.   RFC 5464"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pymap.backend.api import Mailbox, Properties
from pymap.backend.errors import BackendError, CannotDo, NoPermission
from pymap.imap.annotations import Values, read, read_both, write
from pymap.imap.filters import check_filter
from pymap.imap.guarded import need
from pymap.imap.session import Done, Session
from pymap.wire import responses as r
from pymap.wire.commands import GetMetadata, SetMetadata
from pymap.wire.errors import Refused

__all__ = ["get_metadata", "metadata_response", "set_metadata"]

SERVER = ""
ADMIN = "/shared/admin"

Answers = list[tuple[str, bytes | None]]


async def get_metadata(session: Session, command: GetMetadata) -> Done:
    """RFC 5464 4.2"""
    session.require("METADATA")
    known = await _known(session, command.mailbox)
    answers, too_large = _answers(known, command.entries, command.depth, command.max_size)
    if answers:
        session.send(r.MetadataResponse(session.shown(command.mailbox), answers))
    # "the size of the biggest entry value requested by the client that exceeded the MAXSIZE
    # limit".   RFC 5464 4.2.1
    code = f"METADATA LONGENTRIES {max(too_large)}" if too_large else None
    return Done("GETMETADATA completed", code)


async def metadata_response(
    session: Session, name: str, entries: Sequence[str]
) -> r.MetadataResponse:
    """What LIST tells of a mailbox: the same as GETMETADATA would.   RFC 9590 3"""
    answers, _ = _answers(await _known(session, name), entries, 0, None)
    return r.MetadataResponse(session.shown(name), answers)


async def _known(session: Session, mailbox: str) -> Values:
    """All that this client may see of a mailbox, or of the server."""
    user = _user(session)
    if mailbox != SERVER:
        found = await _mailbox(session, mailbox)
        return await read_both(_existing(found.properties), user)
    private, shared = _of_server(session)
    known = {**await read(private, "private", user), **await read(shared, "shared", user)}
    if session.extensions.admin_contact:
        known[ADMIN] = session.extensions.admin_contact.encode("utf-8")
    return known


def _answers(
    known: Mapping[str, bytes], entries: Iterable[str], depth: int | None, max_size: int | None
) -> tuple[Answers, list[int]]:
    """What is told, in order, and the sizes of what is too large for that. An entry that has no
    value, nor any below it, is told as NIL: the answer is required.   RFC 5464 4.2, RFC 9590 4"""
    answers: dict[str, tuple[str, bytes | None]] = {}
    too_large: dict[str, int] = {}
    for entry in entries:
        found = _at(known, entry.lower(), depth)
        for name in found:
            value = known[name]
            if max_size is not None and len(value) > max_size:
                too_large[name] = len(value)
            else:
                # As the client spells it, so that it finds it again.
                answers.setdefault(name, (entry + name[len(entry) :], value))
        if not found:
            answers.setdefault(entry.lower(), (entry, None))
    return list(answers.values()), list(too_large.values())


def _at(known: Mapping[str, bytes], entry: str, depth: int | None) -> list[str]:
    """That entry, and those at most so many levels below.   RFC 5464 4.2.2"""
    found = [entry] if entry in known else []
    if depth == 0:
        return found
    below = sorted(name for name in known if name.startswith(entry + "/"))
    return found + [n for n in below if depth is None or n.count("/", len(entry)) <= depth]


async def set_metadata(session: Session, command: SetMetadata) -> Done:
    """All or none of them.   RFC 5464 4.3"""
    session.require("METADATA")
    values, user, limits = dict(command.values), _user(session), session.limits
    if command.mailbox != SERVER:
        mailbox = await _mailbox(session, command.mailbox)
        await write(_existing(mailbox.properties), values, user, limits)
        session.annotated(mailbox, values)
        return Done("SETMETADATA completed")
    if ADMIN in values:
        raise Refused("NOPERM", "The administrator says that")  # RFC 5464 3.2.1.1: read-only
    for entry, value in values.items():
        check_filter(session, entry, value)
    private, shared = _of_server(session)
    of_all = {entry: value for entry, value in values.items() if entry.startswith("/shared/")}
    own = {entry: value for entry, value in values.items() if entry not in of_all}
    if of_all and not await session.authenticator.is_master(session.authenticated_as or ""):
        raise Refused("NOPERM", "Only masters change what the server tells everybody")
    before = await write(private, own, user, limits) if own else {}
    try:
        if of_all:
            await write(shared, of_all, user, limits)
    except (BackendError, Refused):
        # "the server MUST NOT change the values for other annotations"
        if before:
            await write(private, before, user, limits)
        raise
    session.annotated(None, values)
    return Done("SETMETADATA completed")


def _user(session: Session) -> str:
    assert session.user is not None
    return session.user


async def _mailbox(session: Session, name: str) -> Mailbox:
    """Whose annotations this user may read and set.   RFC 5464 3.3"""
    mailbox = await session.authenticated().open(name)
    need(mailbox, "l")
    if mailbox.rights.isdisjoint("rswip"):
        raise NoPermission
    return mailbox


def _of_server(session: Session) -> tuple[Properties, Properties]:
    """For private entries, and for shared ones."""
    return (
        _existing(session.authenticated().properties),
        _existing(session.backend.properties("server")),
    )


def _existing(properties: Properties | None) -> Properties:
    if properties is None:
        raise CannotDo("Nothing can be kept there")
    return properties
