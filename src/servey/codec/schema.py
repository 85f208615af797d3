"""JSON Schema 2020-12 of a type, for OpenAPI and for tools that call actions.

Classes are in ``$defs`` under their own names. The second class with a name gets a number, in the order of their
occurrence, so that the names are stable.
"""

from __future__ import annotations

import json
import math
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from msgspec import UNSET

from servey.codec.decimal_pattern import ANY_DECIMAL, pattern_of_bounds
from servey.codec.engine import CustomType, SchemaMode
from servey.codec.jsonable import to_document
from servey.codec.node import MISSING, Constraints, Field, Node, NodeVisitor
from servey.codec.patterns import DURATION, TIME, base64_keywords, portable
from servey.codec.references import references, replaced
from servey.codec.scalars import wire_values
from servey.codec.schema_names import Names, class_name, component_name
from servey.codec.structs import needs_trials
from servey.docstring.documentation import Documentation
from servey.errors import DefinitionError

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_LOCAL = "#/$defs/"
_SCALARS: dict[str, dict[str, Any]] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "bytes": {"type": "string", "contentEncoding": "base64"},
    "bytearray": {"type": "string", "contentEncoding": "base64"},
    "NoneType": {"type": "null"},
    "datetime": {"type": "string", "format": "date-time"},
    "date": {"type": "string", "format": "date"},
    # JSON Schema's format "time" wants an offset, which a time of day mostly has not
    "time": {"type": "string", "pattern": TIME},
    "timedelta": {"type": "string", "format": "duration", "pattern": DURATION},
    "UUID": {"type": "string", "format": "uuid"},
}
_KEYWORDS = {
    "gt": "exclusiveMinimum",
    "ge": "minimum",
    "lt": "exclusiveMaximum",
    "le": "maximum",
    "multiple_of": "multipleOf",
}
_MOST = 10**308


