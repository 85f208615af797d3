"""The next calls of schedules, for listings and logs."""

from __future__ import annotations

import heapq
import logging
import math
import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, tzinfo
from itertools import islice, takewhile
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from servey.schedule.schedule import Schedule

_log = logging.getLogger("servey.schedule")


class Upcoming(msgspec.Struct, frozen=True):
    """A call that a schedule is going to make.

    Args:
        schedule: The schedule.
        occurrence: Its time, in Unix seconds.
        due: When the call begins, in Unix seconds: `occurrence` and its jitter.
        local: The occurrence in the time zone of the trigger; UTC if it has none.
        clock: ``"forward"`` if the clock goes forward at the occurrence: the run may be that of a skipped time.
            ``"back"`` if the clock shows the local time twice (`local.fold` is 1 for the second). Otherwise empty.
    """

    schedule: Schedule
    occurrence: float
    due: float
    local: datetime
    clock: Literal["", "forward", "back"]


def upcoming(
    schedules: Iterable[Schedule], start: float, end: float = math.inf, count: int | None = None
) -> Iterator[Upcoming]:
    """Yield the calls of all schedules in the order of their times.

    Args:
        schedules: The schedules. If a trigger fails, servey logs the error, and its schedule ends here.
        start: The calls are later than this time, in Unix seconds.
        end: The calls are not later than this time, in Unix seconds.
        count: The largest number of calls; None for all.
    """
    merged = heapq.merge(*(_calls(schedule, start) for schedule in schedules), key=lambda call: call.occurrence)
    return islice(takewhile(lambda call: call.occurrence <= end, merged), count)


def schedule_lines(schedules: Iterable[Schedule]) -> list[str]:
    """Return a line of each schedule for the log: its times, its action and its next run."""
    now = time.time()
    lines: list[str] = []
    for schedule in schedules:
        following = next(_calls(schedule, now), None)
        when = "no more runs" if following is None else f"next {following.local:%a %Y-%m-%d %H:%M:%S %Z}"
        lines.append(f"  {schedule.trigger}  {schedule.action}  ({when})")
    return lines


def _calls(schedule: Schedule, start: float) -> Iterator[Upcoming]:
    zone = _zone(schedule)
    try:
        for occurrence, following in schedule.occurrences(start):
            local = datetime.fromtimestamp(occurrence, zone)
            yield Upcoming(schedule, occurrence, schedule.due(occurrence, following), local, _clock(local))
    except Exception:  # noqa: BLE001 - the trigger of a user
        _log.exception("the schedule %s failed", schedule.name, extra={"action": schedule.action})


def _zone(schedule: Schedule) -> tzinfo:
    """Return the time zone of the trigger; UTC for a trigger without a known one."""
    try:
        return ZoneInfo(getattr(schedule.trigger, "timezone", "UTC"))
    except (TypeError, ValueError, OSError, KeyError):
        return ZoneInfo("UTC")


def _clock(local: datetime) -> Literal["", "forward", "back"]:
    if local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset():
        return "back"
    before = datetime.fromtimestamp(local.timestamp() - 1, local.tzinfo)
    return "forward" if local.replace(tzinfo=None) - before.replace(tzinfo=None) > timedelta(minutes=1) else ""
