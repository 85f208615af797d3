"""The references in JSON schemas: ``$ref``, and the mapping of a discriminator."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from typing import Any

VALUES = frozenset({"const", "default", "enum", "example", "examples"})
"""What holds values of the user's own, not schemas."""

NAMED = frozenset({"properties", "schemas", "$defs"})
"""What holds schemas by names, which mean nothing here."""


def references(schema: Any) -> Iterator[str]:
    """Yield every reference in a schema, or in a list of schemas."""
    if isinstance(schema, list):
        for item in typing.cast("list[Any]", schema):
            yield from references(item)
    elif isinstance(schema, dict):
        for key, value in typing.cast("dict[str, Any]", schema).items():
            if key == "$ref" and isinstance(value, str):
                yield value
            elif key == "discriminator" and isinstance(value, dict):
                yield from value.get("mapping", {}).values()  # pyright: ignore[reportUnknownMemberType]
            elif key in NAMED and isinstance(value, dict):
                yield from references(list(value.values()))  # pyright: ignore[reportUnknownArgumentType]
            elif key not in VALUES:
                yield from references(value)


def replaced(value: Any, names: Mapping[str, str]) -> Any:
    """Return a copy of a schema, or of a document, with its references replaced.

    Args:
        value: What is copied. An example that looks like a reference stays as it is.
        names: The new references by the old ones; the others stay.
    """
    if isinstance(value, list):
        return [replaced(item, names) for item in typing.cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    found: dict[str, Any] = {}
    for key, item in typing.cast("dict[str, Any]", value).items():
        if key == "$ref" and isinstance(item, str):
            found[key] = names.get(item, item)
        elif key == "discriminator" and isinstance(item, dict) and "mapping" in item:
            mapping = typing.cast("dict[str, str]", item["mapping"])
            found[key] = {**item, "mapping": {tag: names.get(ref, ref) for tag, ref in mapping.items()}}
        elif key in NAMED and isinstance(item, dict):
            members = typing.cast("dict[str, Any]", item)
            found[key] = {name: replaced(part, names) for name, part in members.items()}
        else:
            found[key] = item if key in VALUES else replaced(item, names)
    return found
