"""A frame becomes a command. `COMMANDS` is what the RFCs say of each: how it is read, in which
states it is allowed, and whether it uses sequence numbers.

Parsers with a grammar of their own are in `parse_fetch`, `parse_search`, `parse_list`,
`parse_append` and `parse_select`; a new extension adds its parser there or in a file beside
them, and its line here.
"""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from pymap.limits import Limits
from pymap.wire import commands as c
from pymap.wire.errors import BadCommand
from pymap.wire.framer import Frame
from pymap.wire.labels import label_list
from pymap.wire.parse_acl import delete_acl, list_rights, set_acl
from pymap.wire.parse_append import append, replace
from pymap.wire.parse_esearch import esearch
from pymap.wire.parse_fetch import fetch
from pymap.wire.parse_list import list_, lsub, rlist, rlsub, status
from pymap.wire.parse_metadata import getmetadata, setmetadata
from pymap.wire.parse_notify import notify
from pymap.wire.parse_quota import getquota, getquotaroot, setquota
from pymap.wire.parse_search import search, sort, thread
from pymap.wire.parse_select import examine, select
from pymap.wire.parse_urlauth import gen_url_auth, reset_key, url_fetch
from pymap.wire.scanner import Scanner
from pymap.wire.types import DELIMITER, FlagOp

__all__ = ["COMMANDS", "CommandSpec", "State", "hopeless", "parse"]


class State(Enum):
    """RFC 9051 3"""

    NOT_AUTHENTICATED = "not authenticated"
    AUTHENTICATED = "authenticated"
    SELECTED = "selected"
    LOGOUT = "logout"


Parser = Callable[[Scanner, str, bool, Limits], c.Command]
"""What reads the arguments: scanner (behind the command's name), tag, is it the UID form."""


class CommandSpec(NamedTuple):
    parser: Parser
    states: frozenset[State]
    has_uid_form: bool = False
    # While a command with sequence numbers runs, no EXPUNGE may be sent: RFC 9051 7.5.1. The
    # UID forms are exempt.
    holds_expunges: bool = False
    # May take long, and writes whole responses only, so that INPROGRESS can stand between any
    # two of them.   RFC 9585
    tells_progress: bool = False


_TAG = re.compile(rb"([^\x00-\x20\x7f-\xff(){%*\"\\+]+)(?: |(?=\r?\n))")
_NAME = re.compile(rb"[A-Za-z0-9.-]+")


class ParsedFrame(NamedTuple):
    """`tag` is "*" where the frame has none that could be answered."""

    tag: str
    command: c.Command | None
    error: Exception | None
    spec: CommandSpec | None


def parse(
    frame: Frame, state: State, utf8: bool, limits: Limits, delimiter: str = DELIMITER
) -> ParsedFrame:
    """command = tag SP (...) CRLF. What is wrong with it comes back as `error`, never raised."""
    found = _TAG.match(frame.text)
    if found is None:
        return ParsedFrame("*", None, BadCommand("Missing tag"), None)
    tag = found[1].decode("ascii")
    scanner = Scanner(frame, utf8, delimiter)
    scanner.pos = found.end()
    spec = None
    try:
        spec, by_uid = _name(scanner, state)
        command = spec.parser(scanner, tag, by_uid, limits)
        scanner.end()
    except Exception as error:
        # Whatever the parser stumbled over belongs to this frame; the ladder that turns it
        # into BAD, NO or a logged NO [SERVERBUG] is the connection's.
        return ParsedFrame(tag, None, error, spec)
    return ParsedFrame(tag, command, None, spec)


def _name(s: Scanner, state: State) -> tuple[CommandSpec, bool]:
    """The command's name: what it is, and whether it is the UID form."""
    name = s.match(_NAME, "a command")[0].upper()
    by_uid = name == b"UID"
    if by_uid:
        s.sp()
        name = s.match(_NAME, "a command")[0].upper()
    spec = COMMANDS.get(name)
    if spec is None or (by_uid and not spec.has_uid_form):
        raise BadCommand("Unknown command")
    if state not in spec.states:
        raise BadCommand(f"Not allowed in the {state.value} state")
    return spec, by_uid


