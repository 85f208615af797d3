"""Coerce between GraphQL's values and the JSON of REST, by the model (GraphQL, September 2025, §3).

A GraphQL library that executes documents binds the function of each type. `Coercion` coerces all arguments or the
result of a field, if another server executes the document (AppSync).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from servey.codec.type_adapter import Compiler
from servey.codec.union import Chosen
from servey.errors import Problem
from servey.schema.graphql.model import (
    NOTHING,
    EnumType,
    InputField,
    InputType,
    Named,
    ObjectType,
    Ref,
    Scalar,
    UnionType,
)
from servey.schema.graphql.scalars import scalar_coercion

Coerce = Callable[[Any], Any]


def enum_input(enum: EnumType) -> Mapping[str, Any]:
    """Return the JSON values of an enum by their GraphQL names."""
    return {item.name: item.json for item in enum.values}


def enum_output(enum: EnumType) -> Callable[[Any], str]:
    """Return a function from a value of an enum to its name; the value is a Python member or a JSON value.

    The function raises a ValueError for any other value.
    """
    # the keys contain the type, because True equals 1
    names: dict[Any, str] = {(type(item.json), item.json): item.name for item in enum.values if _is_hashable(item.json)}
    names |= {(type(item.value), item.value): item.name for item in enum.values}

    def output(value: Any) -> str:
        try:
            return names[type(value), value]
        except (KeyError, TypeError):
            raise ValueError(f"{enum.name} cannot represent a {type(value).__name__}") from None

    return output


def _is_hashable(json: Any) -> bool:
    return isinstance(json, (str, int, float))


def typename_of(union: UnionType) -> Callable[[Any], str | None]:
    """Return a function from a value of a union to the name of its type; REST would encode it as the same member."""
    names = {id(node): item.name for node, item in union.members}
    members = Compiler().union(union.node)

    def typename(value: Any) -> str | None:
        return names.get(id(members.member_of(value)))

    return typename


def members_input(named: InputType) -> Callable[[dict[str, Any]], Any]:
    """Return a function from the members of an input object, by their JSON names, to its JSON value.

    Members that the caller leaves out stay absent: the operation has their defaults. The value is a `Chosen` for a
    ``@oneOf``, and a list for a NamedTuple. The function raises a ValueError if the list would have a gap.
    """
    if named.one_of:
        nodes = {field.json_name: node for field, node in zip(named.fields, named.one_of, strict=True)}

        def chosen(members: dict[str, Any]) -> Chosen:
            ((name, part),) = members.items()
            return Chosen.of(nodes[name], part)

        return chosen
    if named.positions:
        order = [(field.json_name, field.json_default) for field in named.fields]

        def positioned(members: dict[str, Any]) -> list[Any]:
            last = max((place for place, (name, _) in enumerate(order, 1) if name in members), default=0)
            found = [members.get(name, default) for name, default in order[:last]]
            if any(item is NOTHING for item in found):
                raise ValueError(f"{named.name}: a member is missing before another one")
            return found

        return positioned
    tags = named.tags
    return (lambda members: {**tags, **members}) if tags else dict


def problem_in_graphql(problem: Problem, arguments: Sequence[InputField]) -> Problem:
    """Return a problem of decoded arguments with a path of GraphQL names."""
    fields, names = arguments, list[str]()
    for part in problem.path.split("/")[1:]:
        field = next((item for item in fields if item.json_name == part), None)
        names.append(part if field is None else field.name)
        if field is not None:
            named = field.ref.named
            fields = named.fields if isinstance(named, InputType) else ()
    return Problem("".join(f"/{name}" for name in names), problem.message)


class Coercion:
    """Coerces the values of one model. The functions of each type are made once."""

    def __init__(self) -> None:
        self._inputs: dict[int, Coerce] = {}
        self._outputs: dict[int, Coerce] = {}

    def arguments(self, fields: Sequence[InputField], values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of a field as JSON, by their JSON names; absent arguments stay absent.

        Raises:
            ValueError: A value does not have its type.
        """
        return {item.json_name: self.input(item.ref, values[item.name]) for item in fields if item.name in values}

    def input(self, ref: Ref, value: Any) -> Any:
        """Return the JSON value of an input value.

        Raises:
            ValueError: The value does not have the type.
        """
        if value is None:
            return None
        if isinstance(ref.to, Ref):
            item = ref.to
            return [self.input(item, part) for part in value]
        if id(ref.to) not in self._inputs:
            self._inputs[id(ref.to)] = self._input_of(ref.to)
        return self._inputs[id(ref.to)](value)

    def _input_of(self, named: Named) -> Coerce:
        if isinstance(named, Scalar):
            return scalar_coercion(named.name).input
        if isinstance(named, EnumType):
            values = enum_input(named)

            def value_of(name: Any) -> Any:
                if name not in values:
                    raise ValueError(f"{named.name} has no value {name!r}")
                return values[name]

            return value_of
        assert isinstance(named, InputType)
        fields, members = named.fields, members_input(named)
        return lambda values: members(self.arguments(fields, values))

    def output(self, ref: Ref, value: Any) -> Any:
        """Return the value of a result, with GraphQL's names and without nested actions.

        An object of a union has a ``__typename``.

        Raises:
            ValueError: The value does not have the type.
            IntRangeError: The value of an Int has more than 32 bits.
        """
        if value is None:
            return None
        if isinstance(ref.to, Ref):
            item = ref.to
            return [self.output(item, part) for part in value]
        if id(ref.to) not in self._outputs:
            self._outputs[id(ref.to)] = self._output_of(ref.to)
        return self._outputs[id(ref.to)](value)

    def _output_of(self, named: Named) -> Coerce:
        if isinstance(named, Scalar):
            return scalar_coercion(named.name).output
        if isinstance(named, EnumType):
            return enum_output(named)
        if isinstance(named, UnionType):
            types = {item.name: item for _, item in named.members}
            typename = typename_of(named)

            def member(value: Any) -> dict[str, Any]:
                name = typename(value)
                if name is None:
                    raise ValueError(f"{named.name} cannot represent a {type(value).__name__}")
                return {"__typename": name, **self.output(Ref(types[name]), value)}

            return member
        assert isinstance(named, ObjectType)
        fields = [(item.name, item.ref, item.read) for item in named.fields if item.operation is None and item.read]
        return lambda value: {name: self.output(ref, read(value)) for name, ref, read in fields}
