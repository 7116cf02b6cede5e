"""Redis Cluster: for each node a connection that all share, found by the slot of the first key.

Rule 1: all that goes out in one go is about one user, so it has one slot and goes to one node.
Rule 2: MOVED says that nothing was done, so it is sent again, to where the slot is now.
Rule 3: while a slot migrates key by key, no node has all keys of a user, and a script that sees
        half of them would take a mailbox for deleted. Each script therefore names a key that is
        always there and one that never is: Redis answers TRYAGAIN or ASK, and the client is told
        to try again later. ASK is not followed.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.crc import key_slot

from pymap.backend.errors import Unavailable
from pymap.backend.redis.connection import Argument, Lane, Request, ResponseError

__all__ = ["ClusterLane"]

MOVES = 5
Node = tuple[str, int]


class ClusterLane:
    """What `Lane` is for one server. `connect` makes a connection to a node, `seeds` are asked for
    all others."""

    def __init__(
        self, connect: Callable[[Node], AbstractConnection], seeds: list[Node], timeout_s: float
    ) -> None:
        self._connect = connect
        self._seeds = seeds
        self._timeout_s = timeout_s
        self._lanes: dict[Node, Lane] = {}
        self._starts: list[int] = []  # of ranges of slots, and their nodes
        self._nodes: list[Node] = []
        self._stale = True
        self._finding = asyncio.Lock()

    async def close(self) -> None:
        for lane in self._lanes.values():
            await lane.close()

    async def call(self, *request: Argument) -> Any:
        """Raises ResponseError and Unavailable."""
        (answer,) = await self.many(request)
        if isinstance(answer, ResponseError):
            raise answer
        return answer

    async def many(self, *requests: Request) -> list[Any]:
        """The answers in order; a ResponseError is one. Raises Unavailable."""
        if not requests:
            return []
        slot = _slot(requests[0])
        for _ in range(MOVES):
            if self._stale:
                await self._find()
            node = self._nodes[bisect_right(self._starts, slot) - 1]
            try:
                answers = await self._lane(node).many(*requests)
            except Unavailable:
                self._stale = True  # another may have taken over
                raise
            refused = [a for a in answers if isinstance(a, ResponseError)]
            if any("CLUSTERDOWN" in str(a) or "READONLY" in str(a) for a in refused):
                self._stale = True
            if not any(_moved(a) for a in refused):
                return answers
            self._stale = True
        raise Unavailable("The mail store is being rearranged")

    def _lane(self, node: Node) -> Lane:
        if node not in self._lanes:
            self._lanes[node] = Lane(lambda: self._connect(node), self._timeout_s)
        return self._lanes[node]

    async def _find(self) -> None:
        """Ask any node which has which slots."""
        async with self._finding:
            if not self._stale:
                return
            for node in dict.fromkeys([*self._nodes, *self._seeds]):
                try:
                    found = await self._lane(node).call("CLUSTER", "SLOTS")
                except (Unavailable, ResponseError):
                    continue
                ranges = sorted(
                    (start, (master[0].decode() or node[0], master[1]))
                    for start, _, master, *_ in found
                )
                if ranges:
                    self._starts = [start for start, _ in ranges]
                    self._nodes = [master for _, master in ranges]
                    self._stale = False
                    return
            raise Unavailable("The mail store cannot be reached now")


def _slot(request: Request) -> int:
    key = request[3] if request[0] in ("EVAL", "EVALSHA") else request[1]
    slot: int = key_slot(key if isinstance(key, bytes) else str(key).encode())
    return slot


def _moved(error: ResponseError) -> bool:
    return type(error).__name__ == "MovedError" or str(error).startswith("MOVED")
