"""Where calls are counted: in this process, or in a store that several processes share."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from servey.action.context import RateLimitState
from servey.cache_control.circuit import Circuit, within
from servey.errors import MissingExtraError, TooManyRequestsError, is_missing
from servey.security.rate_limit.rate_limit_headers import rate_limit_headers

try:
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

Told = tuple[bool, float, int]
"""Whether a call is admitted, how many seconds ago the oldest one in the window was, and how many are in it."""


class CallCounter:
    """Count calls, and refuse those that are too many.

    When a shared store does not answer, calls are counted in this process until it does again.

    Args:
        where: ``"memory"``, or the ``redis://…`` of a shared store.
        timeout: Seconds that the shared store has for an answer.

    Raises:
        SettingsError: `where` is neither.
        MissingExtraError: A package that counts is not installed.

    Example:
        >>> from servey.security.rate_limit.rate_limit import parse_rate_limit
        >>> counter, limits = CallCounter(), parse_rate_limit("10/minute", "say_hello")
        >>> asyncio.run(counter.count(limits, "say_hello", "192.0.2.7"))
        RateLimitState(limit=10, window=60, remaining=9, reset=60)
    """

    def __init__(self, where: str = "memory", timeout: float = 0.25) -> None:
        self._memory = MemoryStorage()
        self._timeout = timeout
        self._where = where
        self._stores: WeakKeyDictionary[asyncio.AbstractEventLoop, SharedStorage] = WeakKeyDictionary()
        self._lock = threading.Lock()
        self._circuit = Circuit("the store of rate limits (SERVEY_RATE_LIMITS)", _log)
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
        told: list[Told] = []
        if self.is_shared and self._circuit.closed():
            store = self._store()
            try:
                told = await within(self._timeout, _asked(store, limits, key))
            except (*store.errors, OSError, TimeoutError) as error:
                self._circuit.failed(error)
            else:
                self._circuit.succeeded()
        if not told:
            for limit in limits:
                told.append(self._memory.acquire(limit.key_for(*key), limit.amount, limit.get_expiry()))
                if not told[-1][0]:
                    break
        return _nearest(limits, told)

    async def close(self) -> None:
        """Close what was opened in this event loop; the next call opens it again."""
        with self._lock:
            store = self._stores.pop(asyncio.get_running_loop(), None)
        if store is not None:
            await store.close()

    def _store(self) -> SharedStorage:
        """Return the shared store for this event loop."""
        loop = asyncio.get_running_loop()
        store = self._stores.get(loop)
        if store is None:
            with self._lock:  # another loop may be at it in another thread
                store = self._stores[loop] = _shared_storage_type()(self._where, self._timeout)
        return store


async def _asked(store: SharedStorage, limits: Sequence[RateLimitItem], key: Sequence[str]) -> list[Told]:
    told: list[Told] = []
    for limit in limits:
        told.append(await store.acquire(limit.key_for(*key), limit.amount, limit.get_expiry()))
        if not told[-1][0]:
            break
    return told


def _nearest(limits: Sequence[RateLimitItem], told: Sequence[Told]) -> RateLimitState:
    """Return what is left of the limit that is nearest to its end.

    Raises:
        TooManyRequestsError: The last of the limits that were asked admits no more.
    """
    states: list[RateLimitState] = []
    for limit, (is_admitted, age, calls) in zip(limits, told, strict=False):
        window = limit.get_expiry()
        reset = min(max(math.ceil(window - age), 1), window)
        state = RateLimitState(limit.amount, window, limit.amount - calls if is_admitted else 0, reset)
        if not is_admitted:
            raise _refused(state)
        states.append(state)
    return min(states, key=lambda state: (state.remaining, -state.reset))


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
