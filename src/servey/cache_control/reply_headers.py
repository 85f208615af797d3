"""The caching headers of a `Reply`, and how servey combines them with its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from servey.cache_control.cache_header import MAX_AGE, CacheHeader
from servey.cache_control.http_date import parse_http_date

_DIRECTIVE = (
    r'[ \t]*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)(?:=([!#$%&\'*+.^_`|~0-9A-Za-z-]+|"(?:[^"\\]|\\.)*"))?[ \t]*(?:,|\Z)|,'
)
_ENTITY_TAG = r'(?:W/)?"([\x21\x23-\x7e\x80-\xff]*)"\Z'

_OF_THIS_ANSWER = frozenset(
    {"age", "cache-control", "cache-status", "date", "etag", "expires", "last-modified", "ratelimit"}
    | {"ratelimit-policy", "set-cookie", "vary"}
)
"""The headers that do not describe the representation, so that they have no effect on its entity tag."""


def cache_directives(value: str) -> dict[str, str | None]:
    """Return the directives of a ``Cache-Control`` (RFC 9111 §5.2) by their names in lower case.

    Text that is not a directive is skipped, up to the next comma. The first of several with one name counts (§4.2.1).

    Example:
        >>> cache_directives('private="Set-Cookie", max-age=5')
        {'private': 'Set-Cookie', 'max-age': '5'}
    """
    found: dict[str, str | None] = {}
    at = 0
    while at < len(value):
        directive = re.compile(_DIRECTIVE).match(value, at)
        at = (value.find(",", at) + 1 or len(value)) if directive is None else directive.end()
        if directive is not None and directive[1] is not None:
            argument: str | None = directive[2]
            if argument is not None and argument.startswith('"'):
                argument = re.sub(r"\\(.)", r"\1", argument[1:-1])
            found.setdefault(directive[1].lower(), argument)
    return found


def seconds_in(argument: str | None) -> int | None:
    """Return the value of a directive as seconds (RFC 9111 §1.2.2); None if it is not a number."""
    if argument is None or not re.fullmatch("[0-9]+", argument):
        return None
    return min(int(argument[:20]), MAX_AGE)


class ReplyHeaders:
    """The headers of a `Reply`; the case of their names does not matter.

    Args:
        headers: The headers, as in the reply.
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = [(name.lower(), value) for name, value in headers.items()]

    def get(self, name: str) -> str | None:
        """Return the value of a header; several lines are joined (RFC 9110 §5.2). `name` is in lower case."""
        values = [value for given, value in self._headers if given == name]
        return ", ".join(values) if values else None

    @property
    def age(self) -> int:
        """The age of the result when the action returned it, in seconds (RFC 9111 §5.1); default: 0."""
        return seconds_in(self.get("age")) or 0

    def hashed(self, status: int | None) -> bytes:
        """Return the part of the representation besides the content, for its entity tag."""
        rest = sorted(f"{name}: {value}" for name, value in self._headers if name not in _OF_THIS_ANSWER)
        if status not in (None, 200):
            rest.append(str(status))
        return "\n".join(rest).encode("latin-1")

    def applied(self, cache: CacheHeader, *, made_at: float, private: bool) -> CacheHeader:
        """Return `cache` with the values that these headers override.

        Raises:
            ValueError: A header is not valid, or lets shared caches store a private result.
        """
        changes: dict[str, object] = {}
        control, expires = self.get("cache-control"), self.get("expires")
        if control is not None:
            directives = cache_directives(control)
            if private:
                refuse_shared(directives)
            known = "no-cache" not in directives
            fresh = seconds_in(directives.get("max-age")) if known else None
            changes["max_age"] = None if fresh is None else max(0, fresh - self.age)
            changes["public"] = "public" in directives
            changes["no_store"] = "no-store" in directives or ("private" in directives and not private)
        elif expires is not None:
            at = parse_http_date(expires, made_at)
            changes["max_age"] = 0 if at is None else min(max(0, at - int(made_at)), MAX_AGE)
        if self.get("set-cookie") is not None or "*" in (self.get("vary") or ""):
            changes["no_store"] = True
        if (etag := self.get("etag")) is not None:
            if (tag := re.match(_ENTITY_TAG, etag)) is None:
                raise ValueError(f"the reply's ETag is {etag!r}, which is not an entity tag; put it in double quotes")
            changes["etag"] = tag[1]
        if (modified := self.get("last-modified")) is not None:
            at = parse_http_date(modified, made_at)
            if at is None:
                raise ValueError(f"the reply's Last-Modified is {modified!r}, which is not an HTTP date")
            changes["last_modified"] = datetime.fromtimestamp(at, UTC)
        return msgspec.structs.replace(cache, **changes) if changes else cache

    def cache_control(self, *, private: bool) -> str | None:
        """Return the reply's own ``Cache-Control``, with ``private`` if the answer is private.

        Raises:
            ValueError: It lets shared caches store a private result.
        """
        control = self.get("cache-control")
        if control is None or not private:
            return control
        directives = cache_directives(control)
        refuse_shared(directives)
        for_one = "no-store" in directives or ("private" in directives and directives["private"] is None)
        return control if for_one else f"private, {control}"

    def vary(self, names: str) -> str:
        """Return the value of ``Vary``: `names`, then the names of the reply."""
        given = [item.strip() for item in (self.get("vary") or "").split(",")]
        if "*" in given:
            return "*"
        known = {item.strip().lower() for item in names.split(",")}
        return ", ".join(filter(None, [names, *(item for item in given if item.lower() not in known)]))

    def others(self, managed: frozenset[str] | set[str]) -> list[tuple[str, str]]:
        """Return the headers that are not in `managed`, with names in lower case."""
        return [(name, value) for name, value in self._headers if name not in managed]


def refuse_shared(directives: Mapping[str, str | None]) -> None:
    """Refuse directives that let shared caches store a private result.

    Raises:
        ValueError: There is such a directive.
    """
    for name in ("public", "s-maxage"):
        if name in directives:
            raise ValueError(f"the reply's Cache-Control has {name}, but the result is only for its caller")
