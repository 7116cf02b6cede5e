"""IMAP URLs: which server, mailbox, message and part, and who may ask for it.   RFC 5092, RFC 4467

    imap://fred@example.org/Drafts;UIDVALIDITY=9/;UID=20/;SECTION=1.2/;PARTIAL=0.1024
    /Drafts/;UID=20             of the server that one is connected to
    ;UID=20                     of the mailbox that is selected

Rule 1: what is escaped with % never has a meaning of its own: a URL is cut before it is unescaped.
Rule 2: only what the grammar allows is taken. A URL is a right to read mail, and what two readers
        could read in two ways is none.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from pymap.wire.errors import BadCommand
from pymap.wire.parse_fetch import section_of
from pymap.wire.responses import section_label
from pymap.wire.types import DELIMITER, MAX_NUMBER, Section, meant_name, swap_delimiter

__all__ = ["MAX_URL", "Access", "BadUrl", "ImapUrl", "escape", "parse_url", "split_token"]

MAX_URL = 8 * 1024
"""Octets of a URL. It takes 3 ms to take one of them apart where all is escaped: more would hold up
others. The longest name of a mailbox, escaped, takes 3000."""


class BadUrl(ValueError):
    """Not an IMAP URL."""


class Access(Enum):
    """For whom URLAUTH is.   RFC 4467 3"""

    SUBMIT = "submit+"
    USER = "user+"
    AUTHUSER = "authuser"
    ANONYMOUS = "anonymous"


class ImapUrl(NamedTuple):
    """A URL, taken apart and unescaped. What it does not tell is None.

    `host` None: relative to the server; `mailbox` None as well: to the mailbox. `auth` is a SASL
    mechanism or ``*``. `partial` is an offset and a length, None for all that follows. `expires`
    is in seconds since 1970 UTC. `token` is None while the URL waits for one.
    """

    user: str | None = None
    auth: str | None = None
    host: str | None = None
    port: int | None = None
    mailbox: str | None = None
    search: str | None = None
    uid_validity: int | None = None
    uid: int | None = None
    section: Section = Section()
    partial: tuple[int, int | None] | None = None
    expires: int | None = None
    access: Access | None = None
    access_user: str | None = None
    mechanism: str | None = None
    token: bytes | None = None

    def render(self, delimiter: str = DELIMITER) -> str:
        """The URL as it is usually written; not every URL that means the same."""
        text = ""
        if self.host is not None:
            user = "" if self.user is None else quote(self.user, _USER)
            auth = "" if self.auth is None else f";AUTH={quote(self.auth, _USER)}"
            text = f"imap://{user}{auth}@" if user or auth else "imap://"
            text += self.host if self.port is None else f"{self.host}:{self.port}"
        if self.mailbox is not None:
            name = quote(swap_delimiter(self.mailbox, delimiter), _PATH)
            text += f"/{_STEPS.sub(lambda found: _ESCAPES[found[0]], name)}"
        if self.uid_validity is not None:
            text += f";UIDVALIDITY={self.uid_validity}"
        if self.search is not None:
            text += f"?{quote(self.search, _PATH)}"
        if self.uid is not None:
            text += f"{'' if self.mailbox is None else '/'};UID={self.uid}"
        if self.section != Section():
            text += f"/;SECTION={quote(section_label(self.section), _PATH)}"
        if self.partial is not None:
            offset, length = self.partial
            text += f"/;PARTIAL={offset}" + ("" if length is None else f".{length}")
        if self.expires is not None:
            moment = datetime.fromtimestamp(self.expires, UTC)
            text += f";EXPIRE={moment.strftime('%Y').zfill(4)}-{moment:%m-%dT%H:%M:%SZ}"
        if self.access is not None:
            user = "" if self.access_user is None else quote(self.access_user, _USER)
            text += f";URLAUTH={self.access.value}{user}"
        if self.token is not None:
            text += f":{self.mechanism}:{self.token.hex()}"
        return text


# What may stand unescaped: uchar, achar, bchar of RFC 5092 11; * is for AUTH=* as well.
_USER = "!$'()*+,&="
_PATH = _USER + ":@/"
_ANY = _PATH + "%;?"
_TEXT = re.compile(r"(?:[A-Za-z0-9\-._~!$'()*+,&=:@/;?\[\]]+|%[0-9A-Fa-f]{2})++", re.ASCII)
# What in a path would be taken for steps, or for slashes that are not the name's.
_STEPS = re.compile(r"(?<![^/])\.\.?(?![^/])|\A/|/\Z")
_ESCAPES = {".": "%2E", "..": "%2E%2E", "/": "%2F"}

_SERVER = re.compile(
    r"(?:(?P<user>[^;:@/?\[\]]+)?(?:;AUTH=(?P<auth>[^;:@/?\[\]]+))?@)?"
    r"(?P<host>[^;:@/?\[\]&=]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>\d{0,5}))?",
    re.ASCII | re.IGNORECASE,
)
# icommand, and the end of irelative-path
_PLACE = re.compile(
    r"(?P<mailbox>[^;?\[\]]+?)?(?:;UIDVALIDITY=(?P<uid_validity>\d{1,10}))?"
    r"(?:\?(?P<search>[^;?\[\]]+)"
    r"|(?P<slash>/)?;UID=(?P<uid>\d{1,10})"
    r"(?:/;SECTION=(?P<section>[^;?\[\]]+?))?"
    r"(?:/;PARTIAL=(?P<offset>\d{1,19})(?:\.(?P<length>\d{1,19}))?)?"
    r"(?:(?:;EXPIRE=(?P<expire>[^;?\[\]]+))?;URLAUTH=(?P<access>[^;?\[\]]+)"
    r"|;EXPIRE=(?P<expire_only>[^;?\[\]]+))?"
    r"|/)?",
    re.ASCII | re.IGNORECASE,
)
_ACCESS = re.compile(
    r"(?:(?P<kind>submit\+|user\+)(?P<user>[^:@/]+)|(?P<plain>authuser|anonymous))"
    r"(?::(?P<mechanism>[A-Za-z0-9.-]+):(?P<token>[0-9A-Fa-f]{32,1024}))?",
    re.ASCII | re.IGNORECASE,
)
_DATE_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d{1,9})?(?:Z|([+-])(\d\d):(\d\d))",
    re.ASCII | re.IGNORECASE,
)


def parse_url(text: str, delimiter: str = DELIMITER) -> ImapUrl:
    """Take a URL apart. Raises BadUrl.   RFC 5092 11

    `delimiter` is what the client's mailbox names have between their levels, which is what stands
    in a URL too. Relative URLs that need another message to be understood are refused.
    """
    if len(text) > MAX_URL:
        raise BadUrl("too long")
    if not _TEXT.fullmatch(text):
        raise BadUrl("a sign that must be escaped")
    url, path = ImapUrl(), text
    if text[:7].lower() == "imap://":
        server, slash, path = text[7:].partition("/")
        url = _server(server)
        path = slash + path
    absolute = path.startswith("/")
    if absolute:
        path = _without_dots(path[1:])
    # "Implementations MUST NOT generate or accept relative-path IMAP references", RFC 5092 7.2;
    # yet 9.1 has ;UID=20 as an example, and RFC 4469 3 a mailbox to which it is relative.
    if path.startswith("/") or (path and absolute == path.startswith(";")):
        raise BadUrl("no mailbox")
    if path:
        url = _place(url, path, delimiter)
    elif url.host is None:
        raise BadUrl("no more than a server")
    return url


def split_token(text: str) -> tuple[str, str]:
    """A URL with a token as the rump that was authorized, to the octet, and what follows behind its
    colon. Raises BadUrl.   RFC 4467 6"""
    parts = text.rsplit(":", 2)
    if len(parts) != 3:
        raise BadUrl("no token")
    return parts[0], f"{parts[1]}:{parts[2]}"


def escape(text: str) -> str:
    """What a client gave for a URL, so that it can stand in a response code: a good one as it
    is.   RFC 4469 5, url-resp-text"""
    return text if _TEXT.fullmatch(text) and "]" not in text else quote(text, safe=_ANY)


def _server(text: str) -> ImapUrl:
    """iserver = [iuserinfo "@"] host [":" port]"""
    found = _SERVER.fullmatch(text)
    if found is None or text.startswith("@"):
        raise BadUrl("no such server")
    port = int(found["port"]) if found["port"] else None
    if port is not None and port > 65535:
        raise BadUrl("no such port")
    return ImapUrl(
        user=None if found["user"] is None else _unescaped(found["user"]),
        auth=None if found["auth"] is None else _unescaped(found["auth"]),
        host=found["host"].lower(),
        port=port,
    )


def _place(url: ImapUrl, path: str, delimiter: str) -> ImapUrl:
    """icommand = imessagelist / imessagepart [iurlauth]"""
    found = _PLACE.fullmatch(path)
    if found is None:
        raise BadUrl("not an IMAP URL")
    name = found["mailbox"]
    if name is None and (found["uid"] is None or found["uid_validity"]):
        raise BadUrl("no message")
    if found["uid"] is not None and (name is None) != (found["slash"] is None):
        raise BadUrl("no slash before the UID")
    url = url._replace(
        mailbox=None if name is None else meant_name(_unescaped(name), delimiter),
        uid_validity=_number(found["uid_validity"]),
        uid=_number(found["uid"]),
        search=None if found["search"] is None else _unescaped(found["search"]),
        section=Section() if found["section"] is None else _section(found["section"]),
        partial=_partial(found["offset"], found["length"]),
    )
    expire = found["expire"] or found["expire_only"]
    if expire is not None:
        url = url._replace(expires=_moment(expire))
    return url if found["access"] is None else _access(url, found["access"])


def _access(url: ImapUrl, text: str) -> ImapUrl:
    """access [":" uauth-mechanism ":" enc-urlauth]"""
    found = _ACCESS.fullmatch(text)
    if found is None or len(found["token"] or "") % 2:
        raise BadUrl("no such access")
    return url._replace(
        access=Access((found["kind"] or found["plain"]).lower()),
        access_user=None if found["user"] is None else _unescaped(found["user"]),
        mechanism=None if found["mechanism"] is None else found["mechanism"].upper(),
        token=None if found["token"] is None else bytes.fromhex(found["token"]),
    )


def _without_dots(path: str) -> str:
    """Steps of a path, ``.`` and ``..``, are taken.   RFC 3986 5.2.4, RFC 5092 9.1"""
    if "." not in path:
        return path
    made: list[str] = []
    segments = path.split("/")
    for at, segment in enumerate(segments):
        if segment not in (".", ".."):
            made.append(segment)
            continue
        if segment == "..":
            del made[-1:]
        if at == len(segments) - 1:
            made.append("")
    return "/".join(made)


def _number(text: str | None) -> int | None:
    """nz-number"""
    if text is None:
        return None
    value = int(text)
    if not 0 < value <= MAX_NUMBER:
        raise BadUrl("number out of range")
    return value


def _partial(offset: str | None, length: str | None) -> tuple[int, int | None] | None:
    """partial-range = number ["." nz-number]; numbers of 63 bits, as in FETCH (RFC 9051 9)"""
    if offset is None:
        return None
    values = int(offset), None if length is None else int(length)
    if values[1] == 0 or max(values[0], values[1] or 0) >= 1 << 63:
        raise BadUrl("partial out of range")
    return values


def _section(text: str) -> Section:
    try:
        return section_of(unquote_to_bytes(text))
    except BadCommand as error:
        raise BadUrl("no such section") from error


def _moment(text: str) -> int:
    """date-time of RFC 3339; a fraction of a second is rounded down, so that nothing is valid
    longer than it says."""
    found = _DATE_TIME.fullmatch(text)
    if found is None:
        raise BadUrl("not a date")
    year, month, day, hour, minute, second = map(int, found.groups()[:6])
    sign, zone_hours, zone_minutes = found[7], int(found[8] or 0), int(found[9] or 0)
    if second > 60 or zone_hours > 23 or zone_minutes > 59:  # 60: a leap second
        raise BadUrl("no such time")
    east = timedelta(hours=zone_hours, minutes=zone_minutes) * (-1 if sign == "-" else 1)
    try:
        start = datetime(year, month, day, hour, minute, tzinfo=UTC) - east
        return int((start + timedelta(seconds=second)).timestamp())
    except (ValueError, OverflowError) as error:  # the latter: before the year 1, after 9999
        raise BadUrl("no such date") from error


def _unescaped(text: str) -> str:
    """Percent-encoded UTF-8.   RFC 5092 8"""
    try:
        found = unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadUrl("not UTF-8") from error
    if "\0" in found:
        raise BadUrl("NUL in a name")
    return found
