"""Caching for a fixed time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from servey.cache_control.cache_header import CacheHeader
from servey.cache_control.combined_cache_control import Combinable, check_public, seconds_of


class TtlCacheControl(Combinable):
    """Let caches reuse results for a fixed time: ``Cache-Control: max-age`` (RFC 9111 §5.2.2.1).

    Args:
        ttl: The time to live in whole seconds, or as a `timedelta`.
        public: Whether shared caches may store results, even if the request has a token.

    Raises:
        DefinitionError: The time is negative, too long or not whole.

    Example:
        >>> TtlCacheControl(30).cache_header("any result", b"").max_age
        30
    """

    def __init__(self, ttl: float | timedelta, *, public: bool = False) -> None:
        self.ttl = seconds_of(ttl, "a TtlCacheControl")
        self.public = check_public(public, "a TtlCacheControl")
        self.may_be_fresh = self.ttl > 0
        self._header = CacheHeader(max_age=self.ttl, public=self.public)

    def cache_header(self, result: Any, content: bytes, /) -> CacheHeader:
        """Return the same header for every result."""
        return self._header

    def __repr__(self) -> str:
        return f"TtlCacheControl({self.ttl}{', public=True' if self.public else ''})"
