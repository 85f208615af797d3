"""The counter of calls: in this process, or in a store that several processes share."""

from __future__ import annotations

import asyncio
import logging
import math
import re
import threading
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

from servey.action.context import CallContext, RateLimitState
from servey.cache_control.circuit_breaker import CircuitBreaker, within
from servey.errors import DefinitionError, MissingExtraError, TooManyRequestsError, count_of, is_missing
from servey.security.rate_limit.caller import caller_of

try:
    from cachetools import TLRUCache
    from limits import parse_many

    from servey.security.rate_limit.memory_storage import MemoryStorage
except ModuleNotFoundError as error:
    for package in ("limits", "cachetools"):
        if is_missing(package, error):
            raise MissingExtraError(package, "server") from error
    raise

if TYPE_CHECKING:
    from limits import RateLimitItem

    from servey.ports import RateLimitStorage, Window, WindowState

_log = logging.getLogger("servey.rate_limit")

MOST_CALLS = 10_000
"""The most calls of a limit: the storage remembers the time of each call of each caller."""

_FIX = 'write how many calls in which time, as in rate_limit="10/minute", or several: "10/minute;100/hour"'

_KNOWN = 16_384
"""The number of used-up windows of the shared store that this process remembers."""


def _until(_key: str, until: float, _now: float) -> float:
    return until


class CallCounter:
    """Count calls, and refuse calls over the limit.

    If the shared store says that a limit is used up, this process refuses the caller without asking again, until the
    window admits calls. If the store does not answer, this process counts alone until it does.

    Args:
        open_shared: Opens the shared storage, for each event loop; None to count in this process alone.
        timeout: Seconds to wait for an answer of the shared storage.

    Raises:
        SettingsError: The URL of the shared storage is not valid.
        MissingExtraError: A package that the storage needs is not installed.

    Example:
        >>> counter, limits = CallCounter(), parse_rate_limit("10/minute", "say_hello")
        >>> asyncio.run(counter.count(limits, "say_hello", "192.0.2.7"))
        RateLimitState(limit=10, window=60, remaining=9, reset=60)
    """

    def __init__(self, open_shared: Callable[[], RateLimitStorage] | None = None, timeout: float = 0.25) -> None:
        self._memory = MemoryStorage()
        self._timeout = timeout
        self._open_shared = open_shared
        self._stores: WeakKeyDictionary[asyncio.AbstractEventLoop, RateLimitStorage] = WeakKeyDictionary()
        self._lock = threading.Lock()
        self._spent: TLRUCache[str, float] = TLRUCache(_KNOWN, _until, monotonic)
        self._circuit = CircuitBreaker("the store of rate limits (SERVEY_RATE_LIMITS)", _log)
        if open_shared is not None:
            open_shared()  # raises errors now, not at the first call

    @property
    def is_shared(self) -> bool:
        """Whether several processes share the count."""
        return self._open_shared is not None

    async def count(self, limits: Sequence[RateLimitItem], *key: str) -> RateLimitState:
        """Count a call, and return the state of the limit with the fewest calls left.

        Args:
            limits: The limits, the shortest window first. If one refuses the call, none counts it.
            key: The action and the caller.

        Raises:
            TooManyRequestsError: A limit is used up; with the rate limit headers.
        """
        windows = [(limit.key_for(*key), limit.amount, limit.get_expiry()) for limit in limits]
        states = await self._states_in_store(windows) if self.is_shared else None
        return _nearest(limits, self._memory.acquire_all(windows) if states is None else states)

    async def close(self) -> None:
        """Close the connections of this event loop; the next call opens them again."""
        with self._lock:
            store = self._stores.pop(asyncio.get_running_loop(), None)
        if store is not None:
            await store.close()

    async def _states_in_store(self, windows: Sequence[Window]) -> Sequence[WindowState] | None:
        """Return the answer of the shared store, or a remembered one; None without an answer in time."""
        if (known := self._known(windows)) is not None:
            return known
        assert self._open_shared is not None
        store = self._store(self._open_shared)
        if store.turn.locked():
            try:
                await within(self._timeout, store.turn.acquire())
            except TimeoutError:  # too many calls for the store, which has not failed
                return self._known(windows)
        else:
            await store.turn.acquire()
        try:
            if (known := self._known(windows)) is not None:  # an earlier call in the queue has learnt it
                return known
            if not self._circuit.allows_request():
                return None
            begin = monotonic()
            states = await within(self._timeout, store.acquire_all(windows))
        except (*store.errors, OSError, TimeoutError) as error:
            self._circuit.failed(error)
            return self._known(windows)
        finally:
            store.turn.release()
        self._circuit.succeeded()
        self._learn(windows, states, begin)
        return states

    def _learn(self, windows: Sequence[Window], states: Sequence[WindowState], at: float) -> None:
        """Remember the used-up windows of an answer to a question at a time of the monotonic clock."""
        for (key, limit, window), (_, age, calls) in zip(windows, states, strict=True):
            if calls >= limit:
                with self._lock:
                    self._spent[key] = at + window - age

    def _known(self, windows: Sequence[Window]) -> Sequence[WindowState] | None:
        """Return the answers if a window is known to be used up; None if none is."""
        with self._lock:
            spent = [self._spent.get(key) for key, _, _ in windows]
        if not any(spent):
            return None
        now = monotonic()
        return [
            (until is None, 0.0 if until is None else window - (until - now), limit)
            for until, (_, limit, window) in zip(spent, windows, strict=True)
        ]

    def _store(self, open_shared: Callable[[], RateLimitStorage]) -> RateLimitStorage:
        """Return the shared store for this event loop."""
        loop = asyncio.get_running_loop()
        store = self._stores.get(loop)
        if store is None:
            with self._lock:  # event loops in other threads
                store = self._stores[loop] = open_shared()
        return store


