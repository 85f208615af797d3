"""Put the calls of schedules into the queue when they are due. Every server and worker does this.

The id of a call names its schedule and its time, and a queue ignores known ids. So there are no elections and no locks.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from servey.background_call.call import Call
from servey.errors import CallError
from servey.ports import CallQueue
from servey.schedule.agenda import Agenda
from servey.service import Service

_log = logging.getLogger("servey.schedule")


@asynccontextmanager
async def run_schedules(service: Service) -> AsyncGenerator[None]:
    """Put the calls of the schedules of a service into the queue, until the service begins to stop."""
    if not service.schedules:
        yield
        return
    queue = service.stores.calls
    agenda = Agenda(service.schedules, time.time(), catches_up=queue.is_durable)
    putting = asyncio.create_task(_put_all(service, queue, agenda))
    try:
        yield
    finally:
        putting.cancel()
        await asyncio.wait((putting,))


async def _put_all(service: Service, queue: CallQueue, agenda: Agenda) -> None:
    stopping = asyncio.create_task(service.until_stopping())
    waiting: list[Call] = []
    try:
        while not service.stopping:
            calls, seconds = agenda.due(time.time())
            waiting += calls
            if waiting:
                waiting = await _put(queue, waiting)
            await asyncio.wait((stopping,), timeout=seconds)
    finally:
        stopping.cancel()


async def _put(queue: CallQueue, calls: list[Call]) -> list[Call]:
    """Put calls into the queue. If the queue does not take them, return those that are not late; they are put again."""
    try:
        await queue.put(calls)
    except Exception as error:  # noqa: BLE001 - no error ends the schedules
        if not isinstance(error, CallError):
            _log.exception("the queue does not take calls of schedules, because of a defect")
        now = time.time()
        left = [call for call in calls if call.expires is None or call.expires > now]
        _log.error(
            "%d calls of schedules wait until the queue takes them, %d are late: %s",
            len(left),
            len(calls) - len(left),
            error,
        )
        return left
    return []
