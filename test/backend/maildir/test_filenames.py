"""Names of message files: what they say, as Dovecot reads and writes it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymap.backend.maildir.filenames import (
    Info,
    NameMaker,
    Sizes,
    build_info,
    is_message,
    made_by_dead,
    parse_info,
    sizes,
    split,
    with_sizes,
)
from pymap.wire.types import ANSWERED, DELETED, DRAFT, FLAGGED, RECENT, SEEN, SYSTEM_FLAGS, Flag

names = st.text(st.sampled_from("aSF:2,;=1V9\n/ \udcff") | st.characters(), max_size=30)


@pytest.mark.parametrize(
    ("name", "base", "info", "flags", "letters", "other"),
    [
        ("100.a", "100.a", "", set(), "", ""),
        ("100.a:2,", "100.a", ":2,", set(), "", ""),
        ("100.a:2,S", "100.a", ":2,S", {SEEN}, "", ""),
        ("100.a,S=1:2,DFRSTaz", "100.a,S=1", ":2,DFRSTaz", set(SYSTEM_FLAGS), "az", ""),
        ("100.a:2,SSbFaDb", "100.a", ":2,SSbFaDb", {SEEN, FLAGGED, DRAFT}, "ab", ""),
        ("100.a:2,SzPX9!", "100.a", ":2,SzPX9!", {SEEN}, "z", "PX9!"),
        ("100.a:2,S,b=3", "100.a", ":2,S,b=3", {SEEN}, "", ",b=3"),
        ("100.a:2,PS,X,Y", "100.a", ":2,PS,X,Y", {SEEN}, "", "P,X,Y"),
        # Whatever else stands behind the colon says nothing, and Dovecot forgets it.
        ("100.a:1,S", "100.a", ":1,S", set(), "", ""),
        ("100.a:2", "100.a", ":2", set(), "", ""),
        ("100.a:2S", "100.a", ":2S", set(), "", ""),
        ("100.a:b", "100.a", ":b", set(), "", ""),
        # The name ends at the first colon, flags stand behind the last.
        ("100.a:b:2,S", "100.a", ":b:2,S", {SEEN}, "", ""),
        ("100.a:2,S:2,F", "100.a", ":2,S:2,F", {FLAGGED}, "", ""),
        ("2,S", "2,S", "", set(), "", ""),
        ("", "", "", set(), "", ""),
    ],
)
def test_what_a_name_says(
    name: str, base: str, info: str, flags: set[Flag], letters: str, other: str
) -> None:
    assert split(name) == (base, info)
    assert parse_info(info) == Info(frozenset(flags), letters, other)


@pytest.mark.parametrize(
    ("flags", "letters", "other", "info"),
    [
        ([], "", "", ":2,"),
        ([SEEN], "", "", ":2,S"),
        ([DELETED, SEEN, ANSWERED, FLAGGED, DRAFT], "za", "", ":2,DFRSTaz"),
        ([SEEN, RECENT, Flag("$Junk")], ["b", "b"], "", ":2,Sb"),
        ([SEEN, FLAGGED], "z", "PX9!", ":2,FPSX9!z"),  # Dovecot's way with what it does not know
        ([SEEN], "z", "PX9!", ":2,PSX9!z"),
        ([SEEN, FLAGGED], "", ",b=3", ":2,FS,b=3"),
        ([], "a", "P,X,Y", ":2,Pa,X,Y"),
    ],
)
def test_what_is_written(flags: list[Flag], letters: str, other: str, info: str) -> None:
    assert build_info(flags, letters, other) == info


@given(names)
def test_any_name_can_be_read(name: str) -> None:
    base, info = split(name)
    assert base + info == name
    found = parse_info(info)
    written = build_info(*found)
    assert parse_info(written) == found
    assert build_info(*parse_info(written)) == written
    assert isinstance(sizes(base), Sizes)
    assert not made_by_dead(name)
    is_message(name)


@given(st.frozensets(st.sampled_from(SYSTEM_FLAGS)), st.sets(st.sampled_from("abcxyz")), names)
def test_what_is_written_is_read_back(flags: frozenset[Flag], letters: set[str], name: str) -> None:
    other = parse_info(split(name)[1]).other
    info = build_info(flags, letters, other)
    assert parse_info(info) == Info(flags, "".join(sorted(letters)), other)


def test_the_same_text_gives_the_same_flags() -> None:
    assert parse_info(":2,FS").flags is parse_info(":2,FS").flags


@pytest.mark.parametrize(
    ("base", "found"),
    [
        ("100.a", Sizes(None, None, False)),
        ("100.a,S=28", Sizes(28, None, False)),
        ("100.a,S=28,W=32", Sizes(28, 32, False)),
        ("100.a,W=32,S=28", Sizes(28, 32, False)),
        ("100.a,S=28,W=32,V", Sizes(28, 32, True)),
        ("100.a,V,S=28,X=7", Sizes(28, None, True)),
        ("100.a,S=27,S=28", Sizes(27, None, False)),  # Dovecot takes the first
        ("100.a,S=0,W=032", Sizes(0, 32, False)),
        ("S=28,W=32", Sizes(None, 32, False)),
        ("100.aS=28,VX,V=1", Sizes(None, None, False)),
        ("100.a,S=abc,W=32x", Sizes(None, None, False)),
        ("100.a,S=,W=-1", Sizes(None, None, False)),
        ("100.a,S=٣,W=²", Sizes(None, None, False)),
        (f"100.a,S={'9' * 200}", Sizes(None, None, False)),
    ],
)
def test_sizes(base: str, found: Sizes) -> None:
    assert sizes(base) == found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("100.a", True),
        ("100 a", True),
        ("", False),
        (".a", False),
        ("a\nb", False),
        (":2,S", False),
    ],
)
def test_which_files_are_messages(name: str, expected: bool) -> None:
    assert is_message(name) is expected


# -- names of our own --


def test_made_names_are_maildir_names() -> None:
    maker = NameMaker()
    base = maker.make(30, 32)
    assert split(base) == (base, "")
    assert is_message(base)
    assert sizes(base) == Sizes(30, 32, False)
    assert sizes(maker.make(30, 32, verbatim=True)) == Sizes(30, 32, True)
    unique = base.partition(",")[0]
    assert unique.endswith("." + socket.gethostname())
    assert with_sizes(unique, 30, 32) == base
    assert "/" not in base
    assert sizes(maker.unique()) == Sizes(None, None, False)


def test_host_is_escaped() -> None:
    """As the Maildir rules say, and the comma as well."""
    code = (
        "import socket; socket.gethostname = lambda: 'a/b:c,d.e'\n"
        "from pymap.backend.maildir.filenames import NameMaker; print(NameMaker().unique())"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert out.stdout.endswith(".a\\057b\\072c\\054d.e\n")


def test_names_are_never_made_twice() -> None:
    maker = NameMaker()
    made: list[str] = []

    def work() -> None:
        made.extend([maker.unique() for _ in range(2000)])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 8000


MAKES = """
import sys
from pymap.backend.maildir.filenames import NameMaker
print(NameMaker().unique(), flush=True)
sys.stdin.read()
"""


def test_whose_maker_is_dead() -> None:
    command = [sys.executable, "-c", MAKES]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        name = other.stdout.readline().strip()
        assert not made_by_dead(name)
        assert not made_by_dead(with_sizes(name, 1, 1))
        other.communicate()
    assert made_by_dead(name)
    assert made_by_dead(with_sizes(name, 1, 1) + ":2,S")
    assert not made_by_dead(name + "elsewhere")
    assert not made_by_dead("x" + name)


def test_ours_is_not_dead_but_our_number_in_another_life_is() -> None:
    name = NameMaker().unique()
    assert f"P{os.getpid()}Q" in name
    assert not made_by_dead(name)
    token = name.partition("R")[2][:8]
    assert made_by_dead(name.replace(token, token[::-1] if token != token[::-1] else "0" * 8))


@pytest.mark.parametrize(
    "name", ["", "100.a", "1.M2P3.host", f"1.M2P{'9' * 30}Q1R12345678.{socket.gethostname()}"]
)
def test_what_others_made_is_not_ours_to_judge(name: str) -> None:
    assert not made_by_dead(name)
