"""What each command means: octets and the command they are. FETCH and SEARCH have their own files.

Each row is read whole and one octet at a time (`feed.both_ways`), with its name in other case,
under another tag, and with bare LF for CRLF.
"""

from __future__ import annotations

import re

import pytest

from pymap.wire import commands as c
from pymap.wire.commands import ListReturn, ListSelect, StatusItem
from pymap.wire.errors import Refused
from pymap.wire.labels import flag_of
from pymap.wire.parse import COMMANDS as KNOWN
from pymap.wire.types import ANSWERED, DELETED, DRAFT, FLAGGED, SEEN, Flag, FlagOp, SequenceSet

from .feed import (
    AUTHENTICATED,
    LOGOUT,
    NOT_AUTHENTICATED,
    SELECTED,
    bad,
    command,
    refusal,
    shown,
)


def numbers(*ranges: tuple[int, int]) -> SequenceSet:
    return SequenceSet(ranges)


E, F = c.Event, c.MailboxFilter
MESSAGES = frozenset((E.MESSAGE_NEW, E.MESSAGE_EXPUNGE))
STAR = (0, 0)
SAVED = SequenceSet((), saved=True)
TWO_TO_FOUR = numbers((2, 4))

# -- the commands of the not authenticated state --

BEFORE_LOGIN: list[tuple[bytes, c.Command]] = [
    (b"a CAPABILITY\r\n", c.Capability("a")),
    (b"a NOOP\r\n", c.Noop("a")),
    (b"a LOGOUT\r\n", c.Logout("a")),
    (b"a STARTTLS\r\n", c.StartTls("a")),
    (b"a LANGUAGE\r\n", c.Language("a", ())),
    (b'a LANGUAGE de "FR-ca" {9+}\r\ni-default "*"\r\n',
     c.Language("a", ("de", "FR-ca", "i-default", "*"))),
    (b'a LANGUAGE "zh-Hant-*-x-a"\r\n', c.Language("a", ("zh-Hant-*-x-a",))),
    # LOGIN.   RFC 9051 6.2.3; the literals RFC 7888 3 and RFC 3501 8
    (b"a LOGIN SMITH SESAME\r\n", c.Login("a", "SMITH", "SESAME")),
    (b"a LOGIN {11}\r\nFRED FOOBAR {7}\r\nfat man\r\n", c.Login("a", "FRED FOOBAR", "fat man")),
    (b"a LOGIN {11+}\r\nFRED FOOBAR {7+}\r\nfat man\r\n", c.Login("a", "FRED FOOBAR", "fat man")),
    (b"a LOGIN {11+}\r\nFRED FOOBAR {7}\r\nfat man\r\n", c.Login("a", "FRED FOOBAR", "fat man")),
    (b'a LOGIN "FRED FOOBAR" "fat man"\r\n', c.Login("a", "FRED FOOBAR", "fat man")),
    (b'a LOGIN "a\\"b\\\\c" "\\\\"\r\n', c.Login("a", 'a"b\\c', "\\")),
    (b'a LOGIN "" ""\r\n', c.Login("a", "", "")),
    (b"a LOGIN {0}\r\n {0+}\r\n\r\n", c.Login("a", "", "")),
    (b"a LOGIN fred@example.com ]!#$&'+,-./:;<=>?@[^_`|}~\r\n",
     c.Login("a", "fred@example.com", "]!#$&'+,-./:;<=>?@[^_`|}~")),
    (b"a LOGIN {6}\r\nNIL\r\n} nil\r\n", c.Login("a", "NIL\r\n}", "nil")),
    (b'a LOGIN "(){%*]}" "{5}"\r\n', c.Login("a", "(){%*]}", "{5}")),
    # In UTF-8, in each of the three spellings.   RFC 6855 5, RFC 9051 4.3
    (b'a LOGIN "\xc3\xa4" {2}\r\n\xc3\xa4\r\n', c.Login("a", "ä", "ä")),
    # AUTHENTICATE.   RFC 9051 6.2.2, RFC 4959 3
    (b"a AUTHENTICATE GSSAPI\r\n", c.Authenticate("a", "GSSAPI", None)),
    (b"a AUTHENTICATE PLAIN dGVzdAB0ZXN0AHRlc3Q=\r\n",
     c.Authenticate("a", "PLAIN", b"test\0test\0test")),
    (b"a AUTHENTICATE EXTERNAL =\r\n", c.Authenticate("a", "EXTERNAL", b"")),
    (b"a AUTHENTICATE external\r\n", c.Authenticate("a", "EXTERNAL", None)),
    (b"a AUTHENTICATE SCRAM-SHA-256 +/A=\r\n", c.Authenticate("a", "SCRAM-SHA-256", b"\xfb\xf0")),
    (b"a AUTHENTICATE X YQ==\r\n", c.Authenticate("a", "X", b"a")),
    (b"a AUTHENTICATE X YWJj\r\n", c.Authenticate("a", "X", b"abc")),
    # ID.   RFC 2971 3.1
    (b"a ID NIL\r\n", c.Id("a", ())),
    (b"a ID nil\r\n", c.Id("a", ())),
    (b"a ID ()\r\n", c.Id("a", ())),
    (b'a ID ("name" "sodr" "version" "19.34" "vendor" "Pink Floyd Music Limited")\r\n',
     c.Id("a", (("name", "sodr"), ("version", "19.34"), ("vendor", "Pink Floyd Music Limited")))),
    (b'a ID ("os" NIL "os-version" nil)\r\n', c.Id("a", (("os", None), ("os-version", None)))),
    (b'a ID ({4}\r\nname {3+}\r\na"b)\r\n', c.Id("a", (("name", 'a"b'),))),
    (b'a ID ("name" "NIL" "x" "")\r\n', c.Id("a", (("name", "NIL"), ("x", "")))),
]  # fmt: skip

BAD_BEFORE_LOGIN = [
    b"a LOGIN\r\n",
    b"a LOGIN fred\r\n",
    b"a LOGIN fred \r\n",
    b"a LOGIN  fred secret\r\n",
    b"a LOGIN fred  secret\r\n",
    b"a LOGIN fred secret more\r\n",
    b"a LOGIN fred\tsecret\r\n",
    b'a LOGIN "fred"secret\r\n',
    b'a LOGIN "fred secret\r\n',
    b'a LOGIN fred "secret\\"\r\n',
    b'a LOGIN fred "a\\b"\r\n',  # only " and \ are quoted.   RFC 9051 9, QUOTED-CHAR
    b'a LOGIN fred "a\rb"\r\n',
    b"a LOGIN fred (secret)\r\n",
    b"a LOGIN fred sec%ret\r\n",
    b"a LOGIN fred sec*ret\r\n",
    b'a LOGIN fred sec"ret\r\n',
    b"a LOGIN fred sec\\ret\r\n",
    b"a LOGIN fred sec{ret\r\n",
    b"a LOGIN fred sec\0ret\r\n",
    b'a LOGIN fred "sec\0ret"\r\n',
    b"a LOGIN fred {7+}\r\nsec\0ret\r\n",  # NUL is never part of an astring.   RFC 9051 9, CHAR8
    b"a LOGIN fred sec\x7fret\r\n",
    b"a LOGIN fred {3+}\r\nfoobar\r\n",
    b"a LOGIN {4+}\r\nfred{3+}\r\nfoo\r\n",
    b"a LOGIN fred \xff\xfe\r\n",
    b"a LOGIN fred {1+}\r\n\xff\r\n",
    b"a AUTHENTICATE\r\n",
    b"a AUTHENTICATE (PLAIN)\r\n",
    b'a AUTHENTICATE "PLAIN"\r\n',
    b"a AUTHENTICATE PLAIN dGVzdA\r\n",
    b"a AUTHENTICATE PLAIN dGVz=\r\n",
    b"a AUTHENTICATE PLAIN dGV===\r\n",
    b"a AUTHENTICATE PLAIN d===\r\n",
    b"a AUTHENTICATE PLAIN ==\r\n",
    b"a AUTHENTICATE PLAIN =dGVz\r\n",
    b"a AUTHENTICATE PLAIN dGV-\r\n",
    b"a AUTHENTICATE PLAIN dGVz dGVz\r\n",
    b"a AUTHENTICATE PLAIN {4+}\r\ndGVz\r\n",
    b"a ID\r\n",
    b"a ID foo\r\n",
    b'a ID "foo"\r\n',
    b"a ID (name sodr)\r\n",
    b'a ID ("name")\r\n',
    b'a ID ("name" sodr)\r\n',
    b'a ID (NIL "sodr")\r\n',
    b'a ID ("name" "sodr"\r\n',
    b'a ID ("name""sodr")\r\n',
    b'a ID ("' + b"k" * 31 + b'" "v")\r\n',  # the bounds of RFC 2971 3.3
    b'a ID ("k" "' + b"v" * 1025 + b'")\r\n',
    b"a ID (" + b" ".join([b'"k" "v"'] * 31) + b")\r\n",
    b"a STARTTLS now\r\n",
    b"a CAPABILITY all\r\n",
    b"a NOOP()\r\n",
    b"a LOGOUT now\r\n",
    b"a UID LOGIN fred secret\r\n",
]

