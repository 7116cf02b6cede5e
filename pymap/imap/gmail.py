"""Gmail's dialect, X-GM-EXT-1: ids of messages and threads, labels, whether something is attached.

Written after the description of it at developers.google.com/gmail/imap. Labels are keywords
(`wire/labels.py`) that FLAGS does not show; what sets flags leaves labels alone, and the other way.
"""

from __future__ import annotations

import re
from hashlib import sha256

from pymap.backend.api import Digest, Stored
from pymap.imap.guarded import need
from pymap.imap.view import MailboxView
from pymap.mime.summary import threaded
from pymap.wire import modutf7
from pymap.wire import responses as r
from pymap.wire.commands import Store
from pymap.wire.labels import is_label, label_of
from pymap.wire.types import NO_UIDS, Flag, FlagOp, UidSet

__all__ = ["has_attachment", "labels", "message_id", "store_flags", "thread_id"]

_ATTACHMENT = re.compile(rb'\("attachment" ', re.IGNORECASE)


def _number(octets: bytes) -> int:
    """63 bits of a hash: it is unsigned, 64 bits, but there are clients that read it as signed."""
    return int.from_bytes(sha256(octets).digest()[:8], "big") >> 1


def message_id(email_id: str) -> int:
    """X-GM-MSGID: the same for all copies of a message, as EMAILID."""
    return _number(email_id.encode("ascii"))


def thread_id(made: Digest) -> int:
    """X-GM-THRID: from the id of the message that the thread began with, as far as this one tells.
    A message without any id is a thread of its own."""
    *_, own, references = threaded(made.summary)
    first = references[0] if references else own
    return first >> 1 or _number(made.envelope)


def labels(flags: frozenset[Flag]) -> bytes:
    """The value of X-GM-LABELS, without its brackets."""
    found = sorted(label for flag in flags if (label := label_of(flag)) is not None)
    return b" ".join(r.astring(modutf7.encode(label)) for label in found)


def has_attachment(bodystructure: bytes) -> bool:
    """Whether a part says that it is one. (In a string, the quote would have a backslash.)"""
    return _ATTACHMENT.search(bodystructure) is not None


async def store_flags(view: MailboxView, uids: UidSet, command: Store) -> Stored:
    """STORE of flags, which keeps labels, or of labels, which keeps flags. To set them is to set
    both for all messages that keep the same: each of these is one change."""
    mailbox, index = view.mailbox, view.index
    since = command.unchanged_since
    if command.labels:
        need(mailbox, "w")  # they are keywords
    has_labels = any(flag.is_label for flag in index.flags.keywords.values())
    # Whoever may not change labels leaves them alone anyway.
    keeps_labels = "w" in mailbox.rights and has_labels
    if command.op is not FlagOp.SET or not (command.labels or keeps_labels):
        return await mailbox.store(uids, command.op, command.flags, since)
    done: Stored | None = None
    for kept, some in _by_kept(view, uids, command.labels):
        last = await mailbox.store(some, FlagOp.SET, command.flags | kept, since)
        if done is None:
            done = last
        else:
            # If somebody came between, `before` says so, for it is no longer ours.
            before = done.before if last.before == done.modseq else -1
            done = Stored(
                before, last.modseq, done.changed | last.changed, done.failed | last.failed
            )
    return done or Stored(index.modseq, index.modseq, NO_UIDS)


def _by_kept(view: MailboxView, uids: UidSet, labels: bool) -> list[tuple[frozenset[Flag], UidSet]]:
    """Messages by what of their flags stays."""
    index = view.index
    kept = [
        frozenset(f for f in flags if (not is_label(f) if labels else f.is_label))
        for flags in index.flags.sets
    ]
    groups: dict[frozenset[Flag], list[int]] = {}
    for start, stop in uids.slices(index.uids):
        for at in range(start, stop):
            groups.setdefault(kept[index.flagsets[at]], []).append(index.uids[at])
    return [(stays, UidSet.from_sorted(some)) for stays, some in groups.items()]
