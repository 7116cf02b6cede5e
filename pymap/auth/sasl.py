"""The server's side of SASL: one exchange per AUTHENTICATE, through pysasl.   RFC 4422

pysasl replays an exchange from its start for every answer; here it looks like a conversation.
"""

from __future__ import annotations

from typing import NamedTuple

from pysasl.creds.server import ServerCredentials
from pysasl.exception import AuthenticationError
from pysasl.identity import Identity
from pysasl.mechanism import ChallengeResponse, ServerChallenge, ServerMechanism
from pysasl.mechanism.login import LoginMechanism
from pysasl.mechanism.plain import PlainMechanism

__all__ = ["MECHANISMS", "Credentials", "Exchange", "start"]

MECHANISMS: dict[str, ServerMechanism] = {
    "PLAIN": PlainMechanism("PLAIN"),  # RFC 4616
    "LOGIN": LoginMechanism("LOGIN"),  # never standardised; old clients know nothing else
}


class Credentials(NamedTuple):
    """What the client claims. `authorization_id` is whom it wants to act for, "" for itself."""

    user: str
    password: str
    authorization_id: str


class _Listener(Identity):
    """Hears the secret that credentials are verified with: pysasl compares at once, while the
    user's password may have to be fetched and hashed off the event loop."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.heard = ""

    @property
    def authcid(self) -> str:
        return self.name

    def compare_authcid(self, authcid: str) -> bool:
        return True

    def compare_secret(self, secret: str) -> bool:
        self.heard = secret
        return True

    def get_clear_secret(self) -> str | None:
        return None


def _secret(credentials: ServerCredentials) -> str:
    listener = _Listener(credentials.authcid)
    credentials.verify(listener)
    return listener.heard


class Exchange:
    """The challenges and responses so far."""

    def __init__(self, mechanism: ServerMechanism) -> None:
        self._mechanism = mechanism
        self._responses: list[ChallengeResponse] = []
        self._challenge: bytes | None = None

    def step(self, response: bytes | None) -> bytes | Credentials:
        """Give the client's response, None when it has sent none yet; returns the next challenge,
        or in the end the credentials. Raises ValueError for a malformed response."""
        if self._challenge is None and response is not None:
            # An initial response answers an empty first challenge.   RFC 4959 3
            self._challenge = b""
        if response is not None and self._challenge is not None:
            self._responses.append(ChallengeResponse(self._challenge, response))
        try:
            credentials, _ = self._mechanism.server_attempt(self._responses)
        except ServerChallenge as challenge:
            self._challenge = challenge.data
            return challenge.data
        except AuthenticationError as error:
            raise ValueError(str(error)) from error
        return Credentials(credentials.authcid, _secret(credentials), credentials.authzid)


def start(mechanism: str) -> Exchange | None:
    """An exchange of that mechanism (in upper case), None if it is not offered."""
    found = MECHANISMS.get(mechanism)
    return None if found is None else Exchange(found)
