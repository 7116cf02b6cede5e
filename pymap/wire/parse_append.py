"""APPEND and REPLACE, with MULTIAPPEND (RFC 3502), CATENATE (RFC 4469), BINARY's literal8
(RFC 3516) and UTF8 (RFC 6855 4)."""

from __future__ import annotations

from pymap.limits import Limits
from pymap.wire.commands import Append, Catenation, Message, Replace
from pymap.wire.errors import BadCommand, Refused
from pymap.wire.scanner import Scanner
from pymap.wire.types import Flag
from pymap.wire.url import MAX_URL

__all__ = ["append", "replace"]


def append(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> Append:
    """append = "APPEND" SP mailbox 1*append-message   RFC 3502 6.3.11"""
    s.sp()
    mailbox = s.mailbox()
    messages = [_message(s, limits)]
    urls = _urls(messages[0])
    while s.at(b" ") and not s.at_end:
        messages.append(_message(s, limits))
        urls += _urls(messages[-1])
        if len(messages) > limits.append_messages or urls > limits.urls:
            raise Refused("LIMIT", "Too many messages or URLs in one APPEND")
    return Append(tag, mailbox, tuple(messages))


def replace(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> Replace:
    """replace = "REPLACE" SP seq-number SP mailbox append-message   RFC 8508 5"""
    s.sp()
    number = s.seq_number()
    s.sp()
    mailbox = s.mailbox()
    return Replace(tag, number, by_uid, mailbox, _message(s, limits))


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
    return Message(_data(s, limits), flags, internal_date)


def _data(s: Scanner, limits: Limits) -> bytes | Catenation:
    """append-data = literal / literal8 / utf8-literal /
    "CATENATE" SP "(" cat-part *(SP cat-part) ")"   RFC 4469 5"""
    if _next_word(s, b"UTF8 ("):
        return _utf8_literal(s)
    if not _next_word(s, b"CATENATE ("):
        return _literal(s)
    parts = [_cat_part(s, limits)]
    while not s.accept(b")"):
        s.sp()
        parts.append(_cat_part(s, limits))
    made = Catenation(tuple(parts))
    if made.urls > limits.urls:
        raise Refused("LIMIT", "Too many URLs")
    return made


def _urls(message: Message) -> int:
    return message.content.urls if isinstance(message.content, Catenation) else 0


def _cat_part(s: Scanner, limits: Limits) -> bytes | str:
    """cat-part = "TEXT" SP literal / "URL" SP astring / utf8-literal   RFC 4469 5, RFC 6855 4

    A literal8 is a literal here as well: RFC 3516 is older than CATENATE.
    """
    if _next_word(s, b"URL "):
        url = s.text_argument()
        # The framer takes it for a message, for which more is allowed.
        if len(url) > MAX_URL:
            raise BadCommand("URL too long")
        return url
    if _next_word(s, b"UTF8 ("):
        return _utf8_literal(s)
    if _next_word(s, b"TEXT "):
        return _literal(s)
    raise BadCommand("Expected TEXT or URL")


def _next_word(s: Scanner, word: bytes) -> bool:
    """Step over a word, in any case, with what must follow it."""
    end = s.pos + len(word)
    if s.text[s.pos : end].upper() != word:
        return False
    s.pos = end
    return True


def _utf8_literal(s: Scanner) -> bytes:
    """utf8-literal = "UTF8" SP "(" literal8 ")", from behind the bracket."""
    content = s.literal()
    if not s.literal8:
        raise BadCommand("Expected a literal8")
    s.expect(b")")
    return content


def _literal(s: Scanner) -> bytes:
    content = s.literal()
    # NUL octets travel in a literal8 only.   RFC 9051 4.3.1, RFC 3516 4.4
    if not s.literal8 and b"\0" in content:
        raise BadCommand("NUL in a literal: send it as literal8")
    return content
