"""The references in JSON schemas: ``$ref``, and the mapping of a discriminator."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from typing import Any

VALUES = frozenset({"const", "default", "enum", "example", "examples"})
"""The keywords whose contents are the user's values, not schemas."""

NAMED = frozenset({"properties", "schemas", "$defs"})
"""The keywords that contain schemas by name."""


def references(schema: Any) -> list[str]:
    """Return every reference in a schema, or in a list of schemas."""
    found: list[str] = []

    def note(reference: str) -> str:
        found.append(reference)
        return reference

    rebuilt(schema, lambda part: _renamed(part, note))
    return found


def replaced(value: Any, names: Mapping[str, str]) -> Any:
    """Return a copy of a schema, or of a document, with other references; `names` has them by the old ones.

    An example that looks like a reference stays unchanged.
    """
    return rebuilt(value, lambda part: _renamed(part, lambda reference: names.get(reference, reference)))


def _renamed(schema: dict[str, Any], rename: Callable[[str], str]) -> dict[str, Any]:
    if isinstance(schema.get("$ref"), str):
        schema["$ref"] = rename(schema["$ref"])
    if isinstance(schema.get("discriminator"), dict):
        mapping: dict[str, str] = schema["discriminator"].get("mapping", {})
        mapping.update({tag: rename(name) for tag, name in mapping.items()})
    return schema


def rebuilt(value: Any, change: Callable[[dict[str, Any]], Any]) -> Any:
    """Return a copy of a schema, or of a document, with what `change` returns for a copy of each schema in it."""
    if isinstance(value, list):
        return [rebuilt(item, change) for item in typing.cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    found: dict[str, Any] = {}
    for key, item in typing.cast("dict[str, Any]", value).items():
        if key in NAMED and isinstance(item, dict):
            named = typing.cast("dict[str, Any]", item)
            found[key] = {name: rebuilt(part, change) for name, part in named.items()}
        else:
            found[key] = item if key in VALUES else rebuilt(item, change)
    return change(found)
