"""The settings of the result cache and of rate limits. Several processes may share the stores of both."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated

import msgspec

from servey.settings_part import Positive, SettingsPart, Variable

_STORE = r"(?!unix:)[a-z][a-z0-9+.-]*://[^\s/?#]+(/\S*)?(\?\S*)?|unix://[^\s?#]*/\S+"


class StoreSettings(SettingsPart, frozen=True, kw_only=True):
    """Where results are cached, and how many, and where calls are counted."""

    result_cache: Annotated[
        str,
        Variable(
            "SERVEY_RESULT_CACHE",
            "Where servey caches results of actions with a `cache_control`: `memory`, the `redis://…` URL of a store "
            "that several processes share, or `off`.",
            secret=True,
            public=("memory", "off"),
        ),
    ] = "memory"
    result_cache_bytes: Annotated[
        Positive, Variable("SERVEY_RESULT_CACHE_BYTES", "The largest size of the cached results in memory, in bytes.")
    ] = 64 * 1024 * 1024
    result_cache_entries: Annotated[
        Positive, Variable("SERVEY_RESULT_CACHE_ENTRIES", "The largest number of cached results in memory.")
    ] = 10_000
    rate_limits: Annotated[
        str,
        Variable(
            "SERVEY_RATE_LIMITS",
            "Where servey counts the calls of actions with a `rate_limit`: in the `memory` of each process, or in the "
            "store at a `redis://…` URL, which several processes share.",
            secret=True,
            public=("memory",),
        ),
    ] = "memory"
    store_timeout: Annotated[
        Annotated[float, msgspec.Meta(gt=0, le=60)],
        Variable(
            "SERVEY_STORE_TIMEOUT",
            "The seconds that a call waits for a shared store (of results or of rate limits) before it goes on.",
        ),
    ] = 0.25

    def problems(self, *, production: bool) -> Iterator[str]:
        """Yield the variables that name no store, without their values, which may contain a password."""
        for name, value, words in (
            ("SERVEY_RESULT_CACHE", self.result_cache, ("memory", "off")),
            ("SERVEY_RATE_LIMITS", self.rate_limits, ("memory",)),
        ):
            if value not in words and not _is_store(value):
                yield (
                    f"{name} is not valid: it takes {' or '.join(words)}, or the URL of a store: redis://, rediss://, "
                    "unix:// or valkey://, with host or path"
                )


def _is_store(url: str) -> bool:
    if not re.fullmatch(_STORE, url):
        return False
    from urllib.parse import urlsplit

    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False
