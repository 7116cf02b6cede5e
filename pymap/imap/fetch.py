"""FETCH and UID FETCH.

Items that the index knows are rendered from columns, whole batches at a time. ENVELOPE,
BODYSTRUCTURE and header fields come from what the store keeps beside its messages. Only the
other sections open a message, and a long one leaves in pieces, at the client's pace.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, compress
from typing import NamedTuple, cast

from pymap import mime
from pymap.backend.api import Digest
from pymap.backend.errors import MessageExpunged
from pymap.imap.columns import COLUMNS, Column, lines, pick
from pymap.imap.gmail import thread_id
from pymap.imap.message_limit import done_within, newest
from pymap.imap.session import THREAD, Done, Peer, Session
from pymap.imap.view import Batch, MailboxView, Slices, spans
from pymap.wire import responses as r
from pymap.wire.commands import Fetch, FetchAttribute, FetchItem
from pymap.wire.errors import BadCommand, Refused
from pymap.wire.search import Partial
from pymap.wire.types import NO_UIDS, SEEN, FlagOp, Section, SectionText, SequenceSet, UidSet

__all__ = ["check_offered", "fetch", "send_new"]

PLAIN_BATCH = 1000  # messages, when only columns are asked for
DIGEST_BATCH = 128  # messages, when the store has to look for each
BATCH_OCTETS = 2 * 1024 * 1024  # of the messages in one such batch
READ_OCTETS = 256 * 1024  # of messages read ahead of the client
CHUNK = 64 * 1024  # octets until the answer is sent on its way

_A = FetchAttribute
_GMAIL = (_A.X_GM_MSGID, _A.X_GM_THRID, _A.X_GM_LABELS)
_HEADER = (SectionText.HEADER, SectionText.HEADER_FIELDS, SectionText.HEADER_FIELDS_NOT)
# The older names of sections.   RFC 3501 6.4.5
_RFC822 = {
    _A.RFC822: Section(),
    _A.RFC822_HEADER: Section((), SectionText.HEADER),
    _A.RFC822_TEXT: Section((), SectionText.TEXT),
}


class _Plan(NamedTuple):
    """The items of one FETCH, by what they need."""

    columns: list[Column]
    digests: list[FetchItem]
    """Need what is derived from the message: ENVELOPE, BODYSTRUCTURE, PREVIEW, X-GM-THRID."""
    headers: list[FetchItem]
    contents: list[FetchItem]
    sets_seen: bool
    utf8: bool
    """Whether this client reads UTF-8 in quoted strings."""


def _plan(session: Session, command: Fetch, view: MailboxView) -> _Plan:
    columns: list[FetchAttribute] = []
    # UID FETCH answers with the UID, asked for or not.   RFC 9051 6.4.9
    if command.by_uid and not view.uid_only:
        columns.append(_A.UID)
    digests, headers, contents = [], [], []
    for item in command.items:
        attribute, text = item.attribute, item.section.text
        if attribute in COLUMNS:
            if attribute not in columns:
                columns.append(attribute)
        elif attribute in (_A.ENVELOPE, _A.BODYSTRUCTURE, _A.PREVIEW, _A.X_GM_THRID):
            digests.append(item)
        elif attribute is _A.RFC822_HEADER or (
            attribute is _A.SECTION and not item.section.path and text in _HEADER
        ):
            headers.append(item)
        else:
            contents.append(item)
    if command.changed_since is not None and _A.MODSEQ not in columns:
        # CHANGEDSINCE asks for MODSEQ too.   RFC 7162 3.1.4.1
        columns.append(_A.MODSEQ)
    # RFC 4314 4: not without the right to.
    may_set_seen = not view.readonly and "s" in view.mailbox.rights
    sets_seen = may_set_seen and not all(item.peek for item in command.items)
    utf8 = session.connection.utf8
    return _Plan([COLUMNS[a] for a in columns], digests, headers, contents, sets_seen, utf8)


async def fetch(session: Session, command: Fetch) -> Done:
    """RFC 9051 6.4.5; CHANGEDSINCE and VANISHED RFC 7162 3.1.4, 3.2.6; BINARY RFC 3516; PREVIEW
    RFC 8970; PARTIAL RFC 9394 3.3"""
    view = session.selected()
    check_offered(session, command.items)
    await view.opened.sync()
    slices = view.resolve(command.numbers, command.by_uid)
    if command.partial is not None:
        # Before CHANGEDSINCE, which chooses among those that are left.   RFC 9394 3.4
        slices = _part_of(slices, command.partial)
    if any(item.attribute is _A.MODSEQ for item in command.items):
        session.enable("CONDSTORE")  # RFC 7162 3.1
    if command.changed_since is not None:
        session.enable("CONDSTORE")
        if command.vanished:
            await _send_vanished(session, view, command, command.changed_since)
        slices = changed_after(view, slices, command.changed_since)
    slices, lowest = newest(session, view, slices)
    plan = _plan(session, command, view)
    wanted = sum(stop - start for start, stop in slices)
    sent = await _send_all(session, view, plan, slices)
    if sent < wanted:
        # Messages that this client still counts but that another session expunged.
        # RFC 2180 4.1.2; the UID form passes over UIDs that do not exist, RFC 9051 6.4.9.
        if not command.by_uid:
            raise MessageExpunged
    return done_within(session, Done("FETCH completed"), lowest)


async def send_new(
    session: Session, view: MailboxView, items: tuple[FetchItem, ...], uids: UidSet
) -> None:
    """Unasked FETCH responses for messages that the client has just been told of. The UID is in
    each, for the client may know no other number, and MODSEQ once CONDSTORE is enabled.

    RFC 5465 5.2, RFC 7162 3.1, 3.2.4
    """
    if session.condstore:
        items = (*items, FetchItem(_A.MODSEQ))
    plan = _plan(session, Fetch("*", SequenceSet(()), True, items), view)
    await _send_all(session, view, plan, uids.slices(view.uids, view.exists))


def _part_of(slices: Slices, partial: Partial) -> Slices:
    """Those of the messages that PARTIAL asks for."""
    wanted = partial.of(sum(stop - start for start, stop in slices))
    part, before = [], 0
    for start, stop in slices:
        first = max(start, start + wanted.start - before)
        last = min(stop, start + wanted.stop - before)
        if first < last:
            part.append((first, last))
        before += stop - start
    return part


def check_offered(session: Session, items: Iterable[FetchItem]) -> None:
    """Raises BadCommand if one is of an extension that is not offered here."""
    if any(item.attribute in _GMAIL for item in items):
        session.require("X-GM-EXT-1")


def changed_after(view: MailboxView, slices: Slices, modseq: int) -> Slices:
    """Those messages that changed after `modseq`, which costs the number of changes."""
    changed = view.index.changed_since(modseq)
    return (changed & view.uid_ranges(slices)).slices(view.uids, view.exists)


async def _send_vanished(session: Session, view: MailboxView, command: Fetch, since: int) -> None:
    """What of the UIDs asked for was expunged since.   RFC 7162 3.2.6"""
    if not session.qresync:
        raise BadCommand("VANISHED needs ENABLE QRESYNC")
    index = view.index
    highest = max(index.uid_next - 1, 0)
    asked = UidSet(command.numbers.resolve(highest))
    if command.numbers.saved:
        asked = view.saved
    vanished = await view.opened.vanished_since(since)
    if vanished is None:
        # The log does not reach back: all that is not there may have been expunged since.
        vanished = (UidSet(((1, highest),)) if highest else NO_UIDS) - UidSet.from_sorted(
            index.uids
        )
    # What this client has not been told of yet is told here already, and once more as news.
    told = vanished & asked
    if told:
        session.send(r.Vanished(told, earlier=True))


async def _send_all(session: Session, view: MailboxView, plan: _Plan, slices: Slices) -> int:
    """Send the answers; returns for how many messages."""
    simple = not plan.digests and not plan.headers and not plan.contents
    writer = _Writer(session.peer)
    sent = 0
    refused: Refused | None = None
    for start, stop in spans(slices, PLAIN_BATCH) if simple else _light_spans(view, slices):
        columns = plan.columns
        if plan.sets_seen and await _set_seen(view, view.batch(start, stop)):
            columns = _with_flags(session, columns)
        batch = view.batch(start, stop)
        if simple:
            answers = lines(view, batch, columns, b")\r\n")
            sent += len(answers)
            writer.write(b"".join(answers))
        else:
            try:
                sent += await _send_rich(writer, view, plan, columns, batch)
            except Refused as error:
                refused = error  # of one message; the others are still answered
                if plan.sets_seen:
                    # That message is \Seen all the same, and no answer told of it.
                    session.send_flags(view, [(start, stop)])
        await writer.pace()
    if refused is not None:
        raise refused
    return sent


def _light_spans(view: MailboxView, slices: Slices) -> Iterator[tuple[int, int]]:
    """Batches whose messages are at most BATCH_OCTETS together, or alone."""
    for start, stop in spans(slices, DIGEST_BATCH):
        yield from _lighter(view, start, stop)


def _lighter(view: MailboxView, start: int, stop: int) -> Iterator[tuple[int, int]]:
    rows = view.batch(start, stop).rows
    if len(rows) < 2 or sum(pick(view.index.sizes, rows)) <= BATCH_OCTETS:
        yield start, stop
    else:
        middle = (start + stop) // 2
        yield from _lighter(view, start, middle)
        yield from _lighter(view, middle, stop)


def _with_flags(session: Session, columns: list[Column]) -> list[Column]:
    """FLAGS too, and MODSEQ where it must go with them (RFC 7162 3.1.4)."""
    wanted = [COLUMNS[_A.FLAGS]] + ([COLUMNS[_A.MODSEQ]] if session.condstore else [])
    return columns + [column for column in wanted if column not in columns]


class _Writer:
    """Counts what was written, and lets it leave a chunk at a time."""

    __slots__ = ("pending", "peer")

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.pending = 0

    def write(self, octets: bytes | memoryview) -> None:
        self.peer.write(octets)
        self.pending += len(octets)

    def work(self, octets: int) -> None:
        """Count octets that were looked at, not sent: they too take time from the others."""
        self.pending += octets // 4

    async def pace(self) -> None:
        if self.pending >= CHUNK:
            self.pending = 0
            await self.peer.breathe()


async def _set_seen(view: MailboxView, batch: Batch) -> bool:
    r"""Set \Seen where it is missing; whether the answers have to tell of it."""
    having = view.index.flags.having(SEEN)
    flagsets = view.index.flagsets
    unseen = [
        uid for uid, row in zip(batch.uids, batch.rows, strict=True) if not having[flagsets[row]]
    ]
    if not unseen:
        return False
    done = await view.mailbox.store(UidSet.from_sorted(unseen), FlagOp.ADD, frozenset((SEEN,)))
    await view.opened.sync()
    view.stored(done, view.told_flags)
    return True


async def _send_rich(
    writer: _Writer, view: MailboxView, plan: _Plan, columns: Sequence[Column], batch: Batch
) -> int:
    """Send answers with items that are not columns; returns how many."""
    mailbox, uids = view.mailbox, batch.uids
    digests: Sequence[Digest | None] = [None] * len(uids)
    headers: Sequence[bytes | None] = [None] * len(uids)
    headers_asked, contents = plan.headers, plan.contents
    if sum(pick(view.index.sizes, batch.rows)) * len(headers_asked) > 2 * BATCH_OCTETS:
        # So many copies of so large headers go one after the other, as sections do.
        headers_asked, contents = [], [*headers_asked, *contents]
    # Rendered before anything is awaited: the rows of the batch hold until then.
    heads: Sequence[bytes] = lines(view, batch, columns, b" " if columns else b"")
    needs_digest = bool(plan.digests or contents)
    if needs_digest:
        digests = await mailbox.digests(uids)
    if headers_asked:
        headers = await mailbox.headers(uids)
    # A message expunged meanwhile has neither.
    there = [
        (digest is not None or not needs_digest) and (header is not None or not headers_asked)
        for digest, header in zip(digests, headers, strict=True)
    ]
    if not all(there):
        uids, heads = list(compress(uids, there)), list(compress(heads, there))
        digests, headers = list(compress(digests, there)), list(compress(headers, there))
    known = cast(Sequence[Digest], digests)
    values = [heads]
    values += [_derived(item, known, plan.utf8) for item in plan.digests]
    for item in headers_asked:
        values.append(await _header_values(item, cast(Sequence[bytes], headers)))
    text = b"%b" + b" ".join(_text(item) for item in (*plan.digests, *headers_asked))
    if contents:
        text += b" " if len(values) > 1 else b""
        rendered = map(text.__mod__, zip(*values, strict=True))
        return await _send_opened(writer, view, contents, uids, known, list(rendered))
    answers = map((text + b")\r\n").__mod__, zip(*values, strict=True))
    if sum(len(value) for value in chain(*values[1:])) <= BATCH_OCTETS:
        writer.write(b"".join(answers))
    else:
        for answer in answers:
            writer.write(answer)
            await writer.pace()
    return len(uids)


def _derived(item: FetchItem, digests: Sequence[Digest], utf8: bool) -> list[bytes]:
    match item.attribute:
        case _A.ENVELOPE:
            return [digest.envelope for digest in digests]
        case _A.BODYSTRUCTURE:
            return [digest.bodystructure for digest in digests]
        case _A.X_GM_THRID:
            return [b"%d" % thread_id(digest) for digest in digests]
        case _:
            # A literal for those who have not said that they read UTF-8.   RFC 8970 3.3, 6;
            # RFC 6855 3, RFC 9051 4.3
            return [r.string(digest.preview, utf8) for digest in digests]


def _text(item: FetchItem) -> bytes:
    """The format of a data item whose value is rendered."""
    return _label(item).replace(b"%", b"%%") + b" %b"


async def _header_values(item: FetchItem, headers: Sequence[bytes]) -> list[bytes]:
    """HEADER, HEADER.FIELDS and the like, as literals."""
    section = item.section
    if section.text in (SectionText.HEADER_FIELDS, SectionText.HEADER_FIELDS_NOT):
        excluding = section.text is SectionText.HEADER_FIELDS_NOT
        headers = [
            mime.header_fields(header, section.fields, excluding)
            if len(header) < THREAD
            else await asyncio.to_thread(mime.header_fields, header, section.fields, excluding)
            for header in headers
        ]
    if item.partial is not None:
        headers = [bytes(_cut(item, header)) for header in headers]
    return [r.literal(header) for header in headers]


async def _send_opened(
    writer: _Writer,
    view: MailboxView,
    items: Sequence[FetchItem],
    uids: Sequence[int],
    digests: Sequence[Digest],
    heads: Sequence[bytes],
) -> int:
    """Send answers that begin with `heads` and end in items that need the message's octets;
    returns how many. Raises Refused at the end if an item of some message cannot be decoded."""
    wanted = [all(_decodable(item, digest) for item in items) for digest in digests]
    refused = not all(wanted)
    if refused:
        uids, heads = list(compress(uids, wanted)), list(compress(heads, wanted))
        digests = list(compress(digests, wanted))
    sent = 0
    for start, stop in _readable(view, uids):
        contents = await view.mailbox.contents(uids[start:stop])
        for at, content in enumerate(contents, start):
            if content is not None:
                await _send_contents(writer, heads[at], items, content, digests[at])
                sent += 1
    if refused:
        raise Refused("UNKNOWN-CTE", "Cannot decode this part")  # RFC 3516 4.3
    return sent


def _readable(view: MailboxView, uids: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Slices of messages that are read together: they wait in memory for a client that may be slow,
    so they are at most READ_OCTETS, or one message."""
    index, octets, start = view.index, 0, 0
    for at, uid in enumerate(uids):
        row = index.position(uid)
        size = 0 if row is None else index.sizes[row]
        if octets + size > READ_OCTETS and at > start:
            yield start, at
            start, octets = at, 0
        octets += size
    if start < len(uids):
        yield start, len(uids)


