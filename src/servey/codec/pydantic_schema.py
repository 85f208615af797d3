"""What pydantic's core schema of a type says: which parts have no JSON form, and how numbers are to be sent to it."""

from __future__ import annotations

import functools
import typing
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from servey.codec.patterns import portable
from servey.codec.references import NAMED, VALUES
from servey.codec.wire import to_wire
from servey.errors import DefinitionError

if typing.TYPE_CHECKING:
    from servey.codec.engine import SchemaMode

_NO_SCHEMAS = frozenset(
    {"metadata", "config", "default", "cls", "expected", "members", "serialization", "python_schema", "lax_schema"}
)
"""The keys of a node that hold no schema, or one that reads no JSON, or not strictly."""
_CONTAINERS = ("model", "dataclass", "model-fields", "dataclass-args", "typed-dict", "dict", "list", "tuple", "set")
_SAME_IN_JSON = frozenset(
    {
        *_CONTAINERS,
        *("model-field", "dataclass-field", "typed-dict-field", "computed-field", "definitions", "definition-ref"),
        *("str", "int", "bool", "none", "literal", "enum", "uuid", "url", "multi-host-url", "nullable", "default"),
        *("union", "tagged-union", "function-before", "function-after", "function-wrap", "json-or-python"),
    }
) - {"set"}
"""The types that pydantic and servey write alike."""
_NO_NUMBERS = frozenset({*_CONTAINERS, "frozenset", "none", "bool", "decimal"})
"""The types beside a Decimal that take no number and no string."""


class Part(NamedTuple):
    """One node of a core schema.

    Args:
        node: The node.
        config: The configuration that holds there.
        written: Whether a serializer of its own writes it, or what it is a part of.
        at: Its place: ``.owner.name``.
    """

    node: dict[str, Any]
    config: dict[str, Any]
    written: bool
    at: str


def parts(schema: Any, config: dict[str, Any], written: bool = False, at: str = "") -> Iterator[Part]:
    """Yield each node of a core schema, as far as JSON is read by it."""
    if isinstance(schema, (list, tuple)):
        for item in typing.cast("list[Any]", schema):
            yield from parts(item, config, written, at)
    if not isinstance(schema, dict):
        return
    node = typing.cast("dict[str, Any]", schema)
    config = node.get("config") or config
    written = written or "serialization" in node
    if isinstance(node.get("type"), str):
        yield Part(node, config, written, at)
    for key, value in node.items():
        if key == "fields" and isinstance(value, dict):
            for name, field in typing.cast("dict[str, Any]", value).items():
                yield from parts(field, config, written, f"{at}.{name}")
        elif key not in _NO_SCHEMAS:
            yield from parts(value, config, written, f"{at}.{node['name']}" if "name" in node else at)


def check_parts(name: str, schema: Any, config: dict[str, Any], mode: SchemaMode) -> None:
    """Refuse what pydantic lets a class be made of, and what cannot be served.

    Args:
        name: The type, for errors.
        schema: Its core schema.
        config: Its configuration.
        mode: Whether it is read or written.

    Raises:
        DefinitionError: A part of it cannot be read from JSON as it has to be.
    """
    for node, own, written, at in parts(schema, config):
        if node["type"] == "bytes" and not written and own.get("val_json_bytes") != "base64":
            raise DefinitionError(
                f"{name}{at}: pydantic would read bytes as UTF-8, and servey's bytes are base64",
                fix="model_config = ConfigDict(val_json_bytes='base64', ser_json_bytes='base64')",
            )
        if mode == "output":
            continue
        if node["type"] == "generator":
            raise DefinitionError(
                f"{name}{at}: pydantic checks the items of an iterable when the action reads them", fix="use a list"
            )
        if node["type"] == "function-plain" and node["function"]["function"].__name__ == "import_string":
            raise DefinitionError(
                f"{name}{at}: an ImportString imports whatever module its caller names", fix="use an Enum or a Literal"
            )


def is_same_in_json(schema: Any, config: dict[str, Any]) -> bool:
    """Whether what pydantic writes in its JSON mode is what servey writes."""
    return all(
        node["type"] in _SAME_IN_JSON and not written and own.get("extra_fields_behavior") != "allow"
        for node, own, written, _ in parts(schema, config)
    )


def has_decimals(schema: Any) -> bool:
    """Whether a Decimal is a part of the type."""
    return any(part.node["type"] == "decimal" for part in parts(schema, {}))


