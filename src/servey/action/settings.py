"""The settings of calls: their time and their threads."""

from __future__ import annotations

from typing import Annotated

import msgspec

from servey.settings_part import Positive, Seconds, SettingsPart, Variable

FiniteSeconds = Annotated[float, msgspec.Meta(gt=0, le=86400)]


class CallSettings(SettingsPart, frozen=True, kw_only=True):
    """How long calls may take, and how many threads run them."""

    timeout: Annotated[
        Seconds,
        Variable("SERVEY_TIMEOUT", "The time limit of a network call in seconds, unless its action sets another."),
    ] = 15.0
    threads: Annotated[
        Positive, Variable("SERVEY_THREADS", "The number of worker threads for actions that are plain functions.")
    ] = 40
    shutdown_timeout: Annotated[
        FiniteSeconds,
        Variable("SERVEY_SHUTDOWN_TIMEOUT", "The seconds that running calls get to finish when the service stops."),
    ] = 10.0
