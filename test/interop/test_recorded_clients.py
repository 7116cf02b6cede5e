"""What ten real clients sent on the wire, replayed: recordings/ has one file for each.

They are shortened from recordings made beside Dovecot; the answers named in them are those that
Dovecot gave, and that a client may have come to rely on.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Place
from .recording import replay, shape

RECORDINGS = Path(__file__).parent / "recordings"
CLIENTS = [
    *("aerc", "alpine", "fetchmail", "getmail", "imapfilter"),
    *("imapflow", "mbsync", "mutt", "offlineimap", "thunderbird"),
]


@pytest.mark.parametrize("client", CLIENTS)
def test_recorded_session_of(server: Place, client: str) -> None:
    text = (RECORDINGS / f"{client}.txt").read_text("utf-8")
    assert replay(server, text) > 10


def test_all_recordings_are_replayed() -> None:
    assert sorted(p.stem for p in RECORDINGS.iterdir()) == CLIENTS


def test_shape_keeps_what_counts() -> None:
    assert shape(b"* 3 FETCH (UID 4 FLAGS (\\Seen))") == shape(b"* 9 FETCH (FLAGS () UID 1)")
    assert shape(b"* 3 FETCH (UID 4)") != shape(b"* 3 FETCH (UID 4 FLAGS ())")
    assert shape(b"* 3 FETCH (BODY[TEXT] {2}\r\nxx)") == "FETCH BODY[TEXT]"
    assert shape(b'* LIST () "/" Box') != shape(b'* LIST (\\Noselect) "/" Box')
    assert shape(b"* OK [UIDNEXT 3] x") == shape(b"* OK [UIDNEXT 400] Predicted")
    assert shape(b"* SEARCH 1 2") != shape(b"* SEARCH 1")
    assert shape(b"* VANISHED (EARLIER) 1:3,7") == "VANISHED (EARLIER) N"
