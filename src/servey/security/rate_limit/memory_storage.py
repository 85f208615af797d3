"""The times of calls in memory, within bounds.

The memory storages of the `limits` library check all callers in each call, or use a thread for that, and grow with
every new caller. Here the cost of a call does not depend on the number of callers, and the memory is limited.
"""

from __future__ import annotations

import threading
import time
from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cachetools import TTLCache

if TYPE_CHECKING:
    from servey.ports import Window, WindowState

    Times = array[float]
    Cache = TTLCache[str, Times]

ROOM = 32 * 1024 * 1024
"""Bytes for the times of calls, for each length of window and each of its two caches."""

_PER_KEY = 640
"""Bytes of a key besides its times: the text, the objects, its place in the cache. Measured, rounded up."""


def room_for(keys: int, calls: int) -> int:
    """Return the room in bytes in which a number of keys with a number of calls each fit."""
    return keys * (_PER_KEY + 8 * calls)


def _size(times: Times) -> int:
    return _PER_KEY + 8 * len(times)


class _Callers:
    """The callers that have called within one length of time.

    Callers that have used up their limit are in a separate cache. So calls from many addresses can push out callers
    with remaining calls, but never reset a used-up limit.
    """

    def __init__(self, seconds: float, room: int, clock: Callable[[], float]) -> None:
        self.open: Cache = TTLCache(room, seconds, clock, _size)
        self.spent: Cache = TTLCache(room, seconds, clock, _size)

    def times(self, key: str) -> Times | None:
        """Return the times of a caller's calls. A look counts as a use: the cache keeps callers that go on calling."""
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


class MemoryStorage:
    """Keep the times of calls in moving windows; safe in several tasks, event loops and threads.

    If the memory is full, the storage forgets the callers that have not called for the longest time. Callers with
    remaining calls never push out callers that have used up their limit.
    """

    def __init__(self, room: int = ROOM, clock: Callable[[], float] = time.monotonic) -> None:
        self._room = room
        self._clock = clock
        self._now = clock()  # the time stands still during a change of the caches
        self._windows: dict[int, _Callers] = {}
        self._lock = threading.Lock()  # nothing is awaited under it

    def __len__(self) -> int:
        """Return the number of keys."""
        with self._lock:
            self._now = self._clock()
            return sum(len(window.open) + len(window.spent) for window in self._windows.values())

    @property
    def size(self) -> int:
        """The used bytes of the room."""
        with self._lock:
            self._now = self._clock()
            return int(sum(window.open.currsize + window.spent.currsize for window in self._windows.values()))

    def acquire_all(self, windows: Sequence[Window]) -> list[WindowState]:
        """Count a call in several windows if all of them admit it, in one step and without waiting."""
        with self._lock:
            now = self._now = self._clock()
            seen = [self._seen(key, expiry, now) for key, _, expiry in windows]
            admits = [len(times) < limit for (_, limit, _), times in zip(windows, seen, strict=True)]
            if all(admits):
                for (key, limit, expiry), times in zip(windows, seen, strict=True):
                    times.append(now)
                    self._windows[expiry].keep(key, times, is_spent=len(times) == limit)
            return [
                (is_admitted, now - times[0] if times else 0.0, len(times))
                for is_admitted, times in zip(admits, seen, strict=True)
            ]

    def release_all(self, windows: Sequence[Window]) -> None:
        """Take back a call that `acquire_all` has counted: the latest one of each window."""
        with self._lock:
            now = self._now = self._clock()
            for key, _, expiry in windows:
                times = self._seen(key, expiry, now)
                if len(times) > 1:
                    self._windows[expiry].keep(key, times[:-1], is_spent=False)
                else:
                    self._windows[expiry].forget(key)

    def _seen(self, key: str, expiry: int, now: float) -> Times:
        """Return the times of the calls in a window; the lock is held."""
        window = self._windows.get(expiry)
        if window is None:
            window = self._windows[expiry] = _Callers(expiry, self._room, lambda: self._now)
        times = window.times(key)
        if times is None:
            return array("d")
        if times and times[0] <= now - expiry:
            del times[: bisect_right(times, now - expiry)]
        return times
