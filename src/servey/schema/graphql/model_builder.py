"""From a service's operations to the model of its schema."""

from __future__ import annotations

import enum
import typing
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, cast

import msgspec

from servey.action.operation import Operation
from servey.codec import MISSING, Codec, Engine, Node, ResultError, SchemaMode, to_jsonable
from servey.codec.big_int import BigInt
from servey.codec.scalars import is_enum, literal_values
from servey.codec.schema_names import Names, class_name
from servey.codec.union import flat
from servey.docstring.documentation import Documentation
from servey.errors import DefinitionError
from servey.finder import nested_actions
from servey.schema.graphql.defaults import INT_LIMIT, default_of
from servey.schema.graphql.members import Member, encoded, is_class, members_of, reader_of
from servey.schema.graphql.model import (
    JSON,
    NOTHING,
    EnumType,
    EnumValue,
    InputField,
    InputType,
    Model,
    Named,
    ObjectType,
    OutputField,
    Ref,
    Root,
    Scalar,
    UnionType,
)
from servey.schema.graphql.names import ascii_name, camel_case, is_name, pascal_case
from servey.service import Service
from servey.trigger.web_trigger import WebTrigger

QUERY, MUTATION, SERVICE = "Query", "Mutation", "_Servey"
SERVICE_FIELD = "_servey"
"""The field of `Query` with name and version of the service; Apollo Federation reserves `_service`."""

SCALARS = {
    str: "String",
    int: "Int",
    float: "Float",
    bool: "Boolean",
    type(None): "Void",
}
"""The scalars of types that are written as they are; `_BY_NAME` has the others."""

_BY_NAME = {
    "datetime": "DateTime",
    "date": "Date",
    "time": "Time",
    "timedelta": "Duration",
    "UUID": "UUID",
    "Decimal": "Decimal",
    "bytes": "Base64",
    "bytearray": "Base64",
}

_OF_SCHEMA = {"string": "String", "integer": "BigInt", "number": "Float", "boolean": "Boolean"}
_RESERVED = (QUERY, MUTATION, "Subscription", SERVICE, "ID", "JSON", "BigInt", *SCALARS.values(), *_BY_NAME.values())


def read_model(service: Service) -> Model:
    """Return the model of what `service` serves by GraphQL.

    Raises:
        DefinitionError: Something cannot be said in GraphQL; all such problems in one error.
    """
    return _Reader(service).read()


