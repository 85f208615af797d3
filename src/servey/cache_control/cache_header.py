"""How caches may reuse a result, and its ``Cache-Control`` header."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

import msgspec

MAX_AGE = 2**31 - 1
"""The longest time, in seconds, that all caches support (RFC 9111 §1.2.2)."""

_ETAG = r"[\x21\x23-\x7e\x80-\xff]*\Z"
"""The text between the quotes of an entity tag (RFC 9110 §8.8.3)."""


class CacheHeader(msgspec.Struct, frozen=True):
    """How caches may reuse a result. An action's `servey.ports.CacheControl` returns one for each result.

    Args:
        max_age: Whole seconds for which the result is fresh (RFC 9111 §5.2.2.1); None if this is unknown, so that
            caches must ask the service before each use (``no-cache``).
        etag: A strong entity tag (RFC 9110 §8.8.3), without quotes; None: servey makes one from the content.
        last_modified: The time of the last change (RFC 9110 §8.8.2); without a zone it is local time. A naive time
            that has no local equivalent, like `datetime.min`, means unknown.
        public: Whether shared caches may store the result. Not allowed if results can differ between callers.
        no_store: Whether no cache may store the result (RFC 9111 §5.2.2.5).

    Raises:
        ValueError: The age, the tag or the date cannot be sent.
    """

    max_age: int | None = None
    etag: str | None = None
    last_modified: datetime | None = None
    public: bool = False
    no_store: bool = False

    def __post_init__(self) -> None:
        age, etag, modified = self.max_age, self.etag, self.last_modified
        if age is not None and (type(age) is not int or not 0 <= age <= MAX_AGE):
            raise ValueError(f"the age is {age!r}; it is whole seconds, from 0 to {MAX_AGE}")
        if etag is not None and not (isinstance(etag, str) and re.match(_ETAG, etag)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f"{etag!r} is not an entity tag: write it without quotes, spaces and control characters")
        if modified is not None:
            if not isinstance(modified, datetime):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ValueError(f"last_modified is {modified!r}, which is not a datetime")
            if modified.tzinfo is None:
                msgspec.structs.force_setattr(self, "last_modified", _with_zone(modified))

    @classmethod
    def agreed(cls, headers: Iterable[CacheHeader]) -> CacheHeader:
        """Combine several headers of one result into the strictest.

        The shortest age, the latest date and the first entity tag count. A header without an age has no effect on the
        age and on `public`.
        """
        headers = tuple(headers)
        aged = [item for item in headers if item.max_age is not None] or headers
        ages = [item.max_age for item in aged if item.max_age is not None]
        dates = [item.last_modified for item in headers if item.last_modified is not None]
        return cls(
            max_age=min(ages, default=None),
            etag=next((item.etag for item in headers if item.etag is not None), None),
            last_modified=max(dates, default=None),
            public=bool(aged) and all(item.public for item in aged),
            no_store=any(item.no_store for item in headers),
        )

    @classmethod
    def of_parts(cls, parts: Iterable[CacheHeader]) -> CacheHeader:
        """Return the header of a document that contains several results.

        The document is fresh while all parts are fresh, and public if all are. Its last change is that of the newest
        part, and unknown if that of any part is. Its entity tag comes from its own content.
        """
        parts = tuple(parts)
        ages = [item.max_age for item in parts if item.max_age is not None]
        dates = [item.last_modified for item in parts if item.last_modified is not None]
        return cls(
            max_age=min(ages, default=None) if len(ages) == len(parts) else None,
            last_modified=max(dates, default=None) if len(dates) == len(parts) else None,
            public=bool(parts) and all(item.public for item in parts),
            no_store=any(item.no_store for item in parts),
        )

    def directives(self, *, private: bool) -> str:
        """Return the ``Cache-Control`` of an answer (RFC 9111 §5.2.2).

        Args:
            private: Whether the answer is only for its caller.

        Example:
            >>> CacheHeader(max_age=30).directives(private=True)
            'private, max-age=30'
        """
        if self.no_store:
            return "no-store"
        age = "no-cache" if self.max_age is None else f"max-age={self.max_age}"
        return f"private, {age}" if private else f"public, {age}" if self.public else age


def _with_zone(local: datetime) -> datetime | None:
    """Return a local time with its zone; None if it is out of range, like `datetime.min`."""
    try:
        return local.astimezone()
    except (OverflowError, ValueError, OSError):  # depends on the platform
        return None


def etag_of(content: bytes, rest: bytes = b"") -> str:
    """Return a strong entity tag for content, without quotes: 128 bits of its SHA-256.

    Args:
        content: The content.
        rest: The other parts of the representation.
    """
    from hashlib import sha256  # only actions with a cache control need it

    return sha256(b"\0".join((rest, content)) if rest else content).hexdigest()[:32]
