"""Why a store cannot do what it was asked. Each error knows the response code that tells a
client (RFC 5530, RFC 9051 7.1); the engine maps them to NO in one place.

A store raises these and nothing else. What its own libraries raise, it translates at the place
where it calls them, `from` the original. The text is for people: no paths, keys or secrets.
"""

from __future__ import annotations

__all__ = [
    "FAULTS",
    "BackendError",
    "CannotDo",
    "Corrupt",
    "InUse",
    "LimitReached",
    "MailboxExists",
    "MailboxGone",
    "MailboxNotFound",
    "MessageExpunged",
    "NoPermission",
    "OverQuota",
    "ReadOnly",
    "TooBig",
    "Unavailable",
]


class BackendError(Exception):
    """It cannot be done."""

    code: str | None = None
    default = "It cannot be done"

    def __init__(self, text: str | None = None) -> None:
        super().__init__(text or self.default)


class MailboxNotFound(BackendError):
    """No mailbox of that name; TRYCREATE where creating it would help (RFC 9051 7.1)."""

    code = "NONEXISTENT"
    default = "No such mailbox"


class MailboxExists(BackendError):
    code = "ALREADYEXISTS"
    default = "Mailbox already exists"


class MailboxGone(BackendError):
    """The open mailbox was deleted: the session that selected it cannot go on.  RFC 2180 3.3"""

    code = "NONEXISTENT"
    default = "Mailbox was deleted"


class MessageExpunged(BackendError):
    """RFC 2180 4.1.2, RFC 5530"""

    code = "EXPUNGEISSUED"
    default = "Some of the messages no longer exist"


class CannotDo(BackendError):
    """It can never be done: a name no store can hold, a hierarchy below what has none."""

    code = "CANNOT"


class ReadOnly(BackendError):
    code = "NOPERM"
    default = "Mailbox is read-only"


class NoPermission(BackendError):
    code = "NOPERM"
    default = "Permission denied"


class OverQuota(BackendError):
    code = "OVERQUOTA"
    default = "Over quota"


class TooBig(BackendError):
    """RFC 7889 4"""

    code = "TOOBIG"
    default = "Message too big"


class LimitReached(BackendError):
    code = "LIMIT"
    default = "Limit reached"


class InUse(BackendError):
    code = "INUSE"
    default = "In use"


class Unavailable(BackendError):
    """Try again later: a store that is down, slow or restarting."""

    code = "UNAVAILABLE"
    default = "Temporarily unavailable"


class Corrupt(BackendError):
    code = "CORRUPTION"
    default = "The mailbox is damaged"


FAULTS = (Unavailable.code, Corrupt.code)
"""Codes of errors that are the store's own fault, and not what it was asked for."""
