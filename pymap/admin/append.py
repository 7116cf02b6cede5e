"""Append: a message is delivered, as from the pipe of a mail transport agent."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from pymap.admin.calls import first
from pymap.admin.proto import admin_pb2 as m
from pymap.admin.requests import (
    Invalid,
    account_of,
    flags_of,
    internal_date_of,
    mailbox_name,
    open_mailbox,
)
from pymap.backend.errors import TooBig
from pymap.imap.append import new_message
from pymap.imap.server import Server
from pymap.imap.session import THREAD

if TYPE_CHECKING:
    from grpclib.server import Stream

__all__ = ["INBOX", "append", "off_loop", "with_crlf"]

INBOX = "INBOX"
LONGEST_ADDRESS = 1000  # octets; RFC 5321 4.5.3.1.3 says 256, and with SMTPUTF8 no more
_CONTROL = re.compile("[\x00-\x1f\x7f]")
_HEADER_END = re.compile(rb"\r?\n\r?\n|\A\r?\n")
_RETURN_PATH = re.compile(
    rb"^Return-Path[ \t]*:.*(?:\n|\Z)(?:[ \t].*(?:\n|\Z))*", re.IGNORECASE | re.MULTILINE
)


async def append(server: Server, stream: Stream[m.AppendRequest, m.AppendResponse]) -> None:
    """A mailbox that does not exist is an error, and none is made: who delivers decides whether the
    message goes to INBOX instead, or back."""
    request = await first(stream)
    if request.WhichOneof("part") != "head":
        raise Invalid("the first request of a message is its head")
    head = request.head
    flags = flags_of(head.flags, server.limits)
    internal_date = internal_date_of(head.internal_date)
    added = _envelope(head)
    name = mailbox_name(head.mailbox) or INBOX
    async with account_of(server.backend, head.user) as account:
        mailbox = await open_mailbox(account, name)
        content = await _content(stream, server.limits.append)
        made = partial(_delivered, added=added, replace_return_path=head.HasField("sender"))
        content = await off_loop(made, content)
        if len(content) > server.limits.append:
            raise TooBig
        await server.quotas.check(account, (len(content),))
        (uid,) = await mailbox.append([await new_message(content, flags, internal_date)])
    for observer in server.observers:
        observer.appended(1, len(content), "admin")
    await stream.send_message(
        m.AppendResponse(uid_validity=mailbox.uid_validity, uid=uid, mailbox=name)
    )


async def _content(stream: Stream[m.AppendRequest, m.AppendResponse], limit: int) -> bytes:
    """What is left of the stream. Raises TooBig beyond `limit`, without reading on."""
    content = bytearray()  # pieces may be of one octet: no list of these
    async for request in stream:
        if request.WhichOneof("part") != "content":
            raise Invalid("behind the head of a message comes its content")
        content += request.content
        if len(content) > limit:
            raise TooBig
    return bytes(content)


def _envelope(head: m.AppendHead) -> bytes:
    """The header fields that a delivery adds.   RFC 5321 4.4; RFC 9228 for Delivered-To"""
    fields = b""
    if head.HasField("sender"):
        fields += b"Return-Path: <%b>\r\n" % _address(head.sender)
    if head.HasField("recipient"):
        fields += b"Delivered-To: %b\r\n" % _address(head.recipient)
    return fields


def _address(text: str) -> bytes:
    """Raises Invalid for what could end the line that it stands in."""
    address = text.removeprefix("<").removesuffix(">").encode("utf-8")
    if len(address) > LONGEST_ADDRESS or _CONTROL.search(text):
        raise Invalid(f"an address has at most {LONGEST_ADDRESS} octets, and no control characters")
    return address


def _delivered(content: bytes, added: bytes, replace_return_path: bool) -> bytes:
    """The message as it is kept. Raises Invalid if it is empty."""
    if content.startswith(b"From "):  # the line of mbox; Postfix's pipe(8) adds it with flags=F
        content = content.partition(b"\n")[2]
    if not content:
        raise Invalid("an empty message cannot be appended")
    content = with_crlf(content)
    if replace_return_path:
        found = _HEADER_END.search(content)
        end = found.end() if found else len(content)
        content = _RETURN_PATH.sub(b"", content[:end]) + content[end:]
    return added + content


def with_crlf(content: bytes) -> bytes:
    """Lines end in CRLF. Programs on this side of SMTP end them in LF, which the first line shows:
    then all that have no CR get one. Where that ends in CRLF, all is as it comes."""
    first, _, _ = content.partition(b"\n")
    if first.endswith(b"\r"):
        return content
    return content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


async def off_loop(change: Callable[[bytes], bytes], content: bytes) -> bytes:
    """The content, changed; that of a large message in a thread, for it takes some 0.1 s."""
    if len(content) < THREAD:
        return change(content)
    return await asyncio.to_thread(change, content)
