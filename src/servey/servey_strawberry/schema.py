"""The model as a Strawberry schema, and its resolvers.

Strawberry gets classes made for it: the user's own are never touched. Its schema is then *bound*: a plain member is
read by a function of one line, where Strawberry's own resolver costs several times as much, an action is called through
`Calls`, and what comes in stays JSON, which the operation decodes as it does everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from servey.codec.type_adapter import Compiler
from servey.codec.union import Chosen
from servey.errors import MissingExtraError
from servey.schema.graphql.model import (
    NOTHING,
    EnumType,
    InputField,
    InputType,
    Model,
    Named,
    ObjectType,
    OutputField,
    Ref,
    Scalar,
    UnionType,
)
from servey.schema.graphql.model_builder import SERVICE, SERVICE_FIELD, read_model
from servey.service import Service

try:
    import strawberry
except ModuleNotFoundError as error:
    if error.name != "strawberry":
        raise
    raise MissingExtraError("strawberry-graphql", "server") from error

from graphql import (
    GraphQLArgument,
    GraphQLDefaultInput,
    GraphQLEnumType,
    GraphQLError,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLUnionType,
    Undefined,
    is_introspection_type,
    is_specified_scalar_type,
    print_type,
)
from graphql.utilities.coerce_input_value import coerce_default_value
from strawberry.annotation import StrawberryAnnotation
from strawberry.schema.config import StrawberryConfig
from strawberry.schema_directives import OneOf
from strawberry.types.arguments import StrawberryArgument
from strawberry.types.base import StrawberryList, StrawberryObjectDefinition, StrawberryOptional
from strawberry.types.enum import EnumValue as StrawberryEnumValue
from strawberry.types.enum import StrawberryEnumDefinition
from strawberry.types.field import StrawberryField
from strawberry.types.scalar import ScalarDefinition
from strawberry.types.union import StrawberryUnion
from strawberry.types.unset import UNSET

from servey.servey_strawberry.calls import calls_of
from servey.servey_strawberry.limits import FIELD_KEY
from servey.servey_strawberry.scalars import scalars

_OWN = {"String": str, "Boolean": bool}
"""The Python classes that Strawberry maps to scalars of graphql-core."""
_LeaveOut = Callable[[dict[str, Any]], None]
_DEPRECATED = "No longer supported"
"""The reason that GraphQL itself has where none is given (§3.13.3)."""


def create_schema(service: Service, model: Model | None = None) -> strawberry.Schema:
    """Return the schema of what `service` serves by GraphQL.

    It is a Strawberry schema as any other: it can be printed, and executed by Strawberry, too. Actions are then called
    as by somebody without a token, unless the context is a `servey.servey_strawberry.calls.Calls`.

    Args:
        service: The service.
        model: What `read_model` returned for it; default: it is read.

    Raises:
        DefinitionError: Something cannot be said in GraphQL.
        MissingExtraError: Strawberry is not installed.
    """
    model = read_model(service) if model is None else model
    rendering = _Rendering(model)
    schema = _Schema(
        query=rendering.query(),
        mutation=rendering.mutation(),
        config=StrawberryConfig(auto_camel_case=False, scalar_map=rendering.scalar_map),
    )
    _bind(graphql_schema(schema), model, service)
    return schema


class _Schema(strawberry.Schema):
    """A schema that graphql-core prints: Strawberry's printer cannot write all defaults."""

    def as_str(self) -> str:
        types = graphql_schema(self).type_map
        own = (types[name] for name in sorted(types))
        return "\n\n".join(
            print_type(item) for item in own if not is_introspection_type(item) and not is_specified_scalar_type(item)
        )

    __str__ = as_str


def graphql_schema(schema: strawberry.Schema) -> GraphQLSchema:
    """Return the schema of graphql-core that is inside of one of Strawberry's."""
    return schema._schema  # pyright: ignore[reportPrivateUsage] # there is no other way to it


