"""OpenAPI 3.0 for readers that do not know 3.1, whose schemas are JSON Schema of 2020.

3.0 has its own dialect (https://spec.openapis.org/oas/v3.0.4.html, §4.7.24): null and exclusive bounds are flags, a
reference has no siblings, and other keywords are left out.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any

_UNKNOWN = frozenset(
    {"propertyNames", "patternProperties", "contentMediaType", "contentSchema", "unevaluatedProperties"}
)
_SCHEMA_LISTS = ("anyOf", "oneOf", "allOf")


def as_openapi_30(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document of OpenAPI 3.1 as one of 3.0."""
    found = _walk(document)
    found["openapi"] = "3.0.4"
    return found


def _walk(value: Any) -> Any:
    """Copy a part of a document, and rewrite the schemas in it."""
    if isinstance(value, list):
        return [_walk(item) for item in typing.cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    found: dict[str, Any] = {}
    for key, item in typing.cast("dict[str, Any]", value).items():
        if key == "schema":
            found[key] = _schema(item)
        elif key == "schemas":
            found[key] = {name: _schema(schema) for name, schema in item.items()}
        else:
            found[key] = item if key in ("example", "examples") else _walk(item)
    return found


def _schema(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    members = typing.cast("dict[str, Any]", schema)
    if "$ref" in members:
        beside = {key: value for key, value in members.items() if key != "$ref"}
        reference = {"$ref": members["$ref"]}
        return {"allOf": [reference], **_schema(beside)} if beside else reference
    found = {key: value for key, value in members.items() if key not in _UNKNOWN}
    _parts(found)
    _kinds(found)
    _bounds(found)
    if "const" in found:
        found["enum"] = [found.pop("const")]
    if found.get("contentEncoding") == "base64":
        del found["contentEncoding"]
        found["format"] = "byte"
    if examples := found.pop("examples", None):
        found["example"] = examples[0]
    return found


def _parts(found: dict[str, Any]) -> None:
    for key in _SCHEMA_LISTS:
        if key in found:
            found[key] = [_schema(part) for part in found[key]]
    if "properties" in found:
        found["properties"] = {name: _schema(part) for name, part in found["properties"].items()}
    for key in ("additionalProperties", "not"):
        if key in found:
            found[key] = _schema(found[key])
    if "prefixItems" in found:
        positions = [_schema(part) for part in found.pop("prefixItems")]
        distinct = [part for index, part in enumerate(positions) if part not in positions[:index]]
        found["items"] = distinct[0] if len(distinct) == 1 else {"anyOf": distinct}
    elif "items" in found:
        found["items"] = _schema(found["items"]) if isinstance(found["items"], dict) else {}


def _kinds(found: dict[str, Any]) -> None:
    """Replace the type null by a flag."""
    kinds: Any = found.get("type")
    if kinds == "null":
        found.update({"type": "string", "nullable": True, "enum": [None]})  # the flag needs a type beside it
    elif isinstance(kinds, list):
        given = typing.cast("list[str]", kinds)
        others = [kind for kind in given if kind != "null"]
        nullable: dict[str, Any] = {"nullable": True} if len(others) < len(given) else {}
        if len(others) == 1:
            found.update({"type": others[0], **nullable})
        else:
            del found["type"]
            found["anyOf"] = [{"type": kind, **nullable} for kind in others]
    if found.get("nullable") and "enum" in found and None not in found["enum"]:
        found["enum"] = [*found["enum"], None]


def _bounds(found: dict[str, Any]) -> None:
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if exclusive in found and not isinstance(found[exclusive], bool):
            found[bound] = found[exclusive]
            found[exclusive] = True
