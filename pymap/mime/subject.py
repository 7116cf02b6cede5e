"""The base subject: without the marks of replies and forwards.   RFC 5256 2.1, 5

    subj-refwd    = ("re" / ("fw" ["d"])) *WSP [subj-blob] ":"
    subj-blob     = "[" *BLOBCHAR "]" *WSP      BLOBCHAR: all but "[" and "]"
    subj-fwd-hdr  = "[fwd:"
    subj-fwd-trl  = "]"
    subj-leader   = (*subj-blob subj-refwd) / WSP
    subj-trailer  = "(fwd)" / WSP

Time is linear: two places move towards each other, and nothing that was looked at is looked at
again.
"""

from __future__ import annotations

import re

# A continuation is a line end and the white space after it.   RFC 5322 2.2.3
_BLANKS = re.compile(r"(?:(?:\r?\n)?[ \t])+")
_BLOB = re.compile(r"\[[^\[\]]*+\] *+")
_REFWD = re.compile(r"(?:re|fwd?) *+(?:\[[^\[\]]*+\] *+)?:", re.IGNORECASE | re.ASCII)
_FWD = re.compile(r"\[fwd:", re.IGNORECASE | re.ASCII)
_TRAILER = "(fwd)"


def base_subject(text: str) -> tuple[str, bool]:
    """The base subject, and whether the message is a reply or forward: one of the marks that only
    these have was taken away. A blob such as ``[list]`` is none of them.

    `text` is the subject as `decode_text` reads it: step (1) but for its white space. Letters are
    left as they are, for comparing is the collation's.   RFC 5256 2.1, 3 (REFERENCES)
    """
    text = _BLANKS.sub(" ", text)
    start, end = 0, len(text)
    replied = False
    while True:
        # (2) Remove trailers until no more match.
        while end > start:
            if text[end - 1] == " ":
                end -= 1
            elif text[max(start, end - 5) : end].lower() == _TRAILER:
                end -= 5
                replied = True
            else:
                break
        # (3), (4), (5) Leaders, and blobs that leave something. The blobs at the start of a leader
        # are taken one by one: what follows them in a leader is something.
        while start < end:
            if text[start] == " ":
                start += 1
            elif found := _REFWD.match(text, start, end):
                start = found.end()
                replied = True
            elif (found := _BLOB.match(text, start, end)) and found.end() < end:
                start = found.end()
            else:
                break
        # (6) A forward that encloses all the rest.
        if end - start > 5 and text[end - 1] == "]" and _FWD.match(text, start, end):
            start += 5
            end -= 1
            replied = True
        else:
            return text[start:end], replied
