"""Message ids, in the one form in which they are compared.   RFC 5322 3.6.4, RFC 5256 3

    msg-id    = [CFWS] "<" id-left "@" id-right ">" [CFWS]
    id-left   = dot-atom-text / no-fold-quote (RFC 2822) / local-part (obsolete)
    id-right  = dot-atom-text / no-fold-literal / domain (obsolete)

The form is id-left ``@`` id-right, without quoting, comments and white space. What mailers write
beyond the grammar (other characters in an atom, a second "@") is taken as it stands: what matters
is that two spellings of one id become the same.
"""

from __future__ import annotations

import re

from .header import strip_comments, unfold
from .params import MAX_FIELD

MAX_REFERENCES = 200
"""Ids of one message that are looked at: the last, for they are its nearest ancestors."""

# An id that is in its form already, as nearly all are. 8-bit octets are UTF-8 (RFC 6532 3.2).
_ATOMS = rb'[^\x00-\x20\x7f<>()"\\@]++'
_PLAIN = re.compile(rb"<(%b@%b)>" % (_ATOMS, _ATOMS))
_PLAIN_LIST = re.compile(rb"(?:[ \t]*+<%b@%b>)*+[ \t]*+" % (_ATOMS, _ATOMS))

_TOKEN = re.compile(
    rb"""(?P<open><) | (?P<close>>) | (?P<at>@)
    | "(?P<quoted>(?:[^"\\]|\\.)*+)(?:"|\Z|\\)
    | \\(?P<escaped>.|\Z)
    | (?P<blank>[\x00-\x20\x7f]++)
    | (?P<atom>[^\x00-\x20\x7f<>"\\@]++)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)


def message_id(raw: bytes | None) -> bytes:
    """The id in a Message-ID field, empty if there is no valid one.   RFC 5256 3, step (1)(A)"""
    found = message_ids(raw[:MAX_FIELD], limit=1) if raw else []
    return found[0] if found else b""


def references(references: bytes | None, in_reply_to: bytes | None) -> list[bytes]:
    """The ids of a message's ancestors, the oldest first, from the raw values of two fields.

    All that are in References, in its order; without any, the first in In-Reply-To, where
    addresses may follow it. At most MAX_REFERENCES.   RFC 5256 3 (REFERENCES)
    """
    if references and (found := message_ids(references[-MAX_FIELD:])):
        return found[-MAX_REFERENCES:]
    return message_ids(in_reply_to[:MAX_FIELD], limit=1) if in_reply_to else []


def message_ids(raw: bytes, limit: int | None = None) -> list[bytes]:
    """The valid ids in a header value, in its order; at most `limit`. An id has an "@" and
    something on both sides of it. Words, comments and quoted strings between ids are passed over.

    A quoted string or comment that is never closed takes all the rest. Time is linear.
    """
    raw = unfold(raw)
    if _PLAIN_LIST.fullmatch(raw):
        return _PLAIN.findall(raw)[:limit]
    found: list[bytes] = []
    pieces: list[bytes] | None = None  # of the id that is being read
    mark = 0  # the place of the "@" among them
    for token in _TOKEN.finditer(strip_comments(raw, in_words=True)):
        kind = token.lastgroup or ""
        if kind == "open":
            pieces, mark = [], 0
        elif pieces is None or kind == "blank":
            continue
        elif kind == "close":
            if 0 < mark < len(pieces) - 1:
                found.append(b"".join(pieces))
                if len(found) == limit:
                    break
            pieces = None
        else:
            if kind == "at":
                mark = mark or len(pieces)
            pieces.append(_ESCAPE.sub(rb"\1", token[kind]) if kind == "quoted" else token[kind])
    return found