def printed(schema: strawberry.Schema) -> str:
    """Return a schema in GraphQL's definition language, with a newline at its end."""
    return schema.as_str().rstrip() + "\n"


class _Rendering:
    """Makes Strawberry's types of those of a model."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._markers: dict[str, type] = {}
        self.scalar_map: dict[object, ScalarDefinition] = {}
        for name, scalar in scalars().items():
            self._markers[name] = marker = type(name, (), {})
            self.scalar_map[marker] = _scalar_definition(scalar)
        self._made: dict[int, Any] = {}
        for named in model.types:
            self._made[id(named)] = self._of(named)
        for named in model.types:
            self._fill(named)

    def query(self) -> type:
        """Return the root of queries, which always has a field."""
        version = [_field(name, StrawberryAnnotation(str)) for name in ("name", "version")]
        told = _defined(SERVICE, "What serves this.", version)
        root = _defined("Query", "", [_field(SERVICE_FIELD, StrawberryAnnotation(told), "What serves this.")])
        _definition(root).fields[:0] = [self._output_field(field) for field in self._model.query.fields]
        return root

    def mutation(self) -> type | None:
        """Return the root of mutations; None where there is none."""
        fields = self._model.mutation.fields
        return _defined("Mutation", "", [self._output_field(field) for field in fields]) if fields else None

    def _of(self, named: Named) -> Any:
        if isinstance(named, EnumType):
            values = [StrawberryEnumValue(value.name, value.name) for value in named.values]
            return StrawberryEnumDefinition(
                wrapped_cls=cast("Any", type(named.name, (), {})),
                name=named.name,
                values=values,
                description=_prose(named.description),
            )
        if isinstance(named, UnionType):
            return named  # made where it is used: its members have to be there
        assert not isinstance(named, Scalar)
        is_one_of = isinstance(named, InputType) and bool(named.one_of)
        return _defined(named.name, named.description, [], is_input=isinstance(named, InputType), is_one_of=is_one_of)

    def _fill(self, named: Named) -> None:
        if isinstance(named, ObjectType):
            _definition(self._made[id(named)]).fields += [self._output_field(field) for field in named.fields]
        elif isinstance(named, InputType):
            _definition(self._made[id(named)]).fields += [self._input_field(field) for field in named.fields]

    def _type(self, ref: Ref) -> Any:
        if isinstance(ref.to, Ref):
            found: Any = StrawberryList(self._type(ref.to))
        elif isinstance(ref.to, Scalar):
            found = self._markers.get(ref.to.name) or _OWN[ref.to.name]
        elif isinstance(ref.to, UnionType):
            found = StrawberryUnion(
                name=ref.to.name,
                type_annotations=tuple(StrawberryAnnotation(self._made[id(item)]) for _, item in ref.to.members),
                description=_prose(ref.to.description),
            )
        else:
            found = self._made[id(ref.to)]
        return StrawberryOptional(found) if ref.nullable else found

    def _output_field(self, field: OutputField) -> StrawberryField:
        made = _field(
            field.name,
            StrawberryAnnotation(self._type(field.ref)),
            field.description,
            deprecation_reason=_DEPRECATED if field.deprecated else None,
        )
        made.arguments = [
            StrawberryArgument(
                python_name=argument.name,
                graphql_name=argument.name,
                type_annotation=StrawberryAnnotation(self._type(argument.ref)),
                description=_prose(argument.description),
                default=UNSET,  # until it is bound
            )
            for argument in field.arguments
        ]
        return made

    def _input_field(self, field: InputField) -> StrawberryField:
        return _field(field.name, StrawberryAnnotation(self._type(field.ref)), field.description)


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
    """Return a user's text without lone surrogates, which UTF-8 cannot encode; None for an empty text."""
    return text.encode("utf-8", "replace").decode() or None


