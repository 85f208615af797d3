"""The fixed-rate trigger: an action runs at a fixed interval."""

from __future__ import annotations

import math
from datetime import timedelta
from functools import cached_property

import msgspec

from servey.errors import DefinitionError
from servey.trigger.schedule_options import ScheduleOptions


class FixedRateTrigger(ScheduleOptions, frozen=True, dict=True):
    """Run an action at a fixed interval: at the multiples of the interval since 1970-01-01T00:00Z.

    So ``FixedRateTrigger(3600)`` runs at every full hour: the same times in all processes, and after a restart.

    Args:
        interval: The time between the starts of two runs, in seconds or as a `timedelta`; at least one second.
        params: The arguments of the calls, by name.
        grace: How late a missed call may begin when a server starts, in seconds, 0 to 43,200.
        jitter: The largest delay of a call in seconds, at most the interval.
        overlap: ``"skip"``: a call is skipped while the last one is running. ``"allow"``: it is not.

    Raises:
        DefinitionError: The interval is not a duration, or is shorter than a second; or an option is not valid.

    Example:
        >>> str(FixedRateTrigger(90))
        'every 0:01:30'
        >>> FixedRateTrigger(90).next_after(100.0)
        180.0
    """

    interval: timedelta | float

    def __post_init__(self) -> None:
        try:
            interval = self.interval if isinstance(self.interval, timedelta) else timedelta(seconds=self.interval)
        except (TypeError, ValueError, OverflowError) as error:  # text; not a number; too large for timedelta
            raise DefinitionError(
                f"{self.interval!r} is not an interval", fix="write seconds or a timedelta: FixedRateTrigger(60)"
            ) from error
        if interval < timedelta(seconds=1):
            raise DefinitionError(f"an interval of {interval} is too short", fix="give at least one second")
        msgspec.structs.force_setattr(self, "interval", interval)
        super().__post_init__()
        if self.jitter > interval.total_seconds():
            raise DefinitionError(
                f"jitter={self.jitter} is longer than the interval of {interval}",
                fix=f"write jitter={interval.total_seconds():g} or less",
            )

    def __str__(self) -> str:
        return f"every {self.interval}"

    def next_after(self, moment: float) -> float:
        """Return the first time that is later than `moment`, both in Unix seconds."""
        length = self._microseconds
        count = math.floor(moment * 1e6) // length
        found = count * length / 1e6
        while found <= moment:
            count += 1
            found = count * length / 1e6
        return found

    @cached_property
    def _microseconds(self) -> int:
        """The interval as an integer, so that rounding errors do not add up."""
        interval: timedelta = self.interval  # pyright: ignore[reportAssignmentType] - seconds are converted
        return interval // timedelta(microseconds=1)
