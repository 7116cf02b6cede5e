"""What all accounts of the backend share: connections, keys, and which mailboxes are open."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary, finalize

from pymap.backend.errors import (
    BackendError,
    LimitReached,
    MailboxExists,
    MailboxGone,
    MailboxNotFound,
    OverQuota,
    Unavailable,
)
from pymap.backend.redis.connect import AnyLane, Server
from pymap.backend.redis.connection import Argument, ResponseError, translated
from pymap.backend.redis.pubsub import Listener
from pymap.backend.redis.scripts import script
from pymap.backend.redis.users import WrongType
from pymap.limits import Limits

if TYPE_CHECKING:
    from pymap.backend.redis.mailbox import RedisMailbox

__all__ = ["KEEP_MESSAGES", "RedisStore"]

log = logging.getLogger("pymap.redis")

KEEP = 256  # mailboxes that nobody has open and whose columns stay all the same
KEEP_MESSAGES = 1_000_000  # in these, together

_ERRORS: dict[str, type[BackendError]] = {
    "GONE": MailboxGone,
    "TARGET": MailboxNotFound,
    "NOTFOUND": MailboxNotFound,
    "EXISTS": MailboxExists,
    "LIMIT": LimitReached,
    "LOST": Unavailable,
    "WRONGTYPE": WrongType,
}
"""What a script says when it refuses."""


class Channel:
    """One that somebody listens to."""

    __slots__ = ("__weakref__", "name")

    def __init__(self, name: str) -> None:
        self.name = name


class RedisStore:
    """To be made, used and closed in one event loop.

    Two connections, so that nobody waits behind a large message: `quick` for all that is short,
    `bulk` for octets of messages. A third one only listens.
    """

    def __init__(self, server: Server, prefix: str, limits: Limits) -> None:
        self._server = server
        self.prefix = prefix
        self.limits = limits
        self.quick = server.lane()
        self.bulk = server.lane()
        self.listener = Listener(server.connect, server.timeout_s)
        self._open: WeakValueDictionary[str, RedisMailbox] = WeakValueDictionary()
        self._names: WeakValueDictionary[str, Channel] = WeakValueDictionary()
        self._recent: OrderedDict[str, RedisMailbox] = OrderedDict()
        self.dirty: set[str] = set()
        """Users of whom something is to be swept away."""
        self.soiled = asyncio.Event()

    async def close(self) -> None:
        await self.listener.close()
        await self.bulk.close()
        await self.quick.close()
        await self._server.close()

    # -- calling --

    def base(self, user_id: str) -> str:
        """What the keys of a user begin with; the braces make them one slot of a cluster."""
        return f"{self.prefix}{{{user_id}}}:"

    async def call(self, *request: Argument) -> Any:
        """One command. Raises Unavailable and OverQuota."""
        try:
            return await self.quick.call(*request)
        except ResponseError as error:
            raise _refused(error) from error

    async def run(self, name: str, base: str, *arguments: Argument) -> Any:
        """One script over the keys of one user."""
        return await self.run_after((), name, base, *arguments)

    async def run_after(
        self,
        requests: tuple[tuple[Argument, ...], ...],
        name: str,
        base: str,
        *arguments: Argument,
        lane: AnyLane | None = None,
    ) -> Any:
        """A script right after some commands, all in one round trip. Whether the commands worked
        is for the script to see; why they did not is told here."""
        lane = lane or self.quick
        it = script(name)
        # Two keys that are not used as such: one that is never there and one that always is, so
        # that no script runs while a cluster moves the keys of this user (`cluster`).
        rest = (2, base, base + "account", *arguments)
        *before, answer = await lane.many(*requests, ("EVALSHA", it.digest, *rest))
        if isinstance(answer, ResponseError) and _unknown(answer):
            # Nothing was done: Redis has been restarted, or sees the script for the first time.
            (answer,) = await lane.many(("EVAL", it.text, *rest))
        if isinstance(answer, ResponseError):
            for earlier in (*before, answer):
                if isinstance(earlier, ResponseError):
                    raise _refused(earlier) from earlier
        return answer

    # -- mailboxes --

    def mailbox(
        self, mailbox_id: str, uid_validity: int, make: Callable[[], RedisMailbox]
    ) -> RedisMailbox:
        """The mailbox of that id, one object for all who have it open."""
        found = self._open.get(mailbox_id)
        if found is not None and found.uid_validity != uid_validity:
            found.close()
        if found is None or found.index.gone:
            found = make()
            self._open[mailbox_id] = found
            finalize(found, self._left, mailbox_id, found.channel).atexit = False
        self._keep(found)
        return found

    def _keep(self, mailbox: RedisMailbox) -> None:
        recent = self._recent
        recent[mailbox.id] = mailbox
        recent.move_to_end(mailbox.id)
        if len(recent) > KEEP:
            recent.popitem(last=False)
        total = 0
        for mailbox_id in reversed(tuple(recent)):
            total += len(recent[mailbox_id].index.uids)
            if total > KEEP_MESSAGES and mailbox_id != mailbox.id:
                del recent[mailbox_id]

    def names_channel(self, base: str) -> Channel:
        """Where changes of a user's names are told of; left when nobody holds it any more."""
        found = self._names.get(base)
        if found is None:
            self._names[base] = found = Channel(base + "names")
            wanted = lambda: self._names.get(base) is not None  # noqa: E731
            finalize(found, self.listener.leave, found.name, wanted).atexit = False
        return found

    def forget(self, mailbox: RedisMailbox) -> None:
        """The mailbox is gone."""
        if self._open.get(mailbox.id) is mailbox:
            del self._open[mailbox.id]
        if self._recent.get(mailbox.id) is mailbox:
            del self._recent[mailbox.id]

    def _left(self, mailbox_id: str, channel: str) -> None:
        """Nobody has the mailbox any more, or another has taken its place. Called in any thread."""
        self.listener.leave(channel, lambda: self._open.get(mailbox_id) is not None)

    def soil(self, base: str) -> None:
        """Something of this user is to be swept away."""
        self.dirty.add(base)
        self.soiled.set()


def _unknown(error: ResponseError) -> bool:
    """Whether Redis does not know the script. redis-py strips the first word of some errors."""
    return "NOSCRIPT" in str(error) or "No matching script" in str(error)


# What Redis says of its own state, also from within a script; redis-py strips some of the words.
_STATES = (
    "READONLY", "read only replica", "MISCONF", "NOREPLICAS", "Not enough good replicas",
    "MASTERDOWN", "CLUSTERDOWN", "LOADING", "BUSY", "TRYAGAIN", "NOPERM",
)  # fmt: skip


def _refused(error: ResponseError) -> BackendError:
    """The error to raise instead; a bug of a script goes through."""
    text = str(error)
    word = text.partition(" ")[0]
    if word in _ERRORS:
        return _ERRORS[word]()
    made = translated(error)
    ours = "user_script" in text and not isinstance(made, OverQuota)
    if ours and not any(sign in text for sign in _STATES):
        raise error
    log.error("Redis refused: %s", text)
    return made