class SchemaWriter(NodeVisitor[dict[str, Any]]):
    """Writes the schemas of one document, whose classes share ``$defs``. A visit knows no constraints.

    Args:
        mode: Whether input or output is described.
        prefix: The beginning of references.
        names: Names the definitions; the writers of both sides of a document share it.

    Attributes:
        more: Returns members that the schema of a class has besides those of the class, for `?include=`.
    """

    def __init__(self, mode: SchemaMode, prefix: str = _LOCAL, names: Names | None = None) -> None:
        self.mode: SchemaMode = mode
        self.prefix = prefix
        self.more: Callable[[Node], Sequence[Field]] = lambda node: ()
        self.definitions: dict[str, dict[str, Any]] = {}
        self._names = names or Names()
        self._more_of: dict[str, dict[str, Any]] = {}

    def of(self, node: Node) -> dict[str, Any]:
        """Return the schema of a node; classes are referred to."""
        schema = self._constrained(node)
        if node.extra:
            schema = {**schema, **node.extra}
        if node.description and node.description != schema.get("description"):
            schema = {**schema, "description": node.description}
        return schema

    def member(self, field: Field, description: str = "") -> dict[str, Any]:
        """Return the schema of a member. The description of its annotation takes precedence over the docstring's."""
        schema = self.of(field.node)
        description = field.description or description
        if description:
            schema = {**schema, "description": description}
        default = default_wire(field.default)
        return schema if default is MISSING else {**schema, "default": default}

    def object(self, fields: Iterable[Field], descriptions: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
        """Return the schema of an object with such members, described in the docstring of its class."""
        fields = list(fields)
        schema: dict[str, Any] = {
            "type": "object",
            "properties": {field.wire: self.member(field, descriptions.get(field.name, "")) for field in fields},
        }
        required = [field.wire for field in fields if field.required or (self.mode == "output" and _always(field))]
        if required:
            schema["required"] = required
        # results have exactly the declared members, so both sides are closed
        return {**schema, "additionalProperties": False}

    def _constrained(self, node: Node) -> dict[str, Any]:
        if node.kind == "leaf" and node.cls is Decimal:
            return _decimal(node.constraints, self.mode)
        schema = self.visit(node)
        if not node.constraints:
            return schema
        if node.cls in (bytes, bytearray):
            return {**schema, **base64_keywords(node.constraints.min_length, node.constraints.max_length)}
        return {**schema, **keywords(node.constraints, node.kind)}

    def visit_any(self, node: Node) -> dict[str, Any]:
        """Allow anything."""
        return {}

    def visit_list(self, node: Node) -> dict[str, Any]:
        """Describe an array of members of one type."""
        schema: dict[str, Any] = {"type": "array", "items": self.of(node.items[0])}
        # different objects of a set may have equal JSON; duplicates in the input do not count for minItems
        unique = node.cls in (set, frozenset) and (
            node.items[0].kind == "leaf" if self.mode == "output" else (node.constraints.min_length or 0) > 1
        )
        return {**schema, "uniqueItems": True} if unique else schema

    def visit_tuple(self, node: Node) -> dict[str, Any]:
        """Describe an array with a type for each place."""
        if node.flavor == "namedtuple":
            return self._definition(node, lambda: self._namedtuple(node))
        return _positions([self.of(item) for item in node.items], len(node.items))

    def visit_object(self, node: Node) -> dict[str, Any]:
        """Refer to the definition of a class."""
        return self._definition(node, lambda: self._object(node))

    def _namedtuple(self, node: Node) -> dict[str, Any]:
        documentation = Documentation.of_class(node.cls)
        descriptions = documentation.parameters
        items = [{"title": field.name, **self.member(field, descriptions.get(field.name, ""))} for field in node.fields]
        least = sum(field.required for field in node.fields) if self.mode == "input" else len(items)
        return _described(_positions(items, least), documentation)

    def _object(self, node: Node) -> dict[str, Any]:
        documentation = Documentation.of_class(node.cls)
        schema = self.object([*node.fields, *self.more(node)], documentation.parameters)
        if node.tag is not None:
            schema["properties"] = {node.tag[0]: {"const": node.tag[1]}, **schema["properties"]}
            if self.mode == "output":
                schema["required"] = [node.tag[0], *schema.get("required", [])]
        return _described(schema, documentation)

    def visit_leaf(self, node: Node) -> dict[str, Any]:
        """Describe a scalar; refer to the definition of an Enum."""
        values = wire_values(node)
        if node.cls is typing.Literal:
            return {"const": values[0]} if len(values) == 1 else {"enum": values}
        if values:
            kind = "string" if isinstance(values[0], str) else "integer"
            schema: dict[str, Any] = {"type": kind, "enum": values}
            if kind == "integer":  # the members' names, for generators of clients
                schema["x-enum-varnames"] = [member.name for member in node.cls]
            return self._definition(node, lambda: _described(schema, Documentation.of_class(node.cls)), node.cls)
        return dict(_SCALARS[node.cls.__name__])

    def visit_dict(self, node: Node) -> dict[str, Any]:
        """Describe an object with any names."""
        keys, values = node.items
        schema: dict[str, Any] = {"type": "object", "additionalProperties": self.of(values)}
        names = self._key(keys)
        return {**schema, "propertyNames": names} if names else schema

    def _key(self, keys: Node) -> dict[str, Any]:
        """Return the schema of a key's text; none for numbers, which the decoder checks."""
        if values := wire_values(keys):
            return {"enum": [str(value) for value in values]}
        if keys.cls is bool:
            return {"enum": ["true", "false"]}
        if keys.cls in (int, float):
            return {}
        if keys.cls is str:
            return keywords(keys.constraints, "leaf")
        return {key: value for key, value in self.of(keys).items() if key == "format"}

    def visit_union(self, node: Node) -> dict[str, Any]:
        """Describe a value of one of several types."""
        parts: list[dict[str, Any]] = []
        tried = self.mode == "input" and needs_trials(node)
        for item in node.items:
            part: dict[str, Any] = self.of(item)
            if tried and item.tag is not None:  # alone, the class is known without its tag
                part["required"] = [item.tag[0]]
            parts += part["anyOf"] if part.keys() == {"anyOf"} else [part]
        others = [part for part in parts if part != {"type": "null"}]
        if len(others) == 1 and len(parts) == 2 and isinstance(others[0].get("type"), str):
            found = dict(others[0])
            if not {"enum", "const"} & found.keys():
                return {**found, "type": [found["type"], "null"]}
        return {"anyOf": parts}

    def visit_custom(self, node: Node) -> dict[str, Any]:
        """Ask the engine, and move its definitions to the others."""
        assert node.custom is not None
        schema, definitions = _split(node.custom.schema(self.mode))
        other, others = _split(_other_side(node.custom, self.mode))
        renamed = {name: self._custom_name(name, [definitions, others]) for name in {**definitions, **others}}
        moved = {_LOCAL + name: self.prefix + final for name, final in renamed.items()}
        for name, definition in definitions.items():
            self._define(renamed[name], replaced(definition, moved))
        if schema.get("type") == "object" and "$ref" not in schema and isinstance(node.type, type):
            name = node.type.__name__
            name = self._custom_name(name, [{**definitions, name: schema}, {**others, name: other}])
            self._define(name, replaced(schema, moved))
            schema = {"$ref": self.prefix + name}
        schema = replaced(schema, moved)
        if "$ref" in schema and (more := self.more(node)):
            self._extend(schema["$ref"].removeprefix(self.prefix), more)
        return schema

    def _define(self, name: str, definition: dict[str, Any]) -> None:
        """Add a definition of an engine, with the further members of its class."""
        if more := self._more_of.get(name):
            definition = {**definition, "properties": {**definition.get("properties", {}), **more}}
        self.definitions[name] = definition

    def _extend(self, name: str, more: Sequence[Field]) -> None:
        if name not in self._more_of:
            self._more_of[name] = {}  # the members may contain the class itself
            self._more_of[name] = self.object(more)["properties"]
            self._define(name, self.definitions[name])

    def _custom_name(self, name: str, sides: Sequence[Mapping[str, Any]]) -> str:
        """Return the name of a definition of an engine: equal definitions on both sides share a name."""
        content = [_reachable(name, definitions) for definitions in sides]
        if self.mode == "output":
            content.reverse()
        return self._names.of((name, json.dumps(content, sort_keys=True, default=str)), component_name(name))

    def _definition(self, node: Node, make: Any, key: object = None) -> dict[str, Any]:
        name = self._names.of(key if key is not None else node.identity, component_name(class_name(node)))
        if name not in self.definitions:
            self.definitions[name] = {}
            self.definitions[name] = make()
        return {"$ref": self.prefix + name}


_OTHER: dict[SchemaMode, SchemaMode] = {"input": "output", "output": "input"}


def _other_side(custom: CustomType, mode: SchemaMode) -> dict[str, Any]:
    """Return the output schema for input, or the input schema for output; empty if there is none."""
    try:
        return custom.schema(_OTHER[mode])
    except DefinitionError:
        return {}


def _split(schema: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a schema without its definitions, and the definitions."""
    bare = dict(schema)
    return bare, bare.pop("$defs", {})


def _reachable(name: str, definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Return a definition and those that it refers to, by name."""
    found: dict[str, Any] = {}
    waiting = [name]
    while waiting:
        at = waiting.pop()
        if at in definitions and at not in found:
            found[at] = definitions[at]
            waiting += [ref.removeprefix(_LOCAL) for ref in references(definitions[at])]
    return found


def _described(schema: dict[str, Any], documentation: Documentation) -> dict[str, Any]:
    return {**schema, "description": documentation.prose} if documentation.prose else schema


def _positions(items: list[Any], least: int) -> dict[str, Any]:
    """Return the schema of an array with such members, the first `least` of them required."""
    prefix: dict[str, Any] = {"prefixItems": items} if items else {}  # it may not be empty
    return {"type": "array", **prefix, "items": False, "minItems": least, "maxItems": len(items)}


def keywords(constraints: Constraints, kind: str) -> dict[str, Any]:
    """Return the JSON-schema keywords of constraints, without those that JSON Schema cannot express."""
    found: dict[str, Any] = {}
    for name, value in constraints.items():
        if name in ("min_length", "max_length"):
            suffix = {"list": "Items", "dict": "Properties"}.get(kind, "Length")
            found[name[:3] + suffix] = value
        elif name == "pattern" and portable(value):
            found[name] = value
        elif name in _KEYWORDS and (number := _number(value)) is not None:
            if name != "multiple_of":
                found[_KEYWORDS[name]] = number
            elif number:
                found[_KEYWORDS[name]] = abs(number)
    return found


def _number(bound: Any) -> int | float | None:
    """Return a bound as a JSON number; None if JSON cannot express it."""
    if isinstance(bound, Decimal):
        bound = int(bound) if bound == bound.to_integral_value() and abs(bound) < _MOST else float(bound)
    if isinstance(bound, int):
        return bound if abs(bound) < _MOST else None
    return bound if isinstance(bound, float) and math.isfinite(bound) else None


def default_wire(default: Any) -> Any:
    """Return a default as JSON values; `MISSING` if there is none, or JSON cannot express it."""
    if default is MISSING or default is UNSET:
        return MISSING
    try:
        return to_document(default)
    except ValueError:
        return MISSING


def _always(field: Field) -> bool:
    return (field.default is not MISSING and field.default is not UNSET) or field.default_factory is not None


def _decimal(constraints: Constraints, mode: SchemaMode) -> dict[str, Any]:
    """Return the schema of a Decimal: a string with a pattern for its bounds; in input also a number."""
    schema: dict[str, Any] = {"type": "string", "format": "decimal", "pattern": ANY_DECIMAL}
    if mode == "output":
        return schema
    schema["pattern"] = pattern_of_bounds(constraints)
    return {"anyOf": [schema, {"type": "number", **keywords(constraints, "leaf")}]}
