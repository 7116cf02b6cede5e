"""GETQUOTA, GETQUOTAROOT, SETQUOTA. What the limits mean is in `backend/quota`.

An account is one quota root, which has the name of its user.   RFC 9208 3.2
"""

from __future__ import annotations

from pymap.backend.api import Account, Quota
from pymap.backend.errors import NoPermission
from pymap.imap.session import Done, Session
from pymap.wire import responses as r
from pymap.wire.commands import GetQuota, GetQuotaRoot, SetQuota
from pymap.wire.errors import Refused

__all__ = ["getquota", "getquotaroot", "setquota"]

KIB = 1024  # octets in a unit of STORAGE


async def getquota(session: Session, command: GetQuota) -> Done:
    """RFC 9208 4.1.1"""
    await _tell(session, command.root, _account_of(session, command.root))
    return Done("GETQUOTA completed")


async def getquotaroot(session: Session, command: GetQuotaRoot) -> Done:
    """The mailbox need not exist. That of another user has a root that is not to be
    told.   RFC 9208 4.1.2, 8"""
    if (await session.place(command.mailbox)).owner != session.user:
        session.send(r.QuotaRootResponse(session.shown(command.mailbox), ()))
        return Done("GETQUOTAROOT completed")
    root = session.user or ""
    session.send(r.QuotaRootResponse(session.shown(command.mailbox), (root,)))
    await _tell(session, root, _account_of(session, root))
    return Done("GETQUOTAROOT completed")


async def setquota(session: Session, command: SetQuota) -> Done:
    """What is not named is not limited any more, by the operator's default neither.

    For masters: one who acts for the user, or is the user.   RFC 9208 4.1.3, 8
    """
    session.require("QUOTASET")
    account = _account_of(session, command.root)
    if not await session.authenticator.is_master(session.authenticated_as or ""):
        raise NoPermission("Only a master may change a quota")
    asked = dict(command.limits)
    storage = asked.pop("STORAGE", None)
    octets = None if storage is None else storage * KIB
    quota = Quota(octets, asked.pop("MESSAGE", None), asked.pop("MAILBOX", None))
    if asked:
        raise Refused("CANNOT", f"{next(iter(asked))} cannot be limited")
    await session.quotas.set(account, quota)
    await _tell(session, command.root, account)
    return Done("SETQUOTA completed")


def _account_of(session: Session, root: str) -> Account:
    """That of a quota root. Whether somebody else's exists is not to be told.   RFC 9208 8"""
    if root != session.user:
        raise Refused("NONEXISTENT", "No such quota root")
    return session.authenticated()


async def _tell(session: Session, root: str, account: Account) -> None:
    """Usage is rounded up: who has one octet does not have nothing."""
    quota = await session.quotas.of(account)
    found: list[tuple[str, int, int]] = []
    if quota.limits_mail:
        usage = await account.usage(quota)
        if quota.octets is not None:
            found.append(("STORAGE", -(-usage.octets // KIB), quota.octets // KIB))
        if quota.messages is not None:
            found.append(("MESSAGE", usage.messages, quota.messages))
    # There is always one limit: inherent ones should be told as well.   RFC 9208 3.2
    most = session.limits.mailboxes
    most = most if quota.mailboxes is None else min(most, quota.mailboxes)
    found.append(("MAILBOX", await account.count_mailboxes(), most))
    session.send(r.QuotaResponse(root, found))
