"""Users: List, Get, Add, SetPassword, Delete."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from grpclib.const import Status

from pymap.admin.proto import admin_pb2 as m
from pymap.auth.passwords import verify
from pymap.backend.dict import DictBackend, DictUsers
from pymap.backend.errors import CannotDo, NoPermission, Unavailable

from .calls import fails
from .conftest import Admin, Connect, StartAdmin


async def names(admin: Admin) -> set[str]:
    return {user.name for user in await admin.users.List(m.UserListRequest())}


async def test_the_life_of_a_user(admin: Admin, connect: Connect) -> None:
    users = admin.users
    added = await users.Add(m.UserAddRequest(name="alice", password="secret", scheme="SSHA256"))
    assert added == m.User(name="alice", scheme="SSHA256")
    assert await users.Get(m.UserGetRequest(name="alice")) == added
    assert await names(admin) >= {"alice", "demouser"}
    await (await connect(admin)).ok(b"LOGIN alice secret")

    changed = await users.SetPassword(m.UserSetPasswordRequest(name="alice", password="other"))
    assert changed.scheme in ("ARGON2ID", "SCRAM-SHA-256")
    await (await connect(admin)).ok(b"LOGIN alice other")
    answer = await (await connect(admin)).command(b"LOGIN alice secret")
    assert answer.condition == b"NO"

    await users.Delete(m.UserDeleteRequest(name="alice"))
    assert "alice" not in await names(admin)
    failed = await fails(users.Get, m.UserGetRequest(name="alice"))
    assert failed[:2] == (Status.NOT_FOUND, "NOUSER")


async def test_a_password_in_the_clear_is_not_told(admin: Admin) -> None:
    user = await admin.users.Get(m.UserGetRequest(name="demouser"))
    assert user.scheme == "PLAIN"
    assert "demopass" not in str(user)


async def test_a_user_that_exists_is_not_added(admin: Admin) -> None:
    failed = await fails(admin.users.Add, m.UserAddRequest(name="demouser", password="x"))
    assert failed[:2] == (Status.ALREADY_EXISTS, "ALREADYEXISTS")


async def test_of_two_that_add_one_succeeds(admin: Admin) -> None:
    requests = (m.UserAddRequest(name="bob", password=p, scheme="SSHA") for p in ("one", "two"))
    answers = await asyncio.gather(*map(admin.users.Add, requests), return_exceptions=True)
    assert sorted(isinstance(answer, m.User) for answer in answers) == [False, True]


async def test_an_unknown_user_is_not_found(admin: Admin) -> None:
    for method, request in (
        (admin.users.Get, m.UserGetRequest(name="nobody")),
        (admin.users.Get, m.UserGetRequest()),
        (admin.users.Get, m.UserGetRequest(name="a\0/../b\r\n" * 100)),
        (admin.users.Delete, m.UserDeleteRequest(name="nobody")),
        (admin.users.SetPassword, m.UserSetPasswordRequest(name="nobody", password="x")),
    ):
        assert (await fails(method, request))[:2] == (Status.NOT_FOUND, "NOUSER")


async def test_a_hashed_password_is_kept_as_it_is(admin: Admin) -> None:
    stored = "{SHA256}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols="  # "secret"
    request = m.UserAddRequest(name="alice", password=stored, hashed=True)
    assert (await admin.users.Add(request)).scheme == "SHA256"
    user = await admin.imap.backend.users.get("alice")
    assert user is not None
    assert user.password == stored
    assert await verify(user, "secret")


@pytest.mark.parametrize(
    "what",
    [
        {"password": ""},
        {"password": "a\0b"},
        {"password": "x" * 5000},
        {"password": "x", "scheme": "ROT13"},
        {"password": "x", "hashed": True},
        {"password": "{ROT13}x", "hashed": True},
        {"password": "{SSHA256}?", "hashed": True},
        {"password": "{PLAIN}a\nmallory::x", "hashed": True},
        {"password": "{PLAIN}x", "hashed": True, "scheme": "PLAIN"},
        {"password": "{PLAIN}" + "x" * 100_000, "hashed": True},
        {"password": "x", "name": ""},
        {"password": "x", "name": "a\nb"},
        {"password": "x", "name": "x" * 300},
    ],
)
async def test_what_no_user_can_have(start_admin: StartAdmin, what: dict[str, Any]) -> None:
    admin = await start_admin()
    failed = await fails(admin.users.Add, m.UserAddRequest(**{"name": "alice", **what}))
    assert failed[:2] == (Status.INVALID_ARGUMENT, None)
    assert await admin.imap.backend.users.get("alice") is None
    if "name" not in what:
        request = m.UserSetPasswordRequest(name="demouser", **what)
        assert (await fails(admin.users.SetPassword, request)).status is Status.INVALID_ARGUMENT


async def test_what_the_store_cannot_do(start_admin: StartAdmin) -> None:
    admin = await start_admin()

    class Strict(DictUsers):
        error: Exception = NoPermission()

        async def put(self, user: Any) -> None:
            raise self.error

        def names(self) -> Any:
            raise CannotDo("Nobody knows them")

    users = admin.imap.backend.users = Strict()
    request = m.UserAddRequest(name="alice", password="x", scheme="SSHA")
    failed = await fails(admin.users.Add, request)
    assert failed == (Status.PERMISSION_DENIED, "NOPERM", "Permission denied")
    users.error = Unavailable()
    assert (await fails(admin.users.Add, request))[:2] == (Status.UNAVAILABLE, "UNAVAILABLE")
    failed = await fails(admin.users.List, m.UserListRequest())
    assert failed == (Status.FAILED_PRECONDITION, "CANNOT", "Nobody knows them")


async def test_a_password_is_prepared_before_it_is_hashed(start_admin: StartAdmin) -> None:
    """SASLprep, so that SCRAM works whatever the keyboard made of it.   RFC 4013"""
    admin = await start_admin()
    composed, decomposed = "p\u00e4ss", "pa\u0308ss"
    await admin.users.Add(m.UserAddRequest(name="alice", password=decomposed, scheme="SSHA256"))
    user = await admin.imap.backend.users.get("alice")
    assert user is not None
    assert await verify(user, composed)


async def test_backend_of_a_class_without_a_name(start_admin: StartAdmin) -> None:
    class Mine(DictBackend):
        pass

    from pymap.admin.server import backend_name

    assert backend_name(Mine()) == "dict"
