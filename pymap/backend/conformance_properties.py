"""What `Properties` of a store must do, as tests; part of `backend.conformance`. A store without
them passes over it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest

from pymap.backend.api import Account, Backend, Mailbox, Properties
from pymap.backend.errors import MailboxGone

__all__ = ["PropertiesConformance"]

# -- what is kept: any text that has no control characters, and any octets --

VALUES: Mapping[str, bytes] = {
    "plain": b"text",
    "metadata//shared/comment": b"a/b//c",
    "empty value": b"",
    " spaces \u00a0": b" \t\r\n ",
    "NUL": b"\0\0",
    "all octets": bytes(range(256)),
    "Case": b"1",
    "case": b"2",
    "\u00e9t\u00e9 \u65e5\u672c \U0001f4ec": "\u00e9".encode(),
    "e\u0301": b"not normalised",
    "=\"'\\{}[]:,%*?~": b"signs",
    "__proto__": b"{}",
    "base64": b'{"base64": "eA=="}',
    "long " + "x" * 1995: b"y" * 300_000,
}
SCOPES = [
    "server", "Server", "server/", "/server", "", ".", "..", "../server", "../../../tmp/x", "a b",
    "}{", "}", "{server}", "%2e%2e", "\u00e9", "x" * 250, "x" * 250 + "y",
]  # fmt: skip


class PropertiesConformance:
    async def reopen(self, backend: Backend) -> Backend:
        raise NotImplementedError  # `BackendConformance` says what it is

    @pytest.fixture(params=["mailbox", "account", "store"])
    async def properties(
        self, request: pytest.FixtureRequest, backend: Backend
    ) -> AsyncIterator[Properties]:
        async with backend.account("alice") as account:
            yield await _properties(request.param, backend, account)

    async def test_properties_are_octets_by_text(self, properties: Properties) -> None:
        assert await properties.read() == {}
        assert await properties.write(VALUES)
        assert await properties.read() == VALUES

    async def test_properties_are_set_and_removed_one_by_one(self, properties: Properties) -> None:
        assert await properties.write({"a": b"1", "b": b"2", "c": b""})
        before = await properties.read()
        assert await properties.write({"a": None, "b": b"3", "none": None, "d": b"4"})
        assert await properties.read() == {"b": b"3", "c": b"", "d": b"4"}
        assert before == {"a": b"1", "b": b"2", "c": b""}  # what was read does not change
        assert await properties.write({"b": None, "c": None, "d": None})
        assert await properties.read() == {}
        assert await properties.write({})
        assert await properties.write({"a": b"5"})
        assert await properties.read() == {"a": b"5"}

    async def test_properties_change_only_from_what_was_expected(
        self, properties: Properties
    ) -> None:
        assert await properties.write({"a": b"1"}, {"a": None, "b": None})
        for wrong in ({"a": None}, {"a": b""}, {"a": b"2"}, {"a": b"1", "b": b""}, {"b": b"1"}):
            assert not await properties.write({"a": b"9", "c": b"9"}, wrong)
        assert await properties.read() == {"a": b"1"}
        assert await properties.write({"a": None, "b": b"2"}, {"a": b"1"})
        assert await properties.write({"c": b""}, {"a": None, "b": b"2"})
        assert not await properties.write({"b": b"3"}, {"c": None})  # an empty value is one
        assert await properties.read() == {"b": b"2", "c": b""}

    async def test_concurrent_changes_of_properties_lose_nothing(
        self, properties: Properties
    ) -> None:
        async def count(own: str) -> None:
            for _ in range(5):
                while True:
                    known = (await properties.read()).get("n")
                    new = b"%d" % (int(known or b"0") + 1)
                    if await properties.write({"n": new, own: new}, {"n": known}):
                        break
                    await asyncio.sleep(0)

        await asyncio.gather(*(count(f"own {at}") for at in range(6)))
        found = await properties.read()
        assert found["n"] == b"30"
        assert max(int(value) for key, value in found.items() if key != "n") == 30
        assert len(found) == 7

    @pytest.mark.parametrize("what", ["mailbox", "account", "store"])
    async def test_properties_are_seen_by_others_at_once(self, backend: Backend, what: str) -> None:
        async with backend.account("alice") as account, backend.account("alice") as again:
            here = await _properties(what, backend, account)
            there = await _properties(what, backend, again)
            for n in range(20):
                value = b"%02d" % n
                assert await here.write({"x": value})
                assert await there.read() == {"x": value}
                assert await there.write({"x": value + b"!"}, {"x": value})
                assert await here.read() == {"x": value + b"!"}

    async def test_properties_are_apart(self, backend: Backend, account: Account) -> None:
        inbox, other = await account.open("INBOX"), await account.create("Other")
        inner = await account.create("Other/Inner")
        async with backend.account("bob") as bobs:
            all_of_them = [
                _of(inbox), _of(other), _of(inner), _of(account), _of(bobs),
                _of(await bobs.open("INBOX")), *(_scope(backend, scope) for scope in SCOPES),
            ]  # fmt: skip
            for n, properties in enumerate(all_of_them):
                assert await properties.read() == {}
                assert await properties.write({"n": b"%d" % n})
            for n, properties in enumerate(all_of_them):
                assert await properties.read() == {"n": b"%d" % n}
        assert {info.name for info in await account.mailboxes()} == {
            "INBOX", "Other", "Other/Inner",
        }  # fmt: skip

    async def test_properties_end_with_the_mailbox(self, account: Account) -> None:
        await account.create("Other/Inner")
        other = await account.create("Other")
        properties = _of(other)
        await properties.write({"x": b"1"})
        inner = _of(await account.open("Other/Inner"))
        await inner.write({"x": b"2"})
        await account.delete("Other")
        with pytest.raises(MailboxGone):
            await properties.read()
        with pytest.raises(MailboxGone):
            await properties.write({"x": b"3"})
        with pytest.raises(MailboxGone):
            await _of(other).read()
        made = _of(await account.create("Other"))
        assert await made.read() == {}
        with pytest.raises(MailboxGone):
            await properties.write({"x": b"3"})
        assert await made.read() == {}
        assert await inner.read() == {"x": b"2"}

    async def test_properties_go_with_the_mailbox(self, account: Account) -> None:
        for n, name in enumerate(("Other", "Other/Inner", "Else")):
            await _of(await account.create(name)).write({"n": b"%d" % n})
        held = _of(await account.open("Other"))
        await account.rename("Other", "New/Other")
        for n, name in enumerate(("New/Other", "New/Other/Inner", "Else")):
            assert await _of(await account.open(name)).read() == {"n": b"%d" % n}
        assert await held.read() == {"n": b"0"}
        assert await held.write({"n": b"9"})
        assert await _of(await account.open("New/Other")).read() == {"n": b"9"}
        assert await _of(await account.create("Other")).read() == {}

    async def test_messages_and_properties_do_not_mind_each_other(self, inbox: Mailbox) -> None:
        before = await inbox.snapshot()
        await _of(inbox).write({"x": b"1"})
        assert await inbox.snapshot() == before

    async def test_properties_outlive_the_process(self, backend: Backend) -> None:
        kinds = ("mailbox", "account", "store")
        async with backend.account("alice") as account:
            for what in kinds:
                await (await _properties(what, backend, account)).write({**VALUES, "it": b"x"})
                await (await _properties(what, backend, account)).write({"it": what.encode()})
        restarted = await self.reopen(backend)
        try:
            async with restarted.account("alice") as account:
                for what in kinds:
                    found = await (await _properties(what, restarted, account)).read()
                    assert found == {**VALUES, "it": what.encode()}
        finally:
            await restarted.stop()


def _of(owner: Mailbox | Account) -> Properties:
    if owner.properties is None:
        pytest.skip("this store has no properties")
    return owner.properties


def _scope(backend: Backend, scope: str) -> Properties:
    found = backend.properties(scope)
    if found is None:
        pytest.skip("this store has no properties")
    return found


async def _properties(what: str, backend: Backend, account: Account) -> Properties:
    match what:
        case "mailbox":
            return _of(await account.open("INBOX"))
        case "account":
            return _of(account)
        case _:
            return _scope(backend, "server")
