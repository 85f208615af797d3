"""Measure the complexity of a document before its execution; each fragment is measured once."""

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

from servey.action.cost import CALL_COST, LIST_FACTOR
from servey.action.operation import Operation
from servey.schema.graphql.model import OutputField
from servey.servey_strawberry.binding import FIELD_KEY
from servey.servey_strawberry.settings import GraphQLSettings
from servey.settings import Settings


class QueryComplexity(msgspec.Struct, frozen=True):
    """The complexity of a selection; each use of a fragment counts.

    Args:
        depth: The nesting of its fields.
        fields: The number of fields.
        aliases: The number of fields with an alias.
        cost: 1 for a field, `CALL_COST` for a field that calls an action, `LIST_FACTOR` times that inside of a list.
        calls: The number of fields that call an action.
    """

    depth: int = 0
    fields: int = 0
    aliases: int = 0
    cost: int = 0
    calls: int = 0

    def plus(self, other: QueryComplexity) -> QueryComplexity:
        """Return the complexity of two selections in the same place."""
        return QueryComplexity(
            max(self.depth, other.depth),
            self.fields + other.fields,
            self.aliases + other.aliases,
            self.cost + other.cost,
            self.calls + other.calls,
        )


_COMPOSITE = (GraphQLObjectType, GraphQLUnionType)


class ComplexityMeasurer:
    """Measures the operations of one document, in a time that is proportional to its length.

    The document need not be valid: measuring is much faster than validation, and a document over a limit is never
    validated. An unknown field counts as a plain field, and a recursive fragment as nothing.

    Args:
        schema: The schema.
        document: The document.
    """

    def __init__(self, schema: GraphQLSchema, document: DocumentNode) -> None:
        self._schema = schema
        self._fragments = {
            item.name.value: item for item in document.definitions if isinstance(item, FragmentDefinitionNode)
        }
        self._measured: dict[str, QueryComplexity] = {}

    def measure(self, operation: OperationDefinitionNode) -> QueryComplexity:
        """Return the complexity of an operation."""
        return self._selected(operation.selection_set, self._schema.get_root_type(operation.operation))

    def _selected(self, selections: SelectionSetNode | None, parent: Any) -> QueryComplexity:
        found = QueryComplexity()
        for node in selections.selections if selections else ():
            if isinstance(node, FieldNode):
                found = found.plus(self._field(node, parent))
            elif isinstance(node, InlineFragmentNode):
                condition = node.type_condition
                inner = self._schema.get_type(condition.name.value) if condition else parent
                found = found.plus(self._selected(node.selection_set, inner))
            elif isinstance(node, FragmentSpreadNode):
                found = found.plus(self._fragment(node.name.value))
        return found

    def _fragment(self, name: str) -> QueryComplexity:
        if name not in self._measured:
            self._measured[name] = QueryComplexity()
            fragment = self._fragments.get(name)
            if fragment is None:
                return QueryComplexity()
            self._measured[name] = self._selected(
                fragment.selection_set, self._schema.get_type(fragment.type_condition.name.value)
            )
        return self._measured[name]

    def _field(self, node: FieldNode, parent: Any) -> QueryComplexity:
        name = node.name.value
        definition: Any = self._schema.get_field(parent, name) if isinstance(parent, _COMPOSITE) else None
        kind = definition.type if definition is not None else None
        inner = self._selected(node.selection_set, get_named_type(kind) if kind is not None else None)
        field: OutputField | None = definition.extensions.get(FIELD_KEY) if definition is not None else None
        calls = field is not None and field.operation is not None
        own = CALL_COST if calls else 1
        factor = LIST_FACTOR ** _lists(kind) if field is not None else 1  # introspection has a small answer
        return QueryComplexity(
            inner.depth + 1,
            inner.fields + 1,
            inner.aliases + (node.alias is not None),
            own + inner.cost * factor,
            inner.calls + calls,
        )


def _lists(kind: Any) -> int:
    """Return the number of lists around a type."""
    found = 0
    while isinstance(kind, (GraphQLList, GraphQLNonNull)):
        found += isinstance(kind, GraphQLList)
        kind = cast("Any", kind).of_type
    return found


def over_limits(
    complexity: QueryComplexity, settings: Settings, operation: OperationDefinitionNode
) -> Iterator[GraphQLError]:
    """Yield an error for each limit that an operation exceeds."""
    for problem, asked, most, unit in (
        ("is nested deeper", complexity.depth, settings.http.max_depth, "levels"),
        ("has more fields", complexity.fields, settings.http.max_fields, "fields"),
        ("has more aliases", complexity.aliases, settings.part(GraphQLSettings).graphql_max_aliases, "aliases"),
        ("costs more", complexity.cost, settings.http.max_cost, "points"),
    ):
        if asked > most:
            shown = str(asked) if asked < 10**9 else "over a billion"
            yield GraphQLError(f"the operation {problem} than allowed: {shown} {unit}, the limit is {most}", operation)


def introspection_field(document: DocumentNode) -> FieldNode | None:
    """Return the first introspection field of a document; None if there is none."""
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


def root_actions(
    schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode
) -> Iterator[Operation]:
    """Yield the actions of the root fields of an operation, without repetitions."""
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
                field = definition.extensions.get(FIELD_KEY) if definition else None
                if field is not None and field.operation is not None:
                    yield field.operation
