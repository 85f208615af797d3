"""`servey worker`, `servey beat` and `servey calls` with and without a broker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from servey import FixedRateTrigger
from servey.action.action import action
from servey.background_call.call import FailedCall
from servey.ports import CallQueue
from servey.servey_celery import programs
from servey.service import Service
from servey.settings import Settings

BROKER = "amqp://me:secret@host:5672/planets"
Servey = Callable[..., Any]


@action(triggers=(FixedRateTrigger(60),))
def tick() -> None: ...


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the programs of Celery are begun with, instead of a program that runs until a signal."""
    found: list[tuple[Any, ...]] = []
    monkeypatch.setattr(programs, "work", lambda service, pool, banner: found.append((service, pool, banner)))
    monkeypatch.setattr(programs, "beat", lambda service, banner: found.append((service, banner)))
    return found


def test_beat_without_a_broker_names_the_variable_and_what_runs_schedules_then(servey: Servey):
    done = servey("beat", actions=[tick])
    assert done.code == 78
    assert "CELERY_BROKER is not set" in done.err
    assert "`servey worker` run the schedules" in done.err


def test_a_pool_without_a_broker_is_an_error(servey: Servey):
    done = servey("worker", "--pool", "threads", actions=[tick])
    assert (done.code, done.err) == (78, "Error: --pool is for workers of Celery, and CELERY_BROKER is not set\n")


def test_another_pool_is_an_error(servey: Servey):
    done = servey("worker", "--pool", "gevent", actions=[tick], settings=Settings(broker=BROKER))
    assert done.code == 64
    assert "'prefork', 'threads', 'solo'" in done.err


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ((), "8 background calls at the same time (prefork)"),
        (("--pool", "threads"), "8 background calls at the same time (threads)"),
        (("--pool", "solo"), "1 background call at the same time (solo)"),
    ],
)
def test_a_worker_shows_its_mode_its_calls_its_pool_and_its_broker(
    servey: Servey, begun: list[tuple[Any, ...]], words: Sequence[str], shown: str
):
    assert servey("worker", *words, actions=[tick], settings=Settings(broker=BROKER)).code == 0
    [(_, pool, banner)] = begun
    assert pool == (words[-1] if words else "prefork")
    assert banner == [
        f"production: a worker makes {shown}, from amqp://…@host:5672/planets",
        "`servey beat` runs 1 schedule",
    ]


def test_beat_shows_its_mode_its_schedules_and_its_broker(servey: Servey, begun: list[tuple[Any, ...]]):
    broker = "redis://:secret@127.0.0.1"
    assert servey("beat", actions=[tick], settings=Settings(broker=broker)).code == 0
    [(_, [first, schedule])] = begun
    assert first == "development: the calls of 1 schedule go to redis://…@127.0.0.1"
    assert schedule.startswith("  every 0:01:00  tick  (next ")


class Queue:
    """A queue that cannot list its open calls."""

    is_durable = True
    carries_callers = True

    async def failed(self, limit: int, /) -> Sequence[FailedCall]:
        return ()


@pytest.mark.parametrize(
    ("words", "written"),
    [
        (
            (),
            "No call has failed.\n"
            "A broker does not list running and waiting calls. This asks its workers:\n"
            "celery -A servey.servey_celery.celery_app inspect active\n",
        ),
        (("--failed",), "No call has failed.\n"),
        (("--json",), ""),
    ],
)
def test_calls_of_a_broker_are_listed_as_far_as_it_can(
    servey: Servey, monkeypatch: pytest.MonkeyPatch, words: Sequence[str], written: str
):
    queue: CallQueue = Queue()  # type: ignore[assignment]
    monkeypatch.setattr("servey.servey_celery.plugin.CeleryPlugin.call_queue", lambda self, service: queue)
    done = servey("calls", *words, actions=[tick], settings=Settings(broker=BROKER))
    assert (done.code, done.err) == (0, written)


def test_a_broker_that_is_away_is_an_error_without_a_traceback(servey: Servey):
    done = servey("calls", actions=[tick], settings=Settings(broker="redis://:secret@127.0.0.1:1", queue_timeout=1))
    assert done.code == 69
    assert "the broker of background calls does not answer" in done.err
    assert "Traceback" not in done.err
    assert "secret" not in done.err


def test_services_for_workers_keep_the_settings(servey: Servey, begun: list[tuple[Any, ...]]):
    servey("worker", actions=[tick], settings=Settings(broker=BROKER, shutdown_timeout=3))
    service: Service = begun[0][0]
    assert service.settings.calls.shutdown_timeout == 3
