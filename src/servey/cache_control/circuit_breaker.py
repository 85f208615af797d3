"""Wait before the next request to a store that failed."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeVar

T = TypeVar("T")

PAUSE_SECONDS = 1.0
"""The pause after a failure of a store; then one call tries the store again."""

_STEPS = 8
"""The number of slices of a timeout."""


class CircuitBreaker:
    """Send no requests to a store for a while after it failed, and log this once.

    Args:
        name: The name of the store in the log.
        log: The logger.
        clock: Returns the time, in seconds.
        effect: What a failure means for calls, for the log.
    """

    def __init__(
        self,
        name: str,
        log: logging.Logger,
        clock: Callable[[], float] = monotonic,
        *,
        effect: str = "calls continue without it",
    ) -> None:
        self._name, self._log, self._clock, self._effect = name, log, clock, effect
        self._lock = threading.Lock()
        self._open = False
        self._until = 0.0

    def allows_request(self) -> bool:
        """Return whether a request may be sent to the store; after each pause, one request may."""
        if not self._open:
            return True
        with self._lock:
            now = self._clock()
            if now < self._until:
                return False
            self._until = now + PAUSE_SECONDS
            return True

    def failed(self, error: BaseException) -> None:
        """Start a pause."""
        with self._lock:
            is_first, self._open = not self._open, True
            self._until = self._clock() + PAUSE_SECONDS
        if is_first:
            self._log.warning("%s does not answer (%s); %s", self._name, _reason(error), self._effect)

    def succeeded(self) -> None:
        """End the pauses: the store answers."""
        if not self._open:
            return
        with self._lock:
            was_open, self._open = self._open, False
        if was_open:
            self._log.info("%s answers again", self._name)


def _reason(error: BaseException) -> str:
    """Return the class of an error; its text may have a password. A certificate that is not valid is named."""
    part: BaseException | None = error
    while part is not None:
        wrong = getattr(part, "verify_message", "")  # of `ssl.SSLCertVerificationError`
        if wrong:
            return f"its certificate is not valid: {wrong}"
        part = part.__cause__ or part.__context__
    return type(error).__name__


async def within(seconds: float, answer: Awaitable[T]) -> T:
    """Wait for the answer of a store, with a timeout.

    If the caller is cancelled, some clients take this for their own timeout: they raise a timeout error, or continue.
    In that case, this function raises `asyncio.CancelledError`, because otherwise a stop could wait forever.

    The timeout is split into slices, so that a busy event loop does not use it up: the answer may have arrived while
    the loop had no time to read it.

    Args:
        seconds: The timeout.
        answer: The answer.

    Raises:
        TimeoutError: The answer has not arrived in time.
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
