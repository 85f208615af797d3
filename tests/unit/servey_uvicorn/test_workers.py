"""When workers are started; how they live and die is shown with real ones in tests/processes."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn

from servey.servey_starlette.app import create_app
from servey.servey_uvicorn.workers import Workers
from servey.settings import Settings


class Recorded(Workers):
    """Starts workers that are no processes."""

    started = 0
    signal_at = 0

    def _worker(self) -> Any:
        self.started += 1
        if self.started == self.signal_at:
            signal.raise_signal(signal.SIGTERM)
        return worker(alive=True)


def worker(*, alive: bool) -> Any:
    return SimpleNamespace(
        process=SimpleNamespace(is_alive=lambda: alive),
        began=time.monotonic(),
        heard=time.monotonic(),
        asked=False,
        serves=False,
        hear=lambda: None,
        exitcode=1,
        pid=1,
    )


@pytest.fixture
def workers() -> Iterator[Recorded]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGQUIT)
    handlers = {number: signal.getsignal(number) for number in numbers}
    with socket.socket() as listening:
        config = uvicorn.Config("", workers=8, log_config=None, forwarded_allow_ips=[])
        made = Recorded(config, listening, Settings(workers=8), create_app)
        made._has_served = True
        yield made
    signal.set_wakeup_fd(-1)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    for end in (made._woken, made._wakes, made._lifeline, made._holds):
        end.close()


def test_a_signal_is_obeyed_before_all_workers_are_started(workers: Recorded) -> None:
    workers.signal_at = 3
    workers.keep_subprocess_alive()
    assert workers.started == 3
    workers.handle_signals()
    workers.keep_subprocess_alive()
    assert workers.should_exit.is_set()
    assert workers.started == 3


def test_workers_that_die_together_have_failed_once(workers: Recorded, caplog: pytest.LogCaptureFixture) -> None:
    for pause in ("at once", "in 1 s", "in 2 s"):
        workers.processes = [worker(alive=False) for _ in range(8)]
        caplog.clear()
        workers.keep_subprocess_alive()
        assert [record.getMessage().rpartition("another one starts ")[2] for record in caplog.records] == [pause] * 8
    assert workers.started == 8
