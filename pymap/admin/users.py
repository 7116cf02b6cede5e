"""The methods of the service Users."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from pymap.admin.calls import first
from pymap.admin.proto import admin_pb2 as m
from pymap.admin.proto.admin_grpc import UsersBase
from pymap.admin.requests import Invalid, user_of
from pymap.auth.passwords import hash
from pymap.auth.preparation import prepare_or_keep
from pymap.auth.schemes import Unusable, parse
from pymap.backend.api import SCHEME_PREFIX, Backend, User
from pymap.wire.errors import Refused

if TYPE_CHECKING:
    from grpclib.server import Stream

__all__ = ["UsersMethods"]

LONGEST_NAME = 255  # octets
LONGEST_STORED = 16 * 1024  # characters; a password of 4096 octets in the clear fits, escaped
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class UsersMethods(UsersBase):
    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        # What looks before it writes does so alone; hashing takes 64 MiB, so it is not done twice.
        self._changing = asyncio.Lock()

    async def List(self, stream: Stream[m.UserListRequest, m.User]) -> None:
        await first(stream)
        users = self._backend.users
        async for name in users.names():
            if (user := await users.get(name)) is not None:
                await stream.send_message(_shown(user))

    async def Get(self, stream: Stream[m.UserGetRequest, m.User]) -> None:
        request = await first(stream)
        await stream.send_message(_shown(await user_of(self._backend, request.name)))

    async def Add(self, stream: Stream[m.UserAddRequest, m.User]) -> None:
        request = await first(stream)
        users, name = self._backend.users, request.name
        if not 0 < len(name.encode("utf-8")) <= LONGEST_NAME or _CONTROL.search(name):
            raise Invalid(f"a name has 1 to {LONGEST_NAME} octets, and no control characters")
        async with self._changing:
            if await users.get(name) is not None:
                raise Refused("ALREADYEXISTS", "The user exists")
            user = User(name, await _stored(request), frozenset(request.roles))
            await users.put(user)
        await stream.send_message(_shown(user))

    async def SetPassword(self, stream: Stream[m.UserSetPasswordRequest, m.User]) -> None:
        request = await first(stream)
        async with self._changing:
            user = await user_of(self._backend, request.name)
            user = user._replace(password=await _stored(request))
            await self._backend.users.put(user)
        await stream.send_message(_shown(user))

    async def Delete(self, stream: Stream[m.UserDeleteRequest, m.UserDeleteResponse]) -> None:
        request = await first(stream)
        async with self._changing:
            await user_of(self._backend, request.name)
            await self._backend.users.delete(request.name)
        await stream.send_message(m.UserDeleteResponse())


def _shown(user: User) -> m.User:
    return m.User(name=user.name, scheme=user.scheme, roles=sorted(user.roles))


async def _stored(request: m.UserAddRequest | m.UserSetPasswordRequest) -> str:
    """What is kept of the password. Raises Invalid."""
    if not request.hashed:
        # A client of SCRAM prepares what is typed, and the server cannot any more.  RFC 5802 2.2
        password = prepare_or_keep(request.password)
        try:
            return await asyncio.to_thread(hash, password, request.scheme or None)
        except ValueError as error:
            raise Invalid(str(error)) from error
    if request.scheme:
        raise Invalid("a hashed password has its scheme in it")
    if not SCHEME_PREFIX.match(request.password) or len(request.password) > LONGEST_STORED:
        raise Invalid("a hashed password begins with {SCHEME}")
    if _CONTROL.search(request.password):
        raise Invalid("a hashed password has no control characters")
    try:
        parse(request.password)
    except Unusable as error:
        raise Invalid(str(error)) from error
    return request.password
