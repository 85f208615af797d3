"""How a server stops without leaving anybody who was let in without an answer: what uvicorn's own order leaves out.

A listening socket that is closed takes with it the connections that the kernel has accepted and nobody has taken yet,
and those that are being made: their clients believe to be connected, and are reset. A connection that looks idle may
have a request that nobody has read yet. So no connection is begun any more, those that wait are taken, and what has
been sent is read, before anything is closed.
"""

from __future__ import annotations

import ctypes
import select
import socket
import struct
import sys
from collections.abc import Collection, Iterable
from typing import Any

_SO_ATTACH_FILTER = 26
_NO_BEGINNING = (
    (0x30, 0, 0, 13),  # load the byte of the TCP header that has its flags
    (0x54, 0, 0, 0x12),  # keep SYN and ACK
    (0x15, 0, 1, 0x02),  # a SYN alone:
    (0x06, 0, 0, 0),  # drop it
    (0x06, 0, 0, 0xFFFFFFFF),  # else take it
)
"""A classic BPF program (``linux/filter.h``) that drops the packet with which a connection begins, and no other."""


def refuse_beginnings(listening: socket.socket) -> bool:
    """Have a listening socket take no new connection, in every process that shares it; return whether it can.

    What has begun goes on. A client that comes now is not answered, tries again a second later, and is refused
    by then, as the socket is closed.
    """
    if sys.platform != "linux" or listening.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in _NO_BEGINNING))
    try:
        listening.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(_NO_BEGINNING), ctypes.addressof(program))
        )
    except OSError:  # a sandbox that knows no filters
        return False
    return True


def waiting(sockets: Iterable[socket.socket]) -> bool:
    """Return whether a connection waits to be taken from one of the listening sockets."""
    return _readable([listening.fileno() for listening in sockets])


def busy(connections: Iterable[Any]) -> list[Any]:
    """Return those of uvicorn's connections that owe an answer."""
    return [item for item in connections if (cycle := _cycle(item)) is not None and not cycle.response_complete]


def idle(connections: Iterable[Any]) -> list[Any]:
    """Return those of uvicorn's HTTP connections that have no request under way; websockets are not looked at."""
    return [
        item
        for item in connections
        if hasattr(item, "cycle") and ((cycle := _cycle(item)) is None or cycle.response_complete)
    ]


def unread(connections: Collection[Any]) -> bool:
    """Return whether something has come on one of the connections that the event loop has not read yet."""
    numbers: list[int] = []
    for connection in connections:
        found = None if connection.transport.is_closing() else connection.transport.get_extra_info("socket")
        if found is not None:
            numbers.append(found.fileno())
    return _readable(numbers)


def _cycle(connection: Any) -> Any:
    return getattr(connection, "cycle", None)


def _readable(numbers: Iterable[int]) -> bool:
    open_ones = [number for number in numbers if number >= 0]
    if not hasattr(select, "poll"):  # Windows
        return bool(open_ones) and bool(select.select(open_ones, [], [], 0)[0])
    poll = select.poll()
    for number in open_ones:
        poll.register(number, select.POLLIN)
    return bool(poll.poll(0))
