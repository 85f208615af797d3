"""The result store of one process, with a limit of entries and of bytes."""

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
"""One result takes at most an eighth of the store."""

ENTRY_BYTES = 2600
"""The measured size of an entry without its contents: the objects around them, and the headers of its answers."""

HEADER_BYTES = 460
"""The measured size of a reply's header without its text. The text exists three times: as the action returned it, and
as sent to callers with a token and to callers that a middleware verified."""

_REMEMBERED = 10_000
"""The largest number of invalidated sets of arguments that the store remembers."""


class _Entry(Lookup, frozen=True, gc=False):
    """A cached result, and its size in bytes."""

    size: int = 0


class MemoryResultStore:
    """A `servey.ports.ResultStore` of one process; a full store drops the least recently used results.

    Args:
        entries: The largest number of results.
        size: The largest size in bytes, with keys and overhead.
        clock: Returns the time, in seconds.

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
        # read and written only while holding the lock
        self._kept: Any = TLRUCache(size, expires, timer=clock, getsizeof=attrgetter("size"))
        self._changes = 0  # the number of invalidations; a lease is this number at the start of a run
        self._scopes: dict[str, int] = {}
        self._arguments: OrderedDict[tuple[str, bytes], int] = OrderedDict()

    def __len__(self) -> int:
        with self._lock:
            return len(self._kept)

    @property
    def size(self) -> int:
        """The counted size of the results, in bytes."""
        with self._lock:
            return int(self._kept.currsize)

    def get(self, key: ResultKey) -> Lookup:
        """Return the cached result of a key."""
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
        """Store a result unless it is too large or was invalidated meanwhile; return whether it is stored."""
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
        """Return whether a lease is still valid: nothing was invalidated since."""
        with self._lock:
            return int(lease) >= self._changed(key)

    def invalidate(self, scope: str, arguments: bytes | None) -> None:
        """Invalidate results, also those of runs in progress."""
        with self._lock:
            self._changes += 1
            if arguments is None:
                self._scopes[scope] = self._changes  # the next lookup or the size limit drops the entries
                return
            self._kept.pop((scope, arguments, b""), None)
            self._arguments[scope, arguments] = self._changes
            self._arguments.move_to_end((scope, arguments))
            if len(self._arguments) > _REMEMBERED:
                (dropped, _), change = self._arguments.popitem(last=False)
                self._scopes[dropped] = max(self._scopes.get(dropped, 0), change)

    async def ainvalidate(self, scope: str, arguments: bytes | None) -> bool:
        """Do the same as `invalidate`."""
        self.invalidate(scope, arguments)
        return True

    async def close(self) -> None:
        """Do nothing; nothing is open."""

    def _changed(self, key: ResultKey) -> int:
        """Return the number of the last invalidation of a key, or a higher number."""
        scope, arguments, _ = key
        return max(self._scopes.get(scope, 0), self._arguments.get((scope, arguments), 0))


def size_of(key: ResultKey, representation: Representation) -> int:
    """Return the size of a result in bytes, with its key and overhead."""
    headers = sum(3 * (len(name) + len(value)) + HEADER_BYTES for name, value in representation.headers.items())
    return ENTRY_BYTES + len(key[1]) + len(key[2]) + len(representation.content) + headers
