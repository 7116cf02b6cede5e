"""THREAD: RFC 5256 3, draft-ietf-morg-inthread 4. A slow transcription of the steps is the model."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import count, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pymap.imap import threads
from pymap.imap.threads import (
    ALGORITHMS,
    Forest,
    Message,
    ordered_subject,
    references,
    refs,
    render,
)

N = 100_000


def mail(
    id: str = "", references: str = "", subject: str = "", sent: int = 0, received: int = 0
) -> Message:
    """Ids by one word each; a subject that starts with "re:" is that of a reply."""
    base = subject.removeprefix("re:")
    ids = tuple(word.encode() for word in references.split())
    return Message(sent, received, base, base != subject, id.encode(), ids)


def answer(algorithm: Callable[[Sequence[Message]], Forest], messages: Sequence[Message]) -> str:
    forest = algorithm(messages)
    return render(forest, range(1, len(messages) + 1)).decode()


# -- the response --

Thread = tuple[int, list["Thread"]]  # 0: a dummy


def read(text: str) -> list[Thread]:
    """The threads of a THREAD response, as its grammar has them."""
    tokens = re.findall(r"\(|\)|\d+| ", text)
    assert "".join(tokens) == text

    def thread_list() -> Thread:
        assert tokens.pop(0) == "("
        found = members() if tokens[0] != "(" else (0, nested())
        assert tokens.pop(0) == ")"
        return found

    def members() -> Thread:
        number = int(tokens.pop(0))
        if tokens[0] != " ":
            return number, []
        tokens.pop(0)
        return number, nested() if tokens[0] == "(" else [members()]

    def nested() -> list[Thread]:
        found = []
        while tokens[0] == "(":
            found.append(thread_list())
        assert len(found) >= 2  # thread-nested = 2*thread-list
        return found

    found = []
    while tokens:
        found.append(thread_list())
    return found


def forest_of(text: str) -> tuple[Forest, list[int]]:
    """The forest that a response shows, and the numbers of its messages."""
    numbers: list[int] = []
    dummies = count(10**6)
    children: dict[int, list[int]] = {}

    def node(thread: Thread) -> int:
        number, below = thread
        at = len(numbers) if number else next(dummies)
        if number:
            numbers.append(number)
        if below:
            children[at] = [node(each) for each in below]
        return at

    return Forest([node(thread) for thread in read(text)], children), numbers


# Section 4, and the answers of the examples in section 3.
TWO = "(2)(3 6 (4 23)(44 7 96))"
NO_PARENT = "((3)(5))"
BY_SUBJECT = (
    "(166)(167)(168)(169)(172)(170)(171)(173)(174 (175)(176)(178)(181)(180))(179)(177 "
    "(183)(182)(188)(184)(185)(186)(187)(189))(190)(191)(192)(193)(194 195)(196 (197)(198))(199)"
    "(200 202)(201)(203)(204)(205)(206 207)(208)"
)
BY_REFERENCES = (
    "(166)(167)(168)(169)(172)((170)(179))(171)(173)((174)(175)(176)(178)(181)(180))((177)(183)"
    "(182)(188 (184)(189))(185 186)(187))(190)(191)(192)(193)((194)(195 196))(197 198)(199)"
    "(200 202)(201)(203)(204)(205 206 207)(208)"
)


@pytest.mark.parametrize(
    "text", ["", TWO, NO_PARENT, BY_SUBJECT, BY_REFERENCES, "(1 2 3)", "(1 ((2)(3))(4))"]
)
def test_the_response_is_rendered_as_the_rfc_shows_it(text: str) -> None:
    assert render(*forest_of(text)).decode() == text


def test_the_rfc_s_picture() -> None:
    """3 and its child 6, whose children are 4 (with 23) and 44 (with 7, with 96)."""
    assert read(TWO) == [(2, []), (3, [(6, [(4, [(23, [])]), (44, [(7, [(96, [])])])])])]


def mailbox_of(text: str, by_subject: bool) -> tuple[list[Message], list[int]]:
    """Messages for which a response is the right one: sent in the order in which it has them, with
    a subject for each thread, or answering one another."""
    messages: dict[int, Message] = {}
    dummies = count(1)

    def add(thread: Thread, parent: str, subject: str) -> None:
        number, below = thread
        name = str(number) if number else f"dummy{next(dummies)}"
        if number:
            one = "" if by_subject else parent
            messages[number] = mail(name, one, subject, sent=len(messages))
        for each in below:
            add(each, name, subject if by_subject else "")

    for at, thread in enumerate(read(text)):
        add(thread, "", f"subject {at}" if by_subject else "")
    numbers = sorted(messages)
    return [messages[number] for number in numbers], numbers


@pytest.mark.parametrize(
    ("algorithm", "text"),
    [
        (ordered_subject, BY_SUBJECT),
        (references, BY_REFERENCES),
        (references, TWO),
        (references, NO_PARENT),
    ],
)
def test_the_rfc_s_answers(algorithm: Callable[[Sequence[Message]], Forest], text: str) -> None:
    messages, numbers = mailbox_of(text, algorithm is ordered_subject)
    assert render(algorithm(messages), numbers).decode() == text


# -- ORDEREDSUBJECT --


@pytest.mark.parametrize(
    ("messages", "threads"),
    [
        ([], ""),
        ([mail()], "(1)"),
        ([mail(subject="a", sent=2), mail(subject="b", sent=1)], "(2)(1)"),
        ([mail(subject="a", sent=2), mail(subject="a", sent=1)], "(2 1)"),
        # The others are children of the first, never of one another.
        ([mail(subject="a", sent=at) for at in (1, 3, 2)], "(1 (3)(2))"),
        ([mail("x", subject="a"), mail("y", "x", subject="b")], "(1)(2)"),
        # Threads by the date of their first messages; ties by number
        ([mail(subject=subject) for subject in "abab"], "(1 3)(2 4)"),
        (
            [mail(subject="a", sent=5), mail(subject="b", sent=4), mail(subject="a", sent=1)],
            "(3 1)(2)",
        ),
        # The empty subject is one like others here.
        ([mail(), mail(subject="a"), mail()], "(1 3)(2)"),
    ],
)
def test_ordered_subject(messages: list[Message], threads: str) -> None:
    assert answer(ordered_subject, messages) == threads


# -- REFERENCES, rule by rule --


@pytest.mark.parametrize(
    ("messages", "threads"),
    [
        ([], ""),
        ([mail("a")], "(1)"),
        # (1)(A) Each is the parent of the next.
        ([mail("a"), mail("b"), mail("c", "a b")], "(1 2 3)"),
        ([mail("c", "a b"), mail("a"), mail("b", "a")], "(2 3 1)"),
        # No Message-ID: nobody refers to it.
        ([mail("a"), mail("", "a"), mail("c", "a")], "(1 (2)(3))"),
        # Several with one id: the first has it, the others are found nowhere.
        ([mail("a"), mail("a"), mail("b", "a")], "(1 3)(2)"),
        ([mail("a"), mail("a", "b"), mail("b", "a")], "(1 3 2)"),
        # Nobody with that id: a dummy, one for all who refer to it.
        ([mail("a", "x"), mail("b", "x")], "((1)(2))"),
        # An existing link is not changed by the references of others ...
        ([mail("a"), mail("b"), mail("c", "b"), mail("d", "a c")], "(1)(2 3 4)"),
        ([mail("c", "b"), mail("a"), mail("b"), mail("d", "a c")], "(2)(3 1 4)"),
        # ... but by one's own. (1)(B)
        ([mail("d", "a c"), mail("a"), mail("b"), mail("c", "b")], "(2)(3 4 1)"),
        # Without references it has no parent, whatever others said before.
        ([mail("c", "a b"), mail("a"), mail("b")], "(2)(3 1)"),
        # No loops
        ([mail("a", "a")], "(1)"),
        ([mail("a", "b"), mail("b", "a")], "(2 1)"),
        ([mail("a", "c"), mail("b", "a"), mail("c", "b")], "(3 1 2)"),
        ([mail("a"), mail("b"), mail("c", "a b a")], "(1 (2)(3))"),
        ([mail("a", "b"), mail("b"), mail("c", "a b")], "(2 (1)(3))"),
        # Ids are compared by case.
        ([mail("a"), mail("b", "A")], "(1)(2)"),
        # (3) A dummy without children goes,
        ([mail("a", "x y")], "(1)"),
        # one with children is replaced by them,
        ([mail("a"), mail("b", "a x"), mail("c", "a x")], "(1 (2)(3))"),
        # but not below the root, unless there is only one.
        ([mail("b", "x"), mail("c", "x")], "((1)(2))"),
        ([mail("b", "x y"), mail("c", "x z")], "((1)(2))"),
        ([mail("b", "x y z"), mail("c", "x y z")], "((1)(2))"),
        ([mail("b", "x y"), mail("c", "b")], "(1 2)"),
        # (4), (6) By sent date, ties by number, a dummy as its first child
        ([mail("a", sent=2), mail("b", sent=1), mail("c", sent=1)], "(2)(3)(1)"),
        ([mail("a"), mail("b", "a", sent=2), mail("c", "a", sent=1)], "(1 (3)(2))"),
        ([mail("a", "x", sent=3), mail("b", "x", sent=1), mail("c", sent=2)], "((2)(1))(3)"),
        ([mail("a", "x", sent=3), mail("b", "x", sent=4), mail("c", sent=2)], "(3)((1)(2))"),
        # Parents may be younger than their children.
        ([mail("a", sent=9), mail("b", "a", sent=1)], "(1 2)"),
    ],
)
def test_references(messages: list[Message], threads: str) -> None:
    assert answer(references, messages) == threads


@pytest.mark.parametrize(
    ("messages", "threads"),
    [
        # The empty subject brings nothing together.
        ([mail("a"), mail("b"), mail("c", "x"), mail("d", "x")], "(1)(2)((3)(4))"),
        # A reply joins the one that is none, whichever comes first.
        ([mail("a", subject="s"), mail("b", subject="re:s")], "(1 2)"),
        ([mail("a", subject="re:s"), mail("b", subject="s")], "(2 1)"),
        ([mail("a", subject="s"), mail("b", "a", "t"), mail("c", subject="re:s")], "(1 (2)(3))"),
        # It comes among the children by date.
        (
            [
                mail("a", subject="s", sent=1),
                mail("b", "a", sent=5),
                mail("c", subject="re:s", sent=3),
            ],
            "(1 (3)(2))",
        ),
        # Two that are both replies, or neither: a new dummy above them
        ([mail("a", subject="s"), mail("b", subject="s")], "((1)(2))"),
        ([mail("a", subject="re:s"), mail("b", subject="re:s")], "((1)(2))"),
        # which others then join.
        (
            [mail("a", subject="s"), mail("b", subject="s"), mail("c", subject="re:s")],
            "((1)(2)(3))",
        ),
        ([mail("a", subject="s"), mail("c", subject="re:s"), mail("b", subject="s")], "((1 2)(3))"),
        # Two dummies: one takes the children of the other.
        (
            [mail("a", "x", "s"), mail("b", "y", "s"), mail("c", "x"), mail("d", "y")],
            "((1)(2)(3)(4))",
        ),
        # A dummy and one that is none: rather the dummy, if it comes later, too
        ([mail("a", subject="s"), mail("b", "x", "s"), mail("c", "x")], "((1)(2)(3))"),
        ([mail("b", "x", "re:s"), mail("c", "x"), mail("a", subject="s")], "((1)(2)(3))"),
        # The subject of a dummy is that of its oldest child.
        (
            [
                mail("a", "x", "s", sent=2),
                mail("b", "x", "t", sent=1),
                mail("c", subject="t", sent=3),
            ],
            "((2)(1)(3))",
        ),
        (
            [
                mail("a", "x", "s", sent=2),
                mail("b", "x", "t", sent=1),
                mail("c", subject="s", sent=3),
            ],
            "((2)(1))(3)",
        ),
        # Only roots are gathered.
        ([mail("a", subject="s"), mail("b", "c", "s"), mail("c", subject="t")], "(1)(3 2)"),
        # Afterwards the roots are sorted again.
        (
            [
                mail("a", subject="re:s", sent=1),
                mail("b", subject="t", sent=2),
                mail("c", subject="s", sent=3),
            ],
            "(2)(3 1)",
        ),
    ],
)
def test_threads_of_one_subject(messages: list[Message], threads: str) -> None:
    assert answer(references, messages) == threads


# -- REFS --


@pytest.mark.parametrize(
    ("messages", "threads"),
    [
        ([], ""),
        # Subjects bring nothing together.
        ([mail("a", subject="s"), mail("b", subject="re:s")], "(1)(2)"),
        # The thread with the latest arrival is the last,
        ([mail("a", received=1), mail("b", received=2), mail("c", "a", received=3)], "(2)(1 3)"),
        ([mail("a", received=3), mail("b", received=2), mail("c", "b", received=1)], "(2 3)(1)"),
        # whenever it was sent; ties by number.
        ([mail("a", sent=9, received=1), mail("b", sent=1, received=2)], "(1)(2)"),
        ([mail("a"), mail("b"), mail("c", "a")], "(2)(1 3)"),
        # Within a thread it is the sent date.
        (
            [mail("a"), mail("b", "a", sent=2, received=1), mail("c", "a", sent=1, received=2)],
            "(1 (3)(2))",
        ),
        ([mail("b", "x", sent=2), mail("c", "x", sent=1)], "((2)(1))"),
        ([mail("b", "x y", received=9), mail("c", received=1)], "(2)(1)"),
    ],
)
def test_refs(messages: list[Message], threads: str) -> None:
    assert answer(refs, messages) == threads


def test_the_capabilities() -> None:
    assert list(ALGORITHMS) == ["ORDEREDSUBJECT", "REFERENCES", "REFS"]


# -- the model --


class Node:
    """A message with its links, which are always consistent."""

    def __init__(self, number: int, message: Message | None) -> None:
        self.number = number
        self.message = message  # None: a dummy
        self.parent: Node | None = None
        self.children: list[Node] = []

    def adopt(self, child: Node) -> None:
        child.leave()
        child.parent = self
        self.children.append(child)

    def leave(self) -> None:
        if self.parent:
            self.parent.children.remove(self)
        self.parent = None

    def descends_from(self, other: Node) -> bool:
        return self is other or (self.parent is not None and self.parent.descends_from(other))

    def first(self) -> Node:
        return self if self.message else self.children[0]

    def date(self) -> tuple[int, int]:
        first = self.first()
        assert first.message
        return first.message.sent, first.number

    def replied(self) -> bool:
        return self.message is not None and self.message.replied

    def subject(self) -> str:
        """(5)(B)(i)"""
        message = self.first().message
        assert message
        return message.subject

    def all(self) -> Iterator[Node]:
        yield self
        for child in self.children:
            yield from child.all()

    def text(self) -> str:
        below = [child.text() for child in self.children]
        if self.message is None:
            return f"({''.join(below)})"
        if len(below) == 1:
            return f"({self.number} {below[0][1:-1]})"
        return f"({self.number}{' ' if below else ''}{''.join(below)})"


def step_1(messages: Sequence[Message]) -> list[Node]:
    nodes = [Node(number, message) for number, message in enumerate(messages, 1)]
    by_id: dict[object, Node] = {}
    for node in nodes:
        assert node.message
        by_id.setdefault(node.message.id or object(), node)
    every = list(nodes)
    for node in nodes:
        assert node.message
        # (A)
        chain = []
        for id_ in node.message.references:
            if id_ not in by_id:
                by_id[id_] = Node(0, None)
                every.append(by_id[id_])
            chain.append(by_id[id_])
        for parent, child in pairwise(chain):
            if child.parent is None and not parent.descends_from(child):
                parent.adopt(child)
        # (B)
        node.leave()
        if chain and not chain[-1].descends_from(node):
            chain[-1].adopt(node)
    return every


def step_2(every: list[Node]) -> Node:
    root = Node(0, None)
    for node in every:
        if node.parent is None:
            root.adopt(node)
    return root


def step_3(root: Node) -> None:
    def prune(node: Node) -> None:
        for child in list(node.children):
            prune(child)  # below first: a dummy is judged by the children that it will have
        if node.message or node is root:
            return
        parent = node.parent
        assert parent
        if not node.children:
            node.leave()
        elif parent is not root or len(node.children) == 1:
            for child in list(node.children):
                parent.adopt(child)
            node.leave()

    prune(root)


def step_4(root: Node) -> None:
    for node in root.children:
        if not node.message:
            node.children.sort(key=Node.date)
    root.children.sort(key=Node.date)


def step_5(root: Node) -> None:
    # (B)
    table: dict[str, Node] = {}
    for current in root.children:
        subject = current.subject()
        if not subject:
            continue
        known = table.get(subject)
        if known is None:
            table[subject] = current
        elif known.message and (not current.message or (known.replied() and not current.replied())):
            table[subject] = current
    # (C)
    for current in list(root.children):
        subject = current.subject()
        if not subject:
            continue
        known = table[subject]
        if known is current:
            continue
        if not known.message and not current.message:
            for child in list(current.children):
                known.adopt(child)
            current.leave()
        elif not known.message:
            known.adopt(current)
        elif current.replied() and not known.replied():
            known.adopt(current)
        else:
            dummy = Node(0, None)
            root.adopt(dummy)
            dummy.adopt(current)
            dummy.adopt(known)
            table[subject] = dummy


def step_6(node: Node) -> None:
    for child in node.children:
        step_6(child)
    node.children.sort(key=Node.date)


def model_references(messages: Sequence[Message]) -> str:
    root = step_2(step_1(messages))
    step_3(root)
    step_4(root)
    step_5(root)
    step_6(root)
    return "".join(node.text() for node in root.children)


def model_refs(messages: Sequence[Message]) -> str:
    root = step_2(step_1(messages))
    step_3(root)
    step_6(root)
    root.children.sort(
        key=lambda thread: max((n.message.received, n.number) for n in thread.all() if n.message)
    )
    return "".join(node.text() for node in root.children)


IDS = st.sampled_from([b"a", b"b", b"c", b"d", b"e", b"f", b"g", b"h"])
MESSAGES = st.lists(
    st.builds(
        Message,
        sent=st.integers(0, 4),
        received=st.integers(0, 4),
        subject=st.sampled_from(["", "s", "t"]),
        replied=st.booleans(),
        id=st.one_of(IDS, st.just(b"")),
        references=st.lists(IDS, max_size=5).map(tuple),
    ),
    max_size=10,
)


@settings(max_examples=400)
@given(MESSAGES)
def test_references_does_what_the_steps_say(messages: list[Message]) -> None:
    assert answer(references, messages) == model_references(messages)


@settings(max_examples=200)
@given(MESSAGES)
def test_refs_does_what_the_steps_say(messages: list[Message]) -> None:
    assert answer(refs, messages) == model_refs(messages)


def check(messages: Sequence[Message], text: str) -> None:
    """Well-formed, with each message once."""
    numbers = [int(number) for number in re.findall(r"\d+", text)]
    assert sorted(numbers) == list(range(1, len(messages) + 1))
    read(text)


@given(MESSAGES)
def test_each_message_is_in_one_thread(messages: list[Message]) -> None:
    for algorithm in ALGORITHMS.values():
        check(messages, answer(algorithm, messages))


@given(MESSAGES)
def test_walks_that_are_given_up_leave_threads(messages: list[Message]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads._Links, "STEPS", 0)
        check(messages, answer(references, messages))


# -- many messages --


def chain(order: Sequence[int]) -> list[Message]:
    """Message n answers message n - 1; they are in the mailbox in that order."""
    return [Message(n, n, "", False, n, (n - 1,) if n > 1 else ()) for n in order]


@pytest.mark.parametrize("order", ["ascending", "descending", "random"])
def test_a_long_chain_is_one_thread(order: str) -> None:
    ids = list(range(1, N + 1))
    if order == "descending":
        ids.reverse()
    elif order == "random":
        random.Random(1).shuffle(ids)
    for algorithm in (references, refs):
        text = render(algorithm(chain(ids)), ids).decode()
        assert text == f"({' '.join(map(str, range(1, N + 1)))})"


def test_a_long_chain_of_dummies() -> None:
    message = Message(0, 0, "", False, N, tuple(range(1, N)))
    assert answer(references, [message, message]) == "((1)(2))"


def test_one_subject_of_many() -> None:
    messages = [mail(str(at), subject="s", sent=at) for at in range(N)]
    assert answer(references, messages) == f"({''.join(f'({n})' for n in range(1, N + 1))})"


@pytest.mark.parametrize("kind", ["walks", "loops"])
def test_a_mailbox_made_for_long_walks(kind: str) -> None:
    """Deep chains, and links below their ends of who has children, or which would be loops."""
    third = N // 3
    messages = chain(range(1, third + 1))
    for at in range(third):
        one, other = 10**6 + 2 * at, 10**6 + 2 * at + 1
        messages.append(Message(0, 0, "", False, other, (one,) if kind == "walks" else ()))
    for at in range(third):
        below = 10**6 + 2 * at if kind == "walks" else 1
        messages.append(Message(0, 0, "", False, 10**7 + at, (third, below)))
    forest = references(messages)
    everyone = [at for root in forest.roots for at in threads._thread(root, forest.children)]
    assert sorted(at for at in everyone if at < len(messages)) == list(range(len(messages)))
