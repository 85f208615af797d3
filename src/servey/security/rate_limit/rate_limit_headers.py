"""What is told of a rate limit in HTTP (draft-ietf-httpapi-ratelimit-headers-10)."""

from __future__ import annotations

from servey.action.context import RateLimitState

_POLICY = '"default"'
"""The name of the one policy that is told of; a name is there to tell several apart (§3)."""


def rate_limit_headers(state: RateLimitState) -> dict[str, str]:
    """Return the ``RateLimit-Policy`` and ``RateLimit`` headers of a call that was counted.

    Example:
        >>> rate_limit_headers(RateLimitState(limit=10, window=60, remaining=3, reset=57))
        {'RateLimit-Policy': '"default";q=10;w=60', 'RateLimit': '"default";r=3;t=57'}
    """
    return {
        "RateLimit-Policy": f"{_POLICY};q={state.limit};w={state.window}",
        "RateLimit": f"{_POLICY};r={state.remaining};t={state.reset}",
    }
