"""One client's end of the protocol, without a socket: octets in, commands out.

    receive_data(octets)      whatever has come
    next_event()              a Command, or what else is due; None: more octets are needed

The connection knows the protocol's state and limits, nothing of mail. What it sends is encoded
by `responses`.
"""

from __future__ import annotations

from dataclasses import dataclass

from pymap.limits import Limits
from pymap.wire.commands import Command
from pymap.wire.errors import BadCommand, Refused
from pymap.wire.framer import Event, Framer, Overflow, TooBig
from pymap.wire.parse import CommandSpec, State, hopeless, parse
from pymap.wire.types import DELIMITER

__all__ = ["BadEvent", "Connection", "Ready", "State"]


@dataclass(frozen=True, slots=True)
class Ready:
    """A command to carry out."""

    command: Command
    spec: CommandSpec


@dataclass(frozen=True, slots=True)
class BadEvent:
    """A command that cannot be carried out: answer `tag` for the reason `error`."""

    tag: str
    error: Exception


class Connection:
    """The four states, the framing and the parsing of one connection."""

    __slots__ = ("_state", "delimiter", "framer", "last_text", "limits", "utf8")

    def __init__(self, limits: Limits, delimiter: str = DELIMITER) -> None:
        self.limits = limits
        self.delimiter = delimiter  # of mailbox names, as the client writes them
        self.framer = Framer(limits)
        self.utf8 = False  # after ENABLE UTF8=ACCEPT or IMAP4rev2
        self.last_text = b""  # of the last frame, for the log
        self._state = State.NOT_AUTHENTICATED

    @property
    def state(self) -> State:
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        self._state = state
        self.framer.authenticated = state is not State.NOT_AUTHENTICATED

    def receive_data(self, data: bytes | bytearray | memoryview) -> None:
        self.framer.receive_data(data)

    def next_event(self) -> Ready | BadEvent | Event | Overflow | None:
        frame = self.framer.next()
        if frame is Event.CONTINUE and (refused := hopeless(self.framer.text, self._state)):
            self.last_text = self.framer.text
            self.framer.refuse_literal()
            return BadEvent(*refused)
        if frame is None or isinstance(frame, Event | Overflow):
            return frame
        if isinstance(frame, TooBig):
            self.last_text = frame.tag.encode("ascii") + b" (too big)"
            return BadEvent(frame.tag, self._too_big(frame))
        self.last_text = frame.text
        tag, command, error_, spec = parse(
            frame, self._state, self.utf8, self.limits, self.delimiter
        )
        if command is None or spec is None:
            return BadEvent(tag, error_ or BadCommand("Unknown command"))
        return Ready(command, spec)

    def _too_big(self, frame: TooBig) -> Refused | BadCommand:
        """A message over APPENDLIMIT is refused by name, RFC 7889 4, and so is an annotation,
        RFC 5464 4.3; other literals are the client's mistake."""
        if frame.is_message:
            return Refused("TOOBIG", frame.text)
        if frame.is_annotation:
            return Refused(f"METADATA MAXSIZE {self.limits.metadata_value}", frame.text)
        return BadCommand(frame.text)
