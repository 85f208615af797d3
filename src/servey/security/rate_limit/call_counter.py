"""Where calls are counted: in this process, or in a store that several processes share."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from servey.action.context import RateLimitState
from servey.errors import MissingExtraError, TooManyRequestsError, is_missing
from servey.security.rate_limit.rate_limit_headers import rate_limit_headers

try:
    from limits.aio.strategies import MovingWindowRateLimiter

    from servey.security.rate_limit.memory_storage import MemoryStorage
except ModuleNotFoundError as error:
    for package in ("limits", "cachetools"):
        if is_missing(package, error):
            raise MissingExtraError(package, "server") from error
    raise

if TYPE_CHECKING:
    from limits import RateLimitItem

    from servey.security.rate_limit.shared_storage import SharedStorage

_log = logging.getLogger("servey.rate_limit")


class CallCounter:
    """Count calls, and refuse those that are too many.

    When a shared store does not answer, calls are counted in this process until it does again.

    Args:
        where: ``"memory"``, or the ``redis://…`` of a shared store.
        timeout: Seconds that the shared store has for an answer.
        pause: Seconds for which it is not asked again when it had none.

    Raises:
        SettingsError: `where` is neither.
        MissingExtraError: A package that counts is not installed.

    Example:
        >>> from servey.security.rate_limit.rate_limit import parse_rate_limit
        >>> counter, limits = CallCounter(), parse_rate_limit("10/minute", "say_hello")
        >>> asyncio.run(counter.count(limits, "say_hello", "192.0.2.7"))
        RateLimitState(limit=10, window=60, remaining=9, reset=60)
    """

    def __init__(self, where: str = "memory", timeout: float = 0.25, pause: float = 5.0) -> None:
        self._memory = MovingWindowRateLimiter(MemoryStorage())
        self._timeout, self._pause = timeout, pause
        self._where = where
        self._stores: WeakKeyDictionary[asyncio.AbstractEventLoop, SharedStorage] = WeakKeyDictionary()
        self._lock = threading.Lock()
        self._is_down = False
        self._ask_at = 0.0
        if self.is_shared:
            _shared_storage_type().check(where)

    @property
    def is_shared(self) -> bool:
        """Whether calls are counted in a store that several processes may share."""
        return self._where != "memory"

    async def count(self, limits: Sequence[RateLimitItem], *key: str) -> RateLimitState:
        """Count a call, and return what is left of the limit that is nearest to its end.

        Args:
            limits: The limits, that of the shortest time first; a call that one refuses is not counted by the next.
            key: Of what, and whose.

        Raises:
            TooManyRequestsError: Nothing is left; with the headers that say so.
        """
        store = self._store() if self.is_shared else None
        if store is not None:
            try:
                async with asyncio.timeout(self._timeout):
                    state = await _count(store.strategy, limits, key)
            except TooManyRequestsError:
                self._answered()
                raise
            except (*store.errors, OSError, TimeoutError) as error:
                self._failed(error)
            else:
                self._answered()
                return state
        return await _count(self._memory, limits, key)

    async def close(self) -> None:
        """Close what was opened in this event loop; the next call opens it again."""
        with self._lock:
            store = self._stores.pop(asyncio.get_running_loop(), None)
        if store is not None:
            await store.close()

    def _store(self) -> SharedStorage | None:
        """Return the shared store for this event loop; None while it is left alone after a failure."""
        if self._is_down:
            with self._lock:
                now = time.monotonic()
                if now < self._ask_at:
                    return None
                self._ask_at = now + self._pause  # while this call asks, the others go on without
        loop = asyncio.get_running_loop()
        store = self._stores.get(loop)
        if store is None:
            with self._lock:  # another loop may be at it in another thread
                store = self._stores[loop] = _shared_storage_type()(self._where, self._timeout)
        return store

    def _answered(self) -> None:
        if self._is_down:
            with self._lock:
                was_down, self._is_down = self._is_down, False
            if was_down:
                _log.info("the store of the rate limits answers again: calls are counted there")

    def _failed(self, error: Exception) -> None:
        with self._lock:
            was_down, self._is_down = self._is_down, True
            self._ask_at = time.monotonic() + self._pause
        if not was_down:
            _log.warning(
                "the store of the rate limits (SERVEY_RATE_LIMITS) does not answer, so each process counts for itself "
                "until it does: %s",
                str(error) or type(error).__name__,
            )


async def _count(
    strategy: MovingWindowRateLimiter, limits: Sequence[RateLimitItem], key: Sequence[str]
) -> RateLimitState:
    nearest: RateLimitState | None = None
    for limit in limits:
        is_admitted = await strategy.hit(limit, *key)
        reset_time, remaining = await strategy.get_window_stats(limit, *key)
        window = limit.get_expiry()
        reset = min(max(math.ceil(reset_time - time.time()), 1), window)
        state = RateLimitState(limit.amount, window, remaining if is_admitted else 0, reset)
        if not is_admitted:
            raise _refused(state)
        if nearest is None or (state.remaining, -state.reset) < (nearest.remaining, -nearest.reset):
            nearest = state
    if nearest is None:
        raise ValueError("there is no limit to count by")
    return nearest


def _refused(state: RateLimitState) -> TooManyRequestsError:
    error = TooManyRequestsError(
        f"the limit is {state.limit} calls in {state.window} seconds; try again in {state.reset}",
        retry_after=state.reset,
    )
    error.headers.update(rate_limit_headers(state))
    return error


def _shared_storage_type() -> type[SharedStorage]:
    from servey.security.rate_limit.shared_storage import SharedStorage

    return SharedStorage
