"""imaplib, the client in Python's standard library."""

from __future__ import annotations

import imaplib
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from .conftest import FRIEND, MASTER, PASSWORD, USER, Place
from .messages import message


@contextmanager
def session(place: Place, mailbox: str | None = "INBOX") -> Iterator[imaplib.IMAP4]:
    with imaplib.IMAP4(place.host, place.port, timeout=20) as client:
        client.login(USER, PASSWORD)
        if mailbox is not None:
            ok(client.select(mailbox))
        yield client


def ok(answer: tuple[str, list]) -> list:
    assert answer[0] == "OK", answer
    return answer[1]


def append(client: imaplib.IMAP4, *numbers: int, mailbox: str = "INBOX") -> None:
    for n in numbers:
        ok(client.append(mailbox, None, None, message(n)))


def test_capabilities_are_those_imaplib_asks_for(server: Place) -> None:
    with imaplib.IMAP4(server.host, server.port, timeout=20) as client:
        assert client.PROTOCOL_VERSION == "IMAP4REV1"
        assert "AUTH=PLAIN" in client.capabilities
        assert "STARTTLS" in client.capabilities


def test_login_with_wrong_password_can_be_repeated(server: Place) -> None:
    with imaplib.IMAP4(server.host, server.port, timeout=20) as client:
        with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
            client.login(USER, "wrong")
        ok(client.login(USER, PASSWORD))


def test_authenticate_plain(server: Place) -> None:
    with imaplib.IMAP4(server.host, server.port, timeout=20) as client:
        ok(client.authenticate("PLAIN", lambda _: f"\0{USER}\0{PASSWORD}".encode()))
        assert client.state == "AUTH"


def test_starttls_and_then_login(server: Place) -> None:
    with imaplib.IMAP4("localhost", server.port, timeout=20) as client:
        ok(client.starttls(server.trust()))
        assert "STARTTLS" not in client.capabilities
        ok(client.login(USER, PASSWORD))
        ok(client.select())


def test_implicit_tls(server: Place) -> None:
    with imaplib.IMAP4_SSL(
        "localhost", server.tls_port, ssl_context=server.trust(), timeout=20
    ) as client:
        ok(client.login(USER, PASSWORD))
        assert ok(client.select()) == [b"0"]


def test_select_tells_count_and_codes(demo: Place) -> None:
    with session(demo, None) as client:
        assert ok(client.select()) == [b"4"]
        assert client.response("UIDNEXT")[1] == [b"105"]
        assert client.response("UIDVALIDITY")[1] != [None]
        ok(client.select("Archive", readonly=True))
        ok(client.select("Trash", readonly=True))
        assert client.store("1", "+FLAGS", r"\Flagged")[0] == "NO"


def test_select_of_missing_mailbox_is_no(server: Place) -> None:
    with session(server, None) as client:
        assert client.select("Nope")[0] == "NO"
        assert client.state == "AUTH"


def test_append_with_flags_and_date(server: Place) -> None:
    with session(server) as client:
        when = '"17-Jul-1996 02:44:25 -0700"'
        ok(client.append("INBOX", r"(\Seen $Label1)", when, message(0)))
        (got,) = ok(client.fetch("1", "(FLAGS INTERNALDATE RFC822.SIZE)"))
        assert set(imaplib.ParseFlags(got)) >= {rb"\Seen", b"$Label1"}
        assert b"RFC822.SIZE %d" % len(message(0)) in got
        moment = imaplib.Internaldate2tuple(got)
        assert moment is not None
        assert time.mktime(moment) == 837596665


def test_fetched_octets_are_the_appended_ones(server: Place) -> None:
    with session(server) as client:
        append(client, *range(9))
        ok(client.noop())
        parts = ok(client.fetch("1:*", "(UID RFC822)"))
        assert [p[1] for p in parts if isinstance(p, tuple)] == [message(n) for n in range(9)]


def test_sections_and_partial_fetch(demo: Place) -> None:
    with session(demo, "INBOX") as client:
        whole = ok(client.fetch("1", "(BODY.PEEK[])"))[0][1]
        head = ok(client.fetch("1", "(BODY.PEEK[HEADER])"))[0][1]
        text = ok(client.fetch("1", "(BODY.PEEK[TEXT])"))[0][1]
        assert head + text == whole
        assert ok(client.fetch("1", "(BODY.PEEK[]<3.10>)"))[0][1] == whole[3:13]
        inner = ok(client.fetch("3", "(BODY.PEEK[2.HEADER.FIELDS (SUBJECT)])"))[0][1]
        assert inner.lower().startswith(b"subject:")


def test_search_with_charset_and_with_literal(server: Place) -> None:
    with session(server) as client:
        append(client, 0, 1, 7)
        ok(client.noop())
        assert ok(client.search(None, "ALL")) == [b"1 2 3"]
        assert ok(client.search(None, "SUBJECT", '"even"', "NOT", "SEEN")) == [b"1"]
        client.literal = "grüße".encode()
        assert ok(client.search("UTF-8", "TEXT")) == [b"2 3"]
        client.literal = "GRÜSSE".encode("latin-1")
        assert client.search("ISO-8859-1", "BODY")[0] == "OK"
        with pytest.raises(client.error, match="BAD"):
            client.search(None, "NOTAKEY")


