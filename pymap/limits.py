"""What one client may cost: every bound of the server, in one value.

Imports nothing of ours, so that every layer may hold it. `docs/operator.md` lists the same
table; a test for each field hits the limit.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what a client may send and hold; sizes in octets, times in seconds."""

    line: int = MIB
    """One command outside its literals, after login. RFC 2683 3.2.1.5 asks for 8000 at least."""
    line_before_login: int = 8 * KIB
    literal: int = MIB
    """A literal that is an argument, not a message."""
    literal_before_login: int = 4 * KIB
    literals: int = 10_000
    """Literals in one command."""
    literals_total: int = 4 * MIB
    """All literals of one command together, messages not counted."""
    append: int = 64 * MIB
    """One message: announced as APPENDLIMIT, RFC 7889."""
    append_total: int = 128 * MIB
    """All messages of one APPEND, RFC 3502."""
    append_messages: int = 1000
    """Messages in one APPEND."""
    urls: int = 1000
    """URLs in one command of CATENATE, GENURLAUTH or URLFETCH."""
    search_keys: int = 10_000
    """Keys in one SEARCH program."""
    search_depth: int = 100
    """Parentheses, NOT and OR inside one another."""
    contexts: int = 20
    """Searches of one session that are kept current, RFC 5267; at least one."""
    context_results: int = 200_000
    """Results that those of them that are sorted hold together."""
    fetch_items: int = 1000
    """Data items in one FETCH, header field names counted too."""
    list_patterns: int = 100
    """Mailbox patterns in one LIST, and names in one ESEARCH."""
    notify_mailboxes: int = 1000
    """Mailboxes whose messages one session is told of by NOTIFY, and names in one NOTIFY."""
    mailbox_name: int = 1000
    """Octets of a mailbox name in UTF-8, and of a pattern of LIST."""
    mailbox_levels: int = 64
    """Levels of hierarchy in a mailbox name."""
    mailboxes: int = 10_000
    """Mailboxes of one account."""
    acl_identifiers: int = 200
    """Identifiers in the access list of one mailbox."""
    acl_owners: int = 500
    """Users that may share something with one user, or with everybody."""
    keywords: int = 500
    """Different keywords in one mailbox."""
    keyword: int = 255
    """Octets of a keyword."""
    flags: int = 200
    """Flags in one flag list."""
    metadata_entries: int = 200
    """Annotations that one user has at one mailbox, or at the server; and those that all share
    there. RFC 5464 4.1: at least 10."""
    metadata_value: int = 64 * KIB
    """One annotation. RFC 5464 4.1: at least 1024."""
    metadata_total: int = 256 * KIB
    """All of the annotations that `metadata_entries` counts together."""
    metadata_name: int = 255
    """The name of an annotation."""
    bad_commands: int = 20
    """Bad commands in a row until BYE."""
    failed_logins: int = 5
    """Failed logins on one connection until BYE."""
    login_timeout_s: float = 60
    """From connecting to being logged in."""
    idle_timeout_s: float = 30 * 60
    """Between commands, and inside IDLE. RFC 9051 5.4: at least 30 minutes."""
    write_timeout_s: float = 5 * 60
    """A client that reads nothing for so long while an answer waits is cut off."""
    summaries: int = 64 * MIB
    """What SORT and THREAD compare, kept for the mailboxes that were sorted last."""
    receive_buffer: int = 64 * KIB
    """Octets that may wait behind a running command before reading pauses."""
    connections: int = 15_000
    """Open connections of the whole server."""
    connections_before_login: int = 12_000
    """Open connections that have not logged in."""
    connections_per_address: int = 1000
    """Open connections from one IPv4 address, or one IPv6 network of 64 bits; loopback is not
    counted."""
    connections_per_user: int = 1000
    """Sessions of one user."""
