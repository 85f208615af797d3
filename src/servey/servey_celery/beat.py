"""The schedules of a service in ``celery beat``: it puts their calls into the broker when they are due.

It writes no file. The id of a call names its schedule and its time, and workers run an id once. So a second beat does
no harm.
"""

from __future__ import annotations

import logging
import time
from importlib import import_module
from typing import Any

from servey.schedule.due_calls import DueCalls

_Scheduler: Any = import_module("celery.beat").Scheduler

_log = logging.getLogger("servey.schedule")


class AgendaScheduler(_Scheduler):
    """A scheduler of Celery that asks the agenda.

    If the broker does not answer, the latest call of each schedule waits for it, within its grace.

    Args:
        app: The Celery app of `servey.servey_celery.app.create_celery`.
        args: The arguments of Celery's schedulers; there is no file.
        kwargs: The same, by name.
    """

    def __init__(self, app: Any, *args: Any, **kwargs: Any) -> None:
        self._queue, self._service = app.servey.queue, app.servey.service
        self._calls: DueCalls | None = None
        _Scheduler.__init__(self, app, *args, **kwargs)

    def setup_schedule(self) -> None:
        """Do nothing: the schedules are those of the service."""
        if self.app.conf.beat_schedule:
            _log.warning("beat_schedule is ignored: write @action(triggers=(CronTrigger(…),)) instead")

    def tick(self, *_: Any, **__: Any) -> float:
        """Put the calls that are due, and return the seconds until the next look."""
        now = time.time()
        if self._calls is None:
            self._calls = DueCalls(self._service.schedules, now)
        calls, seconds = self._calls.due(now)
        if not calls:
            return seconds
        try:
            self._queue.put_now(calls)
        except Exception as error:  # noqa: BLE001 - no error ends the schedules
            self._calls.not_taken(error)
        else:
            self._calls.taken()
        return max(0.0, seconds - (time.time() - now))

    def close(self) -> None:
        """Do nothing: a call that is not taken yet is made by the next start, within its grace."""

    @property
    def info(self) -> str:
        """What the start of ``celery beat`` shows of the scheduler."""
        return f"    . schedules -> {len(self._service.schedules)}"
