"""Options from three places: the command line, the environment, a TOML file.

argparse holds the one list of options, with types, choices, defaults and help; no option is known
by name here. What the environment and the file say goes through the same types and choices, and
then through the option's own action, as if it had stood on the command line.

Rule 1: the command line wins over the environment, the environment over the file, the file over
        the default.
Rule 2: a list replaces the list of a lower place. `Pairs` are joined, name by name.
Rule 3: where the command line has ``--tls-port``, the environment has ``PYMAP_TLS_PORT`` and the
        file ``tls-port``. Options of a subcommand have its name in front: ``PYMAP_MAILDIR_LAYOUT``.
        A table of the file is the beginning of the names in it: ``[maildir] layout``.
Rule 4: what is unknown or not allowed in the file is an error, and all errors are told at once.
"""

from __future__ import annotations

import argparse
import re
from argparse import SUPPRESS, Action, ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

__all__ = [
    "Entry",
    "Given",
    "Layer",
    "Option",
    "Pairs",
    "from_command_line",
    "from_environment",
    "from_file",
    "namespace",
    "options_of",
    "read_secret",
    "suggestion",
    "unknown_variables",
]

PREFIX = "PYMAP_"
LARGEST_SECRET = 64 * 1024
SECRET = re.compile("password|secret|token", re.IGNORECASE)
TRUTH = {"true": True, "yes": True, "on": True, "1": True}
TRUTH |= {"false": False, "no": False, "off": False, "0": False}
_ABSENT: Any = object()


class Entry(NamedTuple):
    """A name that a pair may have: its default as an operator writes it, and what it is."""

    name: str
    default: str
    help: str


