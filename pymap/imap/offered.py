"""Which extensions are announced: what the store can and the operator has chosen."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from pymap.config import ExtensionConfig
from pymap.wire.capabilities import CAPABILITIES, Needs

__all__ = ["Offered", "offered"]


_SWITCHED_ON: dict[str, Callable[[ExtensionConfig], bool]] = {
    "LOGIN-REFERRALS": lambda chosen: bool(chosen.login_referrals),
    "MAILBOX-REFERRALS": lambda chosen: bool(chosen.mailbox_referrals),
    "MESSAGELIMIT": lambda chosen: chosen.message_limit is not None,
    "X-GM-EXT-1": lambda chosen: chosen.gmail,
    # Who limits all commands announces that alone.   RFC 9738 3
    "SAVELIMIT": lambda chosen: chosen.save_limit is not None and chosen.message_limit is None,
}


class Offered(NamedTuple):
    """The same for all clients of a listener, so it is made once."""

    names: frozenset[str]
    before_login: tuple[str, ...]
    after_login: tuple[str, ...]
    """As they are announced, without what depends on the connection."""


@lru_cache(maxsize=16)
def offered(chosen: ExtensionConfig, has_properties: bool, append_limit: int) -> Offered:
    """RFC 9051 6.1.1, 7.2.2. `append_limit` in octets."""
    found = [
        extension
        for extension in CAPABILITIES
        if extension.needs is Needs.NOTHING
        or (extension.needs is Needs.PROPERTIES and has_properties)
        or (extension.needs is Needs.SETTING and _SWITCHED_ON[extension.name](chosen))
    ]
    values = {
        "APPENDLIMIT": append_limit,
        "MESSAGELIMIT": chosen.message_limit,
        "SAVELIMIT": chosen.save_limit,
    }
    # Before login only small literals are taken unasked: RFC 7888 5.
    early = {"LITERAL+": "LITERAL-"}
    return Offered(
        frozenset(e.name for e in found),
        tuple(early.get(e.name, e.name) for e in found if e.before_login),
        tuple(f"{e.name}={values[e.name]}" if e.name in values else e.name for e in found),
    )
