"""Annotations as they are kept: METADATA's entries in the properties of mailboxes, of accounts and
of the server.   RFC 5464 3

    /shared/comment     metadata/shared/comment
    /private/comment    metadata/private/<user>/comment

Rule 1: what is private is kept by user, also at a mailbox, which several users may share.
Rule 2: those of a mailbox are in its own properties, so they go with it and end with it. Of the
        server, private ones are in the account, shared ones in the store.
Rule 3: names are in lower case: they have no case.
Rule 4: every change gives `CHANGES` another value, and is made only if nobody else has done so
        meanwhile. So the bounds hold, however many change at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from secrets import token_hex
from urllib.parse import quote

from pymap.backend.api import Mailbox, Properties
from pymap.backend.errors import InUse
from pymap.limits import Limits
from pymap.wire.errors import Refused

__all__ = ["Values", "copy_all", "read", "read_both", "write"]

PREFIX = "metadata/"
CHANGES = "metadata"
LONGEST_KEY = 2000  # octets: the contract of `Properties`
TRIES = 100  # each that fails has let somebody else through
USERS = 16
"""As many users as may fill what they have at one mailbox: so much is bounded, however many share
it."""

Values = dict[str, bytes]
"""By name of entry, in lower case."""


def _prefix(scope: str, user: str) -> str:
    """What the keys of /private or /shared entries begin with."""
    if scope == "private":
        return f"{PREFIX}private/{quote(user, safe='', errors='surrogatepass')}/"
    return f"{PREFIX}shared/"


def _scope(entry: str) -> str:
    return entry[1:].partition("/")[0]


async def read(properties: Properties, scope: str, user: str) -> Values:
    """All that this user has there, or with ``shared`` all that all have."""
    return _of(await properties.read(), scope, user)


async def read_both(properties: Properties, user: str) -> Values:
    """What this user sees of one mailbox."""
    known = await properties.read()
    return {**_of(known, "private", user), **_of(known, "shared", user)}


def _of(known: Mapping[str, bytes], scope: str, user: str) -> Values:
    prefix = _prefix(scope, user)
    return {
        f"/{scope}/{key[len(prefix) :]}": value
        for key, value in known.items()
        if key.startswith(prefix)
    }


async def write(
    properties: Properties, values: Mapping[str, bytes | None], user: str, limits: Limits
) -> Mapping[str, bytes | None]:
    """Set entries, and remove those that are None: all or none. Returns what they were.

    Raises Refused for one too many or too large, and what `Properties.write` does.   RFC 5464 4.3
    """
    changes: dict[str, bytes | None] = {}
    for entry, value in values.items():
        scope = _scope(entry)
        key = _prefix(scope, user) + entry[len(scope) + 2 :]
        if len(key.encode()) > LONGEST_KEY:
            raise Refused("LIMIT", "The name of the entry is too long")
        changes[key] = value
    for _ in range(TRIES):
        known = await properties.read()
        for scope in {_scope(entry) for entry in values}:
            own = {entry: value for entry, value in values.items() if _scope(entry) == scope}
            _check(_of(known, scope, user), own, limits)
        everybodys = {key: value for key, value in known.items() if key.startswith(PREFIX)}
        _check(everybodys, changes, limits, USERS)
        change = {**changes, CHANGES: token_hex(8).encode()}
        if await properties.write(change, {CHANGES: known.get(CHANGES)}):
            return {entry: known.get(key) for entry, key in zip(values, changes, strict=True)}
    raise InUse("Too many are changing the annotations")


def _check(
    known: Values, values: Mapping[str, bytes | None], limits: Limits, times: int = 1
) -> None:
    """Raises Refused unless the values may come to those that are known, or replace them; `times`
    as much is allowed together."""
    for value in values.values():
        if value is not None and len(value) > limits.metadata_value:
            raise _too_large(limits.metadata_value)
    new = {entry: value for entry, value in values.items() if value is not None}
    rest = {entry: value for entry, value in known.items() if entry not in values}
    # Whoever has too many, or too much, may still remove and replace.
    if len(rest) + len(new) > max(times * limits.metadata_entries, len(known)):
        raise Refused("METADATA TOOMANY", "Too many annotations")
    before, now, kept = map(_size, (known.values(), new.values(), rest.values()))
    total = times * limits.metadata_total
    if kept + now > max(total, before):
        # What would fit of the largest of them, if the others stay as they are.
        room = total - kept - now + max(map(len, new.values()))
        raise _too_large(max(room, 0))


def _too_large(largest: int) -> Refused:
    return Refused(f"METADATA MAXSIZE {largest}", "The annotation is too large")


def _size(values: Iterable[bytes]) -> int:
    return sum(map(len, values))


async def copy_all(source: Mailbox, target: Mailbox) -> None:
    """All annotations of all users, to a mailbox that has none.   RFC 5464 4.1"""
    if source.properties is None or target.properties is None:
        return
    known = await source.properties.read()
    found = {key: value for key, value in known.items() if key.startswith(PREFIX)}
    if found:
        await target.properties.write({**found, CHANGES: b"1"})