# -- the commands of the authenticated and selected states --

COMMANDS: list[tuple[bytes, c.Command]] = [
    # ENABLE.   RFC 5161 4
    (b"a ENABLE CONDSTORE X-GOOD-IDEA\r\n", c.Enable("a", ("CONDSTORE", "X-GOOD-IDEA"))),
    (b"a ENABLE imap4REV2 utf8=accept\r\n", c.Enable("a", ("IMAP4REV2", "UTF8=ACCEPT"))),
    # SELECT and EXAMINE.   RFC 9051 6.3.2, RFC 4466 2.1
    (b"a SELECT INBOX\r\n", c.Select("a", "INBOX", supplied="INBOX")),
    (b'a SELECT "inBox"\r\n', c.Select("a", "INBOX", supplied="inBox")),
    (b"a SELECT {5}\r\niNbOx\r\n", c.Select("a", "INBOX", supplied="iNbOx")),
    (b"a SELECT inbox/a\r\n", c.Select("a", "INBOX/a", supplied="inbox/a")),
    (b"a SELECT NIL\r\n", c.Select("a", "NIL", supplied="NIL")),
    (b'a SELECT ""\r\n', c.Select("a", "", supplied="")),
    (b"a EXAMINE blurdybloop\r\n", c.Select("a", "blurdybloop", True, supplied="blurdybloop")),
    (b"a SELECT INBOX (CONDSTORE)\r\n",
     c.Select("a", "INBOX", condstore=True, supplied="INBOX")),
    (b"a EXAMINE INBOX (condstore)\r\n",
     c.Select("a", "INBOX", True, condstore=True, supplied="INBOX")),
    # QRESYNC: the examples of RFC 7162 3.2.5 and 7
    (b"a SELECT INBOX (QRESYNC (67890007 20050715194045000))\r\n",
     c.Select("a", "INBOX", qresync=c.QResync(67890007, 20050715194045000), supplied="INBOX")),
    (b"a SELECT INBOX (QRESYNC (67890007 20050715194045000 41,43:211,214:541))\r\n",
     c.Select("a", "INBOX", supplied="INBOX", qresync=c.QResync(
         67890007, 20050715194045000, numbers((41, 41), (43, 211), (214, 541))))),
    (b"a SELECT INBOX (QRESYNC (67890007 90060115194045000 1:29997 "
     b"(5000,7500,9000,9990:9999 15000,22500,27000,29970)))\r\n",
     c.Select("a", "INBOX", supplied="INBOX", qresync=c.QResync(
         67890007, 90060115194045000, numbers((1, 29997)),
         (numbers((5000, 5000), (7500, 7500), (9000, 9000), (9990, 9999)),
          numbers((15000, 15000), (22500, 22500), (27000, 27000), (29970, 29970)))))),
    (b"a SELECT INBOX (QRESYNC (1 2 (3 4)))\r\n",  # known-uids may be left out
     c.Select("a", "INBOX", supplied="INBOX",
              qresync=c.QResync(1, 2, None, (numbers((3, 3)), numbers((4, 4)))))),
    (b"a SELECT INBOX (CONDSTORE QRESYNC (1 2))\r\n",
     c.Select("a", "INBOX", condstore=True, qresync=c.QResync(1, 2), supplied="INBOX")),
    (b"a SELECT INBOX (qresync (1 2) condstore)\r\n",
     c.Select("a", "INBOX", condstore=True, qresync=c.QResync(1, 2), supplied="INBOX")),
    (b"a SELECT INBOX (QRESYNC (4294967295 9223372036854775807))\r\n",
     c.Select("a", "INBOX", qresync=c.QResync(4294967295, (1 << 63) - 1), supplied="INBOX")),
    # CREATE.   RFC 9051 6.3.4, RFC 6154 6
    (b"a CREATE owatagusiam/\r\n", c.Create("a", "owatagusiam/", (), "owatagusiam/")),
    (b'a CREATE "Sent Mail"\r\n', c.Create("a", "Sent Mail", (), "Sent Mail")),
    (b'a CREATE "#mh/Deleted Items"\r\n', c.Create("a", "#mh/Deleted Items", (), "#mh/Deleted Items")),
    (b"a CREATE MySpecial (USE (\\Drafts \\Sent))\r\n",
     c.Create("a", "MySpecial", ("\\Drafts", "\\Sent"), "MySpecial")),
    (b"a CREATE Everything (use (\\All))\r\n",
     c.Create("a", "Everything", ("\\All",), "Everything")),
    (b"a CREATE x (USE ())\r\n", c.Create("a", "x", (), "x")),
    (b"a DELETE foo/bar\r\n", c.Delete("a", "foo/bar")),
    (b"a DELETE inbox\r\n", c.Delete("a", "INBOX")),
    (b"a RENAME blurdybloop sarasoop\r\n", c.Rename("a", "blurdybloop", "sarasoop")),
    (b"a RENAME inbox {8}\r\nold-mail\r\n", c.Rename("a", "INBOX", "old-mail")),
    (b'a RENAME {1+}\r\nx "y z"\r\n', c.Rename("a", "x", "y z")),
    (b"a SUBSCRIBE #news.comp.mail.mime\r\n", c.Subscribe("a", "#news.comp.mail.mime")),
    (b"a UNSUBSCRIBE #news.comp.mail.mime\r\n", c.Unsubscribe("a", "#news.comp.mail.mime")),
    # LIST.   RFC 9051 6.3.9.8, RFC 5258 5, RFC 6154 5, RFC 5819, RFC 8474 4.4
    (b'a LIST "" *\r\n', c.List("a", "", ("*",))),
    (b'a LIST "" ""\r\n', c.List("a", "", ("",))),
    (b"a LIST #news.comp.mail.misc \"\"\r\n", c.List("a", "#news.comp.mail.misc", ("",))),
    (b"a LIST ~/Mail/ %\r\n", c.List("a", "~/Mail/", ("%",))),
    (b'a LIST "" %a]*b\r\n', c.List("a", "", ("%a]*b",))),
    (b'a LIST "" "Other Users/%"\r\n', c.List("a", "", ("Other Users/%",))),
    (b"a LIST {0}\r\n {3}\r\na b\r\n", c.List("a", "", ("a b",))),
    (b'a LIST "" inbox\r\n', c.List("a", "", ("INBOX",))),
    (b'a LIST "" return\r\n', c.List("a", "", ("return",))),
    (b'a LIST (SUBSCRIBED) "" "*"\r\n',
     c.List("a", "", ("*",), frozenset({ListSelect.SUBSCRIBED}), extended=True)),
    (b'a LIST () "" "%" RETURN (CHILDREN)\r\n',
     c.List("a", "", ("%",), frozenset(), frozenset({ListReturn.CHILDREN}), extended=True)),
    (b'a LIST (REMOTE) "" "%" RETURN (CHILDREN)\r\n',
     c.List("a", "", ("%",), frozenset({ListSelect.REMOTE}),
            frozenset({ListReturn.CHILDREN}), extended=True)),
    (b'a LIST (REMOTE SUBSCRIBED) "" "*"\r\n',
     c.List("a", "", ("*",), frozenset({ListSelect.REMOTE, ListSelect.SUBSCRIBED}), extended=True)),
    (b'a LIST (REMOTE) "" "*" RETURN (SUBSCRIBED)\r\n',
     c.List("a", "", ("*",), frozenset({ListSelect.REMOTE}),
            frozenset({ListReturn.SUBSCRIBED}), extended=True)),
    (b'a LIST (SUBSCRIBED RECURSIVEMATCH) "" "%" RETURN (CHILDREN)\r\n',
     c.List("a", "", ("%",), frozenset({ListSelect.SUBSCRIBED, ListSelect.RECURSIVEMATCH}),
            frozenset({ListReturn.CHILDREN}), extended=True)),
    (b'a LIST (RecursiveMatch subscribed remote) "" "*2"\r\n',
     c.List("a", "", ("*2",), frozenset(
         {ListSelect.SUBSCRIBED, ListSelect.RECURSIVEMATCH, ListSelect.REMOTE}), extended=True)),
    # An option given twice counts once.   RFC 9051 6.3.9
    (b'a LIST (SUBSCRIBED SUBSCRIBED) "" "*" RETURN (CHILDREN CHILDREN)\r\n',
     c.List("a", "", ("*",), frozenset({ListSelect.SUBSCRIBED}),
            frozenset({ListReturn.CHILDREN}), extended=True)),
    (b'a LIST "" ("INBOX" "Drafts" "Sent/%")\r\n',
     c.List("a", "", ("INBOX", "Drafts", "Sent/%"), extended=True)),
    (b'a LIST "" (% music/rock)\r\n', c.List("a", "", ("%", "music/rock"), extended=True)),
    (b'a LIST "" (foo)\r\n', c.List("a", "", ("foo",), extended=True)),
    (b'a LIST "" ({3}\r\na b "" *)\r\n', c.List("a", "", ("a b", "", "*"), extended=True)),
    (b'a LIST "" % RETURN (STATUS (MESSAGES UNSEEN))\r\n',
     c.List("a", "", ("%",), status=(StatusItem.MESSAGES, StatusItem.UNSEEN), extended=True)),
    # RFC 9590 5
    (b'a LIST "" % RETURN (METADATA ("/shared/x/Color" /private/comment) CHILDREN)\r\n',
     c.List("a", "", ("%",), returns=frozenset((ListReturn.CHILDREN,)), extended=True,
            metadata=("/shared/x/Color", "/private/comment"))),
    (b'a LIST "" % RETURN (METADATA {15}\r\n/shared/comment)\r\n',
     c.List("a", "", ("%",), extended=True, metadata=("/shared/comment",))),
    # METADATA.   RFC 5464 5
    (b"a GETMETADATA \"\" /shared/comment\r\n", c.GetMetadata("a", "", ("/shared/comment",))),
    (b"a GETMETADATA inbox (/shared/comment /Private/Comment /PRIVATE/comment)\r\n",
     c.GetMetadata("a", "INBOX", ("/shared/comment", "/Private/Comment"))),
    (b'a GETMETADATA "a b" /private/comment "/shared/a b"\r\n',
     c.GetMetadata("a", "a b", ("/private/comment", "/shared/a b"))),
    (b"a GETMETADATA (MAXSIZE 1024) INBOX (/private/a)\r\n",
     c.GetMetadata("a", "INBOX", ("/private/a",), max_size=1024)),
    (b"a GETMETADATA (DEPTH infinity MaxSize 0) INBOX /private\r\n",
     c.GetMetadata("a", "INBOX", ("/private",), max_size=0, depth=None)),
    (b'a GETMETADATA INBOX (DEPTH "1") (/shared/vendor/x)\r\n',
     c.GetMetadata("a", "INBOX", ("/shared/vendor/x",), depth=1)),
    (b"a GETMETADATA INBOX (depth INFINITY) /shared\r\n",
     c.GetMetadata("a", "INBOX", ("/shared",), depth=None)),
    (b"a GETMETADATA MAXSIZE /private/a\r\n", c.GetMetadata("a", "MAXSIZE", ("/private/a",))),
    (b"a SETMETADATA INBOX (/Private/Comment {4}\r\na  b)\r\n",
     c.SetMetadata("a", "INBOX", (("/private/comment", b"a  b"),))),
    (b'a SETMETADATA "" (/private/a nil /private/b "NIL" /shared/vendor/x/y ~{3+}\r\na\0b)\r\n',
     c.SetMetadata("a", "", (("/private/a", None), ("/private/b", b"NIL"),
                             ("/shared/vendor/x/y", b"a\0b")))),
    (b'a LIST (SUBSCRIBED RECURSIVEMATCH) "" % RETURN (STATUS (MESSAGES) CHILDREN)\r\n',
     c.List("a", "", ("%",), frozenset({ListSelect.SUBSCRIBED, ListSelect.RECURSIVEMATCH}),
            frozenset({ListReturn.CHILDREN}), (StatusItem.MESSAGES,), True)),
    (b'a list "" "*" return (status (mailboxid))\r\n',
     c.List("a", "", ("*",), status=(StatusItem.MAILBOXID,), extended=True)),
    (b'a LIST "" % RETURN ()\r\n', c.List("a", "", ("%",), extended=True)),
    (b'a LIST "" % RETURN (myrights)\r\n',  # RFC 8440 4
     c.List("a", "", ("%",), returns=frozenset((ListReturn.MYRIGHTS,)), extended=True)),
    (b'a LIST (SPECIAL-USE) "" "*" RETURN (SPECIAL-USE SUBSCRIBED)\r\n',
     c.List("a", "", ("*",), frozenset({ListSelect.SPECIAL_USE}),
            frozenset({ListReturn.SPECIAL_USE, ListReturn.SUBSCRIBED}), extended=True)),
    # LSUB.   RFC 3501 6.3.9
    (b'a LSUB "#news." "comp.mail.*"\r\n', c.Lsub("a", "#news.", "comp.mail.*")),
    (b'a RLIST "#news." "comp.%"\r\n',
     c.RList("a", "#news.", ("comp.%",), frozenset({ListSelect.REMOTE}))),
    (b'a RLSUB "#news." "comp.%"\r\n', c.RLsub("a", "#news.", "comp.%")),
    (b"a LSUB {0}\r\n %\r\n", c.Lsub("a", "", "%")),
    # NOTIFY.   RFC 5465 8
    (b"a NOTIFY NONE\r\n", c.Notify("a")),
    (b"a NOTIFY SET (SELECTED NONE)\r\n", c.Notify("a", (c.EventGroup(F.SELECTED),))),
    (b"a NOTIFY SET STATUS (SELECTED-DELAYED (MessageNew (UID FLAGS) MessageExpunge FlagChange))"
     b" (SUBTREE (Lists inbox) (MessageExpunge MessageNew)) (MAILBOXES {4+}\r\nmisc (MailboxName))"
     b" (SUBSCRIBED (SubscriptionChange Sunrise))\r\n",
     c.Notify("a", (
         c.EventGroup(F.SELECTED_DELAYED, (), MESSAGES | {E.FLAG_CHANGE}, (),
                      (c.FetchItem(c.FetchAttribute.UID), c.FetchItem(c.FetchAttribute.FLAGS))),
         c.EventGroup(F.SUBTREE, ("Lists", "INBOX"), MESSAGES),
         c.EventGroup(F.MAILBOXES, ("misc",), frozenset((E.MAILBOX_NAME,))),
         c.EventGroup(F.SUBSCRIBED, (), frozenset((E.SUBSCRIPTION_CHANGE,)), ("SUNRISE",)),
     ), status=True)),
    (b"a NOTIFY SET (PERSONAL (AnnotationChange MessageExpunge MessageNew))"
     b" (INBOXES (MailboxMetadataChange ServerMetadataChange))\r\n",
     c.Notify("a", (
         c.EventGroup(F.PERSONAL, (), MESSAGES | {E.ANNOTATION_CHANGE}),
         c.EventGroup(F.INBOXES, (),
                      frozenset((E.MAILBOX_METADATA_CHANGE, E.SERVER_METADATA_CHANGE))),
     ))),
    # STATUS.   RFC 9051 6.3.11, RFC 3501 6.3.10, RFC 7162 3.1.7, RFC 8438 3, RFC 8474 4.3
    (b"a STATUS blurdybloop (UIDNEXT MESSAGES)\r\n",
     c.Status("a", "blurdybloop", (StatusItem.UIDNEXT, StatusItem.MESSAGES))),
    (b"a status inbox (messages recent uidnext uidvalidity unseen deleted size highestmodseq "
     b"mailboxid appendlimit deleted-storage)\r\n", c.Status("a", "INBOX", tuple(StatusItem))),
    (b"a STATUS x (MESSAGES MESSAGES)\r\n", c.Status("a", "x", (StatusItem.MESSAGES,))),
    (b"a NAMESPACE\r\n", c.Namespace("a")),
    # RFC 4314 3, 7
    (b"a SETACL INBOX/Drafts John lrQswicda\r\n",  # which letters are rights, it does not know
     c.SetAcl("a", "INBOX/Drafts", "John", FlagOp.SET, "lrQswicda")),
    (b"a setacl inbox Chris +cda\r\n", c.SetAcl("a", "INBOX", "Chris", FlagOp.ADD, "cda")),
    (b"a SETACL x -Fred -wetd\r\n", c.SetAcl("a", "x", "-Fred", FlagOp.REMOVE, "wetd")),
    (b'a SETACL x "john smith" ""\r\n', c.SetAcl("a", "x", "john smith", FlagOp.SET, "")),
    (b"a SETACL x {3}\r\nb c {2}\r\n+l\r\n", c.SetAcl("a", "x", "b c", FlagOp.ADD, "l")),
    (b"a SETACL x {2}\r\n\xc3\xbc +\r\n", c.SetAcl("a", "x", "\u00fc", FlagOp.ADD, "")),
    (b"a DeleteAcl INBOX Fred\r\n", c.DeleteAcl("a", "INBOX", "Fred")),
    (b"a DELETEACL x $team\r\n", c.DeleteAcl("a", "x", "$team")),
    (b"a getacl INBOX/Drafts\r\n", c.GetAcl("a", "INBOX/Drafts")),
    (b"a LISTRIGHTS ~/Mail/saved smith\r\n", c.ListRights("a", "~/Mail/saved", "smith")),
    (b"a MYRIGHTS inbox\r\n", c.MyRights("a", "INBOX")),
    (b"a IDLE\r\n", c.Idle("a")),
    # -- selected --
    (b"a CLOSE\r\n", c.Close("a")),
    (b"a UNSELECT\r\n", c.Unselect("a")),
    (b"a UNAUTHENTICATE\r\n", c.Unauthenticate("a")),
    (b"a COMPRESS DEFLATE\r\n", c.Compress("a", "DEFLATE")),
    (b"a COMPRESS deflate\r\n", c.Compress("a", "DEFLATE")),
    (b"a CHECK\r\n", c.Check("a")),
    (b"a EXPUNGE\r\n", c.Expunge("a")),
    (b"a UID EXPUNGE 3000:3002\r\n", c.Expunge("a", numbers((3000, 3002)))),
    (b"a UID EXPUNGE $\r\n", c.Expunge("a", SAVED)),
    # URLAUTH.   RFC 4467 9
    (b'a GENURLAUTH "imap://a@h/x" INTERNAL\r\n',
     c.GenUrlAuth("a", (("imap://a@h/x", "INTERNAL"),))),
    (b"a GENURLAUTH x internal {1}\r\ny X-SAM.PLE\r\n",
     c.GenUrlAuth("a", (("x", "INTERNAL"), ("y", "X-SAM.PLE")))),
    (b"a RESETKEY\r\n", c.ResetKey("a")),
    (b"a RESETKEY inbox\r\n", c.ResetKey("a", "INBOX")),
    (b'a RESETKEY "x y" internal XSAMPLE\r\n',
     c.ResetKey("a", "x y", ("INTERNAL", "XSAMPLE"))),
    (b'a URLFETCH "imap://a@h/x" {1}\r\ny\r\n',
     c.UrlFetch("a", (c.UrlWanted("imap://a@h/x"), c.UrlWanted("y")))),
    # RFC 5524 5
    (b'a URLFETCH ("x" binary BODYPARTSTRUCTURE) y (z) (z BODY)\r\n',
     c.UrlFetch("a", (c.UrlWanted("x", (c.UrlItem.BINARY, c.UrlItem.BODYPARTSTRUCTURE)),
                      c.UrlWanted("y"), c.UrlWanted("z"), c.UrlWanted("z", (c.UrlItem.BODY,))))),
    # Quotas.   RFC 9208 7
    (b'a getquota ""\r\n', c.GetQuota("a", "")),
    (b'a GETQUOTA "#user/alice"\r\n', c.GetQuota("a", "#user/alice")),
    (b"a GETQUOTA {7}\r\na\xc3\xa4 b]c\r\n", c.GetQuota("a", "aä b]c")),
    (b"a GETQUOTAROOT inbox\r\n", c.GetQuotaRoot("a", "INBOX")),
    (b"a GETQUOTAROOT &AOQ-\r\n", c.GetQuotaRoot("a", "ä")),
    (b"a SETQUOTA x ()\r\n", c.SetQuota("a", "x", ())),
    (b'a SETQUOTA "" (Storage 510 X-Y 9223372036854775807)\r\n',
     c.SetQuota("a", "", (("STORAGE", 510), ("X-Y", (1 << 63) - 1)))),
    # COPY and MOVE.   RFC 9051 6.4.7, 6.4.8
    (b"a COPY 2:4 meeting\r\n", c.Copy("a", numbers((2, 4)), False, "meeting")),
    (b"a UID COPY 305:310 meeting\r\n", c.Copy("a", numbers((305, 310)), True, "meeting")),
    (b'a COPY $ "Other Messages"\r\n', c.Copy("a", SAVED, False, "Other Messages")),
    (b"a MOVE 2 foo\r\n", c.Move("a", numbers((2, 2)), False, "foo")),
    (b"a UID MOVE 42:69 {3}\r\nfoo\r\n", c.Move("a", numbers((42, 69)), True, "foo")),
    (b"a uId cOpY 1 inbox\r\n", c.Copy("a", numbers((1, 1)), True, "INBOX")),
    # Every form of a sequence-set.   RFC 9051 9
    (b"a COPY 1 x\r\n", c.Copy("a", numbers((1, 1)), False, "x")),
    (b"a COPY * x\r\n", c.Copy("a", numbers(STAR), False, "x")),
    (b"a COPY *:* x\r\n", c.Copy("a", numbers(STAR), False, "x")),
    (b"a COPY *:4,5:7 x\r\n", c.Copy("a", numbers((0, 4), (5, 7)), False, "x")),
    (b"a COPY 2,4:7,9,12:* x\r\n",
     c.Copy("a", numbers((2, 2), (4, 7), (9, 9), (12, 0)), False, "x")),
    (b"a COPY 4:2,2:4,3 x\r\n", c.Copy("a", numbers((4, 2), (2, 4), (3, 3)), False, "x")),
    (b"a COPY 4294967295 x\r\n", c.Copy("a", numbers((4294967295, 4294967295)), False, "x")),
    # STORE.   RFC 9051 6.4.6, RFC 7162 3.1.3
    (b"a STORE 2:4 +FLAGS (\\Deleted)\r\n",
     c.Store("a", TWO_TO_FOUR, False, FlagOp.ADD, frozenset({DELETED}))),
    (b"a store 12 +flags \\deleted\r\n",
     c.Store("a", numbers((12, 12)), False, FlagOp.ADD, frozenset({DELETED}))),
    (b"a STORE 2:4 -FLAGS.SILENT (\\Answered $Junk)\r\n",
     c.Store("a", TWO_TO_FOUR, False, FlagOp.REMOVE, frozenset({ANSWERED, Flag("$Junk")}), True)),
    (b"a STORE 2:4 FLAGS ()\r\n", c.Store("a", TWO_TO_FOUR, False, FlagOp.SET, frozenset())),
    (b"a STORE 2:4 FLAGS.SILENT \\Seen \\Draft x+y\r\n",
     c.Store("a", TWO_TO_FOUR, False, FlagOp.SET, frozenset({SEEN, DRAFT, Flag("x+y")}), True)),
    # X-GM-EXT-1
    (b'a STORE 1 +X-GM-LABELS (foo "Muy Importante" \\Inbox)\r\n',
     c.Store("a", numbers((1, 1)), False, FlagOp.ADD,
             frozenset(map(flag_of, ("foo", "Muy Importante", "\\Inbox"))), labels=True)),
    (b"a STORE 1 X-GM-LABELS.SILENT &AOQ-\r\n",
     c.Store("a", numbers((1, 1)), False, FlagOp.SET, frozenset((flag_of("ä"),)), True,
             labels=True)),
    (b"a UID STORE 2:4 FLAGS (\\FLAGGED \\flagged $Forwarded $forwarded)\r\n",
     c.Store("a", TWO_TO_FOUR, True, FlagOp.SET, frozenset({FLAGGED, Flag("$Forwarded")}))),
    (b"a STORE $ +FLAGS.Silent (\\Deleted)\r\n",
     c.Store("a", SAVED, False, FlagOp.ADD, frozenset({DELETED}), True)),
    (b"a UID STORE 6,4,8 (UNCHANGEDSINCE 12121230045) +FLAGS.SILENT (\\Deleted)\r\n",
     c.Store("a", numbers((6, 6), (4, 4), (8, 8)), True, FlagOp.ADD, frozenset({DELETED}), True,
             12121230045)),
    (b"a STORE 12 (UNCHANGEDSINCE 0) +FLAGS.SILENT ($MDNSent)\r\n",
     c.Store("a", numbers((12, 12)), False, FlagOp.ADD, frozenset({Flag("$MDNSent")}), True, 0)),
    (b"a STORE 1:2 (unchangedsince 96) +FLAGS.SILENT \\Seen\r\n",
     c.Store("a", numbers((1, 2)), False, FlagOp.ADD, frozenset({SEEN}), True, 96)),
]  # fmt: skip

