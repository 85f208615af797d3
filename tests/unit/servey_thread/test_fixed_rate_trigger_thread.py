"""Schedules in a running thread, with a clock that the test sets."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from servey import CallContext, FixedRateTrigger, background
from servey.action.action import action
from servey.errors import NoServiceError
from servey.schedule import agenda
from servey.schedule.schedule import schedules_of
from servey.servey_thread.fixed_rate_trigger_thread import FixedRateTriggerThread
from servey.service import Service
from servey.settings import Settings
from support.dst import ROWS, Row

BOUND = 30.0


class Clock:
    """The wall clock of schedules, and the calls that have run."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.ran: list[str] = []
        self._changed = threading.Condition()

    def time(self) -> float:
        return self.now

    def add(self, call_id: str) -> None:
        with self._changed:
            self.ran.append(call_id)
            self._changed.notify_all()

    def wait_for(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.ran) >= count, BOUND), f"{count} runs, not {self.ran}"


@pytest.fixture
def clock_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], Clock]:
    """Sets the clock of everything but the event loop."""

    def make(now: float) -> Clock:
        clock = Clock(now)
        monkeypatch.setattr(time, "time", clock.time)
        monkeypatch.setattr(agenda, "LONGEST_WAIT", 0.001)
        return clock

    return make


def service_of(clock: Clock, trigger: Any) -> Service:
    @action(triggers=(trigger,))
    async def tick(context: CallContext) -> None:
        clock.add(context.call_id)

    return Service([tick], settings=Settings(store="memory"))


def id_of(service: Service, trigger: Any, moment: float) -> str:
    [schedule] = schedules_of([(service.operations["tick"], trigger)])
    return schedule.id_of(moment)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.label)
def test_each_time_runs_once_whatever_the_clocks_do(row: Row, clock_of: Callable[[float], Clock]) -> None:
    clock = clock_of(row.start)
    service = service_of(clock, row.trigger)
    thread = FixedRateTriggerThread(service)
    thread.start()
    try:
        for number, moment in enumerate(row.times):
            clock.now = moment - 0.5
            time.sleep(0.005)
            assert len(clock.ran) == number, "nothing runs before its time"
            clock.now = moment
            clock.wait_for(number + 1)
        clock.now = row.end
        time.sleep(0.005)
    finally:
        thread.stop()
    assert clock.ran == [id_of(service, row.trigger, moment) for moment in row.times]


def test_a_clock_that_goes_back_repeats_no_run(clock_of: Callable[[float], Clock]) -> None:
    clock = clock_of(1_800_000_000.0)
    trigger = FixedRateTrigger(60)
    service = service_of(clock, trigger)
    thread = FixedRateTriggerThread(service)
    thread.start()
    try:
        clock.now += 60
        clock.wait_for(1)
        clock.now -= 3600
        time.sleep(0.01)
        clock.now += 60  # a time that has not run yet
        clock.wait_for(2)
        clock.now += 3540  # the time that has run already
        time.sleep(0.05)
        clock.now += 60
        clock.wait_for(3)
    finally:
        thread.stop()
    assert len(clock.ran) == len(set(clock.ran)) == 3


def test_it_can_be_started_and_stopped_again() -> None:
    ran = threading.Event()

    @action(triggers=(FixedRateTrigger(1),))
    def tick() -> None:
        ran.set()

    thread = FixedRateTriggerThread(Service([tick], settings=Settings(store="memory")))
    thread.stop()
    for _ in range(2):
        thread.start()
        thread.start()
        assert ran.wait(BOUND)
        thread.stop()
        thread.stop()
        ran.clear()
    assert not [item for item in threading.enumerate() if item.name == "servey-portal"]


def test_schedules_that_fail_hang_or_block_do_not_stop_the_others() -> None:
    ran: list[str] = []
    enough = threading.Event()

    @action(triggers=(FixedRateTrigger(1),))
    async def tick(context: CallContext) -> None:
        ran.append(context.call_id)
        if len(ran) == 3:
            enough.set()

    @action(triggers=(FixedRateTrigger(1),))
    async def fails() -> None:
        raise SystemExit("no")

    @action(triggers=(FixedRateTrigger(1, overlap="allow"),), timeout=0.1)
    async def hangs() -> None:
        await asyncio.sleep(60)

    @action(triggers=(FixedRateTrigger(1),), timeout=0.1)
    def hangs_in_a_thread() -> None:
        enough.wait(BOUND)

    @action(triggers=(FixedRateTrigger(2),))
    async def blocks() -> None:
        time.sleep(0.3)  # noqa: ASYNC251

    actions = [tick, fails, hangs, hangs_in_a_thread, blocks]
    thread = FixedRateTriggerThread(Service(actions, settings=Settings(store="memory", background_calls=2)))
    thread.start()
    try:
        assert enough.wait(BOUND)
    finally:
        thread.stop()
    assert len(ran) == len(set(ran))


def test_the_program_can_submit_calls_while_the_thread_runs() -> None:
    ran = threading.Event()

    @action
    def work() -> None:
        ran.set()

    with FixedRateTriggerThread(Service([work], settings=Settings(store="memory"))):
        background.submit(work)
        assert ran.wait(BOUND)
    with pytest.raises(NoServiceError):
        background.submit(work)
