"""Imports point one way: each layer may use what stands in its row, and never the reverse.

ARCHITECTURE.md, section 2. An import for types only counts as well, for the arrow is about
what a reader must know; the few that point back for a type stand in FOR_TYPES.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]

# layer -> what it may import of ours, besides itself. A name stands for the module
# or package and all below it; where two rows fit a module, the longer name counts.
LAYERS: dict[str, list[str]] = {
    "pymap.__main__": ["pymap.main"],
    "pymap.main": [
        "pymap.daemon", "pymap.options", "pymap.logs", "pymap.tls", "pymap.auth", "pymap.config",
        "pymap.backend.api", "pymap.backend.errors",
    ],
    "pymap.daemon": [
        "pymap.imap.server", "pymap.plugin", "pymap.auth", "pymap.config", "pymap.logs",
        "pymap.systemd", "pymap.tls", "pymap.backend.api", "pymap.backend.errors",
    ],
    # Options: three places where they stand, one value that they make.
    "pymap.options": [
        "pymap.options.arguments", "pymap.options.explain", "pymap.options.layers",
        "pymap.plugin", "pymap.config", "pymap.backend.api",
    ],
    "pymap.options.arguments": ["pymap.options.layers", "pymap.options.values", "pymap.config"],
    "pymap.options.explain": ["pymap.options.layers"],
    "pymap.options.layers": [],
    "pymap.options.values": [],
    # Services.
    "pymap.admin": [
        "pymap.admin.formats", "pymap.plugin", "pymap.imap", "pymap.auth", "pymap.mime",
        "pymap.wire", "pymap.tls", "pymap.backend.api", "pymap.backend.errors",
    ],
    # Files of mail; those of a Maildir are the backend's.
    "pymap.admin.formats": [
        "pymap.backend.maildir.filenames", "pymap.backend.maildir.keywords",
        "pymap.backend.maildir.layout", "pymap.backend.maildir.uidlist", "pymap.backend.errors",
        "pymap.mime", "pymap.wire",
    ],
    "pymap.http": ["pymap.plugin", "pymap.observer", "pymap.imap.server", "pymap.wire.parse"],
    # The process around the server.
    "pymap.logs": ["pymap.config"],
    "pymap.systemd": [],
    "pymap.tls": ["pymap.config"],
    "pymap.plugin": ["pymap.backend.api", "pymap.backend.errors"],
    "pymap.imap": [
        "pymap.wire", "pymap.mime", "pymap.auth", "pymap.tls", "pymap.observer",
        "pymap.backend.api", "pymap.backend.errors", "pymap.backend.index", "pymap.backend.opened",
        "pymap.backend.quota", "pymap.backend.rights", "pymap.backend.summaries", "pymap.backend.watched",
    ],
    "pymap.auth": ["pymap.backend.api", "pymap.backend.errors"],
    # The concrete stores: dict, maildir, redis, and those of others.
    "pymap.backend": [
        "pymap.backend.index", "pymap.backend.api", "pymap.backend.errors", "pymap.backend.rights",
        "pymap.wire.types", "pymap.wire.search", "pymap.wire.modutf7", "pymap.mime",
    ],
    "pymap.backend.conformance": [
        "pymap.backend.conformance_access", "pymap.backend.conformance_names",
        "pymap.backend.conformance_properties", "pymap.backend.conformance_quota",
        "pymap.backend.conformance_search",
        "pymap.backend.opened", "pymap.backend.index", "pymap.backend.api", "pymap.backend.errors",
        "pymap.backend.rights", "pymap.wire.types", "pymap.mime",
    ],
    "pymap.backend.conformance_access": [
        "pymap.backend.api", "pymap.backend.errors", "pymap.backend.rights",
    ],
    "pymap.backend.conformance_names": ["pymap.backend.api", "pymap.backend.watched"],
    "pymap.backend.conformance_properties": ["pymap.backend.api", "pymap.backend.errors"],
    "pymap.backend.watched": ["pymap.backend.api", "pymap.backend.errors"],
    "pymap.backend.conformance_search": [
        "pymap.backend.api", "pymap.wire.search", "pymap.wire.types",
    ],
    "pymap.backend.summaries": ["pymap.backend.api"],
    "pymap.backend.opened": [
        "pymap.backend.index", "pymap.backend.summaries", "pymap.backend.api",
        "pymap.backend.errors", "pymap.wire.types",
    ],
    "pymap.backend.quota": ["pymap.backend.api", "pymap.backend.errors"],
    "pymap.backend.index": [
        "pymap.backend.api", "pymap.backend.errors", "pymap.wire.types", "pymap.mime",
    ],
    "pymap.backend.api": [
        "pymap.backend.errors", "pymap.backend.rights", "pymap.wire.types", "pymap.wire.search",
        "pymap.mime",
    ],
    "pymap.backend.errors": [],
    "pymap.backend.rights": [],
    "pymap.mime": ["pymap.wire.types"],
    "pymap.wire": [],
    # Plain values, and the package itself with its version: open to all.
    "pymap.config": ["pymap.limits"],
    "pymap.limits": [],
    "pymap.observer": [],
    "pymap": [],
}  # fmt: skip
OPEN_TO_ALL = {"pymap", "pymap.limits", "pymap.config", "pymap.observer"}
FOR_TYPES = {
    "pymap.backend.api": "pymap.backend.index",  # the columns that a mailbox hands over
    "pymap.plugin": "pymap.imap.server",  # what a service runs beside
}
NO_IO = ["pymap.wire", "pymap.mime", "pymap.imap.view"]
CLOCKS = r"time\.(time|monotonic|perf_counter|sleep)(_ns)?|datetime\.(now|today|utcnow)"

MODULES: dict[str, Path] = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "pymap").rglob("*.py"))
}


def within(module: str, layer: str) -> bool:
    return module == layer or module.startswith(layer + ".")


def layer_of(module: str) -> str:
    """The row of the table that a module belongs to; a store's own name for each store."""
    row = max((layer for layer in LAYERS if within(module, layer)), key=len)
    if row == "pymap.backend":
        return ".".join(module.split(".")[:3])
    return module if row == "pymap" else row  # "pymap" is the package's own file, not what is in it


