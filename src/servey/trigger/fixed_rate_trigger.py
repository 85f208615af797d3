"""The fixed-rate trigger: an action runs at a fixed interval."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from servey.errors import DefinitionError


class FixedRateTrigger(msgspec.Struct, frozen=True):
    """Run an action without required arguments at a fixed interval.

    Args:
        interval: The time between the starts of two runs, in seconds or as a `timedelta`; at least one second.

    Raises:
        DefinitionError: The interval is not a duration, or is shorter than a second.

    Example:
        >>> str(FixedRateTrigger(90))
        'every 0:01:30'
    """

    interval: timedelta | float

    def __post_init__(self) -> None:
        try:
            interval = self.interval if isinstance(self.interval, timedelta) else timedelta(seconds=self.interval)
        except (TypeError, ValueError, OverflowError) as error:  # text; not a number; too large for timedelta
            raise DefinitionError(f"{self.interval!r} is not an interval", fix="give seconds or a timedelta") from error
        if interval < timedelta(seconds=1):
            raise DefinitionError(f"an interval of {interval} is too short", fix="give at least one second")
        msgspec.structs.force_setattr(self, "interval", interval)

    def __str__(self) -> str:
        return f"every {self.interval}"
