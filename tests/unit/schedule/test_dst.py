"""Schedules around a change of clocks, by the table of support/dst.py."""

import msgspec
import pytest

from servey.schedule.agenda import Agenda
from servey.schedule.schedule import Schedule
from support.dst import ROWS, Row

LOOK = 60  # seconds


def schedule_of(row: Row) -> Schedule:
    return Schedule(name="a", action="a", trigger=row.trigger, arguments=msgspec.Raw(b"{}"))


@pytest.mark.parametrize("row", ROWS, ids=[row.label for row in ROWS])
def test_a_trigger_has_the_times_of_the_table(row):
    found, moment = [], row.start
    while (moment := row.trigger.next_after(moment)) <= row.end:
        found.append(moment)
    assert tuple(found) == row.times


@pytest.mark.parametrize("row", ROWS, ids=[row.label for row in ROWS])
def test_the_times_are_the_same_from_any_moment(row):
    for moment in range(int(row.start), int(row.end), 300 if row.end - row.start < 86400 else 2700):
        following = next((time for time in row.times if time > moment), None)
        if following is not None:
            assert row.trigger.next_after(moment) == following
            assert row.trigger.next_after(moment + 0.5) == following


@pytest.mark.parametrize("row", ROWS, ids=[row.label for row in ROWS])
def test_an_agenda_makes_the_calls_of_the_table(row):
    agenda = Agenda([schedule_of(row)], row.start, catches_up=False)
    looks = range(int(row.start), int(row.end) + 1, LOOK)
    assert tuple(call.due for now in looks for call in agenda.due(float(now))[0]) == row.times


@pytest.mark.parametrize("row", ROWS, ids=[row.label for row in ROWS])
def test_an_agenda_that_starts_often_makes_the_same_calls(row):
    schedule = schedule_of(row)
    ids = {
        call.id
        for start in range(int(row.start) + 1, int(row.end) + 1, 50 * LOOK)
        for agenda in [Agenda([schedule], start)]
        for now in range(start, start + 51 * LOOK, LOOK)
        for call in agenda.due(float(now))[0]
        if row.start < call.due <= row.end
    }
    assert ids == {schedule.id_of(time) for time in row.times}
