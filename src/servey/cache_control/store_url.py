"""Whether a URL names a Redis or Valkey that servey can use; it is asked at start, and nothing is connected for it."""

from __future__ import annotations

from typing import Any

_OURS = frozenset({"decode_responses", "encoding", "encoding_errors"})
"""Options that change what the store's answers are, which the code that reads them has to know."""


def check_store_url(url: str) -> None:
    """Return when a store can be opened at `url`, which redis-py has to be installed for.

    Raises:
        ValueError: It is no URL of a store, or has an option that does not exist or is not the user's to set.
    """
    from redis.asyncio import ConnectionPool
    from redis.exceptions import RedisError

    opened: Any = ConnectionPool
    try:
        pool = opened.from_url(url)
        pool.connection_class(**pool.connection_kwargs)  # looks at the options, and connects at the first command
    except (TypeError, RedisError) as error:
        raise ValueError("no such option") from error
    if not _OURS.isdisjoint(pool.connection_kwargs):
        raise ValueError("an option that changes what answers are")
