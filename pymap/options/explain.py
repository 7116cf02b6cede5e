"""The options as text: an example of a configuration file, what counts, a table for the manual."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from pymap.options.layers import Entry, Given, Layer, Option, Pairs

__all__ = ["example", "show", "table"]

EXAMPLE = """\
# A configuration file for pymap, with every option there is. A line counts without its first #; the
# values are the defaults or, in capitals, say what is to stand there.
#
# The environment wins over this file (PYMAP_TLS_PORT over tls-port), the command line over both. A
# relative path is relative to the directory of this file. What may be repeated is a list. Any value
# may be kept in a file of its own: { file = "/run/secrets/x" }.
"""


def example(options: Sequence[Option]) -> str:
    """A TOML file with every option, its help and its default, all of it as comments."""
    parts = [EXAMPLE]
    for section in _sections(options):
        parts.append(section.heading)
        for option in section.options:
            if isinstance(option.action, Pairs):
                for name, default, text in option.action.entries():
                    parts.append(_comment(text) + f"#{name} = {_number_or_text(default)}\n")
            else:
                parts.append(_comment(_meaning(option)) + f"#{option.name} = {_sample(option)}\n")
    return "\n".join(parts)


def show(options: Sequence[Option], layers: Sequence[Layer]) -> str:
    """A TOML file of what counts, with comments on where it comes from. `layers` from the lowest
    to the highest."""
    parts: list[str] = []
    for section in _sections(options):
        parts.append(f"\n{section.heading}" if parts else section.heading)
        for option in section.options:
            if isinstance(option.action, Pairs):
                parts += [_pair(option, entry, layers) for entry in option.action.entries()]
            else:
                parts.append(_single(option, layers))
    return "".join(parts)


def table(options: Sequence[Option], in_file: Sequence[Option]) -> str:
    """Markdown, a table for each section. Those of a backend come last."""
    parts = []
    for section in _sections(options):
        title = f"The backend `{section.table}`" if section.options[0].table else section.title
        parts.append(f"\n## {title[0].upper()}{title[1:]}\n\n")
        parts.append("| option | in the file | in the environment | default | |\n")
        parts.append("|---|---|---|---|---|\n")
        for option in section.options:
            if isinstance(option.action, Pairs):
                for name, default, text in option.action.entries():
                    flag, key = (
                        f"{option.action.option_strings[-1]} {name}=",
                        f"{option.key}.{name}",
                    )
                    parts.append(_row(flag, key, f"{option.variable}={name}=", default, text))
            else:
                default, text = _default(option), _meaning(option)
                key = option.shown if option in in_file else ""
                parts.append(_row(_invocation(option), key, option.variable, default, text))
    return "".join(parts).lstrip("\n")


class _Section(NamedTuple):
    """Options under one heading; `table` is their table in a file, "" if they stand in none."""

    title: str
    table: str
    options: list[Option]

    @property
    def heading(self) -> str:
        return f"[{self.table}]\n" if self.table else f"# -- {self.title} --\n"


def _sections(options: Sequence[Option]) -> Iterator[_Section]:
    """In the order that a TOML file needs: what stands in tables comes last."""
    found: dict[tuple[str, str], list[Option]] = {}
    for option in options:
        # argparse's own titles; what is in them comes from services.
        title = {"options": "services"}.get(option.section, option.section)
        table = option.action.table if isinstance(option.action, Pairs) else option.table
        found.setdefault((table, table or title), []).append(option)
    for (table, title), members in sorted(found.items(), key=lambda item: item[0][0] != ""):
        yield _Section(title, table, members)


# -- an option in words --


def _meaning(option: Option) -> str:
    """Its help, without the default that is shown beside it."""
    action = option.action
    words = {**vars(action), "default": option.default, "prog": option.parser.prog}
    text = (action.help or "") % words
    return re.sub(r" *\(default: [^()]*\)$", "", text) if _default(option) else text


def _metavar(option: Option) -> str:
    action = option.action
    if isinstance(action.metavar, tuple):
        return " ".join(action.metavar)
    if action.metavar is None and action.choices is not None:
        return "|".join(str(choice) for choice in action.choices)
    return action.metavar or action.dest.upper()


def _invocation(option: Option) -> str:
    strings = option.action.option_strings
    if option.flag:
        return ", ".join(strings)
    return " ".join([*strings[-1:], _metavar(option)])


def _default(option: Option) -> str:
    value = option.default
    if value in (None, False, []):
        return ""
    if isinstance(value, float):
        return f"{value:.15g}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _row(*cells: str) -> str:
    *code, text = (cell.replace("|", r"\|") for cell in cells)
    return f"| {' | '.join(f'`{cell}`' if cell else '' for cell in code)} | {text} |\n"


# -- an option in TOML --


def _comment(text: str) -> str:
    return textwrap.fill(text, 100, initial_indent="# ", subsequent_indent="# ") + "\n"


def _sample(option: Option) -> str:
    if option.default not in (None, []):
        return _toml(option.default)
    return _toml([_metavar(option)] if option.many else _metavar(option))


def _single(option: Option, layers: Sequence[Layer]) -> str:
    given = next((layer[option.key] for layer in reversed(layers) if option.key in layer), None)
    if given is None and option.default is None:
        return f"# {option.name} is not set\n"
    value, source, hidden = given or Given(option.default, "default")
    if hidden or option.secret:
        return f"# {option.name} is not shown  # {source}\n"
    return f"{option.name} = {_toml('none' if value is None else value)}  # {source}\n"


def _pair(option: Option, entry: Entry, layers: Sequence[Layer]) -> str:
    for layer in reversed(layers):
        given = layer.get(option.key)
        if given is not None and entry.name in given.value:
            return f"{entry.name} = {_toml(given.value[entry.name])}  # {given.source}\n"
    return f"{entry.name} = {_number_or_text(entry.default)}  # default\n"


def _number_or_text(text: str) -> str:
    return text if text.isdigit() else _toml(text)


# Up to the last @: one that is not written as %40 belongs to the password.
PASSWORD_IN_URL = re.compile(r"(?<=://)([^/\s:]*):[^\s]*@|\b(password=)[^&\s]*")


def _toml(value: Any) -> str:
    """Passwords in URLs are left out."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value:.15g}"
    if isinstance(value, list):
        return f"[{', '.join(_toml(part) for part in value)}]"
    if isinstance(value, tuple):  # HOST:PORT, which its `type` has taken apart
        value = ":".join(f"[{part}]" if ":" in str(part) else str(part) for part in value)
    # A name of a file need not be text; JSON writes all other texts as TOML does.
    text = str(value).encode("utf-8", "replace").decode("utf-8")
    shown = PASSWORD_IN_URL.sub(lambda m: f"{m[1]}:***@" if m[2] is None else f"{m[2]}***", text)
    return json.dumps(shown, ensure_ascii=False).replace("\x7f", r"\u007f")
