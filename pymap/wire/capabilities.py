"""The extensions that this server speaks: one line each.

What is announced, what ENABLE knows and the table in the docs all come from here. A capability
stands here only when it works in full.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

__all__ = ["CAPABILITIES", "ENABLED_BY", "Extension", "Needs"]


class Needs(Enum):
    """Without what a capability is not announced, and its commands are refused."""

    NOTHING = "every backend"
    PROPERTIES = "dict, maildir, redis; others with `Backend.properties`"
    SETTING = "every backend, where an option switches it on"


class Extension(NamedTuple):
    """One capability: its name on the wire, where it is defined, what it is good for."""

    name: str
    rfc: str
    purpose: str
    before_login: bool = False
    can_enable: bool = False
    needs: Needs = Needs.NOTHING


CAPABILITIES: tuple[Extension, ...] = (
    Extension("IMAP4rev1", "RFC 3501", "The protocol that every client speaks", before_login=True),
    Extension(
        "IMAP4rev2", "RFC 9051", "Its revision; ENABLE switches to it",
        before_login=True, can_enable=True,
    ),
    Extension("LITERAL+", "RFC 7888", "Literals without a round trip", before_login=True),
    Extension("SASL-IR", "RFC 4959", "Login in one round trip", before_login=True),
    Extension("ID", "RFC 2971", "Client and server tell their names", before_login=True),
    Extension("ENABLE", "RFC 5161", "Switching on what changes answers", before_login=True),
    Extension("LANGUAGE", "RFC 5255", "Texts in English or German", before_login=True),
    Extension(
        "ACL", "RFC 4314", "Who else may do what with a mailbox", needs=Needs.PROPERTIES
    ),
    Extension("APPENDLIMIT", "RFC 7889", "The largest message, told in advance"),
    Extension("BINARY", "RFC 3516", "Decoded parts, messages with NUL octets"),
    Extension("CATENATE", "RFC 4469", "Messages put together from parts of others"),
    Extension("CHILDREN", "RFC 3348", "Which mailboxes have children"),
    Extension("COMPRESS=DEFLATE", "RFC 4978", "Both directions compressed"),
    Extension("CONDSTORE", "RFC 7162", "What changed since; conditional STORE", can_enable=True),
    Extension("CONTEXT=SEARCH", "RFC 5267", "SEARCH results that are kept current"),
    Extension("CONTEXT=SORT", "RFC 5267", "SORT results that are kept current"),
    Extension("CREATE-SPECIAL-USE", "RFC 6154", "Clients make mailboxes for Sent, Trash ..."),
    Extension("ESEARCH", "RFC 4731", "Compact SEARCH results: MIN, MAX, COUNT, ALL"),
    Extension("ESORT", "RFC 5267", "SORT with ESEARCH's return options"),
    Extension("FILTERS", "RFC 5466", "Searches that are kept by name", needs=Needs.PROPERTIES),
    Extension("I18NLEVEL=1", "RFC 5255", "SEARCH, SORT and THREAD by i;unicode-casemap"),
    Extension("IDLE", "RFC 2177", "News is pushed"),
    Extension("INPROGRESS", "RFC 9585", "Signs of life from a long search, copy or move"),
    Extension("LIST-EXTENDED", "RFC 5258", "LIST with selection and return options"),
    Extension(
        "LIST-METADATA", "RFC 9590", "LIST and GETMETADATA in one command", needs=Needs.PROPERTIES
    ),
    Extension(
        "LIST-MYRIGHTS", "RFC 8440", "LIST and MYRIGHTS in one command", needs=Needs.PROPERTIES
    ),
    Extension("LIST-STATUS", "RFC 5819", "LIST and STATUS in one command"),
    Extension(
        "LOGIN-REFERRALS", "RFC 2221", "Where a user's mail is, if elsewhere",
        before_login=True, needs=Needs.SETTING,
    ),
    Extension(
        "MAILBOX-REFERRALS", "RFC 2193", "Where a mailbox is, if elsewhere", needs=Needs.SETTING
    ),
    Extension(
        "MESSAGELIMIT", "RFC 9738", "How many messages one command works on", needs=Needs.SETTING
    ),
    Extension("METADATA", "RFC 5464", "Notes at mailboxes", needs=Needs.PROPERTIES),
    Extension("METADATA-SERVER", "RFC 5464", "Notes at the server", needs=Needs.PROPERTIES),
    Extension("MOVE", "RFC 6851", "Move messages in one step"),
    Extension("MULTIAPPEND", "RFC 3502", "Many messages in one APPEND, all or none"),
    Extension("MULTISEARCH", "RFC 7377", "One search over many mailboxes"),
    Extension("NAMESPACE", "RFC 2342", "Where a client's mailboxes are"),
    Extension("NOTIFY", "RFC 5465", "News of all mailboxes, at any time"),
    Extension("OBJECTID", "RFC 8474", "Ids that survive renames and moves"),
    Extension("PARTIAL", "RFC 9394", "SEARCH, SORT and FETCH by pages"),
    Extension("PREVIEW", "RFC 8970", "The first words of a message, kept ready"),
    Extension("QRESYNC", "RFC 7162", "Resynchronise in one round trip", can_enable=True),
    Extension("QUOTA", "RFC 9208", "How much an account holds, and may hold"),
    Extension("QUOTA=RES-MAILBOX", "RFC 9208", "In mailboxes"),
    Extension("QUOTA=RES-MESSAGE", "RFC 9208", "In messages"),
    Extension("QUOTA=RES-STORAGE", "RFC 9208", "In units of 1024 octets"),
    Extension("QUOTASET", "RFC 9208", "Masters set what it may hold", needs=Needs.PROPERTIES),
    Extension("REPLACE", "RFC 8508", "A new version of a draft for the old one"),
    Extension(
        "RIGHTS=kxte", "RFC 4314", "The rights that RFC 2086 did not know", needs=Needs.PROPERTIES
    ),
    Extension("SAVEDATE", "RFC 8514", "When a message came into its mailbox"),
    Extension(
        "SAVELIMIT", "RFC 9738", "How many messages one COPY or APPEND adds", needs=Needs.SETTING
    ),
    Extension("SEARCH=FUZZY", "RFC 6203", "Searching for what is alike, with scores"),
    Extension("SEARCHRES", "RFC 5182", "$ stands for the last SEARCH result"),
    Extension("SORT", "RFC 5256", "Messages in order of date, subject, sender ..."),
    Extension("SORT=DISPLAY", "RFC 5957", "Order by the names that are shown"),
    Extension("SPECIAL-USE", "RFC 6154", "Which mailbox is Sent, Trash, Drafts ..."),
    Extension("STATUS=SIZE", "RFC 8438", "The size of a mailbox"),
    Extension("THREAD=ORDEREDSUBJECT", "RFC 5256", "Threads by subject and date"),
    Extension("THREAD=REFERENCES", "RFC 5256", "Threads by who answers whom"),
    Extension("THREAD=REFS", "draft-ietf-morg-inthread", "The same, the latest ones last"),
    Extension("UIDBATCHES", "RFC 10022", "UID ranges that cut a mailbox into equal parts"),
    Extension("UIDONLY", "RFC 9586", "No message numbers, only UIDs", can_enable=True),
    Extension("UIDPLUS", "RFC 4315", "The UIDs of appended and copied messages; UID EXPUNGE"),
    Extension("UNAUTHENTICATE", "RFC 8437", "One connection for several users"),
    Extension("UNSELECT", "RFC 3691", "Leave a mailbox without expunging"),
    Extension("URL-PARTIAL", "RFC 5550", "URLs that name some octets of a part"),
    Extension(
        "URLAUTH", "RFC 4467", "URLs that let others read a part of a message",
        needs=Needs.PROPERTIES,
    ),
    Extension(
        "URLAUTH=BINARY", "RFC 5524", "The same, decoded and with its structure",
        needs=Needs.PROPERTIES,
    ),
    Extension("UTF8=ACCEPT", "RFC 6855", "UTF-8 in names and headers", can_enable=True),
    Extension("WITHIN", "RFC 5032", "SEARCH OLDER and YOUNGER"),
    Extension("X-GM-EXT-1", "Gmail", "Labels, thread ids and queries", needs=Needs.SETTING),
)  # fmt: skip

ENABLED_BY = {
    extension.name.upper(): extension for extension in CAPABILITIES if extension.can_enable
}
"""What ENABLE switches on, by upper-case name."""
