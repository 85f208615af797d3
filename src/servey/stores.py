"""The stores of a service: results, counts, background calls and entries. The first use of a store opens it.

The stores of results and counts have a URL. Its scheme decides which plugin opens them; the memory of the process is
built in.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import cached_property, partial
from typing import TYPE_CHECKING, TypeVar

from servey.errors import SettingsError
from servey.plugin import Plugin, StoreSupport
from servey.ports import CallQueue, KeyValueStore, RateLimitStorage, ResultStore
from servey.security.urls import shown_url
from servey.settings import Settings

if TYPE_CHECKING:
    from servey.security.rate_limit.call_counter import CallCounter
    from servey.service import Service

T = TypeVar("T")


class Stores:
    """The stores of a service.

    Args:
        service: The service, with its settings and plugins.

    Raises:
        SettingsError: No plugin opens the URL of a store.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._opening = threading.Lock()
        self.submitted = 0
        """The number of background calls that this process has submitted."""
        settings = service.settings
        self._open_results: Callable[[], ResultStore] | None = store_opener(
            "SERVEY_RESULT_CACHE",
            settings.stores.result_cache,
            [support for plugin in service.plugins for support in plugin.result_stores()],
            settings,
        )
        self._open_rate_limits: Callable[[], RateLimitStorage] | None = store_opener(
            "SERVEY_RATE_LIMITS",
            settings.stores.rate_limits,
            [support for plugin in service.plugins for support in plugin.rate_limit_storages()],
            settings,
        )

    @cached_property
    def call_counter(self) -> CallCounter:
        """The counter for calls of actions with a rate limit."""
        from servey.security.rate_limit.call_counter import CallCounter

        return CallCounter(self._open_rate_limits, self._service.settings.stores.store_timeout)

    @cached_property
    def results(self) -> ResultStore:
        """The store for results of actions with a cache control."""
        if self._open_results is not None:
            return self._open_results()
        from servey.cache_control.memory_result_store import MemoryResultStore  # not needed by most processes

        settings = self._service.settings.stores
        return MemoryResultStore(settings.result_cache_entries, settings.result_cache_bytes)

    @cached_property
    def calls(self) -> CallQueue:
        """The queue of background calls.

        Raises:
            SettingsError: No plugin has a queue for the settings.
        """
        how = "set CELERY_BROKER, or SERVEY_STORE to the path of a file or to memory"
        return self._first("calls", lambda plugin: plugin.call_queue(self._service), f"background calls: {how}")

    @cached_property
    def entries(self) -> KeyValueStore:
        """The store of small entries that processes share.

        Raises:
            SettingsError: No plugin has a store for the settings.
        """
        how = "set SERVEY_STORE to the path of a file, to memory, or to redis://host:6379/0"
        return self._first("entries", lambda plugin: plugin.key_value_store(self._service), f"entries: {how}")

    def _first(self, name: str, port_of: Callable[[Plugin], T | None], missing: str) -> T:
        with self._opening:  # two threads may submit their first calls at the same time
            if name in vars(self):
                return vars(self)[name]
            for plugin in self._service.plugins:
                port = port_of(plugin)
                if port is not None:
                    vars(self)[name] = port
                    return port
        raise SettingsError(f"SERVEY_STORE={shown_url(self._service.settings.background.store)} stores no {missing}")

    async def close(self) -> None:
        """Close the stores that are open, except for those in a file, which their plugin closes."""
        for name in ("results", "call_counter", "calls", "entries"):
            close = getattr(vars(self).get(name), "close", None)
            if close is not None:
                await close()


def store_opener(
    variable: str, url: str, supports: Iterable[StoreSupport[T]], settings: Settings
) -> Callable[[], T] | None:
    """Return a function that opens the store at a URL; None for ``memory`` and ``off``, which are not URLs.

    Raises:
        SettingsError: No plugin opens such a URL. The message does not show the URL, which may have a password.
    """
    if url in ("memory", "off"):
        return None
    scheme = url.partition("://")[0]
    schemes: list[str] = []
    for support in supports:
        if scheme in support.schemes:
            return partial(support.open, url, settings)
        schemes += support.schemes
    raise SettingsError(f"{variable} is not the URL of a store that a plugin opens: {'://, '.join(schemes)}://")
