"""SASLprep: names and passwords that look alike are the same.   RFC 4013

What is given is a query (RFC 3454 7): a code point that Unicode 3.2 did not know yet, as in a
password of emoji, passes as it is. That goes for stored passwords too, where RFC 4013 would refuse
it: who has such a password has it, and its client sends the same octets, prepared or not.
"""

from __future__ import annotations

from stringprep import in_table_b1
from unicodedata import normalize

from pysasl.prep import saslprep

from pymap.auth.schemes import LONGEST

__all__ = ["prepare", "prepare_or_keep"]


def prepare(text: str) -> str:
    """The form in which to compare. Raises ValueError for what is prohibited, for what is or
    becomes empty, and for more than 4096 characters."""
    if text.isascii() and text.isprintable() and text:
        return text
    if len(text) > LONGEST:
        raise ValueError("too long to prepare")
    # pysasl looks at the ends of the text as it came, where RFC 3454 6 means those of what it is
    # mapped to, and refuses a Hebrew name that ends with a zero width joiner. So that is done here
    # before. Both normalise by today's Unicode; by 3.2, signs added since would stay as they are.
    mapped = "".join(sign for sign in text if not in_table_b1(sign))
    prepared = saslprep(normalize("NFKC", mapped), allow_unassigned=True)
    if not prepared:
        raise ValueError("nothing is left of it")
    return prepared


def prepare_or_keep(text: str) -> str:
    """The same, but what cannot be prepared stays as it is."""
    try:
        return prepare(text)
    except ValueError:
        return text
