"""Laws of the times of schedules, at changes of clocks and elsewhere."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from servey.trigger.cron_trigger import CronTrigger
from servey.trigger.fixed_rate_trigger import FixedRateTrigger
from support.length import length

pytestmark = pytest.mark.long

LAWS = settings(max_examples=length(100, 2_000), deadline=None, suppress_health_check=list(HealthCheck))
DAYS = 3
START, END = datetime(2025, 1, 1, tzinfo=UTC).timestamp(), datetime(2028, 1, 1, tzinfo=UTC).timestamp()

WHOLE_HOURS = ("UTC", "Europe/Berlin", "America/New_York", "Europe/Dublin")
OTHERS = (
    *("Australia/Lord_Howe", "Pacific/Chatham", "Asia/Kathmandu"),  # by half an hour; at 02:45; never, at +05:45
    *("America/Havana", "Asia/Beirut", "Atlantic/Azores"),  # at midnight
    *("Africa/Casablanca", "Antarctica/Troll"),  # four times in some years; by two hours
)


@cache
def changes(zone: str) -> list[float]:
    """The moments when the clocks of a zone change."""
    info = ZoneInfo(zone)

    def offset(moment: float) -> timedelta | None:
        return datetime.fromtimestamp(moment, info).utcoffset()

    found = []
    for day in range(int(START), int(END), 86_400):
        low, high = day, day + 86_400
        if offset(low) != offset(high):
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset(middle) == offset(low) else (low, middle)
            found.append(float(high))
    return found


def fields(most: int) -> st.SearchStrategy[str]:
    number = st.integers(0, most)
    return st.one_of(
        number.map(str),
        st.tuples(number, number).map(lambda pair: f"{pair[0]},{pair[1]}"),
        st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}"),
        st.just("*"),
        st.integers(1, most).map(lambda step: f"*/{step}"),
        st.tuples(number, st.integers(1, most)).map(lambda pair: f"{pair[0]}/{pair[1]}"),
    )


EXPRESSIONS = st.tuples(
    fields(59),
    st.one_of(fields(23), st.sampled_from(["0", "1", "2", "3", "1-3", "0-4/2"])),
    st.sampled_from(["*", "*", "*", "1", "L", "*/2", "25-31"]),
    st.just("*"),
    st.sampled_from(["*", "*", "*", "SUN", "MON-FRI", "0#1", "0L"]),
).map(" ".join)


@st.composite
def moments(draw: st.DrawFn, zone: str) -> float:
    near = changes(zone)
    if near and draw(st.integers(0, 4)):
        moment = draw(st.sampled_from(near)) + draw(st.integers(-4 * 3600, 4 * 3600))
    else:
        moment = float(draw(st.integers(int(START), int(END))))
    return moment + draw(st.sampled_from([0.0, 0.0, 0.25, 0.999999]))


@st.composite
def cases(draw: st.DrawFn, zones: tuple[str, ...] = (*WHOLE_HOURS, *OTHERS)) -> tuple[str, str, float]:
    zone = draw(st.sampled_from(zones))
    return draw(EXPRESSIONS), zone, draw(moments(zone))


def is_by_clock(expression: str) -> bool:
    minute, hour = expression.split()[:2]
    return minute.startswith("*") or hour.startswith("*")


def iterated(expression: str, zone: str, moment: float) -> float:
    """The first time after a moment of an iterator that begins days earlier."""
    early = datetime.fromtimestamp(moment - 2 * 86_400, ZoneInfo(zone))
    return next(time for time in (found.timestamp() for found in CronSim(expression, early)) if time > moment)


def shown(expression: str, zone: str, moment: float) -> float | None:
    """The first minute after a moment, within days, at which the clock shows a time of the expression."""
    cron, info = CronSim(expression, datetime(2000, 1, 1)), ZoneInfo(zone)
    first = int(moment // 60 + 1) * 60
    for time in range(first, first + DAYS * 86_400, 60):
        local = datetime.fromtimestamp(time, info)
        if local.minute in cron.minutes and local.hour in cron.hours and cron.match_day(local.date()):
            return float(time)
    return None


@LAWS
@given(cases())
def test_a_time_of_a_fixed_hour_is_the_next_one_of_an_iterator(case):
    expression, zone, moment = case
    if not is_by_clock(expression):
        assert CronTrigger(expression, zone).next_after(moment) == iterated(expression, zone, moment)


@LAWS
@given(cases(WHOLE_HOURS))
def test_a_time_where_clocks_change_by_a_full_hour_is_the_next_one_of_an_iterator(case):
    expression, zone, moment = case
    assert CronTrigger(expression, zone).next_after(moment) == iterated(expression, zone, moment)


@LAWS
@given(cases())
def test_a_time_of_an_expression_with_a_star_is_one_that_the_clock_shows(case):
    expression, zone, moment = case
    if is_by_clock(expression):
        found, expected = CronTrigger(expression, zone).next_after(moment), shown(expression, zone, moment)
        assert found == expected or (expected is None and found > moment + DAYS * 86_400 - 60)


@LAWS
@given(cases(), st.floats(0, 100_000))
def test_later_moments_have_the_same_or_later_times(case, further):
    expression, zone, moment = case
    trigger = CronTrigger(expression, zone)
    found = trigger.next_after(moment)
    assert moment < found <= trigger.next_after(moment + further)
    if moment + further < found:
        assert trigger.next_after(moment + further) == found


INTERVALS = st.one_of(
    st.sampled_from([1, 1.5, 60, 90, 1.1, 3600, timedelta(days=7), timedelta(seconds=1, microseconds=1)]),
    st.timedeltas(timedelta(seconds=1), timedelta(days=400)),
    st.floats(1, 1e6),
)


@LAWS
@given(INTERVALS, st.one_of(st.floats(0, 4e9), st.integers(0, 4_000_000_000).map(float)))
def test_a_fixed_rate_has_the_multiples_of_its_interval(interval, moment):
    trigger = FixedRateTrigger(interval)
    step = trigger.interval // timedelta(microseconds=1)
    found = trigger.next_after(moment)
    count = round(found * 1e6 / step)
    assert found == count * step / 1e6 > moment >= (count - 1) * step / 1e6
    assert trigger.next_after(found) == (count + 1) * step / 1e6
