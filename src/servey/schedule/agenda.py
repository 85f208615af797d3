"""The agenda decides when a schedule makes a call, without a clock and without I/O."""

from __future__ import annotations

import heapq
import logging
import math
from collections.abc import Iterable

from servey.background_call.call import Call
from servey.schedule.schedule import LATENESS, Schedule

_log = logging.getLogger("servey.schedule")

LONGEST_WAIT = 1.0
"""The longest wait in seconds. After this time, the agenda notices a changed clock or a machine that was suspended."""

_CLOCK_BACK = 1.0
_PAUSE = 60.0
_Occurrence = tuple[float, float | None]


class Agenda:
    """The calls of schedules at their times.

    All processes with the same schedules make the same calls with the same ids, so a queue stores each call once.

    After a start or a gap (a suspended machine, a clock that is set forward), the agenda makes only the latest missed
    call of each schedule, and only within the schedule's grace. If the clock is set back, the agenda starts again at
    the new time. If a trigger fails, its schedule pauses for a minute.

    Args:
        schedules: The schedules.
        now: The time in Unix seconds.
        catches_up: Whether the agenda makes calls that were due before `now`, within their grace.
    """

    def __init__(self, schedules: Iterable[Schedule], now: float, catches_up: bool = True) -> None:
        self._now = now
        self._timelines = [_Timeline(schedule) for schedule in schedules]
        self._at: dict[float, list[_Timeline]] = {now: [*self._timelines]}
        """The schedules by the time of their next call. Many schedules can have the same time."""
        self._times = [now]
        """The keys of `_at`, as a heap."""
        if not catches_up:
            self._start(now)

    def due(self, now: float) -> tuple[list[Call], float]:
        """Return the calls that are due, each once, and the seconds to wait, at most `LONGEST_WAIT`.

        Args:
            now: The time in Unix seconds.
        """
        if now < self._now - _CLOCK_BACK:
            self._start(now)
        self._now = now
        calls: list[Call] = []
        while self._times and self._times[0] <= now:
            for timeline in self._at.pop(heapq.heappop(self._times)):
                self._add(timeline.take(now, calls), timeline)
        return calls, min(self._times[0] - now, LONGEST_WAIT) if self._times else LONGEST_WAIT

    def _start(self, now: float) -> None:
        """Begin with the calls that are due after `now`."""
        self._at, self._times = {}, []
        for timeline in self._timelines:
            self._add(timeline.start(now), timeline)

    def _add(self, time: float | None, timeline: _Timeline) -> None:
        if time is None:
            return
        timelines = self._at.get(time)
        if timelines is None:
            self._at[time] = [timeline]
            heapq.heappush(self._times, time)
        else:
            timelines.append(timeline)


class _Timeline:
    """The next call of one schedule."""

    __slots__ = ("_grace", "_last", "_next", "_schedule")

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._grace = max(schedule.grace, LATENESS)
        self._last = -math.inf
        self._next: _Occurrence | None = None
        """None at the beginning and after an error; `take` then finds it."""

    def start(self, now: float) -> float | None:
        """Skip to the first call that is due after `now`, and return its time; None for never."""
        self._last = -math.inf
        try:
            _, self._next = self._around(now, now - self._schedule.jitter)
            return self._when()
        except Exception:  # noqa: BLE001 - the trigger of a user
            return self._pause(now)

    def take(self, now: float, calls: list[Call]) -> float | None:
        """Add the call that is due, and return the time of the next one; None for never."""
        current = self._next
        try:
            if current is None:
                self._catch_up(now, self._schedule.grace, calls)
            elif current[1] is not None and current[1] <= now:
                self._catch_up(now, self._grace, calls)
            else:
                self._put(current, now, self._grace, calls)
                self._next = self._after(current)
            return self._when()
        except Exception:  # noqa: BLE001 - the trigger of a user
            return self._pause(now)

    def _when(self) -> float | None:
        return None if self._next is None else self._schedule.due(*self._next)

    def _put(self, occurrence: _Occurrence, now: float, latest: float, calls: list[Call]) -> None:
        """Add a call, unless it is late by more than `latest` seconds."""
        self._last = occurrence[0]
        call = self._schedule.call(*occurrence)
        if now - call.due <= latest:
            calls.append(call)

    def _catch_up(self, now: float, latest: float, calls: list[Call]) -> None:
        """Add the latest missed call, and find the first call that is due after `now`."""
        earliest = now - latest - self._schedule.jitter - 1  # so that a time at the limit is found
        passed, self._next = self._around(now, max(self._last, earliest))
        if passed is not None:
            self._put(passed, now, latest, calls)

    def _around(self, now: float, earliest: float) -> tuple[_Occurrence | None, _Occurrence | None]:
        """Return the last occurrence after `earliest` that is due, and the first one that is due after `now`."""
        first = self._first(earliest)
        width = 1.0
        while self._is_due(first, now) and now - width > earliest:
            later = self._first(now - width)  # for most schedules, a short search is enough
            if self._is_due(later, now):
                first = later
                break
            width *= 8
        passed: _Occurrence | None = None
        while first is not None and self._is_due(first, now):
            passed = first
            first = self._after(passed)
        return passed, first

    def _after(self, occurrence: _Occurrence) -> _Occurrence | None:
        following = occurrence[1]
        return None if following is None else (following, self._schedule.next_after(following))

    def _first(self, moment: float) -> _Occurrence | None:
        return next(self._schedule.occurrences(moment), None)

    def _is_due(self, occurrence: _Occurrence | None, now: float) -> bool:
        return occurrence is not None and self._schedule.due(*occurrence) <= now

    def _pause(self, now: float) -> float:
        """Log the current exception, and return the time of the next attempt."""
        self._next = None
        _log.exception(
            "the schedule %s failed; the next attempt is in %d seconds",
            self._schedule.name,
            _PAUSE,
            extra={"action": self._schedule.action},
        )
        return now + _PAUSE
