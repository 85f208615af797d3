"""The settings of background calls and schedules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec

from servey.settings_part import Seconds, SettingsPart, Variable


class BackgroundSettings(SettingsPart, frozen=True, kw_only=True):
    """The store of background calls, and the processes that make them."""

    store: Annotated[
        str,
        Variable(
            "SERVEY_STORE",
            "Where servey keeps background calls and what processes share: the path of an SQLite file, or `memory` of "
            "the process.",
            has_urls=True,
        ),
    ] = ".servey/store.db"
    background: Annotated[
        bool,
        Variable(
            "SERVEY_BACKGROUND",
            "Whether servers make background calls and run schedules: `on`, or `off` to leave them to `servey worker`.",
        ),
    ] = True
    background_calls: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=10_000)],
        Variable("SERVEY_BACKGROUND_CALLS", "The number of background calls that a process makes at the same time."),
    ] = 8
    background_timeout: Annotated[
        Annotated[float, msgspec.Meta(gt=0, le=86400)],
        Variable(
            "SERVEY_BACKGROUND_TIMEOUT",
            "The time limit of a background call in seconds, unless its action sets another.",
        ),
    ] = 1200.0
    queue_timeout: Annotated[
        Seconds,
        Variable("SERVEY_QUEUE_TIMEOUT", "The seconds that a call waits until the queue has its background calls."),
    ] = 5.0
    max_delay: Annotated[
        Annotated[float, msgspec.Meta(gt=0, le=86400)],
        Variable("SERVEY_MAX_DELAY", "The longest delay of a background call, in seconds."),
    ] = 900.0

    def problems(self, *, production: bool) -> Iterator[str]:
        """Yield a store that cannot be the path of a file."""
        is_misspelt = self.store != "memory" and self.store.strip(" :").casefold() in {"", "memory"}
        if is_misspelt or "\0" in self.store or self.store.endswith("/") or self.store.startswith("~"):
            yield "SERVEY_STORE is not valid: it takes memory, or the path of a file"
