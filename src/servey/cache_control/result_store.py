"""The types that the result cache and its store (`servey.ports.ResultStore`) exchange."""

from __future__ import annotations

import msgspec

from servey.cache_control.representation import Representation

ResultKey = tuple[str, bytes, bytes]
"""The key of a result: its scope (the action), the key of its arguments, and the identity of its caller.

The identity is empty if all callers share the result. A plain tuple, because each request makes one.
"""

Lease = int | bytes
"""The right to store one result: issued when its run begins, and void after an invalidation."""


class Lookup(msgspec.Struct, frozen=True, gc=False):
    """The answer of a store for a key.

    Args:
        representation: The result; None if there is no fresh one.
        lease: The lease for a result of a run that begins now.
        detail: Why the store failed, for the ``Cache-Status`` (RFC 9211 §2.8).
    """

    representation: Representation | None
    lease: Lease
    detail: str = ""
