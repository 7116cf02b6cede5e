"""The mail that fills the benchmark's mailboxes: message `i` is the same octets on every run.

2-8 KiB each, about 4 KiB in the mean: a quarter plain text, half multipart/alternative, a quarter
with an attachment. Whatever a workload expects of an answer (hits of a SEARCH, octets of a section)
is computed here, from the generator, and never by the code under test.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from random import Random

EPOCH = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp())
STEP_S = 601
"""Between two messages: 1,000 span a week, 100,000 almost two years."""

SUBJECT_WORD = "kestrel"
BODY_WORD = "marzipan"
HEADER_FIELDS = ("FROM", "TO", "CC", "SUBJECT", "DATE", "MESSAGE-ID", "REFERENCES")

# No word below contains SUBJECT_WORD or BODY_WORD: SEARCH matches substrings.
_WORDS = """
    the a of and to in is that for on with as this was are be by not from at have it we you can
    project budget meeting schedule review draft customer invoice release network server update
    report contract shipment garden weather station travel ticket window paper library museum
    music theatre kitchen market bridge river mountain harbour engine battery signal antenna
    please regards thanks attached tomorrow yesterday morning evening week month question answer
    because although before after during between without within perhaps certainly usually often
    caf=C3=A9 na=C3=AFve =C3=BCber r=C3=A9sum=C3=A9
