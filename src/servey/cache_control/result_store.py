"""What passes between the cache of results and the store that keeps them (`servey.ports.ResultStore`)."""

from __future__ import annotations

import msgspec

from servey.cache_control.representation import Representation

ResultKey = tuple[str, bytes, bytes]
"""Under what a result is kept: its scope (the action), the key of its arguments, and whose it is (empty: everybody's).

A plain tuple, because one is made for each request.
"""

Lease = int | bytes
"""The right to keep one result: what was current when its run began, and is so no more after an invalidation."""


class Lookup(msgspec.Struct, frozen=True, gc=False):
    """What a store has for a key.

    Args:
        representation: The result; None when there is none that is fresh.
        lease: What a result made from now on may be kept with.
        detail: Why the store has nothing, where it failed; for the ``Cache-Status`` (RFC 9211 §2.8).
    """

    representation: Representation | None
    lease: Lease
    detail: str = ""
