"""The service over TCP: where, with which certificate, for which token."""

from __future__ import annotations

from pathlib import Path

from pymap.admin.access import TokenAccess
from pymap.config import TlsConfig
from pymap.tls import Certificates

__all__ = ["Network"]


class Network:
    """The files are read when this is made, for later the server may be another user."""

    def __init__(self, host: str, port: int, cert: Path, key: Path | None, token: Path) -> None:
        """Raises OSError and ValueError with a text for the operator."""
        self.host = host
        self.port = port
        self.access = TokenAccess(token)
        self._config = TlsConfig(certs=(cert,), keys=(key,))
        self.context = Certificates(self._config).context
        self.context.set_alpn_protocols(["h2"])

    async def reload(self) -> None:
        """Read the certificate again, for handshakes to come. The listener keeps its context, so it
        is changed, but not before it is known that the files are good. Raises as above."""
        Certificates(self._config)
        self.context.load_cert_chain(self._config.certs[0], self._config.keys[0])
