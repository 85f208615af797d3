"""Convert the model to types of Strawberry. Strawberry gets new classes; it never changes the user's classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from graphql import GraphQLScalarType
from strawberry.annotation import StrawberryAnnotation
from strawberry.schema_directives import OneOf
from strawberry.types.arguments import StrawberryArgument
from strawberry.types.base import StrawberryList, StrawberryObjectDefinition, StrawberryOptional
from strawberry.types.enum import EnumValue, StrawberryEnumDefinition
from strawberry.types.field import StrawberryField
from strawberry.types.scalar import ScalarDefinition
from strawberry.types.union import StrawberryUnion
from strawberry.types.unset import UNSET

from servey.schema.graphql.model import (
    MUTATION,
    QUERY,
    SERVICE,
    SERVICE_FIELD,
    EnumType,
    InputType,
    Model,
    Named,
    ObjectType,
    OutputField,
    Ref,
    Scalar,
    UnionType,
)
from servey.servey_strawberry.scalars import scalars, sdl_text

_BUILT_IN = {"String": str, "Boolean": bool}
"""The Python classes that Strawberry maps to scalars of graphql-core."""

_DEPRECATED = "No longer supported"
"""The default reason of GraphQL (§3.13.3)."""

_ABOUT = "What serves this."


class Rendering:
    """Makes types of Strawberry from those of a model.

    Args:
        model: The model.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._markers: dict[str, type] = {}
        self.scalar_map: dict[object, ScalarDefinition] = {}
        """The scalars, by the classes that represent them."""
        for name, scalar in scalars().items():
            self._markers[name] = marker = type(name, (), {})
            self.scalar_map[marker] = _scalar_definition(scalar)
        self._rendered: dict[int, Any] = {id(named): _declared(named) for named in model.types}
        for named in model.types:
            self._add_fields(named)

    def query(self) -> type:
        """Return the root of queries, which always has a field."""
        about = _class(SERVICE, _ABOUT, [_field(name, StrawberryAnnotation(str)) for name in ("name", "version")])
        fields = [self._output_field(field) for field in self._model.query.fields]
        return _class(QUERY, "", [*fields, _field(SERVICE_FIELD, StrawberryAnnotation(about), _ABOUT)])

    def mutation(self) -> type | None:
        """Return the root of mutations; None without mutations."""
        fields = [self._output_field(field) for field in self._model.mutation.fields]
        return _class(MUTATION, "", fields) if fields else None

    def _add_fields(self, named: Named) -> None:
        if isinstance(named, ObjectType):
            fields = [self._output_field(field) for field in named.fields]
        elif isinstance(named, InputType):
            fields = [_field(field.name, self._annotation(field.ref), field.description) for field in named.fields]
        else:
            return
        self._rendered[id(named)].__strawberry_definition__.fields += fields

    def _annotation(self, ref: Ref) -> StrawberryAnnotation:
        return StrawberryAnnotation(self._type(ref))

    def _type(self, ref: Ref) -> Any:
        if isinstance(ref.to, Ref):
            found: Any = StrawberryList(self._type(ref.to))
        elif isinstance(ref.to, Scalar):
            found = self._markers.get(ref.to.name) or _BUILT_IN[ref.to.name]
        elif isinstance(ref.to, UnionType):
            found = StrawberryUnion(
                name=ref.to.name,
                type_annotations=tuple(StrawberryAnnotation(self._rendered[id(item)]) for _, item in ref.to.members),
                description=_prose(ref.to.description),
            )
        else:
            found = self._rendered[id(ref.to)]
        return StrawberryOptional(found) if ref.nullable else found

    def _output_field(self, field: OutputField) -> StrawberryField:
        rendered = _field(
            field.name,
            self._annotation(field.ref),
            field.description,
            deprecation_reason=_DEPRECATED if field.deprecated else None,
        )
        rendered.arguments = [
            StrawberryArgument(
                python_name=argument.name,
                graphql_name=argument.name,
                type_annotation=self._annotation(argument.ref),
                description=_prose(argument.description),
                default=UNSET,  # `binding` sets it
            )
            for argument in field.arguments
        ]
        return rendered


def _declared(named: Named) -> Any:
    """Return a type without its fields, which may refer to any type."""
    if isinstance(named, EnumType):
        return StrawberryEnumDefinition(
            wrapped_cls=cast("Any", type(named.name, (), {})),
            name=named.name,
            values=[EnumValue(value.name, value.name) for value in named.values],
            description=_prose(named.description),
        )
    if isinstance(named, (UnionType, Scalar)):
        return named  # a union is rendered when it is used, because its members must exist
    is_input = isinstance(named, InputType)
    return _class(named.name, named.description, [], is_input=is_input, is_one_of=is_input and bool(named.one_of))


def _scalar_definition(scalar: GraphQLScalarType) -> ScalarDefinition:
    return ScalarDefinition(
        name=scalar.name,
        description=scalar.description,
        specified_by_url=scalar.specified_by_url,
        serialize=None,
        parse_value=None,
        parse_literal=None,
        implementation=scalar,
    )


def _prose(text: str) -> str | None:
    return sdl_text(text) or None


def _field(name: str, annotation: StrawberryAnnotation, description: str = "", **more: Any) -> StrawberryField:
    return StrawberryField(
        python_name=name, graphql_name=name, type_annotation=annotation, description=_prose(description), **more
    )


def _class(
    name: str, description: str, fields: Sequence[StrawberryField], *, is_input: bool = False, is_one_of: bool = False
) -> type:
    cls: Any = type(name, (), {})
    cls.__strawberry_definition__ = StrawberryObjectDefinition(
        name=name,
        is_input=is_input,
        is_interface=False,
        origin=cls,
        description=_prose(description),
        interfaces=[],
        extend=False,
        directives=(OneOf(),) if is_one_of else (),
        is_type_of=None,
        resolve_type=None,
        fields=list(fields),
    )
    return cls
