from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis_server import RedisServer


@pytest.fixture(scope="session")
def running() -> Iterator[RedisServer]:
    server = RedisServer()
    server.start()
    yield server
    server.close()


@pytest.fixture
def redis_server(running: RedisServer) -> RedisServer:
    """One that is empty."""
    assert running.ask("FLUSHALL") == b"+OK\r\n"
    return running
