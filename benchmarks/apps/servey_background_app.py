"""The background calls in servey, and many schedules."""

import time
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import datetime
from typing import Any

from servey.action.action import action
from servey.action.current import CURRENT_CALL
from servey.background_call.background import background
from servey.service import Service
from servey.settings import Settings
from servey.trigger.fixed_rate_trigger import FixedRateTrigger


@action
async def nothing() -> None:
    pass


@action
def nothing_sync() -> None:
    pass


@action
def wait() -> None:
    time.sleep(0.005)


@action
async def submits() -> None:
    background.submit(nothing)


@action
def mark(path: str) -> None:
    """Add the time, as one line."""
    with open(path, "a") as file:
        file.write(f"{time.monotonic()}\n")


ACTIONS = (nothing, nothing_sync, wait, submits, mark)


def service(store: str) -> Service:
    """Return the service, with its calls in the file `store`."""
    return Service(ACTIONS, settings=Settings(store=store))


def scheduled(store: str, count: int, interval: float, late: list[float] | None = None) -> Service:
    """Return a service with that many schedules.

    Args:
        store: The file of its calls.
        count: The number of schedules, ten for each action.
        interval: Their interval in seconds.
        late: Gets the seconds that each call begins after it is due. Without it, no call is made.
    """

    def make(number: int) -> Any:
        @action(name=f"tick{number}", triggers=(FixedRateTrigger(interval),) * 10)
        async def tick() -> None:
            if late is not None:
                late.append(time.time() - _due(CURRENT_CALL.get().call_id))

        return tick

    service = Service([make(number) for number in range(count // 10)], settings=Settings(store=store))
    if late is None:
        service.stores.calls.consuming = _nobody
    return service


def _nobody(run: Any) -> AbstractAsyncContextManager[None]:
    return nullcontext()


def _due(call_id: str) -> float:
    return datetime.fromisoformat(call_id.rpartition("@")[2]).timestamp()