def root_of(operation: Operation) -> Root | None:
    """Return whether an action is a query or a mutation; None where GraphQL does not have it at its root.

    The first web trigger decides. A nested action is a field of its class, whatever its triggers are.
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


class _Reader:
    """Reads one service; each class becomes one type for what leaves and one for what comes in."""

    def __init__(self, service: Service) -> None:
        self._operations = tuple(service.operations.values())
        self._by_action = {id(operation.action): operation for operation in self._operations}
        self._engines: Sequence[Engine] = service.engines
        self._names = Names()
        for name in _RESERVED:
            self._names.of(("reserved", name), name)
        self._types: list[Named] = []
        self._outputs: dict[object, ObjectType | None] = {}
        self._inputs: dict[object, InputType | None] = {}
        self._enums: dict[object, EnumType | None] = {}
        self._unions: dict[tuple[str, ...], UnionType] = {}
        self._one_ofs: dict[tuple[str, ...], InputType] = {}
        self._problems: list[DefinitionError] = []
        self._reading: Operation | None = None
        """The action whose types are read, for errors."""

    def read(self) -> Model:
        query, mutation = ObjectType(QUERY, ""), ObjectType(MUTATION, "")
        for operation in self._operations:
            root = root_of(operation)
            if root is not None:
                self._attempt(query if root == "query" else mutation, operation, nested=False)
        if self._problems:
            raise DefinitionError.join(self._problems)
        return Model(query, mutation, self._types)

    def _attempt(self, owner: ObjectType, operation: Operation, *, nested: bool) -> None:
        before, self._reading = self._reading, operation
        try:
            field = self._field(operation, nested=nested)
            self._add(owner, field)
        except DefinitionError as error:
            self._problems.append(error)
        finally:
            self._reading = before

    def _error(self, what: str, fix: str) -> DefinitionError:
        assert self._reading is not None
        return DefinitionError(
            f"{self._reading.name} in GraphQL: {what}",
            where=self._reading.action.where,
            fix=f"{fix}; or leave the action out of GraphQL: WebTrigger(…, graphql=None)",
        )

    def _add(self, owner: ObjectType, field: OutputField) -> None:
        if owner.name == QUERY and field.name == SERVICE_FIELD:
            raise self._error(f"{QUERY} has a built-in field called {SERVICE_FIELD!r}", "rename the action")
        if any(other.name == field.name for other in owner.fields):
            raise self._error(f"{owner.name} has two fields called {field.name!r}", "rename one")
        owner.fields.append(field)

    def _name(self, name: str, of: str) -> str:
        """Return the name of a field or an argument."""
        found = camel_case(name)
        if not is_name(found):
            raise self._error(f"{of} is called {name!r}, which GraphQL has no name for", "rename it")
        return found

    # --- actions ----------------------------------------------------------------------------------------------

    def _field(self, operation: Operation, *, nested: bool) -> OutputField:
        signature, told = operation.signature, operation.signature.documentation
        arguments: list[InputField] = []
        for name, (parameter, node) in operation.arguments.parameters.items():
            if nested and name == signature.parameters[0].name:
                continue
            description = parameter.description or node.description or told.parameters.get(name, "")
            arguments.append(
                self._input_field(
                    name, node, parameter.default is MISSING, parameter.default, None, description, "an argument"
                )
            )
        names = [argument.name for argument in arguments]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise self._error(f"two arguments are called {twice!r}", "rename one")
        name = operation.action.function_name if nested else operation.name
        ref = self._ref(operation.result.root, "output")
        return OutputField(
            self._name(name, "the action"),
            name,
            ref,
            "\n\n".join(filter(None, (told.prose, _who_may(operation)))),
            read=operation.result.encode if _is_converted(operation.result.root, ref) else None,
            operation=operation,
            nested=nested,
            arguments=tuple(arguments),
            deprecated=operation.action.deprecated,
        )

    def _nested(self, owner: ObjectType, cls: type) -> None:
        """Add the nested actions of a class to its type."""
        for _, action in nested_actions([cls]):
            operation = self._by_action.get(id(action))
            trigger = operation and _web_trigger(operation)
            if operation is None or not action.include_in_schema or (trigger and trigger.graphql is None):
                continue
            self._attempt(owner, operation, nested=True)

    # --- references --------------------------------------------------------------------------------------------

    def _ref(self, node: Node, side: SchemaMode) -> Ref:
        """Return the type of a node, as it is got or as it is sent."""
        if node.kind == "union":
            members = [item for item in flat(node) if item.cls is not type(None)]
            if len(members) == 1:
                return self._ref(members[0], side).or_null()
            union = self._union(node, members) if side == "output" else self._one_of(node, members)
            return Ref(union or JSON, nullable=node.optional)
        if node.kind == "list":
            item = self._ref(node.items[0], side)
            return Ref(JSON) if item.to == JSON else Ref(item)
        if node.kind == "tuple" and not node.flavor:  # a list where its members are all of one type
            items = [self._ref(item, side) for item in node.items]
            same = bool(items) and all(item == items[0] for item in items) and items[0].to != JSON
            return Ref(items[0] if same else JSON)
        if node.kind == "any":
            return Ref(JSON, nullable=True)
        if node.kind == "leaf" or _is_choice(node):
            return self._leaf(node)
        if is_class(node):
            return Ref((self._object(node) if side == "output" else self._input_object(node)) or JSON)
        if node.custom is None:
            return Ref(JSON)
        if node.inner is not None:
            return self._ref(node.inner, side)
        return Ref(Scalar(_OF_SCHEMA.get(str(node.custom.schema(side).get("type")), "JSON")))

    # --- what leaves ------------------------------------------------------------------------------------------

    def _union(self, node: Node, members: Sequence[Node]) -> UnionType | None:
        """Return the type of a union of classes; None where a member is none, or has no fields."""
        types = [self._object(item) if is_class(item) else None for item in members]
        objects = [item for item in types if item is not None]
        if len(objects) < len(members):
            return None
        key = tuple(sorted(item.name for item in objects))
        if key not in self._unions:
            name = self._names.of(("union", key), pascal_case(node.alias) or "Or".join(item.name for item in objects))
            pairs = tuple(zip(members, objects, strict=True))
            self._unions[key] = UnionType(name, node.description, pairs, node)
            self._types.append(self._unions[key])
        return self._unions[key]

    def _object(self, node: Node) -> ObjectType | None:
        """Return the type of a class; None for one without fields, which GraphQL has no type for."""
        key = _key(node)
        if key in self._outputs:
            return self._outputs[key]
        documentation = Documentation.of_class(node.cls)
        made = ObjectType(self._type_name(node), documentation.prose, node.cls)
        self._outputs[key] = made
        place = len(self._types)
        self._types.append(made)
        if node.tag is not None:
            name, value = node.tag
            scalar = Scalar("String" if isinstance(value, str) else "Int")
            self._add(made, OutputField(self._name(name, "a tag"), name, Ref(scalar), "", read=lambda *_: value))
        for member in self._members(node, "output"):
            if member.got is None:
                continue
            read = reader_of(node, member)
            ref = self._ref(member.node, "output")
            field = OutputField(
                self._name(member.got, f"a member of {made.name}"),
                member.got,
                ref.or_null() if member.may_be_absent else ref,
                member.description or documentation.parameters.get(member.name, ""),
                read=encoded(Codec(member.node.type, engines=self._engines), read)
                if _is_converted(member.node, ref)
                else read,
            )
            self._add(made, field)
        self._nested(made, node.cls)
        if not made.fields:
            self._outputs[key] = None
            del self._types[place]
            return None
        return made

    # --- what comes in ----------------------------------------------------------------------------------------

    def _one_of(self, node: Node, members: Sequence[Node]) -> InputType | None:
        """Return the input type that stands for a union of classes (GraphQL §3.10.1); None where a member is none."""
        objects = [
            found
            for item in members
            if is_class(item) and item.flavor != "namedtuple" and (found := self._input_object(item)) is not None
        ]
        if len(objects) < len(members):
            return None
        key = tuple(item.name for item in objects)
        if key not in self._one_ofs:
            classes = [pascal_case(class_name(item)) for item in members]
            name = self._input_name(("one of", key), pascal_case(node.alias) or "Or".join(classes))
            made = self._one_ofs[key] = InputType(name, node.description, one_of=tuple(members))
            self._types.append(made)
            for item, cls in zip(objects, classes, strict=True):
                field = self._name(cls[:1].lower() + cls[1:], "a member of a union")
                made.fields.append(InputField(field, field, Ref(item, nullable=True)))
        return self._one_ofs[key]

    def _input_object(self, node: Node) -> InputType | None:
        key = _key(node)
        if key in self._inputs:
            return self._inputs[key]
        documentation = Documentation.of_class(node.cls)
        made = InputType(
            self._input_name(("input", key), self._class_name(node)),
            documentation.prose,
            positions=node.flavor == "namedtuple",
            tag=node.tag,
        )
        self._inputs[key] = made
        place = len(self._types)
        self._types.append(made)
        for member in self._members(node, "input"):
            if member.sent is None:
                continue
            field = self._input_field(
                member.sent,
                member.node,
                member.required,
                member.default,
                member.factory,
                member.description or documentation.parameters.get(member.name, ""),
                f"a member of {made.name}",
            )
            if any(other.name == field.name for other in made.fields):
                raise self._error(f"{made.name} has two fields called {field.name!r}", "rename one")
            made.fields.append(field)
        if not made.fields:
            self._inputs[key] = None
            del self._types[place]
            return None
        if _needs_itself(made):
            raise self._error(f"{made.name} has to have itself as a part, without an end", "let that part be None")
        return made

    def _input_field(
        self, wire: str, node: Node, required: bool, default: Any, factory: Any, description: str, of: str
    ) -> InputField:
        ref = self._ref(node, "input")
        field = InputField(self._name(wire, of), wire, ref, NOTHING, description)
        if required:
            return field
        if factory in (list, dict, set, frozenset, tuple):
            default = cast("Callable[[], Any]", factory)()
        if default is not MISSING and default is not msgspec.UNSET:
            with suppress(ValueError, TypeError, OverflowError, ResultError, RecursionError):
                field.default_wire = to_jsonable(default)
                field.default = default_of(ref, field.default_wire)
        if field.default is NOTHING:
            field.ref = ref.or_null()
        return field

    # --- both -------------------------------------------------------------------------------------------------

    def _leaf(self, node: Node) -> Ref:
        if node.cls is typing.Literal:
            return self._literal(node)
        if is_enum(node.cls):
            found = self._enum(node)
            return Ref(found or JSON)
        if node.cls is int:
            return Ref(Scalar("BigInt" if _is_big(node.type) else "Int"))
        if node.cls is type(None):
            return Ref(Scalar("Void"), nullable=True)
        return Ref(Scalar(SCALARS.get(node.cls) or _BY_NAME[node.cls.__name__]))

    def _literal(self, node: Node) -> Ref:
        values = literal_values(node)
        plain = [value for value in values if value is not None]
        nullable = len(plain) < len(values)
        if all(type(value) is int and -INT_LIMIT <= value < INT_LIMIT for value in plain) and plain:
            return Ref(Scalar("Int"), nullable)
        if not all(type(value) is str for value in plain) or not plain:
            return Ref(JSON, nullable)
        if not all(_is_value(value) for value in plain):
            return Ref(Scalar("String"), nullable)
        key = ("literal", tuple(plain))
        if key not in self._enums:
            name = pascal_case(node.alias) or pascal_case(
                "_".join(ascii_name(part) for part in node.location.split("."))
            )
            made = EnumType(
                self._names.of(key, name if is_name(name) else "Choice"),
                node.description,
                tuple(EnumValue(value, value, value) for value in plain),
            )
            self._enums[key] = made
            self._types.append(made)
        return Ref(self._enums[key] or JSON, nullable)

    def _enum(self, node: Node) -> EnumType | None:
        """Return the type of an Enum; None where a member's name is none in GraphQL."""
        if node.cls not in self._enums:
            values = [EnumValue(ascii_name(member.name), member, to_jsonable(member)) for member in node.cls]
            distinct = len({value.name for value in values}) == len(values)
            if not distinct or not all(_is_value(value.name) for value in values):
                self._enums[node.cls] = None
            else:
                prose = Documentation.of_class(node.cls).prose
                made = EnumType(self._type_name(node), prose, tuple(values))
                self._enums[node.cls] = made
                self._types.append(made)
        return self._enums[node.cls]

    def _members(self, node: Node, side: SchemaMode) -> list[Member]:
        return members_of(node, self._engines, self._reading.action.where if self._reading else "", side)

    def _class_name(self, node: Node) -> str:
        return pascal_case(class_name(node)) or "Type"

    def _type_name(self, node: Node) -> str:
        return self._names.of(("type", _key(node)), self._class_name(node))

    def _input_name(self, key: object, name: str) -> str:
        return self._names.of(key, name if name.endswith("Input") else f"{name}Input")


