"""The scalars of `servey.schema.graphql.scalars` for graphql-core, with the conversion of literals to JSON.

Literals and variables have the same rules: a literal is converted to its JSON value, and then treated as a variable. In
both, a number with a fraction or an exponent is a `Decimal` with all its digits (`servey.codec.numbers`).
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, cast

from graphql import (
    BooleanValueNode,
    ConstValueNode,
    FloatValueNode,
    GraphQLError,
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

from servey.codec.numbers import digits
from servey.schema.graphql.scalars import ScalarCoercion, scalar_coercion

_NAMES = (
    *("Int", "Float", "BigInt", "JSON", "Void"),
    *("DateTime", "Date", "Time", "Duration", "UUID", "Decimal", "Base64"),
)


def scalars() -> Mapping[str, GraphQLScalarType]:
    """Return new scalars by name. `Int` and `Float` replace the scalars of graphql-core.

    The `String` and `Boolean` of graphql-core already treat literals and variables alike.
    """
    return {name: _scalar(scalar_coercion(name)) for name in _NAMES}


class _ReplacingScalar(GraphQLScalarType):
    """A scalar that may replace a scalar of graphql-core with the same name."""

    def __new__(cls, *_: Any, **__: Any) -> Any:
        return object.__new__(cls)


def _scalar(coercion: ScalarCoercion) -> GraphQLScalarType:
    coerce = coercion.input

    def value(json: Any) -> Any:
        try:
            return coerce(json)
        except ValueError as error:
            raise GraphQLError(str(error)) from None

    def literal(node: ConstValueNode, *_: Any) -> Any:
        try:
            return coerce(_literal(node))
        except ValueError as error:
            raise GraphQLError(str(error), node) from None

    return _ReplacingScalar(
        name=coercion.name,
        description=coercion.description,
        specified_by_url=coercion.url,
        coerce_output_value=coercion.output,
        coerce_input_value=value,
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
        GraphQLError: The literal has a number that JSON cannot express, or an enum value.
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
    except ValueError:  # more digits than Python reads
        raise GraphQLError("the number has too many digits", node) from None


def sdl_text(text: str) -> str:
    """Return a user's text with ``?`` for each lone surrogate, which UTF-8 cannot encode."""
    return text.encode("utf-8", "replace").decode()
