"""The child processes of a server: start one, exchange messages with it, and end it when its parent ends."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import Pipe, allow_connection_pickling, connection, get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection
from typing import Any

from servey import log

Life = Callable[[Connection, socket.socket], None]
"""What a child does, with its channel to the parent and the listening socket; picklable."""

allow_connection_pickling()  # sockets, too
_spawn = get_context("spawn")


class Child:
    """A process that serves, and the channel to it.

    Args:
        life: What it does.
        listening: The listening socket.
        log_level: The level of its log.
        seconds: How long it may take to stop if its parent ends.
    """

    def __init__(self, life: Life, listening: socket.socket, log_level: str, seconds: float) -> None:
        self.channel, theirs = Pipe()
        self.process = _spawn.Process(target=_live, args=(life, theirs, listening, log_level, seconds))
        self.began = time.monotonic()
        with _interrupts_blocked():
            self.process.start()
        theirs.close()

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self.process.is_alive()

    def received(self) -> Generator[Any]:
        """Yield what the process has sent."""
        with suppress(EOFError, OSError):
            while self.channel.poll():
                yield self.channel.recv()

    def signal(self, number: int) -> None:
        """Send a signal to the process, if it runs."""
        if self.process.pid is not None and self.is_alive:
            with suppress(OSError):
                os.kill(self.process.pid, number)

    def how_it_ended(self) -> str:
        """Return in words how the process has ended."""
        return how_it_ended(self.process.exitcode)


def _live(life: Life, channel: Connection, listening: socket.socket, log_level: str, seconds: float) -> None:
    """Be a child."""
    with suppress(OSError):
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - for debuggers; multiprocessing has replaced it
    _end_with_parent(partial(_stop_this_process, seconds))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means; a pending one is dropped, too
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    log.configure(log_level)
    life(channel, listening)


@contextmanager
def _interrupts_blocked() -> Generator[None]:
    """Block SIGINT, so that a process which starts here is not interrupted before it can ignore the signal.

    This process receives a SIGINT of that time at the end.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # its start would unblock the signal
    masked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # a new program inherits it
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, masked)


def _end_with_parent(ended: Callable[[], None]) -> None:
    """Call `ended` in a thread when the parent has ended, even by SIGKILL.

    Only the parent holds the other end of a pipe, and the operating system closes it in any case.
    """
    parent = parent_process()
    if parent is None:
        return
    sentinel = parent.sentinel

    def wait() -> None:
        connection.wait([sentinel])
        ended()

    threading.Thread(target=wait, name="servey-parent", daemon=True).start()


def _stop_this_process(seconds: float) -> None:
    """Stop as after a SIGTERM; after so many seconds, end by force, as the served code may ignore the signal."""
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(seconds)
    os._exit(128 + signal.SIGTERM)


def raise_again(number: int) -> None:
    """End this process by a signal that it has handled, so that its parent sees the signal."""
    default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    signal.signal(number, default)
    signal.raise_signal(number)


def how_it_ended(code: int | None) -> str:
    """Return in words how a process has ended.

    Example:
        >>> how_it_ended(-9), how_it_ended(3)
        ('ended by SIGKILL', 'ended with exit code 3')
    """
    if code is not None and code < 0:
        try:
            return f"ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"ended by signal {-code}"
    return f"ended with exit code {code}"
