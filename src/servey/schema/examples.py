"""Examples in a document."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from servey.action.checked_example import CheckedExample
from servey.action.example import NOT_GIVEN
from servey.action.operation import Operation
from servey.docstring.documentation import summary_of


def shown_examples(operation: Operation) -> list[CheckedExample]:
    """Return the examples of an operation that the document shows."""
    return [item for item in operation.examples if item.example.include_in_schema]


def example_objects(values: Iterable[tuple[CheckedExample, Any]]) -> dict[str, Any]:
    """Return example objects (OpenAPI 3.1 §4.8.19) by name; none for a value that is not given."""
    return {
        item.example.name: {**filled({"summary": summary_of(item.example.description or "")}), "value": value}
        for item, value in values
        if value is not NOT_GIVEN
    }


def filled(members: dict[str, Any]) -> dict[str, Any]:
    """Return an object of the document without its empty members, except schemas."""
    return {key: value for key, value in members.items() if value or key == "schema"}


def distinct(values: Sequence[Any]) -> list[Any]:
    """Return the values of the document without repetitions; they need not be hashable."""
    return [value for index, value in enumerate(values) if value not in values[:index]]