def _field(name: str, annotation: StrawberryAnnotation, description: str = "", **more: Any) -> StrawberryField:
    return StrawberryField(
        python_name=name, graphql_name=name, type_annotation=annotation, description=_prose(description), **more
    )


def _defined(
    name: str,
    description: str,
    fields: Sequence[StrawberryField],
    *,
    is_input: bool = False,
    is_one_of: bool = False,
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


def _definition(cls: Any) -> StrawberryObjectDefinition:
    return cls.__strawberry_definition__


# --- binding --------------------------------------------------------------------------------------------------


def _bind(schema: GraphQLSchema, model: Model, service: Service) -> None:
    roots = [model.query, model.mutation] if model.mutation.fields else [model.query]
    tagged = {
        id(field.ref.to)
        for named in model.types
        if isinstance(named, InputType)
        for field, node in zip(named.fields, named.one_of, strict=False)
        if node.custom is not None
    }
    for named in (*roots, *model.types):
        found = schema.type_map.get(named.name)
        if found is None:  # it was read as a part of something that is JSON as a whole
            continue
        if isinstance(named, ObjectType):
            for field in named.fields:
                _bind_field(cast("GraphQLObjectType", found).fields[field.name], field, service)
        elif isinstance(named, EnumType):
            _bind_enum(cast("GraphQLEnumType", found), named)
        elif isinstance(named, UnionType):
            cast("GraphQLUnionType", found).resolve_type = _member_of(named)
        elif isinstance(named, InputType):
            _bind_input(cast("GraphQLInputObjectType", found), named, are_tags=id(named) in tagged)
    told = {"name": _prose(service.settings.api_title) or "", "version": _prose(service.settings.api_version) or ""}
    cast("GraphQLObjectType", schema.type_map["Query"]).fields[SERVICE_FIELD].resolve = _constant(told)
    for field in cast("GraphQLObjectType", schema.type_map[SERVICE]).fields.values():
        field.resolve = None


def _bind_field(bound: GraphQLField, field: OutputField, service: Service) -> None:
    bound.extensions[FIELD_KEY] = field
    if field.operation is not None:
        bound.resolve = _calling(field, service, _bind_values(bound.args, field.arguments))
    else:
        assert field.read is not None
        bound.resolve = field.read  # as it is: a function around it would cost as much again


def _constant(value: Any) -> Callable[..., Any]:
    def resolve(_source: Any, _info: Any) -> Any:
        return value

    return resolve


def _calling(field: OutputField, service: Service, leave_out: _LeaveOut | None) -> Callable[..., Any]:
    operation, is_nested = field.operation, field.nested
    assert operation is not None
    invalidate = service.invalidations.get(operation.name)
    cached = service.cached.get(operation.name)

    # by position alone, since an argument may be called `source` or `info`
    def resolve(source: Any, info: GraphQLResolveInfo[Any], /, **arguments: Any) -> Any:
        if leave_out is not None:
            leave_out(arguments)
        return calls_of(info).call(field, source if is_nested else None, arguments, invalidate, cached)

    return resolve


def _bind_values(
    bound: Mapping[str, GraphQLInputField | GraphQLArgument], fields: Sequence[InputField], *, are_tags: bool = False
) -> _LeaveOut | None:
    """Have values arrive under their names in JSON; return what leaves out those that nobody has given.

    graphql-core coerces each default once, and passes the coerced value on. Here the coerced value is a mark, and the
    mark is removed: the default of the function applies, as in every transport, and it need not be a valid input (it
    may be out of bounds, or a datetime without an offset). But if the default may be the tag by which an engine
    distinguishes the members of a union (`are_tags`), it is passed on as JSON.
    """
    defaults: list[tuple[str, Any, Any]] = []
    for field in fields:
        item = bound[field.name]
        item.out_name = field.wire
        if field.default is not NOTHING:
            tag = field.default_wire if are_tags and isinstance(field.default_wire, (str, int)) else NOTHING
            defaults.append((field.wire, _set_default(item, field.default), tag))
    if not defaults:
        return None

    def leave_out(values: dict[str, Any]) -> None:
        for wire, default, tag in defaults:
            if values.get(wire) is default:
                if tag is NOTHING:
                    del values[wire]
                else:
                    values[wire] = tag

    return leave_out


def _set_default(item: GraphQLInputField | GraphQLArgument, default: Any) -> object:
    """Set the default of an argument or a member; return the mark that arrives if no value is given."""
    mark = object()
    item.default_value, item.default = Undefined, GraphQLDefaultInput(default)
    item._memoized_coerced_value = mark  # pyright: ignore[reportPrivateUsage] # so a mark can arrive
    assert coerce_default_value(item) is mark, "this graphql-core keeps coerced defaults elsewhere"
    return mark


def _bind_enum(bound: GraphQLEnumType, named: EnumType) -> None:
    """Have an enum take Python's members out and JSON's values in."""
    # by JSON's values, too: those are as good as members where a result is written
    names: dict[Any, str] = {(type(item.wire), _hashable(item.wire)): item.name for item in named.values}
    names |= {(type(item.value), item.value): item.name for item in named.values}
    wires = {value.name: value.wire for value in named.values}
    plain: Any = GraphQLEnumType

    def out(value: Any) -> str:
        try:
            return names[type(value), value]
        except (KeyError, TypeError):
            raise GraphQLError(f"{named.name} cannot represent a {type(value).__name__}") from None

    def taken(value: Any, *arguments: Any, **options: Any) -> Any:
        return wires[_of_enum(plain.coerce_input_value(bound, value, *arguments, **options))]

    def literal(node: Any, *arguments: Any, **options: Any) -> Any:
        return wires[_of_enum(plain.coerce_input_literal(bound, node, *arguments, **options))]

    instance: Any = bound
    instance.coerce_output_value = instance.serialize = out
    instance.coerce_input_value = instance.parse_value = taken
    instance.coerce_input_literal = literal


def _hashable(wire: Any) -> Any:
    return wire if isinstance(wire, (str, int, float)) else None


def _of_enum(value: Any) -> str:
    return value


def _member_of(named: UnionType) -> Callable[..., str | None]:
    """Return a function that finds the type of a union's value: the member as which REST would write it."""
    names = {id(node): item.name for node, item in named.members}
    union = Compiler().union(named.node)

    def resolve_type(value: Any, *_: Any) -> str | None:
        return names.get(id(union.member_of(value)))

    return resolve_type


def _bind_input(bound: GraphQLInputObjectType, named: InputType, *, are_tags: bool) -> None:
    fields: Mapping[str, GraphQLInputField | GraphQLArgument] = bound.fields
    if named.one_of:
        bound.is_one_of = True
        nodes = {field.name: node for field, node in zip(named.fields, named.one_of, strict=True)}

        def chosen(value: dict[str, Any]) -> Any:
            ((name, part),) = value.items()
            return Chosen.of(nodes[name], part)

        instance: Any = bound
        instance.out_type = chosen
        return
    leave_out = _bind_values(fields, named.fields, are_tags=are_tags)
    instance = bound
    if named.positions:
        order = [(field.wire, field.default_wire) for field in named.fields]

        def positioned(value: dict[str, Any]) -> list[Any]:
            if leave_out is not None:
                leave_out(value)
            last = max((place for place, (name, _) in enumerate(order, 1) if name in value), default=0)
            found = [value.get(name, default) for name, default in order[:last]]
            if any(item is NOTHING for item in found):
                raise GraphQLError(f"{named.name}: a member is missing before one that is given")
            return found

        instance.out_type = positioned
        return
    tag = dict([named.tag]) if named.tag is not None else {}

    def members(value: dict[str, Any]) -> dict[str, Any]:
        if leave_out is not None:
            leave_out(value)
        return {**tag, **value} if tag else value

    instance.out_type = members
