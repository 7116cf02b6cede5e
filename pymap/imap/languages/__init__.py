"""What the server says to people, in their language.   RFC 5255 3

The texts of the code are in English. A catalogue is a file here, of English texts and what they
are in one language; ``{}`` stands for a part that varies, which is looked up as well. What a
catalogue does not have stays English. A new language is a file and a line in LANGUAGES.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from pymap.imap.languages import de

__all__ = ["DEFAULT", "LANGUAGES", "Language", "find"]

DEFAULT = "i-default"
"""English, for those who have asked for nothing.   RFC 2277 4.5"""


class Language:
    """`tag` is the name of RFC 5646; of English texts, `say` makes those of this language."""

    __slots__ = ("_templates", "tag", "texts")

    def __init__(self, tag: str, texts: Mapping[str, str]) -> None:
        self.tag = tag
        self.texts = texts
        self._templates = [
            (re.compile("(.+)".join(map(re.escape, text.split("{}")))), said)
            for text, said in texts.items()
            if "{}" in text
        ]

    def say(self, text: str) -> str:
        if (said := self.texts.get(text)) is not None:
            return said
        for template, said in self._templates:
            if found := template.fullmatch(text):
                return said.format(*(self.texts.get(part, part) for part in found.groups()))
        return text


LANGUAGES = {
    language.tag: language
    for language in (Language("en", {}), Language("de", de.TEXTS), Language(DEFAULT, {}))
}


def find(ranges: Iterable[str], preferred: str) -> Language | None:
    """The language of the first range that there is one for; `preferred` is that of ``default``.
    A range is cut from its end until it fits: de-AT-1901, de-AT, de.   RFC 4647 3.4"""
    for wanted in ranges:
        if wanted.lower() in ("default", "*"):
            return LANGUAGES[preferred]
        parts = wanted.lower().split("-")
        while parts:
            if (found := LANGUAGES.get("-".join(parts))) is not None:
                return found
            parts.pop()
            if len(parts) > 1 and len(parts[-1]) == 1:
                parts.pop()  # it only introduced what was behind it
    return None
