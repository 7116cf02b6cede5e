"""Prints docs/options.md from the options themselves: ``python -m docs.options``."""

from __future__ import annotations

from pymap.options import Catalogue
from pymap.options.explain import table
from pymap.plugin import backends, services

HEAD = """\
# Options

<!-- Written by scripts/options from the options themselves; changes belong there. -->

Each option may stand on the command line, in the environment or in the configuration file;
[configuration.md](configuration.md) says how the three come together. On the command line, options
of the server stand before the name of the backend, those of the backend after it.

What may be repeated is a list in the file, and has commas in the environment. A time is in seconds,
or `90s`, `15m`, `1h`, `1d`; a size is in octets, or `64K`, `1M`, `1G`.

"""


def catalogue() -> Catalogue:
    """Without plugins of others, which this machine may have."""
    found, beside = backends(), services()
    for plugins in (found.found, beside.found):
        for name, plugin in [*plugins.items()]:
            if not plugin.__module__.startswith("pymap."):
                del plugins[name]
    return Catalogue(found, beside)


def page() -> str:
    listed = catalogue()
    return HEAD + table(listed.options, listed.in_file)


if __name__ == "__main__":
    print(page(), end="")
