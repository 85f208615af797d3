"""Read pydantic's core schema of a type: which parts have no JSON form, and which form numbers need."""

from __future__ import annotations

import functools
import math
import typing
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from servey.codec.jsonable import to_jsonable
from servey.codec.patterns import base64_keywords, portable
from servey.codec.problems import step
from servey.codec.references import rebuilt
from servey.docstring.documentation import Documentation
from servey.errors import DefinitionError, InvalidError, Problem

if typing.TYPE_CHECKING:
    from servey.codec.engine import SchemaMode

_NO_SCHEMAS = frozenset(
    {"metadata", "config", "default", "cls", "expected", "members", "serialization", "python_schema", "lax_schema"}
)
"""The keys of a node under which there is no schema, or only a schema that does not read JSON or is not strict."""
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
_NO_TEXT = frozenset({*_CONTAINERS, "frozenset", "none", "bool", "int", "decimal"})
"""The types beside which a Decimal is read from a string."""
_OPEN = ("dict", "any", "function-plain", "call")
"""The types that read objects with members of any name."""


class Part(NamedTuple):
    """One node of a core schema, with the configuration that holds there, and its place, as ``.owner.name``.

    `written` says whether a serializer of the user writes it, or a node around it.
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


def check_parts(name: str, nodes: Sequence[Part], mode: SchemaMode) -> None:
    """Raise a `DefinitionError` for parts of the type `name` that pydantic accepts and that cannot be served."""
    for at, why, fix in _faults(nodes, mode):
        raise DefinitionError(f"{name}{at}: {why}", fix=fix)


def _faults(nodes: Sequence[Part], mode: SchemaMode) -> Iterator[tuple[str, str, str]]:
    """Yield the place, the reason and the fix of each such part."""
    items = {id(part.node.get(key)) for part in nodes for key in ("items_schema", "values_schema")}
    for node, own, written, at in nodes:
        if node["type"] == "bytes" and not written and own.get("val_json_bytes") != "base64":
            fix = "model_config = ConfigDict(val_json_bytes='base64', ser_json_bytes='base64')"
            yield at, "pydantic would read bytes as UTF-8, but servey's bytes are base64", fix
        if node["type"] == "generator":
            yield at, "pydantic checks the items of an Iterable only while they are iterated, once", "use a list"
        if mode == "output":
            continue
        for member, field in _fields(node):
            yield from _alias_faults(f"{at}.{member}", member, field.get("validation_alias"), own)
        if node.get("on_error") == "omit" and id(node) not in items:
            yield at, "on_error='omit' works only for items of a list", "use it in a list of a model"
        if node["type"] == "function-plain" and node["function"]["function"].__name__ == "import_string":
            yield at, "an ImportString imports whatever module its caller names", "use an Enum or a Literal"


def _alias_faults(at: str, name: str, alias: Any, config: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield a fault for an alias by which no schema can describe a member."""
    if alias is not None and config.get("validate_by_alias") is False:
        yield at, "it has an alias, and validate_by_alias=False", "use serialization_alias"
    if not read_names(name, alias):
        why = "an AliasPath reads from inside of another member, which no schema says"
        yield at, why, "declare the members as they are in JSON, and add a property"


def read_names(name: str, alias: Any) -> list[str]:
    """Return the names by which JSON may have a member of a class; the first one is documented.

    An alias is a name, a path, or a list of paths, as in core schemas.
    """
    if alias is None or isinstance(alias, str):
        return [alias or name]
    paths = alias if isinstance(alias[0], list) else [alias]
    return [path[0] for path in typing.cast("list[Any]", paths) if len(path) == 1]


