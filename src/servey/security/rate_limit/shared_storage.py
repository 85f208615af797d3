"""The store in which several processes count calls together: Redis, Valkey, and what speaks like them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from servey.cache_control.store_url import check_store_url
from servey.errors import MissingExtraError, is_missing

if TYPE_CHECKING:
    from servey.security.rate_limit.memory_storage import Asked, Told

try:
    from redis.asyncio import BlockingConnectionPool, Redis
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
_CONNECTIONS = 32

_ACQUIRE = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local admits = {}
local all = true
for i, key in ipairs(KEYS) do
  local before = now - tonumber(ARGV[2 * i])
  local oldest = redis.call('LINDEX', key, -1)
  while oldest and tonumber(oldest) <= before do
    redis.call('RPOP', key)
    oldest = redis.call('LINDEX', key, -1)
  end
  admits[i] = redis.call('LLEN', key) < tonumber(ARGV[2 * i - 1])
  all = all and admits[i]
end
local told = {}
for i, key in ipairs(KEYS) do
  if all then
    redis.call('LPUSH', key, string.format('%.6f', now))
    redis.call('EXPIRE', key, ARGV[2 * i])
  end
  local oldest = redis.call('LINDEX', key, -1)
  local age = oldest and now - tonumber(oldest) or 0
  told[i] = {admits[i] and 1 or 0, string.format('%.6f', age), redis.call('LLEN', key)}
end
return told
"""
"""Looks at all windows, and counts if all admit.

A server runs a script as one step, and by its own clock: no other call comes between, and it does not matter by how
much the clocks of processes differ. Each list has the newest call first.
"""


class SharedStorage:
    """The shared store as one event loop sees it; opened at the first call.

    Whoever asks takes a `turn` first, so that no more ask at once than there are connections.

    Args:
        url: The store, as ``redis://host:6379/0``, ``rediss://…`` or ``unix://…``.
        timeout: Seconds for which a connection is waited for.
    """

    errors = (RedisError,)
    """What it raises when it does not answer, besides `OSError` and `TimeoutError`."""

    def __init__(self, url: str, timeout: float) -> None:
        self._pool: BlockingConnectionPool = _POOL.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=timeout,
            socket_timeout=None,  # whoever asks waits no longer than it wants to (`within`)
            socket_connect_timeout=None,
            retry=Retry(NoBackoff(), 1),  # a server that was started anew has closed the connections
        )
        client: Any = Redis(connection_pool=self._pool)
        self._acquire: Any = client.register_script(_ACQUIRE)
        self.turn = asyncio.Semaphore(_CONNECTIONS)

    @staticmethod
    def check(url: str) -> None:
        """Return when `url` is one of a store.

        Raises:
            SettingsError: It is none.
        """
        check_store_url(url, "SERVEY_RATE_LIMITS is neither memory")

    async def acquire_all(self, asked: Sequence[Asked]) -> list[Told]:
        """Count a call if all windows admit it; arguments and result are those of `MemoryStorage.acquire_all`."""
        keys = [f"{_PREFIX}:{key}" for key, _, _ in asked]
        windows = [number for _, limit, expiry in asked for number in (limit, expiry)]
        told = cast("list[tuple[int, bytes, int]]", await self._acquire(keys=keys, args=windows))
        return [(admits == 1, float(age), calls) for admits, age, calls in told]

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.aclose()
