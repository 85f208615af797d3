"""Whether a store that failed is asked again."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeVar

T = TypeVar("T")

PAUSE_SECONDS = 1.0
"""For how long a store that failed is left alone; then one call tries it."""

_STEPS = 8
"""In so many parts a time to wait is counted."""


class CircuitBreaker:
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

    def allows_request(self) -> bool:
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


async def within(seconds: float, answer: Awaitable[T]) -> T:
    """Return what a store answers.

    A client may take the cancellation of whoever asks for its own timeout, and raise that, or go on; whoever cancels
    waits for ever then, at a stop for one. Here it stays a cancellation.

    The time is counted in parts, each from when the event loop has come to the end of the one before. When the loop is
    busy for longer than `seconds`, with a flood of calls, the answer may be there and not read: that is no fault of the
    store's.

    Args:
        seconds: For how long the answer is waited for.
        answer: The answer.

    Raises:
        TimeoutError: It has not come.
    """
    task = asyncio.current_task()
    before = 0 if task is None else task.cancelling()
    loop = asyncio.get_running_loop()

    def step(left: int) -> None:
        nonlocal timer
        if left:
            timer = loop.call_later(seconds / _STEPS, step, left - 1)
        else:
            limit.reschedule(loop.time())

    timer = loop.call_later(seconds / _STEPS, step, _STEPS - 1)
    try:
        async with asyncio.timeout(None) as limit:
            try:
                result = await answer
            finally:
                timer.cancel()
    except Exception:
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError from None
        raise
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError
    return result
