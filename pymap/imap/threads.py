"""Threads: ORDEREDSUBJECT and REFERENCES (RFC 5256 3), REFS (draft-ietf-morg-inthread 4).

Rule 1: a message is its place in the list that is given, which is in the order of the mailbox; a
        dummy, which stands for a message that is not there, is a number above all of these.
Rule 2: nothing here recurses: a chain of 100,000 answers is a thread like others.
Rule 3: who is sorted by sent date comes in that order: the messages are gone through by date from
        the start, so that lists of children are made in order and only merging sorts again.
Rule 4: time is O(n log n), n being messages and references, and bounded whatever they refer to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

__all__ = ["ALGORITHMS", "Forest", "Message", "ordered_subject", "references", "refs", "render"]

NOBODY = -1

Id = bytes | int
"""A message id, or a hash of one: ids are compared and nothing else."""


class Message(NamedTuple):
    """What threading looks at; see `mime.summary` for where it comes from. Times are in seconds."""

    sent: int
    """The sent date, the internal date where there is none.   RFC 5256 2.2"""
    received: int
    """The internal date."""
    subject: str
    """The base subject as the collation compares it."""
    replied: bool
    """Whether the subject is that of a reply or forward."""
    id: Id
    """The message id; empty or 0 if there is none."""
    references: Sequence[Id]
    """The ids of its ancestors, the oldest first."""


class Forest(NamedTuple):
    """Threads in their order. `children` has only who has some. A dummy is only ever a root, and
    has at least two children."""

    roots: list[int]
    children: dict[int, list[int]]


# -- ORDEREDSUBJECT --


def ordered_subject(messages: Sequence[Message]) -> Forest:
    """A thread for each base subject: its oldest message, with all others as children of that.
    Threads are in order of their oldest messages."""
    roots: dict[str, int] = {}
    children: dict[int, list[int]] = {}
    for at in _by_date(messages):
        root = roots.setdefault(messages[at].subject, at)
        if root != at:
            children.setdefault(root, []).append(at)
    return Forest(list(roots.values()), children)


def _by_date(messages: Sequence[Message]) -> list[int]:
    """By sent date; the sort is stable, so ties are in the order of the mailbox."""
    return sorted(range(len(messages)), key=[message.sent for message in messages].__getitem__)


# -- REFERENCES and REFS --


def references(messages: Sequence[Message]) -> Forest:
    """By references, and threads of one subject together; threads in order of their first
    messages."""
    dates = _by_date(messages)
    forest = _prune(_link(messages), dates)  # which brings the roots in order: step (4)
    return _merge(forest, messages, dates)


def refs(messages: Sequence[Message]) -> Forest:
    """By references alone: without step (5) of REFERENCES. The thread with the message that arrived
    last is the last one, while messages within a thread are sorted by sent date."""
    roots, children = _prune(_link(messages), _by_date(messages))

    def last_arrival(root: int) -> tuple[int, int]:
        return max(
            (messages[at].received, at) for at in _thread(root, children) if at < len(messages)
        )

    return Forest(sorted(roots, key=last_arrival), children)


ALGORITHMS: dict[str, Callable[[Sequence[Message]], Forest]] = {
    "ORDEREDSUBJECT": ordered_subject,
    "REFERENCES": references,
    "REFS": refs,
}
"""By thread-alg; the capabilities are ``THREAD=`` and these."""


def _thread(root: int, children: dict[int, list[int]]) -> Iterable[int]:
    """All in a thread, in no order."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += children.get(node, ())


def _link(messages: Sequence[Message]) -> list[int]:
    """The parent of each message and dummy, or NOBODY: step (1)."""
    nodes: dict[Id, int] = {}
    for at, message in enumerate(messages):
        # Only the first of several messages with one id has it; nobody can refer to the others,
        # nor to those without an id.
        if message.id:
            nodes.setdefault(message.id, at)
    links = _Links(len(messages), sum(len(message.references) for message in messages))
    for at, message in enumerate(messages):
        # (A) Each reference is the parent of the next, unless that has one.
        above = NOBODY
        for id_ in message.references:
            node = nodes.get(id_)
            if node is None:
                node = nodes[id_] = links.dummy()
            if above != NOBODY and links.parent[node] == NOBODY:
                links.join(above, node)
            above = node
        # (B) The last one is the parent of the message, whatever others said before.
        if links.parent[at] != above:
            links.parent[at] = NOBODY
            if above != NOBODY:
                links.join(above, at)
    return links.parent


