"""What a document asks for, measured before it is executed: each fragment once, however often it is used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import msgspec
from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    get_named_type,
)

from servey.schema.graphql.model import OutputField
from servey.settings import Settings

FIELD_KEY = "servey-field"
"""The extension under which a field of the schema has its `OutputField`."""

ACTION_COST, LIST_FACTOR = 10, 10


class Measure(msgspec.Struct, frozen=True):
    """What a selection asks for, with every fragment as often as it is used.

    Args:
        depth: How deep its fields are nested.
        fields: How many there are.
        aliases: How many of them have an alias.
        cost: 1 for a field, `ACTION_COST` for one that calls an action, `LIST_FACTOR` times that inside of a list.
        calls: How many of them call an action.
    """

    depth: int = 0
    fields: int = 0
    aliases: int = 0
    cost: int = 0
    calls: int = 0

    def beside(self, other: Measure) -> Measure:
        """Return the measure of two selections in the same place."""
        return Measure(
            max(self.depth, other.depth),
            self.fields + other.fields,
            self.aliases + other.aliases,
            self.cost + other.cost,
            self.calls + other.calls,
        )


_COMPOSITE = (GraphQLObjectType, GraphQLUnionType)


class Measurer:
    """Measures the operations of one document, in a time that grows with its length alone.

    It need not be valid: to measure it takes a fraction of the time of its validation, and what is over a limit is not
    validated. What is not in the schema counts as a plain field, and a fragment inside of itself as nothing.

    Args:
        schema: The schema.
        document: The document.
    """

    def __init__(self, schema: GraphQLSchema, document: DocumentNode) -> None:
        self._schema = schema
        self._fragments = {
            item.name.value: item for item in document.definitions if isinstance(item, FragmentDefinitionNode)
        }
        self._measured: dict[str, Measure] = {}

    def measure(self, operation: OperationDefinitionNode) -> Measure:
        """Return what an operation asks for."""
        return self._selected(operation.selection_set, self._schema.get_root_type(operation.operation))

    def _selected(self, selections: SelectionSetNode | None, parent: Any) -> Measure:
        found = Measure()
        for node in selections.selections if selections else ():
            if isinstance(node, FieldNode):
                found = found.beside(self._field(node, parent))
            elif isinstance(node, InlineFragmentNode):
                condition = node.type_condition
                inner = self._schema.get_type(condition.name.value) if condition else parent
                found = found.beside(self._selected(node.selection_set, inner))
            elif isinstance(node, FragmentSpreadNode):
                found = found.beside(self._fragment(node.name.value))
        return found

    def _fragment(self, name: str) -> Measure:
        if name not in self._measured:
            self._measured[name] = Measure()
            fragment = self._fragments.get(name)
            if fragment is None:
                return Measure()
            self._measured[name] = self._selected(
                fragment.selection_set, self._schema.get_type(fragment.type_condition.name.value)
            )
        return self._measured[name]

    def _field(self, node: FieldNode, parent: Any) -> Measure:
        name = node.name.value
        definition: Any = self._schema.get_field(parent, name) if isinstance(parent, _COMPOSITE) else None
        kind = definition.type if definition is not None else None
        inner = self._selected(node.selection_set, get_named_type(kind) if kind is not None else None)
        told: OutputField | None = definition.extensions.get(FIELD_KEY) if definition is not None else None
        calls = told is not None and told.operation is not None
        own = ACTION_COST if calls else 1
        is_own = told is not None  # the fields of introspection are of one small answer
        return Measure(
            inner.depth + 1,
            inner.fields + 1,
            inner.aliases + (node.alias is not None),
            own + inner.cost * (LIST_FACTOR ** _lists(kind) if is_own else 1),
            inner.calls + calls,
        )


def _lists(kind: Any) -> int:
    """Return how many lists are around a type."""
    found = 0
    while isinstance(kind, (GraphQLList, GraphQLNonNull)):
        found += isinstance(kind, GraphQLList)
        kind = cast("Any", kind).of_type
    return found


def over_limits(measure: Measure, settings: Settings, operation: OperationDefinitionNode) -> Iterator[GraphQLError]:
    """Yield what of an operation is over the limits."""
    for what, asked, most, variable in (
        ("is nested deeper", measure.depth, settings.graphql_max_depth, "levels"),
        ("has more fields", measure.fields, settings.graphql_max_fields, "fields"),
        ("has more aliases", measure.aliases, settings.graphql_max_aliases, "aliases"),
        ("costs more", measure.cost, settings.graphql_max_cost, "points"),
    ):
        if asked > most:
            shown = str(asked) if asked < 10**9 else "over a billion"
            yield GraphQLError(f"the operation {what} than it may: {shown} {variable}, the limit is {most}", operation)


def introspects(document: DocumentNode) -> FieldNode | None:
    """Return the first field of a document that asks for the schema; None where there is none."""
    waiting: list[SelectionSetNode | None] = [
        item.selection_set
        for item in document.definitions
        if isinstance(item, (OperationDefinitionNode, FragmentDefinitionNode))
    ]
    while waiting:
        selections = waiting.pop()
        for node in selections.selections if selections else ():
            if isinstance(node, FieldNode) and node.name.value in ("__schema", "__type"):
                return node
            if isinstance(node, (FieldNode, InlineFragmentNode)):
                waiting.append(node.selection_set)
    return None


def called(schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode) -> Iterator[OutputField]:
    """Yield the fields at the root of an operation that call actions, each once."""
    fragments = {item.name.value: item for item in document.definitions if isinstance(item, FragmentDefinitionNode)}
    root = schema.get_root_type(operation.operation)
    waiting: list[SelectionSetNode] = [operation.selection_set]
    seen: set[str] = set()
    while waiting:
        for node in waiting.pop(0).selections:
            if isinstance(node, InlineFragmentNode):
                waiting.append(node.selection_set)
            elif isinstance(node, FragmentSpreadNode) and node.name.value not in seen:
                seen.add(node.name.value)
                waiting.append(fragments[node.name.value].selection_set)
            elif isinstance(node, FieldNode) and root is not None and (name := f"field {node.name.value}") not in seen:
                seen.add(name)
                definition = schema.get_field(root, node.name.value)
                told = definition.extensions.get(FIELD_KEY) if definition else None
                if told is not None:
                    yield told
