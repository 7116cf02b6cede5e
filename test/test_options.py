"""Options from the command line, the environment and a file; what is said when they are wrong."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tomllib
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from docs.options import catalogue, page
from pymap import plugin
from pymap.backend.api import Account, Backend
from pymap.backend.dict import DictBackend
from pymap.config import AuthConfig, Config
from pymap.limits import Limits
from pymap.options import Options, read, values
from pymap.options.arguments import config_of, parser_of
from pymap.options.explain import example
from pymap.options.layers import (
    Option,
    Pairs,
    from_command_line,
    from_environment,
    from_file,
    namespace,
)
from pymap.plugin import Service

if TYPE_CHECKING:
    from pymap.imap.server import Server

ROOT = Path(__file__).parents[1]


class Twice(argparse.Action):
    """An action of somebody's own."""

    def __call__(
        self, parser: ArgumentParser, namespace: Namespace, values: Any, _: str | None = None
    ) -> None:
        if values == "never":
            raise argparse.ArgumentError(self, "never is not often enough")
        setattr(namespace, self.dest, values * 2)


class Store(Backend):
    """A store with options of every kind."""

    def __init__(self, args: Namespace) -> None:
        self.args = args

    def account(self, user: str) -> AbstractAsyncContextManager[Account]:
        raise NotImplementedError

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        parser.add_argument("place", type=Path)
        parser.add_argument("more", nargs="*")
        parser.add_argument("--host", help="not the server's (default: %(default)s)", default="db")
        parser.add_argument("--level", type=int, default="7", choices=[7, 8, 9])
        parser.add_argument("--ratio", type=float)
        parser.add_argument("--slow", action="store_true")
        parser.add_argument("--no-sync", action="store_false", dest="sync")
        parser.add_argument("--mode", action="store_const", const="fast", default="safe")
        parser.add_argument("--cache", action=argparse.BooleanOptionalAction, default=True)
        parser.add_argument("--tag", action="append", default=["none"])
        parser.add_argument("--range", nargs=2, type=int, metavar=("FROM", "TO"))
        parser.add_argument("--near", type=lambda text: tuple(text.rsplit("/", 1)))
        parser.add_argument("--twice", action=Twice)
        parser.add_argument("--db-password", default="open")
        parser.add_argument("-q", dest="quiet", action="store_true")

    @classmethod
    def from_args(cls, args: Namespace) -> Self:
        return cls(args)


class Wrapper(Store):
    """A store that hands on what it does not know."""

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        parser.add_argument("--own")
        parser.add_argument("rest", nargs=argparse.REMAINDER)


class Aside(Service):
    """A service with options."""

    def __init__(self, args: Namespace) -> None:
        self.args = args

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        parser.add_argument("--aside-socket", type=Path, default=Path("default"))

    @classmethod
    def from_args(cls, args: Namespace) -> Self:
        return cls(args)

    def run(self, server: Server) -> AbstractAsyncContextManager[None]:
        raise NotImplementedError


ENTRIES = {
    "pymap.backend": [
        EntryPoint("dict", "pymap.backend.dict:DictBackend", "pymap.backend"),
        EntryPoint("store", f"{__name__}:Store", "pymap.backend"),
        EntryPoint("wrapper", f"{__name__}:Wrapper", "pymap.backend"),
        EntryPoint("absent", "no_such_module_of_anyone:Backend [extra]", "pymap.backend"),
    ],
    "pymap.service": [
        EntryPoint("aside", f"{__name__}:Aside", "pymap.service"),
        EntryPoint("away", "no_such_module_of_anyone:Service [extra]", "pymap.service"),
    ],
}

Ask = Callable[..., Options]
Refuse = Callable[..., list[str]]


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin, "entry_points", lambda group: ENTRIES[group])


@pytest.fixture
def ask(entries: None, tmp_path: Path) -> Ask:
    """What is asked for: options, with a file and variables (whose PYMAP_ is left out)."""

    def asked(*argv: str, file: str | None = None, **environ: str) -> Options:
        if file is not None:
            (tmp_path / "pymap.toml").write_text(file, "utf-8")
            argv = ("--config", str(tmp_path / "pymap.toml"), *argv)
        return read(argv, {f"PYMAP_{name}": value for name, value in environ.items()})

    return asked


