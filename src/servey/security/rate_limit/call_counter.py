"""Where calls are counted: in this process, or in a store that several processes share."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from servey.action.context import RateLimitState
from servey.cache_control.circuit import Circuit, within
from servey.errors import MissingExtraError, TooManyRequestsError, count_of, is_missing
from servey.security.rate_limit.rate_limit_headers import rate_limit_headers

try:
    from cachetools import TLRUCache

    from servey.security.rate_limit.memory_storage import Asked, MemoryStorage, Told
except ModuleNotFoundError as error:
    for package in ("limits", "cachetools"):
        if is_missing(package, error):
            raise MissingExtraError(package, "server") from error
    raise

if TYPE_CHECKING:
    from limits import RateLimitItem

    from servey.security.rate_limit.shared_storage import SharedStorage

_log = logging.getLogger("servey.rate_limit")

_KNOWN = 16_384
"""Of so many windows that admit no more, as a shared store has told, this process knows it until they do."""


def _until(_key: str, until: float, _now: float) -> float:
    return until


class CallCounter:
    """Count calls, and refuse those that are too many.

    Whom a shared store admits no more is refused here without asking it, until it would admit them again. When it does
    not answer, calls are counted in this process until it does again.

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
        self._spent: TLRUCache[str, float] = TLRUCache(_KNOWN, _until, monotonic)
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
            limits: The limits, that of the shortest time first; a call that one refuses is counted by none.
            key: Of what, and whose.

        Raises:
            TooManyRequestsError: Nothing is left; with the headers that say so.
        """
        asked = [(limit.key_for(*key), limit.amount, limit.get_expiry()) for limit in limits]
        told = await self._told_by_store(asked) if self.is_shared else None
        return _nearest(limits, self._memory.acquire_all(asked) if told is None else told)

    async def close(self) -> None:
        """Close what was opened in this event loop; the next call opens it again."""
        with self._lock:
            store = self._stores.pop(asyncio.get_running_loop(), None)
        if store is not None:
            await store.close()

    async def _told_by_store(self, asked: Sequence[Asked]) -> Sequence[Told] | None:
        """Return what the shared store says, or has said; None when it has no answer in time."""
        if (known := self._known(asked)) is not None:
            return known
        store = self._store()
        if store.turn.locked():
            try:
                await within(self._timeout, store.turn.acquire())
            except TimeoutError:  # here are more calls than it can answer in time, which is no failure of it
                return self._known(asked)
        else:
            await store.turn.acquire()
        try:
            if (known := self._known(asked)) is not None:  # told to somebody before in the queue
                return known
            if not self._circuit.closed():
                return None
            begin = monotonic()
            told = await within(self._timeout, store.acquire_all(asked))
        except (*store.errors, OSError, TimeoutError) as error:
            self._circuit.failed(error)
            return self._known(asked)
        finally:
            store.turn.release()
        self._circuit.succeeded()
        self._learn(asked, told, begin)
        return told

    def _learn(self, asked: Sequence[Asked], told: Sequence[Told], at: float) -> None:
        """Remember which windows admit no more, and until when.

        Args:
            asked: The windows.
            told: What the store says of them.
            at: When it was asked, in seconds of the monotonic clock.
        """
        for (key, limit, window), (_, age, calls) in zip(asked, told, strict=True):
            if calls >= limit:
                with self._lock:
                    self._spent[key] = at + window - age

    def _known(self, asked: Sequence[Asked]) -> Sequence[Told] | None:
        """Return what is known of windows of which one or more admit no more; None if all may."""
        with self._lock:
            spent = [self._spent.get(key) for key, _, _ in asked]
        if not any(spent):
            return None
        now = monotonic()
        return [
            (until is None, 0.0 if until is None else window - (until - now), limit)
            for until, (_, limit, window) in zip(spent, asked, strict=True)
        ]

    def _store(self) -> SharedStorage:
        """Return the shared store for this event loop."""
        loop = asyncio.get_running_loop()
        store = self._stores.get(loop)
        if store is None:
            with self._lock:  # another loop may be at it in another thread
                store = self._stores[loop] = _shared_storage_type()(self._where, self._timeout)
        return store


def _nearest(limits: Sequence[RateLimitItem], told: Sequence[Told]) -> RateLimitState:
    """Return what is left of the limit that is nearest to its end.

    Raises:
        TooManyRequestsError: One admits no more; of several, what is told is the one for which to wait longest.
    """
    states: list[RateLimitState] = []
    refusing: list[RateLimitState] = []
    for limit, (is_admitted, age, calls) in zip(limits, told, strict=True):
        window = limit.get_expiry()
        reset = min(max(math.ceil(window - age), 1), window)
        state = RateLimitState(limit.amount, window, limit.amount - calls if is_admitted else 0, reset)
        (states if is_admitted else refusing).append(state)
    if refusing:
        raise _refused(max(refusing, key=lambda state: state.reset))
    return min(states, key=lambda state: (state.remaining, -state.reset))


def _refused(state: RateLimitState) -> TooManyRequestsError:
    error = TooManyRequestsError(
        f"the limit is {count_of(state.limit, 'call')} in {count_of(state.window, 'second')}; "
        f"try again in {count_of(state.reset, 'second')}",
        retry_after=state.reset,
    )
    error.headers.update(rate_limit_headers(state))
    return error


def _shared_storage_type() -> type[SharedStorage]:
    from servey.security.rate_limit.shared_storage import SharedStorage

    return SharedStorage
