"""Counts of calls in a Redis or Valkey server, for all processes of a service."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from servey.servey_redis.connections import CONNECTIONS, RedisError, checked_url, client

if TYPE_CHECKING:
    from servey.ports import Window, WindowState

_PREFIX = "servey:rate_limit"

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
local states = {}
for i, key in ipairs(KEYS) do
  if all then
    redis.call('LPUSH', key, string.format('%.6f', now))
    redis.call('EXPIRE', key, ARGV[2 * i])
  end
  local oldest = redis.call('LINDEX', key, -1)
  local age = oldest and now - tonumber(oldest) or 0
  states[i] = {admits[i] and 1 or 0, string.format('%.6f', age), redis.call('LLEN', key)}
end
return states
"""
"""Looks at all windows, and counts if all admit.

A server runs a script as one step with its own clock: no other call comes between, and the clocks of processes may
differ. Each list has the newest call first.
"""


class RedisRateLimitStorage:
    """A `servey.ports.RateLimitStorage` in a Redis or Valkey server; it connects at the first call.

    Args:
        url: The URL of the server, such as ``redis://host:6379/0``.
        timeout: Seconds to wait for a free connection.
    """

    errors: tuple[type[Exception], ...] = (cast("type[Exception]", RedisError),)

    def __init__(self, url: str, timeout: float) -> None:
        # the counter limits the time of each answer (`within`)
        self._client: Any = client(checked_url(url, "SERVEY_RATE_LIMITS is neither memory"), None, wait=timeout)
        self._acquire: Any = self._client.register_script(_ACQUIRE)
        self.turn = asyncio.Semaphore(CONNECTIONS)

    async def acquire_all(self, windows: Sequence[Window]) -> list[WindowState]:
        """Count a call if all windows admit it; see `servey.ports.RateLimitStorage`."""
        keys = [f"{_PREFIX}:{key}" for key, _, _ in windows]
        numbers = [number for _, limit, expiry in windows for number in (limit, expiry)]
        states = cast("list[tuple[int, bytes, int]]", await self._acquire(keys=keys, args=numbers))
        return [(admits == 1, float(age), calls) for admits, age, calls in states]

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