def parse_rate_limit(text: str, of: str, where: str = "") -> tuple[RateLimitItem, ...]:
    """Return the limits of a text, the shortest window first.

    Args:
        text: Such as ``"10/minute"``, ``"10 per minute"``, ``"5/10 seconds"``; several with a semicolon between.
        of: The name of the action, for the error.
        where: Its ``file:line``, for the error.

    Raises:
        DefinitionError: It names no limit, or one that cannot be counted.

    Example:
        >>> parse_rate_limit("100/hour; 10/minute", "say_hello")
        (10 per 1 minute, 100 per 1 hour)
    """

    def wrong(why: str) -> DefinitionError:
        return DefinitionError(f"the rate limit of {of}, {text!r}, {why}", where=where, fix=_FIX)

    try:
        limits = parse_many(text)
    except ValueError:
        raise wrong("cannot be read") from None
    if 0 in map(int, re.findall("[0-9]+", text)):  # the library takes no seconds for one second
        raise wrong("allows no calls")
    if any(limit.amount > MOST_CALLS for limit in limits):
        raise wrong(f"allows more than {MOST_CALLS} calls; take a shorter time")
    windows = [limit.get_expiry() for limit in limits]
    if len(set(windows)) < len(windows):
        raise wrong("has two limits for the same time")
    return tuple(sorted(limits, key=lambda limit: limit.get_expiry()))


class ActionRateLimiter(NamedTuple):
    """Count the calls of an action, for each caller."""

    action: str
    limits: Sequence[RateLimitItem]
    counter: CallCounter

    async def acquire(self, context: CallContext, /) -> None:
        """Count a call, and set the state of the limit in its context; raise if a limit is used up."""
        context.limits = await self.counter.count(self.limits, self.action, caller_of(context))


def _nearest(limits: Sequence[RateLimitItem], windows: Sequence[WindowState]) -> RateLimitState:
    """Return the state of the limit with the fewest calls left. Of used-up ones, raise for the longest wait."""
    states: list[RateLimitState] = []
    refusing: list[RateLimitState] = []
    for limit, (is_admitted, age, calls) in zip(limits, windows, strict=True):
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
    error.headers.update(state.headers)
    return error
