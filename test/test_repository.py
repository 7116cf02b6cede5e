"""What a checkout promises: one version, commands that exist, links that lead somewhere."""

import re
import subprocess
import tomllib
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest

import pymap
from docs.extensions import page
from pymap.limits import Limits

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TARGETS = {
    f"{group} {name}": target
    for group, entries in {"script": PROJECT["scripts"], **PROJECT["entry-points"]}.items()
    for name, target in entries.items()
}


def tracked() -> list[Path]:
    """The files of the repository, new ones included; none where there is no git (an sdist)."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "-co", "--exclude-standard"]
    try:
        names = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    return [path for name in names.split("\0") if name and (path := ROOT / name).is_file()]


def text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace")


FILES = tracked()
SCRIPTS = [ROOT / ".ci" / "run", *sorted((ROOT / "scripts").glob("[!_.]*"))]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_version_stands_in_one_place() -> None:
    assert PROJECT["dynamic"] == ["version"]
    assert "version" not in PROJECT
    quoted = re.compile(rf"""["']{re.escape(pymap.__version__)}["']""")
    places = [path.relative_to(ROOT).as_posix() for path in FILES if quoted.search(text(path))]
    assert places in ([], ["pymap/__init__.py"])


def test_changelog_knows_this_version() -> None:
    headings = re.findall(r"^## \[(.+?)\]", text(ROOT / "CHANGELOG.md"), re.MULTILINE)
    if ".dev" in pymap.__version__:
        assert headings[0] == "Unreleased"
    else:
        assert pymap.__version__ in headings


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_entry_point_can_be_loaded(target: str) -> None:
    module, _, name = target.partition(":")
    assert callable(getattr(import_module(module), name))


def test_operators_are_told_every_limit() -> None:
    told = text(ROOT / "docs" / "operator.md")
    assert not [f.name for f in fields(Limits) if f"| `{f.name}` |" not in told]


def test_no_path_of_some_machine() -> None:
    path_of_a_machine = re.compile(r"/(work|root|farm|home|Users)/[A-Za-z.]")
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in FILES
        for line in text(path).splitlines()
        if path_of_a_machine.search(line)
    ]
    assert not found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", text(page))
    assert not [link for link in links if not (page.parent / link).exists()]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_script_can_be_run(script: Path) -> None:
    assert script.stat().st_mode & 0o111
    shell = text(script).splitlines()[0].removeprefix("#!").split()
    subprocess.run([*shell, "-n", script], check=True)


def test_ci_runs_what_developers_run() -> None:
    for name in (".ci/run", ".travis.yml", ".github/workflows/ci.yml"):
        assert "scripts/test" in text(ROOT / name), name


def test_the_page_of_extensions_is_current() -> None:
    assert (ROOT / "docs/extensions.md").read_text("utf-8") == page(), "run scripts/extensions"
