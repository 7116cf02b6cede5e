"""GETQUOTA, GETQUOTAROOT and SETQUOTA.   RFC 9208 7"""

from __future__ import annotations

from pymap.limits import Limits
from pymap.wire.commands import GetQuota, GetQuotaRoot, SetQuota
from pymap.wire.errors import BadCommand
from pymap.wire.scanner import Scanner

__all__ = ["getquota", "getquotaroot", "setquota"]

RESOURCES = 20
"""In one SETQUOTA: four are registered."""


def getquota(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> GetQuota:
    """getquota = "GETQUOTA" SP quota-root-name"""
    s.sp()
    return GetQuota(tag, s.text_argument())


def getquotaroot(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> GetQuotaRoot:
    """getquotaroot = "GETQUOTAROOT" SP mailbox"""
    s.sp()
    return GetQuotaRoot(tag, s.mailbox())


def setquota(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> SetQuota:
    """setquota = "SETQUOTA" SP quota-root-name SP setquota-list
    setquota-list = "(" [setquota-resource *(SP setquota-resource)] ")"
    setquota-resource = resource-name SP resource-limit"""
    s.sp()
    root = s.text_argument()
    s.sp()
    s.expect(b"(")
    asked: dict[str, int] = {}
    while not s.accept(b")"):
        if asked:
            s.sp()
        name = s.keyword()
        s.sp()
        if name in asked or len(asked) == RESOURCES:
            raise BadCommand("A resource twice, or too many of them")
        asked[name] = s.number64()
    return SetQuota(tag, root, tuple(asked.items()))
