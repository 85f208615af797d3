"""The regular expression of the decimal numbers between two bounds.

A `Decimal` is a string in JSON, and JSON Schema has bounds only for numbers. So the bounds of a string need a pattern.
Its dialect is the common part of ECMA-262 and Python, without lookaheads.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any, NamedTuple

from servey.codec.node import Constraints

_INFINITE = Decimal("Infinity")
_FRACTION = r"(\.[0-9]+)?"
ANY_DECIMAL = r"^-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,17})?$"
"""A decimal number of any size."""


def decimal_pattern(
    low: Decimal | None, high: Decimal | None, *, open_low: bool = False, open_high: bool = False
) -> str:
    """Return the pattern of the numbers from `low` to `high` in plain notation, without an exponent.

    None means no bound. An open side excludes the bound itself.

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
    """Return the patterns of the numbers from `low`, which is not negative, by the width of their whole part."""
    whole, fraction = _parts(low)
    last, rest = (whole, None) if high.is_infinite() else _parts(high)
    parts: list[str] = []
    for width in range(len(whole), len(last) + 1):
        is_first, is_last = width == len(whole), width == len(last) and rest is not None
        start = _Bound(whole, fraction, open_low) if is_first else _Bound("1" + "0" * (width - 1))
        parts += _numbers(start, _Bound(last, rest or "", open_high) if is_last else None)
    return parts if rest is not None else [*parts, f"[1-9][0-9]{{{len(whole)},}}{_FRACTION}"]


class _Bound(NamedTuple):
    """The digits of a bound before and after the point, without zeros that mean nothing."""

    whole: str
    fraction: str = ""
    is_open: bool = False


def _parts(number: Decimal) -> tuple[str, str]:
    whole, _, fraction = f"{number:f}".partition(".")
    return whole, fraction.rstrip("0")


def _numbers(low: _Bound, high: _Bound | None) -> list[str]:
    """Return the patterns of the numbers with as many digits before the point as the bounds; None means unbounded."""
    if not low.whole:
        return _fractions(low, high)
    first, last = int(low.whole[0]), 10 if high is None else int(high.whole[0])
    low, high = low._replace(whole=low.whole[1:]), high and high._replace(whole=high.whole[1:])
    count = len(low.whole)
    parts: list[str] = []
    if first == last or low.whole.strip("0") or low.fraction or low.is_open:
        parts = [f"{first}{part}" for part in _numbers(low, high if first == last else None)]
        first += 1
    if first < last:
        rest = f"[0-9]{{{count}}}" if count > 1 else "[0-9]" * count
        parts.append(f"{_digit(first, last - 1)}{rest}{_FRACTION}")
    if first <= last < 10:
        parts += [f"{last}{part}" for part in _numbers(_Bound("0" * count), high)]
    return parts


def _fractions(low: _Bound, high: _Bound | None) -> list[str]:
    """Return the patterns of what follows the whole part: a point and digits, or nothing."""
    if low.fraction or low.is_open or (high is not None and (high.fraction or high.is_open)):
        return [f"\\.{digits}" if digits else "" for digits in _after_point(low, high)]
    return [_FRACTION if high is None else r"(\.0+)?"]


def _after_point(low: _Bound, high: _Bound | None) -> list[str]:
    """Return the patterns of the digits after the point; no digits, where zeros are within the bounds."""
    if not low.fraction and high is None:
        return ["0*[1-9][0-9]*" if low.is_open else "[0-9]*"]
    if not low.fraction and high is not None and not high.fraction:
        return [] if low.is_open or high.is_open else ["0*"]
    first, last = int(low.fraction[:1] or 0), 10 if high is None else int(high.fraction[:1] or 0)
    parts = [] if low.fraction or low.is_open else [""]
    low, high = low._replace(fraction=low.fraction[1:]), high and high._replace(fraction=high.fraction[1:])
    if first == last or low.fraction or low.is_open:
        parts += _after(first, _after_point(low, high if first == last else None))
        first += 1
    if first < last:
        parts.append(f"{_digit(first, last - 1)}[0-9]*")
    if first <= last < 10:
        parts += _after(last, _after_point(_Bound(""), high))
    return parts


def _digit(low: int, high: int) -> str:
    return str(low) if low == high else f"[{low}-{high}]"


def _after(digit: int, parts: list[str]) -> list[str]:
    """Return patterns of the digit followed by one of the parts."""
    return [f"{digit}({'|'.join(parts)})"] if len(parts) > 1 else [f"{digit}{part}" for part in parts]


_DIGITS = 20
"""The largest number of digits, before or after the point, of a bound in a pattern."""

_LONGEST = 2000
"""The largest number of characters in a pattern."""


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
    """Return the larger number of digits: before or after the point."""
    _, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    return max(len(digits) + exponent, -exponent)
