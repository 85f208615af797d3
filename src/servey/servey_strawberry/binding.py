"""Set the functions of a graphql-core schema: the resolvers of fields and the coercion of values.

A one-line function reads a plain member: a resolver of Strawberry takes several times as long. A resolver of
`servey_strawberry.calls` calls an action. Arguments stay JSON, which the operation decodes, as in every transport.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from graphql import (
    GraphQLArgument,
    GraphQLDefaultInput,
    GraphQLEnumType,
    GraphQLError,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    Undefined,
)
from graphql.utilities.coerce_input_value import coerce_default_value

from servey.schema.graphql.coercion import enum_input, enum_output, members_input, typename_of
from servey.schema.graphql.model import (
    NOTHING,
    SERVICE,
    SERVICE_FIELD,
    EnumType,
    InputField,
    InputType,
    Model,
    ObjectType,
    OutputField,
    UnionType,
)
from servey.servey_strawberry.calls import action_resolver
from servey.servey_strawberry.scalars import sdl_text
from servey.service import Service

FIELD_KEY = "servey-field"
"""The key of the `OutputField` among the extensions of a graphql-core field."""


def bind(schema: GraphQLSchema, model: Model, service: Service) -> None:
    """Set the functions of all types of a schema.

    Args:
        schema: The schema.
        model: The model of the schema.
        service: The service of the model.
    """
    for named in (model.query, model.mutation, *model.types):
        bound: Any = schema.type_map.get(named.name)
        if bound is None:  # the type is only used inside of JSON
            continue
        if isinstance(named, ObjectType):
            for field in named.fields:
                _bind_field(bound.fields[field.name], field, service)
        elif isinstance(named, EnumType):
            _bind_enum(bound, named)
        elif isinstance(named, UnionType):
            _bind_union(bound, named)
        elif isinstance(named, InputType):
            _bind_input(bound, named)
    title, version = service.settings.api.api_title, service.settings.api.api_version
    about = {"name": sdl_text(title), "version": sdl_text(version)}
    cast("GraphQLObjectType", schema.query_type).fields[SERVICE_FIELD].resolve = _constant(about)
    for item in cast("GraphQLObjectType", schema.type_map[SERVICE]).fields.values():
        item.resolve = None


def _bind_field(bound: GraphQLField, field: OutputField, service: Service) -> None:
    bound.extensions[FIELD_KEY] = field
    if field.operation is None:
        bound.resolve = field.read  # without a wrapper, which would double the cost
    else:
        bound.resolve = action_resolver(field, service, _bind_inputs(bound.args, field.arguments))


def _constant(value: Any) -> Callable[..., Any]:
    return lambda *_: value


def _bind_inputs(
    bound: Mapping[str, GraphQLInputField | GraphQLArgument], fields: Sequence[InputField]
) -> Callable[[dict[str, Any]], None] | None:
    """Set the JSON names of input values; return a function that removes the defaults of the schema.

    graphql-core coerces each default once, and passes the coerced value on. Here the coerced value is a mark, which is
    removed. So the default of the function applies, as in every transport. It need not be a valid input: it may be out
    of bounds, or a datetime without an offset.
    """
    marks: list[tuple[str, object]] = []
    for field in fields:
        item = bound[field.name]
        item.out_name = field.json_name
        if field.default is not NOTHING:
            marks.append((field.json_name, _set_default(item, field.default)))
    if not marks:
        return None

    def remove_marks(values: dict[str, Any]) -> None:
        for name, mark in marks:
            if values.get(name) is mark:
                del values[name]

    return remove_marks


def _set_default(item: GraphQLInputField | GraphQLArgument, default: Any) -> object:
    """Set the default of an argument or a member; return the mark that arrives if a caller gives no value."""
    mark = object()
    item.default_value, item.default = Undefined, GraphQLDefaultInput(default)
    item._memoized_coerced_value = mark  # pyright: ignore[reportPrivateUsage] # so a mark can arrive
    assert coerce_default_value(item) is mark, "this graphql-core keeps coerced defaults elsewhere"
    return mark


def _bind_enum(bound: GraphQLEnumType, enum: EnumType) -> None:
    for name, value in enum_input(enum).items():
        bound.values[name].value = value
    # the enum type of Strawberry would return Python's members
    instance, plain = cast("Any", bound), cast("Any", GraphQLEnumType)
    instance.coerce_output_value = enum_output(enum)
    instance.coerce_input_value = plain.coerce_input_value.__get__(bound)
    instance.coerce_input_literal = plain.coerce_input_literal.__get__(bound)


def _bind_union(bound: GraphQLUnionType, union: UnionType) -> None:
    typename = typename_of(union)
    bound.resolve_type = lambda value, _info, _type: typename(value)


def _bind_input(bound: GraphQLInputObjectType, named: InputType) -> None:
    if named.one_of:
        bound.is_one_of = True
    remove_marks = _bind_inputs(bound.fields, named.fields)
    coerce = members_input(named)

    def members(values: dict[str, Any]) -> Any:
        if remove_marks is not None:
            remove_marks(values)
        try:
            return coerce(values)
        except ValueError as error:
            raise GraphQLError(str(error)) from None

    cast("Any", bound).out_type = members
