"""How fast the load generator itself is: `python -m bench.ceiling`.

The same loops against a server that does nothing: it answers whatever it receives with one canned
OK. No server can be measured as faster than this.
"""

from __future__ import annotations

import multiprocessing
import select
import socket
import time

from .client import TAG, Client, Step, closed_loop, parallel_loop
from .proc import on_one_core

_ANSWER = TAG + b" OK NOOP completed.\r\n"


def answer(listener: socket.socket) -> None:
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    clients: dict[int, socket.socket] = {}
    while True:
        for fd, _ in poll.poll():
            if fd == listener.fileno():
                client = listener.accept()[0]
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                client.send(b"* OK hello\r\n")
                clients[client.fileno()] = client
                poll.register(client, select.EPOLLIN)
            elif clients[fd].recv(4096):
                clients[fd].send(_ANSWER)
            else:
                clients.pop(fd).close()


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    server = multiprocessing.get_context("fork").Process(
        target=answer, args=(listener,), daemon=True
    )
    server.start()
    steps = [Step(TAG + b" NOOP\r\n")]
    for n in (1, 10):
        clients = [Client(listener.getsockname()[1]) for _ in range(n)]
        cpu = time.process_time()
        if n == 1:
            assert server.pid is not None
            with on_one_core(server.pid):
                timing = closed_loop(clients[0], steps, 2)
        else:
            timing = parallel_loop(clients, steps, 2)
        cpu = time.process_time() - cpu - timing.aside_s
        ops, elapsed = timing.ops, timing.elapsed_s
        print(
            f"{n:2} clients: {ops / elapsed:,.0f} operations/s, "
            f"{cpu / ops * 1e6:.1f} us of generator CPU each, {cpu / elapsed:.0%} of one core"
        )
    server.terminate()


if __name__ == "__main__":
    main()
