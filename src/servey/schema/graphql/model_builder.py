"""Build the model of a schema from a service's operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, cast

import msgspec

from servey.action.operation import Operation
from servey.codec import MISSING, Codec, Engine, Node, ResultError, SchemaMode, to_jsonable
from servey.codec.schema_names import class_name
from servey.codec.union import flat
from servey.docstring.documentation import Documentation
from servey.errors import DefinitionError
from servey.finder import nested_actions
from servey.schema.graphql.defaults import default_of
from servey.schema.graphql.leaf_types import LeafTypes, is_choice
from servey.schema.graphql.members import Member, encoded, is_class, members_of, reader_of
from servey.schema.graphql.model import (
    JSON,
    MUTATION,
    NOTHING,
    QUERY,
    SERVICE_FIELD,
    InputField,
    InputType,
    Model,
    ObjectType,
    OutputField,
    Ref,
    Root,
    Scalar,
    UnionType,
)
from servey.schema.graphql.names import TypeNames, camel_case, class_key, is_name, pascal_case
from servey.service import Service
from servey.trigger.web_trigger import WebTrigger

_OF_SCHEMA = {"string": "String", "integer": "BigInt", "number": "Float", "boolean": "Boolean"}
"""The scalars of custom types, by the ``type`` of their JSON schema."""


def build_model(service: Service) -> Model:
    """Return the GraphQL model of a service.

    Raises:
        DefinitionError: GraphQL cannot express an action; the error has all such problems.
    """
    return _ModelBuilder(service).build()


def root_of(operation: Operation) -> Root | None:
    """Return whether an action is a query or a mutation; None if it is not a root field.

    The first web trigger decides. A nested action is always a field of its class.
    """
    if operation.signature.owner is not None or not operation.action.include_in_schema:
        return None
    trigger = _web_trigger(operation)
    if trigger is None:
        return None
    if trigger.graphql == "by method":
        return "query" if trigger.method.value == "GET" else "mutation"
    return trigger.graphql


def _web_trigger(operation: Operation) -> WebTrigger | None:
    return next((item for item in operation.action.triggers if isinstance(item, WebTrigger)), None)


class _ModelBuilder:
    """Builds the model of one service, with the output and input types that it uses."""

    def __init__(self, service: Service) -> None:
        self._operations = tuple(service.operations.values())
        self._by_action = {id(operation.action): operation for operation in self._operations}
        self._engines: Sequence[Engine] = service.engines
        self._names = TypeNames()
        self._leaves = LeafTypes(self._names)
        self._types = self._leaves.types
        self._outputs: dict[object, ObjectType | None] = {}
        self._inputs: dict[object, InputType | None] = {}
        self._unions: dict[tuple[str, ...], UnionType] = {}
        self._one_ofs: dict[tuple[str, ...], InputType] = {}
        self._problems: list[DefinitionError] = []
        self._current: Operation | None = None
        """The action whose types are read, for errors."""

    def build(self) -> Model:
        query, mutation = ObjectType(QUERY, ""), ObjectType(MUTATION, "")
        for operation in self._operations:
            root = root_of(operation)
            if root is not None:
                self._add_action(query if root == "query" else mutation, operation, nested=False)
        if self._problems:
            raise DefinitionError.join(self._problems)
        for one_of in self._one_ofs.values():
            _set_tags(one_of)
        return Model(query, mutation, self._types)

    def _add_action(self, owner: ObjectType, operation: Operation, *, nested: bool) -> None:
        """Add the field of an action, or collect its problem."""
        before, self._current = self._current, operation
        try:
            self._add(owner, self._action_field(operation, nested=nested))
        except DefinitionError as error:
            self._problems.append(error)
        finally:
            self._current = before

    def _error(self, problem: str, fix: str) -> DefinitionError:
        assert self._current is not None
        return DefinitionError(
            f"{self._current.name} in GraphQL: {problem}",
            where=self._current.action.where,
            fix=f"{fix}; or leave the action out of GraphQL: WebTrigger(…, graphql=None)",
        )

    def _add(self, owner: ObjectType, field: OutputField) -> None:
        if owner.name == QUERY and field.name == SERVICE_FIELD:
            raise self._error(f"{QUERY} has a built-in field called {SERVICE_FIELD!r}", "rename the action")
        self._check_unique([*owner.fields, field], f"{owner.name} has two fields")
        owner.fields.append(field)

    def _check_unique(self, fields: Sequence[OutputField | InputField], problem: str) -> None:
        """Check that no other field has the name of the last one."""
        name = fields[-1].name
        if any(other.name == name for other in fields[:-1]):
            raise self._error(f"{problem} called {name!r}", "rename one")

    def _name(self, name: str, kind: str) -> str:
        """Return the name of a field or an argument."""
        found = camel_case(name)
        if not is_name(found):
            raise self._error(f"{kind} is called {name!r}, which is not a valid name in GraphQL", "rename it")
        return found

    # --- actions ----------------------------------------------------------------------------------------------

    def _action_field(self, operation: Operation, *, nested: bool) -> OutputField:
        documentation = operation.signature.documentation
        name = operation.action.function_name if nested else operation.name
        arguments = self._arguments(operation, nested=nested)
        ref = self._ref(operation.result.root, "output")
        access = "" if operation.is_open else f"Requires {operation.access_summary.text}."
        return OutputField(
            self._name(name, "the action"),
            name,
            ref,
            "\n\n".join(filter(None, (documentation.prose, access))),
            read=operation.result.encode if _is_converted(operation.result.root, ref) else None,
            operation=operation,
            nested=nested,
            arguments=arguments,
            deprecated=operation.action.deprecated,
        )

    def _arguments(self, operation: Operation, *, nested: bool) -> tuple[InputField, ...]:
        """Return the arguments of an action, without the object of a nested action."""
        signature = operation.signature
        described = signature.documentation.parameters
        found: list[InputField] = []
        for name, (parameter, node) in operation.arguments.parameters.items():
            if nested and name == signature.parameters[0].name:
                continue
            description = parameter.description or node.description or described.get(name, "")
            required = parameter.default is MISSING
            member = Member(name, node, name, None, required, parameter.default, description=description)
            found.append(self._input_field(member, "an argument"))
            self._check_unique(found, "two arguments are")
        return tuple(found)

    def _add_nested_actions(self, owner: ObjectType, cls: type) -> None:
        """Add the nested actions of a class to its type."""
        for _, action in nested_actions([cls]):
            operation = self._by_action.get(id(action))
            if operation is None or not action.include_in_schema:
                continue
            trigger = _web_trigger(operation)
            if trigger is None or trigger.graphql is not None:
                self._add_action(owner, operation, nested=True)

    # --- references --------------------------------------------------------------------------------------------

    def _ref(self, node: Node, side: SchemaMode) -> Ref:
        """Return the type of a node, in results or in arguments."""
        if node.kind == "union":
            return self._union_ref(node, side)
        if is_class(node):
            of_class = self._object if side == "output" else self._input_object
            return Ref(of_class(node) or JSON)
        if node.kind in ("list", "tuple"):  # a list, if all of its items have one type that GraphQL can express
            items = [self._ref(item, side) for item in node.items] or [Ref(JSON)]
            return Ref(items[0] if items.count(items[0]) == len(items) and items[0].to != JSON else JSON)
        if node.kind == "leaf" or is_choice(node):
            return self._leaves.ref(node)
        return self._custom_ref(node, side)

    def _union_ref(self, node: Node, side: SchemaMode) -> Ref:
        members = [item for item in flat(node) if item.cls is not type(None)]
        if len(members) == 1:
            return self._ref(members[0], side).or_null()
        union = self._union(node, members) if side == "output" else self._one_of(node, members)
        return Ref(union or JSON, nullable=node.optional)

    def _custom_ref(self, node: Node, side: SchemaMode) -> Ref:
        if node.custom is None:
            return Ref(JSON, nullable=node.kind == "any")
        if node.inner is not None:
            return self._ref(node.inner, side)
        return Ref(Scalar(_OF_SCHEMA.get(str(node.custom.schema(side).get("type")), "JSON")))

    # --- results ------------------------------------------------------------------------------------------------

    def _union(self, node: Node, members: Sequence[Node]) -> UnionType | None:
        """Return the type of a union of classes; None if a member is not a class, or has no fields."""
        objects = [item for item in map(self._object, filter(is_class, members)) if item is not None]
        if len(objects) < len(members):
            return None
        key = tuple(sorted(item.name for item in objects))
        if key not in self._unions:
            name = pascal_case(node.alias) or "Or".join(item.name for item in objects)
            pairs = tuple(zip(members, objects, strict=True))
            self._unions[key] = UnionType(self._names.of(("union", key), name), node.description, pairs, node)
            self._types.append(self._unions[key])
        return self._unions[key]

    def _object(self, node: Node) -> ObjectType | None:
        """Return the output type of a class; None for a class without members, which GraphQL cannot express."""
        key = class_key(node)
        if key in self._outputs:
            return self._outputs[key]
        documentation = Documentation.of_class(node.cls)
        built = ObjectType(self._names.of_class(node), documentation.prose, node.cls)
        self._outputs[key] = built
        self._types.append(built)
        if node.tag is not None:
            name, value = node.tag
            scalar = Scalar("String" if isinstance(value, str) else "Int")
            self._add(built, OutputField(self._name(name, "a tag"), name, Ref(scalar), "", read=lambda *_: value))
        for member in self._members(node, "output"):
            if member.output_name is not None:
                description = member.description or documentation.parameters.get(member.name, "")
                self._add(built, self._member_field(node, built, member, member.output_name, description))
        self._add_nested_actions(built, node.cls)
        if not built.fields:
            self._outputs[key] = None
            self._types.remove(built)
        return self._outputs[key]

    def _member_field(
        self, node: Node, owner: ObjectType, member: Member, json_name: str, description: str
    ) -> OutputField:
        ref = self._ref(member.node, "output")
        read = reader_of(node, member)
        if _is_converted(member.node, ref):
            read = encoded(Codec(member.node.type, engines=self._engines), read)
        name = self._name(json_name, f"a member of {owner.name}")
        return OutputField(name, json_name, ref.or_null() if member.may_be_absent else ref, description, read=read)

    # --- arguments ----------------------------------------------------------------------------------------------

    def _one_of(self, node: Node, members: Sequence[Node]) -> InputType | None:
        """Return the ``@oneOf`` type of a union of classes (GraphQL §3.10.1); None if a member is not a class."""
        classes = [item for item in members if is_class(item) and item.flavor != "namedtuple"]
        objects = [item for item in map(self._input_object, classes) if item is not None]
        if len(objects) < len(members):
            return None
        key = tuple(item.name for item in objects)
        if key not in self._one_ofs:
            names = [pascal_case(class_name(item)) for item in members]
            name = self._names.of_input(("one of", key), pascal_case(node.alias) or "Or".join(names))
            built = self._one_ofs[key] = InputType(name, node.description, one_of=tuple(members))
            self._types.append(built)
            for item, name in zip(objects, names, strict=True):
                field = self._name(name[:1].lower() + name[1:], "a member of a union")
                built.fields.append(InputField(field, field, Ref(item, nullable=True)))
        return self._one_ofs[key]

    def _input_object(self, node: Node) -> InputType | None:
        """Return the input type of a class; None for a class without members."""
        key = class_key(node)
        if key in self._inputs:
            return self._inputs[key]
        documentation = Documentation.of_class(node.cls)
        built = InputType(
            self._names.of_input(("input", key), pascal_case(class_name(node)) or "Type"),
            documentation.prose,
            positions=node.flavor == "namedtuple",
            tags=dict([node.tag]) if node.tag is not None else {},
        )
        self._inputs[key] = built
        self._types.append(built)
        for member in self._members(node, "input"):
            if member.input_name is not None:
                member.description = member.description or documentation.parameters.get(member.name, "")
                built.fields.append(self._input_field(member, f"a member of {built.name}"))
                self._check_unique(built.fields, f"{built.name} has two fields")
        if not built.fields:
            self._inputs[key] = None
            self._types.remove(built)
        elif _needs_itself(built):
            raise self._error(f"every {built.name} must contain another one, without end", "allow None for that part")
        return self._inputs[key]

    def _input_field(self, member: Member, kind: str) -> InputField:
        assert member.input_name is not None
        ref = self._ref(member.node, "input")
        field = InputField(self._name(member.input_name, kind), member.input_name, ref, description=member.description)
        if member.required:
            return field
        default = member.default
        if member.factory in (list, dict, set, frozenset, tuple):
            default = cast("Callable[[], Any]", member.factory)()
        if default is not MISSING and default is not msgspec.UNSET:
            with suppress(ValueError, TypeError, OverflowError, ResultError, RecursionError):
                field.json_default = to_jsonable(default)
                field.default = default_of(ref, field.json_default)
        if field.default is NOTHING:
            field.ref = ref.or_null()
        return field

    def _members(self, node: Node, side: SchemaMode) -> list[Member]:
        where = self._current.action.where if self._current else ""
        return members_of(node, self._engines, where, side)


def _set_tags(one_of: InputType) -> None:
    """Add the defaults by which an engine, such as pydantic, distinguishes the members of a union, to the JSON."""
    for field, node in zip(one_of.fields, one_of.one_of, strict=True):
        member = field.ref.to
        if node.custom is not None and isinstance(member, InputType):
            member.tags |= {
                item.json_name: item.json_default
                for item in member.fields
                if item.default is not NOTHING and isinstance(item.json_default, (str, int))
            }


def _needs_itself(built: InputType) -> bool:
    """Whether every object of a type must contain another one of the type, without end (GraphQL §3.10)."""
    waiting, seen = [built], set[int]()
    while waiting:
        for field in waiting.pop().fields:
            part = field.ref.to
            if field.ref.nullable or field.default is not NOTHING or not isinstance(part, InputType):
                continue
            if part is built:
                return True
            if id(part) not in seen:
                seen.add(id(part))
                waiting.append(part)
    return False


def _is_converted(node: Node, ref: Ref) -> bool:
    """Whether the codec of a type encodes its values, because no scalar knows the type."""
    return isinstance(ref.named, Scalar) and (ref.named == JSON or _has_custom_type(node))


def _has_custom_type(node: Node) -> bool:
    return (node.kind == "custom" and not is_choice(node)) or any(map(_has_custom_type, node.items))
