"""The scalars of servey's types. Each writes what Python code has, and checks what comes in, but passes it on as JSON.

What comes in is decoded once, by the operation, as everywhere; a scalar only tells early what its codec would refuse,
so that variables and literals are judged when a request is validated.
"""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Callable, Mapping
from copy import copy
from typing import Any, cast

from graphql import (
    ConstValueNode,
    FloatValueNode,
    GraphQLError,
    GraphQLScalarType,
    IntValueNode,
    ObjectValueNode,
    ValueNode,
)
from graphql.language import ListValueNode, print_ast
from graphql.utilities import value_from_ast_untyped

from servey.codec import Codec, ResultError, to_wire
from servey.errors import CallError
from servey.servey_strawberry.model import InputType, Ref


class TextDefault(str):
    """The default of an argument or a member, told by its class from everything that comes in or leaves."""

    __slots__ = ()


class _IntDefault(int):
    __slots__ = ()


class _FloatDefault(float):
    __slots__ = ()


_MARKS: Mapping[type, Callable[[Any], Any]] = {str: TextDefault, int: _IntDefault, float: _FloatDefault}
_PLAIN: Mapping[type, Callable[[Any], Any]] = {TextDefault: str, _IntDefault: int, _FloatDefault: float}


def default_mark(default: Any, ref: Ref) -> Any:
    """Return a default as an object that nothing else is; but for True, False and None, which are the same each time.

    Args:
        default: The default as GraphQL has it.
        ref: Its type, in which enums have names, which no value of a result is.
    """
    if isinstance(default, list) and isinstance(ref.to, Ref):
        inner = ref.to
        return [default_mark(item, inner) for item in cast("list[Any]", default)]
    if isinstance(default, dict) and isinstance(ref.to, InputType):
        refs = {field.name: field.ref for field in ref.to.fields}
        return {name: default_mark(item, refs[name]) for name, item in cast("dict[str, Any]", default).items()}
    plain = cast("Any", default)
    mark = _MARKS.get(cast("type[Any]", type(plain)))
    return copy(plain) if mark is None else mark(plain)


def _unmarked(value: Any) -> Any:
    plain = _PLAIN.get(cast("type[Any]", type(value)))
    return value if plain is None else plain(value)


_RFC3339 = "https://www.rfc-editor.org/rfc/rfc3339"


def _big_in(value: Any) -> int:
    if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:
        value = int(value)
    if type(value) is not int:
        raise GraphQLError(f"BigInt cannot represent non-integer value: {_told(value)}")
    return value


def _big_out(value: Any) -> int:
    if not isinstance(value, int):
        raise GraphQLError(f"BigInt cannot represent non-integer value: {value!r}")
    return int(value)


def _big_literal(node: ConstValueNode, *_: Any) -> int:
    if not isinstance(node, IntValueNode):
        raise GraphQLError(f"BigInt cannot represent non-integer value: {print_ast(node)}", node)
    return _whole(node)


def _whole(node: IntValueNode) -> int:
    try:
        return int(node.value)
    except ValueError:  # of more digits than Python reads
        raise GraphQLError("the number has too many digits", node) from None


def _told(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _literal(node: ValueNode) -> Any:
    """Return a literal as JSON.

    Raises:
        GraphQLError: It has a number with too many digits.
    """
    if isinstance(node, IntValueNode):
        return _whole(node)
    if isinstance(node, ListValueNode):
        return [_literal(item) for item in node.values]
    if isinstance(node, ObjectValueNode):
        return {field.name.value: _literal(field.value) for field in node.fields}
    return value_from_ast_untyped(node)


def _coded(name: str, tp: Any, description: str, *, url: str | None = None, exact: bool = False) -> GraphQLScalarType:
    """Return the scalar of a type that a codec reads and writes.

    Args:
        name: Its name.
        tp: The type.
        description: What it looks like.
        url: What specifies it (GraphQL §3.5.5).
        exact: Whether a number in a document is taken by its digits, which a float might not keep.
    """
    codec: Codec[Any] = Codec(tp, label=name)

    def out(value: Any) -> Any:
        value = bytes(value) if type(value) is bytearray else _unmarked(value)
        try:
            return codec.encode(value)
        except ResultError:
            # the default of an argument, which is JSON already, is written by this way, too
            return taken(value)

    def taken(value: Any, node: ValueNode | None = None) -> Any:
        try:
            codec.decode(value)
        except CallError as error:
            told = error.errors[0].message if error.errors else str(error)
            raise GraphQLError(f"{name}: {told}", node) from None
        return value

    def literal(node: ConstValueNode, *_: Any) -> Any:
        if exact and isinstance(node, (FloatValueNode, IntValueNode)):
            return taken(node.value, node)
        return taken(_literal(node), node)

    return _scalar(name, description, out, taken, literal, url)


def _scalar(
    name: str,
    description: str,
    out: Callable[[Any], Any],
    taken: Callable[[Any], Any],
    literal: Callable[..., Any],
    url: str | None = None,
) -> GraphQLScalarType:
    return GraphQLScalarType(
        name=name,
        description=description,
        specified_by_url=url,
        coerce_output_value=out,
        coerce_input_value=taken,
        coerce_input_literal=cast("Any", literal),
    )


def _json_out(value: Any) -> Any:
    try:
        return to_wire(_unmarked(value))
    except (ValueError, TypeError, RecursionError) as error:
        raise GraphQLError(f"JSON cannot represent a {type(value).__name__}") from error


def _json_literal(node: ConstValueNode, *_: Any) -> Any:
    return _literal(node)


def _void(value: Any, *_: Any) -> Any:
    raise GraphQLError(f"Void has no value but null, not {_told(value)}")


def scalars() -> Mapping[str, GraphQLScalarType]:
    """Return new scalars by their names; those that GraphQL itself has, as `Int`, are not among them."""
    made = (
        _scalar("BigInt", "A whole number of any size, written as a number.", _big_out, _big_in, _big_literal),
        _scalar("JSON", "Any JSON value.", _json_out, lambda value: value, _json_literal),
        _scalar("Void", "Nothing: always null.", _void, _void, _void),
        _coded("DateTime", datetime.datetime, "A date with a time, and an offset where it is written.", url=_RFC3339),
        _coded("Date", datetime.date, "A date: `2026-11-22`.", url=_RFC3339),
        _coded("Time", datetime.time, "A time of day, with or without an offset: `12:30:00`."),
        _coded("Duration", datetime.timedelta, "A length of time (ISO 8601): `P1DT2H`."),
        _coded("UUID", uuid.UUID, "A UUID.", url="https://www.rfc-editor.org/rfc/rfc9562"),
        _coded(
            "Decimal", decimal.Decimal, "A decimal number, written as a string; read from a number as well.", exact=True
        ),
        _coded("Base64", bytes, "Bytes in base64.", url="https://www.rfc-editor.org/rfc/rfc4648"),
    )
    return {scalar.name: scalar for scalar in made}
