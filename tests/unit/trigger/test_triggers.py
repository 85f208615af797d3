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


@pytest.mark.parametrize("trigger", [WEB_GET, FixedRateTrigger(1), CronTrigger("* * * * *")])
def test_a_trigger_cannot_be_changed_and_can_be_compared(trigger):
    with pytest.raises(AttributeError):
        trigger.path = "/x"
    assert {trigger, type(trigger)(*(getattr(trigger, name) for name in trigger.__struct_fields__))} == {trigger}


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
