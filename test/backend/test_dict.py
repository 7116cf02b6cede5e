"""The store in memory does what every store must do; there is nothing else to say of it."""

import pytest

from pymap.backend.conformance import BackendConformance
from pymap.backend.dict import DictBackend


class TestDict(BackendConformance):
    @pytest.fixture
    async def backend(self) -> DictBackend:
        return DictBackend({"alice": "secret"})
