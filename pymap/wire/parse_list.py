"""LIST with RFC 5258's selection and return options, LSUB, STATUS."""

from __future__ import annotations

from typing import TypeVar

from pymap.limits import Limits
from pymap.wire.commands import (
    List,
    ListReturn,
    ListSelect,
    Lsub,
    RList,
    RLsub,
    Status,
    StatusItem,
)
from pymap.wire.errors import BadCommand
from pymap.wire.parse_metadata import entries
from pymap.wire.scanner import Scanner

__all__ = ["list_", "lsub", "rlist", "rlsub", "status"]


def list_(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> List:
    """list = "LIST" [SP list-select-opts] SP mailbox SP mbox-or-pat [SP list-return-opts]

    RFC 9051 9
    """
    s.sp()
    select: set[ListSelect] = set()
    extended = s.at(b"(")
    if extended:
        s.expect(b"(")
        while not s.accept(b")"):
            if select:
                s.sp()
            select.add(_option(ListSelect, s.keyword()))
        s.sp()
    # Only what filters by itself can be made recursive.   RFC 5258 3.1
    if ListSelect.RECURSIVEMATCH in select and not select - _NOT_BASE:
        raise BadCommand("RECURSIVEMATCH needs another selection option")
    reference = s.mailbox()
    s.sp()
    if s.accept(b"("):
        extended = True
        patterns = [s.list_mailbox()]
        while s.accept(b" "):
            patterns.append(s.list_mailbox())
            if len(patterns) > limits.list_patterns:
                raise BadCommand("Too many patterns")
        s.expect(b")")
    else:
        patterns = [s.list_mailbox()]
    returns: set[ListReturn] = set()
    items: tuple[StatusItem, ...] = ()
    metadata: tuple[str, ...] = ()
    if s.accept(b" "):
        extended = True
        if s.keyword() != "RETURN":
            raise BadCommand("Expected RETURN")
        s.sp()
        s.expect(b"(")
        first = True
        while not s.accept(b")"):
            if not first:
                s.sp()
            first = False
            name = s.keyword()
            if name == "STATUS":
                s.sp()
                items = _status_items(s)
            elif name == "METADATA":  # RFC 9590 5
                s.sp()
                metadata = entries(s, limits)
            else:
                returns.add(_option(ListReturn, name))
    return List(
        tag, reference, tuple(patterns), frozenset(select), frozenset(returns), items, extended,
        metadata,
    )  # fmt: skip


_Option = TypeVar("_Option", ListSelect, ListReturn, StatusItem)


_NOT_BASE = {ListSelect.RECURSIVEMATCH, ListSelect.REMOTE}


def _option(kind: type[_Option], name: str) -> _Option:
    try:
        return kind(name)
    except ValueError:
        raise BadCommand(f"Unknown option {name}") from None


def lsub(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> Lsub:
    """lsub = "LSUB" SP mailbox SP list-mailbox   RFC 3501 6.3.9"""
    s.sp()
    reference = s.mailbox()
    s.sp()
    return Lsub(tag, reference, s.list_mailbox())


def rlist(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> RList:
    """rlist = "RLIST" SPACE mailbox SPACE list_mailbox: LIST (REMOTE).   RFC 2193 6"""
    s.sp()
    reference = s.mailbox()
    s.sp()
    return RList(tag, reference, (s.list_mailbox(),), frozenset((ListSelect.REMOTE,)))


def rlsub(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> RLsub:
    """rlsub = "RLSUB" SPACE mailbox SPACE list_mailbox   RFC 2193 6"""
    s.sp()
    reference = s.mailbox()
    s.sp()
    return RLsub(tag, reference, s.list_mailbox())


def status(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> Status:
    """status = "STATUS" SP mailbox SP "(" status-att *(SP status-att) ")" """
    s.sp()
    mailbox = s.mailbox()
    s.sp()
    return Status(tag, mailbox, _status_items(s))


def _status_items(s: Scanner) -> tuple[StatusItem, ...]:
    s.expect(b"(")
    items = [_option(StatusItem, s.keyword())]
    while s.accept(b" "):
        items.append(_option(StatusItem, s.keyword()))
        if len(items) > 2 * len(StatusItem):
            raise BadCommand("Too many status items")
    s.expect(b")")
    return tuple(dict.fromkeys(items))
