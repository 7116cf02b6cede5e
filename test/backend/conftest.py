"""The suite that every store passes shows the values where it fails."""

import pytest

pytest.register_assert_rewrite(
    "pymap.backend.conformance",
    "pymap.backend.conformance_properties",
    "pymap.backend.conformance_quota",
)
