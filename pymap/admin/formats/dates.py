"""Internal dates as the service has them: ``24-Nov-2026 14:00:00 +0000``."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from pymap.wire.types import MONTHS, InternalDate

__all__ = ["date_of", "date_text", "instant"]

_DATE = re.compile(
    r"(\d{1,2})-([A-Za-z]{3})-(\d{4}) (\d{2}):(\d{2}):(\d{2}) ([+-])(\d{2})(\d{2})", re.ASCII
)
_MONTHS = {name.decode().lower(): number for number, name in enumerate(MONTHS, 1)}


def date_of(text: str) -> InternalDate:
    """Raises ValueError."""
    found = _DATE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"not a date: {text!r}")
    day, month, year, hour, minute, second, sign, hours, minutes = found.groups()
    if int(hours) > 23 or int(minutes) > 59:
        raise ValueError(f"not a zone: {text!r}")
    zone = int(hours) * 60 + int(minutes)
    local = datetime(
        int(year), _MONTHS.get(month.lower(), 0), int(day),
        int(hour), int(minute), min(int(second), 59), tzinfo=UTC,
    )  # fmt: skip
    zone = -zone if sign == "-" else zone
    return InternalDate(int(local.timestamp()) - zone * 60, zone)


def date_text(date: InternalDate) -> str:
    return date.encode().decode("ascii").strip('" ')


def instant(seconds: float) -> InternalDate:
    """A time of the file system. What no date can hold is put to the nearest that it can."""
    return InternalDate(max(FIRST, min(LAST, int(seconds // 1))))


FIRST = int(datetime(1, 1, 2, tzinfo=UTC).timestamp())
LAST = int(datetime(9999, 12, 30, tzinfo=UTC).timestamp())
