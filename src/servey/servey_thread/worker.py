"""A worker: a process that makes background calls and runs schedules, without HTTP."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from types import FrameType

from servey.errors import count_of
from servey.forced_exit import CLOSING_SECONDS, SAME_SECONDS, end_after
from servey.schedule.upcoming import schedule_lines
from servey.security.urls import shown_url
from servey.service import Service

_log = logging.getLogger("servey.worker")


def work(service: Service) -> None:
    """Make calls until Ctrl-C or SIGTERM; a second signal ends the process at once.

    Raises:
        SettingsError: ``SERVEY_STORE`` is not a place where servey can store calls.
        ResourceError: A resource of the service cannot be opened.
    """
    asyncio.run(_Worker(service).run())


class _Worker:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._seconds = service.settings.calls.shutdown_timeout
        self._stops_since: float | None = None
        self._woken = asyncio.Event()

    async def run(self) -> None:
        self._loop = asyncio.get_running_loop()
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            async with self._service.serving():
                for line in self._banner():
                    _log.info("%s", line)
                await self._woken.wait()
                _log.info("stopping: running calls get %g s", self._seconds)
                self._service.stop_within(self._seconds)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _banner(self) -> list[str]:
        settings = self._service.settings
        mode = "production" if settings.production else "development"
        count = count_of(settings.background.background_calls, "background call")
        first = f"{mode}: a worker makes {count} at the same time, from {shown_url(settings.background.store)}"
        if settings.background.store == "memory":
            first += ": no other process can submit calls to it"
        return [first, *schedule_lines(self._service.schedules)]

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._stops_since is None:
            self._stops_since = now
            end_after(self._seconds + CLOSING_SECONDS, number)
        elif now - self._stops_since >= SAME_SECONDS:
            end_after(0.0, number)
        self._loop.call_soon_threadsafe(self._woken.set)
