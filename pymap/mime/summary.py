"""What SORT and THREAD compare of a message, from its header.   RFC 5256, RFC 5957

It takes some 40 us to derive, and is to be kept: of a header of 2,000 octets with five references,
texts of 90 octets and ids of 180 are left.
"""

from __future__ import annotations

from typing import NamedTuple

from .address import Address, addresses
from .casemap import collation_key, read_text
from .date import sent_time
from .header import lowered, pattern_of
from .msgid import message_id, references
from .params import MAX_FIELD
from .subject import base_subject

MAX_KEY = 500
"""Characters of a text that are compared; those after them make no difference."""

_FIELDS = pattern_of(
    (b"date", b"subject", b"from", b"to", b"cc", b"message-id", b"in-reply-to", b"references")
)


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
    id: bytes
    """The message id, empty if there is none; see `msgid`."""
    references: tuple[bytes, ...]
    """The ids of its ancestors, the oldest first."""


def summary(header: bytes) -> Summary:
    """Of a header block. Any octets will do; time is linear, and the result is bounded.

    As for ENVELOPE, of a field that occurs several times the first counts, and address fields are
    one list.
    """
    values: dict[bytes, list[bytes]] = {}
    for match in _FIELDS.finditer(lowered(header)):
        start, end = match.span(2)  # in the lowered copy, which is one octet longer
        values.setdefault(match[1], []).append(header[start - 1 : end - 1].strip(b" \t\r\n"))

    def first(name: bytes) -> bytes | None:
        return values[name][0] if name in values else None

    def first_address(name: bytes) -> Address | None:
        # With its group's marker, if it is in one: that is the first address structure.
        found = addresses(b",".join(values[name]), 1) if name in values else []
        return found[0] if found else None

    subject, readable = read_text((first(b"subject") or b"")[:MAX_FIELD])
    subject, replied = base_subject(subject)
    from_, to, cc = map(first_address, (b"from", b"to", b"cc"))
    return Summary(
        sent=sent_time(first(b"date")),
        subject=_key(subject, readable),
        replied=replied,
        from_=_mailbox(from_),
        to=_mailbox(to),
        cc=_mailbox(cc),
        display_from=_display(from_),
        display_to=_display(to),
        id=message_id(first(b"message-id")),
        references=tuple(references(first(b"references"), first(b"in-reply-to"))),
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
