"""The stores in a Redis or Valkey server. redis-py is imported when a store is opened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from servey.plugin import Plugin, StoreSupport

if TYPE_CHECKING:
    from servey.ports import KeyValueStore, RateLimitStorage, ResultStore
    from servey.service import Service
    from servey.settings import Settings

SCHEMES = ("redis", "rediss", "unix", "valkey", "valkeys")


class RedisPlugin(Plugin):
    """Store results and small entries, and count calls, in a Redis or Valkey server."""

    def result_stores(self) -> Sequence[StoreSupport[ResultStore]]:
        """Return the store for ``SERVEY_RESULT_CACHE=redis://…``."""
        return (StoreSupport(SCHEMES, _result_store),)

    def rate_limit_storages(self) -> Sequence[StoreSupport[RateLimitStorage]]:
        """Return the storage for ``SERVEY_RATE_LIMITS=redis://…``."""
        return (StoreSupport(SCHEMES, _rate_limit_storage),)

    def key_value_store(self, service: Service) -> KeyValueStore | None:
        """Return the store for ``SERVEY_STORE=redis://…``, or that of a Redis broker."""
        url = service.settings.background.shared_store
        if url.partition("://")[0] not in SCHEMES:
            return None
        from servey.servey_redis.redis_key_value_store import RedisKeyValueStore

        return RedisKeyValueStore(url, service.settings.background.queue_timeout)


def _result_store(url: str, settings: Settings) -> ResultStore:
    from servey.servey_redis.redis_result_store import RedisResultStore

    return RedisResultStore(url, timeout=settings.stores.store_timeout, size=settings.stores.result_cache_bytes)


def _rate_limit_storage(url: str, settings: Settings) -> RateLimitStorage:
    from servey.servey_redis.redis_rate_limit_storage import RedisRateLimitStorage

    return RedisRateLimitStorage(url, settings.stores.store_timeout)
