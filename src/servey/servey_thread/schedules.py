"""Put the calls of schedules into the queue when they are due. Every server and worker does this.

The id of a call names its schedule and its time, and a queue ignores known ids. So there are no elections and no locks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from servey.background_call.call import Call
from servey.ports import CallQueue
from servey.schedule.due_calls import DueCalls
from servey.service import Service


@asynccontextmanager
async def run_schedules(service: Service) -> AsyncGenerator[None]:
    """Put the calls of the schedules of a service into the queue, until the service begins to stop."""
    if not service.schedules:
        yield
        return
    queue = service.stores.calls
    due = DueCalls(service.schedules, time.time(), catches_up=queue.is_durable)
    putting = asyncio.create_task(_put_all(service, queue, due))
    try:
        yield
    finally:
        putting.cancel()
        await asyncio.wait((putting,))


async def _put_all(service: Service, queue: CallQueue, due: DueCalls) -> None:
    stopping = asyncio.create_task(service.until_stopping())
    try:
        while not service.stopping:
            calls, seconds = due.due(time.time())
            if calls:
                await _put(queue, calls, due)
            await asyncio.wait((stopping,), timeout=seconds)
    finally:
        stopping.cancel()


async def _put(queue: CallQueue, calls: list[Call], due: DueCalls) -> None:
    try:
        await queue.put(calls)
    except Exception as error:  # noqa: BLE001 - no error ends the schedules
        due.not_taken(error)
    else:
        due.taken()
