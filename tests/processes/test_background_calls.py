"""Background calls in real processes: nothing is lost by SIGKILL, and a stop ends in time."""

from __future__ import annotations

import asyncio
import itertools
import random
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from servey import background
from servey.action.action import action
from servey.service import Service
from servey.settings import Settings
from support.length import length

from .conftest import BOUND, ServerProcess, until

ACTIONS = """
import os
import sqlite3
import threading
import time

from servey import WEB_POST, CallContext, FixedRateTrigger, background
from servey.action.action import action
from servey.servey_thread.plugin import ThreadPlugin

local = threading.local()


class ShortLease(ThreadPlugin):
    def __init__(self) -> None:
        super().__init__(lease=1.0)


def database() -> sqlite3.Connection:
    if not hasattr(local, "database"):
        local.database = sqlite3.connect("effects.db", timeout=60, isolation_level=None)
        local.database.execute("PRAGMA synchronous = OFF")
    return local.database


@action
def mark(number: int, context: CallContext) -> None:
    database().execute("INSERT INTO runs VALUES (?, ?)", (number, os.getpid()))
    time.sleep(0.002)
    database().execute("INSERT OR IGNORE INTO effects VALUES (?, ?)", (context.call_id, number))


@action
def sleep(seconds: float) -> None:
    database().execute("INSERT INTO runs VALUES (?, ?)", (0, os.getpid()))
    time.sleep(seconds)

"""

ORDERS = f"""{ACTIONS}

@action(triggers=(WEB_POST,))
def order(number: int) -> int:
    background.submit(mark, number=number)
    return number


@action(triggers=(FixedRateTrigger(1),))
async def tick() -> None:
    background.submit(mark, number=-1)
"""


@action
def mark(number: int) -> None: ...


@action
def sleep(seconds: float) -> None: ...


class Effects:
    """The database that the calls write to, and the queue that they come from."""

    def __init__(self, directory: Path) -> None:
        self._store = str(directory / ".servey" / "store.db")
        self._database = sqlite3.connect(directory / "effects.db", isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("CREATE TABLE runs (number INTEGER, pid INTEGER)")
        self._database.execute("CREATE TABLE effects (key TEXT PRIMARY KEY, number INTEGER)")

    def submit(self, numbers: Sequence[int]) -> None:
        service = Service([mark, sleep], settings=Settings(store=self._store))

        async def submit() -> None:
            async with service.running():
                for start in range(0, len(numbers), 100):
                    part = numbers[start : start + 100]
                    await asyncio.gather(*(background.asubmit(mark, number=number) for number in part))

        asyncio.run(submit())

    def submit_sleep(self, seconds: float) -> None:
        service = Service([mark, sleep], settings=Settings(store=self._store))

        async def submit() -> None:
            async with service.running():
                await background.asubmit(sleep, seconds=seconds)

        asyncio.run(submit())

    def open_calls(self) -> int:
        service = Service([mark, sleep], settings=Settings(store=self._store))

        async def count() -> int:
            async with service.running():
                return len(await service.stores.calls.open_calls(100_000))

        return asyncio.run(count())

    def runs(self) -> Counter[int]:
        return Counter(number for (number,) in self._database.execute("SELECT number FROM runs"))

    def run_count(self, pid: int) -> int:
        return self._database.execute("SELECT count(*) FROM runs WHERE pid = ?", (pid,)).fetchone()[0]

    def numbers(self) -> list[int]:
        return sorted(number for (number,) in self._database.execute("SELECT number FROM effects"))

    def close(self) -> None:
        self._database.close()


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
