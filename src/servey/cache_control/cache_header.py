"""What is known of how a result may be used again, and what that is in HTTP."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

import msgspec

MAX_AGE = 2**31 - 1
"""The longest time in seconds that every cache can count (RFC 9111 §1.2.2)."""

_ETAG = r"[\x21\x23-\x7e\x80-\xff]*\Z"
"""What may be between the quotes of an entity tag (RFC 9110 §8.8.3)."""


class CacheHeader(msgspec.Struct, frozen=True):
    """How a result may be used again. An action's `servey.ports.CacheControl` says it of each result.

    Args:
        max_age: Whole seconds for which it is fresh (RFC 9111 §5.2.2.1); None when nobody can know, so that each use
            has to be checked with the service (``no-cache``).
        etag: A strong entity tag (RFC 9110 §8.8.3), without its quotes; None for one made from the content.
        last_modified: When it changed last (RFC 9110 §8.8.2); without a zone, in local time. Not known is what is
            at the end of time, as `datetime.min`, so that it is no time of another zone.
        public: Whether caches that several callers share may keep it, too. Never of an action that tells callers
            apart.
        no_store: Whether nothing at all may be kept (RFC 9111 §5.2.2.5).

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
            raise ValueError(f"{etag!r} is no entity tag; it has no quotes, spaces or control characters")
        if modified is not None:
            if not isinstance(modified, datetime):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ValueError(f"the last modification was at {modified!r}, which is no datetime")
            if modified.tzinfo is None:
                msgspec.structs.force_setattr(self, "last_modified", _with_zone(modified))

    @classmethod
    def agreed(cls, said: Iterable[CacheHeader]) -> CacheHeader:
        """Return what several say of one and the same result, taken together: the strictest.

        The shortest age counts; who says none leaves that, and whether it is public, to the others. The latest date
        counts, and the first entity tag.
        """
        said = tuple(said)
        aged = [item for item in said if item.max_age is not None] or said
        ages = [item.max_age for item in aged if item.max_age is not None]
        dates = [item.last_modified for item in said if item.last_modified is not None]
        return cls(
            max_age=min(ages, default=None),
            etag=next((item.etag for item in said if item.etag is not None), None),
            last_modified=max(dates, default=None),
            public=bool(aged) and all(item.public for item in aged),
            no_store=any(item.no_store for item in said),
        )

    @classmethod
    def of_parts(cls, parts: Iterable[CacheHeader]) -> CacheHeader:
        """Return how a whole may be used again that is made of several results.

        It is fresh while all of its parts are, and public when all are. It has changed when the last of them has, and
        nobody knows when if that is not known of each. Its entity tag is that of its own content.
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
            private: Whether the answer is for its caller alone.

        Example:
            >>> CacheHeader(max_age=30).directives(private=True)
            'private, max-age=30'
        """
        if self.no_store:
            return "no-store"
        age = "no-cache" if self.max_age is None else f"max-age={self.max_age}"
        return f"private, {age}" if private else f"public, {age}" if self.public else age


def _with_zone(local: datetime) -> datetime | None:
    """Return a local time with its zone; None for what is no time in any, such as `datetime.min`."""
    try:
        return local.astimezone()
    except (OverflowError, ValueError, OSError):  # which of them is the platform's choice
        return None
