"""The types of leaves: scalars, and the enums of `Enum` classes and of `Literal`."""

from __future__ import annotations

import enum
import typing
from collections.abc import Sequence
from typing import Any

from servey.codec import Node, to_jsonable
from servey.codec.big_int import BigInt
from servey.codec.scalars import is_enum, literal_values
from servey.docstring.documentation import Documentation
from servey.schema.graphql.model import JSON, EnumType, EnumValue, Named, Ref, Scalar
from servey.schema.graphql.names import TypeNames, ascii_name, is_name, pascal_case
from servey.schema.graphql.scalars import INT_LIMIT, SCALAR_NAMES


class LeafTypes:
    """Builds the types of leaves, and adds enums to the types of a model.

    Args:
        names: The names of the model's types.
    """

    def __init__(self, names: TypeNames) -> None:
        self.types: list[Named] = []
        """The types of the model."""
        self._names = names
        self._enums: dict[object, EnumType | None] = {}

    def ref(self, node: Node) -> Ref:
        """Return the type of a leaf, or of an Enum of mixed values."""
        if node.cls is typing.Literal:
            return self._literal(node)
        if is_enum(node.cls):
            return Ref(self._enum(node) or JSON)
        if node.cls is int and _is_big(node.type):
            return Ref(Scalar("BigInt"))
        return Ref(Scalar(SCALAR_NAMES[node.cls]), nullable=node.cls is type(None))

    def _literal(self, node: Node) -> Ref:
        values = literal_values(node)
        plain = [value for value in values if value is not None]
        nullable = len(plain) < len(values)
        kinds: set[type] = {type(value) for value in plain}
        if kinds == {int} and all(-INT_LIMIT <= value < INT_LIMIT for value in plain):
            return Ref(Scalar("Int"), nullable)
        if kinds != {str}:
            return Ref(JSON, nullable)
        return Ref(self._choice(node, plain) or Scalar("String"), nullable)

    def _choice(self, node: Node, texts: Sequence[str]) -> EnumType | None:
        """Return the type of a choice of texts; None if GraphQL cannot express one of them."""
        if not all(map(_is_value_name, texts)):
            return None
        key = ("literal", tuple(texts))
        if key not in self._enums:
            name = pascal_case(node.alias) or pascal_case("_".join(map(ascii_name, node.location.split("."))))
            values = tuple(EnumValue(text, text, text) for text in texts)
            name = self._names.of(key, name if is_name(name) else "Choice")
            built = self._enums[key] = EnumType(name, node.description, values)
            self.types.append(built)
        return self._enums[key]

    def _enum(self, node: Node) -> EnumType | None:
        """Return the type of an Enum; None if GraphQL cannot express the name of a member."""
        if node.cls not in self._enums:
            self._enums[node.cls] = None
            values = [EnumValue(ascii_name(member.name), member, to_jsonable(member)) for member in node.cls]
            names = {value.name for value in values}
            if len(names) == len(values) and all(map(_is_value_name, names)):
                prose = Documentation.of_class(node.cls).prose
                built = self._enums[node.cls] = EnumType(self._names.of_class(node), prose, tuple(values))
                self.types.append(built)
        return self._enums[node.cls]


def is_choice(node: Node) -> bool:
    """Whether a type is an Enum of mixed values."""
    return node.kind == "custom" and is_enum(node.cls) and not issubclass(node.cls, enum.Flag)


def _is_big(tp: Any) -> bool:
    """Whether a type is `BigInt` or another name for it."""
    while tp is not BigInt:
        if isinstance(tp, typing.NewType):
            tp = tp.__supertype__
        elif typing.get_origin(tp) is typing.Annotated:
            tp = typing.get_args(tp)[0]
        elif type(tp).__name__ == "TypeAliasType":
            tp = tp.__value__
        else:
            return False
    return True


def _is_value_name(name: str) -> bool:
    return is_name(name) and name not in ("true", "false", "null")
