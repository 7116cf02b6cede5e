"""BODYSTRUCTURE and BODY.   RFC 9051 7.5.2, grammar in 9 ("body")"""

from __future__ import annotations

from .envelope import envelope
from .header import strip_comments, unfold
from .params import MAX_PARAMS, Params, value_of
from .parse import Kind, Part
from .strings import nstring, string


def body_structure(
    content: bytes, parts: list[Part], extended: bool = True, root: int = 0
) -> bytes:
    """The parenthesized list of the message that `parts` describes, or of one part in it.

    Types, parameters and encodings are spelled as in the header, defaults in upper case.
    """
    lines = _Lines(content, parts)
    # From the last part to the first: what is below a part is rendered before it, without
    # recursion. `done` has the finished ones that wait for their parent, the first on top.
    done: list[bytes] = []
    pending: list[int] = []  # their indices
    for index in range(parts[root].next - 1, root - 1, -1):
        part = parts[index]
        if part.kind is Kind.MULTIPART:
            children = []
            while pending and pending[-1] < part.next:
                pending.pop()
                children.append(done.pop())
            text = _multipart(part, children, extended)
        else:
            text = _basic(part)
            if part.kind is Kind.MESSAGE:
                pending.pop()
                embedded = envelope(parts[index + 1].fields)
                text += b" %b %b %d" % (embedded, done.pop(), lines.count(part))
            elif part.kind is Kind.TEXT:
                text += b" %d" % lines.count(part)
            if extended:
                text += b" %b %b" % (_field(part, b"content-md5"), _extension(part))
        done.append(b"(%b)" % text)
        pending.append(index)
    return done[0]


def _multipart(part: Part, children: list[bytes], extended: bool) -> bytes:
    """body-type-mpart = 1*body SP media-subtype [SP body-ext-mpart]"""
    text = b"%b %b" % (b"".join(children), string(part.media.subtype))
    if not extended:
        return text
    return b"%b %b %b" % (text, _params(part.media.params), _extension(part))


def _basic(part: Part) -> bytes:
    """The type, and body-fields = param SP id SP desc SP enc SP octets"""
    media = part.media
    return b"%b %b %b %b %b %b %d" % (
        string(media.type),
        string(media.subtype),
        _params(media.params),
        _field(part, b"content-id"),
        _field(part, b"content-description"),
        string(part.encoding),
        part.end - part.body,
    )


def _extension(part: Part) -> bytes:
    """body-fld-dsp SP body-fld-lang SP body-fld-loc"""
    location = _field(part, b"content-location")
    return b"%b %b %b" % (_disposition(part), _language(part), location)


def _params(params: Params) -> bytes:
    """body-fld-param; values with other than ASCII octets go as literals, in UTF-8."""
    if not params:
        return b"NIL"
    return b"(%b)" % b" ".join([b"%b %b" % (string(name), string(value)) for name, value in params])


def _field(part: Part, name: bytes) -> bytes:
    """The value of a field, NIL if absent or empty."""
    raw = part.fields.get(name)
    return nstring(unfold(raw)) if raw else b"NIL"


def _disposition(part: Part) -> bytes:
    """body-fld-dsp = "(" string SP body-fld-param ")" / nil"""
    raw = part.fields.get(b"content-disposition")
    if not raw:
        return b"NIL"
    value, params = value_of(raw)
    if not value and not params:
        return b"NIL"
    # Unrecognized types are to be treated as attachment; so is one that is missing. RFC 2183 2.8
    return b"(%b %b)" % (string(value or b"attachment"), _params(params))


def _language(part: Part) -> bytes:
    """body-fld-lang = nstring / "(" string *(SP string) ")" """
    raw = part.fields.get(b"content-language")
    if not raw:
        return b"NIL"
    tags = [tag.strip() for tag in strip_comments(unfold(raw)).split(b",", MAX_PARAMS)]
    tags = [string(tag) for tag in tags[:MAX_PARAMS] if tag]
    if len(tags) < 2:
        return tags[0] if tags else b"NIL"
    return b"(%b)" % b" ".join(tags)


class _Lines:
    """Counts the lines of bodies: line feeds, as most servers do.

    So a last line without an end does not count. Texts do not overlap and are counted directly;
    messages may lie in one another a hundred deep, so from the second on their borders are
    counted once, in order.
    """

    def __init__(self, content: bytes, parts: list[Part]) -> None:
        self.content = content
        self.before: dict[int, int] = {}  # line feeds before an offset
        messages = [part for part in parts if part.kind is Kind.MESSAGE]
        if len(messages) > 1:
            total = at = 0
            for border in sorted({x for part in messages for x in (part.body, part.end)}):
                total += content.count(b"\n", at, border)
                self.before[border] = total
                at = border

    def count(self, part: Part) -> int:
        if part.kind is Kind.MESSAGE and self.before:
            return self.before[part.end] - self.before[part.body]
        return self.content.count(b"\n", part.body, part.end)
