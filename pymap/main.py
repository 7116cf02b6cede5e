"""The command: ``pymap [options] BACKEND [backend options]``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from pymap.backend.api import Backend
from pymap.backend.errors import BackendError
from pymap.config import Config
from pymap.options import read

__all__ = ["main"]

log = logging.getLogger("pymap")


def main(argv: Sequence[str] | None = None) -> None:
    """Run a server until SIGTERM or SIGINT. Exits 0 then, 1 with one line for what went wrong, 2
    for a bad option."""
    try:
        config, backend, services, notes, only_check = read(sys.argv[1:] if argv is None else argv)
        if only_check or backend is None:
            _check(config, backend)
            return
        # What a server needs is loaded once there is to be one: --help and the like are quick.
        from pymap import daemon, logs

        logs.set_up(config)
        for note in notes:
            log.warning("%s", note)
        daemon.run(config, backend, services)
    except (OSError, ValueError, BackendError) as error:
        logging.shutdown()  # what was logged before comes before
        sys.exit(f"pymap: {_reason(error)}")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _check(config: Config, backend: Backend | None) -> None:
    """``pymap config check``: all that a server does before it listens."""
    from pymap.auth.authenticator import Authenticator
    from pymap.tls import Certificates

    if config.tls is not None:
        Certificates(config.tls)
    if backend is not None:
        Authenticator(backend.users, config.auth)
    print("good" if backend is not None else "good, but no backend is named")