def test_unknown_charset_is_no_badcharset(server: Place) -> None:
    with session(server) as client:
        status, text = client.search("X-KLINGON", "SUBJECT", "x")
        assert status == "NO"
        assert b"BADCHARSET" in text[0]


def test_sort_and_thread(server: Place) -> None:
    with session(server) as client:
        for subject, parent in (("b", ""), ("Re: b", "<0@x>"), ("a", "")):
            number = len(ok(client.search(None, "ALL"))[0].split())
            answers = f"In-Reply-To: {parent}\r\n" if parent else ""
            text = f"Subject: {subject}\r\nMessage-Id: <{number}@x>\r\n{answers}\r\nx\r\n"
            ok(client.append("INBOX", "", "", text.encode()))
            ok(client.noop())
        assert ok(client.sort("(SUBJECT ARRIVAL)", "UTF-8", "ALL")) == [b"3 1 2"]
        assert ok(client.sort("(REVERSE SUBJECT)", "UTF-8", "UNSEEN")) == [b"1 2 3"]
        assert ok(client.uid("SORT", "(SIZE)", "UTF-8", "3")) == [b"3"]
        assert ok(client.thread("REFERENCES", "UTF-8", "ALL")) == [b"(1 2)(3)"]


def test_acl(server: Place) -> None:
    with session(server, None) as client:
        assert ok(client.myrights("INBOX")) == [b"INBOX lrswipkxteacd"]
        ok(client.create('"Our work"'))
        ok(client.setacl('"Our work"', FRIEND, "lr"))
        ok(client.setacl('"Our work"', FRIEND, "+s"))
        assert ok(client.getacl('"Our work"')) == [b'"Our work" demouser lrswipkxteacd friend lrs']
        shared = '"Other Users/demouser/Our work"'
        with imaplib.IMAP4(server.host, server.port, timeout=20) as friend:
            friend.login(FRIEND, PASSWORD)
            assert ok(friend.myrights(shared)) == [f"{shared} lrs".encode()]
            assert ok(friend.list('"Other Users/"', "%/%")) == [
                f'(\\HasNoChildren) "/" {shared}'.encode()
            ]
            ok(friend.select(shared, readonly=True))
        ok(client.deleteacl('"Our work"', FRIEND))
        assert ok(client.getacl('"Our work"')) == [b'"Our work" demouser lrswipkxteacd']
        assert client.setacl("nosuch", FRIEND, "lr")[0] == "NO"
        with pytest.raises(client.error, match="BAD"):
            client.setacl("INBOX", FRIEND, "lrQ")


def test_quota(server: Place) -> None:
    with session(server, None) as client, imaplib.IMAP4(server.host, server.port) as master:
        ok(client.capability())
        roots, quotas = ok(client.getquotaroot("INBOX"))
        assert roots == [b"INBOX demouser"]
        assert quotas == [b"demouser (MAILBOX 1 10000)"]
        assert client.setquota(USER, "(STORAGE 1)")[0] == "NO"
        ok(master.login(f'"{USER}*{MASTER}"', PASSWORD))
        assert ok(master.setquota(USER, "(STORAGE 2 MESSAGE 3)")) == [
            b"demouser (STORAGE 0 2 MESSAGE 0 3 MAILBOX 1 10000)"
        ]
        append(client, 0)
        assert ok(client.getquota(USER)) == [b"demouser (STORAGE 1 2 MESSAGE 1 3 MAILBOX 1 10000)"]
        answer, (text,) = client.append("INBOX", None, None, b"x" * 3000)
        assert (answer, text[:11]) == ("NO", b"[OVERQUOTA]")


def test_store_replaces_adds_and_removes(server: Place) -> None:
    with session(server) as client:
        append(client, 0)
        ok(client.noop())

        def flags(*how: str) -> set[bytes]:
            (got,) = ok(client.store("1", *how))
            return set(imaplib.ParseFlags(got)) - {rb"\Recent"}

        assert flags("FLAGS", r"(\Seen \Flagged)") == {rb"\Seen", rb"\Flagged"}
        assert flags("+FLAGS", r"(Junk)") == {rb"\Seen", rb"\Flagged", b"Junk"}
        assert flags("-FLAGS", r"(\Seen)") == {rb"\Flagged", b"Junk"}


def test_expunge_tells_descending_or_shifting_numbers(server: Place) -> None:
    with session(server) as client:
        append(client, *range(5))
        ok(client.noop())
        ok(client.store("2,4:5", "+FLAGS.SILENT", r"\Deleted"))
        left = list(range(1, 6))
        for number in ok(client.expunge()):
            del left[int(number) - 1]
        assert left == [1, 3]
        assert ok(client.uid("SEARCH", "ALL")) == [b"1 3"]


def test_close_expunges_and_unselect_does_not(server: Place) -> None:
    with session(server) as client:
        append(client, 0, 1)
        ok(client.noop())
        ok(client.store("1", "+FLAGS", r"\Deleted"))
        ok(client.unselect())
        assert ok(client.select()) == [b"2"]
        ok(client.close())
        assert ok(client.select()) == [b"1"]


