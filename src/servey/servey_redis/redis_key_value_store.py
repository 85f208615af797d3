"""The store of small entries in a Redis or Valkey server: leases, claims, idempotency keys.

Each method is one script, which the server runs as one step. The ends are times of the server.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Sequence
from typing import Any, cast

from servey.background_call.entries import check_entry
from servey.cache_control.circuit_breaker import CircuitBreaker, within
from servey.errors import OverloadedError
from servey.servey_redis.connections import PerLoop, RedisError, checked_url, client

_log = logging.getLogger("servey.store")

_PREFIX = "servey:entry:"

_GET = "return redis.call('GET', KEYS[1])"
_ADD = """
local found = redis.call('GET', KEYS[1])
if not found then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return found
"""
_SWAP = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if #ARGV == 1 then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return 1
"""


class RedisKeyValueStore:
    """Stores entries in a Redis or Valkey server (`servey.ports.KeyValueStore`); it connects at the first use.

    Args:
        url: The URL of the server.
        timeout: Seconds to wait for an answer.

    Raises:
        SettingsError: The URL is not valid.
    """

    def __init__(self, url: str, timeout: float) -> None:
        self._url = checked_url(url, "SERVEY_STORE is neither memory nor the path of a file")
        self._timeout = timeout
        self._circuit = CircuitBreaker("the store of entries", _log, effect="calls that need it fail")
        self._clients = PerLoop(lambda: _Client(client(self._url, timeout)))

    async def get(self, key: str, /) -> bytes | None:
        """Return the value of a key; None if there is none.

        Raises:
            ValueError: The key is too long.
            OverloadedError: The server does not answer.
        """
        check_entry(key)
        return await self._answer(self._clients.get().get, key, ())

    async def add(self, key: str, value: bytes, seconds: float, /) -> bytes | None:
        """Store a value for a time, unless the key has one. Return the value that is there already; None if added.

        Raises:
            ValueError: The key or the value is too long.
            OverloadedError: The server does not answer. It may have stored the value.
        """
        check_entry(key, value)
        return await self._answer(self._clients.get().add, key, (value, _milliseconds(seconds)))

    async def swap(self, key: str, old: bytes, new: bytes | None, seconds: float, /) -> bool:
        """Replace the value `old` by `new` for a time (None: remove it), and return whether `old` was there.

        Raises:
            ValueError: The key or the new value is too long.
            OverloadedError: The server does not answer. It may have replaced the value.
        """
        check_entry(key, new or b"")
        arguments = (old,) if new is None else (old, new, _milliseconds(seconds))
        return await self._answer(self._clients.get().swap, key, arguments) == 1

    async def close(self) -> None:
        """Close the connections of the running event loop."""
        found = self._clients.pop()
        if found is not None:
            await found.redis.aclose()

    async def _answer(self, script: Any, key: str, arguments: Sequence[bytes | int]) -> Any:
        if not self._circuit.allows_request():
            raise OverloadedError("the store of entries does not answer")
        answer = cast("Awaitable[Any]", script(keys=[_PREFIX + key], args=arguments))
        try:
            found = await within(self._timeout, answer)
        except (RedisError, OSError, TimeoutError) as error:
            self._circuit.failed(error)
            raise OverloadedError("the store of entries does not answer") from error
        self._circuit.succeeded()
        return found


class _Client:
    """The client and the scripts of one event loop."""

    def __init__(self, redis: Any) -> None:
        self.redis = redis
        self.get: Any = redis.register_script(_GET)
        self.add: Any = redis.register_script(_ADD)
        self.swap: Any = redis.register_script(_SWAP)


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
