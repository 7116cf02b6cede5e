"""LIST, with RFC 5258's selection and return options, and LSUB."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from pymap.backend.api import DELIMITER, MailboxInfo
from pymap.backend.errors import BackendError, MailboxNotFound, NoPermission
from pymap.backend.rights import render_rights
from pymap.imap.mailboxes import INBOX, status_items
from pymap.imap.metadata import metadata_response
from pymap.imap.referrals import is_remote, remote_names
from pymap.imap.session import Done, Session
from pymap.imap.sharing import SharedAccount
from pymap.wire import responses as r
from pymap.wire.commands import List, ListReturn, ListSelect, Lsub, RList, RLsub
from pymap.wire.errors import Refused

__all__ = [
    "Tree", "any_of", "list_", "list_entry", "lsub", "matcher", "rlist", "rlsub", "superiors",
]  # fmt: skip

_RUNS = re.compile(r"[*%]{2,}")
_WILDCARDS = re.compile(r"[*%]")
BREATH = 20_000  # characters of names looked at, or what takes as long, until others get their turn


def matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a name matches a LIST pattern: ``*`` is any text, ``%`` any text within a level.

    All ways to match are followed at once, as the bits of a number: bit n is set when the text
    so far can have used up the first n signs. So the cost is one step a character, whatever
    the pattern; backtracking over ``*a*a*a*b`` would not end.   RFC 9051 6.3.9
    """
    if pattern == "*":
        return lambda name: True
    if "*" not in pattern and "%" not in pattern:
        return lambda name: name == pattern
    pattern = _RUNS.sub(lambda run: "*" if "*" in run[0] else "%", pattern)
    words = _WILDCARDS.split(pattern)
    if "%" not in pattern:
        return lambda name: _has_in_order(name, words)
    stars = percents = 0
    literal: dict[str, int] = {}
    for at, sign in enumerate(pattern):
        if sign == "*":
            stars |= 1 << at
        elif sign == "%":
            percents |= 1 << at
        else:
            literal[sign] = literal.get(sign, 0) | 1 << at
    wild = stars | percents
    accepted = 1 << len(pattern)

    def skip(states: int) -> int:
        """A wildcard may also match nothing. Runs of them collapse beforehand, so this is
        two rounds at most."""
        while (more := states | (states & wild) << 1) != states:
            states = more
        return states

    def matches(name: str) -> bool:
        if not _has_in_order(name, words):
            return False  # nearly always, and at once
        states = skip(1)
        for char in name:
            stay = states & (stars if char == DELIMITER else wild)
            states = skip((states & literal.get(char, 0)) << 1 | stay)
            if not states:
                return False
        return bool(states & accepted)

    return matches


def _has_in_order(name: str, words: list[str]) -> bool:
    """Whether a name begins with the first word, ends with the last, and has the others in order
    between: to take each as early as can be leaves most for the next."""
    first, *between, last = words
    at, end = len(first), len(name) - len(last)
    if at > end or not name.startswith(first) or not name.endswith(last):
        return False
    for word in between:
        at = name.find(word, at, end)
        if at < 0:
            return False
        at += len(word)
    return True


