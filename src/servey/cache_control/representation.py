"""A result as it is answered: its content, and how it may be used again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import msgspec

from servey.cache_control.cache_header import CacheHeader
from servey.cache_control.entity_tag import etag_of
from servey.cache_control.reply_headers import ReplyHeaders


class Representation(msgspec.Struct, frozen=True, dict=True):
    """One result, encoded. What is kept of results is this: bytes, so that nobody shares an object.

    Args:
        content: The JSON.
        cache: How it may be used again; its `etag` is set.
        made_at: When it was made, in seconds since the epoch.
        status: The HTTP status that a `Reply` chose; None for the action's own.
        headers: The HTTP headers of a `Reply`.
        private: Whether it is for its caller alone.
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

        What a `Reply` says of caching in its headers goes before what the action's cache control says, and is in
        `cache` too: what must not be kept has ``no_store`` there.

        Raises:
            ValueError: A header of the reply about caching is not valid, or shares what is private.
        """
        now = time.time() if made_at is None else made_at
        if private and cache.public:
            raise ValueError("the cache control says public, and the result is for its caller alone")
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
        """The entity tag as it is sent: in quotes, and after ``W/`` if the reply sent a weak one."""
        own = ReplyHeaders(self.headers).get("etag") if self.headers else None
        return f'"{self.cache.etag}"' if own is None else own

    @property
    def last_modified(self) -> float | None:
        """When it changed last, in seconds since the epoch, at the latest when it was made (RFC 9110 §8.8.2.1)."""
        modified = self.cache.last_modified
        return None if modified is None else min(modified.timestamp(), self.made_at)

    @cached_property
    def renderings(self) -> dict[Any, Any]:
        """What adapters have made of it, each by a key of its own, so that it is made once; it is kept nowhere else."""
        return {}


class Fetched(msgspec.Struct, frozen=True):
    """A representation, and where it comes from.

    Args:
        representation: The result.
        age: Whole seconds since it was made (RFC 9111 §5.1).
        cache_status: The parameters of the ``Cache-Status`` header (RFC 9211), as in ``hit; ttl=25`` or
            ``fwd=uri-miss; stored``; empty if no cache was used.
    """

    representation: Representation
    age: int = 0
    cache_status: str = ""

    @property
    def cache(self) -> CacheHeader:
        """The `CacheHeader` of the representation, with the `max_age` that is left."""
        cache = self.representation.cache
        if cache.max_age is None or not self.age:
            return cache
        return msgspec.structs.replace(cache, max_age=max(0, cache.max_age - self.age))