def _fields(node: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the members of a class, as (name, core schema)."""
    fields: Any = node.get("fields", ())
    if isinstance(fields, dict):
        return [*typing.cast("dict[str, Any]", fields).items()]
    return [(field["name"], field) for field in fields if isinstance(field, dict)]  # a dataclass has their names, too


def is_same_in_json(nodes: Sequence[Part]) -> bool:
    """Whether what pydantic writes in its JSON mode is what servey writes."""
    return all(
        node["type"] in _SAME_IN_JSON and not written and own.get("extra_fields_behavior") != "allow"
        for node, own, written, _ in nodes
    )


class CoreSchema:
    """Finds the nodes of a core schema that read a part of a JSON value. The schema is given with its `parts`."""

    def __init__(self, schema: Any, found: Sequence[Part]) -> None:
        nodes = [part.node for part in found]
        self._definitions = {node["ref"]: node for node in nodes if "ref" in node}
        self.has_decimals = any(node["type"] == "decimal" for node in nodes)
        self.keeps_naive = any(node.get("tz_constraint") == "naive" for node in nodes)
        self.root = self._plain([schema])

    def _plain(self, schemas: list[Any]) -> list[dict[str, Any]]:
        """Return the nodes that read the value itself: the members of unions, and the schemas inside functions."""
        found: list[dict[str, Any]] = []
        for node in schemas:
            inner: list[Any] = [node[key] for key in ("schema", "json_schema", "strict_schema") if key in node]
            if node["type"] == "definition-ref":
                inner = [self._definitions[node["schema_ref"]]]
            elif node["type"] == "union":
                inner = [choice[0] if isinstance(choice, tuple) else choice for choice in node["choices"]]
            elif node["type"] == "tagged-union":
                inner = list(node["choices"].values())
            found += self._plain(inner[:1] if "schema" in node else inner) if inner else [node]
        return found

    def member(self, nodes: list[dict[str, Any]], name: Any) -> list[dict[str, Any]] | None:
        """Return the nodes that read a member of an object; None if no node has a member of this name."""
        found: list[Any] = []
        for node in nodes:
            found += [
                field["schema"]
                for own, field in _fields(node)
                if name in (own, *read_names(own, field.get("validation_alias")))
            ]
            if node["type"] in _OPEN:
                found.append(node.get("values_schema", {"type": "any"}))
        return self._plain(found) if found else None

    def item(self, nodes: list[dict[str, Any]], index: int) -> list[dict[str, Any]]:
        """Return the nodes that read an item of an array."""
        found: list[Any] = []
        for node in nodes:
            items: Any = node.get("items_schema", [{"type": "any"}] if node["type"] in _OPEN else [])
            last: Any = node.get("variadic_item_index")
            place = index if last is None else min(index, last)
            found += typing.cast("list[Any]", items)[place : place + 1] if isinstance(items, list) else [items]
        return self._plain(found)

    def exact(self, nodes: list[dict[str, Any]], value: Any, at: str = "") -> Any:
        """Return JSON values with strings for the numbers that are read as Decimals: pydantic's parser has floats.

        Raises:
            InvalidError: A number cannot be read as it is written.
        """
        if isinstance(value, dict):
            members = typing.cast("dict[str, Any]", value)
            return {
                name: self.exact(self.member(nodes, name) or [], part, step(at, name)) for name, part in members.items()
            }
        if isinstance(value, (list, tuple)):
            items = typing.cast("list[Any]", value)
            return [self.exact(self.item(nodes, index), part, f"{at}/{index}") for index, part in enumerate(items)]
        if not isinstance(value, Decimal):
            return value
        kinds = {node["type"] for node in nodes}
        if "decimal" in kinds and kinds <= _NO_TEXT:
            return str(value)
        number = float(value)
        if not math.isfinite(number) or (
            "decimal" in kinds and "float" not in kinds and Decimal(repr(number)) != value
        ):
            raise InvalidError(
                errors=[Problem(at, f"expected a number that a double can represent, got {str(value)[:40]}")]
            )
        return value


def closed(schema: Any, mode: SchemaMode) -> Any:
    """Return pydantic's JSON schema in servey's form: its objects refuse other members (`extra="forbid"`)."""
    return rebuilt(schema, lambda part: _described(_written_as_servey(part, mode)))


def _written_as_servey(found: dict[str, Any], mode: SchemaMode) -> dict[str, Any]:
    if not portable(found.get("pattern", "")):
        del found["pattern"]
    if found.get("format") == "base64url":  # read with or without padding, and written as all bytes are
        del found["format"]
        found["contentEncoding"] = "base64"
        if found.keys() & {"minLength", "maxLength"}:
            found |= base64_keywords(found.pop("minLength", None), found.pop("maxLength", None))
    if mode == "input" and found.get("minItems", 0) < 2:
        found.pop("uniqueItems", None)  # duplicates in the input of a set are allowed
    if found.get("type") == "object" and "properties" in found:
        if mode == "input":  # extra="allow" is not followed
            found["additionalProperties"] = False
        found.setdefault("additionalProperties", False)
    return found


def _described(schema: dict[str, Any]) -> dict[str, Any]:
    """Describe a schema, and the members of a class, by what pydantic has taken from a docstring or a field."""
    if "description" not in schema:
        return schema
    documentation = Documentation.of(schema["description"])
    schema["description"] = documentation.prose
    for name, text in documentation.parameters.items():
        member = schema.get("properties", {}).get(name)
        if text and isinstance(member, dict):
            typing.cast("dict[str, Any]", member).setdefault("description", text)
    return schema


@functools.cache
def schema_generator() -> Any:
    """Return pydantic's writer of schemas with its defaults written as servey writes them: sets are sorted."""
    from pydantic.json_schema import GenerateJsonSchema
    from pydantic_core import PydanticSerializationError

    class Generator(GenerateJsonSchema):
        ignored_warning_kinds = {"non-serializable-default"}  # noqa: RUF012 - as pydantic's own

        def encode_default(self, dft: Any) -> Any:
            try:
                default = to_jsonable(dft)
            except (ValueError, TypeError, RecursionError) as error:
                raise PydanticSerializationError(str(error)) from None
            if "$ref" in str(default):  # pydantic would treat it as a reference
                raise PydanticSerializationError("a default with a reference")
            return default

        def ser_schema(self, schema: Any) -> Any:
            found = super().ser_schema(schema)
            if found is not None or schema["type"] != "function-plain":
                return found
            # pydantic would describe the function's input; its own functions all write the mask of a secret
            return {"type": "string"} if getattr(schema["function"], "__module__", "") == "pydantic.types" else {}

        def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> Any:
            raise NoFormError(schema, error_info)

    return Generator


class NoFormError(Exception):
    """A node of a core schema has no JSON form."""

    def __init__(self, node: Any, message: str) -> None:
        self.node = node
        super().__init__(message)
