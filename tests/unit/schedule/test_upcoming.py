"""The next calls of all schedules, with their local times."""

from datetime import UTC, datetime
from itertools import islice
from typing import Any

import msgspec
import pytest

from servey.schedule.schedule import Schedule
from servey.schedule.upcoming import Upcoming, upcoming
from servey.trigger.cron_trigger import CronTrigger
from servey.trigger.fixed_rate_trigger import FixedRateTrigger

START = 1_800_000_000.0  # 2027-01-15T08:00:00Z


def plan(trigger: Any, name: str = "a", **values: Any) -> Schedule:
    return Schedule(name=name, action=name, trigger=trigger, arguments=msgspec.Raw(b"{}"), **values)


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def local_times(trigger: CronTrigger, start: str, count: int) -> list[tuple[str, str]]:
    return [(f"{call.local:%d %H:%M %Z}", call.clock) for call in upcoming([plan(trigger)], moment(start), count=count)]


def test_the_calls_of_all_schedules_are_merged():
    slow, fast = plan(FixedRateTrigger(3600), "slow", jitter=60.0), plan(CronTrigger("*/20 * * * *"), "fast")
    expected = [
        (fast, 1200, 2400),
        (fast, 2400, 3600),
        (slow, 3600, 7200),
        (fast, 3600, 4800),
        (fast, 4800, 6000),
    ]
    assert list(upcoming([slow, fast], START, count=5)) == [
        Upcoming(
            schedule,
            START + time,
            schedule.due(START + time, START + following),
            datetime.fromtimestamp(START + time, UTC),
            "",
        )
        for schedule, time, following in expected
    ]


@pytest.mark.parametrize(("end", "times"), [(1199.0, []), (1200.0, [1200]), (3600.0, [1200, 2400, 3600])])
def test_an_end_is_the_last_time(end, times):
    found = upcoming([plan(CronTrigger("*/20 * * * *"))], START, START + end)
    assert [call.occurrence - START for call in found] == times


def test_a_listing_without_an_end_is_read_as_far_as_it_is_needed():
    found = islice(upcoming([plan(FixedRateTrigger(1))], START), 3)
    assert [call.occurrence - START for call in found] == [1, 2, 3]


def test_a_change_of_clocks_is_marked():
    hourly = CronTrigger("30 * * * *", "Europe/Berlin")
    assert local_times(hourly, "2026-10-24T23:00Z", 4) == [
        ("25 01:30 CEST", ""),
        ("25 02:30 CEST", "back"),
        ("25 02:30 CET", "back"),
        ("25 03:30 CET", ""),
    ]
    assert local_times(CronTrigger("30 2 * * *", "Europe/Berlin"), "2026-03-28T00:00Z", 3) == [
        ("28 02:30 CET", ""),
        ("29 03:00 CEST", "forward"),
        ("30 02:30 CEST", ""),
    ]


def test_a_trigger_without_a_time_zone_has_utc():
    class Own:
        timezone = object()

        def next_after(self, moment: float) -> float | None:
            return START if moment < START else None

    assert [call.local for call in upcoming([plan(Own())], 0.0)] == [datetime(2027, 1, 15, 8, tzinfo=UTC)]


def test_a_trigger_that_fails_ends_its_calls_alone(caplog):
    class Failing:
        def next_after(self, moment: float) -> float | None:
            if moment > START:
                raise OSError("no calendar")
            return START + 5

    found = upcoming([plan(Failing(), "failing"), plan(FixedRateTrigger(60))], START, count=2)
    assert [(call.schedule.name, call.occurrence - START) for call in found] == [("a", 60), ("a", 120)]
    assert [record.action for record in caplog.records] == ["failing"]