def _who_may(operation: Operation) -> str:
    """Return what an action requires of its caller, for its description; empty if it is open."""
    return "" if operation.is_open else f"Requires {operation.access_summary.text}."


def _needs_itself(made: InputType) -> bool:
    """Whether nobody can send an object of a type, as it has to have another one in it (GraphQL §3.10)."""
    waiting, seen = [made], set[int]()
    while waiting:
        for field in waiting.pop().fields:
            part = field.ref.to
            if field.ref.nullable or field.default is not NOTHING or not isinstance(part, InputType):
                continue
            if part is made:
                return True
            if id(part) not in seen:
                seen.add(id(part))
                waiting.append(part)
    return False


def _key(node: Node) -> object:
    return node.identity if node.kind == "object" or node.flavor == "namedtuple" else node.type


def _is_choice(node: Node) -> bool:
    """Whether it is an Enum of mixed values."""
    return node.kind == "custom" and is_enum(node.cls) and not issubclass(node.cls, enum.Flag)


def _is_converted(node: Node, ref: Ref) -> bool:
    """Whether a value is written by its codec as a whole, since no scalar of its own knows its type."""
    return isinstance(ref.named, Scalar) and (ref.named == JSON or _has_custom(node))


def _has_custom(node: Node) -> bool:
    return (node.kind == "custom" and not _is_choice(node)) or any(map(_has_custom, node.items))


def _is_big(tp: Any) -> bool:
    """Whether what stands around an int says that it may be of any size."""
    while True:
        if tp is BigInt:
            return True
        if isinstance(tp, typing.NewType):
            tp = tp.__supertype__
        elif typing.get_origin(tp) is typing.Annotated:
            tp = typing.get_args(tp)[0]
        elif type(tp).__name__ == "TypeAliasType":
            tp = tp.__value__
        else:
            return False


def _is_value(name: str) -> bool:
    return is_name(name) and name not in ("true", "false", "null")
