"""The regular expression of the decimal numbers between two bounds.

A `Decimal` travels as a string, and JSON Schema has bounds for numbers only: what a string may be, a pattern has to
say. The dialect is the part of ECMA-262's and Python's that every reader of a schema knows; no lookaheads.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

from servey.codec.node import Constraints

_INFINITE = Decimal("Infinity")
_FRACTION = r"(\.[0-9]+)?"
ANY_DECIMAL = r"^-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,17})?$"
"""A decimal number of any size."""


def decimal_pattern(
    low: Decimal | None, high: Decimal | None, *, open_low: bool = False, open_high: bool = False
) -> str:
    """Return the pattern of the numbers from `low` to `high` in plain notation, without an exponent.

    None is no bound. Where a side is open, the bound itself is left out.

    Example:
        >>> decimal_pattern(Decimal(0), Decimal(12), open_low=True)
        '^(0\\\\.0*[1-9][0-9]*|[1-9](\\\\.[0-9]+)?|1[0-1](\\\\.[0-9]+)?|12(\\\\.0+)?)$'
    """
    low = -_INFINITE if low is None else low
    high = _INFINITE if high is None else high
    zero = Decimal(0)
    parts: list[str] = []
    if low < 0:
        parts += [f"-{part}" for part in _positive(max(zero, -high), -low, open_high or high >= 0, open_low)]
    if high >= 0:
        parts += _positive(max(zero, low), high.copy_abs(), open_low and low >= 0, open_high)  # -0 is 0
    return f"^({'|'.join(parts)})$"


def _positive(low: Decimal, high: Decimal, open_low: bool, open_high: bool) -> list[str]:
    """Return the patterns of the numbers from `low`, which is not negative."""
    whole, fraction = _parts(low)
    if high.is_infinite():
        return [*_from(whole, fraction, open_low), *_whole_above(whole)]
    last, rest = _parts(high)
    if whole == last:
        return [f"{whole}{part}" for part in _fractions(fraction, rest, open_low, open_high)]
    between = [f"{part}{_FRACTION}" for part in _wholes(int(whole) + 1, int(last) - 1)]
    upper = [f"{last}{part}" for part in _fractions("", rest, False, open_high)]
    return [*_from(whole, fraction, open_low), *between, *upper]


def _parts(number: Decimal) -> tuple[str, str]:
    """Return the digits before and after the point, without zeros that mean nothing."""
    whole, _, fraction = f"{number:f}".partition(".")
    return whole, fraction.rstrip("0")


def _from(whole: str, fraction: str, is_open: bool) -> list[str]:
    """Return the patterns of the numbers with these digits before the point, and no less after it."""
    if not fraction:
        return [f"{whole}\\.0*[1-9][0-9]*" if is_open else f"{whole}{_FRACTION}"]
    return [f"{whole}{part}" for part in _fractions(fraction, None, is_open, False)]


def _fractions(low: str, high: str | None, open_low: bool, open_high: bool) -> list[str]:
    """Return the patterns of what follows the whole part, between such digits: a point and digits, or nothing."""
    width = max(len(low), len(high or ""))
    least = low.ljust(width, "0")
    # a number with more digits than the bounds is between two numbers of their length
    first = int(f"0{least}")
    last = 10**width if high is None else int("0" + high.ljust(width, "0"))
    if first >= last:
        return _equal(low, open_low or open_high)
    parts = [*_equal(low, open_low), f"\\.{least}0*[1-9][0-9]*"]
    parts += [f"\\.{item}[0-9]*" for item in _same_width(first + 1, last - 1, width)]
    if high is not None:
        parts += _equal(high, open_high)
    # fewer digits than the bounds have: the missing ones are zeros
    for count in range(1, width):
        scale = 10 ** (width - count)
        begin = -(-(first + 1) // scale)
        parts += [f"\\.{item}" for item in _same_width(begin, (last - 1) // scale, count)]
    return list(dict.fromkeys(parts))


def _equal(digits: str, is_open: bool) -> list[str]:
    """Return the patterns of exactly these digits after the point; zeros may follow."""
    if is_open:
        return []
    return [f"\\.{digits}0*"] if digits else [r"(\.0+)?"]


def _whole_above(whole: str) -> list[str]:
    """Return the patterns of the numbers whose whole part is greater than `whole`."""
    width = len(whole)
    parts = [*_wholes(int(whole) + 1, 10**width - 1), f"[1-9][0-9]{{{width},}}"]
    return [f"{part}{_FRACTION}" for part in parts]


def _wholes(low: int, high: int) -> list[str]:
    """Return the patterns of the whole numbers from `low` to `high`, without leading zeros."""
    parts: list[str] = []
    for width in range(len(str(low)), len(str(high)) + 1):
        least = max(low, 10 ** (width - 1) if width > 1 else 0)
        parts += _same_width(least, min(high, 10**width - 1), width)
    return parts


def _same_width(low: int, high: int, width: int) -> list[str]:
    """Return the patterns of the digit strings of one width from `low` to `high`."""
    if low > high:
        return []
    return _between(str(low).rjust(width, "0"), str(high).rjust(width, "0"))


def _between(low: str, high: str, prefix: str = "") -> list[str]:
    if not low:
        return [prefix]
    if low[0] == high[0]:
        return _between(low[1:], high[1:], prefix + low[0])
    count = len(low) - 1
    zeros, nines = "0" * count, "9" * count
    first, last = int(low[0]), int(high[0])
    parts: list[str] = []
    if low[1:] != zeros:
        parts += _between(low[1:], nines, prefix + low[0])
        first += 1
    above = [] if high[1:] == nines else _between(zeros, high[1:], prefix + high[0])
    last -= bool(above)
    if first <= last:
        digit = str(first) if first == last else f"[{first}-{last}]"
        parts.append(prefix + digit + (f"[0-9]{{{count}}}" if count > 1 else "[0-9]" * count))
    return parts + above


_DIGITS = 20
"""A Decimal's bound of more digits, before or after the point, is not said in a pattern."""

_LONGEST = 2000
"""A pattern of more characters is not written."""


def pattern_of_bounds(constraints: Constraints) -> str:
    """Return the pattern of the decimals within the bounds of a Decimal; of any decimal, if that is too long."""
    # of two bounds on one side the tighter, and of two equal ones the one that leaves the number itself out
    lows = [
        (Decimal(low), is_open) for low, is_open in ((constraints.ge, False), (constraints.gt, True)) if _finite(low)
    ]
    highs = [
        (Decimal(h), not is_open) for h, is_open in ((constraints.le, False), (constraints.lt, True)) if _finite(h)
    ]
    low, open_low = max(lows, default=(None, False))
    high, closed_high = min(highs, default=(None, True))
    if max((_digits(bound) for bound, _ in lows + highs), default=_DIGITS + 1) > _DIGITS:
        return ANY_DECIMAL
    pattern = decimal_pattern(low, high, open_low=open_low, open_high=not closed_high)
    return pattern if len(pattern) <= _LONGEST else ANY_DECIMAL


def _finite(bound: Any) -> bool:
    return isinstance(bound, (int, Decimal)) and math.isfinite(bound if isinstance(bound, Decimal) else 0)


def _digits(number: Decimal) -> int:
    """Return how many digits stand before or after the point, whichever are more."""
    _, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    return max(len(digits) + exponent, -exponent)
