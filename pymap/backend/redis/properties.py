"""Small named values: a hash beside the keys of a mailbox, of an account, and of each scope."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from secrets import token_hex

from pymap.backend.api import Properties
from pymap.backend.redis.connection import Argument
from pymap.backend.redis.store import RedisStore

__all__ = ["RedisProperties"]

STAMP = b"\0stamp"  # in the hash; no key has a control character


class RedisProperties(Properties):
    """Of a mailbox of an account, or with "" for its id of the account. What was read is kept;
    Redis is asked each time whether that has changed."""

    def __init__(self, store: Callable[[], RedisStore], base: str, mailbox_id: str = "") -> None:
        self._store = store
        self._base = base
        self._id = mailbox_id
        self._known: tuple[bytes, Mapping[str, bytes]] = (b"", {})

    async def read(self) -> Mapping[str, bytes]:
        known = self._known
        stamp, *found = await self._store().run("properties", self._base, self._id, known[0])
        if not found:
            return known[1]
        flat = found[0]
        values = {
            key.decode("utf-8"): value
            for key, value in zip(flat[::2], flat[1::2], strict=True)
            if key != STAMP
        }
        self._known = stamp, values
        return values

    async def write(
        self,
        changes: Mapping[str, bytes | None],
        expected: Mapping[str, bytes | None] | None = None,
    ) -> bool:
        expected = expected or {}
        done = await self._store().run(
            "set_properties", self._base, self._id, token_hex(8), len(expected),
            *_flat(expected.items()), *_flat(changes.items()),
        )  # fmt: skip
        return bool(done)


def _flat(items: Iterable[tuple[str, bytes | None]]) -> list[Argument]:
    return [part for key, value in items for part in (key, b"" if value is None else b"=" + value)]
