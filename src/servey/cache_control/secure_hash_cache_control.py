"""Caching by content: an unchanged result is not sent again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from servey.cache_control.cache_header import CacheHeader, etag_of
from servey.cache_control.combined_cache_control import Combinable, check_public, seconds_of


class SecureHashCacheControl(Combinable):
    """Let clients check whether a result has changed: a strong ``ETag``, the hash (SHA-256) of its content.

    Args:
        ttl: How long clients may skip the check, in seconds or as a `timedelta`; None: they always check
            (``no-cache``).
        public: Whether shared caches may store results, even if the request has a token.

    Raises:
        DefinitionError: The time is negative, too long or not whole.

    Example:
        >>> SecureHashCacheControl().cache_header("a", b'"a"').etag
        'ac8d8342bbb2362d13f0a559a3621bb4'
    """

    def __init__(self, ttl: float | timedelta | None = None, *, public: bool = False) -> None:
        self.ttl = None if ttl is None else seconds_of(ttl, "a SecureHashCacheControl")
        self.public = check_public(public, "a SecureHashCacheControl")
        self.may_be_fresh = bool(self.ttl)

    def cache_header(self, result: Any, content: bytes, /) -> CacheHeader:
        """Return a header with the hash of `content`."""
        return CacheHeader(max_age=self.ttl, etag=etag_of(content), public=self.public)

    def __repr__(self) -> str:
        given = [*([] if self.ttl is None else [str(self.ttl)]), *(["public=True"] if self.public else [])]
        return f"SecureHashCacheControl({', '.join(given)})"
