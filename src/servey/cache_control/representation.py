"""The representation of a result: its encoded content, and how caches may reuse it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import msgspec

from servey.cache_control.cache_header import CacheHeader, etag_of
from servey.cache_control.reply_headers import ReplyHeaders


class Representation(msgspec.Struct, frozen=True, dict=True):
    """One encoded result. The result cache stores bytes, so that calls never share an object.

    Args:
        content: The JSON.
        cache: How caches may reuse it; its `etag` is set.
        made_at: When the result was made, in seconds since the epoch.
        status: The HTTP status of a `Reply`; None for the status of the action.
        headers: The HTTP headers of a `Reply`.
        private: Whether the result is only for its caller.
    """

    content: bytes
    cache: CacheHeader
    made_at: float
    status: int | None = None
    headers: Mapping[str, str] = msgspec.field(default_factory=dict[str, str])
    private: bool = False

    @classmethod
    def of(
        cls,
        content: bytes,
        cache: CacheHeader,
        *,
        private: bool,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        made_at: float | None = None,
    ) -> Representation:
        """Return the representation of a result.

        The caching headers of a `Reply` override the cache control of the action, also in the attribute `cache`.

        Raises:
            ValueError: A caching header of the reply is not valid, or lets shared caches store a private result.
        """
        now = time.time() if made_at is None else made_at
        if private and cache.public:
            raise ValueError("the cache control says public, but the result is only for its caller")
        if status is not None or headers:
            reply = ReplyHeaders(headers or {})
            cache = reply.applied(cache, made_at=now, private=private)
            rest = reply.hashed(status)
        else:
            rest = b""
        if cache.etag is None:
            cache = msgspec.structs.replace(cache, etag=etag_of(content, rest))
        return cls(content, cache, now, status, headers or {}, private)

    @property
    def entity_tag(self) -> str:
        """The entity tag as sent: in quotes, with ``W/`` if the reply has a weak one."""
        own = ReplyHeaders(self.headers).get("etag") if self.headers else None
        return f'"{self.cache.etag}"' if own is None else own

    @property
    def last_modified(self) -> float | None:
        """The time of the last change in seconds since the epoch, not later than `made_at` (RFC 9110 §8.8.2.1)."""
        modified = self.cache.last_modified
        return None if modified is None else min(modified.timestamp(), self.made_at)

    @cached_property
    def renderings(self) -> dict[Any, Any]:
        """What adapters derive from this representation, such as headers; each adapter has its own keys."""
        return {}


class Fetched(msgspec.Struct, frozen=True):
    """A representation and its source.

    Args:
        representation: The result.
        age: The age in whole seconds (RFC 9111 §5.1).
        cache_status: The parameters of the ``Cache-Status`` header (RFC 9211), as in ``hit; ttl=25`` or
            ``fwd=uri-miss; stored``; empty if no cache was used.
    """

    representation: Representation
    age: int = 0
    cache_status: str = ""

    @property
    def cache(self) -> CacheHeader:
        """The `CacheHeader` of the representation, with the remaining `max_age`."""
        cache = self.representation.cache
        if cache.max_age is None or not self.age:
            return cache
        return msgspec.structs.replace(cache, max_age=max(0, cache.max_age - self.age))
