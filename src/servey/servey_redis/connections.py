"""Connections to a Redis or Valkey server, checked at start. Only this module handles a missing redis-py."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

from servey.errors import MissingExtraError, SettingsError, is_missing

try:
    import redis.asyncio
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisError, TimeoutError
except ModuleNotFoundError as error:
    if not is_missing("redis", error):
        raise
    raise MissingExtraError("redis", "redis") from error

__all__ = ["CONNECTIONS", "PerLoop", "RedisError", "TimeoutError", "checked_url", "client"]

T = TypeVar("T")

CONNECTIONS = 32
"""The most connections of one event loop."""

_REDIS = cast(Any, redis.asyncio)
"""The package without types: its constructors take options that they do not declare."""

_ALIASES = {"valkey": "redis", "valkeys": "rediss"}
_OURS = frozenset({"decode_responses", "encoding", "encoding_errors"})
"""Options that change the server's answers, which the code that reads them has to know."""


def checked_url(url: str, setting: str) -> str:
    """Return a store's URL in the form of redis-py, without connecting.

    Args:
        url: The URL.
        setting: The beginning of the error: the variable that has the URL, and what else it takes.

    Raises:
        SettingsError: It is not the URL of a store, or has an unknown option or one that servey sets itself. The
            message does not show the URL, which may have a password.
    """
    scheme, colon, rest = url.partition(":")
    url = f"{_ALIASES.get(scheme, scheme)}{colon}{rest}"
    try:
        pool = _REDIS.ConnectionPool.from_url(url)
        pool.connection_class(**pool.connection_kwargs)  # checks the options; connects at the first command
        is_valid = _OURS.isdisjoint(pool.connection_kwargs)
    except (ValueError, TypeError, RedisError):
        is_valid = False
    if not is_valid:
        raise SettingsError(
            f"{setting} nor the URL of a store: write redis://host:6379/0, rediss:// with TLS, or unix:// for a "
            "socket; after a ? only options of redis-py's connections, and none that decodes answers"
        )
    return url


def client(url: str, timeout: float | None, *, wait: float | None = None) -> Any:
    """Return a client for one event loop, which connects at its first command.

    Args:
        url: What `checked_url` returned.
        timeout: Seconds to connect; None if the caller limits the time itself.
        wait: Seconds to wait for a free connection; default: `timeout`.
    """
    pool = _REDIS.BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS,
        timeout=timeout if wait is None else wait,
        socket_connect_timeout=timeout,
        **({"socket_timeout": None} if timeout is None else {}),
        **({"ssl_check_hostname": True} if url.startswith("rediss") else {}),  # before redis-py 6 it was False
        retry=Retry(NoBackoff(), 1),  # once more: a restarted server has closed the connections
    )
    return _REDIS.Redis.from_pool(pool)


class PerLoop(Generic[T]):
    """An object for each event loop, because a client cannot change its loop.

    Args:
        make: Makes the object at its first use.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: dict[asyncio.AbstractEventLoop, T] = {}

    def get(self) -> T:
        """Return the object of the running event loop."""
        loop = asyncio.get_running_loop()
        found = self._made.get(loop)
        if found is None:
            for closed in [other for other in list(self._made) if other.is_closed()]:
                self._made.pop(closed, None)
            found = self._made[loop] = self._make()
        return found

    def pop(self) -> T | None:
        """Remove the object of the running event loop, and return it; None if there is none."""
        return self._made.pop(asyncio.get_running_loop(), None)

    def running_loop(self) -> asyncio.AbstractEventLoop | None:
        """Return an event loop that has an object and runs, in any thread; None if there is none."""
        return next((loop for loop in list(self._made) if loop.is_running()), None)