BAD_COMMANDS = [
    # -- the frame of every command --
    b"\r\n",
    b" \r\n",
    b"NOOP\r\n",
    b"a\r\n",
    b"a \r\n",
    b"a  NOOP\r\n",
    b" a NOOP\r\n",
    b"a\tNOOP\r\n",
    b"+ NOOP\r\n",
    b"a+b NOOP\r\n",
    b"* NOOP\r\n",
    b"a% NOOP\r\n",
    b"(a) NOOP\r\n",
    b'"a" NOOP\r\n',
    b"{1+}\r\na NOOP\r\n",
    b"\xc3\xa4 NOOP\r\n",
    b"a\0 NOOP\r\n",
    b"a NOOP\0\r\n",
    b"a NOOP\r\r\n",
    b"a NOOP\t\r\n",
    b"a NOOP x\r\n",
    b'a "NOOP"\r\n',
    b"a {4+}\r\nNOOP\r\n",
    b"a XPIG-LATIN\r\n",  # RFC 3501 6.5.1
    b"a BLURDYBLOOP {102856}\r\n",  # refused before it is sent.   RFC 3501 7.5
    b"a UID\r\n",
    b"a UID \r\n",
    b"a UID  COPY 1 x\r\n",
    b"a UID UID COPY 1 x\r\n",
    b"a UID NOOP\r\n",
    b"a UID SELECT x\r\n",
    b"a UID APPEND x {3+}\r\nabc\r\n",
    b"a UIDCOPY 1 x\r\n",
    b"a UID CLOSE\r\n",
    b"DONE\r\n",
    # -- one or two mailboxes --
    *(
        b"a %b%b\r\n" % (name, arguments)
        for name in (b"SELECT", b"EXAMINE", b"CREATE", b"DELETE", b"SUBSCRIBE", b"UNSUBSCRIBE")
        for arguments in (b"", b"  x", b" x y", b" (x)", b" x%", b" *", b' "x', b" x\\y", b'""')
    ),
    b'a SELECT "a\\xb"\r\n',
    b"a SELECT {3+}\r\na\0b\r\n",
    b"a SELECT {1+}\r\nab\r\n",
    b"a SELECT {-1}\r\n",
    b"a SELECT { 1+}\r\n",
    b"a SELECT {1 +}\r\n",
    b"a SELECT {+}\r\n",
    b"a SELECT {}\r\n",
    b"a SELECT {1++}\r\n",
    b"a SELECT {0x1}\r\n",
    b"a SELECT INBOX ()\r\n",
    b"a SELECT INBOX CONDSTORE\r\n",
    b"a SELECT INBOX (BLURDYBLOOP)\r\n",  # RFC 4466 2.1
    b'a EXAMINE INBOX (ANNOTATE RESPONSES ("UID Responses") CONDSTORE)\r\n',
    b"a SELECT INBOX (CONDSTORE\r\n",
    b"a SELECT INBOX (CONDSTORE )\r\n",
    b"a SELECT INBOX ( CONDSTORE)\r\n",
    b"a SELECT INBOX (CONDSTORE) (CONDSTORE)\r\n",
    b"a SELECT INBOX(CONDSTORE)\r\n",
    b"a SELECT INBOX (QRESYNC)\r\n",
    b"a SELECT INBOX (QRESYNC ())\r\n",
    b"a SELECT INBOX (QRESYNC 1 2)\r\n",
    b"a SELECT INBOX (QRESYNC (1))\r\n",
    b"a SELECT INBOX (QRESYNC (0 2))\r\n",
    b"a SELECT INBOX (QRESYNC (4294967296 2))\r\n",
    b"a SELECT INBOX (QRESYNC (1 9223372036854775808))\r\n",
    b"a SELECT INBOX (QRESYNC (1 2 1:*))\r\n",  # known-uids: "*" is not allowed
    b"a SELECT INBOX (QRESYNC (1 2 $))\r\n",
    b"a SELECT INBOX (QRESYNC (1 2 ()))\r\n",
    b"a SELECT INBOX (QRESYNC (1 2 (3)))\r\n",
    b"a SELECT INBOX (QRESYNC (1 2 (3 *)))\r\n",
    b"a SELECT INBOX (QRESYNC (1 2 (* 3)))\r\n",
    b"a SELECT INBOX (QRESYNC (1 2 3 4))\r\n",
    b"a SELECT INBOX (QRESYNC (1 2 3 (4 5) 6))\r\n",
    b"a SELECT INBOX (QRESYNC (1 2 (4 5) 3))\r\n",
    b"a CREATE x (USE \\Sent)\r\n",
    b"a CREATE x (USE (Sent))\r\n",
    b"a CREATE x (USE (\\Sent )\r\n",
    b"a CREATE x (USE (\\Sent\\All))\r\n",
    b"a CREATE x (USE)\r\n",
    b"a CREATE x ()\r\n",
    b"a CREATE x (FOO)\r\n",
    b"a CREATE x USE (\\Sent)\r\n",
    b"a RENAME x\r\n",
    b"a RENAME x \r\n",
    b"a RENAME x y z\r\n",
    b'a RENAME "x""y"\r\n',
    b"a RENAME x y (FOO)\r\n",
    # -- lists --
    b"a ENABLE\r\n",
    b"a ENABLE (CONDSTORE)\r\n",
    b'a ENABLE "CONDSTORE"\r\n',
    b"a ENABLE CONDSTORE  QRESYNC\r\n",
    b"a LIST\r\n",
    b'a LIST ""\r\n',
    b"a LIST *\r\n",
    b'a LIST "" \r\n',
    b'a LIST "" * *\r\n',
    b"a LIST * *\r\n",  # the reference is a mailbox: without wildcards, unless quoted
    b'a LIST "" ()\r\n',
    b'a LIST "" (a\r\n',
    b'a LIST "" (a )\r\n',
    b'a LIST "" (a  b)\r\n',
    b'a LIST "" ((a))\r\n',
    b'a LIST (RECURSIVEMATCH) "" *\r\n',  # RFC 9051 9, list-select-opts
    b'a LIST (REMOTE RECURSIVEMATCH) "" *\r\n',
    b'a LIST (CHILDREN) "" *\r\n',
    b'a LIST (FOO) "" *\r\n',  # "MUST respond to options it does not recognize with a BAD"
    b'a LIST (SUBSCRIBED FOO) "" *\r\n',
    b'a LIST (SUBSCRIBED (FOO)) "" *\r\n',
    b'a LIST ("SUBSCRIBED") "" *\r\n',
    b'a LIST SUBSCRIBED "" *\r\n',
    b'a LIST (SUBSCRIBED)"" *\r\n',
    b'a LIST (SUBSCRIBED ) "" *\r\n',
    b'a LIST ( SUBSCRIBED) "" *\r\n',
    b'a LIST "" * RETURN\r\n',
    b'a LIST "" * RETURN CHILDREN\r\n',
    b'a LIST "" * (CHILDREN)\r\n',
    b'a LIST "" * RETURN (FOO)\r\n',
    b'a LIST "" * RETURN (RECURSIVEMATCH)\r\n',
    b'a LIST "" * RETURN (CHILDREN\r\n',
    b'a LIST "" * RETURN (CHILDREN )\r\n',
    b'a LIST "" * RETURN (STATUS)\r\n',
    b'a LIST "" * RETURN (METADATA)\r\n',
    b'a LIST "" * RETURN (METADATA ())\r\n',
    b'a LIST "" * RETURN (METADATA /private)\r\n',
    # -- METADATA; what is no entry RFC 5464 3.2 --
    b"a GETMETADATA\r\n",
    b"a GETMETADATA INBOX\r\n",
    b"a GETMETADATA INBOX ()\r\n",
    b"a GETMETADATA INBOX (/private/a\r\n",
    b"a GETMETADATA INBOX (/private/a /private/b) /private/c\r\n",
    b"a GETMETADATA () INBOX /private/a\r\n",
    b"a GETMETADATA (DEPTH 2) INBOX /private/a\r\n",
    b"a GETMETADATA (DEPTH) INBOX /private/a\r\n",
    b"a GETMETADATA (DEPTH 1 DEPTH 1) INBOX /private/a\r\n",
    b"a GETMETADATA (MAXSIZE 4294967296) INBOX /private/a\r\n",
    b"a GETMETADATA (MAXSIZE 1 OTHER 1) INBOX /private/a\r\n",
    b"a GETMETADATA (MAXSIZE 1) INBOX (MAXSIZE 1) /private/a\r\n",
    b"a GETMETADATA INBOX /private\r\n",
    b"a GETMETADATA INBOX /private/\r\n",
    b"a GETMETADATA INBOX /\r\n",
    b'a GETMETADATA INBOX ""\r\n',
    b"a GETMETADATA INBOX NIL\r\n",
    b"a GETMETADATA INBOX /private//a\r\n",
    b"a GETMETADATA INBOX //private/a\r\n",
    b"a GETMETADATA INBOX /private/a/\r\n",
    b"a GETMETADATA INBOX /public/a\r\n",
    b"a GETMETADATA INBOX private/a\r\n",
    b"a GETMETADATA INBOX /shared/vendor/x\r\n",
    b"a GETMETADATA INBOX /shared/a%b\r\n",
    b'a GETMETADATA INBOX "/shared/a*b"\r\n',
    b'a GETMETADATA INBOX "/shared/a\x1fb"\r\n',
    b'a GETMETADATA INBOX "/shared/\xc3\xa4"\r\n',
    b"a SETMETADATA INBOX\r\n",
    b"a SETMETADATA INBOX ()\r\n",
    b"a SETMETADATA INBOX (/private/a)\r\n",
    b"a SETMETADATA INBOX (/private/a x)\r\n",
    b'a SETMETADATA INBOX (/private/a "x"\r\n',
    b'a SETMETADATA INBOX /private/a "x"\r\n',
    b'a SETMETADATA INBOX (/private/a "x" /private/A "y")\r\n',
    b'a SETMETADATA INBOX (/private/vendor/x "x")\r\n',
    b"a SETMETADATA INBOX (/private/a {1+}\r\n\0)\r\n",
    b'a LIST "" * RETURN (STATUS ())\r\n',
    b'a LIST "" * RETURN (STATUS (FOO))\r\n',
    b'a LIST "" * RETURN (STATUS MESSAGES)\r\n',
    b'a LIST "" * RETURN (CHILDREN) RETURN (CHILDREN)\r\n',
    b'a LSUB (SUBSCRIBED) "" *\r\n',
    b'a LSUB "" (a b)\r\n',
    b'a LSUB "" * RETURN ()\r\n',
    b'a LSUB ""\r\n',
    b"a NOTIFY\r\n",
    b"a NOTIFY SET\r\n",
    b"a NOTIFY SET STATUS\r\n",
    b"a NOTIFY NONE x\r\n",
    b"a NOTIFY UNSET (SELECTED NONE)\r\n",
    b"a NOTIFY SET (SELECTED NONE)(PERSONAL NONE)\r\n",
    b"a NOTIFY SET (SELECTED)\r\n",
    b"a NOTIFY SET (SELECTED ())\r\n",
    b"a NOTIFY SET (SELECTED MessageNew)\r\n",
    b"a NOTIFY SET (SELECTED (MessageNew))\r\n",
    b"a NOTIFY SET (SELECTED (MessageExpunge))\r\n",
    b"a NOTIFY SET (SELECTED (MessageNew () MessageExpunge))\r\n",
    b"a NOTIFY SET (SELECTED (MessageNew (FOO) MessageExpunge))\r\n",
    b"a NOTIFY SET (SELECTED (MessageExpunge (UID) MessageNew))\r\n",
    b"a NOTIFY SET (SELECTED (MailboxName))\r\n",
    b"a NOTIFY SET (SELECTED NONE) (SELECTED NONE)\r\n",
    b"a NOTIFY SET (PERSONAL (FlagChange))\r\n",
    b"a NOTIFY SET (PERSONAL (AnnotationChange))\r\n",
    b"a NOTIFY SET (PERSONAL (MessageNew (UID) MessageExpunge))\r\n",
    b"a NOTIFY SET (SUBTREE (MailboxName))\r\n",
    b"a NOTIFY SET (MAILBOXES () (MailboxName))\r\n",
    b"a NOTIFY SET (MAILBOXES x)\r\n",
    b"a SETACL\r\n",
    b"a SETACL x\r\n",
    b"a SETACL x y\r\n",
    b"a SETACL x y \r\n",
    b"a SETACL x y l r\r\n",
    b"a SETACL x {1}\r\n\xff l\r\n",
    b"a DELETEACL x\r\n",
    b"a DELETEACL x y z\r\n",
    b"a GETACL\r\n",
    b"a GETACL x y\r\n",
    b"a LISTRIGHTS x\r\n",
    b"a MYRIGHTS\r\n",
    b"a MYRIGHTS x y\r\n",
    b'a LIST (MYRIGHTS) "" *\r\n',
    b"a STATUS\r\n",
    b"a STATUS x\r\n",
    b"a STATUS x MESSAGES\r\n",
    b"a STATUS x ()\r\n",
    b"a STATUS x (FOO)\r\n",
    b"a STATUS x (MESSAGES\r\n",
    b"a STATUS x (MESSAGES )\r\n",
    b"a STATUS x (MESSAGES) y\r\n",
    b'a STATUS x ("MESSAGES")\r\n',
    b"a STATUS x(MESSAGES)\r\n",
    b"a STATUS (MESSAGES)\r\n",
    # -- numbers --
    *(
        b"a COPY %b x\r\n" % numbers_
        for numbers_ in (
            b"0",
            b"1:0",
            b"0:1",
            b"4294967296",
            b"99999999999",
            b"1:4294967296",
            b"-1",
            b"1-3",
            b"1,",
            b",1",
            b"1,,2",
            b"1:",
            b":1",
            b"1:2:3",
            b"1 2",
            b"1, 2",
            b"**",
            b"%",
            b"a",
            b'"1"',
            b"(1)",
            b"$1",
            b"$,1",
            b"1,$",
            b"$$",
            b"+1",
            b"1.5",
        )
    ),
    b"a GENURLAUTH\r\n",
    b"a GENURLAUTH x\r\n",
    b"a GENURLAUTH x INTERNAL y\r\n",
    b"a GENURLAUTH (x INTERNAL)\r\n",
    b"a GENURLAUTH x INTERNAL=\r\n",
    b'a GENURLAUTH x "INTERNAL"\r\n',
    b"a GENURLAUTH \xff INTERNAL\r\n",
    b"a RESETKEY x (INTERNAL)\r\n",
    b"a RESETKEY x INTERNAL=x\r\n",
    b"a URLFETCH\r\n",
    b"a URLFETCH ()\r\n",
    b"a URLFETCH (x\r\n",
    b"a URLFETCH (x )\r\n",
    b"a URLFETCH (x BODY BODY)\r\n",
    b"a URLFETCH (x BODY BINARY)\r\n",
    b"a URLFETCH (x SIZE)\r\n",
    b"a URLFETCH (x BODY)y\r\n",
    b"a URLFETCH (x y)\r\n",
    b"a COPY\r\n",
    b"a COPY 1\r\n",
    b"a COPY 1 \r\n",
    b"a COPY 1 x y\r\n",
    b"a COPY x\r\n",
    b"a COPY 1x\r\n",
    b"a GETQUOTA\r\n",
    b"a GETQUOTA \xff\r\n",
    b"a GETQUOTA x y\r\n",
    b"a GETQUOTAROOT\r\n",
    b"a SETQUOTA x\r\n",
    b"a SETQUOTA x STORAGE 1\r\n",
    b"a SETQUOTA x (STORAGE)\r\n",
    b"a SETQUOTA x (STORAGE 1\r\n",
    b"a SETQUOTA x (STORAGE 1 )\r\n",
    b"a SETQUOTA x ( STORAGE 1)\r\n",
    b"a SETQUOTA x (STORAGE -1)\r\n",
    b"a SETQUOTA x (STORAGE 9223372036854775808)\r\n",
    b"a SETQUOTA x (STORAGE 1 storage 1)\r\n",
    b"a SETQUOTA x (" + b" ".join(b"x%d 1" % n for n in range(21)) + b")\r\n",
    b"a MOVE 1\r\n",
    b"a UID MOVE x\r\n",
    b"a EXPUNGE 1\r\n",
    b"a UID EXPUNGE\r\n",
    b"a UID EXPUNGE x\r\n",
    b"a CLOSE x\r\n",
    b"a UNSELECT x\r\n",
    b"a CHECK x\r\n",
    b"a IDLE x\r\n",
    b"a NAMESPACE x\r\n",
    # -- flags --
    b"a STORE 1\r\n",
    b"a STORE 1 FLAGS\r\n",
    b"a STORE 1 (\\Seen)\r\n",
    b"a STORE 1 *FLAGS (\\Seen)\r\n",
    b"a STORE 1 + FLAGS (\\Seen)\r\n",
    b"a STORE 1 ++FLAGS (\\Seen)\r\n",
    b"a STORE 1 FLAGS.QUIET (\\Seen)\r\n",
    b"a STORE 1 FLAGS (\\Seen\r\n",
    b"a STORE 1 FLAGS (\\Seen))\r\n",
    b"a STORE 1 FLAGS (\\Seen )\r\n",
    b"a STORE 1 FLAGS ( \\Seen)\r\n",
    b"a STORE 1 FLAGS (\\Seen  \\Draft)\r\n",
    b"a STORE 1 FLAGS (\\Seen,\\Draft)\r\n",
    b"a STORE 1 FLAGS (\\Seen\\Draft)\r\n",
    b"a STORE 1 FLAGS (\\)\r\n",
    b"a STORE 1 FLAGS (\\*)\r\n",
    b"a STORE 1 FLAGS (\\\\Seen)\r\n",
    b'a STORE 1 FLAGS ("x")\r\n',
    b"a STORE 1 FLAGS ({1+}\r\nx)\r\n",
    b"a STORE 1 FLAGS (x]y)\r\n",  # resp-specials are not in an atom
    b"a STORE 1 FLAGS (\xc3\xa4)\r\n",
    b"a STORE 1 FLAGS (\\Seen) x\r\n",
    b"a STORE 1 FLAGS \\Seen (x)\r\n",
    b"a STORE 1 FLAGS (\\Seen) (UNCHANGEDSINCE 1)\r\n",
    b"a STORE 1 (UNCHANGEDSINCE) FLAGS (\\Seen)\r\n",
    b"a STORE 1 (UNCHANGEDSINCE -1) FLAGS (\\Seen)\r\n",
    b"a STORE 1 (UNCHANGEDSINCE 9223372036854775808) FLAGS (\\Seen)\r\n",
    b"a STORE 1 (UNCHANGEDSINCE 1 UNCHANGEDSINCE 1) FLAGS (\\Seen)\r\n",
    b"a STORE 1 (CHANGEDSINCE 1) FLAGS (\\Seen)\r\n",
    b"a STORE 1 () FLAGS (\\Seen)\r\n",
    b"a STORE 1 UNCHANGEDSINCE 1 FLAGS (\\Seen)\r\n",
]

