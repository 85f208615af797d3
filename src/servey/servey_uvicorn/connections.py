"""The state of uvicorn's connections and of listening sockets, for a stop that answers every request.

When a listening socket closes, it also closes connections that only the kernel has accepted. An idle connection may
have a request that the event loop has not read. The server checks both before it closes them.
"""

from __future__ import annotations

import ctypes
import select
import socket
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

_SO_ATTACH_FILTER = 26
_DROP_NEW = (
    (0x30, 0, 0, 13),  # load the byte of the TCP header that has its flags
    (0x54, 0, 0, 0x12),  # keep SYN and ACK
    (0x15, 0, 1, 0x02),  # a SYN alone:
    (0x06, 0, 0, 0),  # drop it
    (0x06, 0, 0, 0xFFFFFFFF),  # else take it
)
"""A classic BPF program (``linux/filter.h``) that drops the packet with which a connection begins, and no other."""


def refuse_new(listening: socket.socket) -> None:
    """Let Linux drop the first packet of new connections to a listening socket, in all processes that share it.

    A new client tries again after a second; then the socket is closed, and refuses it. Without this, connections that
    arrive between the last check and the closing would be reset.
    """
    if sys.platform != "linux" or listening.family not in (socket.AF_INET, socket.AF_INET6):
        return
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in _DROP_NEW))
    with suppress(OSError):  # a sandbox that knows no filters
        listening.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(_DROP_NEW), ctypes.addressof(program))
        )


def has_waiting(sockets: Iterable[socket.socket]) -> bool:
    """Return whether a connection waits to be accepted from one of the listening sockets."""
    return _is_readable(listening.fileno() for listening in sockets)


def busy(connections: Iterable[Any]) -> list[Any]:
    """Return uvicorn's connections with a request under way."""
    return [item for item in connections if _has_request(item)]


def idle(connections: Iterable[Any]) -> list[Any]:
    """Return uvicorn's HTTP connections without a request under way."""
    return [item for item in connections if hasattr(item, "cycle") and not _has_request(item)]


def websockets(connections: Iterable[Any]) -> list[Any]:
    """Return uvicorn's websocket connections. Their routes close them when the service stops."""
    return [item for item in connections if not hasattr(item, "cycle")]


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
