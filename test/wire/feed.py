"""How the tests of this folder talk to a Connection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pymap.limits import Limits
from pymap.wire.commands import Command
from pymap.wire.connection import BadEvent, Connection, Ready, State
from pymap.wire.errors import BadCommand, Refused
from pymap.wire.framer import Event, Overflow

NOT_AUTHENTICATED, AUTHENTICATED = State.NOT_AUTHENTICATED, State.AUTHENTICATED
SELECTED, LOGOUT = State.SELECTED, State.LOGOUT

Said = Ready | BadEvent | Event | Overflow


def connection(state: State = SELECTED, utf8: bool = False, **limits: int) -> Connection:
    made = Connection(Limits(**limits))
    made.state = state
    made.utf8 = utf8
    return made


def events(to: Connection, pieces: Iterable[bytes]) -> Iterator[Said]:
    """What `to` says to these pieces, up to the end of the stream. A client that does not wait
    for "+" is a client too, so nothing here depends on how the octets are cut."""
    for piece in pieces:
        to.receive_data(piece)
        while (event := to.next_event()) is not None:
            yield event
            if isinstance(event, Overflow):
                return


def octet_by_octet(octets: bytes) -> list[bytes]:
    return [octets[at : at + 1] for at in range(len(octets))]


def both_ways(
    octets: bytes, state: State = SELECTED, utf8: bool = False, **limits: int
) -> list[Said]:
    """The events of `octets`: the same whether they come at once or one by one."""
    at_once = list(events(connection(state, utf8, **limits), [octets]))
    one_by_one = list(events(connection(state, utf8, **limits), octet_by_octet(octets)))
    assert list(map(comparable, at_once)) == list(map(comparable, one_by_one))
    return at_once


def command(octets: bytes, state: State = SELECTED, utf8: bool = False, **limits: int) -> Command:
    """The one command that `octets` are."""
    *continues, last = both_ways(octets, state, utf8, **limits)
    assert all(event is Event.CONTINUE for event in continues)
    assert isinstance(last, Ready), last
    return last.command


def refusal(octets: bytes, state: State = SELECTED, utf8: bool = False, **limits: int) -> BadEvent:
    """The one refusal that `octets` get."""
    *continues, last = both_ways(octets, state, utf8, **limits)
    assert all(event is Event.CONTINUE for event in continues)
    assert isinstance(last, BadEvent), last
    assert isinstance(last.error, BadCommand | Refused), repr(last.error)
    return last


def bad(octets: bytes, state: State = SELECTED, utf8: bool = False, **limits: int) -> str:
    """The tag of the BAD that `octets` get."""
    refused = refusal(octets, state, utf8, **limits)
    assert isinstance(refused.error, BadCommand), refused.error
    return refused.tag


def comparable(event: Said) -> object:
    """Exceptions are equal only to themselves; here their text counts."""
    if isinstance(event, BadEvent):
        return event.tag, type(event.error), str(event.error)
    return event


def shown(octets: bytes) -> str:
    """A row of a table as the name of its test."""
    return octets.decode("ascii", "backslashreplace").replace("\r\n", "~")[:70]
