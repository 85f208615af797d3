"""The pattern of bounded decimals says exactly which numbers are between the bounds."""

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servey.codec.decimal_pattern import ANY_DECIMAL, decimal_pattern

NUMBERS = st.decimals(min_value=-1200, max_value=1200, places=3) | st.integers(-1200, 1200).map(Decimal)
BOUNDS = st.none() | NUMBERS


@given(low=BOUNDS, high=BOUNDS, open_low=st.booleans(), open_high=st.booleans(), data=st.data())
def test_it_matches_the_numbers_between_the_bounds_and_no_others(low, high, open_low, open_high, data):
    if low is not None and high is not None and low > high:
        low, high = high, low
    pattern = re.compile(decimal_pattern(low, high, open_low=open_low, open_high=open_high))
    near = [bound for bound in (low, high) if bound is not None] or [Decimal(0)]
    steps = st.integers(-30, 30).flatmap(lambda n: st.integers(0, 4).map(lambda places: Decimal(n).scaleb(-places)))
    number = data.draw(NUMBERS | st.tuples(st.sampled_from(near), steps).map(sum))
    text = f"{number or abs(number):f}"
    if "." in text:
        text += data.draw(st.sampled_from(["", "0", "000"]))
    above = low is None or (number > low if open_low else number >= low)
    below = high is None or (number < high if open_high else number <= high)
    assert bool(pattern.match(text)) == (above and below), (text, pattern.pattern)


@pytest.mark.parametrize("text", ["", "-", ".5", "5.", "1e5", "01x", "1,5", " 1", "1\n2", "+1"])
def test_what_is_no_plain_number_does_not_match(text):
    assert re.match(decimal_pattern(None, Decimal(10**6)), text) is None


@pytest.mark.parametrize("number", ["0", "-0.0", "1E+5", "1.5E-7", "12345678901234567890.1"])
def test_every_decimal_is_written_as_the_general_pattern_says(number):
    assert re.match(ANY_DECIMAL, str(Decimal(number)))


def test_minus_zero_is_zero():
    assert decimal_pattern(Decimal("-0.0"), Decimal("-0")) == decimal_pattern(Decimal(0), Decimal(0))
