"""Prints docs/extensions.md from the capability table: ``python -m docs.extensions``."""

from __future__ import annotations

from pymap.wire.capabilities import CAPABILITIES, Extension

HEAD = """\
# Extensions

<!-- Written by scripts/extensions from pymap/wire/capabilities.py; changes belong there. -->

What the server announces, and what it is good for. *ENABLE* marks what changes nothing until a
client switches it on. Before login `LITERAL-` stands for `LITERAL+`,
and `STARTTLS`, `LOGINDISABLED`, `AUTH=PLAIN` and `AUTH=LOGIN` (RFC 9051 6.2, RFC 4616) are
announced as they apply.

| capability | defined in | good for | backends | |
|---|---|---|---|---|
"""


def page() -> str:
    return HEAD + "".join(map(row, CAPABILITIES))


def row(e: Extension) -> str:
    switched = "*ENABLE*" if e.can_enable else ""
    return f"| `{e.name}` | {e.rfc} | {e.purpose} | {e.needs.value} | {switched} |\n"


if __name__ == "__main__":
    print(page(), end="")
