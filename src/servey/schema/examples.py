"""Examples in a document."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from servey.action.checked_example import CheckedExample
from servey.docstring.documentation import summary_of


def shown(item: CheckedExample) -> bool:
    """Return whether the document shows an example."""
    return item.example.include_in_schema


def example_objects(values: Iterable[tuple[CheckedExample, Any]]) -> dict[str, Any]:
    """Return example objects (OpenAPI 3.1 §4.8.19) by name."""
    return {
        item.example.name: {**filled({"summary": summary_of(item.example.description or "")}), "value": value}
        for item, value in values
    }


def filled(members: dict[str, Any]) -> dict[str, Any]:
    """Return an object of the document without its empty members, schemas excepted."""
    return {key: value for key, value in members.items() if value or key == "schema"}