def hopeless(line: bytes, state: State) -> tuple[str, BadCommand] | None:
    """Whether a command that has come up to its first literal can be refused already, as tag and
    error: then the literal need not be sent at all.   RFC 9051 4.3"""
    found = _TAG.match(line)
    if found is None:
        return "*", BadCommand("Missing tag")
    scanner = Scanner(Frame(line, []))
    scanner.pos = found.end()
    try:
        _name(scanner, state)
    except BadCommand as error:
        return found[1].decode("ascii"), error
    return None


# -- parsers of one or two lines --


def _bare(made: Callable[[str], c.Command]) -> Parser:
    def bare(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> c.Command:
        return made(tag)

    return bare


def _one_mailbox(made: Callable[[str, str], c.Command]) -> Parser:
    def one_mailbox(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> c.Command:
        s.sp()
        return made(tag, s.mailbox())

    return one_mailbox


def id_(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> c.Id:
    """id = "ID" SP ("(" [string SP nstring *(SP string SP nstring)] ")" / nil)

    At most 30 pairs, keys of 30 and values of 1024 octets.   RFC 2971 3.3
    """
    s.sp()
    if not s.at(b"("):
        if s.nstring() is not None:
            raise BadCommand("Expected a parameter list or NIL")
        return c.Id(tag, ())
    s.expect(b"(")
    params: list[tuple[str, str | None]] = []
    while not s.accept(b")"):
        if params:
            s.sp()
        key = s.string()
        s.sp()
        value = s.nstring()
        if len(key) > 30 or len(value or b"") > 1024 or len(params) == 30:
            raise BadCommand("ID parameters too long or too many")
        text = None if value is None else value.decode("utf-8", "replace")
        params.append((key.decode("utf-8", "replace"), text))
    return c.Id(tag, tuple(params))


def language(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> c.Language:
    """language-cmd = "LANGUAGE" *(SP lang-range-quoted); lang-range-quoted = astring

    RFC 5255 3.5; language-range RFC 4647 2.2
    """
    ranges: list[str] = []
    while s.accept(b" "):
        raw = s.astring()
        if _LANGUAGE_RANGE.fullmatch(raw) is None:
            raise BadCommand("Expected a language")
        ranges.append(raw.decode("ascii"))
        if len(ranges) > MAX_LANGUAGES:
            raise BadCommand("Too many languages")
    return c.Language(tag, tuple(ranges))


MAX_LANGUAGES = 100
_LANGUAGE_RANGE = re.compile(rb"(?:[A-Za-z]{1,8}|\*)(?:-(?:[A-Za-z0-9]{1,8}|\*)){0,20}")


def login(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> c.Login:
    """login = "LOGIN" SP userid SP password"""
    s.sp()
    user = s.text_argument()
    s.sp()
    return c.Login(tag, user, s.text_argument())


def authenticate(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> c.Authenticate:
    """authenticate = "AUTHENTICATE" SP auth-type [SP initial-resp]; ``=`` is an empty one.

    RFC 9051 6.2.2, RFC 4959
    """
    s.sp()
    mechanism = s.keyword()
    if not s.accept(b" "):
        return c.Authenticate(tag, mechanism, None)
    if s.accept(b"="):
        return c.Authenticate(tag, mechanism, b"")
    return c.Authenticate(tag, mechanism, base64(s.match(_BASE64, "base64")[0]))


_BASE64 = re.compile(rb"[A-Za-z0-9+/]+={0,2}")


def base64(raw: bytes) -> bytes:
    """base64 of a SASL response, strictly.   RFC 9051 9"""
    if len(raw) % 4:
        raise BadCommand("Malformed base64")
    try:
        return a2b_base64(raw, strict_mode=True)
    except Base64Error as error:
        raise BadCommand("Malformed base64") from error


def enable(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> c.Enable:
    """enable = "ENABLE" 1*(SP capability)   RFC 5161 4"""
    names: list[str] = []
    while s.accept(b" "):
        names.append(s.keyword())
    if not names:
        raise BadCommand("Expected a capability")
    return c.Enable(tag, tuple(names))


def compress(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> c.Compress:
    """compress = "COMPRESS" SP algorithm   RFC 4978 5"""
    s.sp()
    return c.Compress(tag, s.keyword())


def create(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> c.Create:
    """create = "CREATE" SP mailbox [SP "(" "USE" SP "(" [use-attr *(SP use-attr)] ")" ")"]

    RFC 4466 2.2, RFC 6154 6
    """
    s.sp()
    mailbox, supplied = s.supplied_mailbox()
    uses: list[str] = []
    if s.accept(b" "):
        s.expect(b"(")
        if s.keyword() != "USE":
            raise BadCommand("Unknown CREATE parameter")
        s.sp()
        s.expect(b"(")
        while not s.accept(b")"):
            if uses:
                s.sp()
            s.expect(b"\\")
            uses.append("\\" + s.atom())
        s.expect(b")")
    return c.Create(tag, mailbox, tuple(uses), supplied)


def rename(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> c.Rename:
    """rename = "RENAME" SP mailbox SP mailbox"""
    s.sp()
    mailbox = s.mailbox()
    s.sp()
    return c.Rename(tag, mailbox, s.mailbox())


def expunge(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> c.Expunge:
    """expunge = "EXPUNGE"; uid-expunge = "UID" SP "EXPUNGE" SP sequence-set   RFC 4315 2.1"""
    if not by_uid:
        return c.Expunge(tag)
    s.sp()
    return c.Expunge(tag, s.sequence_set())


def store(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> c.Store:
    """store = "STORE" SP sequence-set [store-modifiers] SP store-att-flags

    RFC 9051 9; modifiers RFC 4466 2.5; UNCHANGEDSINCE RFC 7162 3.1.3
    """
    s.sp()
    numbers = s.sequence_set()
    s.sp()
    unchanged_since = None
    if s.accept(b"("):
        if s.keyword() != "UNCHANGEDSINCE":
            raise BadCommand("Unknown STORE modifier")
        s.sp()
        unchanged_since = s.number64()
        s.expect(b")")
        s.sp()
    op = FlagOp.ADD if s.accept(b"+") else FlagOp.REMOVE if s.accept(b"-") else FlagOp.SET
    name = s.keyword()
    labels = name in ("X-GM-LABELS", "X-GM-LABELS.SILENT")
    if name not in ("FLAGS", "FLAGS.SILENT") and not labels:
        raise BadCommand("Expected FLAGS")
    s.sp()
    if labels:
        flags = label_list(s, limits)
    elif s.at(b"("):
        flags = s.flag_list(limits)
    else:
        several = [s.flag(limits)]
        while s.accept(b" "):
            several.append(s.flag(limits))
            if len(several) > limits.flags:
                raise BadCommand("Too many flags")
        flags = frozenset(several)
    silent = name.endswith(".SILENT")
    return c.Store(tag, numbers, by_uid, op, flags, silent, unchanged_since, labels)


def copy(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> c.Copy:
    """copy = "COPY" SP sequence-set SP mailbox"""
    s.sp()
    numbers = s.sequence_set()
    s.sp()
    return c.Copy(tag, numbers, by_uid, s.mailbox())


def move(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> c.Move:
    """move = "MOVE" SP sequence-set SP mailbox   RFC 6851 5"""
    s.sp()
    numbers = s.sequence_set()
    s.sp()
    return c.Move(tag, numbers, by_uid, s.mailbox())


def uid_batches(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> c.UidBatches:
    """uidbatches-cmd = "UIDBATCHES" SP nz-number [SP nz-number ":" nz-number]"""
    s.sp()
    size = s.nz_number()
    if not s.accept(b" "):
        return c.UidBatches(tag, size)
    first = s.nz_number()
    s.expect(b":")
    return c.UidBatches(tag, size, (first, s.nz_number()))


def cancel_update(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> c.CancelUpdate:
    """ "CANCELUPDATE" 1*(SP quoted)   RFC 5267 5"""
    s.sp()
    tags = [s.text_argument()]
    while s.accept(b" "):
        tags.append(s.text_argument())
    return c.CancelUpdate(tag, tuple(tags))


_ANY = frozenset((State.NOT_AUTHENTICATED, State.AUTHENTICATED, State.SELECTED))
_START = frozenset((State.NOT_AUTHENTICATED,))
_AUTH = frozenset((State.AUTHENTICATED, State.SELECTED))
_SELECTED = frozenset((State.SELECTED,))


def _searching(parser: Parser) -> CommandSpec:
    return CommandSpec(
        parser, _SELECTED, has_uid_form=True, holds_expunges=True, tells_progress=True
    )


COMMANDS: dict[bytes, CommandSpec] = {
    b"CAPABILITY": CommandSpec(_bare(c.Capability), _ANY),
    b"NOOP": CommandSpec(_bare(c.Noop), _ANY),
    b"LOGOUT": CommandSpec(_bare(c.Logout), _ANY),
    b"ID": CommandSpec(id_, _ANY),
    b"LANGUAGE": CommandSpec(language, _ANY),
    b"STARTTLS": CommandSpec(_bare(c.StartTls), _START),
    b"AUTHENTICATE": CommandSpec(authenticate, _START),
    b"LOGIN": CommandSpec(login, _START),
    b"ENABLE": CommandSpec(enable, _AUTH),
    b"COMPRESS": CommandSpec(compress, _AUTH),
    b"UNAUTHENTICATE": CommandSpec(_bare(c.Unauthenticate), _AUTH),
    b"SELECT": CommandSpec(select, _AUTH),
    b"EXAMINE": CommandSpec(examine, _AUTH),
    b"CREATE": CommandSpec(create, _AUTH),
    b"DELETE": CommandSpec(_one_mailbox(c.Delete), _AUTH),
    b"RENAME": CommandSpec(rename, _AUTH),
    b"SUBSCRIBE": CommandSpec(_one_mailbox(c.Subscribe), _AUTH),
    b"UNSUBSCRIBE": CommandSpec(_one_mailbox(c.Unsubscribe), _AUTH),
    b"LIST": CommandSpec(list_, _AUTH),
    b"LSUB": CommandSpec(lsub, _AUTH),
    b"RLIST": CommandSpec(rlist, _AUTH),
    b"RLSUB": CommandSpec(rlsub, _AUTH),
    b"NAMESPACE": CommandSpec(_bare(c.Namespace), _AUTH),
    b"STATUS": CommandSpec(status, _AUTH),
    b"SETACL": CommandSpec(set_acl, _AUTH),
    b"DELETEACL": CommandSpec(delete_acl, _AUTH),
    b"GETACL": CommandSpec(_one_mailbox(c.GetAcl), _AUTH),
    b"LISTRIGHTS": CommandSpec(list_rights, _AUTH),
    b"MYRIGHTS": CommandSpec(_one_mailbox(c.MyRights), _AUTH),
    b"NOTIFY": CommandSpec(notify, _AUTH),
    b"GETMETADATA": CommandSpec(getmetadata, _AUTH),
    b"SETMETADATA": CommandSpec(setmetadata, _AUTH),
    b"GETQUOTA": CommandSpec(getquota, _AUTH),
    b"GETQUOTAROOT": CommandSpec(getquotaroot, _AUTH),
    b"SETQUOTA": CommandSpec(setquota, _AUTH),
    b"APPEND": CommandSpec(append, _AUTH),
    b"GENURLAUTH": CommandSpec(gen_url_auth, _AUTH),
    b"RESETKEY": CommandSpec(reset_key, _AUTH),
    b"URLFETCH": CommandSpec(url_fetch, _AUTH),
    b"IDLE": CommandSpec(_bare(c.Idle), _AUTH),
    b"CLOSE": CommandSpec(_bare(c.Close), _SELECTED),
    b"UNSELECT": CommandSpec(_bare(c.Unselect), _SELECTED),
    b"CHECK": CommandSpec(_bare(c.Check), _SELECTED),
    b"EXPUNGE": CommandSpec(expunge, _SELECTED, has_uid_form=True),
    b"UIDBATCHES": CommandSpec(uid_batches, _SELECTED),
    b"SEARCH": _searching(search),
    b"SORT": _searching(sort),
    b"THREAD": _searching(thread),
    b"FETCH": CommandSpec(fetch, _SELECTED, has_uid_form=True, holds_expunges=True),
    # RFC 7377 2 writes "UID ESEARCH" once, where 4 has no such form: it means the same.
    b"ESEARCH": CommandSpec(esearch, _AUTH, has_uid_form=True, tells_progress=True),
    b"CANCELUPDATE": CommandSpec(cancel_update, _SELECTED),
    b"STORE": CommandSpec(store, _SELECTED, has_uid_form=True, holds_expunges=True),
    b"REPLACE": CommandSpec(replace, _SELECTED, has_uid_form=True),
    b"COPY": CommandSpec(copy, _SELECTED, has_uid_form=True, tells_progress=True),
    b"MOVE": CommandSpec(move, _SELECTED, has_uid_form=True, tells_progress=True),
}
