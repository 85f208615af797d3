"""The invalidations of a call: they take effect at once, and again after the call has closed its resources.

A resource may be a transaction that commits only then. A read between the invalidation and the commit sees the old
data, and its result would stay in the cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from servey.ports import ResultStore

_NOTED = 1000
"""The largest number of noted sets of arguments; above it, all results of their actions are invalidated."""


class PendingInvalidations:
    """The invalidations of one call so far; threads of the call may add more."""

    def __init__(self) -> None:
        self._noted: dict[tuple[ResultStore, str, bytes | None], None] = {}

    def add(self, store: ResultStore, scope: str, arguments: bytes | None) -> None:
        """Note an invalidation; see `servey.ports.ResultStore.invalidate`."""
        self._noted[store, scope, arguments] = None
        if len(self._noted) > _NOTED:
            self._noted = {(store, scope, None): None for store, scope, _ in list(self._noted)}

    async def again(self) -> None:
        """Repeat the invalidations, in an event loop, and return when the stores have them."""
        noted = list(self._noted)  # not cleared: a thread that runs after the deadline repeats them, too
        last = {store: (scope, arguments) for store, scope, arguments in noted}
        for store, scope, arguments in noted:
            if last[store] != (scope, arguments):
                store.invalidate(scope, arguments)
        for store, what in last.items():  # sends all invalidations of a store together
            await store.ainvalidate(*what)

    def again_here(self) -> None:
        """Do the same as `again`, in a thread without an event loop."""
        noted, self._noted = self._noted, {}
        for store, scope, arguments in noted:
            store.invalidate(scope, arguments)