TABLE = [(octets, value, NOT_AUTHENTICATED) for octets, value in BEFORE_LOGIN] + [
    (octets, value, SELECTED) for octets, value in COMMANDS
]
BAD_TABLE = [(octets, NOT_AUTHENTICATED) for octets in BAD_BEFORE_LOGIN] + [
    (octets, SELECTED) for octets in BAD_COMMANDS
]


@pytest.mark.parametrize(("octets", "value", "state"), TABLE, ids=[shown(row[0]) for row in TABLE])
def test_command(octets, value, state) -> None:
    assert command(octets, state) == value


@pytest.mark.parametrize(("octets", "value", "state"), TABLE, ids=[shown(row[0]) for row in TABLE])
def test_name_in_any_case_and_bare_lf(octets, value, state) -> None:
    swapped = re.sub(rb"^a (UID )?\S+", lambda name: b"a" + name[0][1:].swapcase(), octets)
    assert swapped != octets
    assert command(swapped, state) == value
    if b"\r\n}" not in octets:  # the one literal of the table with a line end in it
        assert command(octets.replace(b"\r\n", b"\n"), state) == value


@pytest.mark.parametrize(("octets", "state"), BAD_TABLE, ids=[shown(row[0]) for row in BAD_TABLE])
def test_bad_command(octets, state) -> None:
    bad(octets, state)


