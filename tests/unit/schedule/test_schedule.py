"""A schedule has a name, an id for each call, and arguments that fit its action."""

import dataclasses
import re
import types
from typing import Any

import msgspec
import pytest

from servey.action.action import action
from servey.action.context import CallContext
from servey.background_call.call import Call
from servey.errors import DefinitionError
from servey.plugin import Plugin, TriggerSupport
from servey.ports import Timetable
from servey.schedule.schedule import Schedule, check_schedule, schedules_of
from servey.security.authorization import Authorization
from servey.service import Service
from servey.trigger.cron_trigger import CronTrigger
from servey.trigger.fixed_rate_trigger import FixedRateTrigger

HOURLY = FixedRateTrigger(3600)


class Schedules(Plugin):
    def triggers(self) -> tuple[TriggerSupport, ...]:
        return (TriggerSupport(Timetable, check=check_schedule),)


class Named:
    def __init__(self, text: str = "at noon") -> None:
        self.text = text

    def next_after(self, moment: float) -> float | None:
        return None

    def __str__(self) -> str:
        return self.text


class Nameless:
    def next_after(self, moment: float) -> float | None:
        return None


@dataclasses.dataclass
class Holidays:
    inner: Any

    def next_after(self, moment: float) -> float | None:
        return None


def schedules_for(function: Any, *triggers: Any) -> tuple[Schedule, ...]:
    copied = types.FunctionType(function.__code__, globals(), function.__name__, function.__defaults__)
    copied.__annotations__ = function.__annotations__
    service = Service([action(copied, triggers=triggers)], plugins=[Schedules()])
    operation = service.operation(function.__name__)
    return schedules_of([(operation, trigger) for trigger in triggers])


def problem_of(function: Any, trigger: Any) -> DefinitionError:
    with pytest.raises(DefinitionError) as caught:
        schedules_for(function, trigger)
    return caught.value


def report(language: str = "en", pages: int = 1) -> None:
    """Write the report."""


def test_a_schedule_has_all_that_its_calls_need():
    trigger = CronTrigger("0 7 * * *", "Europe/Berlin", params={"pages": 2}, grace=5, jitter=3, overlap="allow")
    assert schedules_for(report, HOURLY, trigger) == (
        Schedule(
            name="report:every 1:00:00",
            action="report",
            trigger=HOURLY,
            arguments=msgspec.Raw(b'{"language":"en","pages":1}'),
            grace=60.0,
            jitter=0.0,
            alone="report:every 1:00:00",
        ),
        Schedule(
            name="report:0 7 * * * Europe/Berlin",
            action="report",
            trigger=trigger,
            arguments=msgspec.Raw(b'{"language":"en","pages":2}'),
            grace=5,
            jitter=3,
            alone="",
        ),
    )


def test_schedules_of_an_action_with_the_same_text_get_numbers():
    triggers = [FixedRateTrigger(3600, params={"pages": page}) for page in (1, 2, 3)]
    schedules = schedules_for(report, *triggers)
    assert [schedule.name for schedule in schedules] == [
        "report:every 1:00:00",
        "report:every 1:00:00 #2",
        "report:every 1:00:00 #3",
    ]
    assert [schedule.alone for schedule in schedules] == [schedule.name for schedule in schedules]


def test_a_number_is_not_the_text_of_another_trigger():
    names = [schedule.name for schedule in schedules_for(report, Named("a #2"), Named("a"), Named("a"))]
    assert names == ["report:a #2", "report:a", "report:a #3"]


@pytest.mark.parametrize(
    ("trigger", "text"),
    [
        (Named(), "at noon"),
        (Named(" at\n noon\t"), "at noon"),
        (Named("\udce9"), "\ufffd"),
        (Nameless(), "Nameless"),
        (Holidays("de"), "Holidays(inner='de')"),
        (Holidays(Nameless()), "Holidays"),
    ],
)
def test_the_name_has_the_text_of_the_trigger_without_addresses(trigger, text):
    assert [schedule.name for schedule in schedules_for(report, trigger)] == [f"report:{text}"]


