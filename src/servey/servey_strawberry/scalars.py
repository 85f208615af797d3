"""The scalars of servey's types. Each writes what Python code has, and checks what comes in, but passes it on as JSON.

What comes in is decoded once, by the operation, as everywhere; a scalar only tells early what its codec would refuse,
so that variables and literals are judged when a request is validated.

Literals and variables have the same rules: a literal is converted to its JSON value, and then treated as a variable. In
both, a number with a fraction or an exponent is a `Decimal` with all its digits (`servey.codec.numbers`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, cast

from graphql import (
    BooleanValueNode,
    ConstValueNode,
    FloatValueNode,
    GraphQLError,
    GraphQLFloat,
    GraphQLInt,
    GraphQLScalarType,
    IntValueNode,
    ListValueNode,
    NameNode,
    NullValueNode,
    ObjectFieldNode,
    ObjectValueNode,
    StringValueNode,
    ValueNode,
)
from graphql.language import print_ast
from graphql.utilities.value_to_literal import default_scalar_value_to_literal

from servey.codec import Codec, ResultError, to_jsonable
from servey.codec.numbers import digits, whole_number
from servey.errors import CallError
from servey.schema.graphql.model import CODED


class _OwnScalar(GraphQLScalarType):
    """A scalar that may replace one of graphql-core's in a schema, under the same name."""

    def __new__(cls, *_: Any, **__: Any) -> Any:
        return object.__new__(cls)


def _scalar(
    name: str,
    description: str | None,
    out: Callable[[Any], Any],
    taken: Callable[[Any], Any],
    *,
    url: str | None = None,
) -> GraphQLScalarType:
    """Return a scalar.

    Args:
        name: Its name.
        description: What it looks like.
        out: Converts a value of a result to JSON.
        taken: Converts the JSON value of a variable, or raises a GraphQLError.
        url: The URL of its specification (GraphQL §3.5.5).
    """

    def literal(node: ConstValueNode, *_: Any) -> Any:
        try:
            return taken(_literal(node))
        except GraphQLError as error:
            raise error if error.nodes else GraphQLError(error.message, node) from None

    return _OwnScalar(
        name=name,
        description=description,
        specified_by_url=url,
        coerce_output_value=out,
        coerce_input_value=taken,
        coerce_input_literal=cast("Any", literal),
        value_to_literal=_node_of,
    )


def _node_of(value: Any) -> Any:
    """Return the literal of a JSON value, for a variable inside a JSON literal; the reverse of `_literal`."""
    if isinstance(value, Decimal):
        return FloatValueNode(value=str(value))
    if isinstance(value, list):
        return ListValueNode(values=tuple(map(_node_of, cast("list[Any]", value))))
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        fields = (ObjectFieldNode(name=NameNode(value=name), value=_node_of(item)) for name, item in members.items())
        return ObjectValueNode(fields=tuple(fields))
    return default_scalar_value_to_literal(value)


def _literal(node: ValueNode) -> Any:
    """Return the JSON value of a literal.

    Raises:
        GraphQLError: It has a number that JSON could not have either, or an enum value, which JSON does not have.
    """
    if isinstance(node, NullValueNode):
        return None
    if isinstance(node, (BooleanValueNode, StringValueNode)):
        return node.value
    if isinstance(node, IntValueNode):
        return _whole(node)
    if isinstance(node, FloatValueNode):
        return digits(node.value)
    if isinstance(node, ListValueNode):
        return [_literal(item) for item in node.values]
    if isinstance(node, ObjectValueNode):
        return {field.name.value: _literal(field.value) for field in node.fields}
    raise GraphQLError(f"{print_ast(node)} is not a JSON value: write text in quotes", node)


def _whole(node: IntValueNode) -> int:
    try:
        return int(node.value)
    except ValueError:  # of more digits than Python reads
        raise GraphQLError("the number has too many digits", node) from None


def _told(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _int_taken(value: Any) -> int:
    return GraphQLInt.coerce_input_value(_number(value))


def _float_taken(value: Any) -> float:
    """Return any number as the double next to it: JavaScript writes large ones in digits, as it does whole ones."""
    if type(value) not in (int, Decimal):
        return GraphQLFloat.coerce_input_value(value)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise GraphQLError("Float cannot represent a number that is out of range")
    return number


def _big_taken(value: Any) -> int:
    number = _number(value)
    if type(number) is not int:
        raise GraphQLError(f"BigInt cannot represent non-integer value: {_told(value)}")
    return number


def _number(value: Any) -> Any:
    """Return a value, as an int if it is a whole number in any notation."""
    whole = whole_number(value)
    return value if whole is None else whole


def _big_out(value: Any) -> int:
    if not isinstance(value, int):
        raise GraphQLError(f"BigInt cannot represent non-integer value: {value!r}")
    return int(value)


def _coded(name: str) -> GraphQLScalarType:
    """Return the scalar of a type that a codec reads and writes."""
    tp, description, url = CODED[name]
    codec: Codec[Any] = Codec(tp, label=name)

    def out(value: Any) -> Any:
        if type(value) is str:  # an engine has written it already: pydantic's NaiveDatetime, for example
            return value
        try:
            return codec.encode(bytes(value) if type(value) is bytearray else value)
        except ResultError as error:
            raise GraphQLError(f"{name} cannot represent a {type(value).__name__}") from error

    def taken(value: Any) -> Any:
        try:
            codec.decode(value)
        except CallError as error:
            told = error.errors[0].message if error.errors else str(error)
            raise GraphQLError(f"{name}: {told}") from None
        return value

    return _scalar(name, description, out, taken, url=url)


def _json_out(value: Any) -> Any:
    try:
        return to_jsonable(value)
    except (ValueError, TypeError, RecursionError) as error:
        raise GraphQLError(f"JSON cannot represent a {type(value).__name__}") from error


def _same(value: Any) -> Any:
    return value


def _void(value: Any, *_: Any) -> Any:
    raise GraphQLError(f"Void has no value but null, not {_told(value)}")


def scalars() -> Mapping[str, GraphQLScalarType]:
    """Return new scalars by name. `Int` and `Float` replace those of graphql-core.

    The `String` and `Boolean` of graphql-core treat literals and variables alike already.
    """
    made = (
        _scalar("Int", GraphQLInt.description, GraphQLInt.coerce_output_value, _int_taken),
        _scalar("Float", GraphQLFloat.description, GraphQLFloat.coerce_output_value, _float_taken),
        _scalar("BigInt", "A whole number of any size, written as a number.", _big_out, _big_taken),
        _scalar("JSON", "Any JSON value.", _json_out, _same),
        _scalar("Void", "Nothing: always null.", _void, _void),
        *map(_coded, CODED),
    )
    return {scalar.name: scalar for scalar in made}