def _decodable(item: FetchItem, digest: Digest) -> bool:
    """Asked before the answer begins: in the middle of it, it would be too late."""
    if item.attribute not in (_A.BINARY, _A.BINARY_SIZE):
        return True
    return mime.decodable(digest.parts, item.section.path)


async def _send_contents(
    writer: _Writer, head: bytes, items: Sequence[FetchItem], content: bytes, digest: Digest
) -> None:
    """Send one answer, item by item. What is long leaves in pieces: never more than a chunk
    waits for a client that does not read, nor is more than one item held for it."""
    decoded: dict[Section, bytes | memoryview | None] = {}
    for item in items:
        if len(content) > THREAD and _takes_time(item):
            name, octets = await asyncio.to_thread(_content, item, content, digest, decoded)
        else:
            name, octets = _content(item, content, digest, decoded)
        writer.work(len(content) if _takes_time(item) else 0)
        writer.write(head + name)
        head = b" "
        view = memoryview(octets)
        for start in range(0, len(view), CHUNK):
            writer.write(view[start : start + CHUNK])
            await writer.pace()
        await writer.pace()
    writer.write(b")\r\n")


def _label(item: FetchItem) -> bytes:
    """The item's name in the answer; a partial shows its offset only.   RFC 9051 7.5.2"""
    name = item.attribute.value
    if not name.endswith("[]"):
        return name.encode("ascii")
    label = b"%b[%b]" % (name[:-2].encode("ascii"), r.section_label(item.section))
    return label if item.partial is None else b"%b<%d>" % (label, item.partial[0])


