"""One frozen value per command: what the client asked for, ready to be carried out.

A command and its UID form are one class. Mailbox names are decoded text, messages and SASL
data are octets. What may be said when is in `parse.COMMANDS`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from pymap.wire.fetch import FetchAttribute, FetchItem
from pymap.wire.search import Criterion, Partial, Returns, SearchKey
from pymap.wire.types import Flag, FlagOp, InternalDate, SequenceSet

__all__ = [
    "Append",
    "Authenticate",
    "CancelUpdate",
    "Capability",
    "Catenation",
    "Check",
    "Close",
    "Command",
    "Compress",
    "Copy",
    "Create",
    "Delete",
    "DeleteAcl",
    "ESearch",
    "Enable",
    "Event",
    "EventGroup",
    "Expunge",
    "Fetch",
    "FetchAttribute",
    "FetchItem",
    "GenUrlAuth",
    "GetMetadata",
    "GetAcl",
    "GetQuota",
    "GetQuotaRoot",
    "Id",
    "Idle",
    "Language",
    "List",
    "ListReturn",
    "ListRights",
    "ListSelect",
    "Login",
    "Logout",
    "Lsub",
    "Message",
    "Move",
    "MailboxFilter",
    "MyRights",
    "Namespace",
    "Noop",
    "Notify",
    "QResync",
    "RList",
    "RLsub",
    "Rename",
    "Replace",
    "ResetKey",
    "Search",
    "Select",
    "SetMetadata",
    "SetAcl",
    "SetQuota",
    "Sources",
    "StartTls",
    "Status",
    "StatusItem",
    "Store",
    "Subscribe",
    "UidBatches",
    "Unselect",
    "UrlFetch",
    "UrlItem",
    "UrlWanted",
    "Unsubscribe",
]


@dataclass(frozen=True, slots=True)
class Command:
    tag: str


# -- any state --


class Capability(Command):
    __slots__ = ()


class Noop(Command):
    __slots__ = ()


class Unauthenticate(Command):
    """RFC 8437 3"""

    __slots__ = ()


class Logout(Command):
    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Id(Command):
    """RFC 2971"""

    params: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, slots=True)
class Language(Command):
    """RFC 5255 3.2; none: which ones there are."""

    ranges: tuple[str, ...]


# -- not authenticated --


class StartTls(Command):
    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Authenticate(Command):
    """`initial` is the decoded initial response, None if there was none.   RFC 4959"""

    mechanism: str
    initial: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Login(Command):
    user: str
    password: str = field(repr=False)


# -- authenticated --


@dataclass(frozen=True, slots=True)
class Enable(Command):
    """RFC 5161; names in upper case."""

    capabilities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Compress(Command):
    """RFC 4978; the algorithm in upper case."""

    algorithm: str


@dataclass(frozen=True, slots=True)
class QResync:
    """What the client says it knows.   RFC 7162 3.2.5"""

    uid_validity: int
    modseq: int
    known_uids: SequenceSet | None = None
    matches: tuple[SequenceSet, SequenceSet] | None = None


@dataclass(frozen=True, slots=True)
class Select(Command):
    """SELECT, and EXAMINE with `readonly`."""

    mailbox: str
    readonly: bool = False
    condstore: bool = False
    qresync: QResync | None = None
    supplied: str = ""
    """The mailbox's name as the client gave it, before it was normalised."""


@dataclass(frozen=True, slots=True)
class Create(Command):
    r"""`special_use` is the set of attributes of USE, as ``\Sent``.   RFC 6154 3"""

    mailbox: str
    special_use: tuple[str, ...] = ()
    supplied: str = ""


@dataclass(frozen=True, slots=True)
class Delete(Command):
    mailbox: str


@dataclass(frozen=True, slots=True)
class Rename(Command):
    mailbox: str
    new_name: str


@dataclass(frozen=True, slots=True)
class Subscribe(Command):
    mailbox: str


@dataclass(frozen=True, slots=True)
class Unsubscribe(Command):
    mailbox: str


class ListSelect(Enum):
    """list-select-opt.   RFC 5258 3.1, RFC 6154 5.1"""

    SUBSCRIBED = "SUBSCRIBED"
    REMOTE = "REMOTE"
    RECURSIVEMATCH = "RECURSIVEMATCH"
    SPECIAL_USE = "SPECIAL-USE"


class ListReturn(Enum):
    """return-option; STATUS is told by `List.status`.   RFC 5258 3.2, RFC 6154 5.2, RFC 8440"""

    SUBSCRIBED = "SUBSCRIBED"
    CHILDREN = "CHILDREN"
    SPECIAL_USE = "SPECIAL-USE"
    MYRIGHTS = "MYRIGHTS"


