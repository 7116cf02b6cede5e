"""What a service and systemd tell each other: sd_notify, the watchdog, socket activation.

All of it is environment variables, a datagram socket and inherited descriptors: sd_notify(3),
sd_watchdog_enabled(3), sd_listen_fds(3). Without systemd, nothing here does anything.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time

__all__ = ["listeners", "notify", "ready", "reloading", "stopping", "watchdog", "watchdog_s"]

FIRST_DESCRIPTOR = 3
# How long a message may wait for systemd to read others. Without a bound, the event loop would
# hang with systemd; without waiting, READY=1 could be lost.
SEND_TIMEOUT_S = 1.0


def ready(status: str = "") -> None:
    """The start is over, or a reload."""
    notify("READY=1", f"STATUS={status}")


def reloading() -> None:
    """A reload has begun; `ready` ends it. The time tells systemd which reload this is: it is
    needed for Type=notify-reload."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def stopping(status: str = "") -> None:
    notify("STOPPING=1", f"STATUS={status}")


def notify(*assignments: str) -> bool:
    """Send assignments such as ``STATUS=text`` together; True if they were sent. Never raises: a
    service does its work whether or not it can tell of it."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address[0] == "@":
        address = "\0" + address[1:]  # in the abstract namespace, which has no files
    message = "\n".join(text.replace("\n", " ") for text in assignments)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(SEND_TIMEOUT_S)
            sock.sendto(message.encode(errors="replace"), address)
    except (OSError, ValueError):
        return False
    return True


def watchdog_s() -> float | None:
    """The longest silence, in seconds, that systemd takes for life; None: it does not listen."""
    try:
        usec = int(os.environ["WATCHDOG_USEC"])
        pid = int(os.environ.get("WATCHDOG_PID", os.getpid()))
    except (KeyError, ValueError):
        return None
    return usec / 1_000_000 if usec > 0 and pid == os.getpid() else None


async def watchdog() -> None:
    """Tell systemd twice in its interval that the event loop runs: run this as a task in it, so
    that a loop that hangs is noticed. Returns at once where nobody listens."""
    interval_s = watchdog_s()
    while interval_s is not None:
        notify("WATCHDOG=1")
        await asyncio.sleep(interval_s / 2)


def listeners() -> list[tuple[str, socket.socket]]:
    """Name and socket of each listener that systemd has opened, in its order; the name is
    FileDescriptorName= of the .socket unit, by default the unit's own.

    They are the caller's from then on: the environment no longer names them, and child processes
    do not inherit them. Raises ValueError for what is not a listening stream socket.
    """
    pid, count, names = (
        os.environ.pop(variable, "") for variable in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
    )
    os.environ.pop("LISTEN_PIDFDID", None)
    if pid != str(os.getpid()) or not count.isdecimal():
        return []  # they were meant for the process that started this one
    found: list[tuple[str, socket.socket]] = []
    given = names.split(":")
    try:
        for n in range(int(count)):
            name = given[n] if n < len(given) and given[n] else "unknown"
            found.append((name, _listener(FIRST_DESCRIPTOR + n, name)))
    except ValueError:
        for _, sock in found:
            sock.close()
        raise
    return found


def _listener(descriptor: int, name: str) -> socket.socket:
    try:
        os.set_inheritable(descriptor, False)
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        raise ValueError(f"what systemd passes as {name} is no socket: {error.strerror}") from error
    if sock.type == socket.SOCK_STREAM:
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            sock.setblocking(False)
            return sock
    sock.close()
    raise ValueError(f"what systemd passes as {name} does not listen: it needs ListenStream=")
