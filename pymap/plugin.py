"""Backends and services, found through entry points.

`pymap.backend` names subclasses of `Backend`, `pymap.service` subclasses of `Service`. A plugin
whose optional dependency is missing is left out; asked for by name, it says what to install.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from argparse import ArgumentParser, Namespace
from contextlib import AbstractAsyncContextManager
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from pymap.backend.api import Backend

if TYPE_CHECKING:
    from pymap.imap.server import Server

__all__ = ["Plugins", "Service", "backends", "services"]

_Plugin = TypeVar("_Plugin")


class Service(ABC):
    """Something that runs beside the IMAP listeners, such as an admin socket."""

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """Add this service's command line options to the main parser."""

    @classmethod
    def from_args(cls, args: Namespace) -> Self:
        """Raises ValueError or OSError with a text for the operator."""
        return cls()

    def load(self) -> None:
        """Import what `run` needs. Called before the process becomes the user that `--set-uid`
        names, who may not be able to read where Python's modules are."""

    @abstractmethod
    def run(self, server: Server) -> AbstractAsyncContextManager[None]:
        """Serve for as long as the context lasts."""


class Plugins(Generic[_Plugin]):
    """The plugins of one group: `found` by name, and why others are `missing`."""

    def __init__(self, group: str, kind: type[_Plugin]) -> None:
        self.found: dict[str, type[_Plugin]] = {}
        self.missing: dict[str, str] = {}
        for entry in sorted(entry_points(group=group), key=lambda entry: entry.name):
            try:
                loaded = entry.load()
            except ImportError as error:
                self.missing[entry.name] = _what_to_install(entry, error)
                continue
            if isinstance(loaded, type) and issubclass(loaded, kind):
                self.found[entry.name] = loaded
            else:
                self.missing[entry.name] = f"{entry.value} is not a {kind.__name__}"


def _what_to_install(entry: EntryPoint, error: ImportError) -> str:
    distribution = entry.dist.name if entry.dist is not None else "pymap"
    extras = ",".join(entry.extras) or entry.name
    return f"{entry.name} needs more ({error}): pip install '{distribution}[{extras}]'"


def backends() -> Plugins[Backend]:
    return Plugins("pymap.backend", Backend)  # type: ignore[type-abstract]  # only subclasses are made


def services() -> Plugins[Service]:
    return Plugins("pymap.service", Service)  # type: ignore[type-abstract]  # only subclasses are made