def test_copy_and_uid_move(server: Place) -> None:
    with session(server) as client:
        append(client, 0, 1, 2)
        ok(client.create("Box/one"))
        ok(client.noop())
        ok(client.copy("1:2", "Box/one"))
        assert re.match(rb"\d+ 1:2 1:2$", client.response("COPYUID")[1][0])
        ok(client.uid("MOVE", "3", "Box/one"))
        assert ok(client.status("Box/one", "(MESSAGES)")) == [b"Box/one (MESSAGES 3)"]
        assert client.copy("1", "Nope")[0] == "NO"


def test_mailboxes_are_made_renamed_listed_and_removed(server: Place) -> None:
    with session(server, None) as client:
        name = '"Entw&APw-rfe &- mehr"'
        ok(client.create(name))
        ok(client.subscribe(name))
        assert ok(client.lsub()) == [b'() "/" ' + name.encode()]
        ok(client.rename(name, "Other"))
        listed = b"\n".join(ok(client.list('""', "*")))
        assert b'"/" Other' in listed
        assert b"Entw" not in listed
        ok(client.unsubscribe(name))
        ok(client.delete("Other"))
        assert len(ok(client.list())) == 1
        assert client.delete("Other")[0] == "NO"


def test_namespace_enable_and_noop(server: Place) -> None:
    with session(server, None) as client:
        assert ok(client.namespace()) == [b'(("" "/")) (("Other Users/" "/")) NIL']
        ok(client.enable("CONDSTORE"))
        assert client.response("ENABLED")[1] == [b"CONDSTORE"]


def test_utf8_mode(server: Place) -> None:
    with session(server, None) as client:
        ok(client.enable("UTF8=ACCEPT"))
        assert client.utf8_enabled
        ok(client.create('"Größe"'))
        assert ok(client.select('"Größe"')) == [b"0"]
        # In this mode imaplib puts the words UTF8 ( ) into the literal, so they are stored.
        ok(client.append('"Größe"', "", "", "Subject: größer\r\n\r\nx\r\n".encode()))
        ok(client.noop())
        assert ok(client.search(None, "TEXT", '"größ"')) == [b"1"]


def test_second_session_sees_the_first_ones_changes(server: Place) -> None:
    with session(server) as one, session(server) as two:
        append(two, 0)
        ok(one.noop())
        assert one.response("EXISTS")[1][-1] == b"1"
        ok(two.noop())
        ok(two.store("1", "+FLAGS", r"\Flagged"))
        ok(one.noop())
        assert rb"\Flagged" in one.response("FETCH")[1][-1]
        ok(two.store("1", "+FLAGS", r"\Deleted"))
        ok(two.expunge())
        ok(one.noop())
        assert one.response("EXPUNGE")[1] == [b"1"]


def test_mailbox_larger_than_a_read_buffer(server: Place) -> None:
    big = message(0) + b"0123456789abcde\r\n" * 200_000
    with session(server) as client:
        ok(client.append("INBOX", None, None, big))
        ok(client.noop())
        assert ok(client.fetch("1", "(BODY.PEEK[])"))[0][1] == big


def raw(client: imaplib.IMAP4, name: str, *args: str) -> list:
    """What is answered, untagged, to a command that imaplib does not know."""
    imaplib.Commands.setdefault(name, ("AUTH", "SELECTED"))
    status, _ = client._simple_command(name, *args)
    assert status == "OK"
    return client._untagged_response(status, [None], name)[1]


def test_urls_are_authorized_and_fetched(server: Place) -> None:
    with session(server) as client:
        append(client, 0)
        url = f"imap://{USER}@localhost/INBOX/;UID=1/;SECTION=HEADER;URLAUTH=authuser"
        (answer,) = raw(client, "GENURLAUTH", f'"{url}"', "INTERNAL")
        assert answer.startswith(b'"%b:INTERNAL:01' % url.encode())
        (head, octets), _ = raw(client, "URLFETCH", answer.decode())
        assert head.startswith(answer)
        assert octets == message(0).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"


def test_a_draft_is_replaced(server: Place) -> None:
    with session(server) as client:
        append(client, 0)
        ok(client.noop())
        imaplib.Commands.setdefault("REPLACE", ("SELECTED",))
        client.literal = message(1)
        assert client._simple_command("REPLACE", "1", "INBOX", r"(\Draft)")[0] == "OK"
        assert ok(client.uid("SEARCH", "ALL")) == [b"2"]
        parts = "/INBOX/;UID=2/;SECTION=HEADER", "/INBOX/;UID=2/;SECTION=TEXT/;PARTIAL=0.3"
        urls = " ".join(f'URL "{url}"' for url in parts)
        assert client._simple_command("APPEND", "INBOX", f"CATENATE ({urls})")[0] == "OK"
        header, blank, text = message(1).partition(b"\r\n\r\n")
        ((_, octets), *_) = ok(client.uid("FETCH", "3", "BODY.PEEK[]"))
        assert octets == header + blank + text[:3]
