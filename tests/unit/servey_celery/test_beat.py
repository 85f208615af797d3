"""`celery beat` puts the calls of the agenda, with a clock that the test sets."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from servey import CronTrigger, FixedRateTrigger
from servey.action.action import action
from servey.background_call.call import Call
from servey.errors import OverloadedError
from servey.servey_celery import beat
from servey.servey_celery.app import create_celery
from servey.servey_celery.beat import AgendaScheduler
from servey.service import Service
from servey.settings import Settings
from support.dst import ROWS, Row

START = 1_800_000_000.0  # 2027-01-15T08:00:00Z, a multiple of 3600


class Broker:
    """Takes calls, while it is not away."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.is_away = False

    def put_now(self, calls: Sequence[Call]) -> None:
        if self.is_away:
            raise OverloadedError("the broker is away")
        self.calls += calls


class Beat:
    """A beat of a service with one action, whose clock the test sets.

    Args:
        trigger: The schedule of the action.
        options: The arguments that `celery beat` gives to a scheduler.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, trigger: Any, **options: Any) -> None:
        @action(triggers=(trigger,))
        def act() -> None: ...

        self.broker, self._monkeypatch = Broker(), monkeypatch
        app = create_celery(Service([act], settings=Settings(broker="redis://127.0.0.1:1")))
        app.servey.queue = self.broker
        self.scheduler = AgendaScheduler(app=app, **options)

    def tick(self, now: float) -> float:
        with self._monkeypatch.context() as patched:
            patched.setattr(beat.time, "time", lambda: now)
            return self.scheduler.tick()

    def run(self, looks: Iterator[float]) -> tuple[float, ...]:
        """Return the times of the calls of many ticks."""
        for now in looks:
            assert 0.0 <= self.tick(now) <= 1.0
        return tuple(call.due for call in self.broker.calls)


@pytest.fixture
def beat_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Beat]:
    return lambda trigger, **options: Beat(monkeypatch, trigger, **options)


@pytest.mark.parametrize("row", ROWS, ids=[row.label for row in ROWS])
def test_beat_puts_the_calls_of_the_table(beat_of: Callable[..., Beat], row: Row):
    running = beat_of(row.trigger)
    found = running.run(map(float, range(int(row.start), int(row.end) + 1, 60)))
    assert tuple(time for time in found if time > row.start) == row.times


def test_a_clock_that_is_set_back_makes_no_new_calls(beat_of: Callable[..., Beat]):
    running = beat_of(FixedRateTrigger(60))
    before = running.run(iter([START, START + 60, START + 120]))
    running.run(iter([START + 30, START + 60, START + 120, START + 180]))
    ids = [call.id for call in running.broker.calls]
    assert set(ids[: len(before)]) | {ids[-1]} == set(ids), "no time has two ids"


def test_the_calls_of_two_beats_have_the_same_ids(beat_of: Callable[..., Beat]):
    first, second = beat_of(FixedRateTrigger(7, jitter=3)), beat_of(FixedRateTrigger(7, jitter=3))
    first.run(START + tenth / 10 for tenth in (*range(0, 1000, 3), 1000))
    second.run(START + tenth / 10 for tenth in (*range(0, 1000, 7), 1000))
    ids = [[call.id for call in running.broker.calls] for running in (first, second)]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == len(ids[0]) >= 100 // 7


def test_beat_waits_for_the_broker_and_puts_the_latest_call(
    beat_of: Callable[..., Beat], caplog: pytest.LogCaptureFixture
):
    running = beat_of(FixedRateTrigger(10))
    running.broker.is_away = True
    running.run(START + second for second in range(35))
    assert running.broker.calls == []
    running.broker.is_away = False
    assert running.run(iter([START + 35])) == (START + 30,)
    assert [record.message for record in caplog.records if record.levelno > logging.INFO] == [
        "the calls of schedules wait until the queue takes them: the broker is away"
    ]


def test_a_call_that_is_too_late_for_the_broker_is_not_put(beat_of: Callable[..., Beat]):
    running = beat_of(CronTrigger("0 8 * * *", grace=60))
    running.broker.is_away = True
    running.run(START + second for second in range(61))
    running.broker.is_away = False
    assert running.run(iter([START + 61, START + 3600])) == ()


def test_an_unexpected_error_does_not_end_beat(beat_of: Callable[..., Beat], monkeypatch: pytest.MonkeyPatch):
    running = beat_of(FixedRateTrigger(10))
    with monkeypatch.context() as patched:
        patched.setattr(running.broker, "put_now", lambda calls: 1 / 0)
        running.run(iter([START]))
    assert running.run(iter([START + 1])) == (START,)


def test_a_missed_call_follows_within_its_grace_when_beat_starts(beat_of: Callable[..., Beat]):
    assert beat_of(CronTrigger("0 8 * * *", grace=60)).run(iter([START + 59])) == (START,)
    assert beat_of(CronTrigger("0 8 * * *", grace=60)).run(iter([START + 61])) == ()


def test_beat_writes_no_file_of_schedules(beat_of: Callable[..., Beat], tmp_path: Path):
    running = beat_of(FixedRateTrigger(10), schedule_filename=str(tmp_path / "schedule"))
    running.run(iter([START]))
    running.scheduler.close()
    assert list(tmp_path.iterdir()) == []


def test_schedules_in_the_configuration_of_celery_are_not_ignored_silently(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    app = create_celery(Service([], settings=Settings(broker="redis://127.0.0.1:1")))
    app.conf.beat_schedule = {"other": {"task": "act", "schedule": 10}}
    AgendaScheduler(app=app, lazy=True)
    assert caplog.messages == []
    AgendaScheduler(app=app)
    [message] = caplog.messages
    assert "beat_schedule is ignored" in message


def test_what_celery_shows_of_the_scheduler_is_the_number_of_schedules(beat_of: Callable[..., Beat]):
    assert beat_of(FixedRateTrigger(10), lazy=True).scheduler.info == "    . schedules -> 1"
