"""The Date field.   RFC 5322 3.3 and its obsolete forms, 4.3"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

from .header import strip_comments, unfold

MAX_DATE = 200
"""Octets that are looked at; a date is much shorter."""

_MONTHS = {
    b"jan": 1,
    b"feb": 2,
    b"mar": 3,
    b"apr": 4,
    b"may": 5,
    b"jun": 6,
    b"jul": 7,
    b"aug": 8,
    b"sep": 9,
    b"oct": 10,
    b"nov": 11,
    b"dec": 12,
}
_ZONES = {
    b"ut": 0,
    b"utc": 0,
    b"gmt": 0,
    b"z": 0,
    b"est": -5,
    b"edt": -4,
    b"cst": -6,
    b"cdt": -5,
    b"mst": -7,
    b"mdt": -6,
    b"pst": -8,
    b"pdt": -7,
}
"""obs-zone, in hours. The other letters were defined backwards in RFC 822 and are "-0000"."""

_TIME = rb"(\d{1,2})\s*+:\s*+(\d{1,2})(?:\s*+:\s*+(\d{1,2}))?"
# date-time = [day-of-week ","] date time: blanks, commas and hyphens may separate.
_DATE = re.compile(
    rb"(?:[A-Za-z]++\s*+[,.]?\s*+)?+"
    rb"(\d{1,2})[\s-]++([A-Za-z]{3})[A-Za-z]*+[.,]?[\s-]++(\d{2,4})(?!\d)"
    rb"(?:[\s,]++" + _TIME + rb"(?:[.]\d++)?\s*+([+-]\d{4}(?!\d)|[A-Za-z]+)?)?"
)
# asctime(): Wed Jul 17 02:23:25 PDT 1996
_ASCTIME = re.compile(
    rb"[A-Za-z]++\s*+,?\s*+([A-Za-z]{3})[a-z]*+\s++(\d{1,2})(?!\d),?\s*+"
    + _TIME
    + rb"\s++(?:([A-Za-z]++|[+-]\d{4})\s++)?(\d{4})(?!\d)"
)


def sent_date(raw: bytes) -> date | None:
    """The date as written, for SENTBEFORE, SENTON, SENTSINCE.

    Those disregard time and time zone.   RFC 9051 6.4.4
    """
    found = _read(raw)
    return found[0].date() if found else None


def sent_datetime(raw: bytes) -> datetime | None:
    """The moment, in UTC: "sent date" of SORT and THREAD. None if no date can be read.

    An invalid zone is UTC, an invalid time 00:00:00.   RFC 5256 2.2
    """
    found = _read(raw)
    if not found:
        return None
    local, offset = found
    try:
        return local - offset
    except OverflowError:  # 31 Dec 9999 in America
        return local


def sent_time(raw: bytes | None) -> int | None:
    """The same in seconds since 1970. None, for a field that is missing or has no date that can be
    read, means that the internal date stands in for it.

    RFC 5256 2.2 also says that without a "valid date or time" it SHOULD be the earliest possible
    date. We take that for the same case: a message with ``31 Feb`` belongs near those it came with.
    """
    sent = sent_datetime(raw) if raw else None
    return None if sent is None else int(sent.timestamp())


def _read(raw: bytes) -> tuple[datetime, timedelta] | None:
    """The time as written, and its zone's offset."""
    text = strip_comments(unfold(raw[:MAX_DATE]), in_words=True).strip()
    if match := _DATE.match(text):
        day, month, year, hour, minute, second, zone = match.groups()
    elif match := _ASCTIME.match(text):
        month, day, hour, minute, second, zone, year = match.groups()
    else:
        return None
    try:
        found = datetime(_year(year), _MONTHS.get(month.lower(), 0), int(day), tzinfo=UTC)
    except ValueError:
        return None
    if hour is None or int(hour) > 23 or int(minute) > 59:
        return found, timedelta(0)
    # A leap second is the second before: datetime has none.
    seconds = min(int(second or 0), 59)
    return found.replace(hour=int(hour), minute=int(minute), second=seconds), _offset(zone or b"")


def _year(digits: bytes) -> int:
    """Two digits up to 49 are of this century, other two or three are from 1900. RFC 5322 4.3"""
    year = int(digits)
    if len(digits) == 2 and year < 50:
        return year + 2000
    return year + 1900 if len(digits) < 4 else year


def _offset(zone: bytes) -> timedelta:
    if zone[:1] not in (b"+", b"-"):
        return timedelta(hours=_ZONES.get(zone.lower(), 0))
    hours, minutes = int(zone[1:3]), int(zone[3:])
    if hours > 23 or minutes > 59:
        return timedelta(0)
    offset = timedelta(hours=hours, minutes=minutes)
    return -offset if zone[:1] == b"-" else offset
