"""The store in which several processes count calls together: Redis, Valkey, and what speaks like them."""

from __future__ import annotations

import time
from typing import Any

from limits.aio.storage import RedisStorage

from servey.errors import MissingExtraError, SettingsError, is_missing

try:
    from redis.asyncio import BlockingConnectionPool
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisError
except ModuleNotFoundError as error:
    if not is_missing("redis", error):
        raise
    raise MissingExtraError("redis", "redis") from error

_POOL: Any = BlockingConnectionPool
"""The class; what its constructors take is not told to type checkers."""

_PREFIX = "servey:rate_limit"
_CONNECTIONS = 50


class SharedStorage:
    """The shared store as one event loop sees it; opened at the first call.

    Args:
        url: The store, as ``redis://host:6379/0``, ``rediss://…`` or ``unix://…``.
        timeout: Seconds for which each step (connecting, sending, waiting) may take.
    """

    errors = (RedisError,)
    """What it raises when it does not answer, besides `OSError` and `TimeoutError`."""

    def __init__(self, url: str, timeout: float) -> None:
        self._pool: BlockingConnectionPool = _POOL.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=timeout,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 1),  # a server that was started anew has closed the connections
        )
        options: Any = {"implementation": "redispy", "key_prefix": _PREFIX, "connection_pool": self._pool}
        self._storage = RedisStorage("async+redis://", **options)

    @staticmethod
    def check(url: str) -> None:
        """Return when `url` is one of a store.

        Raises:
            SettingsError: It is none. It is not repeated, as it may have a password in it.
        """
        try:
            _POOL.from_url(url)
        except ValueError:
            raise SettingsError(
                "SERVEY_RATE_LIMITS is neither memory nor the URL of a store: write redis://host:6379/0, rediss:// "
                "with TLS, or unix:// for a socket"
            ) from None

    async def acquire(self, key: str, limit: int, expiry: int) -> tuple[bool, float, int]:
        """Count a call, and look at the window; arguments and result are those of `MemoryStorage.acquire`."""
        is_admitted = await self._storage.acquire_entry(key, limit, expiry)
        oldest, calls = await self._storage.get_moving_window(key, limit, expiry)
        return is_admitted, time.time() - oldest, calls

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.aclose()
