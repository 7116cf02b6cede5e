"""SELECT and EXAMINE, with the parameters CONDSTORE and QRESYNC."""

from __future__ import annotations

from pymap.limits import Limits
from pymap.wire.commands import QResync, Select
from pymap.wire.errors import BadCommand
from pymap.wire.scanner import Scanner
from pymap.wire.types import SequenceSet

__all__ = ["examine", "select"]


def examine(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> Select:
    """examine = "EXAMINE" SP mailbox [select-params]"""
    return _select(s, tag, readonly=True)


def select(s: Scanner, tag: str, by_uid: bool, limits: Limits) -> Select:
    """select = "SELECT" SP mailbox [select-params]   RFC 4466 2.1"""
    return _select(s, tag, readonly=False)


def _select(s: Scanner, tag: str, readonly: bool) -> Select:
    s.sp()
    mailbox, supplied = s.supplied_mailbox()
    condstore, qresync = False, None
    if s.accept(b" "):
        s.expect(b"(")
        while True:
            match s.keyword():
                case "CONDSTORE":
                    condstore = True
                case "QRESYNC":
                    s.sp()
                    qresync = _qresync(s)
                case _:
                    raise BadCommand("Unknown SELECT parameter")
            if s.accept(b")"):
                break
            s.sp()
    return Select(tag, mailbox, readonly, condstore, qresync, supplied)


def _qresync(s: Scanner) -> QResync:
    """ "(" uidvalidity SP mod-sequence-value [SP known-uids] [SP seq-match-data] ")"

    RFC 7162 7, select-param
    """
    s.expect(b"(")
    uid_validity = s.nz_number()
    s.sp()
    modseq = s.number64()
    known, matches = None, None
    if s.accept(b" "):
        if not s.at(b"("):
            known = _known(s)
        if known is None or s.accept(b" "):
            s.expect(b"(")
            numbers = _known(s)
            s.sp()
            matches = (numbers, _known(s))
            s.expect(b")")
    s.expect(b")")
    return QResync(uid_validity, modseq, known, matches)


def _known(s: Scanner) -> SequenceSet:
    """known-uids = sequence-set, in which ``*`` is not allowed."""
    known = s.sequence_set()
    if known.has_star or known.saved:
        raise BadCommand("* is not allowed here")
    return known
