"""The state of uvicorn's connections and of listening sockets, for a stop that answers every request.

A listening socket that closes takes along the connections that the kernel has accepted and the server has not, and a
connection that looks idle may have a request that the event loop has not read. The server looks here before it closes.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Iterable
from typing import Any


def has_waiting(sockets: Iterable[socket.socket]) -> bool:
    """Return whether a connection waits to be accepted from one of the listening sockets."""
    return _is_readable(listening.fileno() for listening in sockets)


def busy(connections: Iterable[Any]) -> list[Any]:
    """Return uvicorn's connections with a request under way."""
    return [item for item in connections if _has_request(item)]


def idle(connections: Iterable[Any]) -> list[Any]:
    """Return uvicorn's HTTP connections without a request under way. Websockets are never idle."""
    return [item for item in connections if hasattr(item, "cycle") and not _has_request(item)]


def has_unread(connections: Iterable[Any]) -> bool:
    """Return whether bytes have arrived on a connection that the event loop has not read."""
    numbers: list[int] = []
    for connection in connections:
        found = None if connection.transport.is_closing() else connection.transport.get_extra_info("socket")
        if found is not None:
            numbers.append(found.fileno())
    return _is_readable(numbers)


def _has_request(connection: Any) -> bool:
    cycle = getattr(connection, "cycle", None)
    return cycle is not None and not cycle.response_complete


def _is_readable(numbers: Iterable[int]) -> bool:
    open_ones = [number for number in numbers if number >= 0]
    if not hasattr(select, "poll"):  # Windows
        return bool(open_ones) and bool(select.select(open_ones, [], [], 0)[0])
    poll = select.poll()
    for number in open_ones:
        poll.register(number, select.POLLIN)
    return bool(poll.poll(0))
