"""The model of a GraphQL schema: every type, field and argument, as data, without a GraphQL library.

`schema.graphql.model_builder` builds it from a service's operations; `servey_strawberry` makes a schema from it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec

from servey.action.operation import Operation
from servey.codec import Node

Root = Literal["query", "mutation"]


class _Nothing:
    def __repr__(self) -> str:
        return "NOTHING"


NOTHING: Final = _Nothing()
"""Marks an argument that has no default, or a default that GraphQL cannot express."""

QUERY, MUTATION, SERVICE = "Query", "Mutation", "_Servey"
"""The names of the roots, and of the type of `SERVICE_FIELD`."""

SERVICE_FIELD = "_servey"
"""The field of `Query` with name and version of the service; Apollo Federation reserves `_service`."""


class Scalar(msgspec.Struct, frozen=True):
    """A scalar of `servey.schema.graphql.scalars`, by its name."""

    name: str


JSON: Final = Scalar("JSON")
"""The scalar for values that fit no other GraphQL type."""


class EnumValue(msgspec.Struct, frozen=True):
    """One value of an enum.

    Args:
        name: Its name in GraphQL.
        value: Its value in Python: the member, or the value of a `Literal`.
        json: Its value in JSON.
    """

    name: str
    value: Any
    json: Any


class EnumType(msgspec.Struct, eq=False):
    """An enum: of an `Enum`, or of a `Literal` of texts."""

    name: str
    description: str
    values: tuple[EnumValue, ...]


class ObjectType(msgspec.Struct, eq=False):
    """An object type, for a class that actions return.

    Args:
        name: Its name.
        description: The prose of the class's docstring.
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
        description: Its description.
        members: The members, each with the node of its class.
        node: The node of the union.
    """

    name: str
    description: str
    members: tuple[tuple[Node, ObjectType], ...]
    node: Node


class InputType(msgspec.Struct, eq=False):
    """An input object type, for a class that actions take, or a ``@oneOf`` for a union of such classes.

    Args:
        name: Its name.
        description: The prose of the class's docstring.
        fields: Its fields.
        one_of: The nodes of a union's members, in the order of the fields; empty for a class.
        positions: Whether its JSON is an array (a `NamedTuple`).
        tags: The members that distinguish the classes of a union; JSON needs them, a GraphQL client may leave them out.
    """

    name: str
    description: str
    fields: list[InputField] = msgspec.field(default_factory=list["InputField"])
    one_of: tuple[Node, ...] = ()
    positions: bool = False
    tags: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])


Named = Scalar | EnumType | ObjectType | UnionType | InputType


class Ref(msgspec.Struct, frozen=True):
    """A reference to a type.

    Args:
        to: The type, or the reference to the type of a list's items.
        nullable: Whether null is one of its values.
    """

    to: Named | Ref
    nullable: bool = False

    @property
    def named(self) -> Named:
        """The type inside of all lists."""
        return self.to.named if isinstance(self.to, Ref) else self.to

    def or_null(self) -> Ref:
        """Return the same reference with null as one of its values."""
        return self if self.nullable else Ref(self.to, True)


class InputField(msgspec.Struct, eq=False):
    """An argument, or a field of an input object type.

    Args:
        name: Its name.
        json_name: Its name in JSON.
        ref: Its type.
        default: Its default in GraphQL's form, as JSON, or `NOTHING`.
        description: Its description.
        json_default: The default in REST's form: the value of an enum, members by their JSON names.
    """

    name: str
    json_name: str
    ref: Ref
    default: Any = NOTHING
    description: str = ""
    json_default: Any = NOTHING


class OutputField(msgspec.Struct, eq=False):
    """A field of an object type.

    Args:
        name: Its name.
        json_name: Its name in JSON; for an action, the name of its function.
        ref: Its type.
        description: Its description.
        read: Returns the value of a plain member of an object; it ignores a second argument. For an action, it converts
            the result if no scalar can.
        operation: The action that it calls; None for a plain member.
        nested: Whether it is a nested action.
        arguments: The arguments of the action.
        deprecated: Whether clients should stop using it.
    """

    name: str
    json_name: str
    ref: Ref
    description: str = ""
    read: Callable[..., Any] | None = None
    operation: Operation | None = None
    nested: bool = False
    arguments: tuple[InputField, ...] = ()
    deprecated: bool = False


class Model(msgspec.Struct, eq=False):
    """A whole schema.

    Args:
        query: The root of queries.
        mutation: The root of mutations.
        types: All other types, in the order in which they were found.
    """

    query: ObjectType
    mutation: ObjectType
    types: list[Named]
