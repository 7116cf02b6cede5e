"""What SORT and THREAD compare of a message, from its header.   RFC 5256, RFC 5957

It takes some 40 us to derive, and is kept packed: of a header of 2,000 octets with five references
some 160 octets are left. Of these a SORT reads what it compares and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b
from struct import Struct, pack, unpack_from
from typing import NamedTuple

from .address import Address, addresses
from .casemap import collation_key, read_text
from .date import sent_time
from .msgid import message_id, references
from .params import MAX_FIELD
from .subject import base_subject

MAX_KEY = 500
"""Characters of a text that are compared; those after them make no difference."""


class Summary(NamedTuple):
    """Texts are collation keys: two are compared as Python compares them. A field that is not
    there is empty, which comes before all others.   RFC 5256 3 (SORT)"""

    sent: int | None
    """The Date field in seconds since 1970, UTC; None: the internal date stands in (2.2)."""
    subject: str
    """The base subject (2.1)."""
    replied: bool
    """Whether the subject says that this is a reply or forward (2.1, 3)."""
    from_: str
    """The addr-mailbox of the first address, here and in the next two."""
    to: str
    cc: str
    display_from: str
    """What is shown of the first address, here and in the next.   RFC 5957 3"""
    display_to: str
    id: int
    """A hash of the message id (see `msgid`), 0 if there is none."""
    references: tuple[int, ...]
    """Those of its ancestors, the oldest first."""


def summary(fields: Mapping[bytes, bytes]) -> Summary:
    """From raw header values by lower-case name, as `parse` finds them; those of `envelope` and
    "references". Any octets will do; time is linear, and the result is bounded."""
    get = fields.get

    def first_address(name: bytes) -> Address | None:
        # With its group's marker, if it is in one: that is the first address structure.
        raw = get(name)
        found = addresses(raw, 1) if raw else []
        return found[0] if found else None

    subject, readable = read_text(get(b"subject", b"")[:MAX_FIELD])
    subject, replied = base_subject(subject)
    from_, to, cc = map(first_address, (b"from", b"to", b"cc"))
    id_ = message_id(get(b"message-id"))
    return Summary(
        sent=sent_time(get(b"date")),
        subject=_key(subject, readable),
        replied=replied,
        from_=_mailbox(from_),
        to=_mailbox(to),
        cc=_mailbox(cc),
        display_from=_display(from_),
        display_to=_display(to),
        id=_hash(id_) if id_ else 0,
        references=tuple(map(_hash, references(get(b"references"), get(b"in-reply-to")))),
    )


def _mailbox(address: Address | None) -> str:
    return _key(*read_text(address.mailbox or b"")) if address else ""


def _display(address: Address | None) -> str:
    """The sort value of an address: its name, if there is something in it; or else
    addr-mailbox@addr-host, or addr-mailbox if there is no host.   RFC 5957 3"""
    if address is None:
        return ""
    name, readable = read_text(address.name or b"")
    if name:
        return _key(name, readable)
    mailbox, host = address.mailbox or b"", address.host
    return _key(*read_text(mailbox if host is None else b"%b@%b" % (mailbox, host)))


def _key(text: str, readable: bool = True) -> str:
    return collation_key(text[:MAX_KEY], readable)[:MAX_KEY]


def _hash(id_: bytes) -> int:
    """Ids are compared and nothing else. Who wants two of them to be the same need only write
    one twice, so 64 bits are enough for those that are different by chance."""
    return int.from_bytes(blake2b(id_, digest_size=8).digest(), "little") or 1


# -- packed ------------------------------------------------------------------------------------

_HEAD = Struct("<q?B6HQ")
_DATE = Struct("<q")
_LENGTHS = Struct("<6H")
_LENGTHS_AT = _DATE.size + 2
_NO_DATE = -(1 << 63)


def pack_summary(made: Summary) -> bytes:
    """The sent date, whether it is a reply, the number of references, lengths of the texts, the
    id; then the texts in UTF-8, and the references. At most some 14,000 octets."""
    sent, subject, replied, from_, to, cc, display_from, display_to, id_, references = made
    texts = [text.encode() for text in (subject, from_, to, cc, display_from, display_to)]
    return b"".join((
        _HEAD.pack(
            _NO_DATE if sent is None else sent, replied, len(references), *map(len, texts), id_
        ),
        *texts,
        pack(f"<{len(references)}Q", *references),
    ))  # fmt: skip


def unpack_summary(packed: bytes) -> Summary:
    sent, replied, count, *lengths, id_ = _HEAD.unpack_from(packed)
    texts, at = [], _HEAD.size
    for length in lengths:
        texts.append(packed[at : at + length].decode())
        at += length
    subject, from_, to, cc, display_from, display_to = texts
    return Summary(
        sent=None if sent == _NO_DATE else sent,
        subject=subject,
        replied=replied,
        from_=from_,
        to=to,
        cc=cc,
        display_from=display_from,
        display_to=display_to,
        id=id_,
        references=unpack_from(f"<{count}Q", packed, at),
    )


def sent(packed: bytes) -> int | None:
    """`Summary.sent`, without the rest."""
    (time,) = _DATE.unpack_from(packed)
    return None if time == _NO_DATE else int(time)


def text_reader(name: str) -> Callable[[bytes], bytes]:
    """Reads one of the six texts, in UTF-8: compared by octets they are in the same order."""
    at = ("subject", "from_", "to", "cc", "display_from", "display_to").index(name)

    def read(packed: bytes) -> bytes:
        lengths = _LENGTHS.unpack_from(packed, _LENGTHS_AT)
        start = _HEAD.size + sum(lengths[:at])
        return packed[start : start + lengths[at]]

    return read


def threaded(packed: bytes) -> tuple[int | None, str, bool, int, tuple[int, ...]]:
    """What THREAD looks at: sent date, subject, whether it is a reply, id, references."""
    sent, replied, count, subject, *others, id_ = _HEAD.unpack_from(packed)
    start = _HEAD.size + subject
    return (
        None if sent == _NO_DATE else sent,
        packed[_HEAD.size : start].decode(),
        replied,
        id_,
        unpack_from(f"<{count}Q", packed, start + sum(others)),
    )
