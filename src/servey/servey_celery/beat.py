"""The schedules of a service in ``celery beat``: it puts their calls into the broker when they are due.

It keeps no file. The id of a call names its schedule and its time, and workers run an id once, so a second beat does no
harm.
"""

from __future__ import annotations

import time
from importlib import import_module
from typing import Any

from servey.schedule.agenda import Agenda
from servey.schedule.due_calls import DueCalls

_Scheduler: Any = import_module("celery.beat").Scheduler


class AgendaScheduler(_Scheduler):
    """A scheduler of Celery that asks the agenda. While the broker is away, it waits; then it puts what is not late."""

    def __init__(self, app: Any, *args: Any, **kwargs: Any) -> None:
        self._queue, self._service = app.servey.queue, app.servey.service
        self._due: DueCalls | None = None
        _Scheduler.__init__(self, app, *args, **kwargs)

    def setup_schedule(self) -> None:
        """Do nothing: the schedules are those of the service."""

    def tick(self, *_: Any, **__: Any) -> float:
        """Put the calls that are due, and return the seconds until the next look."""
        now = time.time()
        if self._due is None:
            self._due = DueCalls(Agenda(self._service.schedules, now))
        calls, seconds = self._due.due(now)
        if calls:
            try:
                self._queue.put_now(calls)
            except Exception as error:  # noqa: BLE001 - no error ends the schedules
                self._due.not_taken(error)
            else:
                self._due.taken()
        return seconds

    @property
    def info(self) -> str:
        """What the start of ``celery beat`` shows of the scheduler."""
        return f"    . schedules -> {len(self._service.schedules)}"
