"""Where results are kept: the one place that knows the stores."""

from __future__ import annotations

from servey.cache_control.settings import CacheSettings
from servey.ports import ResultStore


def open_store(settings: CacheSettings) -> ResultStore:
    """Return the store that the settings name, unless they are ``off``.

    Raises:
        MissingExtraError: What it needs is not installed.
        SettingsError: The setting names no store.
    """
    where = settings.result_cache
    if where == "memory":
        from servey.cache_control.memory_result_store import MemoryResultStore  # not needed by most processes

        return MemoryResultStore(settings.result_cache_entries, settings.result_cache_bytes)
    from servey.cache_control.redis_result_store import RedisResultStore

    return RedisResultStore(where, timeout=settings.store_timeout, size=settings.result_cache_bytes)
