"""The stop of a worker: it takes no more calls, lets the running ones end for a while, and gives the others back.

By itself, Celery waits for running calls without end, or kills them at any place in their code.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from importlib import import_module
from typing import Any

from servey.forced_exit import CLOSING_SECONDS, SAME_SECONDS, end_after

_state: Any = import_module("celery.worker.state")

GIVE_BACK = signal.SIGUSR2
"""The signal that a worker sends to its processes: they give their calls back."""

GIVING_SECONDS = 6.0
"""How long giving back may take: the broker has to confirm it."""

_log = logging.getLogger("servey.worker")


class Stop:
    """Handles the signals of a worker.

    Args:
        worker: The worker of Celery.
        seconds: How long running calls may go on.
    """

    def __init__(self, worker: Any, seconds: float) -> None:
        self._worker, self._seconds = worker, seconds
        self._since: float | None = None
        self._is_giving_back = False

    def install(self) -> None:
        """Handle SIGTERM and SIGINT from now on."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    def _stop(self, number: int, _frame: Any) -> None:
        now = time.monotonic()
        if self._since is None:
            self._since = now
            _state.should_stop = 0  # the exit code; Celery takes no more calls, and waits for the running ones
            _log.info("stopping: running calls get %g s", self._seconds)
            later = threading.Timer(self._seconds, self._give_back)
            later.daemon = True
            later.start()
            end_after(self._seconds + GIVING_SECONDS + CLOSING_SECONDS, number)
        elif now - self._since < SAME_SECONDS:
            return
        elif not self._is_giving_back:
            threading.Thread(target=self._give_back, daemon=True).start()
        else:
            end_after(0.0, number)

    def _give_back(self) -> None:
        if self._is_giving_back:
            return
        self._is_giving_back = True
        self._worker.app.servey.process.give_back()
        for process in getattr(getattr(self._worker.pool, "_pool", None), "_pool", ()):
            try:
                os.kill(process.pid, GIVE_BACK)
            except OSError:
                _log.debug("the process %s has ended", process.pid)
