"""What a schema is made of: every type, field and argument, as data. It knows neither Strawberry nor graphql-core.

`schema.graphql.model_builder` makes it of a service's operations; `servey_strawberry.schema` renders it.
"""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import msgspec

from servey.action.operation import Operation
from servey.codec import Node

Root = Literal["query", "mutation"]


class _Nothing:
    def __repr__(self) -> str:
        return "NOTHING"


NOTHING: Final = _Nothing()
"""The default of an argument that has none, or none that GraphQL could write."""


_RFC3339 = "https://www.rfc-editor.org/rfc/rfc3339"
CODED: Mapping[str, tuple[Any, str, str | None]] = {
    "DateTime": (datetime.datetime, "A date with a time, and an offset where it is written.", _RFC3339),
    "Date": (datetime.date, "A date: `2026-11-22`.", _RFC3339),
    "Time": (datetime.time, "A time of day, with or without an offset: `12:30:00`.", None),
    "Duration": (datetime.timedelta, "A length of time (ISO 8601): `P1DT2H`.", None),
    "UUID": (uuid.UUID, "A UUID.", "https://www.rfc-editor.org/rfc/rfc9562"),
    "Decimal": (decimal.Decimal, "A decimal number, written as a string; read from a number as well.", None),
    "Base64": (bytes, "Bytes in base64.", "https://www.rfc-editor.org/rfc/rfc4648"),
}
"""The scalars that a codec reads and writes: type, description, and URL of the specification (GraphQL §3.5.5)."""


class Scalar(msgspec.Struct, frozen=True):
    """A scalar of `servey_strawberry.scalars`, by its name."""

    name: str


JSON: Final = Scalar("JSON")
"""The scalar for values that no other type of GraphQL fits."""


class EnumValue(msgspec.Struct, frozen=True):
    """One value of an enum.

    Args:
        name: Its name in GraphQL.
        value: What Python code has: the member, or the value of a `Literal`.
        wire: Its JSON value, as it is decoded.
    """

    name: str
    value: Any
    wire: Any


class EnumType(msgspec.Struct, eq=False):
    """An enum: of an `Enum`, or of a `Literal` of texts."""

    name: str
    description: str
    values: tuple[EnumValue, ...]


class ObjectType(msgspec.Struct, eq=False):
    """An object type: of a class that actions return.

    Args:
        name: Its name.
        description: From the class's docstring.
        cls: The class; None for the roots.
        fields: Its fields.
    """

    name: str
    description: str
    cls: Any = None
    fields: list[OutputField] = msgspec.field(default_factory=list["OutputField"])


class UnionType(msgspec.Struct, eq=False):
    """A union of object types.

    Args:
        name: Its name.
        description: What is told of it.
        members: Each with the node of its class, by which a value's member is found.
        node: The union's own node.
    """

    name: str
    description: str
    members: tuple[tuple[Node, ObjectType], ...]
    node: Node


class InputType(msgspec.Struct, eq=False):
    """An input object type: of a class that actions take, or ``@oneOf`` of a union of such.

    Args:
        name: Its name.
        description: From the class's docstring.
        fields: Its fields.
        one_of: The nodes of a union's members, as the fields are; empty for a class.
        positions: Whether JSON has its members in an array (a `NamedTuple`).
        tag: The (member, value) of a tagged Struct, which JSON has and GraphQL need not say.
    """

    name: str
    description: str
    fields: list[InputField] = msgspec.field(default_factory=list["InputField"])
    one_of: tuple[Node, ...] = ()
    positions: bool = False
    tag: tuple[str, Any] | None = None


Named = Scalar | EnumType | ObjectType | UnionType | InputType


class Ref(msgspec.Struct, frozen=True):
    """A type as it is referred to.

    Args:
        to: The type, or another `Ref` for a list of such.
        nullable: Whether null is one of its values.
    """

    to: Named | Ref
    nullable: bool = False

    @property
    def named(self) -> Named:
        """The type inside of all lists."""
        return self.to.named if isinstance(self.to, Ref) else self.to

    def or_null(self) -> Ref:
        """Return the same with null as one of its values."""
        return self if self.nullable else Ref(self.to, True)


class InputField(msgspec.Struct, eq=False):
    """An argument, or a field of an input object type.

    Args:
        name: Its name.
        wire: The name in JSON.
        ref: Its type.
        default: Its default as GraphQL has it in JSON, or `NOTHING`.
        description: What it is for.
        default_wire: The same as the operation has it in JSON: an enum's value for its name, a member by its own name.
    """

    name: str
    wire: str
    ref: Ref
    default: Any = NOTHING
    description: str = ""
    default_wire: Any = NOTHING


class OutputField(msgspec.Struct, eq=False):
    """A field of an object type.

    Args:
        name: Its name.
        wire: The name in JSON; that of its function for an action.
        ref: Its type.
        description: What it is.
        read: Returns its value of an object, for a plain member; what it may be handed besides means nothing. For an
            action, what is made of its result.
        operation: The action that it calls; None for a plain member.
        nested: Whether the action is of the object itself.
        arguments: What the action takes.
        deprecated: Whether callers should stop using it.
    """

    name: str
    wire: str
    ref: Ref
    description: str = ""
    read: Callable[..., Any] | None = None
    operation: Operation | None = None
    nested: bool = False
    arguments: tuple[InputField, ...] = ()
    deprecated: bool = False


class Model(msgspec.Struct, eq=False):
    """All of a schema.

    Args:
        query: The root of queries.
        mutation: The root of mutations.
        types: Every other type, in the order of meeting.
    """

    query: ObjectType
    mutation: ObjectType
    types: list[Named]
