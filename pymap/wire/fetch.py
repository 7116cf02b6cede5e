"""What FETCH can ask for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pymap.wire.types import Section

__all__ = ["FetchAttribute", "FetchItem"]


class FetchAttribute(Enum):
    """fetch-att.   RFC 9051 6.4.5, RFC 3501 6.4.5, RFC 7162 3.1.4, RFC 8474 5, RFC 8514 4.2,
    RFC 8970 3"""

    UID = "UID"
    FLAGS = "FLAGS"
    INTERNALDATE = "INTERNALDATE"
    SIZE = "RFC822.SIZE"
    ENVELOPE = "ENVELOPE"
    BODYSTRUCTURE = "BODYSTRUCTURE"
    BODY_STRUCTURE = "BODY"  # BODY without a section
    MODSEQ = "MODSEQ"
    EMAILID = "EMAILID"
    THREADID = "THREADID"
    SAVEDATE = "SAVEDATE"
    X_GM_MSGID = "X-GM-MSGID"
    X_GM_THRID = "X-GM-THRID"
    X_GM_LABELS = "X-GM-LABELS"
    PREVIEW = "PREVIEW"
    SECTION = "BODY[]"
    RFC822 = "RFC822"
    RFC822_HEADER = "RFC822.HEADER"
    RFC822_TEXT = "RFC822.TEXT"
    BINARY = "BINARY[]"
    BINARY_SIZE = "BINARY.SIZE[]"


@dataclass(frozen=True, slots=True)
class FetchItem:
    """One data item. `section` and `partial` (offset, length) are of BODY[] and BINARY[] only."""

    attribute: FetchAttribute
    section: Section = Section()  # noqa: RUF009  an immutable NamedTuple
    partial: tuple[int, int] | None = None
    peek: bool = True