def any_of(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Whether a name matches any of the patterns; INBOX does so in any case of letters."""
    matchers = [matcher(pattern) for pattern in patterns]
    for_inbox = [matcher(pattern.upper()) for pattern in patterns]
    return lambda name: any(matches(name) for matches in (for_inbox if name == INBOX else matchers))


class Tree:
    """The mailboxes of an account and what LIST says of each: looked up, not searched."""

    def __init__(
        self,
        infos: Iterable[MailboxInfo],
        subscribed: frozenset[str],
        remote: frozenset[str] = frozenset(),
    ) -> None:
        self.infos = {info.name: info for info in infos}
        self.subscribed = subscribed
        self.remote = remote  # those that are on other servers
        self.parents = {above for name in (*self.infos, *remote) for above in superiors(name)}
        self.parents_of_subscribed = {above for name in subscribed for above in superiors(name)}

    def names(self) -> set[str]:
        """Everything that exists, levels that are no mailboxes included."""
        return self.infos.keys() | self.parents | self.remote

    def attributes(
        self,
        name: str,
        subscribed: bool = True,
        children: bool = True,
        special_use: bool = True,
        extended: bool = True,
    ) -> list[str]:
        """RFC 9051 7.3.1"""
        found = []
        info = self.infos.get(name)
        if name in self.remote:
            found.append("\\Remote")  # RFC 5258 3.1
        elif info is None or info.id is None:
            # \NonExistent implies \Noselect, which is all that older clients know. RFC 5258 3
            found.append("\\NonExistent" if extended else "\\Noselect")
        if subscribed and name in self.subscribed:
            found.append("\\Subscribed")
        if children and (name not in self.remote or name in self.parents):
            # What is below one on another server, that server knows.
            found.append("\\HasChildren" if name in self.parents else "\\HasNoChildren")
        if info is not None and special_use:
            found += info.special_use
        return found


def superiors(name: str) -> Iterable[str]:
    """The levels above, the highest first."""
    at = name.find(DELIMITER)
    while at >= 0:
        yield name[:at]
        at = name.find(DELIMITER, at + 1)


async def _tree(session: Session, with_remote: bool = False, beside: str | None = None) -> Tree:
    """With what is on other servers, or without: then nothing is told of it (RFC 2193 3). Who asks
    for one name, needs no more than what is `beside` it."""
    account, extensions = session.authenticated(), session.extensions
    if beside is not None and isinstance(account, SharedAccount):
        infos = await account.mailboxes_beside(beside)
    else:
        infos = await account.mailboxes()
    subscribed = await account.subscriptions()
    if not extensions.mailbox_referrals:
        return Tree(infos, subscribed)
    infos = [info for info in infos if not is_remote(extensions, info.name)]
    subscribed = frozenset(name for name in subscribed if not is_remote(extensions, name))
    if not with_remote:
        return Tree(infos, subscribed)
    # Who subscribes to them does so on their server: here, all of them are.
    remote = remote_names(extensions)
    return Tree(infos, subscribed | remote, remote)


async def list_entry(session: Session, name: str, supplied: str) -> r.ListResponse:
    """The LIST response for one mailbox, as IMAP4rev2 tells it unasked; with the name that the
    client `supplied`, if that is another.   RFC 9051 6.3.2, 6.3.9.7"""
    name = (await session.place(name)).listed
    tree = await _tree(session, beside=name)
    shown = session.shown(name)
    old_name = supplied if supplied.removesuffix(session.delimiter) != shown else None
    return r.ListResponse(shown, tree.attributes(name), session.delimiter, old_name=old_name)


async def list_(session: Session, command: List) -> Done:
    """RFC 9051 6.3.9, RFC 5258, RFC 5819, RFC 6154, RFC 9590"""
    if command.patterns == ("",) and not command.extended:
        # "A special request to return the hierarchy delimiter and the root name".
        session.send(r.ListResponse("", ("\\Noselect",), session.delimiter))
        return Done("LIST completed")
    if command.metadata:
        session.require("LIST-METADATA")
    _check_patterns(session, command.reference, command.patterns)
    if ListReturn.MYRIGHTS in command.returns:
        session.require("LIST-MYRIGHTS")
    tree = await _tree(session, ListSelect.REMOTE in command.select)
    select, returns = command.select, command.returns
    by_subscription = ListSelect.SUBSCRIBED in select
    by_use = ListSelect.SPECIAL_USE in select
    recursive = ListSelect.RECURSIVEMATCH in select
    tells_subscribed = by_subscription or ListReturn.SUBSCRIBED in returns
    # Without options, children and special uses are told as RFC 3348 and RFC 6154 2 allow.
    tells_children = not command.extended or ListReturn.CHILDREN in returns or session.rev2
    tells_use = not command.extended or by_use or ListReturn.SPECIAL_USE in returns
    names = tree.names() | (tree.subscribed if by_subscription else set())
    if recursive and by_subscription:
        names |= tree.parents_of_subscribed
    matches = any_of([command.reference + pattern for pattern in command.patterns if pattern])
    work = 0
    for name in sorted(names, key=_inbox_first):
        work += 10 + len(name) * len(command.patterns)
        if work > BREATH:
            work = 0
            await session.peer.breathe()
        if not matches(name):
            continue
        childinfo: tuple[str, ...] = ()
        chosen = not by_subscription or name in tree.subscribed
        info = tree.infos.get(name)
        chosen = chosen and (not by_use or bool(info and info.special_use))
        if recursive and by_subscription and name in tree.parents_of_subscribed:
            childinfo = ("SUBSCRIBED",)
        if not chosen and not childinfo:
            continue
        attributes = tree.attributes(
            name, tells_subscribed, tells_children, tells_use, command.extended or session.rev2
        )
        shown = session.shown(name)
        session.send(r.ListResponse(shown, attributes, session.delimiter, childinfo))
        if not chosen or info is None or info.id is None:
            continue  # it is there only for what is below it: RFC 8440 4, RFC 5819 2
        if ListReturn.MYRIGHTS in returns:
            work += 100
            await _send_rights(session, name)
        if command.status:
            work += 100
            await _send_status(session, command, name)
        if command.metadata:
            work += await _send_metadata(session, command, name)
    return Done("LIST completed")


def _check_patterns(session: Session, reference: str, patterns: Sequence[str]) -> None:
    """A longer pattern matches no name that can be, but would take its time to say so."""
    if any(len(reference) + len(pattern) > session.limits.mailbox_name for pattern in patterns):
        raise Refused("LIMIT", "The pattern is too long")


def _inbox_first(name: str) -> tuple[bool, str]:
    return name != INBOX, name


async def _send_status(session: Session, command: List, name: str) -> None:
    """STATUS of a listed mailbox; one that has just been deleted gets none, nor one that
    may not be read.   RFC 5819 2, RFC 4314 4"""
    try:
        mailbox = await session.authenticated().open(name)
        items = await status_items(session, mailbox, command.status)
    except (MailboxNotFound, NoPermission):
        return
    session.send(r.StatusResponse(session.shown(name), items))


async def _send_rights(session: Session, name: str) -> None:
    """Of a mailbox that has just been deleted there are none.   RFC 8440 3"""
    try:
        rights = await session.sharing().rights(name)
    except MailboxNotFound:
        return
    session.send(r.MyRightsResponse(session.shown(name), render_rights(rights)))


async def _send_metadata(session: Session, command: List, name: str) -> int:
    """What cannot be looked up is left out; LIST goes on. Returns how much it was.   RFC 9590 3"""
    try:
        told = await metadata_response(session, name, command.metadata)
    except BackendError:
        return 0
    session.send(told)
    return sum(100 + len(value or b"") for _, value in told.values)


async def lsub(session: Session, command: Lsub) -> Done:
    """Subscribed names. With ``%``, a level above them that is not subscribed itself is shown as
    \\Noselect, so that clients can descend.   RFC 3501 6.3.9"""
    _check_patterns(session, command.reference, (command.pattern,))
    tree = await _tree(session, isinstance(command, RLsub))
    matches = any_of([command.reference + command.pattern])
    work = 0
    levels = tree.parents_of_subscribed - tree.subscribed if "%" in command.pattern else set()
    for name in sorted(tree.subscribed | levels, key=_inbox_first):
        work += 10 + len(name)
        if work > BREATH:
            work = 0
            await session.peer.breathe()
        if matches(name):
            here = name in tree.infos or name in tree.remote
            attributes = ["\\Noselect"] if name in levels or not here else []
            shown = session.shown(name)
            session.send(r.ListResponse(shown, attributes, session.delimiter, keyword=b"LSUB"))
    return Done("LSUB completed")


async def rlist(session: Session, command: RList) -> Done:
    """RFC 2193 5.1"""
    session.require("MAILBOX-REFERRALS")
    await list_(session, command)
    return Done("RLIST completed")


async def rlsub(session: Session, command: RLsub) -> Done:
    """RFC 2193 5.2"""
    session.require("MAILBOX-REFERRALS")
    await lsub(session, command)
    return Done("RLSUB completed")