def _cut(item: FetchItem, octets: bytes | memoryview) -> bytes | memoryview:
    """The part that ``<offset.length>`` asks for; past the end it is empty."""
    if item.partial is None:
        return octets
    offset, length = item.partial
    return memoryview(octets)[offset : offset + length]


def _takes_time(item: FetchItem) -> bool:
    """Whether an item is more than a slice of the message."""
    attribute = item.attribute
    return attribute in (_A.BODY_STRUCTURE, _A.BINARY, _A.BINARY_SIZE) or bool(item.section.fields)


def _content(
    item: FetchItem,
    content: bytes,
    digest: Digest,
    decoded: dict[Section, bytes | memoryview | None],
) -> tuple[bytes, bytes | memoryview]:
    """One item as its head and the octets of its literal. `decoded` holds the part that was
    decoded last: clients fetch one in many pieces."""
    octets: bytes | memoryview | None
    match item.attribute:
        case _A.BODY_STRUCTURE:
            return b"BODY " + mime.body(content), b""
        case _A.BINARY | _A.BINARY_SIZE:
            if item.section not in decoded:
                decoded.clear()
                decoded[item.section] = mime.binary(content, digest.parts, item.section.path)
            octets = decoded[item.section]
            if item.attribute is _A.BINARY_SIZE:
                return b"%b %d" % (_label(item), len(octets or b"")), b""
        case _:
            section = _RFC822.get(item.attribute, item.section)
            octets = mime.section(content, digest.parts, section)
    if octets is None:
        return _label(item) + b" NIL", b""
    octets = _cut(item, octets)
    # NUL travels in a literal8 only. For BINARY that is RFC 3516 4.2. For BODY[] that RFC would
    # have us make up another encoding (6), but a message comes back as it was appended: only a
    # client that once sent it as literal8 can meet this.
    literal8 = (item.attribute is _A.BINARY or b"\0" in content) and _has_nul(octets)
    return b"%b %b{%d}\r\n" % (_label(item), b"~" if literal8 else b"", len(octets)), octets


_NUL = re.compile(rb"\0")


def _has_nul(octets: bytes | memoryview) -> bool:
    """Without the copy that ``in`` would need of a memoryview."""
    return _NUL.search(octets) is not None
