"""What is said before there is an account: CAPABILITY, NOOP, LOGOUT, ID, STARTTLS, AUTHENTICATE,
LOGIN; and ENABLE."""

from __future__ import annotations

from binascii import b2a_base64

import pymap
from pymap.auth.authenticator import Exchange, LoginFailed
from pymap.auth.authenticator import Login as Proved
from pymap.backend.errors import BackendError
from pymap.imap.referrals import login_referral
from pymap.imap.session import Disconnect, Done, Session
from pymap.wire import responses as r
from pymap.wire.capabilities import ENABLED_BY
from pymap.wire.commands import (
    Authenticate,
    Capability,
    Check,
    Enable,
    Id,
    Login,
    Logout,
    Noop,
    StartTls,
    Unauthenticate,
)
from pymap.wire.errors import BadCommand, Refused
from pymap.wire.parse import base64

__all__ = [
    "authenticate",
    "capability",
    "check",
    "enable",
    "id_",
    "login",
    "logout",
    "noop",
    "start_tls",
    "unauthenticate",
]


COUNTED = ("AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED", "UNAVAILABLE")
"""How logins fail for which a connection is ended in the end; the last is the throttle's."""


async def capability(session: Session, command: Capability) -> Done:
    session.send(r.Capability(session.capabilities()))
    return Done("CAPABILITY completed")


async def noop(session: Session, command: Noop) -> Done:
    """News is told as after every command.   RFC 9051 6.1.2"""
    return Done("NOOP completed")


async def check(session: Session, command: Check) -> Done:
    """Everything acknowledged is durable already.   RFC 3501 6.4.1"""
    return Done("CHECK completed")


async def logout(session: Session, command: Logout) -> None:
    """RFC 9051 6.1.3"""
    session.bye("Logging out")
    session.send(r.Tagged(command.tag, r.Condition.OK, "LOGOUT completed"))
    raise Disconnect


async def id_(session: Session, command: Id) -> Done:
    """RFC 2971"""
    told = (("name", "pymap"), ("version", pymap.__version__))
    session.send(r.IdResponse(told if session.extensions.identify else ()))
    return Done("ID completed")


async def start_tls(session: Session, command: StartTls) -> Done | None:
    """The OK goes out in the clear; then nothing that came before the handshake counts, and what
    the client knew of the server it has to ask again.   RFC 9051 6.2.1, 11.1"""
    if not session.peer.can_start_tls:
        raise BadCommand("STARTTLS is not available")
    session.send(r.Tagged(command.tag, r.Condition.OK, "Begin TLS negotiation now"))
    # In whatever language: who asked for one before may have been somebody else.   RFC 5255 7
    session.language = None
    await session.peer.start_tls()
    return None


async def login(session: Session, command: Login) -> Done:
    """RFC 9051 6.2.3"""
    peer = session.peer
    try:
        proved = await session.authenticator.login(peer.channel, command.user, command.password)
    except LoginFailed as error:
        raise _failed(session, error) from error
    return await _enter(session, proved)


async def authenticate(session: Session, command: Authenticate) -> Done:
    """RFC 9051 6.2.2, RFC 4959, RFC 4422"""
    try:
        exchange = session.authenticator.start(session.peer.channel, command.mechanism)
        try:
            proved = await _converse(session, exchange, command.initial)
        finally:
            exchange.cancel()  # unless it has come to its end
    except LoginFailed as error:
        raise _failed(session, error) from error
    return await _enter(session, proved)


async def _converse(session: Session, exchange: Exchange, response: bytes | None) -> Proved:
    while not isinstance(step := await _step(exchange, response), Proved):
        session.send(r.Continuation(b2a_base64(step, newline=False)))
        line = await session.peer.line()
        if line is None or line == b"*":
            raise BadCommand("Authentication cancelled")  # RFC 9051 6.2.2
        response = base64(line)
    return step


async def _step(exchange: Exchange, response: bytes | None) -> bytes | Proved:
    try:
        return await exchange.step(response)
    except ValueError as error:
        raise BadCommand("Malformed SASL response") from error


async def _enter(session: Session, proved: Proved) -> Done:
    if refused := login_referral(session.extensions, proved.user):
        raise refused
    await session.enter(proved)
    return Done("Logged in", f"CAPABILITY {' '.join(session.capabilities())}")


def _failed(session: Session, error: LoginFailed) -> Refused | Disconnect:
    """How a login fails: the last one that is allowed ends the session."""
    refused = Refused(error.code, str(error))
    if error.code not in COUNTED:
        return refused
    session.failed_logins += 1
    if session.failed_logins < session.limits.failed_logins:
        return refused
    session.bye("Too many failed logins")
    return Disconnect(r.Condition.NO)


async def unauthenticate(session: Session, command: Unauthenticate) -> Done | None:
    """Everything is as after the greeting, but for TLS. NO is not allowed, for the client may have
    sent its next login already. Compression ends behind the OK.   RFC 8437 3, 4.1"""
    try:
        await session.leave()
    except BackendError as error:
        session.bye(str(error))
        raise Disconnect from error
    done = Done("UNAUTHENTICATE completed", f"CAPABILITY {' '.join(session.capabilities())}")
    if not session.peer.compresses:
        return done
    session.send(r.Tagged(command.tag, r.Condition.OK, *done))
    session.peer.end_compression()
    return None


async def enable(session: Session, command: Enable) -> Done:
    """Tells which of them are enabled by this command; unknown ones are passed over.

    RFC 5161 3.1, 3.2
    """
    names = [name for name in dict.fromkeys(command.capabilities) if name in ENABLED_BY]
    fresh = [name for name in names if name not in session.enabled]
    session.enable(*names)
    session.send(r.Enabled([ENABLED_BY[name].name for name in fresh]))
    return Done("ENABLE completed")
