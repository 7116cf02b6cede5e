"""``import`` and ``export``: mail from files and into files."""

from __future__ import annotations

import errno
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import aclosing, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from pymap.admin.cli.exits import Exit, Failure
from pymap.admin.cli.messages import as_dict
from pymap.admin.output import Column, Output, OutputGone, complain, count, octets, progress

if TYPE_CHECKING:
    from pymap.admin.cli.aside import Taken
    from pymap.admin.cli.connection import Call, Client
    from pymap.admin.cli.options import Verbs
    from pymap.admin.formats.content import Message
    from pymap.admin.formats.export import Tree
    from pymap.admin.formats.sources import Source
    from pymap.admin.output import Update

__all__ = ["add_verbs"]

FORMATS = ("mbox", "maildir", "eml")
LAYOUTS = ("++", "fs")
LONG_S = 600.0
BUFFER = 256 * 1024
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_IMPORTED = (Column("messages", "messages"), Column("octets", "octets", octets))
_EXPORTED = (
    Column("mailboxes", "mailboxes", lambda mailboxes: str(len(mailboxes))),
    *_IMPORTED,
)


def add_verbs(verbs: Verbs) -> None:
    verb = verbs.add("import", "bring mail in from files", import_, usual_timeout=LONG_S)
    add = verb.add_argument
    add("user", metavar="USER")
    add("paths", nargs="+", metavar="PATH", help="files or directories; - is standard input")
    add("--mailbox", default="", metavar="NAME", help="where to (default: INBOX)")
    add("--format", choices=("auto", *FORMATS), default="auto", help="what PATH is")
    add("--create", action="store_true", help="make mailboxes that do not exist yet")
    add(
        "--recursive",
        action="store_true",
        help="what lies deeper is for mailboxes of its own, below NAME if that is given",
    )
    add("--date", choices=("file", "header"), default="file", help="of .eml files")
    _add_layout(verb)
    verb = verbs.add("export", "write mail to files", export, usual_timeout=LONG_S)
    add = verb.add_argument
    add("user", metavar="USER")
    add(
        "destination",
        metavar="DEST",
        help="a new or empty directory; - is standard output, for one mailbox as mbox",
    )
    add("--format", choices=FORMATS, required=True, help="what to write")
    add(
        "--mailbox",
        action="append",
        default=[],
        metavar="NAME",
        help="only this one; may be repeated (default: all)",
    )
    add("--force", action="store_true", help="replace an earlier export of this format")
    _add_layout(verb)


def _add_layout(verb: Any) -> None:
    verb.add_argument(
        "--layout", choices=LAYOUTS, default="++",
        help="of a Maildir with folders: ++ is .Work.2024, fs is Work/2024 (default: ++)",
    )  # fmt: skip


# -- import --


async def import_(client: Client, args: Namespace, output: Output) -> None:
    import asyncio

    from pymap.admin.cli.aside import aside
    from pymap.admin.formats import sources
    from pymap.admin.proto.admin_pb2 import ImportHead, ImportRequest

    source = sources.Source(
        args.paths, args.format, args.mailbox, args.recursive, args.layout, args.date == "header"
    )
    so_far = {"messages": 0, "octets": 0}
    with progress("import") as show:
        input = _Input(source, sys.stderr.isatty())
        async with aside(input.requests()) as requests:
            # What cannot be read is told before anything is sent.
            first = await anext(requests, None)
            if first is None and input.failure is not None:
                raise input.failure
            try:
                async with client.open(client.mailboxes.Import) as call:
                    head = ImportHead(user=args.user, create=args.create)
                    await call.send(ImportRequest(head=head))
                    hearing = _hear(call, so_far, show, input)
                    await _both(hearing, _send(call, first, requests))
            except Failure as failure:
                raise _with_count(failure, so_far["messages"], bool(failure.code)) from failure
            except asyncio.CancelledError:
                known = count(so_far["messages"], "message")
                complain(f"interrupted; at least {known} came in")
                raise
        if input.failure is not None:
            raise _with_count(input.failure, so_far["messages"])
    output.fields(so_far, _IMPORTED)


def _with_count(failure: Failure, messages: int, is_last: bool = True) -> Failure:
    """`is_last`: this count is the last that the server had to tell."""
    hint = " (--create makes it)" if failure.code == "NONEXISTENT" else ""
    least = "" if is_last else "at least "
    text = f"{failure}{hint}; before that {least}{count(messages, 'message')} came in"
    return Failure(failure.exit_code, text)


