"""Check: reads everything, and compares it with what the store says of it.

It asks a store only what `backend.api` promises, so it goes for every store. Others may change a
mailbox meanwhile: what has to fit together is compared as of one modseq, and what is missing is
looked for again before it is told.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from pymap.admin.calls import first
from pymap.admin.proto import admin_pb2 as m
from pymap.admin.reading import rows, small_batches
from pymap.admin.requests import account_of, mailbox_name, open_mailbox
from pymap.backend.api import Account, Mailbox, MailboxStatus, Row, Snapshot, digest
from pymap.backend.errors import BackendError, MailboxGone, MailboxNotFound, Unavailable
from pymap.imap.server import Server
from pymap.wire.types import DELETED, RECENT, SEEN

if TYPE_CHECKING:
    from grpclib.server import Stream

__all__ = ["check"]

INBOX = "INBOX"
PROGRESS_S = 0.5
TRIES = 3
_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")  # RFC 8474 4
_Value = TypeVar("_Value")


class Place(NamedTuple):
    """Where something is found; a mailbox is itself, not one of its messages, as UID 0."""

    user: str
    mailbox: str = ""


async def check(server: Server, stream: Stream[m.CheckRequest, m.CheckResponse]) -> None:
    request = await first(stream)
    checking = _Check(server, stream, [mailbox_name(name) for name in request.mailboxes])
    if request.user:
        await checking.user(request.user)
    else:
        async for name in server.backend.users.names():
            await checking.user(name)
    await checking.tell_progress()


class _Check:
    def __init__(
        self,
        server: Server,
        stream: Stream[m.CheckRequest, m.CheckResponse],
        mailboxes: Sequence[str],
    ) -> None:
        self._server = server
        self._stream = stream
        self._mailboxes = mailboxes  # none: all
        self._progress = m.Progress()
        self._told = time.monotonic()

    # -- what is told --

    async def find(self, place: Place, text: str, uid: int = 0) -> None:
        finding = m.Finding(user=place.user, mailbox=place.mailbox, uid=uid, text=text)
        await self._stream.send_message(m.CheckResponse(finding=finding))

    async def tell_progress(self) -> None:
        self._told = time.monotonic()
        await self._stream.send_message(m.CheckResponse(progress=self._progress))

    async def _count(self, messages: int, octets: int) -> None:
        self._progress.messages += messages
        self._progress.octets += octets
        if time.monotonic() - self._told > PROGRESS_S:
            await self.tell_progress()

    # -- what is looked at --

    async def user(self, name: str) -> None:
        async with account_of(self._server.backend, name) as account:
            names = self._mailboxes or await self._account(Place(name), account)
            for mailbox in names:
                place = Place(name, mailbox)
                try:
                    await self._mailbox(place, await open_mailbox(account, mailbox))
                except (MailboxNotFound, MailboxGone):
                    if self._mailboxes:
                        raise
                    # Deleted since it was listed, or it should not be listed.
                    if mailbox in [info.name for info in await account.mailboxes()]:
                        await self.find(place, "is listed, but does not exist")
                except Unavailable:
                    raise
                except BackendError as error:
                    await self.find(place, f"cannot be read: {error}")
        self._progress.users += 1
        await self._count(0, 0)

    async def _account(self, place: Place, account: Account) -> list[str]:
        """Returns the names of the mailboxes."""
        listed = [info for info in await account.mailboxes() if info.id is not None]
        names = sorted(info.name for info in listed)
        if INBOX not in names:
            await self.find(place, "has no INBOX")
        ids: dict[str | None, str] = {}
        validities: dict[int, str] = {}
        for info in listed:
            here = Place(place.user, info.name)
            if not _ID.fullmatch(info.id or ""):
                await self.find(here, "has no valid id")
            if (other := ids.setdefault(info.id, info.name)) != info.name:
                await self.find(here, f"has the id of {other!r}")
            try:
                mailbox = await account.open(info.name)
            except Unavailable:
                raise
            except BackendError:
                continue  # told when its turn comes
            other = validities.setdefault(mailbox.uid_validity, info.name)
            if other != info.name:
                await self.find(here, f"has the UIDVALIDITY of {other!r}")
        return names

    async def _mailbox(self, place: Place, mailbox: Mailbox) -> None:
        snapshot = await mailbox.snapshot()
        if text := _wrong_snapshot(snapshot):
            await self.find(place, text)
            return
        await self._columns(place, mailbox)
        async for batch in small_batches(mailbox, snapshot.uids):
            await self._messages(place, mailbox, batch)
        self._progress.mailboxes += 1

    async def _columns(self, place: Place, mailbox: Mailbox) -> None:
        """What the store says of its messages without opening them, all as of one modseq. Nothing
        is said of a mailbox that somebody changes all the time."""
        for _ in range(TRIES):
            before = await mailbox.snapshot()
            wrong: list[tuple[int, str]] = []
            counts: Counter[str] = Counter()
            seen: list[int] = []
            async for some in rows(mailbox, before.uids):
                seen += [row.uid for row in some]
                for row in some:
                    _count(row, counts)
                    wrong += [(row.uid, text) for text in _wrong_row(row, before)]
            status = await mailbox.status()
            if (await mailbox.snapshot()).modseq == before.modseq:
                break
        else:
            return
        if seen != list(before.uids):
            for uid in sorted(set(before.uids) - set(seen)):
                await self.find(place, "is listed, but nothing is known of it", uid)
            if len(seen) != len(set(seen)) or set(seen) - set(before.uids):
                await self.find(place, "tells of other messages than were asked for")
        for uid, text in wrong:
            await self.find(place, text, uid)
        for text in _wrong_status(status, counts, before):
            await self.find(place, text)

    async def _messages(self, place: Place, mailbox: Mailbox, batch: Sequence[Row]) -> None:
        contents = await self._ask(place, mailbox.contents, batch)
        digests = await self._ask(place, mailbox.digests, batch)
        headers = await self._ask(place, mailbox.headers, batch)
        whole = {uid: content for uid, content in contents.items() if content is not None}
        made = await asyncio.to_thread(lambda: {uid: digest(c) for uid, c in whole.items()})
        for row in batch:
            content, uid = whole.get(row.uid), row.uid
            if content is None:
                continue
            if row.size != len(content):
                await self.find(place, f"has {len(content)} octets, not {row.size}", uid)
            # What is None went away just now, what is missing has been told of.
            if digests.get(uid) not in (None, made[uid]):
                await self.find(place, "what is kept of its structure does not fit", uid)
            if headers.get(uid) not in (None, content[: made[uid].header_size]):
                await self.find(place, "what is kept of its header does not fit", uid)
        gone = [uid for uid, content in contents.items() if content is None]
        if gone:
            listed = set((await mailbox.snapshot()).uids)
            for uid in gone:
                if uid in listed:
                    await self.find(place, "is listed, but has no content", uid)
        await self._count(len(whole), sum(map(len, whole.values())))

    async def _ask(
        self,
        place: Place,
        ask: Callable[[Sequence[int]], Awaitable[Sequence[_Value]]],
        batch: Sequence[Row],
    ) -> dict[int, _Value]:
        """By UID. Where one of them is an error, they are asked for one by one, and those that are
        errors are told and left out."""
        uids = [row.uid for row in batch]
        try:
            return dict(zip(uids, await ask(uids), strict=True))
        except (Unavailable, MailboxGone):
            raise
        except BackendError:
            pass
        found: dict[int, _Value] = {}
        for uid in uids:
            try:
                (found[uid],) = await ask([uid])
            except (Unavailable, MailboxGone):
                raise
            except BackendError as error:
                await self.find(place, f"cannot be read: {error}", uid)
        return found


# -- what has to hold --


def _wrong_snapshot(snapshot: Snapshot) -> str:
    uids = snapshot.uids
    if any(uid >= after for uid, after in pairwise(uids)):
        return "the UIDs do not ascend"
    if len(uids) and not 1 <= uids[0] <= uids[-1] < snapshot.uid_next:
        return f"the UIDs go from {uids[0]} to {uids[-1]}, but UIDNEXT is {snapshot.uid_next}"
    return ""


def _wrong_row(row: Row, snapshot: Snapshot) -> Iterator[str]:
    if not 1 <= row.modseq <= snapshot.modseq:
        yield f"its modseq is {row.modseq}, that of the mailbox {snapshot.modseq}"
    if RECENT in row.flags:
        yield "has the flag \\Recent"
    if not _ID.fullmatch(row.email_id):
        yield "has no valid email id"


def _count(row: Row, counts: Counter[str]) -> None:
    counts["messages"] += 1
    counts["size"] += row.size
    counts["unseen"] += SEEN not in row.flags
    if DELETED in row.flags:
        counts["deleted"] += 1
        counts["deleted_size"] += row.size


def _wrong_status(status: MailboxStatus, counts: Counter[str], snapshot: Snapshot) -> Iterator[str]:
    for name in ("messages", "unseen", "deleted", "deleted_size", "size"):
        told = getattr(status, name)
        if told != counts[name]:
            yield f"the status says {name} {told}, counted are {counts[name]}"
    for name, is_ in (("uid_next", snapshot.uid_next), ("modseq", snapshot.modseq)):
        told = getattr(status, name)
        if told != is_:
            yield f"the status says {name} {told}, the mailbox {is_}"