class _Links:
    """Links from children to parents, without loops.

    To know that a new link makes no loop is to walk up from the parent and not to meet the child.
    Only a child that has children can be met, and whoever has a parent is seldom given another, so
    these walks are few and short, except in a mailbox that somebody filled to make them long: there
    they are stopped after STEPS a link on the average, and links that would need more are not
    made. Nothing else depends on it: what comes out are trees in any case.
    """

    STEPS = 100

    def __init__(self, messages: int, links: int) -> None:
        self.parent = [NOBODY] * messages
        self._has_children = bytearray(messages)  # or once had
        self._steps = self.STEPS * (messages + links)

    def dummy(self) -> int:
        self.parent.append(NOBODY)
        self._has_children.append(0)
        return len(self.parent) - 1

    def join(self, above: int, below: int) -> None:
        """Make one the parent of the other, who has none, if that makes no loop."""
        if above == below or (self._has_children[below] and self._is_above(below, above)):
            return
        self.parent[below] = above
        self._has_children[above] = 1

    def _is_above(self, one: int, other: int) -> bool:
        """Whether `one` is an ancestor of `other`, or whether it would take too long to tell."""
        parent, steps = self.parent, self._steps
        while steps and other not in (one, NOBODY):
            other = parent[other]
            steps -= 1
        self._steps = steps
        return other != NOBODY


def _prune(parent: list[int], dates: list[int]) -> Forest:
    """Steps (2) and (3): all without a parent are roots; dummies go and their children take their
    places, but a root that is a dummy stays if it has several children.

    Each message looks for the next message above it, or else the dummy at the root. So the order
    in which dummies go makes no difference.
    """
    n = len(dates)
    under: dict[int, int] = {}  # for each dummy: the next message above it, or the root
    for dummy in range(n, len(parent)):
        path = []
        node = dummy
        while node >= n and node not in under:
            path.append(node)
            if parent[node] == NOBODY:
                break
            node = parent[node]
        under |= dict.fromkeys(path, under.get(node, node))
    roots: list[int] = []
    children: dict[int, list[int]] = {}
    for at in dates:
        above = parent[at]
        above = under.get(above, above)
        if above == NOBODY:
            roots.append(at)
            continue
        siblings = children.setdefault(above, [])
        if above >= n and not siblings:
            roots.append(above)  # in its place: that of its oldest child
        siblings.append(at)
    for place, root in enumerate(roots):
        if root >= n and len(children[root]) == 1:
            roots[place] = children.pop(root)[0]
    return Forest(roots, children)


def _merge(forest: Forest, messages: Sequence[Message], dates: list[int]) -> Forest:
    """Steps (5) and (6): threads with the same subject become one; the roots are sorted, and give
    their subjects, in the order that they come in.

    A dummy is in the table of subjects before any message, so that two threads merge in one of four
    ways, and a dummy never gets another for its child.
    """
    n = len(messages)
    roots, children = forest

    def first(root: int) -> int:
        return root if root < n else children[root][0]

    def replied(root: int) -> bool:
        return root < n and messages[root].replied

    subjects = [messages[first(root)].subject for root in roots]
    # (B) One thread for each subject: rather a dummy, rather none that is an answer.
    table: dict[str, int] = {}
    for root, subject in zip(roots, subjects, strict=True):
        known = table.setdefault(subject, root)
        if known < n and (root >= n or (replied(known) and not replied(root))):
            table[subject] = root
    # (C) All others join it.
    top = dict.fromkeys(roots)
    grown: set[int] = set()
    dummy = max([n - 1, *roots])
    for root, subject in zip(roots, subjects, strict=True):
        known = table[subject]
        if known == root or not subject:
            continue
        del top[root]
        if known >= n:
            children[known] += children.pop(root) if root >= n else [root]
        elif replied(root) and not replied(known):
            children.setdefault(known, []).append(root)
        else:
            dummy += 1
            children[dummy] = [known, root]
            del top[known]
            top[dummy] = None
            table[subject] = known = dummy
        grown.add(known)
    # (6) What has not grown is sorted already.
    rank = [0] * n
    for place, at in enumerate(dates):
        rank[at] = place
    for node in grown:
        children[node].sort(key=rank.__getitem__)
    return Forest(sorted(top, key=lambda root: rank[first(root)]), children)


# -- the response --


def render(forest: Forest, numbers: Sequence[int]) -> bytes:
    """The threads of a THREAD response; `numbers` are those of the messages, or their UIDs.

    thread-list    = "(" (thread-members / thread-nested) ")"
    thread-members = nz-number *(SP nz-number) [SP thread-nested]
    thread-nested  = 2*thread-list                                       RFC 5256 5
    """
    children = forest.children
    pieces: list[str] = []
    waiting = forest.roots[::-1]
    while waiting:
        node = waiting.pop()
        if node == NOBODY:
            pieces.append(")")
            continue
        pieces.append("(")
        waiting.append(NOBODY)
        below = children.get(node, ())
        if node < len(numbers):
            pieces.append(str(numbers[node]))
            while len(below) == 1:
                node = below[0]
                below = children.get(node, ())
                pieces.append(f" {numbers[node]}")
            if below:
                pieces.append(" ")
        waiting += reversed(below)
    return "".join(pieces).encode("ascii")
