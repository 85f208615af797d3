"""When workers are started; how they live and die is shown with real ones in tests/processes."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from servey.servey_uvicorn.graceful import Stop
from servey.servey_uvicorn.worker_supervisor import WorkerSupervisor


class Started(list[Any]):
    """Starts workers that are no processes, and has them."""

    signal_at = 0

    def __call__(self) -> Any:
        self.append(worker())
        if len(self) == self.signal_at:
            signal.raise_signal(signal.SIGTERM)
        return self[-1]


def worker() -> Any:
    return SimpleNamespace(
        process=SimpleNamespace(pid=1, exitcode=1),
        channel=SimpleNamespace(close=lambda: None),
        is_alive=True,
        began=time.monotonic(),
        heard=time.monotonic(),
        report=True,
        hear=lambda: None,
        how_it_ended=lambda: "ended with exit code 1",
    )


@pytest.fixture
def started() -> Started:
    return Started()


@pytest.fixture
def supervisor(started: Started) -> Iterator[WorkerSupervisor]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with socket.create_server(("127.0.0.1", 0)) as listening:
        supervisor = WorkerSupervisor(started, 8, listening, Stop())
        supervisor.handle_signals()
        supervisor.workers.append(started())
        yield supervisor
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_a_signal_is_obeyed_before_all_workers_are_started(supervisor: WorkerSupervisor, started: Started) -> None:
    started.signal_at = 3
    supervisor.look_after(time.monotonic())
    assert len(started) == 3
    supervisor.look_after(time.monotonic())
    assert len(started) == 3


def test_workers_that_die_together_have_failed_once(
    supervisor: WorkerSupervisor, started: Started, caplog: pytest.LogCaptureFixture
) -> None:
    supervisor.look_after(time.monotonic())
    assert len(started) == 8
    for pause in ("at once", "in 1 s", "in 2 s"):
        supervisor.workers[:] = [worker() for _ in range(8)]
        for each in supervisor.workers:
            each.is_alive = False
        caplog.clear()
        supervisor.look_after(time.monotonic())
        assert [record.getMessage().rpartition("another one starts ")[2] for record in caplog.records] == [pause] * 8
    assert len(started) == 16, "none starts during a pause"
