"""Triggers are data that checks itself."""

import math
from datetime import timedelta

import pytest

from servey.errors import DefinitionError
from servey.trigger.cron_trigger import CronTrigger
from servey.trigger.fixed_rate_trigger import FixedRateTrigger
from servey.trigger.web_trigger import (
    WEB_DELETE,
    WEB_GET,
    WEB_PATCH,
    WEB_POST,
    WEB_PUT,
    WebTrigger,
    WebTriggerMethod,
)

GET = WebTriggerMethod.GET


def test_each_method_has_a_trigger_at_hand():
    triggers = (WEB_GET, WEB_POST, WEB_PUT, WEB_PATCH, WEB_DELETE)
    assert [trigger.method.value for trigger in triggers] == ["GET", "POST", "PUT", "PATCH", "DELETE"]
    assert {trigger.path for trigger in triggers} == {None}
    assert WebTrigger() == WEB_POST
    assert WebTrigger(GET) == WEB_GET


def test_get_and_delete_take_the_query_string():
    assert [WebTrigger(method).takes_query for method in WebTriggerMethod] == [True, False, False, False, True]


@pytest.mark.parametrize(
    ("path", "names"),
    [
        (None, ()),
        ("/", ()),
        ("/a", ()),
        ("/a/b.c/~d-e_f/g@h:i", ()),
        ("/users/{id}", ("id",)),
        ("/{a}/{b_2}/c", ("a", "b_2")),
    ],
)
def test_a_path_names_its_parameters(path, names):
    assert WebTrigger(GET, path).path_parameters == names


@pytest.mark.parametrize(
    "path",
    [
        *("", "a", "a/b", "//", "/a/", "/a//b", "/a/../b", "/.", "/a b", "/a?b", "/a#b", "/a%20b", "/a\n", "/ä"),
        *("/x{id}", "/{id}x", "/{}", "/{1}", "/{a-b}", "/{id:int}", "/{a", "/a}", "/{a}/{a}"),
    ],
)
def test_a_path_that_is_no_template_is_refused(path):
    with pytest.raises(DefinitionError) as caught:
        WebTrigger(GET, path)
    assert repr(path) in str(caught.value)
    assert caught.value.fix


@pytest.mark.parametrize("method", ["/users", "GET", None])
def test_a_method_is_one_of_the_enumeration(method):
    with pytest.raises(DefinitionError) as caught:
        WebTrigger(method)
    assert "WebTriggerMethod.GET" in caught.value.fix


def test_what_an_action_is_in_graphql_is_one_of_three():
    assert [WebTrigger(GET, graphql=kind).graphql for kind in ("query", "mutation", None)] == [
        "query",
        "mutation",
        None,
    ]
    with pytest.raises(DefinitionError, match="'subscription'"):
        WebTrigger(GET, graphql="subscription")


@pytest.mark.parametrize(
    "trigger",
    [
        WEB_GET,
        FixedRateTrigger(1),
        CronTrigger("* * * * *"),
        FixedRateTrigger(1, params={"names": ["a"]}),
        CronTrigger("* * * * *", params={"names": ["a"]}),
    ],
)
def test_a_trigger_cannot_be_changed_and_can_be_compared(trigger):
    with pytest.raises(AttributeError):
        trigger.path = "/x"
    assert {trigger, type(trigger)(**{name: getattr(trigger, name) for name in trigger.__struct_fields__})} == {trigger}


@pytest.mark.parametrize("option", [{"params": {"a": 1}}, {"grace": 1}, {"jitter": 1}, {"overlap": "allow"}])
def test_triggers_with_other_options_are_not_equal(option):
    assert FixedRateTrigger(5, **option) != FixedRateTrigger(5)
    assert CronTrigger("* * * * *", **option) != CronTrigger("* * * * *")


def test_the_params_of_a_trigger_do_not_change():
    params = {"a": 1}
    trigger = FixedRateTrigger(5, params=params)
    params["a"] = 2
    with pytest.raises(TypeError):
        trigger.params["a"] = 3
    assert trigger.params == {"a": 1}


@pytest.mark.parametrize(
    "make", [lambda **options: FixedRateTrigger(5, **options), lambda **options: CronTrigger("* * * * *", **options)]
)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("params", value) for value in ("ab", [("a", 1)], {1: 2}, 5)),
        *(("grace", value) for value in (-1, 43_201, math.nan, math.inf, "60", None, True, timedelta(1))),
        *(("jitter", value) for value in (-0.1, math.nan, math.inf, "60", None, True, timedelta(1))),
        *(("overlap", value) for value in ("wait", "", None, True)),
    ],
)
def test_a_wrong_option_of_a_schedule_is_refused(make, name, value):
    with pytest.raises(DefinitionError) as caught:
        make(**{name: value})
    assert f"{name}={value!r}" in str(caught.value)
    assert f"{name}=" in caught.value.fix


