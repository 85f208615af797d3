"""Background calls in real processes: nothing is lost by SIGKILL, and a stop ends in time."""

from __future__ import annotations

import itertools
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from support.length import length

from .conftest import BOUND, ServerProcess, until
from .effects import ACTIONS, Effects

ORDERS = f"""{ACTIONS}

@action(triggers=(WEB_POST,))
def order(number: int) -> int:
    background.submit(mark, number=number)
    return number


@action(triggers=(FixedRateTrigger(1),))
async def tick() -> None:
    background.submit(mark, number=-1)
"""


@pytest.fixture
def effects(tmp_path: Path):
    effects = Effects(tmp_path)
    yield effects
    effects.close()


@pytest.mark.long
def test_no_call_is_lost_when_workers_are_killed(start: Callable[..., ServerProcess], effects: Effects) -> None:
    most, kills, at_once = length(800, 6000), length(4, 24), 8

    def worker() -> ServerProcess:
        variables = {"SERVEY_PLUGINS": "actions:ShortLease", "SERVEY_BACKGROUND_CALLS": str(at_once)}
        return start(ACTIONS, command="worker", **variables)

    effects.submit(range(most))
    workers = [worker(), worker()]
    for number in range(kills):
        victim = workers[number % 2]
        pid = victim.process.pid
        until(lambda pid=pid: effects.run_count(pid) or not effects.open_calls(), "the worker runs calls")
        time.sleep(random.uniform(0, 0.05))
        victim.signal(signal.SIGKILL)
        workers[number % 2] = worker()
    until(lambda: len(effects.numbers()) == most, "all calls have run")
    until(lambda: not effects.open_calls(), "the queue is empty")
    assert effects.numbers() == list(range(most)), "each effect once"
    twice = [number for number, count in effects.runs().items() if count > 1]
    assert len(twice) <= kills * at_once, "only calls that ran when a process was killed run again"
    for worker_left in workers:
        worker_left.wait_for("a worker makes")  # before, a signal has its default effect
        worker_left.signal(signal.SIGTERM)
        assert worker_left.wait() == 0


def test_a_stop_ends_in_time_and_gives_long_calls_back(start: Callable[..., ServerProcess], effects: Effects) -> None:
    effects.submit_sleep(60.0)
    worker = start(ACTIONS, command="worker", SERVEY_SHUTDOWN_TIMEOUT="1")
    until(effects.runs, "the call runs")
    effects.submit(range(50))
    until(lambda: len(effects.numbers()) == 50, "short calls run beside it")
    began = time.monotonic()
    worker.signal(signal.SIGTERM)
    worker.wait()
    assert time.monotonic() - began < 1 + 2 + 5
    assert effects.open_calls() == 1, "the long call waits for another process"


def test_a_stop_under_load_loses_no_call_that_was_accepted(
    start: Callable[..., ServerProcess], effects: Effects
) -> None:
    effects.submit_sleep(60.0)
    server = start(ORDERS, "--no-reload", SERVEY_SHUTDOWN_TIMEOUT="2", SERVEY_PLUGINS="actions:ShortLease")
    base = f"http://127.0.0.1:{server.port}/actions/order"
    accepted: list[int] = []
    numbers = itertools.count(1).__next__

    def send() -> None:
        with httpx.Client(timeout=BOUND) as client, suppress(httpx.TransportError):
            while True:
                answer = client.post(base, json={"number": numbers()})
                if answer.status_code == 200:
                    accepted.append(answer.json())

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: len(accepted) > 100 and effects.runs()[0], "requests and the long call run")
    began = time.monotonic()
    server.signal(signal.SIGTERM)
    server.wait()
    assert time.monotonic() - began < 2 + 2 + 5
    for thread in threads:
        thread.join(BOUND)
    worker = start(ORDERS, command="worker", SERVEY_PLUGINS="actions:ShortLease", SERVEY_SHUTDOWN_TIMEOUT="1")
    until(lambda: set(accepted) <= set(effects.numbers()), "each accepted call has run")
    until(lambda: effects.runs()[0] == 2, "the long call runs again")
    worker.signal(signal.SIGTERM)
    worker.wait()
