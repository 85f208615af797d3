"""Several cache controls for one result."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from servey.cache_control.cache_header import MAX_AGE, CacheHeader
from servey.errors import DefinitionError
from servey.ports import CacheControl, FreshnessCacheControl, PublicCacheControl, RevalidatingCacheControl


class Combinable:
    """A cache control that can be combined with others by ``&``."""

    def __and__(self, other: CacheControl) -> CombinedCacheControl:
        return CombinedCacheControl(self, other)

    def __rand__(self, other: CacheControl) -> CombinedCacheControl:
        return CombinedCacheControl(other, self)


class CombinedCacheControl(Combinable):
    """Combine the headers of several cache controls into the strictest: `CacheHeader.agreed`.

    Args:
        controls: Two or more; `a & b` is the same as ``CombinedCacheControl(a, b)``.

    Raises:
        DefinitionError: There are fewer than two, or one is not a cache control.

    Example:
        >>> from servey.cache_control import TimestampCacheControl, TtlCacheControl
        >>> TtlCacheControl(30) & TimestampCacheControl("updated_at")
        CombinedCacheControl(TtlCacheControl(30), TimestampCacheControl('updated_at'))
    """

    def __init__(self, *controls: Any) -> None:
        if len(controls) < 2:
            raise DefinitionError("a combined cache control has fewer than two parts", fix="name two or more")
        for control in controls:
            if isinstance(control, type) or not isinstance(control, CacheControl):
                raise DefinitionError(
                    f"{control!r} is not a cache control",
                    fix="give an object with a method cache_header(result, content)",
                )
        self.controls: tuple[CacheControl, ...] = tuple(
            part for item in controls for part in (item.controls if type(item) is CombinedCacheControl else (item,))
        )
        self.public = any(isinstance(item, PublicCacheControl) and item.public for item in self.controls)
        self.may_be_fresh = any(
            not isinstance(item, FreshnessCacheControl) or item.may_be_fresh for item in self.controls
        )
        write = next((item for item in self.controls if isinstance(item, RevalidatingCacheControl)), None)
        if write is not None:
            self.current_etag = write.current_etag

    def cache_header(self, result: Any, content: bytes, /) -> CacheHeader:
        """Return the strictest header of the parts."""
        return CacheHeader.agreed(item.cache_header(result, content) for item in self.controls)

    def __repr__(self) -> str:
        return f"CombinedCacheControl({', '.join(map(repr, self.controls))})"


def seconds_of(ttl: Any, label: str) -> int:
    """Return a time to live in whole seconds.

    Raises:
        DefinitionError: The value is not a time in whole seconds, or out of range.
    """
    seconds: Any = ttl.total_seconds() if isinstance(ttl, timedelta) else ttl
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= MAX_AGE:
        raise DefinitionError(
            f"the ttl of {label} is {ttl!r}", fix=f"give whole seconds, from 0 to {MAX_AGE}, or a timedelta"
        )
    if seconds != int(seconds):
        raise DefinitionError(f"the ttl of {label} is {ttl!r}, and HTTP counts whole seconds", fix="give whole seconds")
    return int(seconds)


def check_public(public: Any, label: str) -> bool:
    """Return `public` if it is a bool.

    Raises:
        DefinitionError: It is not a bool.
    """
    if not isinstance(public, bool):
        raise DefinitionError(f"public={public!r} of {label} is not a bool", fix="write public=True, or leave it out")
    return public