@pytest.mark.parametrize(
    "tag", ["a", "A", "a001", "1", ".", "a.b-c_d", "]", "[x]", "}~", "NOOP", "<&'>", "x" * 200]
)
def test_tag(tag: str) -> None:
    """tag = 1*<any ASTRING-CHAR except "+">; it comes back as it was."""
    assert command(f"{tag} NOOP\r\n".encode()) == c.Noop(tag)
    assert bad(f"{tag} NOSUCH\r\n".encode()) == tag


@pytest.mark.parametrize(
    "octets", [b"\r\n", b" NOOP\r\n", b"+ NOOP\r\n", b"\xff NOOP\r\n", b"(\r\n"]
)
def test_without_a_tag_the_refusal_is_untagged(octets: bytes) -> None:
    assert bad(octets) == "*"


# -- blanks at the end --

ENDS = [
    (b"a NOOP", NOT_AUTHENTICATED),
    (b"a LOGIN fred secret", NOT_AUTHENTICATED),
    (b"a AUTHENTICATE PLAIN", NOT_AUTHENTICATED),
    (b"a AUTHENTICATE PLAIN YQ==", NOT_AUTHENTICATED),
    (b"a ID NIL", NOT_AUTHENTICATED),
    (b"a ENABLE CONDSTORE", AUTHENTICATED),
    (b"a SELECT INBOX", AUTHENTICATED),
    (b"a SELECT INBOX (CONDSTORE)", AUTHENTICATED),
    (b"a CREATE x", AUTHENTICATED),
    (b"a CREATE x (USE (\\Sent))", AUTHENTICATED),
    (b"a DELETE x", AUTHENTICATED),
    (b"a RENAME x y", AUTHENTICATED),
    (b'a LIST "" *', AUTHENTICATED),
    (b'a LIST "" * RETURN (CHILDREN)', AUTHENTICATED),
    (b'a LSUB "" *', AUTHENTICATED),
    (b"a STATUS x (MESSAGES)", AUTHENTICATED),
    (b"a APPEND x {1+}\r\nx", AUTHENTICATED),
    (b"a IDLE", AUTHENTICATED),
    (b"a SEARCH ALL", SELECTED),
    (b"a FETCH 1 FLAGS", SELECTED),
    (b"a FETCH 1 (FLAGS)", SELECTED),
    (b"a FETCH 1 FAST", SELECTED),
    (b"a STORE 1 FLAGS (\\Seen)", SELECTED),
    (b"a STORE 1 FLAGS \\Seen", SELECTED),
    (b"a COPY 1 x", SELECTED),
    (b"a UID EXPUNGE 1", SELECTED),
]


