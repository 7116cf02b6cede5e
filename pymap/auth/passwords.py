"""Is this the user's password?

Rule: the answer takes the same time whether the user exists or not, and however much of the
password is right.
"""

from __future__ import annotations

import hmac

from pymap.backend.api import User

__all__ = ["verify"]

_NOBODY = User("", "\0")  # no client can send NUL


async def verify(user: User | None, password: str) -> bool:
    """Compare a password with the user's; None, no such user, is always wrong."""
    known = (user or _NOBODY).password.encode("utf-8")
    same = hmac.compare_digest(known, password.encode("utf-8", "surrogatepass"))
    return same and user is not None
