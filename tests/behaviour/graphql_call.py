"""Calls in GraphQL: the arguments that every transport is given as its variables, and its answer as theirs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from servey.schema.graphql.examples import shown_ref
from servey.schema.graphql.model import (
    NOTHING,
    EnumType,
    InputField,
    InputType,
    Model,
    ObjectType,
    OutputField,
    Ref,
    UnionType,
)


def json_of(value: Any) -> str:
    """Write a value as JSON: a Decimal as the number that it is, digit by digit."""
    numbers: list[str] = []

    def number(decimal: Decimal) -> str:
        numbers.append(str(decimal))
        return f"number {len(numbers) - 1}"

    text = json.dumps(value, default=number)
    for index, written in enumerate(numbers):
        text = text.replace(f'"number {index}"', written)
    return text


def field_of(model: Model, name: str) -> tuple[str, OutputField]:
    """Return the field that calls an action, and whether it is a query or a mutation."""
    for kind, root in (("query", model.query), ("mutation", model.mutation)):
        for field in root.fields:
            if field.operation is not None and field.operation.name == name:
                return kind, field
    raise LookupError(f"{name} is no query and no mutation")


def document_of(kind: str, field: OutputField, params: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the document that asks for everything a field has, and its variables.

    It has a variable for each argument that is given or has to be, as a client's has. What is no argument is passed all
    the same, as a literal, for GraphQL to refuse it.
    """
    by_name = {argument.json_name: argument for argument in field.arguments}
    known = {name: value for name, value in params.items() if name in by_name}
    declaring = [item for item in field.arguments if item.json_name in known or _is_required(item)]
    unknown = [f"{name}: 0" for name in params if name not in by_name]
    declared = ", ".join(f"${item.name}: {shown_ref(item.ref)}" for item in declaring)
    passed = [f"{item.name}: ${item.name}" for item in declaring] + unknown
    variables = {by_name[name].name: sent(by_name[name].ref, value) for name, value in known.items()}
    head = f"{kind} Call{f'({declared})' if declared else ''}"
    call = f"{field.name}{f'({chr(44).join(passed)})' if passed else ''}"
    return f"{head} {{ {call}{selection(field.ref)} }}", variables


def _is_required(argument: InputField) -> bool:
    return argument.default is NOTHING and not argument.ref.nullable


def selection(ref: Ref, depth: int = 0) -> str:
    """Return everything that a type has, but for nested actions."""
    named = ref.named
    if isinstance(named, UnionType):
        # members of one name may differ in their types, so that each gets an alias
        parts = []
        for _, member in named.members:
            inner = " ".join(
                f"{member.name}_{item.name}: {item.name}{selection(item.ref, depth + 1)}"
                for item in member.fields
                if item.operation is None
            )
            parts.append(f"... on {member.name} {{ {inner} }}")
        return f" {{ __typename {' '.join(parts)} }}"
    if not isinstance(named, ObjectType):
        return ""
    fields = [
        f"{item.name}{selection(item.ref, depth + 1)}"
        for item in named.fields
        if item.operation is None and (depth < 4 or not isinstance(item.ref.named, ObjectType | UnionType))
    ]
    return f" {{ {' '.join(fields) or '__typename'} }}"


def sent(ref: Ref, value: Any) -> Any:
    """Return a JSON value with GraphQL's names; what is not of the type is left for GraphQL to refuse."""
    if isinstance(ref.to, Ref):
        return [sent(ref.to, item) for item in value] if isinstance(value, list) else value
    if isinstance(ref.to, EnumType):
        names = [item.name for item in ref.to.values if item.json == value and type(item.json) is type(value)]
        return names[0] if names else value
    if isinstance(ref.to, InputType) and ref.to.one_of and isinstance(value, dict):
        for field, node in zip(ref.to.fields, ref.to.one_of, strict=True):
            member = field.ref.to
            assert isinstance(member, InputType)
            tag = dict([node.tag]) if node.tag else {}
            if {key: value.get(key) for key in tag} == tag and value.keys() - tag.keys() <= {
                item.json_name for item in member.fields
            }:
                return {field.name: sent(field.ref, {key: item for key, item in value.items() if key not in tag})}
        return value
    if isinstance(ref.to, InputType) and ref.to.positions and isinstance(value, list):
        return {field.name: sent(field.ref, item) for field, item in zip(ref.to.fields, value, strict=False)}
    if isinstance(ref.to, InputType) and isinstance(value, dict):
        by_name = {field.json_name: field for field in ref.to.fields}
        return {
            by_name[key].name if key in by_name else key: sent(by_name[key].ref, item) if key in by_name else item
            for key, item in value.items()
        }
    return value


def got(ref: Ref, value: Any) -> Any:
    """Return a value of an answer as JSON has it elsewhere."""
    if value is None:
        return None
    if isinstance(ref.to, Ref):
        return [got(ref.to, item) for item in value]
    if isinstance(ref.to, EnumType):
        return next(item.json for item in ref.to.values if item.name == value)
    if isinstance(ref.to, UnionType):
        member = next(item for _, item in ref.to.members if item.name == value["__typename"])
        prefix = f"{member.name}_"
        return got(Ref(member), {key.removeprefix(prefix): item for key, item in value.items()})
    if isinstance(ref.to, ObjectType):
        members = {item.json_name: got(item.ref, value[item.name]) for item in ref.to.fields if item.name in value}
        cls = ref.to.cls
        return list(members.values()) if isinstance(cls, type) and issubclass(cls, tuple) else members
    return value


def pointer(fields: tuple[InputField, ...] | list[InputField], path: str) -> str:
    """Return the JSON pointer that a problem has elsewhere."""
    found = ""
    for part in path.split("/")[1:]:
        field = next((item for item in fields if item.name == part), None)
        found += f"/{part if field is None else field.json_name}"
        if field is not None:
            named = field.ref.named
            fields = named.fields if isinstance(named, InputType) else ()
    return found