@pytest.mark.parametrize(("octets", "state"), ENDS, ids=[shown(row[0]) for row in ENDS])
def test_blanks_at_the_end_are_overlooked(octets, state) -> None:
    """Old clients send them, and Scanner.end() says that they are taken: then behind every
    command, whether or not it could have gone on."""
    plain = command(octets + b"\r\n", state)
    assert command(octets + b" \r\n", state) == plain
    assert command(octets + b"  \r\n", state) == plain


# -- mailbox names --

NAMES = [
    # (as sent, UTF-8 enabled, as meant)
    (b"&U,BTFw-", False, "台北"),  # RFC 3501 5.1.3
    (b"~peter/mail/&U,BTFw-/&ZeVnLIqe-", False, "~peter/mail/台北/日本語"),
    (b'"Entw&APw-rfe"', False, "Entwürfe"),
    (b"{11+}\r\nEntw&APw-rf", False, "Entwürf"),
    (b"a&-b", False, "a&b"),
    (b"&2D3eAA-", False, "\U0001f600"),
    # 8-bit names are UTF-8 also for those who have not said so
    (b'"Entw\xc3\xbcrfe"', False, "Entwürfe"),
    (b"Entw\xc3\xbcrfe", False, "Entwürfe"),
    (b"{9+}\r\nEntw\xc3\xbcrfe", False, "Entwürfe"),
    # After ENABLE IMAP4rev2 or UTF8=ACCEPT, & is only a character.   RFC 6855 3, RFC 9051 5.1
    (b"&U,BTFw-", True, "&U,BTFw-"),
    (b"a&b", True, "a&b"),
    (b"Entw\xc3\xbcrfe", True, "Entwürfe"),
    # Net-Unicode is in NFC.   RFC 5198 2
    (b"u\xcc\x88", True, "ü"),
    (b"u&Awg-", False, "ü"),
    (b"InBoX", True, "INBOX"),
]
NO_NAMES = [
    (b"&", False),
    (b"a&b", False),
    (b"&U,BTFw", False),
    (b"&AGE-", False),
    (b'"&"', False),
    (b"\xff", False),
    (b"\xff", True),
    (b'"\xc3"', True),
    (b"\xed\xa0\x80", True),  # a surrogate
    (b"\xc0\xaf", True),  # an overlong /
    (b"{1+}\r\n\xff", True),
]


