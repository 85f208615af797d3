"""The calls of schedules that are due, until a queue takes them."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from servey.background_call.call import Call
from servey.background_call.last_run import schedule_of
from servey.errors import CallError
from servey.schedule.agenda import Agenda
from servey.schedule.schedule import LATENESS, Schedule

_log = logging.getLogger("servey.schedule")


class DueCalls:
    """The calls of schedules for a queue that may not take them at once.

    While the queue does not take calls, the latest one of each schedule waits, as long as it is within its grace.

    Args:
        schedules: The schedules.
        now: The time in Unix seconds.
        catches_up: As for `Agenda`.
    """

    def __init__(self, schedules: Sequence[Schedule], now: float, catches_up: bool = True) -> None:
        self._agenda = Agenda(schedules, now, catches_up)
        self._grace = {schedule.name: max(schedule.grace, LATENESS) for schedule in schedules}
        self._waiting: dict[str, Call] = {}
        self._is_failing = False

    def due(self, now: float) -> tuple[list[Call], float]:
        """Return the calls to put into the queue, and the seconds until the next look.

        Args:
            now: The time in Unix seconds.
        """
        for name, call in list(self._waiting.items()):
            if now - call.due > self._grace[name]:
                del self._waiting[name]
                _log.error("%s is not made: the queue has not taken it in time", call.id, extra={"action": call.action})
        calls, seconds = self._agenda.due(now)
        self._waiting |= {schedule_of(call): call for call in calls}
        return list(self._waiting.values()), seconds

    def taken(self) -> None:
        """Forget the calls, which the queue has taken."""
        self._waiting = {}
        if self._is_failing:
            self._is_failing = False
            _log.info("the queue takes the calls of schedules again")

    def not_taken(self, error: Exception) -> None:
        """Keep the calls for the next look, and log the error of the queue once."""
        if not isinstance(error, CallError):
            _log.error("the queue does not take calls of schedules, because of a defect", exc_info=error)
        elif not self._is_failing:
            _log.error("the calls of schedules wait until the queue takes them: %s", error)
        self._is_failing = True
