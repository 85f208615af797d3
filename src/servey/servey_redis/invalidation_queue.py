"""Invalidations that the server has not confirmed yet."""

from __future__ import annotations

import threading

_LIMIT = 1000
"""The most entries that wait for the server; then all entries of a scope become one for the whole scope."""

What = tuple[str, bytes | None]
"""A scope, and the key of arguments or None for all; see `servey.ports.ResultStore.invalidate`."""


class InvalidationQueue:
    """A queue that any thread may use. While an entry waits, the results that it names are not used here.

    Attributes:
        changes: The number of all invalidations so far.
    """

    def __init__(self) -> None:
        self.changes = 0
        self._lock = threading.Lock()
        self._waiting: dict[What, int] = {}
        """Each entry with its number; changed with the lock held."""

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, scope: str, arguments: bytes | None) -> None:
        """Add an invalidation."""
        with self._lock:
            self.changes += 1
            self._waiting[scope, None if (scope, None) in self._waiting else arguments] = self.changes
            if len(self._waiting) > _LIMIT:
                self._waiting = {(name, None): self.changes for name, _ in self._waiting}

    def covers(self, scope: str, arguments: bytes) -> bool:
        """Return whether an entry names these results."""
        return bool(self._waiting) and ((scope, None) in self._waiting or (scope, arguments) in self._waiting)

    def waiting(self) -> dict[What, int]:
        """Return a copy of all entries."""
        with self._lock:
            return dict(self._waiting)

    def remove(self, done: dict[What, int]) -> None:
        """Remove entries that the server has confirmed.

        Args:
            done: What `waiting` returned. An entry that was added again since then stays.
        """
        with self._lock:
            for what, number in done.items():
                if self._waiting.get(what) == number:
                    del self._waiting[what]
