"""What the processes that serve, and those that look after them, have in common."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from multiprocessing import connection, parent_process, resource_tracker


@contextmanager
def deaf_to_interrupts() -> Generator[None]:
    """Start a process here that no Ctrl-C of the terminal reaches before it is ready for one.

    A Ctrl-C at this moment reaches this process afterwards.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # its start would take the block away again
    masked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # a new program inherits it
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, masked)


def ignore_interrupts() -> None:
    """Leave it to the parent what a Ctrl-C means, in a process that was started deaf to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # one that waits is gone, too
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def end_with_parent(ended: Callable[[], None]) -> None:
    """Call `ended` in a thread of its own when the parent has ended, and be it by SIGKILL.

    The parent holds one end of a pipe that no other process has; the operating system closes it in any case.
    """
    parent = parent_process()
    if parent is None:
        return
    sentinel = parent.sentinel

    def wait() -> None:
        connection.wait([sentinel])
        ended()

    threading.Thread(target=wait, name="servey-parent", daemon=True).start()


def stop_this_process(seconds: float) -> None:
    """Do as after a SIGTERM from outside; end by force what is there after so many seconds.

    The code that is served may ignore the signal. This returns only where it is the process that ends.
    """
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(seconds)
    os._exit(128 + signal.SIGTERM)


def raise_again(number: int) -> None:
    """End this process by a signal that was held back, as it would have done at once."""
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