@pytest.fixture
def refuse(ask: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refuse:
    """The lines that are said against options, without the name of the file."""

    def refused(*argv: str, file: str | None = None, **environ: str) -> list[str]:
        with pytest.raises(SystemExit) as ended:
            ask(*argv, file=file, **environ)
        assert ended.value.code == 2
        said = capsys.readouterr().err.replace(f"{tmp_path}/pymap.toml: ", "")
        lines = [line for line in said.splitlines() if not line.startswith(("usage: ", "  "))]
        return [line.removeprefix("pymap: ") for line in lines]

    return refused


def store(options: Options) -> Namespace:
    assert isinstance(options.backend, Store)
    return options.backend.args


# -- which place counts --

# kind: (read it, default, file, its value, variable, its value, arguments, their value)
KINDS: dict[str, tuple[Any, ...]] = {
    "number": (
        lambda o: o.config.port, 143,
        "port = 1", 1, {"PORT": "2"}, 2, ["--port", "3"], 3,
    ),
    "nothing": (
        lambda o: o.config.port, 143,
        "port = 1", 1, {"PORT": "none"}, None, ["--port", "3"], 3,
    ),
    "text": (
        lambda o: o.config.set_uid, None,
        "set-uid = 'a'", "a", {"SET_UID": "b"}, "b", ["--set-uid", "c"], "c",
    ),
    "empty text": (
        lambda o: o.config.auth.master_separator, "*",
        "master-separator = '+'", "+", {"MASTER_SEPARATOR": ""}, "", ["--master-separator", "/"], "/",
    ),
    "number as text": (
        lambda o: o.config.set_uid, None,
        "set-uid = 1000", "1000", {"SET_UID": "0"}, "0", ["--set-uid", "1"], "1",
    ),
    "choice": (
        lambda o: o.config.log_level, "info",
        "[log]\nlevel = 'debug'", "debug", {"LOG_LEVEL": "error"}, "error",
        ["--log-level", "warning"], "warning",
    ),
    "path": (
        lambda o: o.config.pid_file, None,
        "pid-file = '/a'", Path("/a"), {"PID_FILE": "b"}, Path("b"), ["--pid-file", "c"], Path("c"),
    ),
    "time": (
        lambda o: o.config.drain_s, 5,
        "drain = 0.5", 0.5, {"DRAIN": "2m"}, 120, ["--drain", "1h"], 3600,
    ),
    "switch": (
        lambda o: o.config.debug, False,
        "debug = true", True, {"DEBUG": "no"}, False, ["--debug"], True,
    ),
    "switch back": (
        lambda o: o.config.insecure_login, False,
        "insecure_login = false", False, {"INSECURE_LOGIN": "Yes"}, True,
        ["--no-insecure-login"], False,
    ),
    "list": (
        lambda o: o.config.hosts, (),
        "host = ['a', 'b']", ("a", "b"), {"HOST": "c, d,"}, ("c", "d"),
        ["--host", "e", "--host", "f"], ("e", "f"),
    ),
    "list of one": (
        lambda o: o.config.proxy_from, (),
        "proxy-from = '10.0.0.0/8'", ("10.0.0.0/8",), {"PROXY_FROM": ""}, (),
        ["--proxy-from", "::1"], ("::1/128",),
    ),
    "list with a default": (
        lambda o: store(o).tag, ["none"],
        "[store]\ntag = []", [], {"STORE_TAG": "a,b"}, ["a", "b"], ["store", "--tag", "c"], ["c"],
    ),
    "backend": (
        lambda o: type(o.backend), Store,
        "backend = 'dict'\n[dict]\ndemo-data = true", DictBackend,
        {"BACKEND": "store"}, Store, ["dict", "--demo-data"], DictBackend,
    ),
    "of a backend": (
        lambda o: store(o).level, 7,
        "[store]\nlevel = 8", 8, {"STORE_LEVEL": "9"}, 9, ["store", "--level", "7"], 7,
    ),
    "of a backend, written flat": (
        lambda o: store(o).ratio, None,
        "store-ratio = 1", 1.0, {"STORE_RATIO": "1e3"}, 1000.0, ["store", "--ratio", ".5"], 0.5,
    ),
    "of a backend, named as the server's": (
        lambda o: (store(o).host, o.config.hosts), ("db", ()),
        "host = 'a'\n[store]\nhost = 'b'", ("b", ("a",)), {"STORE_HOST": "c"}, ("c", ("a",)),
        ["--host", "d", "store", "--host", "e"], ("e", ("d",)),
    ),
    "flag": (
        lambda o: store(o).slow, False,
        "store.slow = true", True, {"STORE_SLOW": "0"}, False, ["store", "--slow"], True,
    ),
    "flag that switches off": (
        lambda o: store(o).sync, True,
        "store.no-sync = true", False, {"STORE_NO_SYNC": "off"}, True, ["store", "--no-sync"], False,
    ),
    "flag with a value": (
        lambda o: store(o).mode, "safe",
        "store.mode = true", "fast", {"STORE_MODE": "false"}, "safe", ["store", "--mode"], "fast",
    ),
    "flag that is on": (
        lambda o: store(o).cache, True,
        "store.cache = false", False, {"STORE_CACHE": "on"}, True, ["store", "--no-cache"], False,
    ),
    "short flag": (
        lambda o: store(o).quiet, False,
        "store.quiet = true", True, {"STORE_QUIET": "FALSE"}, False, ["store", "-q"], True,
    ),
    "some values": (
        lambda o: store(o).range, None,
        "store.range = [1, 2]", [1, 2], {"STORE_RANGE": "3,4"}, [3, 4],
        ["store", "--range", "5", "6"], [5, 6],
    ),
    "an action of its own": (
        lambda o: store(o).twice, None,
        "store.twice = 'a'", "aa", {"STORE_TWICE": "b"}, "bb", ["store", "--twice", "c"], "cc",
    ),
    "positional": (
        lambda o: store(o).place, Path("default"),
        "store.place = '/a'", Path("/a"), {"STORE_PLACE": "b"}, Path("b"),
        ["store", "--slow", "c"], Path("c"),
    ),
    "positional list": (
        lambda o: store(o).more, [],
        "store.more = ['a', 'b']", ["a", "b"], {"STORE_MORE": "c"}, ["c"],
        ["store", "x", "d", "--slow"], ["d"],
    ),
    "of a service": (
        lambda o: o.services[0].args.aside_socket, Path("default"),
        "[aside]\nsocket = '/a'", Path("/a"), {"ASIDE_SOCKET": "b"}, Path("b"),
        ["--aside-socket", "c"], Path("c"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_line_counts_before_the_environment_before_the_file(
    ask: Ask, kind: str
) -> None:
    value, default, file, in_file, variables, in_environment, arguments, on_the_line = KINDS[kind]
    rest = {"STORE_PLACE": "default"}
    if kind == "backend":
        rest["BACKEND"] = "store"
    elif "dict" not in arguments:
        file = f"backend = 'store'\n{file}"
        rest["BACKEND"] = "store"
    assert value(ask(**rest)) == default
    chosen = rest | variables
    for name in variables:
        rest.pop(name, None)
    assert value(ask(file=file, **rest)) == in_file
    assert value(ask(file=file, **chosen)) == in_environment
    assert value(ask(*arguments, file=file, **chosen)) == on_the_line
    assert value(ask(*arguments, **rest)) == on_the_line


def test_limits_are_joined_one_by_one(ask: Ask) -> None:
    limits = ask(
        "--limit", "line=1", "--limit", "keyword=2", "dict", "--demo-data",
        file="[limits]\nline = 9\nappend = '25M'\nidle-timeout-s = '1h'\nflags = 7",
        LIMIT="keyword=9, flags=8,append_total=64k",
    ).config.limits  # fmt: skip
    assert limits == Limits(
        line=1, keyword=2, append=25 * 2**20, append_total=65536, flags=8, idle_timeout_s=3600
    )


def test_quotas(ask: Ask) -> None:
    found = ask(
        "--quota-storage", "5G", "dict", "--demo-data",
        file="quota-mailboxes = 7", QUOTA_MESSAGES="2k",
    ).config.extensions  # fmt: skip
    assert (found.quota_storage, found.quota_messages, found.quota_mailboxes) == (5 << 30, 2048, 7)


def test_without_any_option_all_is_as_config_has_it(ask: Ask) -> None:
    options = ask("dict", "--demo-data")
    assert options.config == Config()
    assert options.config.auth == AuthConfig()
    assert not options.only_check
    assert options.notes == ()


def test_keys_belong_to_certificates_in_their_order(ask: Ask) -> None:
    tls = ask("--cert", "a", "--key", "b", "--cert", "c", "dict", "--demo-data").config.tls
    assert tls is not None
    assert (tls.certs, tls.keys) == ((Path("a"), Path("c")), (Path("b"),))


def test_paths_in_the_file_are_relative_to_it(ask: Ask, tmp_path: Path) -> None:
    options = ask(
        file="backend = 'store'\ncert = ['a', '/b']\n[store]\nplace = 'c/d'\nhost = 'e'", KEY="f"
    )
    assert options.config.tls is not None
    assert options.config.tls.certs == (tmp_path / "a", Path("/b"))
    assert options.config.tls.keys == (Path("f"),)
    assert store(options).place == tmp_path / "c/d"
    assert store(options).host == "e"


def test_a_variable_may_name_the_file(entries: None, tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("port = 1\nbackend = 'dict'\ndict.demo-data = true")
    assert read([], {"PYMAP_CONFIG": str(path)}).config.port == 1


def test_the_backend_of_the_command_line_takes_its_own_table(ask: Ask) -> None:
    file = "backend = 'dict'\n[dict]\ndemo-data = true\n[store]\nplace = '/x'"
    assert isinstance(ask(file=file).backend, DictBackend)
    assert store(ask("store", file=file)).place == Path("/x")


def test_tokens(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hush\n")
    file = """
        [oauth]
        introspection = "https://example.org/introspect"
        client-id = "mail"
        client-secret = { file = "secret" }
        claim = "sub"
    """
    oauth = ask("dict", "--demo-data", file=file).config.auth.oauth
    assert oauth is not None
    assert (oauth.client_id, oauth.client_secret, oauth.claim) == ("mail", "hush", ("sub",))
    oauth = ask("dict", "--demo-data", file="oauth.jwks = 'keys.json'").config.auth.oauth
    assert oauth is not None
    assert oauth.jwks == str(tmp_path / "keys.json")
    oauth = ask("--oauth-jwks", "https://example.org/k", "dict", "--demo-data").config.auth.oauth
    assert oauth is not None
    assert oauth.jwks == "https://example.org/k"


# -- every option, through each place --

ALL = catalogue()
SAMPLES = (
    "https://example.org/x", "x", "2", "127.0.0.1/32", "127.0.0.1:9", "line=3", "a=imap://x/",
)  # fmt: skip


def sample(option: Option) -> str:
    """A value that it takes."""
    if option.action.choices is not None:
        return str([*option.action.choices][-1])
    if option.action.type is Path:
        return "/x"
    for text in SAMPLES:
        try:
            option.action.type(text) if callable(option.action.type) else None
        except (ValueError, argparse.ArgumentTypeError):
            continue
        return text
    raise AssertionError("no sample")


@pytest.mark.parametrize("option", ALL.options, ids=lambda option: option.variable)
def test_every_option_is_the_same_from_every_place(option: Option, tmp_path: Path) -> None:
    flag = option.action.option_strings[-1:]
    off = option.flag and option.default is True  # then what can be told is the opposite
    text = ("no" if off else "yes") if option.flag else sample(option)
    name = option.action.option_strings[-1 if off else 0] if option.flag else ""
    parsed = option.parser.parse_args([name] if option.flag else [*flag, text])
    line = from_command_line([option], parsed)
    problems: list[str] = []
    variables = from_environment([option], {option.variable: text}, problems)
    path = tmp_path / "x.toml"
    if isinstance(option.action, Pairs):
        path.write_text(f"[{option.key}]\n{text}")
    else:
        path.write_text(f"{option.shown} = {str(not off).lower() if option.flag else repr(text)}")
    file = from_file([option], path, {}, problems)
    secret = tmp_path / "secret"
    secret.write_text(f"{text}\n")
    kept = from_environment([option], {f"{option.variable}_FILE": str(secret)}, problems)
    path.write_text(f"{option.key} = {{ file = '{secret}' }}")
    apart = from_file([option], path, {}, problems)
    assert problems == []
    found = [namespace([option], layer) for layer in (line, variables, file, kept, apart)]
    assert vars(found[0]) != {option.action.dest: option.default}
    assert found == [found[0]] * 5
    assert [layer[option.key].hidden for layer in (line, variables, file, kept, apart)] == [
        False, False, False, True, True,
    ]  # fmt: skip


def test_no_two_options_have_one_name() -> None:
    assert len({option.variable for option in ALL.options}) == len(ALL.options)
    assert len({option.key for option in ALL.options}) == len(ALL.options)


def test_all_options_have_help() -> None:
    assert all(option.action.help for option in ALL.options if option.table != "dict")


# -- what is wrong --


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("prot = 1", "prot: unknown option (did you mean port?)"),
        ("[tls]\nmin = 1", "tls.min: unknown option"),
        ("tls.minimun = 1.2", "tls.minimun: unknown option (did you mean tls-minimum?)"),
        ("level = 8", "level: unknown option (did you mean store.level?)"),
        ("[store]\nport = 8", "store.port: unknown option (did you mean port?)"),
        ("[stores]\nplace = 8", "stores: unknown option (did you mean store?)"),
        ("[[dict]]\nusers = 8", "dict: needs a table, not a list"),
        ("config = 'x'", "config: unknown option"),
        ("port = 70000", "port: '70000' is not a port"),
        ("port = -1", "port: '-1' is not a port"),
        ("port = 1.0", "port: '1.0' is not a port"),
        ("port = true", "port: needs text or a number, not true or false"),
        ("port = [1]", "port: needs text or a number, not a list"),
        ("port = { a = 1 }", "port: needs text or a number, not a table"),
        ("port = 2000-01-01", "port: needs text or a number, not a date or time"),
        ("tls-port = 1\ntls.port = 1", "tls.port: stands here twice, written in two ways"),
        ("debug = 'yes'", "debug: needs true or false, not text"),
        ("debug = 1", "debug: needs true or false, not a number"),
        ("host = [['a']]", "host: needs text or a number, not a list"),
        ("log-level = 'wanring'",
         "log-level: 'wanring' is none of debug, info, warning, error (did you mean warning?)"),
        ("backend = 'dct'", "backend: 'dct' is none of dict, store, wrapper, absent (did you mean dict?)"),
        ("backend = 'config'", "backend: 'config' is none of dict, store, wrapper, absent"),
        ("drain = -1", "drain: '-1' is not a time, such as 90, 90s, 15m, 1h or 1d"),
        ("drain = inf", "drain: 'inf' is not a time, such as 90, 90s, 15m, 1h or 1d"),
        ("proxy-from = '10.0.0.1/8'",
         "proxy-from: '10.0.0.1/8' is not a network: 10.0.0.1/8 has host bits set"),
        ("mechanism = 'no such'", "mechanism: 'no such' is not the name of a mechanism"),
        ("master-separator = 'ab'", "master-separator: 'ab' is not one sign"),
        ("auth-free-failures = 0.5", "auth-free-failures: '0.5' is not a whole number"),
        ("oauth.introspection = '/x'",
         "oauth.introspection: '/x' does not begin with https:// or http://"),
        ("limits = 1", "limits: needs a table, not a number"),
        ("limits = []", "limits: needs a table, not a list"),
        ("limits.lien = 1", "limits.lien: there is no limit 'lien' (did you mean line?)"),
        ("limits.line = 'x'", "limits.line: 'x' is not a number, such as 10000, 64K or 1M"),
        ("limits.line = 0", "limits.line: line must be above 0"),
        ("limits.line = true", "limits.line: needs text or a number, not true or false"),
        ("limits.login_timeout_s = '1M0'",
         "limits.login_timeout_s: '1M0' is not a time, such as 90, 90s, 15m, 1h or 1d"),
        ("store.level = 1", "store.level: '1' is none of 7, 8, 9"),
        ("store.level = 'x'", "store.level: 'x' is not a whole number"),
        ("store.ratio = 'x'", "store.ratio: 'x' is not a number"),
        ("store.range = [1, 2, 3]", "store.range: needs 2 values, not 3"),
        ("store.twice = 'never'", "store.twice: never is not often enough"),
        ("[absent]\nx = 1", "absent: absent needs more (No module named 'no_such_module_of_anyone'):"
         " pip install 'pymap[extra]'"),
        ("away-socket = 1", "away-socket: away needs more (No module named"
         " 'no_such_module_of_anyone'): pip install 'pymap[extra]'"),
    ],
)  # fmt: skip
def test_a_bad_file(refuse: Refuse, file: str, said: str) -> None:
    assert refuse("store", "x", file=file) == [said]


def test_all_that_is_wrong_is_said_at_once(refuse: Refuse) -> None:
    file = "a = 1\nport = 'x'\n[limits]\nline = 0\nb = 1"
    assert len(refuse("dict", file=file, TLS_PORT="y", DEBUG="z")) == 6


@pytest.mark.parametrize(
    "octets",
    [
        b"port = ",
        b"port = 1\nport = 2",
        b"port = '\xff'",
        b"\0",
        b"a = " + b"[" * 100_000,
        pytest.param(None, id="not there"),
    ],
)
def test_what_is_no_file_of_this_kind(refuse: Refuse, tmp_path: Path, octets: bytes | None) -> None:
    path = tmp_path / "other.toml"
    if octets is not None:
        path.write_bytes(octets)
    (line,) = refuse("--config", str(path), "dict")
    assert line.startswith(f"{path}: ")
    (line,) = refuse("--config", str(tmp_path), "dict")
    assert line == f"{tmp_path}: Is a directory"


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"PORT": "tcp://10.0.0.1:143"}, "PYMAP_PORT: 'tcp://10.0.0.1:143' is not a port"),
        ({"PORT": ""}, "PYMAP_PORT: '' is not a port"),
        ({"DEBUG": "x"}, "PYMAP_DEBUG: 'x' is none of true, yes, on, 1, false, no, off, 0"),
        ({"DEBUG": ""}, "PYMAP_DEBUG: '' is none of true, yes, on, 1, false, no, off, 0"),
        ({"LIMIT": "line"}, "PYMAP_LIMIT: 'line' is not NAME=VALUE"),
        ({"LIMIT": "lien=1"}, "PYMAP_LIMIT: there is no limit 'lien' (did you mean line?)"),
        ({"STORE_LEVEL": "6"}, "PYMAP_STORE_LEVEL: '6' is none of 7, 8, 9"),
        (
            {"SET_UID": "a", "SET_UID_FILE": "b"},
            "PYMAP_SET_UID and PYMAP_SET_UID_FILE: only one of them can count",
        ),
        ({"PORT_FILE": "/none"}, "PYMAP_PORT_FILE: /none: No such file or directory"),
        ({"PORT_FILE": "/dev/null"}, "PYMAP_PORT_FILE: its value is not allowed"),
        ({"PORT_FILE": "/dev/zero"}, "PYMAP_PORT_FILE: /dev/zero: larger than 65536 octets"),
        ({"BACKEND": "config"}, "PYMAP_BACKEND: 'config' is none of dict, store, wrapper, absent"),
    ],
)
def test_a_bad_environment(refuse: Refuse, variables: dict[str, str], said: str) -> None:
    assert refuse("store", "x", **variables) == [said]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ((), "error: which BACKEND? Name it here, or as backend in the configuration file"),
        (("store", "x", "--level", "6"), "pymap store: error: argument --level: invalid choice: 6"),
        (("store",), "pymap store: error: place is needed: here, as PYMAP_STORE_PLACE in the"
         " environment, or as store.place in the configuration file"),
        (("store", "x", "--port", "1"), "pymap store: error: unrecognized arguments: --port"),
        (("nonsense",), "error: argument BACKEND: invalid choice: 'nonsense'"),
        (("absent", "--x"), "absent needs more (No module named 'no_such_module_of_anyone'): "),
        (("--backend", "absent"), "absent needs more (No module named"),
        (("--no-service", "asid", "store", "x"),
         "--no-service: there is no service named asid (did you mean aside?)"),
        (("--tls-port", "1", "store", "x"), "--tls-port needs --cert"),
        (("--client-ca", "x", "store", "x"), "--client-ca needs --cert"),
        (("--key", "x", "store", "x"), "--key needs --cert"),
        (("--cert", "x", "--client-cert", "required", "store", "x"),
         "--client-cert required needs --client-ca"),
        (("--oauth-issuer", "x", "store", "x"), "--oauth-issuer needs one of"
         " --oauth-introspection, --oauth-jwks, --oauth-tokens"),
        (("--oauth-jwks", "x", "--oauth-tokens", "x", "store", "x"),
         "--oauth-jwks and --oauth-tokens: tokens are checked in one way"),
        (("--oauth-introspection", "http://x", "--oauth-client-secret-file", "/none", "store", "x"),
         "/none: No such file or directory"),
        (("config",), "pymap config: error: the following arguments are required: action"),
        (("config", "look"), "pymap config: error: argument action: invalid choice: 'look'"),
    ],
)  # fmt: skip
def test_a_bad_command_line(refuse: Refuse, argv: tuple[str, ...], said: str) -> None:
    (line,) = refuse(*argv)
    assert line.startswith(said)


