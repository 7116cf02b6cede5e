"""APPEND, with MULTIAPPEND (RFC 3502), BINARY's literal8 (RFC 3516) and UTF8 (RFC 6855 4)."""

from __future__ import annotations

from pymap.limits import Limits
from pymap.wire.commands import Append, Message
from pymap.wire.errors import BadCommand, Refused
from pymap.wire.scanner import Scanner
from pymap.wire.types import Flag

__all__ = ["append"]


def append(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> Append:
    """append = "APPEND" SP mailbox 1*append-message   RFC 3502 6.3.11"""
    s.sp()
    mailbox = s.mailbox()
    messages = [_message(s, limits)]
    while s.at(b" ") and not s.at_end:
        messages.append(_message(s, limits))
        if len(messages) > limits.append_messages:
            raise Refused("LIMIT", "Too many messages in one APPEND")
    return Append(tag, mailbox, tuple(messages))


def _message(s: Scanner, limits: Limits) -> Message:
    """append-message = [SP flag-list] [SP date-time] SP append-data"""
    s.sp()
    s.accept(b" ")  # IMAPClient 4.1 sends two between messages without flags and date
    flags: frozenset[Flag] = frozenset()
    if s.at(b"("):
        flags = s.flag_list(limits)
        s.sp()
    internal_date = None
    if s.at(b'"'):
        internal_date = s.date_time()
        s.sp()
    return Message(_data(s), flags, internal_date)


def _data(s: Scanner) -> bytes:
    """append-data = literal / literal8 / "UTF8" SP "(" literal8 ")" """
    if s.text[s.pos : s.pos + 6].upper() == b"UTF8 (":
        s.pos += 6
        content = s.literal()
        if not s.literal8:
            raise BadCommand("Expected a literal8")
        s.expect(b")")
        return content
    content = s.literal()
    # NUL octets travel in a literal8 only.   RFC 9051 4.3.1, RFC 3516 4.4
    if not s.literal8 and b"\0" in content:
        raise BadCommand("NUL in a literal: send it as literal8")
    return content
