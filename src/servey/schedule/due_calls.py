"""The calls of schedules that are due, until a queue takes them."""

from __future__ import annotations

import logging
import time

from servey.background_call.call import Call
from servey.errors import CallError
from servey.schedule.agenda import Agenda

_log = logging.getLogger("servey.schedule")


class DueCalls:
    """The calls of an agenda for a queue, which may not take them at once.

    Args:
        agenda: The agenda.
    """

    def __init__(self, agenda: Agenda) -> None:
        self._agenda = agenda
        self._waiting: list[Call] = []

    def due(self, now: float) -> tuple[list[Call], float]:
        """Return the calls to put into the queue, and the seconds until the next look.

        Args:
            now: The time in Unix seconds.
        """
        calls, seconds = self._agenda.due(now)
        self._waiting += calls
        return self._waiting, seconds

    def taken(self) -> None:
        """Forget the calls, which the queue has taken."""
        self._waiting = []

    def not_taken(self, error: BaseException) -> None:
        """Keep the calls that are not late for the next look, and log the error of the queue."""
        calls, now = self._waiting, time.time()
        self._waiting = [call for call in calls if call.expires is None or call.expires > now]
        if not isinstance(error, CallError):
            _log.error("the queue does not take calls of schedules, because of a defect", exc_info=error)
        _log.error(
            "%d calls of schedules wait until the queue takes them, %d are late: %s",
            len(self._waiting),
            len(calls) - len(self._waiting),
            error,
        )
