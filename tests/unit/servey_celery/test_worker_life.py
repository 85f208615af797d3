"""What happens when a worker of Celery starts, whatever program runs it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest

from servey.servey_celery import worker_life
from servey.servey_celery.app import create_celery
from servey.servey_celery.stop import HANDLED
from servey.service import Service
from servey.settings import Settings

_get_implementation: Any = import_module("celery.concurrency").get_implementation


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (*HANDLED, worker_life.GIVE_BACK)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def a_worker(pool: Any) -> Any:
    """Return what Celery has of a worker before it has a pool."""
    app = create_celery(Service([], settings=Settings(broker="redis://127.0.0.1:1", message_key="k" * 32)))
    return SimpleNamespace(app=app, pool_cls=pool, concurrency=8)


@pytest.mark.parametrize(("pool", "concurrency"), [("prefork", 8), ("processes", 8), ("threads", 8), ("solo", 1)])
@pytest.mark.parametrize("is_class", [False, True])
def test_the_pools_that_keep_the_promises_are_accepted(pool: str, concurrency: int, is_class: bool):
    worker = a_worker(_get_implementation(pool) if is_class else pool)
    worker_life._starting(worker)
    assert worker.concurrency == concurrency, "a pool that runs one call at a time takes one"


def test_another_pool_ends_the_worker_at_its_start_and_says_which_ones_there_are():
    with pytest.raises(SystemExit) as caught:
        worker_life._starting(a_worker("celery.concurrency.base:BasePool"))
    assert str(caught.value) == (
        "the pool of a worker of servey is one of prefork, threads, solo, not celery.concurrency.base"
    )


def test_a_new_process_ignores_the_signal_until_it_handles_it():
    worker_life._starting(a_worker("prefork"))
    assert signal.getsignal(worker_life.GIVE_BACK) is signal.SIG_IGN


def test_a_process_ignores_the_signals_of_its_worker_but_its_calls_can_end_programs(monkeypatch: pytest.MonkeyPatch):
    app = a_worker("prefork").app
    monkeypatch.setattr(worker_life, "celery", SimpleNamespace(current_app=app))
    before = [signal.getsignal(number) for number in HANDLED]
    worker_life._process_started()
    assert [signal.getsignal(number) for number in HANDLED] == before, "a worker that is its own process stops by them"
    monkeypatch.setattr(worker_life, "_current_process", lambda: SimpleNamespace(name="ForkPoolWorker-1"))
    worker_life._process_started()
    assert [signal.getsignal(number) for number in HANDLED] == [signal.SIG_IGN] * len(HANDLED)
    app.servey.process.before_open()
    os.kill(os.getpid(), signal.SIGTERM)
    with subprocess.Popen(["sleep", "60"]) as program:
        program.terminate()
        assert program.wait(30) == -signal.SIGTERM


def test_the_start_of_a_worker_or_a_beat_logs_the_warnings(caplog: pytest.LogCaptureFixture):
    worker = a_worker("solo")
    worker.app.servey.service = Service([], settings=Settings(broker="redis://127.0.0.1:1"))
    worker_life._starting(worker)
    worker_life._beat_starting(worker)
    assert [message.partition(",")[0] for message in caplog.messages] == ["no key signs background calls"] * 2


def test_workers_and_beats_of_other_apps_are_left_alone():
    other = SimpleNamespace(app=object(), pool_cls="gevent", concurrency=8)
    worker_life._starting(other)
    worker_life._beat_starting(other)
    worker_life._ready(SimpleNamespace(app=other.app, controller=None))
    assert other.concurrency == 8