def test_a_long_name_is_shortened_and_stays_unique():
    names = [schedule.name for schedule in schedules_for(report, Named("x" * 300), Named("x" * 300), Named("x" * 193))]
    assert names[2] == "report:" + "x" * 193
    assert [len(name) for name in names] == [200] * 3
    assert names[0] == "report:" + "x" * 180 + "…a3673a165c4b"
    assert len(set(names)) == 3


def test_a_trigger_of_a_user_needs_only_a_timetable():
    (schedule,) = schedules_for(report, Nameless())
    assert (schedule.grace, schedule.jitter, schedule.alone) == (60.0, 0.0, "report:Nameless")


def test_a_trigger_of_a_user_may_have_options():
    trigger = Named()
    vars(trigger).update(params={"pages": 3}, grace=1, jitter=2, overlap="allow")
    (schedule,) = schedules_for(report, trigger)
    assert (bytes(schedule.arguments), schedule.grace, schedule.jitter, schedule.alone) == (
        b'{"language":"en","pages":3}',
        1,
        2,
        "",
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"params": [1]}, "a trigger of report: params=[1] are not arguments by name"),
        ({"grace": "long"}, "a trigger of report: grace='long' is not"),
        ({"jitter": -1}, "a trigger of report: jitter=-1 is not"),
        ({"overlap": "no"}, "a trigger of report: overlap='no' is not"),
        ({"text": 5}, "a trigger of report: str() of Named fails: TypeError"),
    ],
)
def test_wrong_options_of_a_users_trigger_are_refused(options, words):
    trigger = Named()
    vars(trigger).update(options)
    problem = problem_of(report, trigger)
    assert problem.message.startswith(words)
    assert problem.where[0].startswith("tests/unit/schedule/test_schedule.py:")
    assert problem.fix


def test_an_action_that_needs_a_caller_cannot_have_a_schedule():
    def mine(caller: Authorization) -> None: ...

    problem = problem_of(mine, HOURLY)
    assert problem.message == "mine has a schedule, but needs a caller, and a schedule has none"
    assert problem.where
    assert "Authorization | None" in problem.fix


def test_injected_parameters_are_no_params():
    def injected(context: CallContext, caller: Authorization | None, pages: int = 1) -> None: ...

    assert [bytes(schedule.arguments) for schedule in schedules_for(injected, HOURLY)] == [b'{"pages":1}']


def test_a_nested_action_cannot_have_a_schedule():
    @dataclasses.dataclass
    class Shop:
        name: str

        @action(triggers=(HOURLY,))
        def close(self) -> None: ...

    def shop() -> Shop:
        return Shop("a")

    shop.__annotations__["return"] = Shop
    with pytest.raises(DefinitionError, match="nested action") as caught:
        Service([action(shop)], plugins=[Schedules()])
    assert "outside of the class" in caught.value.fix


def test_required_parameters_need_params():
    def required(name: str, pages: int, language: str = "en") -> None: ...

    problem = problem_of(required, HOURLY)
    assert problem.message.startswith("the params of a schedule do not fit required: ")
    assert "name, pages" in problem.message
    assert problem.fix == "write params={'name': …, 'pages': …}"
    (schedule,) = schedules_for(required, FixedRateTrigger(60, params={"name": "a", "pages": 1}))
    assert bytes(schedule.arguments) == b'{"name":"a","pages":1,"language":"en"}'


def test_all_problems_of_params_are_in_one_error():
    problem = problem_of(report, FixedRateTrigger(60, params={"language": 1, "pages": "many", "colour": "red"}))
    assert re.search("'colour'.*/language: .*/pages: ", problem.message)


