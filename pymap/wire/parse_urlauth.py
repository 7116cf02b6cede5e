"""GENURLAUTH, RESETKEY and URLFETCH; what is in their URLs is looked at when they are carried out.

RFC 4467 9, RFC 5524 5
"""

from __future__ import annotations

import re

from pymap.limits import Limits
from pymap.wire.commands import GenUrlAuth, ResetKey, UrlFetch, UrlItem, UrlWanted
from pymap.wire.errors import BadCommand, Refused
from pymap.wire.scanner import Scanner

__all__ = ["gen_url_auth", "reset_key", "url_fetch"]

_MECHANISM = re.compile(rb"[A-Za-z0-9.-]+")


def gen_url_auth(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> GenUrlAuth:
    """genurlauth = "GENURLAUTH" 1*(SP url-rump SP mechanism)"""
    urls: list[tuple[str, str]] = []
    while not urls or not s.at_end:
        s.sp()
        url = s.text_argument()
        s.sp()
        urls.append((url, _mechanism(s)))
        _check_number(urls, limits)
    return GenUrlAuth(tag, tuple(urls))


def reset_key(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> ResetKey:
    """resetkey = "RESETKEY" [SP mailbox *(SP mechanism)]"""
    if s.at_end:
        return ResetKey(tag)
    s.sp()
    mailbox = s.mailbox()
    mechanisms: list[str] = []
    while s.accept(b" "):
        mechanisms.append(_mechanism(s))
    return ResetKey(tag, mailbox, tuple(mechanisms))


def url_fetch(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> UrlFetch:
    """urlfetch = "URLFETCH" 1*(SP (url-full / "(" url-full *(SP url-fetch-param) ")"))"""
    urls: list[UrlWanted] = []
    while not urls or not s.at_end:
        s.sp()
        urls.append(_wanted(s))
        _check_number(urls, limits)
    return UrlFetch(tag, tuple(urls))


def _wanted(s: Scanner) -> UrlWanted:
    if not s.accept(b"("):
        return UrlWanted(s.text_argument())
    url = s.text_argument()
    items: list[UrlItem] = []
    while not s.accept(b")"):
        s.sp()
        try:
            item = UrlItem(s.keyword())
        except ValueError:
            raise BadCommand("Unknown URLFETCH parameter") from None
        # "Metadata items MUST NOT appear more than once per URL requested, and clients MUST NOT
        # request both BINARY and BODY."   RFC 5524 3.1
        if item in items or {item, *items} >= {UrlItem.BINARY, UrlItem.BODY}:
            raise BadCommand("URLFETCH parameters that exclude each other")
        items.append(item)
    return UrlWanted(url, tuple(items))


def _mechanism(s: Scanner) -> str:
    return s.match(_MECHANISM, "a mechanism")[0].decode("ascii").upper()


def _check_number(urls: list[tuple[str, str]] | list[UrlWanted], limits: Limits) -> None:
    if len(urls) > limits.urls:
        raise Refused("LIMIT", "Too many URLs")
