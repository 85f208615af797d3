"""The agenda decides when a schedule makes a call; the time is an argument."""

import logging
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from servey.background_call.call import Call
from servey.schedule.agenda import LONGEST_WAIT, Agenda
from servey.schedule.schedule import Schedule
from servey.trigger.fixed_rate_trigger import FixedRateTrigger

START = 1_800_000_000.0  # 2027-01-15T08:00:00Z, a multiple of 60


class At:
    """A timetable of fixed times."""

    def __init__(self, *times: float) -> None:
        self.times = times

    def next_after(self, moment: float) -> float | None:
        return next((time for time in self.times if time > moment), None)


def plan(trigger: Any, name: str = "a", **values: Any) -> Schedule:
    return Schedule(name=name, action=name, trigger=trigger, arguments=msgspec.Raw(b"{}"), **values)


def every(seconds: float, name: str = "a", **values: Any) -> Schedule:
    return plan(FixedRateTrigger(seconds), name, **values)


def due(agenda: Agenda, now: float) -> list[tuple[str, float]]:
    calls, wait = agenda.due(START + now)
    assert 0 < wait <= LONGEST_WAIT
    return [(call.action, call.due - START) for call in calls]


def test_each_occurrence_makes_one_call():
    schedule = every(60, grace=30.0, alone="a")
    agenda = Agenda([schedule], START - 0.5)
    assert agenda.due(START - 0.5) == ([], 0.5)
    assert agenda.due(START) == ([schedule.call(START, START + 60)], LONGEST_WAIT)
    assert agenda.due(START + 0.1) == ([], LONGEST_WAIT)
    assert agenda.due(START + 59.75) == ([], 0.25)
    calls, _ = agenda.due(START + 60.02)
    assert calls == [
        Call(
            id="a@2027-01-15T08:01:00Z",
            action="a",
            arguments=msgspec.Raw(b"{}"),
            due=START + 60,
            request_id="a@2027-01-15T08:01:00Z",
            expires=START + 120,
            alone="a",
        )
    ]


def test_calls_of_several_schedules_are_in_the_order_of_their_times():
    agenda = Agenda([every(4, "a"), every(3, "b"), every(2, "c")], START, catches_up=False)
    assert due(agenda, 2.5) == [("c", 2)]
    assert due(agenda, 4.5) == [("b", 3), ("a", 4), ("c", 4)]


def test_an_agenda_without_schedules_waits():
    assert Agenda([], START).due(START) == ([], LONGEST_WAIT)


def test_a_wait_is_not_long_so_that_a_clock_that_is_set_is_seen():
    assert Agenda([every(86400)], START).due(START)[1] == LONGEST_WAIT == 1.0


@pytest.mark.parametrize(
    ("late", "grace", "catches_up", "found"),
    [
        (0.0, 60.0, True, [("a", 0)]),
        (59.0, 60.0, True, [("a", 0)]),
        (60.0, 60.0, True, [("a", 0)]),
        (60.5, 60.0, True, []),
        (0.0, 0.0, True, [("a", 0)]),
        (1.0, 0.0, True, []),
        (0.0, 60.0, False, []),
        (1.0, 60.0, False, []),
    ],
)
def test_a_start_makes_a_missed_call_within_its_grace(late, grace, catches_up, found):
    agenda = Agenda([plan(At(START - 1000, START, START + 1000), grace=grace)], START + late, catches_up)
    assert due(agenda, late) == found
    assert due(agenda, 1000) == [("a", 1000)]


