"""Whatever comes in whatever state: a command, a refusal or the end, never an exception."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pymap.wire.connection import BadEvent, Ready, State
from pymap.wire.errors import BadCommand, Refused
from pymap.wire.framer import Event, Overflow
from pymap.wire.parse import COMMANDS

from .feed import (
    AUTHENTICATED,
    LOGOUT,
    NOT_AUTHENTICATED,
    SELECTED,
    both_ways,
    connection,
    events,
    refusal,
)

# Half of a grammar: what parsers look for, in an order that they do not expect.
WORDS = [
    *(b"a %b " % name for name in COMMANDS),
    *(b"a UID %b " % name for name, spec in COMMANDS.items() if spec.has_uid_form),
    b"a ", b" ", b"  ", b"(", b")", b"[", b"]", b"<", b">", b'"', b"\\", b"\\Seen", b"*", b"%", b"$",
    b"0", b"1", b"1:*,3", b"99999999999", b".", b"/", b"=", b"~", b"+", b"-", b"NIL", b'""', b'"x"',
    b"{1}\r\nx", b"{2+}\r\n\xff\0", b"~{1}\r\n\0", b"{0}\r\n", b"{3", b"{9} ", b"}", b"&", b"&AGE-",
    b"\r\n", b"\n", b"\r", b" \r\n", b"\0", b"\xe4", b"\xc3\xa4", b"YQ==", b"RETURN (", b"CHARSET ",
    b"utf-16 ", b"utf-7 ", b"x ", b"NOT ", b"OR ", b"BODY", b"TEXT ", b"HEADER", b"BODY[", b"BINARY[",
    b"FLAGS", b"UNCHANGEDSINCE ", b"CHANGEDSINCE ", b"QRESYNC (", b"VANISHED", b"MODSEQ ", b"MESSAGES",
    b"1-Jan-2000", b'" 1-Jan-2000 00:00:00 +0000"', b"CATENATE (", b"UTF8 (", b"USE (",
    b"SUBSCRIBED", b"RECURSIVEMATCH", b"FULL", b"HEADER.FIELDS (", b"SINCE ", b"UID ", b"KEYWORD ",
]  # fmt: skip
junk = st.lists(st.sampled_from(WORDS) | st.binary(max_size=4), max_size=30).map(b"".join)
# One command that goes wrong behind its name.
command = st.builds(
    b"%b%b\r\nz NOOP\r\n".__mod__,
    st.tuples(st.sampled_from([w for w in WORDS if w[:2] == b"a "]),
              st.lists(st.sampled_from(WORDS), max_size=10).map(b"".join)),
)  # fmt: skip
# Small, so that they are reached.
LIMITS = {"line": 300, "literal": 3, "literal_before_login": 3, "append": 4, "literals": 4,
          "search_keys": 3, "search_depth": 2, "fetch_items": 2, "list_patterns": 2, "flags": 2,
          "keyword": 4, "mailbox_name": 8}  # fmt: skip


@pytest.mark.parametrize("state", State)
@given(octets=st.binary() | junk | command, utf8=st.booleans(), small=st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_octets_in_any_state(state: State, octets: bytes, utf8: bool, small: bool) -> None:
    for event in both_ways(octets + b"\r\n", state, utf8, **(LIMITS if small else {})):
        match event:
            case BadEvent(tag, error):
                assert isinstance(error, BadCommand | Refused), repr(error)
                assert tag
                assert not set(tag) & set('(){%*"\\+ ') or tag == "*"
            case Ready(made, _):
                assert made.tag
            case Event.CONTINUE | Overflow():
                pass


@pytest.mark.parametrize("line", [b"a LOGIN {5} \r\n", b"a LOGIN {1+}\r\nx {5}  \n"])
def test_a_literal_followed_by_blanks_is_none(line: bytes) -> None:
    """The framer saw no literal there; the parser must not look for one."""
    assert refusal(line, NOT_AUTHENTICATED).tag == "a"


# RFC 9051 9: command-any, command-nonauth, command-auth, command-select
ANY = b"CAPABILITY,NOOP,LOGOUT,ID NIL"
NONAUTH = b"STARTTLS,AUTHENTICATE PLAIN,LOGIN a b"
AUTH = (b"ENABLE X,SELECT x,EXAMINE x,CREATE x,DELETE x,RENAME x y,SUBSCRIBE x,UNSUBSCRIBE x,"
        b"LIST x y,LSUB x y,NAMESPACE,STATUS x (UIDNEXT),APPEND x {1+}\r\nx,IDLE")  # fmt: skip
SELECT = (b"CLOSE,UNSELECT,CHECK,EXPUNGE,SEARCH ALL,FETCH 1 UID,STORE 1 FLAGS (x),COPY 1 x,"
          b"MOVE 1 x,UID EXPUNGE 1,UID SEARCH ALL,UID FETCH 1 UID")  # fmt: skip
ALLOWED = {
    NOT_AUTHENTICATED: [ANY, NONAUTH],
    AUTHENTICATED: [ANY, AUTH],
    SELECTED: [ANY, AUTH, SELECT],
    LOGOUT: [],
}


def test_states() -> None:
    """One connection that goes through all of them, there and back."""
    one = connection(NOT_AUTHENTICATED)
    for state in (NOT_AUTHENTICATED, AUTHENTICATED, SELECTED, AUTHENTICATED, LOGOUT):
        one.state = state
        for group in (ANY, NONAUTH, AUTH, SELECT):
            for line in group.split(b","):
                (event,) = events(one, [b"a %b\r\n" % line])
                assert isinstance(event, Ready) == (group in ALLOWED[state]), (state, line, event)


@pytest.mark.parametrize(
    ("line", "state", "tag"),
    [
        (b"a FOO {3}\r\n", SELECTED, "a"),
        (b"a SELECT {3}\r\n", NOT_AUTHENTICATED, "a"),
        (b"a LOGIN {3}\r\n", SELECTED, "a"),
        (b"a UID SELECT {3}\r\n", SELECTED, "a"),
        (b"a {3}\r\n", SELECTED, "a"),
        (b"{3}\r\n", SELECTED, "*"),
        (b"+ LOGIN {3}\r\n", NOT_AUTHENTICATED, "*"),
        (b"a LOGIN {3}\r\n", LOGOUT, "a"),
    ],
)
def test_hopeless_literal_is_refused_before_it_is_sent(line, state, tag) -> None:
    """RFC 9051 4.3"""
    first, then = both_ways(line + b"b FOO\r\n", state)
    assert isinstance(first, BadEvent)
    assert isinstance(first.error, BadCommand)
    assert first.tag == tag
    assert isinstance(then, BadEvent)
    assert then.tag == "b"


def test_a_literal_that_may_come_is_waited_for() -> None:
    assert both_ways(b"a SELECT {3}\r\n") == [Event.CONTINUE]


def test_hopeless_literal_that_comes_unasked_is_not_read_as_a_command() -> None:
    first, then = both_ways(b"a FOO {8+}\r\nb NOOP\r\n\r\nc NOOP\r\n")
    assert isinstance(first, BadEvent)
    assert first.tag == "a"
    assert isinstance(then, Ready)
    assert then.command.tag == "c"


def test_message_over_the_limit_is_refused_by_name() -> None:
    """RFC 7889 4"""
    refused = refusal(b"a APPEND x {5}\r\n", append=4).error
    assert isinstance(refused, Refused)
    assert refused.code == "TOOBIG"
    assert isinstance(refusal(b"a SELECT {5}\r\n", literal=4).error, BadCommand)


def test_larger_limits_come_with_login() -> None:
    one = connection(NOT_AUTHENTICATED, literal_before_login=1)
    (refused,) = events(one, [b"a LOGIN {2}\r\n"])
    assert isinstance(refused, BadEvent)
    one.state = AUTHENTICATED
    assert list(events(one, [b"a SELECT {2}\r\n"])) == [Event.CONTINUE]


def test_the_log_does_not_get_the_last_command_again() -> None:
    """Where one is refused at its literal: `last_text` is what the server logs with the refusal."""
    one = connection(SELECTED)
    for line in (b"a NOOP\r\n", b"b FOO {3}\r\n"):
        assert len(list(events(one, [line]))) == 1
    assert b"NOOP" not in one.last_text
