"""SETACL, DELETEACL, GETACL, LISTRIGHTS, MYRIGHTS.   RFC 4314"""

from __future__ import annotations

from pymap.auth.preparation import prepare
from pymap.backend.rights import (
    ALL_RIGHTS,
    NO_RIGHTS,
    OWNERS_ALWAYS,
    Rights,
    parse_rights,
    render_rights,
)
from pymap.imap.guarded import need_right
from pymap.imap.session import Done, Session
from pymap.wire import responses as r
from pymap.wire.commands import DeleteAcl, GetAcl, ListRights, MyRights, SetAcl
from pymap.wire.errors import BadCommand, Refused
from pymap.wire.types import FlagOp

__all__ = ["delete_acl", "get_acl", "list_rights", "my_rights", "set_acl"]


def _identifier(text: str) -> str:
    """In the form in which names are compared. What cannot be prepared or is empty is BAD.

    RFC 4314 3
    """
    sign = "-" if text.startswith("-") else ""
    try:
        prepared = prepare(text.removeprefix(sign))
    except ValueError as error:
        raise BadCommand("This cannot be an identifier") from error
    if len(prepared.encode("utf-8")) > LONGEST:
        raise Refused("LIMIT", "The identifier is too long")
    return sign + prepared


LONGEST = 500
"""Octets of an identifier."""


async def set_acl(session: Session, command: SetAcl) -> Done:
    """RFC 4314 3.1"""
    session.require("ACL")
    identifier = _identifier(command.identifier)
    try:
        rights = parse_rights(command.rights)
    except ValueError as error:
        raise BadCommand("Unknown right") from error  # RFC 4314 3.1

    def change(before: Rights) -> Rights:
        match command.op:
            case FlagOp.ADD:
                return before | rights
            case FlagOp.REMOVE:
                return before - rights
            case FlagOp.SET:
                return rights

    await session.sharing().change_access(command.mailbox, identifier, change)
    return Done("SETACL completed")


async def delete_acl(session: Session, command: DeleteAcl) -> Done:
    """RFC 4314 3.2"""
    session.require("ACL")
    identifier = _identifier(command.identifier)
    await session.sharing().change_access(command.mailbox, identifier, None)
    return Done("DELETEACL completed")


async def get_acl(session: Session, command: GetAcl) -> Done:
    """RFC 4314 3.3"""
    session.require("ACL")
    entries = await session.sharing().access_list(command.mailbox)
    shown = [(identifier, render_rights(entries[identifier])) for identifier in sorted(entries)]
    session.send(r.AclResponse(session.shown(command.mailbox), shown))
    return Done("GETACL completed")


async def list_rights(session: Session, command: ListRights) -> Done:
    """No right hangs on another. The identifier is told as the client wrote it.   RFC 4314 3.4"""
    session.require("ACL")
    identifier = _identifier(command.identifier)
    sharing = session.sharing()
    need_right(await sharing.rights(command.mailbox), "a")
    owner = (await sharing.place(command.mailbox)).owner
    always, never = NO_RIGHTS, NO_RIGHTS
    if identifier == owner:
        always = OWNERS_ALWAYS
    elif identifier == f"-{owner}":
        never = OWNERS_ALWAYS
    possible = tuple(render_rights(ALL_RIGHTS - always - never))
    session.send(
        r.ListRightsResponse(
            session.shown(command.mailbox), command.identifier, render_rights(always), possible
        )
    )
    return Done("LISTRIGHTS completed")


async def my_rights(session: Session, command: MyRights) -> Done:
    """RFC 4314 3.5"""
    session.require("ACL")
    rights = await session.sharing().rights(command.mailbox)
    session.send(r.MyRightsResponse(session.shown(command.mailbox), render_rights(rights)))
    return Done("MYRIGHTS completed")