class Pairs(Action):
    """An option ``NAME=VALUE`` that may be repeated, a table in the file. Its `type` gives a tuple
    of both; `entries` lists the names there are, when somebody asks."""

    def __init__(
        self, *args: Any, table: str, entries: Callable[[], Sequence[Entry]], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.table = table
        self.entries = entries

    def __call__(
        self,
        parser: ArgumentParser,
        namespace: Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        name, value = values
        setattr(namespace, self.dest, {**getattr(namespace, self.dest, {}), name: value})


@dataclass(frozen=True, slots=True)
class Option:
    """An option, wherever it is given. `table` is the subcommand that it belongs to, "" for none;
    `section` the group under which ``--help`` lists it."""

    name: str
    table: str
    section: str
    parser: ArgumentParser
    action: Action
    default: Any
    required: bool

    @property
    def key(self) -> str:
        """Its name in the file, written without tables."""
        if isinstance(self.action, Pairs):
            return self.action.table
        return f"{self.table}-{self.name}" if self.table else self.name

    @property
    def shown(self) -> str:
        """Its name in the file, as an operator writes it."""
        return f"{self.table}.{self.name}" if self.table else self.key

    @property
    def variable(self) -> str:
        name = f"{self.table}-{self.name}" if self.table else self.name
        return PREFIX + name.upper().replace("-", "_")

    @property
    def flag(self) -> bool:
        return self.action.nargs == 0

    @property
    def many(self) -> bool:
        """Whether it has a list of values."""
        repeated = isinstance(self.action, Pairs | argparse._AppendAction)
        return repeated or self.action.nargs not in (None, "?", 0)

    @property
    def secret(self) -> bool:
        """Whether its value is not to be shown: by its name, or that of its value."""
        words = f"{self.name} {self.action.metavar or ''}"
        return self.action.type is not Path and SECRET.search(words) is not None


class Given(NamedTuple):
    """A value and where it comes from; `hidden` if it was kept in a file of its own."""

    value: Any
    source: str
    hidden: bool = False


Layer = Mapping[str, Given]
"""What one place says, by `Option.key`."""


def options_of(parser: ArgumentParser, table: str = "") -> list[Option]:
    """The options of a parser, which forgets their defaults and what is required: what it parses
    from now on is what was given. They keep both, and --help shows the defaults as before."""
    sections = {id(a): g.title or "" for g in parser._action_groups for a in g._group_actions}
    options = []
    for action in parser._actions:  # argparse has no public list of them
        if action.default is SUPPRESS or action.nargs in (argparse.PARSER, argparse.REMAINDER):
            continue  # --help, --version; subcommands
        long = next((text for text in action.option_strings if text.startswith("--")), action.dest)
        name = long.removeprefix("--").replace("_", "-")
        section = sections.get(id(action), "")
        default, required = action.default, action.required
        if not action.option_strings and action.nargs == "*":  # argparse says of some: required
            default, required = default or [], False
        if isinstance(default, str) and callable(action.type):
            default = action.type(default)
        options.append(Option(name, table, section, parser, action, default, required))
        action.required = False
        if action.help:
            action.help = _with_default(action.help, default)
        if action.option_strings:
            action.default = SUPPRESS
        elif action.nargs in (None, "?"):
            # Not SUPPRESS, which is a text that argparse would hand to `type`.
            action.nargs, action.default = "?", _ABSENT
        else:
            action.nargs, action.default = "*", None
    return options


def _with_default(text: str, default: object) -> str:
    """Help with its ``%(default)s`` put in, for argparse is about to lose it."""

    def put_in(found: re.Match[str]) -> str:
        return (found[0] % {"default": default}).replace("%", "%%")

    return re.sub(r"%\(default\)[a-z]", put_in, text)


def from_command_line(options: Iterable[Option], parsed: Namespace) -> Layer:
    """What stood on the command line, parsed by the parser of these options."""
    given = vars(parsed)
    layer = {}
    for option in options:
        value = given.get(option.action.dest, _ABSENT)
        empty = not option.action.option_strings and value == []
        if value is not _ABSENT and not empty:
            layer[option.key] = Given(value, "command line")
    return layer


def from_environment(
    options: Sequence[Option], environ: Mapping[str, str], problems: list[str]
) -> Layer:
    """Each option from its variable, or from the file that this variable with ``_FILE`` names.
    Lists have commas in a variable, and lines in a file."""
    variables = {option.variable for option in options}
    layer = {}
    for option in options:
        plain, file = option.variable, f"{option.variable}_FILE"
        found = [plain] if plain in environ else []
        if file in environ and file not in variables:
            found.append(file)
        if len(found) > 1:
            problems.append(f"{plain} and {file}: only one of them can count")
            continue
        for name in found:
            hidden = name == file
            try:
                if hidden:
                    value = _from_text(option, read_secret(Path(environ[file])), "\n", hidden)
                else:
                    value = _from_text(option, environ[plain], ",")
            except ValueError as error:
                problems.append(f"{name}: {error}")
            else:
                layer[option.key] = Given(value, name, hidden)
    return layer


def unknown_variables(
    options: Iterable[Option], environ: Mapping[str, str], missing: Iterable[str]
) -> list[str]:
    """A line on each variable that looks like an option and is none. They are no errors: others
    set some as well (PYMAP_VERSION in an image, PYMAP_SERVICE_HOST in Kubernetes)."""
    known = {option.variable.removeprefix(PREFIX) for option in options}
    known |= {f"{name}_FILE" for name in known}
    others = tuple(f"{name.upper().replace('-', '_')}_" for name in missing)
    names = sorted(name.removeprefix(PREFIX) for name in environ if name.startswith(PREFIX))
    return [
        f"{PREFIX}{name} in the environment is no option{suggestion(name, known, PREFIX)}"
        for name in names
        if name not in known and not name.startswith(others)
    ]


def from_file(
    options: Iterable[Option], path: Path, missing: Mapping[str, str], problems: list[str]
) -> Layer:
    """What a TOML file says. Relative paths in it are relative to the directory that it is in.
    `missing` says of plugins that could not be loaded why their names are unknown."""
    import tomllib

    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        problems.append(f"{path}: {error.strerror or error}")
    except UnicodeDecodeError:
        problems.append(f"{path}: not UTF-8")
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        problems.append(f"{path}: not TOML: {error}")
    else:
        return _File(options, path, missing, problems).layer(content)
    return {}


class _File:
    """Finds the options in the tables of a file."""

    def __init__(
        self,
        options: Iterable[Option],
        path: Path,
        missing: Mapping[str, str],
        problems: list[str],
    ) -> None:
        self.options = {option.key: option for option in options}
        self.path = path
        self.missing = missing
        self.problems = problems
        self.found: dict[str, Given] = {}

    def layer(self, content: Mapping[str, Any]) -> Layer:
        self._table(content, "", "")
        return self.found

    def _table(self, table: Mapping[str, Any], before: str, shown: str) -> None:
        for name, value in table.items():
            key, place = before + name.replace("_", "-"), shown + name
            option = self.options.get(key)
            if self._goes_deeper(key, option, value):
                self._table(value, f"{key}-", f"{place}.")
            elif option is None:
                self._problem(place, self._unknown(key, place, value))
            elif key in self.found:
                self._problem(place, "stands here twice, written in two ways")
            elif isinstance(option.action, Pairs) and not _is_secret(value):
                if not isinstance(value, dict):
                    self._problem(place, f"needs a table, not {_kind(value)}")
                    continue
                for part, one in value.items():
                    self._option(option, {part: one}, f"{place}.{part}")
            else:
                self._option(option, value, place)

    def _option(self, option: Option, value: Any, place: str) -> None:
        try:
            given, hidden = self._value(option, value)
        except ValueError as error:
            self._problem(place, str(error))
            return
        if option.key in self.found:  # another pair
            before = self.found[option.key]
            given, hidden = {**before.value, **given}, hidden or before.hidden
        self.found[option.key] = Given(given, str(self.path), hidden)

    def _goes_deeper(self, key: str, option: Option | None, value: object) -> bool:
        """Whether this is a table of options, and no value of one."""
        if option is not None and (_is_secret(value) or isinstance(option.action, Pairs)):
            return False
        return isinstance(value, dict) and any(k.startswith(f"{key}-") for k in self.options)

    def _problem(self, place: str, text: str) -> None:
        self.problems.append(f"{self.path}: {place}: {text}")

    def _unknown(self, key: str, place: str, value: object) -> str:
        for name, why in self.missing.items():
            if key == name or key.startswith(f"{name}-"):
                return why
        if any(known.startswith(f"{key}-") for known in self.options):
            return f"needs a table, not {_kind(value)}"
        options = self.options.values()
        last = place.rpartition(".")[2].replace("_", "-")
        if same := [option.shown for option in options if option.name == last]:
            return f"unknown option{_did_you_mean(same)}"
        tables = {option.shown.partition(".")[0] for option in options}
        return f"unknown option{suggestion(place, tables | {option.shown for option in options})}"

    def _value(self, option: Option, value: Any) -> tuple[Any, bool]:
        """And whether it, or a part of it, stood in a file of its own."""
        if _is_secret(value):
            text = self._text(value)
            return self._placed(_from_text(option, text, "\n", hidden=True)), True
        if option.flag:
            if not isinstance(value, bool):
                raise ValueError(f"needs true or false, not {_kind(value)}")
            return _flag(option, value), False
        parts: list[Any]
        if isinstance(option.action, Pairs):
            parts = [*value.values()]
            texts = [f"{name}={self._text(part)}" for name, part in value.items()]
        else:
            parts = value if option.many and isinstance(value, list) else [value]
            texts = [self._text(part) for part in parts]
        hidden = any(_is_secret(part) for part in parts)
        return self._placed(_values(option, texts, hidden)), hidden

    def _text(self, value: Any) -> str:
        if _is_secret(value):
            return read_secret(self.path.parent / value["file"])
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError(f"needs text or a number, not {_kind(value)}")
        return str(value)

    def _placed(self, value: Any) -> Any:
        if isinstance(value, Path):
            return self.path.parent / value
        return [self._placed(part) for part in value] if isinstance(value, list) else value


def _is_secret(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"file"} and isinstance(value["file"], str)


def read_secret(path: Path) -> str:
    """What a file holds, without the end of its last line. Raises ValueError, which names it."""
    try:
        with path.open("rb") as file:
            octets = file.read(LARGEST_SECRET + 1)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if len(octets) > LARGEST_SECRET:
        raise ValueError(f"{path}: larger than {LARGEST_SECRET} octets")
    try:
        return octets.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not UTF-8") from None


def _kind(value: object) -> str:
    kinds = {bool: "true or false", str: "text", int: "a number", float: "a number"}
    return (kinds | {list: "a list", dict: "a table"}).get(type(value), "a date or time")


# -- as on the command line --


def _from_text(option: Option, text: str, separator: str, hidden: bool = False) -> Any:
    if option.flag:
        truth = TRUTH.get(text.strip().lower())
        if truth is None:
            raise ValueError(f"{_shown(text, hidden)} is none of {', '.join(TRUTH)}")
        return _flag(option, truth)
    parts = [part.strip() for part in text.split(separator)] if option.many else [text]
    return _values(option, [part for part in parts if part] if option.many else parts, hidden)


def _flag(option: Option, value: bool) -> Any:
    if not value:
        boolean = isinstance(option.action, argparse.BooleanOptionalAction)
        return False if boolean else option.default
    return _done(option, [], option.action.option_strings[0])


def _values(option: Option, texts: Sequence[str], hidden: bool) -> Any:
    values = [_converted(option, text, hidden or option.secret) for text in texts]
    if not values:
        return {} if isinstance(option.action, Pairs) else []
    n = option.action.nargs
    if isinstance(n, int) and len(values) != n:
        raise ValueError(f"needs {n} values, not {len(values)}")
    string = option.action.option_strings[0] if option.action.option_strings else None
    if option.action.nargs in (None, "?"):
        return _done(option, *values, string)
    return _done(option, values, string)


def _done(option: Option, *arguments: Any) -> Any:
    """What the option's action leaves behind, called with each value in turn."""
    *values, string = arguments
    result = Namespace()
    try:
        for value in values:
            option.action(option.parser, result, value, string)
    except argparse.ArgumentError as error:
        raise ValueError(error.message) from None
    return getattr(result, option.action.dest)


def _converted(option: Option, text: str, hidden: bool) -> Any:
    action = option.action
    shown = _shown(text, hidden)
    try:
        value = action.type(text) if callable(action.type) else text
    except ArgumentTypeError as error:
        raise ValueError(f"{shown} is not allowed" if hidden else str(error)) from None
    except (TypeError, ValueError):
        kinds = {int: "a whole number", float: "a number"}
        kind = kinds.get(action.type, "allowed")  # type: ignore[call-overload]
        raise ValueError(f"{shown} is not {kind}") from None
    if action.choices is not None and value not in action.choices:
        choices = [str(choice) for choice in action.choices]
        close = "" if hidden else suggestion(text, choices)
        raise ValueError(f"{shown} is none of {', '.join(choices)}{close}")
    return value


def _shown(text: str, hidden: bool) -> str:
    return "its value" if hidden else repr(text)


def suggestion(word: str, known: Iterable[str], prefix: str = "") -> str:
    """`` (did you mean ...?)``, or nothing where nothing comes near."""
    from difflib import get_close_matches

    return _did_you_mean([prefix + name for name in get_close_matches(word, [*known], 1, 0.7)])


def _did_you_mean(names: Sequence[str]) -> str:
    return f" (did you mean {' or '.join(names)}?)" if names else ""


# -- what counts --


def namespace(options: Iterable[Option], *layers: Layer) -> Namespace:
    """The values that count; `layers` from the lowest to the highest."""
    result = Namespace()
    options = tuple(options)
    for option in options:
        setattr(result, option.action.dest, option.default)
    for layer in layers:
        for option in options:
            if (given := layer.get(option.key)) is not None:
                value = given.value
                if isinstance(option.action, Pairs):
                    value = {**getattr(result, option.action.dest), **value}
                setattr(result, option.action.dest, value)
    return result
