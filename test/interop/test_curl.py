"""curl's imap: URLs, over STARTTLS and implicit TLS, with the certificate checked."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from .conftest import PASSWORD, USER, Place
from .messages import message
from .wire import fetched

Curl = Callable[..., bytes]

NOT_TRUSTED, LOGIN_DENIED, REMOTE_FILE_NOT_FOUND = 60, 67, 78


@pytest.fixture(params=["starttls", "imaps"])
def run(request: pytest.FixtureRequest, server: Place, curl: str) -> Curl:
    def run(
        path: str,
        *options: str,
        code: int = 0,
        user: str = f"{USER}:{PASSWORD}",
        ca: Path | None = None,
    ) -> bytes:
        if request.param == "imaps":
            url, tls = f"imaps://localhost:{server.tls_port}/{path}", []
        else:
            url, tls = f"imap://localhost:{server.port}/{path}", ["--ssl-reqd"]
        command = [curl, "-sS", "-q", "--noproxy", "*", "--max-time", "10", *tls]
        command += ["--cacert", str(ca or server.ca), "-u", user, *options, url]
        done = subprocess.run(command, capture_output=True, check=False, timeout=30)
        assert done.returncode == code, (command, done.stderr)
        return done.stdout

    return run


@pytest.fixture
def filled(server: Place) -> Place:
    with server.wire() as wire:
        for n in range(5):
            wire.ok(b"APPEND INBOX {}", message(n))
        wire.ok(b"CREATE Box/sub")
    return server


def test_list(run: Curl, filled: Place) -> None:
    names = [line.rpartition(b" ")[2] for line in run("").splitlines()]
    assert sorted(names) == [b"Box", b"Box/sub", b"INBOX"]


def test_fetch_a_message_by_uid_and_by_index(run: Curl, filled: Place) -> None:
    for n in range(5):
        assert run(f"INBOX;UID={n + 1}") == message(n)
        assert run(f"INBOX;MAILINDEX={n + 1}") == message(n)


def test_fetch_sections(run: Curl, filled: Place) -> None:
    header, blank, text = message(3).partition(b"\r\n\r\n")
    assert run("INBOX;UID=4;SECTION=HEADER") == header + blank
    assert run("INBOX;UID=4;SECTION=TEXT") == text
    assert run("INBOX;UID=4;SECTION=2") == b"<p>html</p>"
    assert run("INBOX;UID=4;SECTION=HEADER.FIELDS%20(SUBJECT)").startswith(b"Subject: alternative")
    assert run("INBOX;UID=5;SECTION=1.MIME").startswith(b"Content-Type: text/plain")


def test_upload(run: Curl, server: Place, tmp_path: Path) -> None:
    file = tmp_path / "mail"
    file.write_bytes(message(4) * 40)
    run("INBOX", "-T", str(file))
    with server.wire() as wire:
        wire.ok(b"SELECT INBOX")
        got = fetched(wire.ok(b"FETCH 1 (FLAGS BODY.PEEK[])"))
        assert got[1][b"BODY[]"] == message(4) * 40
        assert rb"\Seen" in got[1][b"FLAGS"]  # curl always sets it


def test_custom_requests(run: Curl, filled: Place) -> None:
    assert run("INBOX", "-X", "STORE 1:2 +Flags \\Flagged").count(b"FETCH") == 2
    assert b"EXISTS" in run("", "-X", "EXAMINE INBOX")
    assert b"(MESSAGES 5 UNSEEN 5)" in run("", "-X", "STATUS INBOX (MESSAGES UNSEEN)")
    assert run("INBOX", "-X", "UID FETCH 1:* FLAGS").count(b"\\Flagged") == 2
    run("", "-X", "CREATE made")
    assert b"made" in run("", "-X", 'LIST "" m*')
    assert b"* 1 EXPUNGE" in run("INBOX", "-X", "STORE 1 +Flags \\Deleted") + run(
        "INBOX", "-X", "EXPUNGE"
    )


def test_a_url_for_others(run: Curl, filled: Place) -> None:
    """curl shows what it is sent, literals too."""
    url = f"imap://{USER}@localhost/INBOX/;UID=4/;SECTION=2;URLAUTH=user+{USER}"
    authorized = run("", "-X", f'GENURLAUTH "{url}" INTERNAL').split(b'"')[1].decode()
    assert authorized.startswith(url)
    assert b"(BINARY {11}" in run("", "-X", f'URLFETCH ("{authorized}" BINARY)')
    assert b" NIL" in run("", "-X", f'URLFETCH "{authorized}0"')


def test_search(run: Curl, filled: Place) -> None:
    assert run("INBOX?SUBJECT%20even") == b"* SEARCH 1 3 5\r\n"
    assert run("INBOX?ALL%20NOT%20SUBJECT%20plain") == b"* SEARCH 2 3 4 5\r\n"


def test_uid_validity_of_the_url_is_compared(run: Curl, filled: Place) -> None:
    assert run("INBOX;UIDVALIDITY=1;UID=1", code=REMOTE_FILE_NOT_FOUND) == b""


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("ir", [[], ["--sasl-ir"]])
def test_ways_to_log_in(run: Curl, filled: Place, mechanism: str, ir: list[str]) -> None:
    assert run("INBOX;UID=1", "--login-options", f"AUTH={mechanism}", *ir) == message(0)


def test_wrong_password(run: Curl) -> None:
    run("", user=f"{USER}:wrong", code=LOGIN_DENIED)


def test_missing_mailbox_and_message(run: Curl, filled: Place) -> None:
    run("Nope;UID=1", code=LOGIN_DENIED)  # so curl calls a refused SELECT
    assert run("INBOX;UID=99", code=REMOTE_FILE_NOT_FOUND) == b""


def test_certificate_of_another_authority_is_noticed(run: Curl, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    run("", ca=other, code=NOT_TRUSTED)