""".split()  # noqa: SIM905
_PEOPLE = (
    ("Ada Lovelace", "ada"),
    ("Grace Hopper", "grace.hopper"),
    ("=?utf-8?q?J=C3=BCrgen_M=C3=BCller?=", "jm"),
    ("Radia Perlman", "radia"),
    ("=?utf-8?b?5bGx55Sw5aSq6YOO?=", "yamada"),
    ("Build Robot", "builds+main"),
    ('"Sales, Northern Region"', "sales-north"),
    ("Edsger Dijkstra", "ewd"),
)
_HOSTS = ("example.com", "mail.example.org", "lists.example.net")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def _paragraph(rnd: Random) -> str:
    """Lines of at most 76 columns, valid quoted-printable."""
    lines = [""]
    for _ in range(rnd.randint(12, 50)):
        word = rnd.choice(_WORDS)
        if len(lines[-1]) + len(word) > 72:
            lines.append("")
        lines[-1] += word + " "
    return "\r\n".join(line.rstrip() for line in lines) + ".\r\n"


_pool = Random("pymap bench")
_PARAGRAPHS = [_paragraph(_pool) for _ in range(300)]
_BLOBS = [
    base64.encodebytes(_pool.randbytes(1140)).replace(b"\n", b"\r\n").decode() for _ in range(40)
]


# -- facts about message i, counted from 0 --


def has_subject_word(i: int) -> bool:
    return i % 50 == 7


def has_body_word(i: int) -> bool:
    return i % 40 == 3


def flags(i: int) -> tuple[str, ...]:
    """\\Flagged, \\Draft and \\Deleted are never set: the STORE workloads own them."""
    seen = i % 10 < 7
    answered = i % 10 == 3
    return ("\\Seen",) * seen + ("\\Answered",) * answered


def internal_date(i: int) -> int:
    """Seconds UTC, ascending with i."""
    return EPOCH + i * STEP_S


def imap_date_time(i: int) -> str:
    t = datetime.fromtimestamp(internal_date(i), UTC)
    return f"{t.day:02}-{_MONTHS[t.month - 1]}-{t.year} {t:%H:%M:%S} +0000"


def imap_date(i: int) -> str:
    t = datetime.fromtimestamp(internal_date(i), UTC)
    return f"{t.day}-{_MONTHS[t.month - 1]}-{t.year}"


def since(n: int, i: int) -> list[int]:
    """The sequence numbers that SEARCH SINCE (the day of message i) finds among n messages."""
    midnight = internal_date(i) // 86400 * 86400
    return [k + 1 for k in range(n) if internal_date(k) >= midnight]


# -- its octets --


@lru_cache(maxsize=4096)
def message(i: int) -> bytes:
    """Message i with CRLF line ends, as a client appends it."""
    rnd = Random(i)
    u = rnd.random()
    size = 2048 + int(6144 * u * u)  # the mean of u*u is 1/3: 4 KiB
    head = _headers(i, rnd)
    room = size - len(head)
    kind = i % 4
    if kind == 0:
        body = _text(i, rnd, room - 120)
    elif kind == 3:
        body = _mixed(i, rnd, room - 560)
    else:
        body = _alternative(i, rnd, room - 330)
    return (head + body).encode("ascii")


def _headers(i: int, rnd: Random) -> str:
    name, local = _PEOPLE[i % len(_PEOPLE)]
    to_name, to_local = rnd.choice(_PEOPLE)
    cc_name, cc_local = rnd.choice(_PEOPLE)
    host = _HOSTS[i % len(_HOSTS)]
    t = datetime.fromtimestamp(internal_date(i), UTC)
    date = f"{_DAYS[t.weekday()]}, {t.day} {_MONTHS[t.month - 1]} {t.year} {t:%H:%M:%S} +0000"
    words = [w for w in rnd.choices(_WORDS, k=6) if "=" not in w]
    subject = "Re: " * (i % 3 == 1) + " ".join(words)
    if has_subject_word(i):
        subject += f" {SUBJECT_WORD.capitalize()} notes"
    lines = [
        f"Return-Path: <{local}@{host}>",
        f"Received: from out{i % 7}.{host} (out{i % 7}.{host} [192.0.2.{i % 250}])",
        f"\tby mx.example.com (Postfix) with ESMTPS id {i:010X}",
        f"\tfor <demouser@example.com>; {date}",
        f"Message-ID: <{i}.{i * 7919 % 1000003}@{host}>",
        f"Date: {date}",
        f"From: {name} <{local}@{host}>",
        f"To: {to_name} <{to_local}@example.com>, demouser@example.com",
    ]
    if i % 3 == 0:
        lines.append(f"Cc: {cc_name} <{cc_local}@{host}>,\r\n team@example.org")
    lines.append(f"Subject: {subject}")
    if i % 3 == 1 and i > 30:
        refs = [f"<{k}.{k * 7919 % 1000003}@{_HOSTS[k % 3]}>" for k in (i - 30, i - 3)]
        lines += [f"In-Reply-To: {refs[-1]}", "References: " + "\r\n ".join(refs)]
    lines += ["User-Agent: Mutt/2.2.9", "X-Priority: 3 (Normal)", "MIME-Version: 1.0"]
    return "\r\n".join(lines) + "\r\n"


def _prose(rnd: Random, room: int) -> list[str]:
    paragraphs: list[str] = []
    while room > 0:
        paragraphs.append(_PARAGRAPHS[int(rnd.random() * len(_PARAGRAPHS))])
        room -= len(paragraphs[-1]) + 2
    return paragraphs


def _text(i: int, rnd: Random, room: int) -> str:
    text = "\r\n".join(_prose(rnd, room - 150))
    if has_body_word(i):
        text += f"\r\nand a box of {BODY_WORD} for everyone.\r\n"
    return (
        "Content-Type: text/plain; charset=utf-8\r\n"
        "Content-Transfer-Encoding: quoted-printable\r\n\r\n" + text
    )


def _html(rnd: Random, room: int) -> str:
    text = "".join(f"<p>{p}</p>\r\n" for p in _prose(rnd, room - 150))
    return (
        "Content-Type: text/html; charset=utf-8\r\n"
        "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
        f"<html><body>\r\n{text}</body></html>\r\n"
    )


def _multipart(kind: str, boundary: str, parts: Sequence[str]) -> str:
    return (
        f'Content-Type: multipart/{kind}; boundary="{boundary}"\r\n\r\n'
        + "".join(f"--{boundary}\r\n{part}\r\n" for part in parts)
        + f"--{boundary}--\r\n"
    )


def _alternative(i: int, rnd: Random, room: int) -> str:
    parts = [_text(i, rnd, room * 2 // 5), _html(rnd, room * 3 // 5)]
    return _multipart("alternative", f"=_alt_{i:08x}", parts)


def _mixed(i: int, rnd: Random, room: int) -> str:
    blob = _BLOBS[i % len(_BLOBS)][: max(78, room // 2 // 78 * 78)]
    attachment = (
        f'Content-Type: application/pdf; name="report-{i}.pdf"\r\n'
        "Content-Transfer-Encoding: base64\r\n"
        f'Content-Disposition: attachment; filename="report-{i}.pdf"\r\n\r\n{blob}'
    )
    return _multipart(
        "mixed", f"=_mix_{i:08x}", [_alternative(i, rnd, room - len(blob)), attachment]
    )


def header_fields(raw: bytes) -> bytes:
    """What BODY[HEADER.FIELDS (HEADER_FIELDS)] must be: the fields as they stand, and the empty
    line.   RFC 9051 6.4.5.1"""
    head = raw[: raw.index(b"\r\n\r\n") + 2]
    fields: list[bytes] = []
    for line in head.splitlines(keepends=True):
        if line[:1] in b" \t":
            fields[-1] += line
        else:
            fields.append(line)
    wanted = {name.lower().encode() for name in HEADER_FIELDS}
    return b"".join(f for f in fields if f.partition(b":")[0].lower() in wanted) + b"\r\n"
