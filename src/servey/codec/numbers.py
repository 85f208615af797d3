"""Keep all digits of JSON numbers until the declared type decides (RFC 8259 §6 does not limit the precision).

`parse` reads a text into values in which a number with a fraction or an exponent is a `Decimal`. A `Decimal` parameter
gets it unchanged, a `float` the nearest double, an `int` a whole number (``5.0`` is an integer, JSON Schema 2020-12
§6.1.1), and `Any` plain floats.
"""

from __future__ import annotations

import math
import re
import typing
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

EXACT = 2**53 - 1
"""Up to this integer, every integer has its own double."""

MAX_DEPTH = 100
"""The largest number of levels of arrays and objects in an `Any`."""

_MOST_DIGITS = 309
"""The largest number of digits of a whole number with a fraction or an exponent; ``1e9999`` is a short text."""

_NO_MARKS = bytes(set(range(256)) - set(b'[]{}"\\'))
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_SCALARS = frozenset({str, int, float, bool, type(None)})


def digits(text: str) -> Decimal | float:
    """Return the number that a JSON text writes; the `float_hook` of decoders that keep digits."""
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent of twenty digits
        number = float(text)
        if math.isinf(number):
            raise msgspec.ValidationError("Number out of range") from None
        return number


_parse = msgspec.json.Decoder(float_hook=digits).decode


def parse(text: bytes | str) -> Any:
    """Return the values of a JSON text: ``1.10`` is ``Decimal("1.10")``, ``5`` is an int.

    Raises:
        msgspec.DecodeError: It is not JSON.
        UnicodeDecodeError: It is not UTF-8.
        RecursionError: It is nested too deeply.
    """
    return _parse(text)


def plain(value: Any, depth: int = MAX_DEPTH) -> Any:
    """Return parsed JSON with floats for its `Decimal` numbers.

    Raises:
        ValueError: A number is beyond the range of a double.
        RecursionError: It has more than `depth` levels of arrays and objects.
    """
    if isinstance(value, Decimal):
        number = float(value)
        if not math.isfinite(number):
            raise ValueError(f"expected a finite number, got {value}")
        return number
    if not isinstance(value, (list, tuple, dict)):
        return value
    if depth <= 0:
        raise RecursionError
    inner = depth - 1
    if isinstance(value, dict):
        members = typing.cast("dict[Any, Any]", value)
        return {key: item if type(item) in _SCALARS else plain(item, inner) for key, item in members.items()}
    return [item if type(item) in _SCALARS else plain(item, inner) for item in typing.cast("list[Any]", value)]


def is_deep(text: bytes) -> bool:
    """Return whether a text, which need not be JSON, has over `MAX_DEPTH` levels of arrays and objects.

    Example:
        >>> is_deep(b"[[1], {}]"), is_deep(b"[" * 101 + b"]" * 101), is_deep(b'"%s"' % (b"[" * 101))
        (False, True, False)
    """
    if text.count(b"[") + text.count(b"{") <= MAX_DEPTH:
        return False
    marks = text.translate(None, _NO_MARKS)
    if b"\\" not in marks:
        marks = marks.replace(b'""', b"")  # most strings have no brackets in them
    if b'"' in marks:
        marks = _STRING.sub(b"", marks)
    for _ in range(MAX_DEPTH):  # each time the innermost level goes
        marks = marks.replace(b"[]", b"").replace(b"{}", b"")
        if not marks:
            return False
    return True


def whole_number(value: Any) -> int | None:
    """Return a number with a fraction of zero as an int: ``5.0`` is 5; None for any other value."""
    if type(value) is Decimal:
        if not value.is_finite() or value.adjusted() >= _MOST_DIGITS or value != value.to_integral_value():
            return None
        return int(value)
    if type(value) is float and value.is_integer() and abs(value) <= EXACT:
        return int(value)
    return None


def is_multiple(value: Any, divisor: Any) -> bool:
    """Return whether `value` / `divisor` is an integer (JSON Schema validation §6.2.1).

    Floats count as the decimal numbers of their text: 19.99 is a multiple of 0.01. The result of a calculation, such as
    ``0.1 + 0.2``, is a multiple, too.

    Example:
        >>> is_multiple(19.99, 0.01), is_multiple(0.295, 0.01), is_multiple(Decimal("1.10"), Decimal("0.05"))
        (True, False, True)
    """
    if _divides(_scaled(divisor), _scaled(value)):
        return True
    if not isinstance(value, float):
        return False
    quotient = value / float(divisor)
    return abs(quotient) <= EXACT and value == round(quotient) * float(divisor)


def _scaled(number: Any) -> tuple[int, int]:
    """Return a number as (digits, exponent of ten)."""
    exact = Decimal(repr(float(number))) if isinstance(number, float) else Decimal(number)
    sign, parts, exponent = exact.as_tuple()
    assert isinstance(exponent, int)
    return int("".join(map(str, parts))) * (-1 if sign else 1), exponent


def _divides(divisor: tuple[int, int], value: tuple[int, int]) -> bool:
    """Return whether one number divides the other, without computing their digits."""
    (by, by_exponent), (number, exponent) = divisor, value
    if not by or not number:
        return bool(by)
    shift = exponent - by_exponent
    if shift >= 0:
        return number * pow(10, shift, abs(by)) % by == 0
    if -shift > len(str(abs(number))) + len(str(abs(by))):
        return False
    return number % (by * 10**-shift) == 0