class Import(NamedTuple):
    name: str
    line: int
    for_types: bool


def imports(module: str, path: Path) -> Iterator[Import]:
    """Everything that a module imports; relative names are resolved."""
    package = module.split(".")
    if path.name != "__init__.py":
        package.pop()
    tree = ast.parse(path.read_bytes(), str(path))
    for_types = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for statement in block.body
        for node in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package[: len(package) + 1 - node.level] if node.level else []
            source = ".".join([*parents, *filter(None, [node.module])])
            members = [f"{source}.{alias.name}" for alias in node.names]
            names = [member if member in MODULES else source for member in members]
        else:
            continue
        for name in names:
            yield Import(name, node.lineno, id(node) in for_types)


def allowed(module: str, imported: str) -> bool:
    layer = layer_of(module)
    if imported in OPEN_TO_ALL:
        return layer not in OPEN_TO_ALL or imported in LAYERS[layer]
    if layer_of(imported) == layer:
        return True
    row = LAYERS[layer] if layer in LAYERS else LAYERS["pymap.backend"]
    return any(within(imported, other) for other in row)


@pytest.mark.parametrize("module", MODULES)
def test_module_has_a_layer(module: str) -> None:
    layer = layer_of(module)
    assert layer in LAYERS or within(layer, "pymap.backend"), "give it a row in LAYERS"


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_one_way(module: str) -> None:
    backwards = [
        f"{module}, line {line}: {name}"
        for name, line, for_types in imports(module, MODULES[module])
        if within(name, "pymap") and not allowed(module, name)
        if not (for_types and FOR_TYPES.get(module) == name)
    ]
    assert not backwards


@pytest.mark.parametrize("module", [m for m in MODULES if any(within(m, n) for n in NO_IO)])
def test_core_has_no_io_and_no_clock(module: str) -> None:
    foreign = {"asyncio", "select", "selectors", "socket", "ssl", "threading"}
    assert not [i for i in imports(module, MODULES[module]) if i.name.split(".")[0] in foreign]
    for node in ast.walk(ast.parse(MODULES[module].read_bytes())):
        assert not isinstance(node, ast.AsyncFunctionDef), node.name
        if isinstance(node, ast.Call):
            assert not re.fullmatch(CLOCKS, ast.unparse(node.func)), node.lineno


def test_the_rules_see_an_arrow_backwards() -> None:
    assert allowed("pymap.imap.fetch", "pymap.wire.types")
    assert allowed("pymap.imap.fetch", "pymap.imap.view")
    assert allowed("pymap.backend.maildir.index", "pymap.backend.maildir.files")
    assert allowed("pymap.wire.framer", "pymap.limits")
    assert not allowed("pymap.wire.framer", "pymap.mime.parse")
    assert not allowed("pymap.mime.parse", "pymap.wire.encode")
    assert not allowed("pymap.imap.fetch", "pymap.backend.dict")
    assert not allowed("pymap.main", "pymap.backend.dict")
    assert not allowed("pymap.backend.dict.mailbox", "pymap.imap.session")
    assert not allowed("pymap.backend.maildir", "pymap.backend.dict")
    assert not allowed("pymap.backend.index", "pymap.backend.dict")
    assert not allowed("pymap.limits", "pymap.config")
