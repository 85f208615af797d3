"""Results kept in this process, within a number of entries and of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from operator import attrgetter
from time import monotonic
from typing import Any

from servey.cache_control.representation import Representation
from servey.cache_control.result_store import Lease, Lookup, ResultKey
from servey.errors import MissingExtraError

LARGEST_PART = 8
"""One result takes at most this part of a store: an eighth."""

ENTRY_BYTES = 2600
"""What an entry takes besides its contents (measured): the objects around them, and the headers that are sent."""

HEADER_BYTES = 460
"""What a header of a reply takes besides its text, which is there three times: as it was given, and as it is sent to
those with and without a token of their own."""

_REMEMBERED = 10_000
"""Of how many arguments it is known that they were invalidated, and when."""


class _Entry(Lookup, frozen=True, gc=False):
    """A result in the memory, with how many bytes it takes."""

    size: int = 0


class MemoryResultStore:
    """A `servey.ports.ResultStore` of one process; when it is full, it forgets what was not asked for longest.

    Args:
        entries: How many results there may be.
        size: How many bytes they may take, with their keys and what is around them.
        clock: Tells the time, in seconds.

    Raises:
        MissingExtraError: `cachetools` is not installed.
    """

    is_shared = False

    def __init__(self, entries: int, size: int, clock: Callable[[], float] = monotonic) -> None:
        try:
            from cachetools import TLRUCache
        except ModuleNotFoundError as error:
            if error.name != "cachetools":
                raise
            raise MissingExtraError("cachetools", "server") from error

        def expires(_key: ResultKey, entry: _Entry, now: float) -> float:
            representation = entry.representation
            return now + ((representation.cache.max_age or 0) if representation is not None else 0)

        self._entries = entries
        self._largest = size // LARGEST_PART
        self._lock = threading.Lock()
        # all of these are read and written with the lock held
        self._kept: Any = TLRUCache(size, expires, timer=clock, getsizeof=attrgetter("size"))
        self._changes = 0  # how many invalidations there were; a lease is what this was when the run began
        self._scopes: dict[str, int] = {}
        self._arguments: OrderedDict[tuple[str, bytes], int] = OrderedDict()

    def __len__(self) -> int:
        with self._lock:
            return len(self._kept)

    @property
    def size(self) -> int:
        """How many bytes the results take, as they are counted."""
        with self._lock:
            return int(self._kept.currsize)

    def get(self, key: ResultKey) -> Lookup:
        """Return what is kept under a key."""
        with self._lock:
            try:
                entry = self._kept[key]
                if not self._changes or entry.lease >= self._changed(key):
                    return entry
                del self._kept[key]
            except KeyError:
                pass
            return Lookup(None, self._changes)

    def put(self, key: ResultKey, representation: Representation, lease: Lease) -> bool:
        """Keep a result unless it is too large or was invalidated since, and return whether it is kept."""
        entry = _Entry(representation, lease, size=size_of(key, representation))
        if not representation.cache.max_age or entry.size > self._largest:
            return False
        with self._lock:
            if int(lease) < self._changed(key):  # pyright: ignore[reportArgumentType]
                return False
            self._kept[key] = entry
            while len(self._kept) > self._entries:
                self._kept.popitem()
            return True

    def allows(self, key: ResultKey, lease: Lease, lookup: Lookup) -> bool:
        """Return whether nothing has invalidated a lease."""
        with self._lock:
            return int(lease) >= self._changed(key)

    def invalidate(self, scope: str, arguments: bytes | None) -> None:
        """Forget results, those of runs under way included."""
        with self._lock:
            self._changes += 1
            if arguments is None:
                self._scopes[scope] = self._changes  # what is kept is let go of when it is asked for, or in its turn
                return
            self._kept.pop((scope, arguments, b""), None)
            self._arguments[scope, arguments] = self._changes
            self._arguments.move_to_end((scope, arguments))
            if len(self._arguments) > _REMEMBERED:
                (dropped, _), change = self._arguments.popitem(last=False)
                self._scopes[dropped] = max(self._scopes.get(dropped, 0), change)

    async def ainvalidate(self, scope: str, arguments: bytes | None) -> bool:
        """Forget results, as `invalidate` does."""
        self.invalidate(scope, arguments)
        return True

    async def close(self) -> None:
        """Do nothing; nothing is open."""

    def _changed(self, key: ResultKey) -> int:
        """Return the number of the last invalidation that concerns a key, or of a later one."""
        scope, arguments, _ = key
        return max(self._scopes.get(scope, 0), self._arguments.get((scope, arguments), 0))


def size_of(key: ResultKey, representation: Representation) -> int:
    """Return how many bytes a result takes, with its key and what is around it."""
    headers = sum(3 * (len(name) + len(value)) + HEADER_BYTES for name, value in representation.headers.items())
    return ENTRY_BYTES + len(key[1]) + len(key[2]) + len(representation.content) + headers
