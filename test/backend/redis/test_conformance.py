"""The redis store does what every store must do."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis_server import RedisServer

from pymap.backend.api import Backend
from pymap.backend.conformance import BackendConformance
from pymap.backend.redis import RedisBackend


class TestRedis(BackendConformance):
    @pytest.fixture
    async def backend(self, redis_server: RedisServer) -> AsyncIterator[Backend]:
        backend = RedisBackend(redis_server.url)
        await backend.start()
        yield backend
        await backend.stop()

    async def reopen(self, backend: Backend) -> Backend:
        assert isinstance(backend, RedisBackend)
        await backend.stop()
        again = RedisBackend(backend.url)
        await again.start()
        return again
