"""Whether a store that failed is asked again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic

PAUSE_SECONDS = 1.0
"""For how long a store that failed is left alone; then one call tries it."""


class Circuit:
    """Leave a store alone for a while after it failed, and say so once.

    Args:
        name: What the log calls the store.
        log: Where it is said.
        clock: Tells the time, in seconds.
    """

    def __init__(self, name: str, log: logging.Logger, clock: Callable[[], float] = monotonic) -> None:
        self._name, self._log, self._clock = name, log, clock
        self._lock = threading.Lock()
        self._open = False
        self._until = 0.0

    def closed(self) -> bool:
        """Return whether the store may be asked; after a pause, one caller is told so in each further one."""
        if not self._open:
            return True
        with self._lock:
            now = self._clock()
            if now < self._until:
                return False
            self._until = now + PAUSE_SECONDS
            return True

    def failed(self, error: BaseException) -> None:
        """Leave the store alone for a while."""
        with self._lock:
            first, self._open, self._until = not self._open, True, self._clock() + PAUSE_SECONDS
        if first:
            what = type(error).__name__
            self._log.warning("%s does not answer (%s); calls go on without it", self._name, what)

    def succeeded(self) -> None:
        """Say that the store answers."""
        if not self._open:
            return
        with self._lock:
            was_open, self._open = self._open, False
        if was_open:
            self._log.info("%s answers again", self._name)
