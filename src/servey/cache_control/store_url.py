"""Whether a URL names a Redis or Valkey that servey can use; it is asked at start, and nothing is connected for it."""

from __future__ import annotations

from typing import Any

from servey.errors import SettingsError

_OURS = frozenset({"decode_responses", "encoding", "encoding_errors"})
"""Options that change what the store's answers are, which the code that reads them has to know."""


def check_store_url(url: str, setting: str) -> None:
    """Return when a store can be opened at `url`, which redis-py has to be installed for.

    Args:
        url: The URL, with a scheme that redis-py knows.
        setting: What the error begins with: the variable that has it, and what else that takes.

    Raises:
        SettingsError: It is no URL of a store, or has an option that does not exist or is not the user's to set. It is
            not repeated, as it may have a password in it.
    """
    from redis.asyncio import ConnectionPool
    from redis.exceptions import RedisError

    opened: Any = ConnectionPool
    try:
        pool = opened.from_url(url)
        pool.connection_class(**pool.connection_kwargs)  # looks at the options, and connects at the first command
        is_valid = _OURS.isdisjoint(pool.connection_kwargs)
    except (ValueError, TypeError, RedisError):
        is_valid = False
    if not is_valid:
        raise SettingsError(
            f"{setting} nor the URL of a store: write redis://host:6379/0, rediss:// with TLS, or unix:// for a "
            "socket; after a ? only options of redis-py's connections, and none that decodes answers"
        )