async def _both(hearing: Any, sending: Any) -> None:
    """Until both are done, or one fails. What the server says counts more than that it no longer
    listens."""
    import asyncio

    tasks = [asyncio.create_task(hearing), asyncio.create_task(sending)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
    for failure in done:
        if isinstance(failure, BaseException) and not isinstance(failure, asyncio.CancelledError):
            raise failure


async def _hear(call: Call[Any, Any], so_far: dict[str, int], show: Update, input: _Input) -> None:
    while (reply := await call.receive()) is not None:
        so_far.update(as_dict(reply))
        text = f"{count(reply.messages, 'message')}, {octets(reply.octets)}"
        show(text, reply.octets / input.total if input.total else None)


async def _send(call: Call[Any, Any], first: Any, requests: Taken[Any]) -> None:
    if first is not None:
        await call.send(first)
    async for request in requests:
        await call.send(request)
    await call.end()


class _Input:
    """The messages to import, as they are sent. Empty ones, which no mailbox can hold, are left
    out. When the files go wrong they end, with `failure`: what came before is to arrive.

    All of it is used in a thread."""

    def __init__(self, source: Source, count: bool) -> None:
        self.failure: Failure | None = None
        self.total: int | None = None  # octets to read, roughly
        self._source = source
        self._count = count

    def requests(self) -> Iterator[Any]:
        """Raises Failure for what cannot be sent whole."""
        from pymap.admin.formats import sources
        from pymap.admin.formats.mbox import NotMbox

        if self._count:
            self.total = sources.octets_of(self._source)
        try:
            # In the end too: a message whose file is open is closed.
            with (
                open(0, "rb", buffering=BUFFER, closefd=False) as stdin,
                closing(sources.read(self._source, stdin)) as messages,
            ):
                for message in messages:
                    if message.size:
                        yield from _requests_of(message)
        except NotMbox as error:
            self.failure = Failure(Exit.DATA, str(error))
        except sources.NoMail as error:
            self.failure = Failure(Exit.NO_INPUT, str(error))
        except OSError as error:
            code = Exit.IO if error.filename is None or error.errno in FULL else Exit.NO_INPUT
            text = f"{error.filename or 'input'}: {error.strerror or error}"
            self.failure = Failure(code, text)


def _requests_of(message: Message) -> Iterator[Any]:
    from pymap.admin.formats.dates import date_text
    from pymap.admin.proto.admin_pb2 import ImportRequest, MessageHead

    date = "" if message.internal_date is None else date_text(message.internal_date)
    head = MessageHead(
        mailbox=message.mailbox, flags=message.flags, internal_date=date, size=message.size
    )
    yield ImportRequest(message=head)
    sent = 0
    try:
        for piece in message.pieces:
            sent += len(piece)
            if sent > message.size:
                break
            yield ImportRequest(content=piece)
    except OSError as error:  # half of the message has been sent
        text = f"{error.filename or 'input'}: {error.strerror or error}"
        raise Failure(Exit.IO, text) from error
    if sent != message.size:
        raise Failure(Exit.IO, "a file has changed while it was read")


# -- export --


async def export(client: Client, args: Namespace, output: Output) -> Exit:
    from pymap.admin.formats.export import BadExport, Busy, NoPlace

    try:
        if args.destination == "-":
            await _export_to_pipe(client, args, output)
            return Exit.OK
        exported = await _export_to_files(client, args)
    except NoPlace as error:
        raise Failure(Exit.CANNOT_CREATE, str(error)) from error
    except Busy as error:
        raise Failure(Exit.LATER, str(error)) from error
    except OSError as error:  # a full disk, mostly, which has no name
        if args.destination == "-":
            raise
        text = f"{error.filename or args.destination}: {error.strerror or error}"
        raise Failure(Exit.IO, text) from error
    except BadExport as error:
        raise Failure(Exit.INTERNAL, f"the server sends nonsense: {error}") from error
    output.fields(exported.summary(), _EXPORTED)
    return Exit.CANNOT_CREATE if exported.left_out else Exit.OK


async def _export_to_files(client: Client, args: Namespace) -> _Export:
    from pymap.admin.formats.export import destination

    make, is_ours = _format(args)
    with (
        destination(Path(args.destination), args.force, is_ours) as root,
        closing(make(root)) as tree,
    ):
        exported = _Export(tree)
        await exported.carry_out(client, args)
        tree.finish()
    return exported


async def _export_to_pipe(client: Client, args: Namespace, output: Output) -> None:
    from pymap.admin.formats.mbox import MboxPipe

    if args.format != "mbox" or len(args.mailbox) != 1:
        raise Failure(Exit.USAGE, "to standard output goes one --mailbox, as mbox")
    try:
        await _Export(MboxPipe(sys.stdout.buffer)).carry_out(client, args)
        sys.stdout.buffer.flush()
    except OSError as error:
        output.forget()
        if isinstance(error, BrokenPipeError):
            raise OutputGone from None
        raise


def _format(args: Namespace) -> tuple[Callable[[Path], Tree], Callable[..., bool]]:
    match args.format:
        case "mbox":
            from pymap.admin.formats import mbox

            return mbox.MboxTree, mbox.is_ours
        case "eml":
            from pymap.admin.formats import eml

            return eml.EmlTree, eml.is_ours
    from pymap.admin.formats import maildir

    return lambda root: maildir.MaildirTree(root, args.layout), maildir.is_ours


class _Export:
    """What the server sends, on its way into a tree. The content of a message is gathered first,
    for some formats say how long it is before it comes."""

    def __init__(self, tree: Tree) -> None:
        self.left_out = False  # a mailbox whose name has no place in the tree
        self._tree = tree
        self._mailboxes: list[dict[str, Any]] = []
        self._open = False  # whether the tree takes messages of the last one
        self._message: Any = None  # its head, until its content is there
        self._content: BinaryIO | None = None
        self._missing = 0

    def summary(self) -> dict[str, Any]:
        totals = {key: sum(each[key] for each in self._mailboxes) for key in ("messages", "octets")}
        return {"mailboxes": self._mailboxes, **totals}

    async def carry_out(self, client: Client, args: Namespace) -> None:
        """Raises Failure, BadExport, OSError."""
        from pymap.admin.formats.export import BadExport
        from pymap.admin.proto.admin_pb2 import ExportRequest

        request = ExportRequest(user=args.user, mailboxes=args.mailbox)
        try:
            with progress("export") as show:
                async with aclosing(client.receive(client.mailboxes.Export, request)) as parts:
                    async for part in parts:
                        self._take(part, show)
            if self._message is not None:
                raise BadExport("the last message is cut off")
            self._end()
        finally:
            if self._content is not None:
                self._content.close()

    def _take(self, part: Any, show: Update) -> None:
        from pymap.admin.formats.content import spool
        from pymap.admin.formats.export import BadExport

        match part.WhichOneof("part"):
            case "mailbox" if self._message is None:
                self._end()
                self._begin(part.mailbox)
                self._of = part.mailbox.messages
            case "message" if self._message is None and self._mailboxes:
                self._message, self._missing = part.message, part.message.size
                self._content = spool()
            case "content" if self._content is not None and len(part.content) <= self._missing:
                self._content.write(part.content)
                self._missing -= len(part.content)
            case _:
                raise BadExport("something else than the next part of a message")
        if self._message is not None and not self._missing:
            self._add()
            last = self._mailboxes[-1]
            text = f"{last['name']}: {last['messages']:,} of {count(self._of, 'message')}"
            show(text, last["messages"] / self._of if self._of else None)

    def _begin(self, head: Any) -> None:
        from pymap.admin.formats.export import Mailbox
        from pymap.admin.formats.names import NoSuchPath

        mailbox = Mailbox(
            head.name, head.uid_validity, head.uid_next, tuple(head.special_use), head.subscribed
        )
        self._mailboxes.append({"name": head.name, "messages": 0, "octets": 0})
        try:
            self._tree.begin(mailbox)
            self._open = True
        except NoSuchPath as error:
            self.left_out = True
            complain(f"{head.name}: left out: {error}")

    def _add(self) -> None:
        from pymap.admin.formats.dates import date_of
        from pymap.admin.formats.export import BadExport

        head, content = self._message, self._content
        self._message = self._content = None
        assert content is not None
        with content:
            if not self._open:
                return
            try:
                date = date_of(head.internal_date)
            except ValueError as error:
                raise BadExport(str(error)) from error
            content.seek(0)
            self._tree.add(head.uid, head.flags, date, content)
        self._mailboxes[-1]["messages"] += 1
        self._mailboxes[-1]["octets"] += head.size

    def _end(self) -> None:
        if self._open:
            self._tree.end()
        elif self._mailboxes:
            self._mailboxes.pop()  # it was left out
        self._open = False
