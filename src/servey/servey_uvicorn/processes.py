"""The child processes of a server: start one, exchange messages with it, and end it when its parent ends."""

from __future__ import annotations

import math
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from multiprocessing import Pipe, allow_connection_pickling, connection, get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection
from typing import Any

from servey import log
from servey.settings import Settings

Load = Callable[[Settings], Any]
"""Loads the ASGI application; picklable, because each process of the server calls it."""

ShowError = Callable[[BaseException], str]
"""Shows an error of the user's modules and returns its text; picklable."""

Life = Callable[[Connection, socket.socket], None]
"""What a child does, with its channel to the parent and the listening socket; picklable."""

allow_connection_pickling()  # sockets, too
_spawn = get_context("spawn")


class Child:
    """A process that serves, and the channel to it. If its parent ends, it stops within so many seconds.

    Attributes:
        report: What it has reported last; None before its first report.
        heard: When it has reported last, in the time of `time.monotonic`; infinite before its first report.
    """

    report: Any = None
    heard = math.inf

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

    def hear(self) -> None:
        """Receive its reports."""
        with suppress(EOFError, OSError):
            while self.channel.poll():
                self.report = self.channel.recv()
                self.heard = time.monotonic()

    def send(self, message: Any) -> None:
        """Send the process a message, if it runs."""
        with suppress(OSError):
            self.channel.send(message)

    def signal(self, number: int) -> None:
        """Send a signal to the process, if it runs."""
        if self.process.pid is not None and self.is_alive:
            with suppress(OSError):
                os.kill(self.process.pid, number)

    def end(self, seconds: float) -> None:
        """Stop the process, by force after so many seconds, and take its last report."""
        self.process.terminate()
        self.process.join(seconds)
        self.process.kill()
        self.process.join()
        self.hear()
        self.channel.close()

    def how_it_ended(self) -> str:
        """Return in words how the process has ended: ``ended by SIGKILL``, ``ended with exit code 3``."""
        code = self.process.exitcode
        if code is None or code >= 0:
            return f"ended with exit code {code}"
        try:
            return f"ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"ended by signal {-code}"


def _live(life: Life, channel: Connection, listening: socket.socket, log_level: str, seconds: float) -> None:
    """Run as a child process."""
    with suppress(OSError):
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - for debuggers; multiprocessing has replaced it
    _end_with_parent(seconds)
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


def _end_with_parent(seconds: float) -> None:
    """Stop this process when its parent has ended, even by SIGKILL; after so many seconds, end it by force.

    Only the parent holds the other end of a pipe, and the operating system closes it in any case.
    """
    parent = parent_process()
    if parent is None:
        return
    sentinel = parent.sentinel

    def wait() -> None:
        connection.wait([sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(seconds)  # the served code may ignore the signal
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=wait, name="servey-parent", daemon=True).start()


def raise_again(number: int) -> None:
    """End this process by a signal that it has handled, so that its parent sees the signal."""
    default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    signal.signal(number, default)
    signal.raise_signal(number)
