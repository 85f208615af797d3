"""OpenAPI 3.0, for programs that do not know 3.1 with its JSON Schema of 2020.

3.0 has its own dialect (https://spec.openapis.org/oas/v3.0.4.html, §4.7.24): null and exclusive bounds are flags, and
a reference has no siblings. Unknown keywords are left out.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any

from servey.schema.examples import distinct

_UNKNOWN = frozenset(
    {"propertyNames", "patternProperties", "contentMediaType", "contentSchema", "unevaluatedProperties"}
)
_ONE = frozenset({"additionalProperties", "not", "items"})
_SEVERAL = frozenset({"anyOf", "oneOf", "allOf", "prefixItems", "properties"})
"""The keywords with a schema, and those with a list or an object of schemas."""


def as_openapi_30(document: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a document of OpenAPI 3.1 to 3.0."""
    return {**_walk(document), "openapi": "3.0.4"}


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
            found[key] = _schemas(item)
        else:
            found[key] = item if key in ("example", "examples") else _walk(item)
    return found


def _schema(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    members = typing.cast("dict[str, Any]", schema)
    found = {key: value for key, value in members.items() if key not in _UNKNOWN}
    reference = {"$ref": found.pop("$ref", None)}
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
    if "$ref" not in members:
        return found
    return {"allOf": [reference], **found} if found else reference


def _schemas(schemas: Any) -> Any:
    if isinstance(schemas, list):
        return [_schema(schema) for schema in typing.cast("list[Any]", schemas)]
    return {name: _schema(schema) for name, schema in schemas.items()}


def _parts(found: dict[str, Any]) -> None:
    for key in found.keys() & _SEVERAL:
        found[key] = _schemas(found[key])
    for key in found.keys() & _ONE:
        found[key] = _schema(found[key])
    if "prefixItems" in found:
        positions = distinct(found.pop("prefixItems"))
        found["items"] = positions[0] if len(positions) == 1 else {"anyOf": positions}
    elif isinstance(found.get("items"), bool):
        found["items"] = {}


def _kinds(found: dict[str, Any]) -> None:
    """Replace the type null by a flag."""
    kinds: Any = found.get("type")
    if kinds == "null":
        found.update({"type": "string", "nullable": True, "enum": [None]})  # the flag needs a type beside it
    if not isinstance(kinds, list):
        return
    given = typing.cast("list[str]", kinds)
    nullable: dict[str, Any] = {"nullable": True} if "null" in given else {}
    parts = [{"type": kind, **nullable} for kind in given if kind != "null"]
    del found["type"]
    found.update(parts[0] if len(parts) == 1 else {"anyOf": parts})
    if nullable and None not in found.get("enum", [None]):
        found["enum"] = [*found["enum"], None]


def _bounds(found: dict[str, Any]) -> None:
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if exclusive in found and not isinstance(found[exclusive], bool):
            found[bound] = found[exclusive]
            found[exclusive] = True
