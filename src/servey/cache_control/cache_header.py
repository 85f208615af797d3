"""What is known of how a result may be used again, and what that is in HTTP."""

from __future__ import annotations

from datetime import datetime

import msgspec


class CacheHeader(msgspec.Struct, frozen=True):
    """How a result may be used again. An action's `servey.ports.CacheControl` says it of each result.

    Args:
        max_age: Seconds for which it is fresh (RFC 9111 §5.2.2.1); None when nobody can know, so that each use has
            to be checked with the service (``no-cache``).
        etag: A strong entity tag (RFC 9110 §8.8.3), without its quotes; None for one made from the content.
        last_modified: When it changed last (RFC 9110 §8.8.2), with a zone.
        public: Whether caches that several callers share may keep it, too. Never of an action that tells callers
            apart.
        no_store: Whether nothing at all may be kept (RFC 9111 §5.2.2.5).
    """

    max_age: int | None = None
    etag: str | None = None
    last_modified: datetime | None = None
    public: bool = False
    no_store: bool = False
