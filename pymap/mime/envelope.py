"""ENVELOPE.   RFC 9051 7.5.2"""

from __future__ import annotations

from collections.abc import Mapping

from .address import MAX_ADDRESSES, Address, addresses
from .header import unfold
from .strings import nstring

ADDRESS_FIELDS = (b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc")
FIELDS = (b"date", b"subject", *ADDRESS_FIELDS, b"in-reply-to", b"message-id")
"""The header fields that it is made of, in its order."""


def envelope(fields: Mapping[bytes, bytes]) -> bytes:
    """The parenthesized list, from raw header values by lower-case name.

    Address fields that occur several times were joined by commas (`parse`): an attacker must not
    choose which From the server shows and which the client.
    """
    get = fields.get
    date, subject = (_text(get(name)) for name in (b"date", b"subject"))
    from_ = _list(get(b"from"))
    # Absent or empty, the server sets them to From.
    sender = _list(get(b"sender"))
    reply_to = _list(get(b"reply-to"))
    return b"(%b %b %b %b %b %b %b %b %b %b)" % (
        date,
        subject,
        from_,
        from_ if sender == b"NIL" else sender,
        from_ if reply_to == b"NIL" else reply_to,
        _list(get(b"to")),
        _list(get(b"cc")),
        _list(get(b"bcc")),
        _text(get(b"in-reply-to")),
        _text(get(b"message-id")),
    )


def _text(raw: bytes | None) -> bytes:
    """As it stands in the header, unfolded; "" if present but empty."""
    return b"NIL" if raw is None else nstring(unfold(raw))


def _list(raw: bytes | None) -> bytes:
    """ "(" 1*address ")" / nil; addresses follow one another without a space.   RFC 9051 9"""
    if not raw:
        return b"NIL"
    found = addresses(raw, MAX_ADDRESSES)
    return b"(%b)" % b"".join([_address(entry) for entry in found]) if found else b"NIL"


def _address(entry: Address) -> bytes:
    name, route, mailbox, host = entry
    return b"(%b %b %b %b)" % (nstring(name), nstring(route), nstring(mailbox), nstring(host))