@pytest.mark.parametrize(("raw", "utf8", "name"), NAMES)
def test_mailbox_name(raw: bytes, utf8: bool, name: str) -> None:
    assert command(b"a DELETE %b\r\n" % raw, utf8=utf8) == c.Delete("a", name)
    assert command(b'a LSUB "" %b\r\n' % raw, utf8=utf8) == c.Lsub("a", "", name)
    assert command(b"a COPY 1 %b\r\n" % raw, utf8=utf8) == c.Copy("a", numbers((1, 1)), False, name)


@pytest.mark.parametrize(("raw", "utf8"), NO_NAMES)
def test_malformed_mailbox_name(raw: bytes, utf8: bool) -> None:
    bad(b"a DELETE %b\r\n" % raw, utf8=utf8)
    bad(b"a SELECT %b\r\n" % raw, utf8=utf8)


def test_select_keeps_what_the_client_called_the_mailbox() -> None:
    """OLDNAME tells it again.   RFC 9051 6.3.9.7"""
    assert command(b"a SELECT u\xcc\x88\r\n", utf8=True) == c.Select("a", "ü", supplied="u\u0308")


# -- states --

# command-any, command-nonauth, command-auth and command-select of RFC 9051 9, with what RFC 3501
# had besides (CHECK, LSUB), ID (RFC 2971 3.1), and the extensions where they say it themselves.
# ENABLE in the selected state: clients must not, servers need not check.   RFC 9051 6.3.1
STATES = {
    "any": [b"CAPABILITY", b"LANGUAGE", b"NOOP", b"LOGOUT", b"ID NIL"],
    "nonauth": [b"STARTTLS", b"AUTHENTICATE PLAIN", b"LOGIN a b"],
    "auth": [
        b"ENABLE X", b"SELECT x", b"EXAMINE x", b"CREATE x", b"DELETE x", b"RENAME x y",
        b"SUBSCRIBE x", b"UNSUBSCRIBE x", b"LIST x y", b"LSUB x y", b"NAMESPACE", b"NOTIFY NONE",
        b"SETACL x y l", b"DELETEACL x y", b"GETACL x", b"LISTRIGHTS x y", b"MYRIGHTS x",
        b"STATUS x (MESSAGES)", b"APPEND x {1+}\r\nx", b"IDLE", b"UNAUTHENTICATE",
        b"GETMETADATA x /private/a", b"SETMETADATA x (/private/a NIL)",
        b"COMPRESS DEFLATE", b'RLIST "" *', b'RLSUB "" *', b"GENURLAUTH x INTERNAL", b"RESETKEY",
        b"URLFETCH x",
        b"ESEARCH ALL",
        b"GETQUOTA x", b"GETQUOTAROOT x", b"SETQUOTA x ()",
    ],
    "select": [
        b"CLOSE", b"UNSELECT", b"CHECK", b"EXPUNGE", b"UID EXPUNGE 1", b"SEARCH ALL",
        b"UID SEARCH ALL", b"SORT (CC) UTF-8 ALL", b"UID SORT (CC) UTF-8 ALL",
        b"UIDBATCHES 500",
        b"THREAD REFS UTF-8 ALL", b"UID THREAD REFS UTF-8 ALL",
        b"FETCH 1 FLAGS", b"UID FETCH 1 FLAGS", b"STORE 1 FLAGS (x)",
        b"UID STORE 1 FLAGS (x)", b"COPY 1 x", b"UID COPY 1 x", b"MOVE 1 x", b"UID MOVE 1 x",
        b"REPLACE 1 x {1+}\r\nx", b"UID REPLACE 1 x {1+}\r\nx",
        b'CANCELUPDATE "x"',
    ],
}  # fmt: skip
ALLOWED = {
    NOT_AUTHENTICATED: {"any", "nonauth"},
    AUTHENTICATED: {"any", "auth"},
    SELECTED: {"any", "auth", "select"},
    LOGOUT: set(),
}
IN_STATES = [
    (state, octets, group in allowed)
    for state, allowed in ALLOWED.items()
    for group, lines in STATES.items()
    for octets in lines
]


