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

    _renamed(schema, note)
    return found


def replaced(value: Any, names: Mapping[str, str]) -> Any:
    """Return a copy of a schema, or of a document, with other references; `names` has them by the old ones.

    An example that looks like a reference stays unchanged.
    """
    return _renamed(value, lambda reference: names.get(reference, reference))


def _renamed(value: Any, rename: Callable[[str], str]) -> Any:
    if isinstance(value, list):
        return [_renamed(item, rename) for item in typing.cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    return {key: _member(key, item, rename) for key, item in typing.cast("dict[str, Any]", value).items()}


def _member(key: str, value: Any, rename: Callable[[str], str]) -> Any:
    if key == "$ref" and isinstance(value, str):
        return rename(value)
    if key == "discriminator" and isinstance(value, dict) and "mapping" in value:
        members = typing.cast("dict[str, Any]", value)
        return {**members, "mapping": {tag: rename(reference) for tag, reference in members["mapping"].items()}}
    return changed(key, value, lambda part: _renamed(part, rename))


def changed(key: str, value: Any, change: Callable[[Any], Any]) -> Any:
    """Return the value of a keyword, after a change of the schemas in it."""
    if key in VALUES:
        return value
    if key in NAMED and isinstance(value, dict):
        return {name: change(part) for name, part in typing.cast("dict[str, Any]", value).items()}
    return change(value)
