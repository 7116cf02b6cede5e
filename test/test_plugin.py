"""Plugins are found by entry point; one that cannot be loaded says what to install."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from pymap import main, plugin
from pymap.backend.api import Backend
from pymap.backend.dict import DictBackend
from pymap.plugin import Plugins

ENTRIES = [
    EntryPoint("dict", "pymap.backend.dict:DictBackend", "pymap.backend"),
    EntryPoint("absent", "no_such_module_of_anyone:Backend [extra]", "pymap.backend"),
    EntryPoint("wrong", "pymap.limits:Limits", "pymap.backend"),
]


@pytest.fixture(autouse=True)
def entries(monkeypatch: pytest.MonkeyPatch) -> None:
    def entry_points(group: str) -> list[EntryPoint]:
        return ENTRIES if group == "pymap.backend" else []

    monkeypatch.setattr(plugin, "entry_points", entry_points)


def test_what_cannot_be_loaded_is_missing_with_its_reason() -> None:
    found = Plugins("pymap.backend", Backend)  # type: ignore[type-abstract]
    assert found.found == {"dict": DictBackend}
    assert "pip install 'pymap[extra]'" in found.missing["absent"]
    assert "not a Backend" in found.missing["wrong"]


def test_naming_it_says_what_to_install(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(["absent", "--any", "option"])
    assert ended.value.code
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "pip install 'pymap[extra]'" in said


def test_it_is_not_in_the_list_of_backends(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main.main(["--help"])
    said = capsys.readouterr().out
    assert "dict" in said
    assert "absent" not in said


def test_a_service_that_there_is_not_cannot_be_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(["--no-service", "admin", "dict", "--demo-data"])
    assert ended.value.code == 2
    assert "no service named admin" in capsys.readouterr().err
