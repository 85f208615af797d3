"""A small load generator, for machines without wrk: keep-alive connections, each with one request under way.

    python -m benchmarks.load HOST PORT CONNECTIONS SECONDS < request

It prints ``{"requests": …, "seconds": …, "errors": …}``. It is Python and so has less to give than wrk (or oha): near
a fast server it measures itself as well, which makes all servers look more alike than they are.
"""

import asyncio
import json
import os
import sys
import time
from itertools import count
from typing import Any

from benchmarks.workload import loop_factory

NEW_KEY = "a-key-of-32-characters-of-its-own"[:32]
"""What stands for another text of the same length in each request, such as an idempotency key."""

_PREFIX = os.urandom(8).hex().encode()
_numbers = count()


def with_new_key(request: bytes) -> bytes:
    """Return a request with another text in the place of `NEW_KEY`."""
    return request.replace(NEW_KEY.encode(), b"%b%016x" % (_PREFIX, next(_numbers)))


class Connection(asyncio.Protocol):
    """Send the request, read the whole answer, and again."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.has_key = NEW_KEY.encode() in request
        self.answers = self.errors = 0
        self.pending = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.send()

    def send(self) -> None:
        self.transport.write(with_new_key(self.request) if self.has_key else self.request)

    def data_received(self, data: bytes) -> None:
        data = self.pending + data if self.pending else data
        if (end := data.find(b"\r\n\r\n")) < 0:
            self.pending = data
            return
        head = data[:end].lower()
        begin = head.index(b"content-length:") + 15
        stop = head.find(b"\r\n", begin)
        length = int(head[begin : stop if stop >= 0 else end])
        if len(data) < end + 4 + length:
            self.pending = data
            return
        self.pending = b""
        self.answers += 1
        if data[9:10] not in b"24":
            self.errors += 1
        self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        self.errors += 1


async def generate(host: str, port: int, connections: int, seconds: float, request: bytes) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    begin = time.perf_counter()
    made = [await loop.create_connection(lambda: Connection(request), host, port) for _ in range(connections)]
    await asyncio.sleep(seconds)
    took = time.perf_counter() - begin
    protocols = [protocol for _, protocol in made]
    result = {
        "requests": sum(protocol.answers for protocol in protocols),
        "seconds": took,
        "errors": sum(protocol.errors for protocol in protocols),
    }
    for transport, _ in made:
        transport.abort()
    return result


def main() -> None:
    host, port, connections, seconds = sys.argv[1:]
    request = sys.stdin.buffer.read()
    with asyncio.Runner(loop_factory=loop_factory()[0]) as runner:
        result = runner.run(generate(host, int(port), int(connections), float(seconds), request))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