@pytest.mark.parametrize(
    ("state", "octets", "allowed"), IN_STATES, ids=[f"{s.name}-{shown(o)}" for s, o, _ in IN_STATES]
)
def test_state(state, octets: bytes, allowed: bool) -> None:
    if allowed:
        command(b"a %b\r\n" % octets, state)
    else:
        assert bad(b"a %b\r\n" % octets, state) == "a"


def test_every_command_is_in_the_table_of_states() -> None:
    named = {
        line.removeprefix(b"UID ").split(b" ")[0] for lines in STATES.values() for line in lines
    }
    assert named == set(KNOWN)


def test_expunges_wait_for_commands_with_sequence_numbers() -> None:
    """FETCH, STORE and SEARCH; not COPY and MOVE.   RFC 9051 7.5.1, RFC 5256 3 (SORT, THREAD)"""
    assert {name for name, spec in KNOWN.items() if spec.holds_expunges} == {
        b"FETCH",
        b"STORE",
        b"SEARCH",
        b"SORT",
        b"THREAD",
    }


# -- bounds --


def test_flags_limit() -> None:
    fits = b"a STORE 1 FLAGS (x1 x2 x3)\r\n"
    command(fits, flags=3)
    bad(fits, flags=2)
    bad(b"a STORE 1 FLAGS x1 x2 x3\r\n", flags=2)
    bad(b"a APPEND x (x1 x2 x3) {1+}\r\nx\r\n", flags=2)


def test_keyword_limit() -> None:
    """The flag is well said, so it is NO [LIMIT]."""
    command(b"a STORE 1 FLAGS (xyz)\r\n", keyword=3)
    for octets in (b"a STORE 1 FLAGS (xyz)\r\n", b"a STORE 1 FLAGS xyz\r\n",
                   b"a APPEND x (xyz) {1+}\r\nx\r\n"):  # fmt: skip
        error = refusal(octets, keyword=2).error
        assert isinstance(error, Refused)
        assert error.code == "LIMIT"


def test_metadata_limits() -> None:
    command(b"a GETMETADATA INBOX (/private/a /private/b)\r\n", metadata_entries=2)
    bad(b"a GETMETADATA INBOX (/private/a /private/b /private/c)\r\n", metadata_entries=2)
    for octets, code in (
        (b'a SETMETADATA INBOX (/private/a "" /private/b "" /private/c "")\r\n',
         "METADATA TOOMANY"),
        (b'a SETMETADATA INBOX (/private/long "")\r\n', "LIMIT"),
    ):  # fmt: skip
        error = refusal(octets, metadata_entries=2, metadata_name=10).error
        assert isinstance(error, Refused)
        assert error.code == code


def test_list_patterns_limit() -> None:
    command(b'a LIST "" (x y z)\r\n', list_patterns=3)
    bad(b'a LIST "" (x y z)\r\n', list_patterns=2)


def test_status_items_are_bounded() -> None:
    bad(b"a STATUS x (" + b" ".join([b"MESSAGES"] * 1000) + b")\r\n")


def test_secrets_are_not_in_the_repr() -> None:
    for octets in (b"a LOGIN fred s3cret\r\n", b"a AUTHENTICATE PLAIN czNjcmV0\r\n"):
        said = repr(command(octets, NOT_AUTHENTICATED))
        assert "s3cret" not in said


def test_bad_text_names_no_argument_of_login() -> None:
    """The text goes to the client and to the log."""
    refused = refusal(b"a LOGIN fred s3cret s3cret\r\n", NOT_AUTHENTICATED)
    assert "s3cret" not in str(refused.error)