@pytest.mark.parametrize("options", [{"grace": 0}, {"grace": 43_200}, {"jitter": 5}, {"params": {}}, {"params": None}])
def test_the_limits_of_options_are_valid(options):
    trigger = FixedRateTrigger(5, **options)
    assert {name: getattr(trigger, name) for name in options} == options


def test_a_jitter_is_not_longer_than_a_fixed_interval():
    with pytest.raises(DefinitionError, match=r"jitter=5\.1 is longer than the interval of 0:00:05"):
        FixedRateTrigger(5, jitter=5.1)
    assert CronTrigger("* * * * *", jitter=3600).jitter == 3600


def test_options_of_a_schedule_are_given_by_name():
    with pytest.raises(TypeError):
        FixedRateTrigger(5, {"a": 1})
    with pytest.raises(TypeError):
        CronTrigger("* * * * *", "UTC", {"a": 1})


@pytest.mark.parametrize("interval", [90, 90.0, timedelta(seconds=90)])
def test_an_interval_is_seconds_or_a_timedelta(interval):
    trigger = FixedRateTrigger(interval)
    assert (trigger.interval, str(trigger)) == (timedelta(seconds=90), "every 0:01:30")
    assert trigger == FixedRateTrigger(90)


@pytest.mark.parametrize("interval", [0, -1, 0.999, timedelta(milliseconds=999), math.nan, math.inf, 1e300, "60", None])
def test_an_interval_is_at_least_a_second(interval):
    with pytest.raises(DefinitionError) as caught:
        FixedRateTrigger(interval)
    assert "second" in caught.value.fix


def test_the_shortest_interval_is_a_second():
    assert FixedRateTrigger(1).interval == timedelta(seconds=1)


@pytest.mark.parametrize("expression", ["* * * * *", "0 7 * * MON-FRI", "*/5 0-6,22 1 JAN,JUL *"])
def test_a_cron_expression_is_kept(expression):
    assert CronTrigger(expression).expression == expression
    assert CronTrigger(expression).timezone == "UTC"


@pytest.mark.parametrize(
    "expression",
    ["", "* * * *", "* * * * * *", "60 * * * *", "0 24 * * *", "0 0 30 2 *", "a * * * *", "@hourly", 5, None],
)
def test_a_wrong_cron_expression_is_refused(expression):
    with pytest.raises(DefinitionError) as caught:
        CronTrigger(expression)
    assert repr(expression) in str(caught.value)
    assert "five fields" in caught.value.fix


@pytest.mark.parametrize(
    "timezone", ["Mars/Olympus", "", "../etc/passwd", "/etc/localtime", 5, None, "Europe/Berlin\0"]
)
def test_a_wrong_time_zone_is_refused(timezone):
    with pytest.raises(DefinitionError) as caught:
        CronTrigger("* * * * *", timezone)
    assert repr(timezone) in str(caught.value)
    assert "Europe/Berlin" in caught.value.fix


@pytest.mark.parametrize(
    ("interval", "moment", "expected"),
    [
        (90, 0.0, 90.0),
        (90, 89.999999, 90.0),
        (90, 90.0, 180.0),
        (1.5, 1_800_000_000.0, 1_800_000_001.5),
        (1, 1_800_000_000.9999998, 1_800_000_001.0),  # the float before the second
        (1, 1_800_000_001.0, 1_800_000_002.0),
        (1, -0.5, 0.0),
        (1.558536, 765651272.0191439, 765651272.019144),  # the float before; its microseconds are rounded up
        (1.1, 1_100_000_000.0, 1_100_000_001.1),
        (timedelta(days=7), 1_800_000_000.0, 1_800_000_000 // 604_800 * 604_800 + 604_800.0),
        (timedelta(seconds=1, microseconds=1), 1_000_000.0, 1_000_000.0 + 1),
    ],
)
def test_a_fixed_rate_is_due_at_multiples_of_its_interval(interval, moment, expected):
    assert FixedRateTrigger(interval).next_after(moment) == expected


def test_a_fixed_rate_does_not_drift():
    trigger = FixedRateTrigger(1.1)
    moment = 0.0
    for _ in range(1000):
        moment = trigger.next_after(moment)
    assert moment == 1100.0


@pytest.mark.parametrize(
    ("moment", "expected"), [(0.0, 60.0), (59.0, 60.0), (59.9, 60.0), (59.9999999, 60.0), (60.0, 120.0), (60.1, 120.0)]
)
def test_a_cron_trigger_is_due_at_the_first_time_that_is_later(moment, expected):
    assert CronTrigger("* * * * *").next_after(moment) == expected
    assert CronTrigger("1-59 * * * *", "Europe/Berlin").next_after(moment) == expected


def test_a_cron_expression_that_never_happens_has_no_next_time():
    assert CronTrigger("0 0 */40 * MON#2").next_after(0.0) is None  # the first of a month is no second Monday
    assert CronTrigger("*/5 0 */40 * MON#2", "Europe/Berlin").next_after(0.0) is None
