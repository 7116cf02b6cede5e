"""Each case of each *.txt here is one test, over real sockets. The format: README.md."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from pymap.config import ExtensionConfig

from .conftest import EndpointFactory
from .runner import play
from .script import Case, read

HERE = Path(__file__).parent


def cases() -> list[object]:
    found: list[object] = []
    for path in sorted(HERE.glob("*.txt")):
        for case in read(path):
            name = re.sub(r"[^A-Za-z0-9]+", "-", case.name).strip("-")
            found.append(pytest.param(case, id=f"{path.stem}:{name}"))
    return found


@pytest.mark.asyncio
@pytest.mark.parametrize("case", cases())
async def test_transcript(case: Case, endpoint: EndpointFactory) -> None:
    peer = os.environ.get("PYMAP_TEST_PEER", "")
    for name, reason in case.settings.skip:
        if name == peer:
            pytest.skip(f"{peer}: {reason}")
    if peer and case.settings.fixture != "empty":
        pytest.skip(f"{peer} has no {case.settings.fixture} store")
    if peer and case.settings.extensions:
        pytest.skip(f"{peer} has other options")
    extensions = ExtensionConfig(**dict(case.settings.extensions))  # type: ignore[arg-type]
    await play(case, await endpoint(case.settings.fixture, extensions))