@pytest.mark.parametrize("seconds", [1, 7, 30])
def test_a_start_makes_only_the_latest_missed_call(seconds):
    agenda = Agenda([every(seconds, grace=43_200.0)], START + 0.5)
    assert due(agenda, 0.5) == [("a", (START // seconds * seconds) - START)]
    assert due(agenda, 0.5) == []


def test_a_gap_makes_only_the_latest_missed_call():
    agenda = Agenda([every(1, "a"), every(60, "b"), every(3600, "c"), every(1800, "d", grace=10.0)], START, False)
    assert sorted(due(agenda, 3620.5)) == [("a", 3620), ("b", 3600), ("c", 3600)]
    assert due(agenda, 3621) == [("a", 3621)]
    assert sorted(due(agenda, 3660)) == [("a", 3660), ("b", 3660)]


def test_a_gap_makes_no_call_that_is_later_than_its_grace():
    agenda = Agenda([plan(At(START + 10, START + 20), grace=60.0)], START)
    assert due(agenda, 1000) == []
    assert due(agenda, 2000) == []


@pytest.mark.parametrize("seconds", [1, 60])
@pytest.mark.parametrize(("late", "is_made"), [(0.5, True), (4.9, True)])
def test_a_loop_that_is_late_loses_no_call_without_grace(seconds, late, is_made):
    agenda = Agenda([every(seconds, grace=0.0)], START - 1, catches_up=False)
    assert [due for _, due in due(agenda, late)] == [late // seconds * seconds]


def test_a_suspended_machine_without_grace_makes_no_missed_call():
    agenda = Agenda([every(3600, grace=0.0)], START - 1, catches_up=False)
    assert due(agenda, 6) == []


def test_a_clock_that_is_set_back_starts_the_agenda_again_without_missed_calls():
    agenda = Agenda([every(60, grace=43_200.0)], START - 1)
    due(agenda, -1)
    assert due(agenda, 0) == [("a", 0)]
    assert due(agenda, -3600 + 1) == []
    assert due(agenda, -3600 + 60) == [("a", -3540)]
    assert due(agenda, 0) == [("a", 0)]


def test_a_clock_that_is_set_back_a_little_makes_no_call_twice():
    agenda = Agenda([every(60)], START)
    assert due(agenda, 0) == [("a", 0)]
    assert due(agenda, -0.9) == []
    assert due(agenda, 0) == []
    assert due(agenda, 60) == [("a", 60)]


def test_an_ended_timetable_goes_on_if_the_clock_is_set_back():
    agenda = Agenda([plan(At(START))], START)
    assert [due(agenda, now) for now in (0, 1, 100)] == [[("a", 0)], [], []]
    assert [due(agenda, now) for now in (-10, 0)] == [[], [("a", 0)]]


def test_a_jitter_delays_a_call_and_not_its_id():
    schedule = every(60, jitter=60.0)
    at = schedule.due(START, START + 60)
    assert START + 1 < at < START + 59
    agenda = Agenda([schedule], START, catches_up=False)
    assert agenda.due(at - 0.25) == ([], 0.25)
    assert agenda.due(at)[0] == [schedule.call(START, START + 60)]


@pytest.mark.parametrize("catches_up", [True, False])
def test_a_start_between_an_occurrence_and_its_jitter_loses_no_call(catches_up):
    schedule = plan(At(START - 86400, START, START + 86400), jitter=600.0)
    at = schedule.due(START, START + 86400)
    assert at > START + 10
    agenda = Agenda([schedule], at - 5, catches_up)
    assert agenda.due(at - 5)[0] == []
    assert [call.due for call in agenda.due(at)[0]] == [at]


def test_all_calls_of_a_long_jitter_are_made_in_their_order():
    agenda = Agenda([every(1, jitter=1.0)], START, catches_up=False)
    calls = [call for tenth in range(201) for call in agenda.due(START + tenth / 10)[0]]
    assert [call.id for call in calls] == [every(1).id_of(START + second) for second in range(20)]
    assert [call.due for call in calls] == sorted(call.due for call in calls)


def test_other_processes_have_the_same_ids_and_times():
    code = (
        "import msgspec; from servey.schedule.agenda import Agenda; from servey.schedule.schedule import Schedule\n"
        "from servey.trigger.fixed_rate_trigger import FixedRateTrigger\n"
        "plan = Schedule(name='a', action='a', trigger=FixedRateTrigger(5), arguments=msgspec.Raw(b'{}'), jitter=5.0)\n"
        f"print([(call.id, call.due) for call in Agenda([plan], {START}).due({START})[0]])"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, timeout=60
        )
        for seed in ("1", "2")
    ]
    calls, _ = Agenda([every(5, jitter=5.0)], START).due(START)
    assert [run.stdout.strip() for run in runs] == [str([(call.id, call.due) for call in calls])] * 2
    assert len(calls) == 1


class Broken:
    """A timetable of each minute (or of another interval), which fails while `failure` is set."""

    def __init__(self, failure: Any = None, interval: int = 60) -> None:
        self.failure, self.interval = failure, interval

    def next_after(self, moment: float) -> Any:
        if isinstance(self.failure, Exception):
            raise self.failure
        return (moment // self.interval + 1) * self.interval if self.failure is None else self.failure


@pytest.mark.parametrize("failure", [ZeroDivisionError("no calendar"), START - 1000, "soon", float("nan")])
@pytest.mark.parametrize("catches_up", [True, False])
def test_a_trigger_that_fails_pauses_for_a_minute_and_the_others_go_on(failure, catches_up, caplog):
    broken = Broken(failure)
    agenda = Agenda([plan(broken, "broken"), every(1, "a")], START - 0.5, catches_up)
    due(agenda, -0.5)
    with caplog.at_level(logging.ERROR):
        assert due(agenda, 0) == [("a", 0)]
        assert due(agenda, 1) == [("a", 1)]
    assert [(record.name, record.action) for record in caplog.records] == [("servey.schedule", "broken")]
    broken.failure = None
    assert ("broken", 0) not in [call for now in range(2, 59) for call in due(agenda, now)]
    assert [call for now in range(59, 130) for call in due(agenda, now) if call[0] == "broken"][-1] == ("broken", 120)


def test_a_trigger_that_fails_later_does_not_lose_the_call_that_it_had(caplog):
    broken = Broken()
    agenda = Agenda([plan(broken, "broken", grace=90.0)], START - 0.5)
    assert due(agenda, -0.5) == [("broken", -60)]
    broken.failure = OSError("no calendar")
    assert due(agenda, 0) == [("broken", 0)]
    assert len(caplog.records) == 1
    assert due(agenda, 59.9) == []
    broken.failure = None
    assert due(agenda, 60) == [("broken", 60)]
    assert due(agenda, 120) == [("broken", 120)]


def test_a_trigger_that_fails_makes_no_call_again(caplog):
    broken = Broken(interval=3600)
    agenda = Agenda([plan(broken, "broken", grace=90.0)], START - 120)
    assert due(agenda, -120) == []
    broken.failure = OSError("no calendar")
    assert due(agenda, 0) == [("broken", 0)]
    assert len(caplog.records) == 1
    broken.failure = None
    assert [due(agenda, now) for now in (60, 3600)] == [[], [("broken", 3600)]]


def test_a_trigger_that_fails_while_the_clock_is_set_back_goes_on():
    broken = Broken()
    agenda = Agenda([plan(broken, "broken")], START)
    assert due(agenda, 0) == [("broken", 0)]
    broken.failure = OSError("no calendar")
    assert due(agenda, -3600) == []
    broken.failure = None
    assert [call for now in range(-3600, -3400) for call in due(agenda, now)][-2:] == [
        ("broken", -3480),
        ("broken", -3420),
    ]


def test_a_start_reads_few_times_for_a_long_grace():
    class Counted:
        reads = 0

        def next_after(self, moment: float) -> float | None:
            self.reads += 1
            return float(int(moment) // 100 * 100 + 100)

    trigger = Counted()
    assert due(Agenda([plan(trigger, grace=43_200.0)], START + 50), 50) == [("a", 0)]
    assert trigger.reads < 20


def test_a_trigger_that_fails_again_is_logged_each_minute(caplog):
    agenda = Agenda([plan(Broken(OSError("no calendar")))], START)
    for second in range(121):
        assert due(agenda, second) == []
    assert len(caplog.records) == 3


def test_the_end_of_a_timetable_is_no_failure(caplog):
    agenda = Agenda([plan(At(START, START + 1))], START)
    assert [due(agenda, now) for now in (0, 1, 2, 3)] == [[("a", 0)], [("a", 1)], [], []]
    assert caplog.records == []


def test_many_agendas_make_the_same_calls_however_often_they_look():
    """Each occurrence within the time of an agenda is made once, whatever the looks."""
    schedules = [every(1.5, "a"), every(7, "b", jitter=3.0), every(60, "c", jitter=60.0)]
    found = []
    for step in (0.1, 0.4, 1.0):
        agenda = Agenda(schedules, START, catches_up=False)
        looks = int(200 / step)
        ids = [call.id for look in range(1, looks + 1) for call in agenda.due(START + look * step)[0]]
        assert len(set(ids)) == len(ids)
        found.append(sorted(ids))
    assert found[0] == found[1] == found[2]
