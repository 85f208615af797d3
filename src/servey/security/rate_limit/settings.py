"""The settings of rate limits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from servey.cache_control.settings import store_problem
from servey.settings_part import SettingsPart, Variable


class RateLimitSettings(SettingsPart, frozen=True, kw_only=True):
    """Where calls are counted."""

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

    def problems(self, *, production: bool) -> Iterator[str]:
        """Yield a text that is no store."""
        yield from store_problem("SERVEY_RATE_LIMITS", self.rate_limits, ("memory",))
