"""The notation of rate limits, as ``@action(rate_limit="10/minute;100/hour")`` has them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from servey.errors import DefinitionError, MissingExtraError, is_missing

if TYPE_CHECKING:
    from limits import RateLimitItem

MOST_CALLS = 10_000
"""The most calls of a limit: the storage remembers the time of each call of each caller."""

_FIX = 'write how many calls in which time, as in rate_limit="10/minute", or several: "10/minute;100/hour"'


def parse_rate_limit(text: str, of: str, where: str = "") -> tuple[RateLimitItem, ...]:
    """Return the limits of a text, the shortest window first.

    Args:
        text: Such as ``"10/minute"``, ``"10 per minute"``, ``"5/10 seconds"``; several with a semicolon between.
        of: The name of the action, for the error.
        where: Its ``file:line``, for the error.

    Raises:
        DefinitionError: It names no limit, or one that cannot be counted.
        MissingExtraError: The package `limits` is not installed.

    Example:
        >>> parse_rate_limit("100/hour; 10/minute", "say_hello")
        (10 per 1 minute, 100 per 1 hour)
    """
    try:
        from limits import parse_many
    except ModuleNotFoundError as error:
        if not is_missing("limits", error):
            raise
        raise MissingExtraError("limits", "server") from error

    def wrong(why: str) -> DefinitionError:
        return DefinitionError(f"the rate limit of {of}, {text!r}, {why}", where=where, fix=_FIX)

    try:
        limits = parse_many(text)
    except ValueError:
        raise wrong("cannot be read") from None
    if 0 in map(int, re.findall("[0-9]+", text)):  # the library takes no seconds for one second
        raise wrong("lets nobody call")
    if any(limit.amount > MOST_CALLS for limit in limits):
        raise wrong(f"allows more than {MOST_CALLS} calls; take a shorter time")
    windows = [limit.get_expiry() for limit in limits]
    if len(set(windows)) < len(windows):
        raise wrong("has two limits for the same time")
    return tuple(sorted(limits, key=lambda limit: limit.get_expiry()))
