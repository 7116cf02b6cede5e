"""``pymap-admin``: the command line of the admin service.

A verb is a coroutine that is given the connection, the options and the output. It raises Failure,
which becomes one line on standard error and an exit code; there is never a traceback.
"""

from __future__ import annotations

import signal
import sys
from argparse import Namespace
from collections.abc import Sequence

from pymap.admin.cli.exits import Exit, Failure
from pymap.admin.cli.options import read
from pymap.admin.output import Output, OutputGone, complain

__all__ = ["main", "run"]


def main() -> None:
    sys.exit(run())


def run(argv: Sequence[str] | None = None) -> int:
    """Carry out a command line, that of the process if none is given; returns the exit code."""
    delivers = False
    try:
        args = read(argv)
        delivers = args.delivers
        if args.prepare is not None:
            args.prepare(args)
        output = Output(args.json)
        if args.alone is not None:
            args.alone(args, output)
            return Exit.OK
        return _call(args, output)
    except Failure as failure:
        complain(str(failure))
        return failure.of_append if delivers else failure.exit_code
    except SystemExit as done:  # --help, or an error of usage that has been told
        return done.code if isinstance(done.code, int) else Exit.USAGE
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except OutputGone:
        return 128 + signal.SIGPIPE
    except OSError as error:
        complain(f"{error.filename or 'input/output'}: {error.strerror or error}")
        return Exit.LATER if delivers else Exit.IO
    except Exception as error:
        complain(f"internal error, please report it: {type(error).__name__}: {error}")
        return Exit.LATER if delivers else Exit.INTERNAL


def _call(args: Namespace, output: Output) -> int:
    """Carry out a verb that needs a server."""
    import asyncio
    import logging

    from pymap.admin.cli.connection import connect, target
    from pymap.admin.cli.interruption import Interruption

    # What goes on below is told by exceptions; what readers of files find odd is worth a line.
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: complain(record.getMessage())  # type: ignore[method-assign]
    logging.basicConfig(handlers=[handler])
    for name in ("asyncio", "grpclib"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    interruption = Interruption()

    async def carry_out() -> int:
        task = asyncio.current_task()
        assert task is not None
        with interruption.cancels(task):
            async with connect(target(args), args.timeout or args.usual_timeout) as client:
                return int(await args.run(client, args, output) or Exit.OK)

    try:
        return asyncio.run(carry_out())
    except (asyncio.CancelledError, KeyboardInterrupt):
        number = interruption.number or signal.SIGINT
        # The machine shuts down: Postfix would return mail for a code that it does not know.
        later = args.delivers and number != signal.SIGINT
        return Exit.LATER if later else 128 + number
