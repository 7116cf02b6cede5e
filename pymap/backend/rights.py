"""What users may do with a mailbox: the letters of RFC 4314, and how a list of them is read.

    l  see it in LIST         i  APPEND and COPY into it        t  set and clear \\Deleted
    r  read it                p  send mail to it (not ours)     e  expunge
    s  set and clear \\Seen    k  make mailboxes below it        a  change this list
    w  the other flags        x  delete and rename it

An access list maps identifiers to rights. An identifier is a user's name, ANYONE, or OWNER; with a
dash before it, its rights are taken away.

Which entries count for a user is as Dovecot has it: of those that give, the one that names the
user, or else ANYONE's; of those that take away likewise. The owner of the account has all rights
unless an entry of his own says less, and never loses `l` and `a`: nobody locks himself out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = [
    "ALL_RIGHTS",
    "ANYONE",
    "NO_RIGHTS",
    "OWNER",
    "OWNERS_ALWAYS",
    "PROPERTY_KEYS",
    "AccessList",
    "Rights",
    "from_properties",
    "parse_rights",
    "property_key",
    "render_rights",
    "rights_of",
]

Rights = frozenset[str]
AccessList = Mapping[str, Rights]

LETTERS = "lrswipkxtea"
ALL_RIGHTS: Rights = frozenset(LETTERS)
NO_RIGHTS: Rights = frozenset()
OWNERS_ALWAYS: Rights = frozenset("la")

ANYONE = "anyone"
OWNER = ""
"""Whose account it is, whatever his name; no client can name an identifier so."""

# Of the two readings of RFC 2086 that RFC 4314 2.1.1 leaves, that in which DELETE was "create".
_VIRTUAL = {"c": frozenset("kx"), "d": frozenset("te")}


def parse_rights(text: str) -> Rights:
    """rights = astring, with the older ``c`` and ``d`` for what they stand for. Raises ValueError
    for a letter that is no right: none may be passed over.   RFC 4314 2.1.1, 3.1"""
    found: set[str] = set()
    for letter in text:
        if letter not in ALL_RIGHTS and letter not in _VIRTUAL:
            raise ValueError(f"{letter!r} is not a right")
        found |= _VIRTUAL.get(letter, {letter})
    return frozenset(found)


def render_rights(rights: Rights) -> str:
    """In the order of the RFC, with ``c`` and ``d`` for clients that know no others.   RFC 4314
    2.1.1"""
    letters = [letter for letter in LETTERS if letter in rights]
    return "".join(letters + [letter for letter, all_of in _VIRTUAL.items() if all_of & rights])


def rights_of(entries: AccessList, user: str, owner: str) -> Rights:
    """What a user may do."""
    if user == owner:
        if not entries:
            return ALL_RIGHTS
        given = _first(entries, "", (user, OWNER), ALL_RIGHTS)
        return given - _first(entries, "-", (user, OWNER), NO_RIGHTS) | OWNERS_ALWAYS
    # Of one whose name begins with a dash, no entry can be: it would take away from another.
    named = () if user.startswith("-") else (user,)
    given = _first(entries, "", (*named, ANYONE), NO_RIGHTS)
    return given - _first(entries, "-", (*named, ANYONE), NO_RIGHTS)


def _first(entries: AccessList, sign: str, identifiers: Sequence[str], otherwise: Rights) -> Rights:
    for identifier in identifiers:
        if (found := entries.get(sign + identifier)) is not None:
            return found
    return otherwise


# -- as properties of a mailbox --

PROPERTY_KEYS = "acl/"
"""What their keys begin with."""


def property_key(identifier: str) -> str:
    return PROPERTY_KEYS + identifier


def from_properties(properties: Mapping[str, bytes]) -> AccessList:
    return {
        key.removeprefix(PROPERTY_KEYS): frozenset(value.decode("ascii", "replace")) & ALL_RIGHTS
        for key, value in properties.items()
        if key.startswith(PROPERTY_KEYS)
    }
