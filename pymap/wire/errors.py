"""How a command can fail before the session sees it."""

from __future__ import annotations

__all__ = ["BadCommand", "Refused"]


class BadCommand(Exception):
    """The client spoke badly: it gets a tagged BAD with this text, and a response code where there
    is one that says more.   RFC 9051 7.1.3"""

    def __init__(self, text: str, code: str | None = None) -> None:
        super().__init__(text)
        self.code = code


class Refused(Exception):
    """Well said, but it cannot be done: a tagged NO, with a response code where there is one that
    says more.   RFC 9051 7.1.2"""

    def __init__(self, code: str | None, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.empties_result = False  # a SEARCH RETURN (SAVE) that failed: RFC 5182 2.1
