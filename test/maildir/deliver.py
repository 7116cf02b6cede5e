"""Mail as others bring it: what a delivery agent does, and messages of many shapes."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

from .place import Place

_COUNT = count()


def deliver(folder: Path, octets: bytes, when: float | None = None, name: str = "") -> Path:
    """Write into tmp, link into new, remove from tmp: the file appears there whole."""
    name = name or f"1700000000.M{next(_COUNT)}P{os.getpid()}.there"
    written, path = folder / "tmp" / name, folder / "new" / name
    with written.open("wb") as file:
        file.write(octets)
        file.flush()
        os.fsync(file.fileno())
    Place.own(written)
    if when is not None:
        os.utime(written, (when, when))
    os.link(written, path)
    written.unlink()
    return path


def mail(message_id: str, body: bytes = b"text\n", subject: str = "mail") -> bytes:
    """With LF, as it lies in most Maildirs."""
    return (
        f"From: A <a@example.org>\nTo: b@example.net\nSubject: {subject}\n"
        f"Date: Tue, 14 Nov 2023 22:13:20 +0000\nMessage-ID: <{message_id}>\n\n"
    ).encode() + body


def crlf(octets: bytes) -> bytes:
    return octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def shapes() -> dict[str, bytes]:
    """Messages as they lie on disk, by what is special about them."""
    eight_bit = "Grüße\n\xa0日本 \udcff\n".encode("utf-8", "surrogateescape")
    return {
        "lf": mail("lf"),
        "crlf": crlf(mail("crlf")),
        "both": crlf(mail("both")) + b"one\ntwo\r\nthree\n",
        "no-end": mail("no-end", b"the last line has no end"),
        "no-end-crlf": crlf(mail("no-end-crlf", b"the last line\nhas no end")),
        "header-only": mail("header-only").removesuffix(b"\ntext\n"),
        "header-no-end": mail("header-no-end").removesuffix(b"\n\ntext\n"),
        "no-body": mail("no-body", b""),
        "empty-header": b"\nall of it is body\n",
        "no-header": b"this is no header\nand neither is this\n",
        "8bit": mail("8bit", eight_bit + bytes(range(128, 256)) + b"\n"),
        "8bit-header": mail("8bit-header", subject="Grüße aus 日本"),
        "controls": mail("controls", bytes(range(1, 32)).replace(b"\r", b"") + b"\x7f\n"),
        "bare-cr": mail("bare-cr", b"one\rtwo\r\rthree\n"),
        "dots": mail("dots", b".\n..\nFrom me\n>From you\n"),
        "long-line": mail("long-line", b"x" * 100_000 + b"\n"),
        "long-header": mail("long-header", subject="word " * 5000),
        "megabyte": mail("megabyte", b"".join(b"line %6d of many\n" % n for n in range(55_000))),
        "mixed": mail("mixed", b"").removesuffix(b"\n")
        + b'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="b"\n\n'
        b"--b\n\none\n--b\nContent-Type: text/html\n\n<p>two\n--b--\n",
        "one-octet": b"x",
        "one-line": b"\n",
    }


def appendable() -> dict[str, bytes]:
    """Those that a client may append without ENABLE UTF8=ACCEPT: RFC 6855 4."""
    return {name: octets for name, octets in shapes().items() if name != "8bit-header"}
