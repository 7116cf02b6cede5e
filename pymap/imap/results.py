"""What RETURN's options make of what was found.

RFC 4731, RFC 5182, RFC 5267, RFC 9394, RFC 6203
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

from pymap.imap.view import MailboxView
from pymap.wire.errors import BadCommand
from pymap.wire.search import Returns, SearchReturn
from pymap.wire.types import NO_UIDS, UidSet

__all__ = ["ALL", "Found", "esearch_items", "save", "saving", "sequence"]

ALL = Returns(frozenset((SearchReturn.ALL,)))

_Value = TypeVar("_Value")


class Found(NamedTuple):
    """The messages that were found, in the order that was asked for."""

    numbers: list[int]
    """What the client calls them."""
    uids: list[int]
    """Where SAVE or UPDATE asks for them, or they are the numbers."""
    modseqs: list[int] | None = None
    """Where the search uses MODSEQ."""
    scores: list[int] | None = None
    """How relevant each is, 1 to 100, where RELEVANCY is asked for.   RFC 6203 4"""


def esearch_items(found: Found, returns: Returns) -> list[tuple[str, str]]:
    """MIN, MAX and ALL are left out when nothing was found, PARTIAL is then NIL.

    RFC 4731 3.1, RFC 5267 3.1, RFC 9394 3.1
    """
    items: list[tuple[str, str]] = []
    numbers = found.numbers
    if numbers:
        if SearchReturn.MIN in returns:
            items.append(("MIN", str(numbers[0])))
        if SearchReturn.MAX in returns:
            items.append(("MAX", str(numbers[-1])))
        if SearchReturn.ALL in returns:
            items.append(("ALL", sequence(numbers)))
    if SearchReturn.COUNT in returns:
        items.append(("COUNT", str(len(numbers))))
    partial = returns.partial
    if partial is not None:
        part = numbers[partial.of(len(numbers))]
        items.append(("PARTIAL", f"({partial} {sequence(part) if part else 'NIL'})"))
    if found.scores is not None:
        # Of what ALL or PARTIAL show, one score beside each.   RFC 6203 4, 6
        scores = found.scores if partial is None else found.scores[partial.of(len(numbers))]
        items.append(("RELEVANCY", f"({' '.join(map(str, scores))})"))
    if found.modseqs and (told := _told(found.modseqs, returns)):
        items.append(("MODSEQ", str(max(told))))
    return items


def _told(values: Sequence[_Value], returns: Returns) -> list[_Value]:
    """The values of those messages that are told of: with MIN, MAX or PARTIAL alone of these, with
    ALL or COUNT of all that were found.   RFC 4731 3.2, RFC 9394 3.2"""
    if not returns.options.isdisjoint((SearchReturn.ALL, SearchReturn.COUNT)):
        return list(values)
    told: list[_Value] = []
    if returns.partial is not None:
        told += values[returns.partial.of(len(values))]
    if SearchReturn.MIN in returns:
        told += values[:1]
    if SearchReturn.MAX in returns:
        told += values[-1:]
    return told


_CHOOSE = frozenset((SearchReturn.MIN, SearchReturn.MAX, SearchReturn.PARTIAL))


@contextmanager
def saving(view: MailboxView | None, returns: Returns | None) -> Iterator[None]:
    """A search that fails leaves nothing saved; one that is BAD changes nothing.   RFC 5182 2.1"""
    try:
        yield
    except BadCommand:
        raise
    except Exception:
        if view is not None and returns is not None and SearchReturn.SAVE in returns:
            view.saved = NO_UIDS
        raise


def save(view: MailboxView, found: Found, returns: Returns | None) -> None:
    """What $ becomes, if that was asked for: all, unless only some were asked to be told.

    RFC 5182 2.1, RFC 9394 3.2
    """
    if returns is not None and SearchReturn.SAVE in returns:
        chosen = found.uids if returns.options.isdisjoint(_CHOOSE) else _told(found.uids, returns)
        view.saved = UidSet.of(*chosen)


def sequence(numbers: Sequence[int]) -> str:
    """A sequence set in this order; ranges only ascend.   RFC 5267 3.2"""
    words: list[str] = []
    start = last = numbers[0]
    for number in [*numbers[1:], 0]:
        if number != last + 1:
            words.append(str(start) if start == last else f"{start}:{last}")
            start = number
        last = number
    return ",".join(words)
