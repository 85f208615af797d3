"""The stop of a worker: it takes no more calls, lets the running ones end for a while, and gives the others back.

By itself, Celery waits for running calls without end, or kills them at any place in their code. And if a call is on its
way to a process of the pool while Celery stops, it forgets the call, and waits for the process for half a minute. So
this module waits until no call runs, and stops Celery only then.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from importlib import import_module
from queue import Empty, SimpleQueue
from typing import Any

from servey.forced_exit import CLOSING_SECONDS, SAME_SECONDS, end_after

_state: Any = import_module("celery.worker.state")
_ignore_errors: Any = import_module("kombu.common").ignore_errors
_WorkerShutdown: Any = import_module("celery.exceptions").WorkerShutdown

GIVE_BACK = signal.SIGUSR2
"""The signal that a worker sends to its processes: they give their calls back."""

GIVING_SECONDS = 6.0
"""How long giving back may take: the broker has to confirm it."""

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
"""The signals that stop a worker; its processes ignore them, because they may get them, too."""

_LOOK_SECONDS = 0.2

_log = logging.getLogger("servey.worker")


class Stop:
    """Handles the signals of a worker. The first one begins the stop, and the second one gives running calls back now.

    SIGQUIT gives them back now even if it is the first one.

    Args:
        worker: The worker of Celery.
        seconds: How long running calls may go on.
    """

    def __init__(self, worker: Any, seconds: float) -> None:
        self._worker, self._seconds = worker, seconds
        self._signals: SimpleQueue[int] = SimpleQueue()  # a signal handler may use it
        self._last = 0.0
        self._thread: threading.Thread | None = None
        self._connection: Any = None
        self._is_late = False
        self._pid = os.getpid()

    def install(self) -> None:
        """Handle the signals from now on."""
        for number in HANDLED:
            signal.signal(number, self._handle)

    def _handle(self, number: int, _frame: Any) -> None:
        now = time.monotonic()
        if os.getpid() != self._pid:
            return  # a new process of the pool, which does not ignore signals yet
        if self._thread is None:
            self._last = now
            self._thread = threading.Thread(target=self._run, args=(number,), name="servey-stop", daemon=True)
            self._thread.start()
        elif number == signal.SIGQUIT or now - self._last >= SAME_SECONDS:
            self._last = now
            self._signals.put(number)

    def _run(self, number: int) -> None:
        """Stop the worker; this thread ends with the process."""
        seconds = 0.0 if number == signal.SIGQUIT else self._seconds
        _log.info("stopping: running calls get %g s", seconds)
        self._begin()
        self._wait(seconds)
        self._give_back()
        self._wait(GIVING_SECONDS)
        self._is_late = True
        self._worker.consumer.hub.call_soon(_wake)
        self._wait(CLOSING_SECONDS)
        for process in self._processes():
            _kill(process, signal.SIGKILL)  # without its parent, nothing would end it
        end_after(0.0, number)

    def _begin(self) -> None:
        self._connection = self._worker.consumer.connection
        if self._connection is None:
            _state.should_stop = 0  # the exit code; the broker does not answer, so no call can end
        else:
            self._worker.consumer.hub.call_soon(self._take_no_more)

    # the next two functions run in the loop of the worker

    def _take_no_more(self) -> None:
        consumer = self._worker.consumer
        consumer.hub.on_tick.add(self._leave_when_idle)
        if consumer.task_consumer is not None:
            _ignore_errors(consumer, consumer.task_consumer.cancel)

    def _leave_when_idle(self) -> None:
        if self._is_late or not _state.reserved_requests:
            raise _WorkerShutdown(0)

    def _wait(self, seconds: float) -> None:
        """Wait for another signal, for at most `seconds`."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                self._signals.get(timeout=min(left, _LOOK_SECONDS))
            except Empty:
                if self._worker.consumer.connection is not self._connection:
                    _state.should_stop = 0  # the broker delivers the calls again, and no new ones may begin
            else:
                return

    def _give_back(self) -> None:
        self._worker.app.servey.process.give_back()
        for process in self._processes():
            _kill(process, GIVE_BACK)

    def _processes(self) -> list[int]:
        pool = getattr(self._worker.pool, "_pool", None)
        return [process.pid for process in getattr(pool, "_pool", ()) if process.pid]


def ignore_signals() -> None:
    """Let a process of the pool ignore the signals of its worker, which decides when its calls end."""
    for number in HANDLED:
        signal.signal(number, signal.SIG_IGN)


def ignore_sigterm_alone() -> None:
    """Ignore SIGTERM by a function, which programs that a call starts do not inherit, so the call can end them.

    A process does this at its first call: Celery replaces a function that it finds before.
    """
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)


def _wake() -> None:
    """Do nothing: the loop of the worker calls it, and then looks whether to stop."""


def _kill(process: int, number: int) -> None:
    try:
        os.kill(process, number)
    except OSError:
        _log.debug("the process %s has ended", process)
