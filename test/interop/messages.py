"""Mail to work with: the kinds that the recorded clients were given."""

from __future__ import annotations

KINDS = (
    "plain",
    "utf8",
    "qp",
    "alternative",
    "attach",
    "rfc822",
    "nested",
    "encheaders",
    "manyhdr",
    "plain",
)


def message(n: int, kind: str | None = None) -> bytes:
    """The nth message; its Subject begins with its kind and says whether n is odd or even."""
    kind = kind or KINDS[n % len(KINDS)]
    subject = f"{kind} {n} {'odd' if n % 2 else 'even'} lorem"
    to = "joe@example.net"
    more = []
    if kind == "encheaders":
        subject = "=?utf-8?B?R3LDvMOfZSDml6XmnKw=?= =?utf-8?Q?_caf=C3=A9_?="
        to = '"Q" <q@example.org>, Group: a@b.example, c@d.example;, plain@example.org'
    if kind == "manyhdr":
        more = [f"X-Filler-{i}: {'filling ' * 8}" for i in range(20)]
    header = [
        f"From: Sender {n} <sender{n}@example.org>",
        f"To: {to}",
        f"Subject: {subject}",
        f"Date: {n % 28 + 1:02d} Jul 2017 05:{n % 60:02d}:20 +0000",
        f"Message-ID: <hx.{n}@example.org>",
        f"X-Hx-Id: hx{n}",
        *more,
    ]
    return "\r\n".join([*header, *_BODIES.get(kind, _plain)(n)]).encode() + b"\r\n"


def _plain(n: int) -> list[str]:
    return ["", f"line one of {n}", ".", "From here", "", "the end"]


_BODIES = {
    "utf8": lambda n: [
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: 8bit",
        "",
        f"grüße 日本 {n}",
    ],
    "qp": lambda n: [
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: quoted-printable",
        "",
        "caf=C3=A9 =",
        f"{n}",
    ],
    "alternative": lambda n: [
        "MIME-Version: 1.0",
        "Content-Type: multipart/alternative; boundary=alt",
        "",
        "--alt",
        "Content-Type: text/plain; charset=us-ascii",
        "",
        "plain",
        "--alt",
        "Content-Type: text/html; charset=utf-8",
        "",
        "<p>html</p>",
        "--alt--",
    ],
    "attach": lambda n: [
        "MIME-Version: 1.0",
        "Content-Type: multipart/mixed; boundary=mix",
        "",
        "--mix",
        "Content-Type: text/plain; charset=us-ascii",
        "",
        "see attachment",
        "--mix",
        'Content-Type: application/octet-stream; name="data.bin"',
        "Content-Transfer-Encoding: base64",
        'Content-Disposition: attachment; filename="data.bin"',
        "",
        *["AAECAwQFBgcICQoLDA0ODw==" for _ in range(40)],
        "--mix--",
    ],
    "rfc822": lambda n: [
        "MIME-Version: 1.0",
        "Content-Type: multipart/mixed; boundary=out",
        "",
        "--out",
        "",
        "forwarded",
        "--out",
        "Content-Type: message/rfc822",
        "",
        "From: inner@example.org",
        f"Subject: inner of {n}",
        "",
        "inner text",
        "--out--",
    ],
    "nested": lambda n: [
        "MIME-Version: 1.0",
        "Content-Type: multipart/mixed; boundary=a",
        "",
        "--a",
        "Content-Type: multipart/related; boundary=b",
        "",
        "--b",
        "Content-Type: multipart/alternative; boundary=c",
        "",
        "--c",
        "",
        "1",
        "--c",
        "Content-Type: text/html",
        "",
        "2",
        "--c--",
        "--b--",
        "--a",
        "Content-Type: message/rfc822",
        "",
        f"Subject: deep {n}",
        "",
        "inner text",
        "--a--",
    ],
}
