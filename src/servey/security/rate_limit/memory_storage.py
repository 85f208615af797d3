"""A storage of the `limits` library that keeps the times of calls in memory, within bounds.

The library's own storages for memory look at every caller at each call, or keep a thread for that, and grow for as
long as there are new callers. Here a call costs the same however many callers there are, and room is limited.
"""

from __future__ import annotations

import threading
import time
from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from cachetools import TTLCache
from limits.aio.storage import MovingWindowSupport, Storage

if TYPE_CHECKING:
    Times = array[float]
    Cache = TTLCache[str, Times]

Asked = tuple[str, int, int]
"""A window: whose calls are counted in it, how many there may be, and its length in seconds."""

Told = tuple[bool, float, int]
"""Whether a window admits a call, how many seconds ago the oldest call in it was, and how many are in it."""

ROOM = 32 * 1024 * 1024
"""Bytes that the times of calls may take, for each length of window and each of its two parts."""

_PER_KEY = 640
"""Bytes that a key takes besides its times: the text, the objects, its place in the cache. Measured, rounded up."""


def room_for(keys: int, calls: int) -> int:
    """Return how many bytes so many keys of so many calls take: with a room of that size none is forgotten."""
    return keys * (_PER_KEY + 8 * calls)


def _size(times: Times) -> int:
    return _PER_KEY + 8 * len(times)


class _Window:
    """The callers that have called within one length of time.

    Those who have used up their limit are kept apart from those who have not: who calls from ever more addresses
    pushes out others that have calls left, and frees nobody who has none.
    """

    def __init__(self, seconds: float, room: int, clock: Callable[[], float]) -> None:
        self.open: Cache = TTLCache(room, seconds, clock, _size)
        self.spent: Cache = TTLCache(room, seconds, clock, _size)

    def times(self, key: str) -> Times | None:
        """Return when a caller's calls were; it counts as a use, so that who keeps calling is not forgotten."""
        for cache in (self.open, self.spent):
            if key in cache:
                return cache[key]
        return None

    def keep(self, key: str, times: Times, *, is_spent: bool) -> None:
        cache, other = (self.spent, self.open) if is_spent else (self.open, self.spent)
        if key in other:
            del other[key]
        cache[key] = times

    def forget(self, key: str) -> None:
        self.open.pop(key, None)
        self.spent.pop(key, None)


class MemoryStorage(Storage, MovingWindowSupport):
    """Keep the times of calls, for the strategy of the moving window; right in several tasks, loops and threads.

    What is forgotten before its time, because room is needed, is what was used least recently: of the callers that
    have calls left first, and of those that have none only for others that have none.

    Args:
        room: Bytes that the times may take; see `ROOM`.
        clock: Seconds that never go back.
    """

    STORAGE_SCHEME = None

    def __init__(self, room: int = ROOM, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._room = room
        self._clock = clock
        self._now = clock()  # the time stands still while the caches are looked at and changed
        self._windows: dict[int, _Window] = {}
        self._lock = threading.Lock()  # nothing is awaited under it

    def __len__(self) -> int:
        """Return how many keys are kept."""
        with self._lock:
            self._now = self._clock()
            return sum(len(window.open) + len(window.spent) for window in self._windows.values())

    @property
    def size(self) -> int:
        """How many bytes of the room are taken."""
        with self._lock:
            self._now = self._clock()
            return int(sum(window.open.currsize + window.spent.currsize for window in self._windows.values()))

    def acquire(self, key: str, limit: int, expiry: int, amount: int = 1) -> Told:
        """Count calls in one window, as `acquire_all`."""
        return self.acquire_all([(key, limit, expiry)], amount)[0]

    def acquire_all(self, asked: Sequence[Asked], amount: int = 1) -> list[Told]:
        """Look at windows, and count calls if all of them admit these, in one step and without waiting.

        Args:
            asked: Whose calls; how many there may be; within how many seconds, which is another number in each.
            amount: How many are counted: all, or none.

        Returns:
            Of each window whether all of them were within the limit; how many seconds ago the oldest call in the window
            was; and how many are in it now.
        """
        with self._lock:
            now = self._now = self._clock()
            seen = [self._seen(key, expiry, now) for key, _, expiry in asked]
            admits = [len(times) + amount <= limit for (_, limit, _), times in zip(asked, seen, strict=True)]
            if all(admits):
                for (key, limit, expiry), times in zip(asked, seen, strict=True):
                    times.extend([now] * amount)
                    self._windows[expiry].keep(key, times, is_spent=len(times) == limit)
            return [
                (is_admitted, now - times[0] if times else 0.0, len(times))
                for is_admitted, times in zip(admits, seen, strict=True)
            ]

    def _seen(self, key: str, expiry: int, now: float) -> Times:
        """Return when the calls in a window were; the lock is held."""
        if (window := self._windows.get(expiry)) is None:
            window = self._windows[expiry] = _Window(expiry, self._room, lambda: self._now)
        times = window.times(key)
        if times is None:
            return array("d")
        if times[0] <= now - expiry:
            del times[: bisect_right(times, now - expiry)]
        return times

    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count calls, as `acquire`; return whether all of them were within the limit."""
        return self.acquire(key, limit, expiry, amount)[0]

    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """Return when the oldest call in the window was (in seconds since the epoch), and how many are in it."""
        with self._lock:
            now = self._now = self._clock()
            today = time.time()
            window = self._windows.get(expiry)
            times = None if window is None else window.times(key)
            oldest = 0 if times is None else bisect_right(times, now - expiry)
            if times is None or oldest == len(times):
                return today, 0
            return today - (now - times[oldest]), len(times) - oldest

    async def clear(self, key: str) -> None:
        """Forget the calls of `key`."""
        with self._lock:
            self._now = self._clock()
            for window in self._windows.values():
                window.forget(key)

    async def reset(self) -> int | None:
        """Forget every call; return of how many keys."""
        count = len(self)
        with self._lock:
            self._windows.clear()
        return count

    async def check(self) -> bool:
        """Return that the storage works."""
        return True

    @property
    def base_exceptions(self) -> type[Exception]:
        """The storage's own errors; it has none."""
        return ValueError

    async def incr(self, key: str, expiry: float, amount: int = 1) -> NoReturn:
        """Refuse: there are no counters here, which the other strategies need."""
        raise NotImplementedError("MemoryStorage is for the strategy of the moving window")

    async def get(self, key: str) -> NoReturn:
        """Refuse, as `incr`."""
        raise NotImplementedError("MemoryStorage is for the strategy of the moving window")

    async def get_expiry(self, key: str) -> NoReturn:
        """Refuse, as `incr`."""
        raise NotImplementedError("MemoryStorage is for the strategy of the moving window")
