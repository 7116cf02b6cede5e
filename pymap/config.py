"""What the operator asks for, in one frozen value."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pymap.limits import Limits

__all__ = ["Config"]


@dataclass(frozen=True, slots=True)
class Config:
    """The options of the command line that concern the server and not its backend.

    No `hosts` means every interface. `port` None means 143, unless the system chose otherwise;
    `tls_port` None means no implicit TLS.
    """

    hosts: tuple[str, ...] = ()
    port: int = 143
    tls_port: int | None = None
    cert: Path | None = None
    key: Path | None = None
    insecure_login: bool = False
    debug: bool = False
    set_uid: str | None = None
    set_gid: str | None = None
    logging_cfg: Path | None = None
    no_services: frozenset[str] = frozenset()
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.tls_port is not None and self.cert is None:
            raise ValueError("--tls-port needs --cert")
        if self.key is not None and self.cert is None:
            raise ValueError("--key needs --cert")
