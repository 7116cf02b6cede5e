"""Texts are translated where they leave, and catalogues have all of them.   RFC 5255 3"""

from __future__ import annotations

import ast
import asyncio
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pymap.auth.attempt import Reason
from pymap.config import ExtensionConfig
from pymap.imap.languages import DEFAULT, LANGUAGES, find

PYMAP = Path(__file__).parents[2] / "pymap"
TRANSLATED = {tag: language for tag, language in LANGUAGES.items() if language.texts}

# Which argument is for people, of what makes a response or becomes one.
CALLS = {
    "Done": 0, "Refused": 1, "BadCommand": 0, "bye": 0, "prompt": 0, "_say_bye": 0,
    "Untagged": 1, "Tagged": 2, "Overflow": 0, "LoginFailed": 1, "match": 1,
}  # fmt: skip
# Errors of the engine and of stores; what is only raised for administrators stays English.
ERRORS = {
    "BackendError", "CannotDo", "Corrupt", "InUse", "LimitReached", "MailboxExists", "MailboxGone",
    "MailboxNotFound", "MessageExpunged", "NoPermission", "OverQuota", "ReadOnly", "Unavailable",
}  # fmt: skip
SPOKEN_ELSEWHERE = ("admin", "http", "users.py", "conformance")
# A reason that a library gave, for the log and the administrator.
UNTRANSLATED = {"{}: no answer for {} s", "{}: {}", "octets behind the end"}


def text(node: ast.expr) -> str | None:
    """A constant; an f-string with {} for what varies."""
    match node:
        case ast.Constant(value=str(value)):
            return value
        case ast.JoinedStr(values=values):
            return "".join(v.value if isinstance(v, ast.Constant) else "{}" for v in values)
    return None


def texts() -> Iterator[tuple[str, str]]:
    """Every text for clients that stands in the code, and where."""
    for path in sorted(PYMAP.rglob("*.py")):
        name = str(path.relative_to(PYMAP))
        if any(word in name for word in SPOKEN_ELSEWHERE):
            continue
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Call):
                called = node.func
                function = getattr(called, "attr", getattr(called, "id", ""))
                at = 0 if function in ERRORS else CALLS.get(function)
                if at is None or len(node.args) <= at:
                    continue
                if function == "match" and not name.startswith("wire/"):
                    continue
                argument = node.args[at]
                either = (
                    [argument.body, argument.orelse]
                    if isinstance(argument, ast.IfExp)
                    else [argument]
                )
                for each in either:
                    if found := text(each):
                        yield found, f"{name}:{node.lineno}"
            elif isinstance(node, ast.Assign) and name == "backend/errors.py":
                target = node.targets[0]
                if isinstance(target, ast.Name) and target.id == "default":
                    yield text(node.value) or "", f"{name}:{node.lineno}"
    for reason in Reason:
        yield reason.text, f"auth: {reason}"


@pytest.mark.parametrize("tag", TRANSLATED)
def test_catalogue_has_every_text(tag: str) -> None:
    """If this fails: translate the texts that it names, in pymap/imap/languages/."""
    found = dict(texts())
    assert len(found) > 150
    language = LANGUAGES[tag]
    # Filled in, a template that has no translation of its own may be another's.
    missing = {
        said: where
        for said, where in found.items()
        if said not in UNTRANSLATED
        and said not in language.texts
        and language.say(said.replace("{}", "X")) == said.replace("{}", "X")
    }
    assert not missing


@pytest.mark.parametrize("tag", TRANSLATED)
def test_catalogue_is_sound(tag: str) -> None:
    for english, said in LANGUAGES[tag].texts.items():
        assert english.isascii()
        assert english.count("{}") == said.count("{}")
        # UTF8-TEXT-CHAR: no control characters, and no "[" that could begin a code. RFC 5255 3.5
        assert said
        assert said.isprintable()
        assert "[" not in said


def test_templates() -> None:
    german = LANGUAGES["de"]
    assert german.say("NOOP completed") == "NOOP ausgeführt"
    assert german.say("Expected a number") == "Erwartet: eine Zahl"
    assert german.say("Expected '{0}'") == "Erwartet: '{0}'"
    assert german.say("Not allowed in the selected state").endswith("Postfach geöffnet")
    assert german.say("Nothing of ours") == "Nothing of ours"


@pytest.mark.parametrize(
    ("ranges", "tag"),
    [
        (["de"], "de"),
        (["DE-ch-1996"], "de"),
        (["fr", "de"], "de"),
        (["de-a-b-c"], "de"),
        (["en-GB", "de"], "en"),
        (["i-default"], DEFAULT),
        (["I-Default"], DEFAULT),
        (["default"], "de"),
        (["*"], "de"),
        (["deu"], None),
        (["i"], None),
        (["x-de"], None),
        ([], None),
    ],
)
def test_ranges(ranges: list[str], tag: str | None) -> None:
    found = find(ranges, "de")
    assert (found and found.tag) == tag


async def test_texts_on_the_wire(imap_server) -> None:
    server = await imap_server(extensions=ExtensionConfig(language="de"))

    reader, writer = await asyncio.open_connection(*server.addresses[0])
    await reader.readline()

    async def says(line: str, until: str | None = None) -> str:
        writer.write(line.encode() + b"\r\n")
        while True:
            answer = (await reader.readline()).decode("utf-8")
            if answer.startswith(until or line.split(" ")[0] + " "):
                return re.sub(r"\[.*\] ", "", answer.split(" ", 1)[1].strip())

    with closing(writer):
        assert await says("a0 NOOP") == "OK NOOP completed"
        assert await says("a1 LANGUAGE default") == "OK LANGUAGE ausgeführt"
        assert await says("a2 LANGUAGE fr") == "NO Diese Sprache wird nicht unterstützt"
        assert await says("a3 LOGIN demouser wrong") == "NO Benutzername oder Passwort falsch"
        assert await says("a4 LOGIN demouser demopass") == "OK Angemeldet"
        assert await says("a5 SELECT nowhere") == "NO Kein solches Postfach"
        assert await says("a6 FROBNICATE") == "BAD Unbekannter Befehl"
        assert await says("a7 IDLE", until="+") == "Warte auf Neues"
        assert await says("DONE", until="a7") == "OK IDLE ausgeführt"
        assert await says("a8 APPEND INBOX {5}", until="+") == "Bereit für die Daten"
        assert await says("x: y\n", until="a8") == "OK APPEND ausgeführt"
        assert await says("a9 UNAUTHENTICATE") == "OK UNAUTHENTICATE completed"
        assert await says("b0 LANGUAGE de") == "OK LANGUAGE ausgeführt"
        assert await says("b1 LOGOUT", until="*") == "BYE Abmeldung"
