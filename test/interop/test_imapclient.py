"""IMAPClient, which parses every answer into Python values."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from imapclient import DELETED, FLAGGED, SEEN, IMAPClient
from imapclient.exceptions import IMAPClientError, InvalidCriteriaError, LoginError
from imapclient.imapclient import Quota
from imapclient.response_types import Address

from .conftest import FRIEND, PASSWORD, USER, Place
from .messages import message


def connect(place: Place) -> IMAPClient:
    return IMAPClient(place.host, place.port, ssl=False, timeout=20)


@contextmanager
def session(place: Place, mailbox: str | None = "INBOX") -> Iterator[IMAPClient]:
    with connect(place) as client:
        client.login(USER, PASSWORD)
        if mailbox is not None:
            client.select_folder(mailbox)
        yield client


def test_capabilities_before_and_after_login(server: Place) -> None:
    with connect(server) as client:
        assert client.has_capability("IMAP4REV1")
        assert client.has_capability("STARTTLS")
        client.login(USER, PASSWORD)
        for name in (
            "IDLE",
            "UIDPLUS",
            "MOVE",
            "CONDSTORE",
            "ESEARCH",
            "NAMESPACE",
            "ID",
            "METADATA",
            "ACL",
            "QUOTA",
        ):
            assert client.has_capability(name), name


def test_login_plain_login_and_failure(server: Place) -> None:
    with connect(server) as client:
        with pytest.raises(LoginError):
            client.login(USER, "wrong")
        assert client.plain_login(USER, PASSWORD)
        assert client.noop()[0]


def test_starttls(server: Place) -> None:
    with IMAPClient("localhost", server.port, ssl=False, timeout=20) as client:
        client.starttls(server.trust())
        client.login(USER, PASSWORD)
        assert client.select_folder("INBOX")[b"EXISTS"] == 0


def test_implicit_tls(server: Place) -> None:
    with IMAPClient("localhost", server.tls_port, ssl_context=server.trust(), timeout=20) as client:
        client.login(USER, PASSWORD)
        assert client.folder_exists("INBOX")


def test_acl(server: Place) -> None:
    with session(server, None) as client:
        client.create_folder("Büro")
        client.setacl("Büro", FRIEND, "lr")
        client.setacl("Büro", FRIEND, "+s")
        assert client.getacl("Büro") == [(b"demouser", b"lrswipkxteacd"), (b"friend", b"lrs")]
        with connect(server) as friend:
            friend.login(FRIEND, PASSWORD)
            shared = "Other Users/demouser/Büro"
            assert shared in {name for _, _, name in friend.list_folders()}
            assert friend.select_folder(shared)[b"EXISTS"] == 0


def test_id_and_namespace(server: Place) -> None:
    with session(server, None) as client:
        assert client.id_({"name": "test"})[0][0] == b"name"
        namespace = client.namespace()
        assert namespace.personal == (("", "/"),)
        assert namespace.other == (("Other Users/", "/"),)
        assert not namespace.shared


def test_select_is_parsed(demo: Place) -> None:
    with session(demo, None) as client:
        told = client.select_folder("INBOX")
        assert told[b"EXISTS"] == 4
        assert told[b"UIDNEXT"] == 105
        assert told[b"READ-WRITE"]
        assert rb"\*" in told[b"PERMANENTFLAGS"]
        assert client.select_folder("INBOX", readonly=True)[b"READ-ONLY"]


def test_everything_of_every_demo_message_is_parsed(demo: Place) -> None:
    items = ["FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODYSTRUCTURE", "BODY"]
    items += [
        "RFC822",
        "RFC822.HEADER",
        "RFC822.TEXT",
        "BODY.PEEK[1]",
        "BODY.PEEK[HEADER]",
        "MODSEQ",
    ]
    with session(demo, None) as client:
        for flags, delimiter, name in client.list_folders():
            assert delimiter == b"/"
            assert b"\\Noselect" not in flags
            client.select_folder(name, readonly=True)
            uids = client.search()
            if not uids:
                continue
            got = client.fetch(uids, items)
            assert sorted(got) == uids
            for parts in got.values():
                assert parts[b"RFC822.SIZE"] == len(parts[b"RFC822"])
                assert parts[b"RFC822.HEADER"] + parts[b"RFC822.TEXT"] == parts[b"RFC822"]
                assert parts[b"ENVELOPE"].message_id.startswith(b"<")
                assert isinstance(parts[b"ENVELOPE"].date, datetime)


def test_envelope_of_a_group_and_encoded_names(demo: Place) -> None:
    with session(demo) as client:
        envelope = client.fetch(102, "ENVELOPE")[102][b"ENVELOPE"]
        assert envelope.subject == b"[gardeners] Apples in three alphabets"
        assert envelope.from_ == (
            Address(b"=?utf-8?b?Tm/Dq2wgRsO2cnN0ZXI=?=", None, b"noel", b"example.net"),
        )
        assert envelope.sender[0].mailbox == b"gardeners-bounces"
        assert [a.mailbox for a in envelope.cc] == [b"Helpers", b"ada", b"grace", None, b"demouser"]
        assert envelope.bcc is None
        moment = datetime(2003, 9, 21, 8, 59, 30, tzinfo=UTC)
        assert envelope.date == moment.astimezone().replace(tzinfo=None)


def test_bodystructure_of_the_richest_message(demo: Place) -> None:
    with session(demo) as client:
        body = client.fetch(104, "BODYSTRUCTURE")[104][b"BODYSTRUCTURE"]
        assert body.is_multipart
        parts, subtype = body[0], body[1]
        assert subtype == b"mixed"
        assert parts[0].is_multipart
        assert parts[0][1] == b"alternative"
        related = parts[0][0][1]
        assert related[1] == b"related"
        assert related[0][1][:2] == (b"image", b"png")
        assert parts[1][:2] == (b"text", b"csv")


def test_bodystructure_of_a_message_in_a_message(demo: Place) -> None:
    with session(demo) as client:
        inner = client.fetch(103, "BODYSTRUCTURE")[103][b"BODYSTRUCTURE"][0][1]
        assert inner[:2] == (b"message", b"rfc822")
        assert inner[7][1] == b"The boat at 06:40"
        assert [part[:2] for part in inner[8][:2]] == [(b"text", b"plain"), (b"text", b"html")]
        assert inner[8][2] == b"alternative"


def test_append_with_flags_and_date_answers_appenduid(server: Place) -> None:
    with session(server) as client:
        when = datetime(2001, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=-3, minutes=-30)))
        answer = client.append("INBOX", message(0), (SEEN, "$Forwarded"), when)
        assert b"APPENDUID" in answer
        client.noop()
        client.normalise_times = False
        got = client.fetch(1, ["FLAGS", "INTERNALDATE", "BODY[]"])[1]
        assert set(got[b"FLAGS"]) - {rb"\Recent"} == {SEEN, b"$Forwarded"}
        assert got[b"INTERNALDATE"].astimezone(UTC) == when.astimezone(UTC)
        assert got[b"BODY[]"] == message(0)


def test_multiappend_with_flags(server: Place) -> None:
    with session(server) as client:
        client.multiappend("INBOX", [{"msg": message(n), "flags": [SEEN]} for n in range(3)])
        client.noop()
        got = client.fetch(client.search(), "BODY.PEEK[]")
        assert [got[n + 1][b"BODY[]"] for n in range(3)] == [message(n) for n in range(3)]


def test_multiappend_of_bare_messages(server: Place) -> None:
    """IMAPClient 4.1 sends two spaces between two literals. The grammar has one; Dovecot takes it."""
    with session(server) as client:
        client.multiappend("INBOX", [message(n) for n in range(3)])
        client.noop()
        assert client.search() == [1, 2, 3]


def fill(client: IMAPClient, count: int, mailbox: str = "INBOX") -> None:
    for n in range(count):
        client.append(mailbox, message(n), (), datetime(2020, 1, n % 28 + 1, tzinfo=UTC))
    client.noop()


def test_search_keys(server: Place) -> None:
    with session(server) as client:
        fill(client, 9)
        client.add_flags([2, 3], [FLAGGED])
        assert client.search("FLAGGED") == [2, 3]
        assert client.search(["NOT", "FLAGGED", "SUBJECT", "odd"]) == [4, 6]
        assert client.search(["OR", ["SUBJECT", "alternative"], ["SUBJECT", "attach"]]) == [4, 5]
        assert client.search(["SINCE", date(2020, 1, 8)]) == [8, 9]
        assert client.search(["SUBJECT", "Grüße 日本 café"], "UTF-8") == [8]
        assert client.search(["BODY", "grüße"], "utf-8") == [2]
        assert client.search(["HEADER", "X-Hx-Id", "hx4"]) == [5]
        assert client.search(["UID", "3:5"]) == [3, 4, 5]
        assert client.search(["FROM", 'he said "hi" \\']) == []
        with pytest.raises(InvalidCriteriaError):
            client.search("NONSENSE")


def test_search_with_modseq_tells_the_highest(server: Place) -> None:
    with session(server) as client:
        fill(client, 3)
        before = client.search(["MODSEQ", "1"]).modseq
        assert before
        client.add_flags(2, [SEEN])
        found = client.search(["MODSEQ", str(before + 1)])
        assert found == [2]
        assert found.modseq > before


def test_fetch_changed_since(server: Place) -> None:
    with session(server, None) as client:
        client.enable("CONDSTORE")
        client.select_folder("INBOX")
        fill(client, 3)
        highest = client.folder_status("INBOX", "HIGHESTMODSEQ")[b"HIGHESTMODSEQ"]
        client.set_flags(3, [FLAGGED])
        got = client.fetch([1, 2, 3], ["FLAGS"], [f"CHANGEDSINCE {highest}"])
        assert list(got) == [3]
        assert got[3][b"MODSEQ"][0] > highest


def test_sort_and_thread(server: Place) -> None:
    with session(server) as client:
        fill(client, 3)
        assert client.sort("REVERSE ARRIVAL") == [3, 2, 1]
        assert sorted(client.sort(["SUBJECT", "REVERSE DATE"])) == [1, 2, 3]
        assert client.sort("ARRIVAL", ["UID", "2:*"]) == [2, 3]
        threads = client.thread(algorithm="ORDEREDSUBJECT")
        assert sorted(uid for thread in threads for uid in thread) == [1, 2, 3]


def test_quota(server: Place) -> None:
    with session(server) as client:
        roots, quotas = client.get_quota_root("INBOX")
        assert (roots.mailbox, roots.quota_roots) == ("INBOX", [USER])
        assert [(q.quota_root, q.resource, q.usage, q.limit) for q in quotas] == [
            (USER, "MAILBOX", 1, 10000)
        ]
        assert client.get_quota("INBOX") == quotas
        with pytest.raises(IMAPClientError, match="master"):
            client.set_quota([Quota(USER, "STORAGE", 0, 512)])


def test_copy_move_and_expunge(server: Place) -> None:
    with session(server) as client:
        fill(client, 5)
        client.create_folder("Box")
        client.copy([1, 2], "Box")
        assert client.folder_status("Box")[b"MESSAGES"] == 2
        client.move([3], "Box")
        assert client.search() == [1, 2, 4, 5]
        assert client.folder_status("Box")[b"MESSAGES"] == 3
        client.delete_messages([4, 5])
        client.uid_expunge([5])
        assert client.search() == [1, 2, 4]
        client.expunge()
        assert client.search() == [1, 2]
        with pytest.raises(IMAPClientError, match="TRYCREATE"):
            client.copy([1], "Nope")


def test_flags_and_keywords(server: Place) -> None:
    with session(server) as client:
        fill(client, 2)
        assert set(client.add_flags([1, 2], ["Kw1", SEEN])[2]) >= {b"Kw1", SEEN}
        client.remove_flags(1, [SEEN], silent=True)
        assert SEEN not in client.get_flags(1)[1]
        client.set_flags(1, [DELETED])
        assert set(client.get_flags(1)[1]) - {rb"\Recent"} == {DELETED}


@pytest.mark.parametrize(
    "name",
    [
        "Entwürfe",
        "日本語/中",
        "a & b",
        'quo"te',
        "back\\slash",
        "tilde~peter/mail",
        "&-",
        "  spaces  ",
        "🍎",
        "in(side)",
        "100%25",
    ],
)
def test_mailbox_names(server: Place, name: str) -> None:
    with session(server, None) as client:
        client.create_folder(name)
        client.subscribe_folder(name)
        assert name in [folder[2] for folder in client.list_folders()]
        assert name in [folder[2] for folder in client.list_sub_folders()]
        client.append(name, message(0))
        assert client.select_folder(name)[b"EXISTS"] == 1
        client.close_folder()
        client.rename_folder(name, name + "2")
        assert client.folder_exists(name + "2")
        client.delete_folder(name + "2")


def test_special_use_folders_are_found(demo: Place) -> None:
    with session(demo, None) as client:
        assert client.find_special_folder(rb"\Sent") == "Sent"
        assert client.find_special_folder(rb"\Trash") == "Trash"
        assert client.find_special_folder(rb"\Drafts") == "Drafts"
        assert client.find_special_folder(rb"\Archive") == "Archive"


def test_idle_hears_of_a_delivery_and_of_flags(server: Place) -> None:
    with session(server) as idler, session(server) as other:
        idler.idle()
        assert idler.idle_check(timeout=0.05) == []
        other.append("INBOX", message(0))
        assert (1, b"EXISTS") in idler.idle_check(timeout=10)
        other.noop()
        other.add_flags(1, [FLAGGED])
        got = idler.idle_check(timeout=10)
        assert any(r[:2] == (1, b"FETCH") and FLAGGED in r[2][1] for r in got if len(r) > 2), got
        other.delete_messages(1)
        other.expunge()
        heard: list[tuple] = []
        while (1, b"EXPUNGE") not in heard:
            more = idler.idle_check(timeout=10)
            assert more, heard
            heard += more
        text, _ = idler.idle_done()
        assert b"IDLE" in text.upper()
        assert idler.search() == []


def test_idle_is_woken_from_another_thread_and_usable_again(server: Place) -> None:
    with session(server) as idler:

        def deliver() -> None:
            with session(server) as other:
                other.append("INBOX", message(1))

        for expected in (1, 2):
            idler.idle()
            thread = threading.Thread(target=deliver)
            thread.start()
            assert (expected, b"EXISTS") in idler.idle_check(timeout=10)
            thread.join()
            idler.idle_done()
        assert idler.search() == [1, 2]


def test_unselect_and_folder_status(server: Place) -> None:
    with session(server) as client:
        fill(client, 2)
        client.unselect_folder()
        told = client.folder_status("INBOX", ["MESSAGES", "UIDNEXT", "UNSEEN", "RECENT"])
        assert told[b"MESSAGES"] == 2
        assert told[b"UIDNEXT"] == 3
        assert told[b"UNSEEN"] == 2
