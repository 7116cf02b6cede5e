"""Where a user's mail (RFC 2221) or a mailbox (RFC 2193) is, if it is on another server."""

from __future__ import annotations

from fnmatch import fnmatchcase
from urllib.parse import quote

from pymap.backend.api import DELIMITER
from pymap.config import ExtensionConfig
from pymap.wire.commands import Command
from pymap.wire.errors import Refused

__all__ = ["is_remote", "login_referral", "mailbox_referral", "remote_names"]


def login_referral(extensions: ExtensionConfig, user: str) -> Refused | None:
    """What a user is told whose mailboxes are elsewhere. Only one who has proved to be that user
    may hear of it: RFC 2221 6."""
    for pattern, url in extensions.login_referrals:
        if fnmatchcase(user, pattern):
            text = "Your mailboxes are on another server"
            return Refused(f"REFERRAL {''.join(_parts(url, user))}", text)
    return None


def mailbox_referral(extensions: ExtensionConfig, user: str, command: Command) -> Refused | None:
    """What a command is answered that names a mailbox on another server.   RFC 2193 4"""
    names = [
        name
        for field in ("mailbox", "new_name")
        if isinstance(name := getattr(command, field, None), str)
    ]
    referred = [_mailbox_urls(extensions, user, name) for name in names]
    if not any(referred):
        return None
    if not all(referred):
        return Refused("CANNOT", "A mailbox cannot go to another server by RENAME")
    # RENAME is told pairs of URLs.   RFC 2193 4.3
    urls = [url for together in zip(*referred, strict=False) for url in together]
    return Refused(f"REFERRAL {' '.join(urls)}", "The mailbox is on another server")


def remote_names(extensions: ExtensionConfig) -> frozenset[str]:
    """The mailboxes on other servers, as far as they are known here."""
    return frozenset(name for name, _ in extensions.mailbox_referrals)


def is_remote(extensions: ExtensionConfig, name: str) -> bool:
    """Whether a mailbox is one of these, or below one."""
    return any(_below(name, top) is not None for top, _ in extensions.mailbox_referrals)


def _below(name: str, top: str) -> str | None:
    """The rest of a name that is `top` or below it, with the delimiter in front."""
    if name == top or name.startswith(top + DELIMITER):
        return name[len(top) :]
    return None


def _mailbox_urls(extensions: ExtensionConfig, user: str, name: str) -> list[str]:
    """One for each replica, the preferred one first.   RFC 2193 3"""
    name = name.removesuffix(DELIMITER)
    urls = []
    for top, url in extensions.mailbox_referrals:
        rest = _below(name, top)
        if rest is not None:
            server, path = _parts(url, user)
            # The path is the name there of what is `top` here: the same, if none is given.
            urls.append(server + (path + quote(rest) if path else quote(top + rest)))
    return urls


def _parts(url: str, user: str) -> tuple[str, str]:
    """A URL up to its path, and the path. As that user, or a client would try to be anonymous: RFC
    2221 3, RFC 5092 3.2."""
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    if "@" not in host:
        host = f"{quote(user, safe='')};AUTH=*@{host}"
    return f"{scheme}://{host}/", path.rstrip("/")
