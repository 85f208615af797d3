"""A result as it is answered: its content, and how it may be used again."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from servey.cache_control.cache_header import CacheHeader


class Representation(msgspec.Struct, frozen=True):
    """One result, encoded. What is kept of results is this: bytes, so that nobody shares an object.

    Args:
        content: The JSON.
        cache: How it may be used again; its `etag` is set.
        made_at: When it was made, in seconds since the epoch.
        status: The HTTP status that a `Reply` chose; None for the action's own.
        headers: The HTTP headers of a `Reply`.
    """

    content: bytes
    cache: CacheHeader
    made_at: float
    status: int | None = None
    headers: Mapping[str, str] = msgspec.field(default_factory=dict[str, str])


class Fetched(msgspec.Struct, frozen=True):
    """A representation, and where it comes from.

    Args:
        representation: The result.
        age: Whole seconds since it was made (RFC 9111 §5.1).
        cache_status: The parameters of the ``Cache-Status`` header (RFC 9211), as in ``hit; ttl=25`` or
            ``fwd=uri-miss; stored``; empty where no cache was asked.
    """

    representation: Representation
    age: int = 0
    cache_status: str = ""
