"""The examples of actions as GraphQL documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from servey.action.checked_example import CheckedExample
from servey.schema.examples import shown_examples
from servey.schema.graphql.defaults import variable_of
from servey.schema.graphql.model import NOTHING, InputField, Model, ObjectType, OutputField, Ref, UnionType
from servey.schema.graphql.names import camel_case

_DEEPEST = 4
"""The maximum nesting of the fields of an example."""


class ExampleDocument(msgspec.Struct, frozen=True):
    """An example of an action.

    Args:
        title: Its title.
        query: The document.
        variables: The variables, as JSON; empty for none.
    """

    title: str
    query: str
    variables: str


def example_documents(model: Model) -> list[ExampleDocument]:
    """Return the examples of the actions at the roots of a schema.

    The order is: examples of open actions first, then queries before mutations, then examples that show an answer
    without a login. An example is left out if GraphQL cannot express its arguments, such as those of a union.
    """
    found: list[tuple[tuple[bool, ...], ExampleDocument]] = []
    for kind, root in (("query", model.query), ("mutation", model.mutation)):
        for field in root.fields:
            assert field.operation is not None
            for example in shown_examples(field.operation):
                variables = None if example.example.error is not None else _variables(field, example)
                if variables is not None:
                    rank = not field.operation.is_open, kind == "mutation", not _shows_an_answer(example)
                    found.append((rank, _document(kind, field, example.example.name, variables)))
    return [document for _, document in sorted(found, key=lambda item: item[0])]


def _shows_an_answer(example: CheckedExample) -> bool:
    return example.result is not None and example.example.authorization is None


def _variables(field: OutputField, example: CheckedExample) -> Mapping[str, Any] | None:
    by_json_name = {argument.json_name: argument for argument in field.arguments}
    try:
        return {
            by_json_name[name].name: variable_of(by_json_name[name].ref, value)
            for name, value in example.params.items()
        }
    except (ValueError, KeyError):
        return None


def _document(kind: str, field: OutputField, name: str, variables: Mapping[str, Any]) -> ExampleDocument:
    assert field.operation is not None
    given = [argument for argument in field.arguments if argument.name in variables]
    declared = ", ".join(f"${item.name}: {shown_ref(item.ref)}" for item in given)
    passed = ", ".join(f"{item.name}: ${item.name}" for item in given)
    lines = [
        f"{kind} {field.name}_{camel_case(name)}{f'({declared})' if declared else ''} {{",
        f"  {field.name}{f'({passed})' if passed else ''}{_selection(field.ref, 1)}",
        "}",
    ]
    text = msgspec.json.format(msgspec.json.encode(variables), indent=2).decode() if variables else ""
    return ExampleDocument(f"{field.operation.name}: {name}", "\n".join(lines) + "\n", text)


def _is_needed(argument: InputField) -> bool:
    return argument.default is NOTHING and not argument.ref.nullable


def shown_ref(ref: Ref) -> str:
    """Return a type as a document names it: ``[Int!]!``."""
    inner = f"[{shown_ref(ref.to)}]" if isinstance(ref.to, Ref) else ref.to.name
    return inner if ref.nullable else f"{inner}!"


def _selection(ref: Ref, depth: int) -> str:
    """Return the selection of a type's fields; an empty text for a scalar."""
    named = ref.named
    indent = "  " * (depth + 1)
    if isinstance(named, UnionType):
        lines = ["__typename"]
        for _, member in named.members:
            inner = _selection(Ref(member), depth + 1)
            lines.append(f"... on {member.name}{inner}")
    elif isinstance(named, ObjectType):
        lines = list(_fields(named, depth)) or ["__typename"]
    else:
        return ""
    return " {\n" + "".join(f"{indent}{line}\n" for line in lines) + "  " * depth + "}"


def _fields(named: ObjectType, depth: int) -> Iterator[str]:
    """Yield the plain members, and at the top the open nested actions that need no arguments."""
    for field in named.fields:
        action = field.operation
        if action is not None and (depth > 1 or not action.is_open or any(map(_is_needed, field.arguments))):
            continue
        is_deep = isinstance(field.ref.named, (ObjectType, UnionType))
        if is_deep and depth >= _DEEPEST:
            continue
        yield field.name + (_selection(field.ref, depth + 1) if is_deep else "")