class StatusItem(Enum):
    """status-att.   RFC 9051 6.3.11, RFC 7162 3.1.7, 8474 4.3, 8438, 7889"""

    MESSAGES = "MESSAGES"
    RECENT = "RECENT"
    UIDNEXT = "UIDNEXT"
    UIDVALIDITY = "UIDVALIDITY"
    UNSEEN = "UNSEEN"
    DELETED = "DELETED"
    SIZE = "SIZE"
    HIGHESTMODSEQ = "HIGHESTMODSEQ"
    MAILBOXID = "MAILBOXID"
    APPENDLIMIT = "APPENDLIMIT"
    DELETED_STORAGE = "DELETED-STORAGE"


@dataclass(frozen=True, slots=True)
class List(Command):
    """`extended` is whether any of RFC 5258's syntax was used."""

    reference: str
    patterns: tuple[str, ...]
    select: frozenset[ListSelect] = frozenset()
    returns: frozenset[ListReturn] = frozenset()
    status: tuple[StatusItem, ...] = ()
    extended: bool = False
    metadata: tuple[str, ...] = ()
    """Entries that are to be told of each mailbox.   RFC 9590"""


@dataclass(frozen=True, slots=True)
class Lsub(Command):
    reference: str
    pattern: str


class RList(List):
    """RFC 2193 5.1"""

    __slots__ = ()


class RLsub(Lsub):
    """RFC 2193 5.2"""

    __slots__ = ()


class Namespace(Command):
    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Status(Command):
    mailbox: str
    items: tuple[StatusItem, ...]


@dataclass(frozen=True, slots=True)
class SetAcl(Command):
    """`op` says what becomes of the rights that the identifier has. `rights` are the letters as
    the client wrote them.   RFC 4314 3.1"""

    mailbox: str
    identifier: str
    op: FlagOp
    rights: str


@dataclass(frozen=True, slots=True)
class DeleteAcl(Command):
    """RFC 4314 3.2"""

    mailbox: str
    identifier: str


@dataclass(frozen=True, slots=True)
class GetAcl(Command):
    """RFC 4314 3.3"""

    mailbox: str


@dataclass(frozen=True, slots=True)
class ListRights(Command):
    """RFC 4314 3.4"""

    mailbox: str
    identifier: str


@dataclass(frozen=True, slots=True)
class MyRights(Command):
    """RFC 4314 3.5"""

    mailbox: str


@dataclass(frozen=True, slots=True)
class GetMetadata(Command):
    """Of a mailbox, or with "" of the server. `depth` is how many levels below the entries are
    wanted as well, None for all; values larger than `max_size` are not.   RFC 5464 4.2"""

    mailbox: str
    entries: tuple[str, ...]
    max_size: int | None = None
    depth: int | None = 0