def with_decimals(schema: Any, builtins: Any) -> Any:
    """Return JSON values with strings for the numbers that are read as a Decimal: pydantic's parser makes them floats.

    Where something else might read the string, as in `Decimal | str`, the number stays.
    """
    definitions = {part.node["ref"]: part.node for part in parts(schema, {}) if "ref" in part.node}

    def plain(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the nodes one of which reads the value itself."""
        kind = node["type"]
        if kind == "definition-ref":
            yield from plain(definitions[node["schema_ref"]])
        elif kind == "union":
            for choice in node["choices"]:
                yield from plain(choice[0] if isinstance(choice, tuple) else choice)
        elif kind == "tagged-union":
            for choice in node["choices"].values():
                yield from plain(choice)
        elif inner := node.get("schema") or node.get("json_schema") or node.get("strict_schema"):
            yield from plain(inner)
        else:
            yield node

    def member(nodes: list[dict[str, Any]], name: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for node in nodes:
            fields: Any = node.get("fields", ())
            named = fields.items() if isinstance(fields, dict) else ((field["name"], field) for field in fields)
            found += [field["schema"] for own, field in named if name in (own, field.get("validation_alias"))]
            if node["type"] == "dict" and "values_schema" in node:
                found.append(node["values_schema"])
        return [part for schema in found for part in plain(schema)]

    def item(nodes: list[dict[str, Any]], index: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for node in nodes:
            items: Any = node.get("items_schema", ())
            if isinstance(items, list):
                last: Any = node.get("variadic_item_index")
                place = index if last is None else min(index, last)
                items = typing.cast("list[Any]", items)[place : place + 1]
            found += [items] if isinstance(items, dict) else items
        return [part for schema in found for part in plain(schema)]

    def exact(nodes: list[dict[str, Any]], value: Any) -> Any:
        if isinstance(value, dict):
            members = typing.cast("dict[str, Any]", value)
            return {name: exact(member(nodes, name), part) for name, part in members.items()}
        if isinstance(value, (list, tuple)):
            values = typing.cast("list[Any]", value)
            return [exact(item(nodes, index), part) for index, part in enumerate(values)]
        kinds = {node["type"] for node in nodes}
        return str(value) if isinstance(value, Decimal) and "decimal" in kinds and kinds <= _NO_NUMBERS else value

    return exact(list(plain(schema)), builtins)


def closed(schema: Any, mode: SchemaMode) -> Any:
    """Return a schema of pydantic's with its objects closed: `extra="forbid"` reads them, and nothing else is kept."""
    if isinstance(schema, list):
        return [closed(item, mode) for item in typing.cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    found: dict[str, Any] = {}
    for key, value in typing.cast("dict[str, Any]", schema).items():
        if key in NAMED and isinstance(value, dict):
            named = typing.cast("dict[str, Any]", value)
            found[key] = {name: closed(part, mode) for name, part in named.items()}
        elif key != "pattern" or not isinstance(value, str) or portable(value):
            found[key] = value if key in VALUES else closed(value, mode)
    if found.get("type") == "array" and mode == "input":
        found.pop("uniqueItems", None)  # a set reads what is given twice once
    if found.get("type") == "object" and "properties" in found:
        if mode == "input":  # extra="allow" is not followed
            found["additionalProperties"] = False
        found.setdefault("additionalProperties", False)
    return found


@functools.cache
def schema_generator() -> Any:
    """Return pydantic's writer of schemas with its defaults written as servey writes them: sets are sorted."""
    from pydantic.json_schema import GenerateJsonSchema
    from pydantic_core import PydanticSerializationError

    class Generator(GenerateJsonSchema):
        ignored_warning_kinds = {"non-serializable-default"}  # noqa: RUF012 - as pydantic's own

        def encode_default(self, dft: Any) -> Any:
            try:
                default = to_wire(dft)
            except (ValueError, TypeError, RecursionError) as error:
                raise PydanticSerializationError(str(error)) from None
            if "$ref" in str(default):  # pydantic would take it for a reference of its own
                raise PydanticSerializationError("a default with a reference")
            return default

        def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> Any:
            raise NoFormError(schema, error_info)

    return Generator


class NoFormError(Exception):
    """A node of a core schema has no JSON form."""

    def __init__(self, node: Any, told: str) -> None:
        self.node = node
        super().__init__(told)
