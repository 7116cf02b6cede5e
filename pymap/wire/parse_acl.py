"""SETACL, DELETEACL, LISTRIGHTS; the other commands of RFC 4314 have a mailbox and no more."""

from __future__ import annotations

from pymap.limits import Limits
from pymap.wire.commands import DeleteAcl, ListRights, SetAcl
from pymap.wire.scanner import Scanner
from pymap.wire.types import FlagOp

__all__ = ["delete_acl", "list_rights", "set_acl"]


def set_acl(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> SetAcl:
    """setacl = "SETACL" SP mailbox SP identifier SP mod-rights; mod-rights = astring, with + or -
    before rights that are added or taken away.   RFC 4314 7"""
    s.sp()
    mailbox = s.mailbox()
    s.sp()
    identifier = s.text_argument()
    s.sp()
    rights = s.text_argument()
    op = {"+": FlagOp.ADD, "-": FlagOp.REMOVE}.get(rights[:1], FlagOp.SET)
    return SetAcl(tag, mailbox, identifier, op, rights if op is FlagOp.SET else rights[1:])


def delete_acl(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> DeleteAcl:
    """deleteacl = "DELETEACL" SP mailbox SP identifier   RFC 4314 7"""
    s.sp()
    mailbox = s.mailbox()
    s.sp()
    return DeleteAcl(tag, mailbox, s.text_argument())


def list_rights(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> ListRights:
    """listrights = "LISTRIGHTS" SP mailbox SP identifier   RFC 4314 7"""
    s.sp()
    mailbox = s.mailbox()
    s.sp()
    return ListRights(tag, mailbox, s.text_argument())
