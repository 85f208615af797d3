"""Caching by date: a result that has not changed since is not sent again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from servey.cache_control.cache_header import CacheHeader
from servey.cache_control.combined_cache_control import Combinable, check_public, seconds_of
from servey.errors import DefinitionError

LastModified = str | Callable[[Any], datetime | None]


class TimestampCacheControl(Combinable):
    """Send the date of the last change: ``Last-Modified`` (RFC 9110 §8.8.2).

    Args:
        last_modified: The field of the result (an attribute, or the key of a dict) that has the `datetime`, or a
            function of the result that returns it. None, and a result that is None, mean unknown. A naive `datetime`
            is in local time.
        ttl: How long clients may skip the check for changes, in seconds or as a `timedelta`; None: they always check
            (``no-cache``).
        public: Whether shared caches may store results, even if the request has a token.

    Raises:
        DefinitionError: An argument is not valid.

    Example:
        >>> from datetime import UTC
        >>> control = TimestampCacheControl("updated_at")
        >>> control.cache_header({"updated_at": datetime(2026, 3, 1, tzinfo=UTC)}, b"").last_modified.year
        2026
    """

    def __init__(
        self, last_modified: LastModified, ttl: float | timedelta | None = None, *, public: bool = False
    ) -> None:
        of: Any = last_modified
        if isinstance(of, type) or not (callable(of) or (isinstance(of, str) and of.isidentifier())):
            raise DefinitionError(
                f"{of!r} is not the name of a field with a date",
                fix="name a field, TimestampCacheControl('updated_at'), or give a function of the result",
            )
        self.last_modified = last_modified
        self.ttl = None if ttl is None else seconds_of(ttl, "a TimestampCacheControl")
        self.public = check_public(public, "a TimestampCacheControl")
        self.may_be_fresh = bool(self.ttl)

    def cache_header(self, result: Any, content: bytes, /) -> CacheHeader:
        """Return a header with the date of `result`."""
        return CacheHeader(max_age=self.ttl, last_modified=self._date(result), public=self.public)

    def _date(self, result: Any) -> datetime | None:
        of = self.last_modified
        if not isinstance(of, str):
            return of(result)
        if result is None:
            return None
        if isinstance(result, Mapping):
            return result[of]  # pyright: ignore[reportUnknownVariableType]
        return getattr(result, of)

    def __repr__(self) -> str:
        of = repr(self.last_modified) if isinstance(self.last_modified, str) else "…"
        ttl = "" if self.ttl is None else f", {self.ttl}"
        return f"TimestampCacheControl({of}{ttl}{', public=True' if self.public else ''})"
