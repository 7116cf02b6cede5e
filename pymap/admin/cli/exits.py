"""How `pymap-admin` ends: the codes of sysexits.h, and which error has which.

`append` has a column of its own, for its code decides what Postfix does with the mail (pipe(8)):
with 75 it stays in the queue, with every other error here it goes back to its sender. So mail waits
for everything that gets well by itself or that the operator can put right, and goes back for what
is wrong with the mail or with its recipient.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["CODES", "STATUSES", "Exit", "Failure", "of_code", "of_status"]


class Exit(IntEnum):
    OK = 0
    USAGE = 64
    DATA = 65
    NO_INPUT = 66
    NO_USER = 67
    UNAVAILABLE = 69
    INTERNAL = 70
    CANNOT_CREATE = 73
    IO = 74
    LATER = 75
    PERMISSION = 77
    CONFIG = 78
    INTERRUPTED = 130


CODES: dict[str, tuple[Exit, Exit]] = {
    "NOUSER": (Exit.NO_USER, Exit.NO_USER),
    "NONEXISTENT": (Exit.DATA, Exit.CANNOT_CREATE),  # 5.2.0 to the sender: about the mailbox
    "CANNOT": (Exit.DATA, Exit.DATA),
    "USEATTR": (Exit.DATA, Exit.DATA),
    "ALREADYEXISTS": (Exit.CANNOT_CREATE, Exit.CANNOT_CREATE),
    "OVERQUOTA": (Exit.CANNOT_CREATE, Exit.CANNOT_CREATE),
    "TOOBIG": (Exit.CANNOT_CREATE, Exit.CANNOT_CREATE),
    "LIMIT": (Exit.CANNOT_CREATE, Exit.CANNOT_CREATE),
    "NOPERM": (Exit.PERMISSION, Exit.LATER),
    "EXPUNGEISSUED": (Exit.LATER, Exit.LATER),
    "INUSE": (Exit.LATER, Exit.LATER),
    "UNAVAILABLE": (Exit.UNAVAILABLE, Exit.LATER),
    "CORRUPTION": (Exit.IO, Exit.LATER),
    "SERVERBUG": (Exit.INTERNAL, Exit.LATER),
}
"""`pymap-code` of an error of the service -> exit code, and that of `append`."""

STATUSES: dict[str, str] = {
    "INVALID_ARGUMENT": "CANNOT",
    "OUT_OF_RANGE": "CANNOT",
    "FAILED_PRECONDITION": "CANNOT",
    "NOT_FOUND": "NONEXISTENT",
    "ALREADY_EXISTS": "ALREADYEXISTS",
    "PERMISSION_DENIED": "NOPERM",
    "UNAUTHENTICATED": "NOPERM",
    "RESOURCE_EXHAUSTED": "LIMIT",
    "ABORTED": "INUSE",
    "DEADLINE_EXCEEDED": "INUSE",
    "UNAVAILABLE": "UNAVAILABLE",
    "UNIMPLEMENTED": "UNAVAILABLE",
    "CANCELLED": "UNAVAILABLE",
    "DATA_LOSS": "CORRUPTION",
}
"""gRPC status of an error without a `pymap-code` -> the one that means the same."""


class Failure(Exception):
    """Why it was not done, in one line for people. `later` is the exit code of `append`, where that
    is another one, `code` the service's."""

    def __init__(
        self, exit_code: Exit, text: str, later: Exit | None = None, code: str = ""
    ) -> None:
        super().__init__(text)
        self.exit_code = exit_code
        self.code = code
        self.of_append = exit_code if later is None else later


def of_code(code: str, text: str) -> Failure:
    """What the service says with this `pymap-code`."""
    exit_code, of_append = CODES.get(code, CODES["SERVERBUG"])
    return Failure(exit_code, text, of_append, code)


def of_status(status: str, text: str) -> Failure:
    """What gRPC says with this status, by its name."""
    return of_code(STATUSES.get(status, "SERVERBUG"), text)
