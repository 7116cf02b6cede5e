"""How far a command is that takes long.   RFC 9585"""

from __future__ import annotations

__all__ = ["Progress"]


class Progress:
    """Counts what is done. There is a goal once it is known of what, and it then stays.

    `done` never goes back nor beyond the goal, and need not reach it: a search may find out that
    nothing is left to look at.
    """

    __slots__ = ("done", "goal")

    def __init__(self) -> None:
        self.done = 0
        self.goal: int | None = 0  # None: it will never be known

    def expect(self, count: int) -> None:
        """So much more will be done. Called before anything is awaited."""
        if self.goal is not None:
            self.goal += count

    def __str__(self) -> str:
        """inprogress-state: what is done and the goal, as far as they are known.   RFC 9585 5"""
        if self.goal:
            return f"{self.done} {self.goal}"
        return f"{self.done or 'NIL'} NIL"
