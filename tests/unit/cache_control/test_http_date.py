import calendar
import locale

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servey.cache_control.http_date import format_http_date, parse_http_date

RFC_9110 = 784111777
"""The example of RFC 9110 §5.6.7."""


@pytest.mark.parametrize(
    "text",
    ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"],
)
def test_the_three_forms_of_a_date_are_read(text):
    assert parse_http_date(text, now=RFC_9110) == RFC_9110


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "yesterday",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        " Sun, 06 Nov 1994 08:49:37 GMT",
        "sun, 06 nov 1994 08:49:37 gmt",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, ٠٦ Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Sun Nov 6 08:49:37 1994",
        "1994-11-06T08:49:37Z",
    ],
)
def test_what_is_no_date_of_http_is_none(text):
    assert parse_http_date(text) is None


@pytest.mark.parametrize(
    ("digits", "now", "year"),
    [
        ("94", (2026, 1, 1), 1994),
        ("76", (2026, 1, 1), 1976),
        ("75", (2026, 1, 1), 2075),
        ("00", (1999, 1, 1), 2000),
        ("26", (2026, 1, 1), 2026),
        ("10", (2070, 1, 1), 2110),
    ],
)
def test_a_year_of_two_digits_is_at_most_50_years_ahead(digits, now, year):
    found = parse_http_date(f"Sunday, 06-Nov-{digits} 08:49:37 GMT", now=calendar.timegm((*now, 0, 0, 0, 0, 0, 0)))
    assert found == calendar.timegm((year, 11, 6, 8, 49, 37, 0, 0, 0))


def test_a_leap_second_is_the_one_before():
    assert parse_http_date("Sat, 31 Dec 2016 23:59:60 GMT") == parse_http_date("Sat, 31 Dec 2016 23:59:59 GMT")


@given(st.floats(0, 253402300799, allow_nan=False))
def test_what_is_written_is_read_again_without_the_part_of_a_second(seconds):
    assert parse_http_date(format_http_date(seconds)) == int(seconds)


def test_a_date_is_written_in_english_whatever_the_locale():
    before = locale.setlocale(locale.LC_ALL)
    try:
        locale.setlocale(locale.LC_ALL, "C.UTF-8")
        assert format_http_date(0) == "Thu, 01 Jan 1970 00:00:00 GMT"
    finally:
        locale.setlocale(locale.LC_ALL, before)


@given(st.text())
def test_nothing_that_is_sent_makes_the_reading_of_a_date_fail(text):
    assert parse_http_date(text) is None or text.isascii()
