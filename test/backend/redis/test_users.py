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


async def test_roles_are_in_json(start: Start, redis_server: RedisServer) -> None:
    redis_server.must("SET", "john", '{"password": "a", "roles": ["master", "x"], "quota": 5}')
    redis_server.must("SET", "jane", '{"password": "a", "roles": "master"}')
    redis_server.must("SET", "jim", '{"password": "a", "roles": ["master", 1]}')
    users = (await start(None, "{name}", True)).users
    assert await users.get("john") == User("john", "a", frozenset(("master", "x")))
    assert await users.get("jane") == User("jane", "a")
    assert await users.get("jim") == User("jim", "a")
    await users.put(User("john", "b", frozenset(("x",))))
    assert redis_server.must("GET", "john").endswith(
        b'{"password": "b", "quota": 5, "roles": ["x"]}\r\n'
    )
    await users.put(User("john", "b"))
    assert redis_server.must("GET", "john").endswith(b'{"password": "b", "quota": 5}\r\n')


async def test_json_that_is_none_is_replaced(
    start: Start, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    redis_server.must("SET", "john", "s3cret")
    users = (await start(None, "{name}", True)).users
    assert await users.get("john") is None
    await users.put(User("john", "x"))
    assert await users.get("john") == User("john", "x")
    assert "not a JSON object" in caplog.text
    assert "s3cret" not in caplog.text


async def test_roles_are_refused_without_json(start: Start) -> None:
    for at in ((), ("people",)):
        users = (await start(*at)).users
        with pytest.raises(CannotDo):
            await users.put(User("john", "a", frozenset(("master",))))
        assert await users.get("john") is None


async def test_names_are_those_that_get_finds(start: Start, redis_server: RedisServer) -> None:
    redis_server.must("HSET", "hash", "a", "b")
    redis_server.must("SET", "empty", "")
    redis_server.must("SET", "john", "x")
    redis_server.must("SET", "ünter", "{PLAIN}")
    backend = await start()
    async with backend.account("john") as account:
        await account.open("INBOX")
    assert {name async for name in backend.users.names()} == {"john", "ünter"}


@pytest.mark.parametrize(
    ("key", "users", "others"),
    [
        ("user:{name}", {"john": "user:john", "*": "user:*", "{name}": "user:{name}"}, ["john"]),
        ("u[a-c]*?^\\{name}", {"x": "u[a-c]*?^\\x"}, ["ub*?^\\x", "ub", "u[a-c]*?^x"]),
        ("{name}:pw", {"a:pw": "a:pw:pw", "b": "b:pw"}, ["pw", ":pw", "b:pwx"]),
        (
            "{{name}}:{name}:p",
            {"b": "{b}:b:p", "üx": "{üx}:üx:p"},
            ["{a}:b:p", "{}::p", "{a}:aa:p"],
        ),
    ],
)
async def test_names_of_a_template(
    start: Start, redis_server: RedisServer, key: str, users: dict[str, str], others: list[str]
) -> None:
    for there in (*users.values(), *others):
        redis_server.must("SET", there, "x")
    store = (await start(None, key)).users
    assert {name async for name in store.names()} == users.keys()


@pytest.mark.parametrize("at", [("people",), (None, "user:{name}"), ("people", "{name}", True)])
async def test_many_names_are_each_told_once(start: Start, at: tuple[object, ...]) -> None:
    users = (await start(*at)).users
    names = {f"user{n}" for n in range(2500)}
    for name in names:
        await users.put(User(name, "x"))
    found = []
    async for name in users.names():
        found.append(name)
        await users.delete(f"user{len(found)}x")  # others change meanwhile
        if len(found) < 1500:
            await users.put(User(f"new{len(found)}", "x"))  # the table of Redis grows
    assert names <= set(found)
    assert len(found) == len(set(found))


async def test_a_hash_that_is_none_has_no_names(start: Start, redis_server: RedisServer) -> None:
    users = (await start("people")).users
    assert [name async for name in users.names()] == []
    redis_server.must("SET", "people", "x")
    assert [name async for name in users.names()] == []
    assert users.schemes() is None


async def test_json_without_a_password_has_no_name(start: Start, redis_server: RedisServer) -> None:
    values = {
        "a": '{"password": "x"}',
        "b": "[]",
        "c": "{",
        "d": '{"password": 1}',
        "e": "[" * 9999,
    }
    for name, value in values.items():
        redis_server.must("HSET", "people", name, value)
    users = (await start("people", "{name}", True)).users
    assert [name async for name in users.names()] == ["a"]
    assert await users.get("e") is None


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
