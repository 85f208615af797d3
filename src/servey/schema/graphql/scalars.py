"""The scalars of a schema, and the coercion of their values (GraphQL, September 2025, §3.5).

Input coercion checks a JSON value and returns JSON: the operation decodes arguments, as in every transport. In that
JSON, a number with a fraction or an exponent may be a `Decimal` with all its digits (`servey.codec.numbers`).
"""

from __future__ import annotations

import datetime
import decimal
import functools
import math
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from servey.codec import Codec, ResultError, to_jsonable
from servey.codec.numbers import whole_number
from servey.errors import CallError
from servey.schema.graphql.errors import IntRangeError

INT_LIMIT = 2**31
"""An Int is at least ``-INT_LIMIT`` and less than ``INT_LIMIT``."""

_INT_HINT = "more than the 32 bits of GraphQL's Int; an action that has such numbers declares servey.BigInt"
_INT_DESCRIPTION = (
    "The `Int` scalar type represents non-fractional signed whole numeric values. "
    "Int can represent values between -(2^31) and 2^31 - 1."
)
_FLOAT_DESCRIPTION = (
    "The `Float` scalar type represents signed double-precision fractional values as specified by "
    "[IEEE 754](https://en.wikipedia.org/wiki/IEEE_floating_point)."
)
_RFC3339 = "https://www.rfc-editor.org/rfc/rfc3339"


class ScalarCoercion(msgspec.Struct, frozen=True):
    """A scalar, and the coercion of its values.

    Args:
        name: Its name.
        description: What its values look like.
        output: Coerces a value of a result to JSON. Raises a ValueError, or an IntRangeError for a large int.
        input: Coerces a JSON value of an argument. Raises a ValueError with a message for the caller.
        url: The URL of its specification (GraphQL §3.5.5).
    """

    name: str
    description: str
    output: Callable[[Any], Any]
    input: Callable[[Any], Any]
    url: str | None = None


_CODED: Mapping[str, tuple[Any, str, str | None]] = {
    "DateTime": (datetime.datetime, "A date with a time, and an offset where it is written.", _RFC3339),
    "Date": (datetime.date, "A date: `2026-11-22`.", _RFC3339),
    "Time": (datetime.time, "A time of day, with or without an offset: `12:30:00`.", None),
    "Duration": (datetime.timedelta, "A length of time (ISO 8601): `P1DT2H`.", None),
    "UUID": (uuid.UUID, "A UUID.", "https://www.rfc-editor.org/rfc/rfc9562"),
    "Decimal": (decimal.Decimal, "A decimal number, written as a string; read from a number as well.", None),
    "Base64": (bytes, "Bytes in base64.", "https://www.rfc-editor.org/rfc/rfc4648"),
}
"""The scalars with a codec: type, description, and URL of the specification."""

SCALAR_NAMES: Mapping[type, str] = {
    **{str: "String", int: "Int", float: "Float", bool: "Boolean", type(None): "Void", bytearray: "Base64"},
    **{tp: name for name, (tp, _, _) in _CODED.items()},
}
"""The names of the scalars of Python's types."""


@functools.cache
def scalar_coercion(name: str) -> ScalarCoercion:
    """Return the coercion of a scalar of a model.

    Raises:
        KeyError: There is no scalar of this name.
    """
    return _PLAIN[name] if name in _PLAIN else _of_codec(name, *_CODED[name])


def _of_codec(name: str, tp: Any, description: str, url: str | None) -> ScalarCoercion:
    codec: Codec[Any] = Codec(tp, label=name)

    def output(value: Any) -> Any:
        if type(value) is str:  # written by an engine, such as pydantic's NaiveDatetime
            return value
        try:
            return codec.encode(bytes(value) if type(value) is bytearray else value)
        except ResultError as error:
            raise _not_a(name, value) from error

    def input(value: Any) -> Any:
        try:
            codec.decode(value)
        except CallError as error:
            raise ValueError(f"{name}: {error.errors[0].message if error.errors else error}") from None
        return value

    return ScalarCoercion(name, description, output, input, url)


def _not_a(name: str, value: Any) -> ValueError:
    return ValueError(f"{name} cannot represent a {type(value).__name__}")


def _unexpected(name: str, expected: str, value: Any) -> ValueError:
    text = "a number with a fraction" if isinstance(value, decimal.Decimal) else repr(value)
    return ValueError(f"{name} cannot represent {expected} value: {text if len(text) <= 60 else f'{text[:60]}…'}")


def _same(value: Any) -> Any:
    return value


def _string_input(value: Any) -> str:
    if type(value) is not str:
        raise _unexpected("String", "a non string", value)
    return value


def _boolean_input(value: Any) -> bool:
    if type(value) is not bool:
        raise _unexpected("Boolean", "a non boolean", value)
    return value


def _int_output(value: Any) -> int:
    if not isinstance(value, int):
        raise _not_a("Int", value)
    if not -INT_LIMIT <= value < INT_LIMIT:
        raise IntRangeError(_too_large(value))
    return int(value)


def _int_input(value: Any) -> int:
    number = _whole_input("Int", value)
    if not -INT_LIMIT <= number < INT_LIMIT:
        raise ValueError(_too_large(number))
    return number


def _too_large(number: int) -> str:
    is_short = abs(number) < 10**40  # Python writes no int of more than 4,300 digits
    return f"{number if is_short else 'the number'} is {_INT_HINT}"


def _big_int_output(value: Any) -> int:
    if not isinstance(value, int):
        raise _not_a("BigInt", value)
    return int(value)


def _big_int_input(value: Any) -> int:
    return _whole_input("BigInt", value)


def _whole_input(name: str, value: Any) -> int:
    """Return a whole number in any notation, such as ``5.0``, as an int."""
    whole = whole_number(value)
    number = value if whole is None else whole
    if type(number) is not int:
        raise _unexpected(name, "non-integer", value)
    return number


def _float_output(value: Any) -> float:
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        raise _not_a("Float", value)
    return float(value)


def _float_input(value: Any) -> float:
    """Return the double nearest to a number: JavaScript writes large doubles as whole numbers."""
    if type(value) not in (int, float, decimal.Decimal):
        raise _unexpected("Float", "non numeric", value)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError("Float cannot represent a number that is out of range")
    return number


def _json_output(value: Any) -> Any:
    try:
        return to_jsonable(value)
    except (ValueError, TypeError, RecursionError) as error:
        raise _not_a("JSON", value) from error


def _void(value: Any) -> Any:
    raise ValueError(f"Void is always null, and cannot represent a {type(value).__name__}")


_PLAIN: Mapping[str, ScalarCoercion] = {
    scalar.name: scalar
    for scalar in (
        ScalarCoercion("String", "Text.", _same, _string_input),
        ScalarCoercion("Boolean", "`true` or `false`.", _same, _boolean_input),
        ScalarCoercion("Int", _INT_DESCRIPTION, _int_output, _int_input),
        ScalarCoercion("Float", _FLOAT_DESCRIPTION, _float_output, _float_input),
        ScalarCoercion("BigInt", "A whole number of any size, written as a number.", _big_int_output, _big_int_input),
        ScalarCoercion("JSON", "Any JSON value.", _json_output, _same),
        ScalarCoercion("Void", "Nothing: always null.", _void, _void),
    )
}
