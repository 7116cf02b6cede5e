"""Where passwords are looked for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from redis_server import RedisServer

from pymap.backend.api import User
from pymap.backend.errors import CannotDo
from pymap.backend.redis import RedisBackend, UsersAt

Start = Callable[..., Awaitable[RedisBackend]]


@pytest.fixture
async def start(redis_server: RedisServer) -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def start(*at: object) -> RedisBackend:
            backend = RedisBackend(redis_server.url, users_at=UsersAt(*at))  # type: ignore[arg-type]
            await backend.start()
            stack.push_async_callback(backend.stop)
            return backend

        yield start


async def test_a_key_is_a_user(start: Start, redis_server: RedisServer) -> None:
    redis_server.must("SET", "john", "s3cretp4ssword")
    users = (await start()).users
    assert await users.get("john") == User("john", "s3cretp4ssword")
    assert await users.get("jane") is None


async def test_a_hash_of_users(start: Start, redis_server: RedisServer) -> None:
    redis_server.must("HSET", "people", "john", "{PLAIN}x")
    redis_server.must("SET", "jane", "y")
    users = (await start("people")).users
    assert await users.get("john") == User("john", "{PLAIN}x")
    assert await users.get("jane") is None
    await users.put(User("jane", "z"))
    assert redis_server.must("HGET", "people", "jane") == b"$1\r\nz\r\n"


async def test_a_template_for_keys(start: Start, redis_server: RedisServer) -> None:
    redis_server.must("SET", "user:{name}", "a")
    redis_server.must("SET", "user:john", "b")
    users = (await start(None, "user:{name}")).users
    assert await users.get("john") == User("john", "b")
    assert await users.get("{name}") == User("{name}", "a")


async def test_json_may_carry_more(start: Start, redis_server: RedisServer) -> None:
    redis_server.must("SET", "john", '{"password": "a", "quota": 5}')
    for name, value in {"b": "[]", "c": "{", "d": '{"password": 1}', "e": '"x"'}.items():
        redis_server.must("SET", name, value)
    users = (await start(None, "{name}", True)).users
    assert await users.get("john") == User("john", "a")
    for name in "bcde":
        assert await users.get(name) is None
    await users.put(User("john", "ü"))
    assert redis_server.must("GET", "john").endswith('{"password": "ü", "quota": 5}\r\n'.encode())


async def test_what_is_no_password_is_no_user(start: Start, redis_server: RedisServer) -> None:
    redis_server.must("HSET", "hash", "a", "b")
    redis_server.must("SET", "empty", "")
    backend = await start()
    async with backend.account("john") as account:
        await account.open("INBOX")
    keys = await backend._running().call("KEYS", "*")
    for key in keys:
        assert await backend.users.get(key.decode()) is None, key
    for name in ("", "a\0b", "pymap:users"):
        assert await backend.users.get(name) is None
        with pytest.raises(CannotDo):
            await backend.users.put(User(name, "x"))


@pytest.mark.parametrize("prefix", ["", "{", "a}"])
def test_a_prefix_that_cannot_be_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix"):
        RedisBackend(prefix=prefix)


def test_a_template_without_a_name_is_refused() -> None:
    with pytest.raises(ValueError, match="name"):
        RedisBackend(users_at=UsersAt(key="user"))
