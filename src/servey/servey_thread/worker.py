"""A process that makes background calls and runs schedules, without HTTP."""

from __future__ import annotations

import asyncio
import logging
import signal
from types import FrameType

from servey.errors import ServeyError
from servey.forced_exit import CLOSING_SECONDS, end_after
from servey.service import Service

_log = logging.getLogger("servey.worker")

EX_UNAVAILABLE = 69
"""The exit code (sysexits.h) of a worker that cannot start, because a resource cannot be opened."""


def work(service: Service) -> None:
    """Serve until Ctrl-C or SIGTERM; a second signal ends the process at once.

    Raises:
        SystemExit: The service cannot start.
    """
    try:
        asyncio.run(_Worker(service).run())
    except ServeyError as error:
        _log.error("%s", error)
        raise SystemExit(EX_UNAVAILABLE) from None


class _Worker:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._seconds = service.settings.calls.shutdown_timeout
        self._received = 0
        self._woken = asyncio.Event()

    async def run(self) -> None:
        self._loop = asyncio.get_running_loop()
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            async with self._service.serving():
                if not self._received:
                    _log.info("the worker runs; it stops at Ctrl-C or SIGTERM")
                await self._woken.wait()
                _log.info("stopping: running calls get %g s", self._seconds)
                self._service.stop_within(self._seconds)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        self._received += 1
        end_after(self._seconds + CLOSING_SECONDS if self._received == 1 else 0.0, number)
        self._loop.call_soon_threadsafe(self._woken.set)