def test_params_of_an_action_without_parameters_are_refused():
    def plain() -> None: ...

    problem = problem_of(plain, FixedRateTrigger(60, params={"pages": 1}))
    assert "pages" in problem.message
    assert problem.fix == "leave out params: plain takes no arguments"


def test_params_are_not_large():
    problem = problem_of(report, FixedRateTrigger(60, params={"language": "x" * 262_144}))
    assert "262,1" in problem.message
    assert problem.fix == "let the action read large data itself"


def plan(**values: Any) -> Schedule:
    given = {"name": "a:b", "action": "a", "trigger": HOURLY, "arguments": msgspec.Raw(b"{}"), "alone": "a:b"}
    return Schedule(**(given | values))


def test_a_call_names_its_occurrence():
    assert plan().call(1_800_000_000.0, 1_800_003_600.0) == Call(
        id="a:b@2027-01-15T08:00:00Z",
        action="a",
        arguments=msgspec.Raw(b"{}"),
        due=1_800_000_000.0,
        request_id="a:b@2027-01-15T08:00:00Z",
        expires=1_800_003_600.0,
        alone="a:b",
    )


@pytest.mark.parametrize(
    ("occurrence", "end"),
    [
        (0.0, "1970-01-01T00:00:00Z"),
        (1.5, "1970-01-01T00:00:01.5Z"),
        (1_800_000_000.000001, "2027-01-15T08:00:00.000001Z"),
        (1_799_999_999.9999998, "2027-01-15T08:00:00Z"),
        (253_402_300_799.0, "9999-12-31T23:59:59Z"),
    ],
)
def test_an_id_has_a_fraction_only_if_its_time_has_one(occurrence, end):
    assert plan().id_of(occurrence) == f"a:b@{end}"


@pytest.mark.parametrize(
    ("grace", "following", "seconds"),
    [(60.0, 3600.0, 3600.0), (60.0, 30.0, 60.0), (60.0, None, 60.0), (0.0, 1.0, 5.0), (0.0, None, 5.0)],
)
def test_a_call_expires_after_its_grace_or_when_the_next_one_is_due(grace, following, seconds):
    assert plan(grace=grace).call(0.0, following).expires == seconds


def test_a_jitter_is_a_part_of_the_due_time_that_depends_only_on_the_id():
    schedule = plan(jitter=600.0)
    delays = [schedule.due(time, time + 3600) - time for time in (0.0, 3600.0, 7200.0, 10_800.0)]
    assert [round(delay, 3) for delay in delays] == [532.159, 111.693, 377.718, 256.667]
    call = schedule.call(3600.0, 7200.0)
    assert (call.id, call.due, call.expires) == (
        "a:b@1970-01-01T01:00:00Z",
        3600.0 + delays[1],
        3600.0 + delays[1] + 3600.0,
    )


def test_a_jitter_ends_before_the_next_occurrence():
    schedule = plan(jitter=600.0)
    for time in range(0, 1000, 10):
        assert time <= schedule.due(time, time + 10) < time + 10
        assert time <= schedule.due(time, None) < time + 600


@pytest.mark.parametrize("wrong", ["5", True, False, float("nan"), float("inf"), 10.0, 9.0, 1.8e12, object(), b""])
def test_a_wrong_time_of_a_trigger_is_refused(wrong):
    class Wrong:
        def next_after(self, moment: float) -> Any:
            return wrong

    with pytest.raises(ValueError, match=r"next_after\(10\.0\) returned"):
        plan(trigger=Wrong()).next_after(10.0)


def test_occurrences_end_with_the_timetable():
    class Twice:
        def next_after(self, moment: float) -> float | None:
            return next((time for time in (10, 20.5) if time > moment), None)

    assert list(plan(trigger=Twice()).occurrences(0.0)) == [(10, 20.5), (20.5, None)]
    assert list(plan(trigger=Twice()).occurrences(10.0)) == [(20.5, None)]
    assert list(plan(trigger=Twice()).occurrences(20.5)) == []
