"""LANGUAGE: in which one the server's texts are.   RFC 5255 3"""

from __future__ import annotations

from pymap.imap.languages import DEFAULT, LANGUAGES, find
from pymap.imap.mailboxes import namespaces
from pymap.imap.session import Done, Session
from pymap.wire import responses as r
from pymap.wire.commands import Language
from pymap.wire.errors import Refused

__all__ = ["language"]


async def language(session: Session, command: Language) -> Done:
    """RFC 5255 3.2; what the language has for the prefix of a namespace is told at once: 3.4"""
    if not command.ranges:
        session.send(r.LanguageResponse(tuple(LANGUAGES)))
        return Done("LANGUAGE completed")
    found = find(command.ranges, session.extensions.language)
    if found is None:
        raise Refused(None, "Unsupported language")
    session.send(r.LanguageResponse((found.tag,)))
    session.language = found if found.tag != DEFAULT else None
    known = namespaces(session)
    if known.translation is not None:
        session.send(known)
    return Done("LANGUAGE completed")
