"""Conditional requests (RFC 9110 §13). Nothing here depends on a server."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import Enum

import msgspec

from servey.cache_control.http_date import parse_http_date

_MEMBER = r'[ \t]*(?:((?:W/)?"[\x21\x23-\x7e\x80-\xff]*")[ \t]*)?(?:,|\Z)'


def is_conditional(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether a request has a condition."""
    return (  # three times as fast as `isdisjoint`
        b"if-none-match" in headers
        or b"if-modified-since" in headers
        or b"if-match" in headers
        or b"if-unmodified-since" in headers
    )


class Outcome(Enum):
    """The outcome of a conditional request.

    PROCEED: All conditions hold: handle the request.
    NOT_MODIFIED: The client has the current representation: 304 (RFC 9110 §15.4.5).
    FAILED: A condition does not hold: 412 (RFC 9110 §15.5.13).
    """

    PROCEED = "proceed"
    NOT_MODIFIED = "not modified"
    FAILED = "failed"


class EntityTags(msgspec.Struct, frozen=True):
    """The value of an ``If-Match`` or an ``If-None-Match``.

    Args:
        tags: The entity tags, with quotes, as sent.
        any: Whether the value is ``*``: any current representation.
        readable: Whether the syntax is that of RFC 9110 §13.1; otherwise the value matches nothing.
    """

    tags: tuple[str, ...] = ()
    any: bool = False
    readable: bool = True

    @classmethod
    def parse(cls, value: str) -> EntityTags:
        """Parse the value of the header; join several lines with commas first (RFC 9110 §5.3).

        Example:
            >>> EntityTags.parse('"a", W/"b,c", ,').tags
            ('"a"', 'W/"b,c"')
        """
        if value.strip(" \t") == "*":
            return cls(any=True)
        found: list[str] = []
        at, member = 0, re.compile(_MEMBER)
        while at < len(value):
            if (read := member.match(value, at)) is None:
                return cls(readable=False)
            if read[1] is not None:
                found.append(read[1])
            at = read.end()
        return cls(tuple(found), readable=bool(found))

    def has(self, entity_tag: str | None) -> bool:
        """Return whether the value matches the current representation, by strong comparison (RFC 9110 §8.8.3.2).

        Args:
            entity_tag: The current entity tag, with quotes; None if the resource does not exist.
        """
        if entity_tag is None or self.any:
            return entity_tag is not None and self.any
        return not entity_tag.startswith("W/") and entity_tag in self.tags

    def has_like(self, entity_tag: str | None) -> bool:
        """Return whether the value matches the current representation, by weak comparison."""
        if entity_tag is None or self.any:
            return entity_tag is not None and self.any
        opaque = entity_tag.removeprefix("W/")
        return any(opaque == tag.removeprefix("W/") for tag in self.tags)


class Current(msgspec.Struct, frozen=True):
    """The validators of the current representation (RFC 9110 §8.8).

    Args:
        entity_tag: The entity tag, with quotes.
        last_modified: The time of the last change, in seconds since the epoch; None if unknown.
    """

    entity_tag: str
    last_modified: float | None = None


class Conditions(msgspec.Struct, frozen=True):
    """The conditions of one request; None for a condition that is missing or must be ignored.

    Args:
        match: ``If-Match``.
        unmodified_since: ``If-Unmodified-Since``, in seconds since the epoch.
        none_match: ``If-None-Match``.
        modified_since: ``If-Modified-Since``, in seconds since the epoch.
    """

    match: EntityTags | None = None
    unmodified_since: int | None = None
    none_match: EntityTags | None = None
    modified_since: int | None = None

    @classmethod
    def of(cls, headers: Iterable[tuple[bytes, bytes]], now: float | None = None) -> Conditions:
        """Parse the conditions in the headers of a request.

        Args:
            headers: The header lines of ASGI, with names in lower case.
            now: The current time in seconds since the epoch, for dates with a year of two digits.
        """
        lines: dict[bytes, list[str]] = {}
        for name, value in headers:
            if name.startswith(b"if-"):
                lines.setdefault(name, []).append(value.decode("latin-1"))

        def tags(name: bytes) -> EntityTags | None:
            return EntityTags.parse(",".join(lines[name])) if name in lines else None

        def date(name: bytes) -> int | None:
            # an unreadable date is ignored, and so are two dates (§13.1.3, §13.1.4)
            return parse_http_date(", ".join(lines[name]).strip(" \t"), now) if name in lines else None

        match, none_match = tags(b"if-match"), tags(b"if-none-match")
        return cls(
            match,
            date(b"if-unmodified-since") if match is None else None,
            none_match,
            date(b"if-modified-since") if none_match is None else None,
        )

    @property
    def may_prevent_changes(self) -> bool:
        """Whether a condition applies to writes, unlike ``If-Modified-Since`` (§13.1.3)."""
        return self.match is not None or self.unmodified_since is not None or self.none_match is not None

    def evaluate(self, current: Current | None, *, reads: bool, now: float) -> Outcome:
        """Evaluate the conditions in the order of RFC 9110 §13.2.2.

        Args:
            current: The current representation; None if the resource does not exist.
            reads: Whether the method is GET or HEAD.
            now: The current time in seconds since the epoch.
        """
        entity_tag = None if current is None else current.entity_tag
        modified = None if current is None else current.last_modified
        if self.match is not None:
            if not self.match.has(entity_tag):
                return Outcome.FAILED
        elif (
            self.unmodified_since is not None and modified is not None and _since(modified, self.unmodified_since, now)
        ):
            return Outcome.FAILED
        if self.none_match is None:
            since = self.modified_since if reads else None
            unchanged = since is not None and modified is not None and not _since(modified, since, now)
            return Outcome.NOT_MODIFIED if unchanged else Outcome.PROCEED
        if reads:
            return Outcome.NOT_MODIFIED if self.none_match.has_like(entity_tag) else Outcome.PROCEED
        # an unreadable value may have been meant to prevent this write
        holds = self.none_match.readable and not self.none_match.has_like(entity_tag)
        return Outcome.PROCEED if holds else Outcome.FAILED


def _since(modified: float, given: int, now: float) -> bool:
    """Return whether there was, or may have been, a change since the client's date.

    Dates have whole seconds. So after a change in the current second, an equal date does not prove that the client has
    the latest version (RFC 9110 §8.8.2.2).
    """
    return int(modified) > given or (int(modified) == given and now - modified < 1)
