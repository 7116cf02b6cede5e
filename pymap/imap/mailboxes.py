"""CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE, NAMESPACE, STATUS."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pymap.backend.api import DELIMITER, Account, Mailbox, MailboxStatus
from pymap.backend.errors import (
    BackendError,
    CannotDo,
    MailboxExists,
    MailboxNotFound,
    OverQuota,
)
from pymap.backend.quota import Quotas
from pymap.imap.annotations import copy_all
from pymap.imap.guarded import move, need
from pymap.imap.session import Done, Session
from pymap.imap.sharing import OTHERS, SharedAccount, owner_of_new
from pymap.limits import Limits
from pymap.wire import responses as r
from pymap.wire.commands import (
    Create,
    Delete,
    Namespace,
    Rename,
    Status,
    StatusItem,
    Subscribe,
    Unsubscribe,
)
from pymap.wire.errors import Refused
from pymap.wire.types import UidSet, fold_inbox

__all__ = [
    "check_name",
    "create",
    "create_mailbox",
    "delete",
    "delete_mailbox",
    "namespace",
    "namespaces",
    "open_target",
    "rename",
    "rename_mailbox",
    "status",
    "status_items",
    "subscribe",
    "unsubscribe",
]

INBOX = "INBOX"

# Control characters, and the separators of lines and paragraphs.   RFC 6855 3
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SPECIAL_USES = ("\\All", "\\Archive", "\\Drafts", "\\Flagged", "\\Junk", "\\Sent", "\\Trash",
                 "\\Important")  # fmt: skip
"""RFC 6154 2, RFC 8457 2"""


def check_name(name: str, limits: Limits) -> str:
    """A name that a mailbox may get. A trailing delimiter says that the client means to make
    inferiors, and is not part of it (RFC 9051 6.3.4)."""
    name = name.removesuffix(DELIMITER)
    if not all(name.split(DELIMITER)):
        raise CannotDo("A level of the name is empty")
    if _FORBIDDEN.search(name):
        raise CannotDo("The name has a control character")
    if len(name.encode("utf-8")) > limits.mailbox_name:
        raise Refused("LIMIT", "The name is too long")
    if name.count(DELIMITER) >= limits.mailbox_levels:
        raise Refused("LIMIT", "The name has too many levels")
    return fold_inbox(name)


async def open_target(session: Session, name: str) -> Mailbox:
    """Where COPY, MOVE and APPEND go. TRYCREATE says that creating it would help.  RFC 9051 7.1"""
    try:
        target = await session.authenticated().open(name)
        need(target, "i")
        return target
    except MailboxNotFound as error:
        raise Refused("TRYCREATE", str(error)) from error


# -- the rules, for whoever makes and removes mailboxes: a session, the admin service --


async def create_mailbox(
    account: Account, quotas: Quotas, limits: Limits, name: str, special_use: Sequence[str] = ()
) -> tuple[str, Mailbox]:
    """Returns also the name that it got. Raises OverQuota.   RFC 9051 6.3.4, RFC 6154 3"""
    name = check_name(name, limits)
    by_folded = {use.lower(): use for use in _SPECIAL_USES}
    try:
        uses = tuple(by_folded[use.lower()] for use in special_use)
    except KeyError as error:
        raise Refused("USEATTR", "Unknown special use") from error
    await _check_room(quotas, account, await owner_of_new(account, name), name)
    return name, await account.create(name, uses)


async def _check_room(quotas: Quotas, account: Account, owner: Account, name: str) -> None:
    """Raises OverQuota, but MailboxExists if it is there: many clients create what they need each
    time, and look at nothing but that."""
    try:
        await quotas.check_mailbox(owner)
    except OverQuota:
        if any(info.name == name and info.id is not None for info in await account.mailboxes()):
            raise MailboxExists from None
        raise


async def delete_mailbox(account: Account, name: str) -> None:
    """A name that is only a level above others cannot be deleted: RFC 9051 6.3.5."""
    if name == INBOX:
        raise CannotDo("INBOX cannot be deleted")
    try:
        await account.delete(name)
    except MailboxNotFound:
        below = name + DELIMITER
        if any(info.name.startswith(below) for info in await account.mailboxes()):
            raise Refused("HASCHILDREN", "Only its inferiors can be deleted") from None
        raise


async def rename_mailbox(
    account: Account, quotas: Quotas, limits: Limits, name: str, new_name: str
) -> None:
    """Only that of INBOX makes a mailbox more. Raises OverQuota.   RFC 9051 6.3.6"""
    new_name = check_name(new_name, limits)
    if name == INBOX:
        owner = await owner_of_new(account, new_name)
        if isinstance(account, SharedAccount) and owner is not account.own:
            raise CannotDo("A mailbox stays in its account")
        await _check_room(quotas, account, owner, new_name)
        return await _rename_inbox(account, new_name)
    if new_name == name:
        raise MailboxExists
    if new_name.startswith(name + DELIMITER):
        raise CannotDo("A mailbox cannot become its own inferior")
    await account.rename(name, new_name)


async def _rename_inbox(account: Account, new_name: str) -> None:
    """The messages move to a new mailbox, INBOX stays and is empty, its inferiors stay where they
    are. It is made first, so that a crash loses nothing.   RFC 9051 6.3.6, RFC 5464 4.1"""
    inbox = await account.open(INBOX)
    target = await account.create(new_name)
    try:
        await copy_all(inbox, target)  # "annotations are preserved on the INBOX"
        snapshot = await inbox.snapshot()
        await move(inbox, UidSet.from_sorted(snapshot.uids), target)
    except BackendError:
        if not (await target.snapshot()).uids:
            await account.delete(new_name)  # nothing came: it can be tried again
        raise


# -- the commands --


async def create(session: Session, command: Create) -> Done:
    """MAILBOXID RFC 8474 4.2"""
    name, made = await create_mailbox(
        session.authenticated(),
        session.quotas,
        session.limits,
        command.mailbox,
        command.special_use,
    )
    shown = session.shown(name)
    if session.rev2 and command.supplied.removesuffix(session.delimiter) != shown:
        session.send(r.ListResponse(shown, (), session.delimiter, old_name=command.supplied))
    session.did(name)
    return Done("CREATE completed", f"MAILBOXID ({made.id})")


async def delete(session: Session, command: Delete) -> Done:
    account, name = session.authenticated(), command.mailbox
    selected = session.view
    is_own = selected is not None and selected.mailbox.id == await _id_of(session, name)
    await delete_mailbox(account, name)
    if is_own:
        # The client throws away the mailbox that it has selected: no reason for BYE.
        session.deselect()
    session.did(name)
    return Done("DELETE completed")


async def _id_of(session: Session, name: str) -> str | None:
    try:
        return (await session.authenticated().open(name)).id
    except MailboxNotFound:
        return None


async def rename(session: Session, command: Rename) -> Done:
    account, new_name = session.authenticated(), command.new_name
    await rename_mailbox(account, session.quotas, session.limits, command.mailbox, new_name)
    session.did(command.mailbox, new_name.removesuffix(DELIMITER))
    return Done("RENAME completed")


async def subscribe(session: Session, command: Subscribe) -> Done:
    """Names that do not exist may be subscribed: RFC 9051 6.3.7 lets the server choose, and clients
    subscribe before they create."""
    name = check_name(command.mailbox, session.limits)
    await session.authenticated().subscribe(name)
    session.did(name)
    return Done("SUBSCRIBE completed")


async def unsubscribe(session: Session, command: Unsubscribe) -> Done:
    name = command.mailbox.removesuffix(DELIMITER)
    await session.authenticated().unsubscribe(name)
    session.did(name)
    return Done("UNSUBSCRIBE completed")


async def namespace(session: Session, command: Namespace) -> Done:
    """RFC 2342"""
    session.send(namespaces(session))
    return Done("NAMESPACE completed")


def namespaces(session: Session) -> r.NamespaceResponse:
    """What others share with everybody is below their names, not in a namespace of its own."""
    if not isinstance(session.account, SharedAccount):
        return r.NamespaceResponse(session.delimiter)
    prefix = OTHERS.removesuffix(DELIMITER)
    said = prefix if session.language is None else session.language.say(prefix)
    translation = None if said == prefix else said + session.delimiter
    return r.NamespaceResponse(session.delimiter, session.shown(OTHERS), translation)


async def status(session: Session, command: Status) -> Done:
    """RFC 9051 6.3.11"""
    mailbox = await session.authenticated().open(command.mailbox)
    if StatusItem.HIGHESTMODSEQ in command.items:
        session.enable("CONDSTORE")  # RFC 7162 3.1
    items = await status_items(session, mailbox, command.items)
    session.send(r.StatusResponse(session.shown(command.mailbox), items))
    return Done("STATUS completed")


async def status_items(
    session: Session, mailbox: Mailbox, items: tuple[StatusItem, ...]
) -> list[tuple[str, str]]:
    """Names and values of STATUS, in the order asked for."""
    found = await mailbox.status()
    return [(item.value, _status_item(session, mailbox, found, item)) for item in items]


def _status_item(
    session: Session, mailbox: Mailbox, status: MailboxStatus, item: StatusItem
) -> str:
    match item:
        case StatusItem.MESSAGES:
            return str(status.messages)
        case StatusItem.RECENT:
            return str(0 if session.rev2 else status.recent)
        case StatusItem.UIDNEXT:
            return str(status.uid_next)
        case StatusItem.UIDVALIDITY:
            return str(mailbox.uid_validity)
        case StatusItem.UNSEEN:
            return str(status.unseen)
        case StatusItem.DELETED:
            return str(status.deleted)
        case StatusItem.SIZE:
            return str(status.size)
        case StatusItem.HIGHESTMODSEQ:
            return str(status.modseq)
        case StatusItem.MAILBOXID:
            return f"({mailbox.id})"
        case StatusItem.APPENDLIMIT:
            return str(session.limits.append)
        case StatusItem.DELETED_STORAGE:
            return str(status.deleted_size)