@dataclass(frozen=True, slots=True)
class SetMetadata(Command):
    """Of a mailbox, or with "" of the server: entries and their values, None to remove one. The
    names are in lower case, and each is there once.   RFC 5464 4.3"""

    mailbox: str
    values: tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class Catenation:
    """A message to be put together from octets of this command and, where a part is text, from
    what that IMAP URL names.   RFC 4469 3"""

    parts: tuple[bytes | str, ...] = field(repr=False)

    @property
    def urls(self) -> int:
        return sum(isinstance(part, str) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of APPEND or REPLACE. `internal_date` None means now."""

    content: bytes | Catenation = field(repr=False)
    flags: frozenset[Flag] = frozenset()
    internal_date: InternalDate | None = None


@dataclass(frozen=True, slots=True)
class GetQuota(Command):
    root: str


@dataclass(frozen=True, slots=True)
class GetQuotaRoot(Command):
    mailbox: str


@dataclass(frozen=True, slots=True)
class SetQuota(Command):
    """Resources by upper-case name, limits as the client gave them."""

    root: str
    limits: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Append(Command):
    mailbox: str
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class GenUrlAuth(Command):
    """Pairs of a URL without its token, and a mechanism in upper case.   RFC 4467 7"""

    urls: tuple[tuple[str, str], ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class ResetKey(Command):
    """RFC 4467 7; no mailbox: all of them."""

    mailbox: str | None = None
    mechanisms: tuple[str, ...] = ()


class UrlItem(Enum):
    """url-fetch-param.   RFC 5524 3.1"""

    BODY = "BODY"
    BINARY = "BINARY"
    BODYPARTSTRUCTURE = "BODYPARTSTRUCTURE"


@dataclass(frozen=True, slots=True)
class UrlWanted:
    """A URL of URLFETCH. Without `items` it is answered with its octets alone."""

    url: str = field(repr=False)
    items: tuple[UrlItem, ...] = ()


@dataclass(frozen=True, slots=True)
class UrlFetch(Command):
    """RFC 4467 7, RFC 5524 3"""

    urls: tuple[UrlWanted, ...]


class Idle(Command):
    __slots__ = ()


# -- selected --


class Close(Command):
    __slots__ = ()


class Unselect(Command):
    __slots__ = ()


class Check(Command):
    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Expunge(Command):
    """EXPUNGE, and UID EXPUNGE with `uids` (RFC 4315 2.1)."""

    uids: SequenceSet | None = None


@dataclass(frozen=True, slots=True)
class UidBatches(Command):
    """`batches` are the first and last one asked for, None for all.   RFC 10022"""

    size: int
    batches: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Search(Command):
    """`returns` is None without RETURN: then the answer is the old SEARCH response."""

    by_uid: bool
    key: SearchKey
    returns: Returns | None = None
    uses_modseq: bool = False
    names_charset: bool = False


@dataclass(frozen=True, slots=True)
class CancelUpdate(Command):
    """RFC 5267 4.3.5"""

    tags: tuple[str, ...]


class MailboxFilter(Enum):
    """filter-mailboxes.   RFC 5465 6; SUBTREE-ONE RFC 7377 4"""

    SELECTED = "SELECTED"
    SELECTED_DELAYED = "SELECTED-DELAYED"
    INBOXES = "INBOXES"
    PERSONAL = "PERSONAL"
    SUBSCRIBED = "SUBSCRIBED"
    SUBTREE = "SUBTREE"
    SUBTREE_ONE = "SUBTREE-ONE"
    MAILBOXES = "MAILBOXES"


@dataclass(frozen=True, slots=True)
class Sources:
    """Mailboxes by what they are; `names` are of SUBTREE, SUBTREE-ONE and MAILBOXES.

    RFC 7377 2.2
    """

    filter: MailboxFilter
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ESearch(Command):
    """RFC 7377 2; without IN it searches the selected mailbox."""

    sources: tuple[Sources, ...]
    key: SearchKey
    returns: Returns
    uses_modseq: bool = False
    names_charset: bool = False


@dataclass(frozen=True, slots=True)
class Sort(Command):
    """RFC 5256 3; `returns` RFC 5267 3"""

    by_uid: bool
    criteria: tuple[Criterion, ...]
    key: SearchKey
    returns: Returns | None = None
    uses_modseq: bool = False


@dataclass(frozen=True, slots=True)
class Thread(Command):
    """RFC 5256 3; `algorithm` is in upper case."""

    by_uid: bool
    algorithm: str
    key: SearchKey
    uses_modseq: bool = False


class Event(Enum):
    """What NOTIFY can tell of.   RFC 5465 5"""

    MESSAGE_NEW = "MessageNew"
    MESSAGE_EXPUNGE = "MessageExpunge"
    FLAG_CHANGE = "FlagChange"
    ANNOTATION_CHANGE = "AnnotationChange"
    MAILBOX_NAME = "MailboxName"
    SUBSCRIPTION_CHANGE = "SubscriptionChange"
    MAILBOX_METADATA_CHANGE = "MailboxMetadataChange"
    SERVER_METADATA_CHANGE = "ServerMetadataChange"


@dataclass(frozen=True, slots=True)
class EventGroup:
    """No `events` is NONE. `unknown` are events that no RFC we know of defines; `fetch` is what
    MessageNew asks for."""

    filter: MailboxFilter
    mailboxes: tuple[str, ...] = ()
    events: frozenset[Event] = frozenset()
    unknown: tuple[str, ...] = ()
    fetch: tuple[FetchItem, ...] = ()


@dataclass(frozen=True, slots=True)
class Notify(Command):
    """RFC 5465 3.1; no `groups` is NOTIFY NONE."""

    groups: tuple[EventGroup, ...] = ()
    status: bool = False


@dataclass(frozen=True, slots=True)
class Fetch(Command):
    numbers: SequenceSet
    by_uid: bool
    items: tuple[FetchItem, ...]
    changed_since: int | None = None
    vanished: bool = False
    partial: Partial | None = None
    """Only these of the messages, in the order of the mailbox.   RFC 9394 3.3"""


@dataclass(frozen=True, slots=True)
class Store(Command):
    numbers: SequenceSet
    by_uid: bool
    op: FlagOp
    flags: frozenset[Flag]
    silent: bool = False
    unchanged_since: int | None = None
    labels: bool = False
    """Whether `flags` are labels: X-GM-LABELS."""


@dataclass(frozen=True, slots=True)
class Copy(Command):
    numbers: SequenceSet
    by_uid: bool
    mailbox: str


@dataclass(frozen=True, slots=True)
class Move(Command):
    """RFC 6851"""

    numbers: SequenceSet
    by_uid: bool
    mailbox: str


@dataclass(frozen=True, slots=True)
class Replace(Command):
    """RFC 8508; `number` is of one message."""

    number: SequenceSet
    by_uid: bool
    mailbox: str
    message: Message