def test_what_a_backend_hands_on_stands_on_the_command_line(ask: Ask) -> None:
    args = store(ask("wrapper", "--own", "x", "a", "--b", "-c", WRAPPER_OWN="y"))
    assert (args.own, args.rest) == ("x", ["a", "--b", "-c"])
    args = store(ask(BACKEND="wrapper", WRAPPER_OWN="y"))
    assert (args.own, args.rest) == ("y", [])


def test_a_plugin_cannot_take_the_name_of_another_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend called log, with a --level."""
    clash = {"pymap.backend": [EntryPoint("log", f"{__name__}:Store", "pymap.backend")]}
    monkeypatch.setattr(plugin, "entry_points", lambda group: clash.get(group, []))
    with pytest.raises(ValueError, match="2 options have the name PYMAP_LOG_LEVEL"):
        read(["log", "x"], {})


def test_a_service_that_is_left_out_may_be_missing(ask: Ask) -> None:
    options = ask(
        "--no-service", "away", "--no-service", "aside", "store", "x", file="no-service = ['x']"
    )
    assert options.services == ()


def test_variables_that_are_no_options_are_noted(ask: Ask) -> None:
    options = ask(
        "dict", "--demo-data",
        PROT="1", VERSION="2", AWAY_SOCKET="3", ABSENT_URL="4", PORT_FILES="5",
    )  # fmt: skip
    assert options.notes == (
        "PYMAP_PORT_FILES in the environment is no option (did you mean PYMAP_PORT_FILE?)",
        "PYMAP_PROT in the environment is no option (did you mean PYMAP_PORT?)",
        "PYMAP_VERSION in the environment is no option",
    )


def test_help_shows_defaults_and_needs_no_file(
    ask: Ask, capsys: pytest.CaptureFixture[str]
) -> None:
    for argv in (["--help"], ["store", "--help"]):
        with pytest.raises(SystemExit) as ended:
            ask(*argv, CONFIG="/none")
        assert not ended.value.code
    said = capsys.readouterr().out
    assert "(default: 143)" in said
    assert "not the server's (default: db)" in said
    assert "SUPPRESS" not in said


# -- secrets --


def test_a_secret_may_be_kept_in_a_file_of_its_own(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"a b\r\n")
    (tmp_path / "list").write_bytes(b"a\n\n b,c \n")
    file = """
        backend = 'store'
        host = [{ file = 'secret' }, 'x']
        [store]
        place = { file = 'secret' }
        db-password = { file = 'secret' }
        tag = { file = 'list' }
        [limits]
        line = { file = 'number' }
    """
    (tmp_path / "number").write_bytes(b"12")
    options = ask(file=file, STORE_TWICE_FILE=str(tmp_path / "secret"))
    assert options.config.hosts == ("a b", "x")
    assert options.config.limits.line == 12
    args = store(options)
    assert (args.place, args.db_password, args.twice) == (tmp_path / "a b", "a b", "a ba b")
    assert args.tag == ["a", "b,c"]


@pytest.mark.parametrize("content", [b"hush", b"hush\xff", b"hush" * 20_000])
def test_an_unusable_secret_is_not_told(refuse: Refuse, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "secret").write_bytes(content)
    file = "store.level = { file = 'secret' }\nport = { file = 'secret' }"
    lines = refuse("store", "x", file=file, DEBUG_FILE=str(tmp_path / "secret"))
    assert len(lines) == 3
    assert "hush" not in "".join(lines)


def test_show_says_what_counts_and_no_secret(
    ask: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "secret").write_text("hush")
    file = """
        backend = "store"
        port = 1
        [limits]
        line = 5
        append = "1M"
        [store]
        place = "x"
        host = "redis://me:hush@db/?password=hush&x=y"
        tag = { file = "secret" }
        db-password = "hush"
    """
    with pytest.raises(SystemExit) as ended:
        ask("--tls-port", "none", "--limit", "line=6", "config", "show", file=file, DEBUG="1")
    assert not ended.value.code
    said = capsys.readouterr().out
    assert "hush" not in said
    path = tmp_path / "pymap.toml"
    for line in (
        f"port = 1  # {path}",
        'tls-port = "none"  # command line',
        "debug = true  # PYMAP_DEBUG",
        "host = []  # default",
        "# set-uid is not set",
        "line = 6  # command line",
        f"append = 1048576  # {path}",
        'literal = "1M"  # default',
        f'place = "{tmp_path}/x"  # {path}',
        f"# db-password is not shown  # {path}",
        f"# tag is not shown  # {path}",
        f'host = "redis://me:***@db/?password=***&x=y"  # {path}',
    ):
        assert line in said.splitlines(), line
    shown = tomllib.loads(said)
    assert shown["store"]["level"] == 7
    assert "dict" not in shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h/1", "redis://h/1"),
        ("redis://:p@h", "redis://:***@h"),
        ("redis://u:p@x:y@h:1", "redis://u:***@h:1"),
        ("redis://u@h", "redis://u@h"),
        ('a"b\\c\x7f\n', 'a"b\\c\x7f\n'),
    ],
)
def test_shown_values_are_toml(
    ask: Ask, capsys: pytest.CaptureFixture[str], url: str, shown: str
) -> None:
    with pytest.raises(SystemExit):
        ask("config", "show", BACKEND="store", STORE_HOST=url, STORE_NEAR="::1/x")
    said = tomllib.loads(capsys.readouterr().out)["store"]
    assert said["host"] == shown
    assert said["near"] == "[::1]:x"


# -- the example, the manual --


def test_the_example_has_every_option_with_its_default(tmp_path: Path) -> None:
    text = example(ALL.in_file)
    assert tomllib.loads(text).keys() == {"limits", *ALL.own}, "it is all comments"
    bare = re.sub(r"(?m)^#(?=\S)", "", text)
    tables = tomllib.loads(bare)
    for option in ALL.in_file:
        if isinstance(option.action, Pairs):
            assert tables["limits"].keys() == {entry.name for entry in option.action.entries()}
        elif option.table:
            assert option.name in tables[option.table]
        else:
            assert option.name in tables
    # Lines whose value is only a word for what is to stand there are no defaults.
    defaults = re.sub(r'(?m)^[a-z-]+ = \[?"[A-Z_:|=]+"\]?$', "", bare)
    path = tmp_path / "x.toml"
    path.write_text(defaults)
    problems: list[str] = []
    layer = from_file(ALL.in_file, path, {}, problems)
    assert problems == []
    found = vars(namespace(ALL.in_file, layer))
    assert found.pop("limit") == {name: getattr(Limits(), name) for name in Limits.__slots__}
    expected = vars(namespace(ALL.in_file))
    expected.pop("limit")
    assert found == expected
    assert len(layer) > 15


def test_the_example_is_printed(ask: Ask, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        ask("config", "example", PORT="nonsense")
    assert not ended.value.code
    said = capsys.readouterr().out.splitlines()
    assert "#port = 143" in said
    assert '#aside-socket = "default"' in said
    assert '#range = ["FROM TO"]' in said
    assert "#level = 7" in said
    assert not any(line.startswith("#config") for line in said)


def test_the_page_of_options_is_current() -> None:
    if ALL.missing:
        pytest.skip(f"not all plugins can be loaded: {', '.join(ALL.missing)}")
    assert (ROOT / "docs/options.md").read_text("utf-8") == page(), "run scripts/options"


def test_the_example_in_the_manual_is_right(tmp_path: Path) -> None:
    manual = (ROOT / "docs/configuration.md").read_text("utf-8")
    path = tmp_path / "x.toml"
    path.write_text(manual.partition("```toml\n")[2].partition("```")[0])
    problems: list[str] = []
    assert len(from_file(ALL.in_file, path, {}, problems)) == 8
    assert problems == []


# -- the real command --


def pymap(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pymap", *arguments], env=environ, capture_output=True, text=True
    )


def test_check_tries_all_that_a_start_needs(tmp_path: Path) -> None:
    made = pymap("config", "example")
    path = tmp_path / "pymap.toml"
    path.write_text(made.stdout)
    ended = pymap("config", "check", str(path))
    assert (ended.returncode, ended.stdout) == (0, "good, but no backend is named\n")
    path.write_text("backend = 'maildir'\nmaildir.users-file = 'users'")
    ended = pymap("config", "check", PYMAP_CONFIG=str(path))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"pymap: {tmp_path}/users: No such file or directory\n"
    (tmp_path / "users").write_text("alice::secret\n")
    ended = pymap("--config", str(path), "config", "check")
    assert (ended.returncode, ended.stdout) == (0, "good\n")
    ended = pymap("--config", str(path), "--cert", "/none", "config", "check")
    assert ended.returncode == 1
    assert ended.stderr == "pymap: /none: No such file or directory\n"


def test_submitters() -> None:
    args = parser_of(["dict"]).parse_args(["--submitter", "postfix", "--submitter", "exim"])
    assert config_of(args).extensions.submitters == {"postfix", "exim"}


def test_message_limits_hold_for_all_ports_or_for_one() -> None:
    parser = parser_of(["dict"])
    args = parser.parse_args(["--message-limit", "1000", "--message-limit", "993=none"])
    config = config_of(args)
    assert config.extensions.message_limit == 1000
    assert config.message_limits == {993: None}


@pytest.mark.parametrize("text", ["0", "x", "=5", "none=5", "70000=5", "993=", "993=x", "993=0"])
def test_message_limits_that_make_no_sense(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        values.limit_of_port(text)
