"""THREAD and UID THREAD.   RFC 5256"""

from __future__ import annotations

import asyncio

from pymap.imap.filters import with_filters
from pymap.imap.search import Evaluation
from pymap.imap.session import Done, Session
from pymap.imap.threads import ALGORITHMS, Message, render
from pymap.mime.summary import threaded
from pymap.wire import responses as r
from pymap.wire.commands import Thread

__all__ = ["thread"]

MANY = 5000
"""Messages whose threads are made in a thread of Python's: it takes 3 us each."""


async def thread(session: Session, command: Thread) -> Done:
    view = session.selected()
    command = await with_filters(session, command)
    await view.opened.sync()
    if command.uses_modseq:
        session.enable("CONDSTORE")
    evaluation = Evaluation(session, view)
    dates = evaluation.column(view.index.dates)
    summaries = evaluation.summaries()
    found = await evaluation.run(command.key, command.uses_modseq, whole=True)
    read = await summaries(found)
    numbers = evaluation.numbers(found, command.by_uid)

    def threads() -> bytes:
        messages = [
            Message(dates[at] if sent is None else sent, dates[at], subject, replied, id_, above)
            for at, (sent, subject, replied, id_, above) in zip(
                found, map(threaded, read), strict=True
            )
        ]
        return render(ALGORITHMS[command.algorithm](messages), numbers)

    rendered = threads() if len(found) < MANY else await asyncio.to_thread(threads)
    session.send(r.ThreadResponse(rendered))
    return Done("THREAD completed")
