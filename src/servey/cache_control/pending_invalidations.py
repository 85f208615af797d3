"""What a call has invalidated: it is forgotten at once, and again when the call has left its resources.

One of them may be a transaction that ends only then. Whoever reads between the invalidation and the commit makes a
result of what there was before, and it would be kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from servey.ports import ResultStore

_NOTED = 1000
"""So many sets of arguments are noted at most, before they become all of their action."""


class PendingInvalidations:
    """What one call has invalidated so far; threads of the call may add to it."""

    def __init__(self) -> None:
        self._noted: dict[tuple[ResultStore, str, bytes | None], None] = {}

    def add(self, store: ResultStore, scope: str, arguments: bytes | None) -> None:
        """Note an invalidation; see `servey.ports.ResultStore.invalidate`."""
        self._noted[store, scope, arguments] = None
        if len(self._noted) > _NOTED:
            self._noted = {(store, scope, None): None for store, scope, _ in list(self._noted)}

    async def again(self) -> None:
        """Invalidate what was noted once more, in an event loop, and return when the stores have been told."""
        noted = list(self._noted)  # which stay: a thread that goes on after the deadline has them to do
        last = {store: (scope, arguments) for store, scope, arguments in noted}
        for store, scope, arguments in noted:
            if last[store] != (scope, arguments):
                store.invalidate(scope, arguments)
        for store, what in last.items():  # tells all that the store has to be told, in one way
            await store.ainvalidate(*what)

    def again_here(self) -> None:
        """Do what `again` does, in a thread that has no event loop."""
        noted, self._noted = self._noted, {}
        for store, scope, arguments in noted:
            store.invalidate(scope, arguments)
