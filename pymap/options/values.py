"""What stands behind an option, from text: the `type` of argparse.

Each raises ArgumentTypeError with a text for the operator, which quotes what was given.
"""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from pathlib import Path

__all__ = [
    "count",
    "limit_of_port",
    "mechanism",
    "network",
    "port",
    "positive",
    "referral",
    "seconds",
    "separator",
    "shown_size",
    "uri",
    "size",
    "url",
    "url_or_path",
]

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}
TIMES = {"": 1, "s": 1, "m": 60, "h": 60 * 60, "d": 24 * 60 * 60}


def port(text: str) -> int | None:
    """None for ``none``."""
    if text == "none":
        return None
    if not _is_number(text) or int(text) > 65535:
        raise ArgumentTypeError(f"{text!r} is not a port")
    return int(text)


def count(text: str) -> int:
    if not _is_number(text):
        raise ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def uri(text: str) -> str:
    """RFC 3986 3: what no scheme begins is none."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:[\x21-\x7e]+", text):
        raise ArgumentTypeError(f"{text!r} is not a URI")
    return text


def positive(text: str) -> int:
    if not (number := count(text)):
        raise ArgumentTypeError(f"{text!r} is not above 0")
    return number


def limit_of_port(text: str) -> tuple[int | None, int | None]:
    """``N`` for all ports, ``PORT=N`` for one, N being a number or ``none``."""
    where, equals, limit = text.rpartition("=")
    of_port = None
    if equals and (of_port := port(where)) is None:
        raise ArgumentTypeError(f"{where!r} is not a port")
    return of_port, None if limit == "none" else positive(limit)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,15}", text) is not None


def size(text: str) -> int:
    """In octets, or any other number that may be large."""
    found = re.fullmatch(r"([0-9]{1,15})([KMG]?)", text.strip().upper())
    if found is None:
        raise ArgumentTypeError(f"{text!r} is not a number, such as 10000, 64K or 1M")
    return int(found[1]) * UNITS[found[2]]


def shown_size(value: float) -> str:
    """As `size` reads it: 1M rather than 1048576."""
    unit = next((unit for unit in "GMK" if value % UNITS[unit] == 0), "")
    return f"{value // UNITS[unit]:.0f}{unit}"


def seconds(text: str) -> float:
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smhd]?)", text.strip())
    if found is None:
        raise ArgumentTypeError(f"{text!r} is not a time, such as 90, 90s, 15m, 1h or 1d")
    return float(found[1]) * TIMES[found[2]]


def network(text: str) -> str:
    from ipaddress import ip_network

    try:
        return str(ip_network(text.strip()))
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is not a network: {error}") from None


def mechanism(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,20}", text):  # RFC 4422 3.1
        raise ArgumentTypeError(f"{text!r} is not the name of a mechanism")
    return text.upper()


_SERVER_URL = re.compile(r"(?:[!#-.0-?A-Z^-~]+@)?[!#-.0-?A-Z^-~]+(?:/[!#-Z^-~]*)?")


def referral(text: str) -> tuple[str, str]:
    """``NAME=imap://...``. The URL stands in a response code: no spaces, quotes or brackets."""
    name, _, url = text.partition("=imap://")
    if not name or not re.fullmatch(_SERVER_URL, url):
        raise ArgumentTypeError(f"{text!r} is not NAME=imap://SERVER/")
    return name, f"imap://{url}"


def separator(text: str) -> str:
    if len(text) > 1 or not text.isprintable():
        raise ArgumentTypeError(f"{text!r} is not one sign")
    return text


def url(text: str) -> str:
    if not re.match(r"https?://[^/\s]", text):
        raise ArgumentTypeError(f"{text!r} does not begin with https:// or http://")
    return text


def url_or_path(text: str) -> str | Path:
    return text if re.match(r"https?://", text) else Path(text)
