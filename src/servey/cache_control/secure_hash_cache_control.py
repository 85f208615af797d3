"""Caching by the content: what has not changed is not sent again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from servey.cache_control.cache_header import CacheHeader
from servey.cache_control.combined_cache_control import Combinable, check_public, seconds_of
from servey.cache_control.entity_tag import etag_of


class SecureHashCacheControl(Combinable):
    """Let callers ask whether a result has changed: a strong ``ETag`` that is a hash (SHA-256) of its content.

    Args:
        ttl: For how long they need not ask, in seconds or as a `timedelta`; None: they always ask (``no-cache``).
        public: Whether caches that several callers share may keep results, even where a token was sent.

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
        """Return the hash of `content`."""
        return CacheHeader(max_age=self.ttl, etag=etag_of(content), public=self.public)

    def __repr__(self) -> str:
        given = [*([] if self.ttl is None else [str(self.ttl)]), *(["public=True"] if self.public else [])]
        return f"SecureHashCacheControl({', '.join(given)})"
