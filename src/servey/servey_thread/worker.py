"""A worker: a process that makes background calls and runs schedules, without HTTP."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Sequence
from types import FrameType

from servey.forced_exit import CLOSING_SECONDS, SAME_SECONDS, end_after
from servey.service import Service

_log = logging.getLogger("servey.worker")


def work(service: Service, banner: Sequence[str] = ()) -> None:
    """Make calls until Ctrl-C or SIGTERM; a second signal ends the process at once.

    Args:
        service: The service.
        banner: The first lines of the log.

    Raises:
        SettingsError: ``SERVEY_STORE`` is not a place where servey can store calls.
        ResourceError: A resource of the service cannot be opened.
    """
    asyncio.run(_Worker(service, banner).run())


class _Worker:
    def __init__(self, service: Service, banner: Sequence[str]) -> None:
        self._service, self._banner = service, banner
        self._seconds = service.settings.calls.shutdown_timeout
        self._stops_since: float | None = None
        self._woken = asyncio.Event()

    async def run(self) -> None:
        self._loop = asyncio.get_running_loop()
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            async with self._service.serving():
                for line in self._banner:
                    _log.info("%s", line)
                await self._woken.wait()
                _log.info("stopping: running calls get %g s", self._seconds)
                self._service.stop_within(self._seconds)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._stops_since is None:
            self._stops_since = now
            end_after(self._seconds + CLOSING_SECONDS, number)
        elif now - self._stops_since >= SAME_SECONDS:
            end_after(0.0, number)
        self._loop.call_soon_threadsafe(self._woken.set)
