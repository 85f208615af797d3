"""A client that puts a server under load and knows what became of each request.

It writes to sockets itself, to tell apart:

answered    the whole answer came
refused     no connection was made: the server had not accepted anything
closed      a kept connection was closed before the next request was written; the client looks right before it writes
unanswered  a connection was made, or kept, a request was written whole, and no whole answer came: a lost request
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

REQUEST = b"GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n"


class Load:
    """Clients that ask without a pause.

    Args:
        port: Of the server, on this machine.
        path: What they ask for.
        clients: How many there are; every other one keeps its connection.
        enough: Ends the load; default: never, but when every client is refused.
    """

    def __init__(self, port: int, path: str, *, clients: int = 16, enough: Callable[[], bool] = lambda: False) -> None:
        self.port, self.path, self.clients, self.enough = port, path.encode(), clients, enough
        self.answered = 0
        self.refused = 0
        self.closed = 0
        self.unanswered: list[str] = []
        self.bodies: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.said_close = 0
        self._answer = asyncio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for the answer with which something is so."""
        while not condition():
            self._answer.clear()
            await self._answer.wait()

    async def run(self) -> None:
        """Ask until it is enough, or until nobody listens any more."""
        await asyncio.gather(*(self._client(keeps=bool(number % 2)) for number in range(self.clients)))

    async def _client(self, *, keeps: bool) -> None:
        loop = asyncio.get_running_loop()
        kept: socket.socket | None = None
        while not self.enough():
            if kept is not None and _is_closed(kept):
                self.closed += 1
                kept.close()
                kept = None
            asking = kept
            if asking is None:
                asking = socket.socket()
                asking.setblocking(False)
                asking.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                try:
                    await loop.sock_connect(asking, ("127.0.0.1", self.port))
                except ConnectionRefusedError:
                    self.refused += 1
                    asking.close()
                    return
                except OSError as error:
                    self.unanswered.append(f"while it connected: {error!r}")
                    asking.close()
                    continue
            kept = None
            began = time.monotonic()
            received = b""
            try:
                await loop.sock_sendall(asking, REQUEST % (self.path, b"" if keeps else b"Connection: close\r\n"))
                while (missing := _missing(received)) != 0:
                    piece = await loop.sock_recv(asking, 65536)
                    if not piece:
                        raise ConnectionError(f"closed, {missing} bytes missing")
                    received += piece
            except OSError as error:
                took = time.monotonic() - began
                self.unanswered.append(
                    f"{'kept' if keeps else 'new'}, after {took:.4f} s: {error!r}: {received[:50]!r}"
                )
                asking.close()
                continue
            head, _, body = received.partition(b"\r\n\r\n")
            self.answered += 1
            self._answer.set()
            self.statuses[int(head.split()[1])] += 1
            self.bodies[body.decode()] += 1
            closes = b"\r\nconnection: close" in head.lower()
            self.said_close += closes
            if keeps and not closes:
                kept = asking
            else:
                asking.close()
        if kept is not None:
            kept.close()


def _is_closed(kept: socket.socket) -> bool:
    with suppress(BlockingIOError):
        try:
            return kept.recv(1, socket.MSG_PEEK) == b""
        except ConnectionError:
            return True
    return False


def _missing(received: bytes) -> int:
    """Return how many bytes of the answer are still to come; -1 when that is not known yet."""
    head, end, body = received.partition(b"\r\n\r\n")
    if not end:
        return -1
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return int(value) - len(body)
    raise AssertionError(f"an answer without a length: {head!r}")
