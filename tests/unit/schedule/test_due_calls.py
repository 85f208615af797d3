"""The calls of schedules wait until a queue takes them."""

import logging
from typing import Any

import msgspec
import pytest

from servey.errors import OverloadedError
from servey.schedule.due_calls import DueCalls
from servey.schedule.schedule import Schedule
from servey.trigger.fixed_rate_trigger import FixedRateTrigger

START = 1_800_000_000.0  # 2027-01-15T08:00:00Z, a multiple of 3600


def every(seconds: float, name: str = "a", **values: Any) -> Schedule:
    trigger = FixedRateTrigger(seconds)
    return Schedule(name=f"{name}:{trigger}", action=name, trigger=trigger, arguments=msgspec.Raw(b"{}"), **values)


def times(calls: DueCalls, now: float) -> list[tuple[str, float]]:
    return [(call.action, call.due - START) for call in calls.due(START + now)[0]]


def test_a_call_is_returned_until_it_is_taken():
    calls = DueCalls([every(60)], START - 1, catches_up=False)
    assert times(calls, -1) == []
    assert times(calls, 0) == [("a", 0)]
    calls.not_taken(OverloadedError("away"))
    assert times(calls, 1) == [("a", 0)]
    calls.taken()
    assert times(calls, 2) == []
    assert times(calls, 60) == [("a", 60)]


def test_of_each_schedule_the_latest_call_waits():
    calls = DueCalls([every(10, "a"), every(25, "b")], START - 1)
    for now in range(60):
        found = times(calls, now)
        calls.not_taken(OverloadedError("away"))
    assert found == [("a", 50), ("b", 50)]


@pytest.mark.parametrize(("grace", "longest"), [(0.0, 5), (60.0, 60), (600.0, 600)])
def test_a_call_waits_within_its_grace(grace: float, longest: int, caplog: pytest.LogCaptureFixture):
    calls = DueCalls([every(3600, grace=grace)], START - 1)
    for now in range(longest + 1):
        assert times(calls, now) == [("a", 0)]
        calls.not_taken(OverloadedError("away"))
    assert "is not made" not in caplog.text
    assert times(calls, longest + 1) == []
    assert "a:every 1:00:00@2027-01-15T08:00:00Z is not made: the queue has not taken it in time" in caplog.text
    assert times(calls, 3600) == [("a", 3600)]


def test_the_log_says_once_that_calls_wait_and_once_that_they_are_taken_again(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "servey.schedule")
    calls = DueCalls([every(1)], START - 1)
    for now in range(5):
        calls.due(START + now)
        calls.not_taken(OverloadedError("the broker is away"))
    for now in range(5, 8):
        calls.due(START + now)
        calls.taken()
    assert caplog.messages == [
        "the calls of schedules wait until the queue takes them: the broker is away",
        "the queue takes the calls of schedules again",
    ]


def test_a_defect_of_the_queue_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture):
    calls = DueCalls([every(1)], START - 1)
    calls.due(START)
    calls.not_taken(ZeroDivisionError("1/0"))
    [record] = caplog.records
    assert (record.message, record.levelname) == (
        "the queue does not take calls of schedules, because of a defect",
        "ERROR",
    )
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


def test_a_call_that_was_due_before_the_start_is_made_within_its_grace_if_the_queue_outlives_the_process():
    assert times(DueCalls([every(60, grace=30.0)], START + 20), 20) == [("a", 0)]
    assert times(DueCalls([every(60, grace=30.0)], START + 40), 40) == []
    assert times(DueCalls([every(60, grace=30.0)], START + 20, catches_up=False), 20) == []
