"""Types that only pydantic understands: its models and dataclasses, its own types, and annotations with its validators.

servey imports pydantic only for such a type; its module has already imported pydantic.
"""

from __future__ import annotations

import datetime
import decimal
import functools
import math
import re
import typing
from typing import Any

import msgspec
import pydantic
import pydantic_core
from pydantic.errors import PydanticInvalidForJsonSchema

from servey.codec.big_int import BigInt
from servey.codec.constraints import UnknownConstraintError
from servey.codec.engine import CustomType, SchemaMode
from servey.codec.jsonable import to_jsonable
from servey.codec.numbers import parse
from servey.codec.problems import shown
from servey.codec.pydantic_hints import classes_of, has_members, members_of, with_constraints
from servey.codec.pydantic_problems import errors_of, problems, set_whole_numbers
from servey.codec.pydantic_schema import (
    CoreSchema,
    NoFormError,
    check_parts,
    closed,
    is_same_in_json,
    parts,
    schema_generator,
)
from servey.codec.rows import is_row, with_names
from servey.codec.type_facts import shown_type
from servey.errors import DefinitionError, InvalidError

_encode = msgspec.json.Encoder(decimal_format="number").encode
_MAY_BE_INFINITE = re.compile(rb"[eE]\+?[0-9]{3}|[0-9]{309}")
_WRITTEN_BY_SERVEY = (datetime.date, datetime.time, datetime.timedelta, decimal.Decimal, float, bytes, bytearray)
_CONTAINERS = (dict, list, tuple, set, frozenset)
_FORMATS = {
    "date-time": datetime.datetime,
    "date": datetime.date,
    "time": datetime.time,
    "duration": datetime.timedelta,
}
_MOST_PARTS = 100
_SCALARS = {"string": str, "integer": BigInt, "number": float, "boolean": bool, "null": type(None)}


def pydantic_type(tp: Any) -> CustomType:
    """Return the custom type that pydantic's TypeAdapter reads and writes.

    Raises:
        DefinitionError: pydantic does not know it, or it cannot be served.
    """
    name = shown_type(tp)
    try:
        adapter: Any = pydantic.TypeAdapter(with_constraints(tp))
        adapter.rebuild(raise_errors=True)
        core: Any = adapter.core_schema
    except (pydantic.PydanticUserError, pydantic_core.SchemaError, NameError, UnknownConstraintError) as error:
        raise DefinitionError(f"{name}: pydantic cannot read it: {_first(error)}", fix="use another type") from error
    except (TypeError, ValueError, ImportError) as error:  # of a type's own code
        raise DefinitionError(
            f"{name}: {_first(error)}", fix="follow pydantic's message, or use another type"
        ) from error
    classes = classes_of(tp)
    cls: Any = typing.get_origin(tp) or tp
    is_class = isinstance(cls, type) and bool(getattr(cls, "__pydantic_fields__", None))
    core_parts = [*parts(core, core.get("config") or {})]
    check_parts(name, core_parts, "output")
    nodes = CoreSchema(core, core_parts)

    def decode(builtins: Any, is_again: bool = False) -> Any:
        text = b"" if nodes.has_decimals else _encode(builtins)
        if nodes.has_decimals or _MAY_BE_INFINITE.search(text):  # infinity, which pydantic takes
            text = _encode(nodes.exact(nodes.root, builtins))
        try:
            return adapter.validate_json(text, strict=True, extra="forbid")
        except pydantic.ValidationError as error:
            errors = errors_of(error)
            if errors[0]["type"] == "json_invalid" and errors[0]["input"] is text:  # JSON, but nested too deeply
                raise RecursionError from None
            found = parse(text)
            if not is_again and (whole := set_whole_numbers(errors, found, nodes)) is not None:
                return decode(whole, is_again=True)
            raise InvalidError(errors=problems(errors, found, nodes)) from None

    def encode(value: Any, is_input: bool = False) -> Any:
        made = from_row(value) if is_class else value
        if made is None:  # which pydantic writes for any type
            decode(None)
        dump = functools.partial(adapter.dump_python, made, by_alias=True, round_trip=is_input)
        try:
            wire = dump(mode="json", warnings="error", fallback=to_jsonable)
            return wire if same else _merged(dump(warnings=False), wire, is_input or nodes.keeps_naive)
        except pydantic_core.PydanticSerializationError as error:
            raise ValueError(_first(error)) from None

    def from_row(value: Any) -> Any:
        if isinstance(value, cls):
            return value
        if not is_row(value):
            raise ValueError(f"expected {name}, got {shown(value)}")
        row = with_names(value)
        try:
            return adapter.validate_python(row, from_attributes=True, extra="ignore", by_alias=True, by_name=True)
        except pydantic.ValidationError as error:
            raise InvalidError(errors=problems(errors_of(error), value, nodes)) from None

    @functools.cache
    def schema(mode: SchemaMode) -> dict[str, Any]:
        check_parts(name, core_parts, mode)
        side = "validation" if mode == "input" else "serialization"
        try:
            written = adapter.json_schema(by_alias=True, mode=side, schema_generator=schema_generator())
        except (NoFormError, PydanticInvalidForJsonSchema) as error:
            node = getattr(error, "node", None)
            at = next((part.at for part in core_parts if part.node is node), "")
            raise DefinitionError(
                f"{name}{at}: {_first(error)} has no JSON form",
                fix="remove it, or define its JSON with PlainValidator, PlainSerializer and WithJsonSchema",
            ) from None
        return closed(written, mode)

    same = is_same_in_json(core_parts)
    return CustomType(
        decode,
        encode,
        schema,
        classes,
        members=(lambda: members_of(cls)) if is_class and has_members(cls) else None,
        like=lambda mode: scalar_of(
            schema(mode), formats={} if mode == "output" and "serialization" in core else _FORMATS
        ),
        from_row=from_row if is_class else None,
        are_instances=is_class,
        takes_decimals=True,
        encode_input=functools.partial(encode, is_input=True),
    )


def _first(error: BaseException) -> str:
    """Return the first informative line of an error."""
    lines = [line.strip() for line in str(error).splitlines() if not line.startswith("Pydantic serializer warnings")]
    return lines[0] if lines else type(error).__name__


def _merged(value: Any, found: Any, naive: bool) -> Any:
    """Return the output of pydantic's JSON mode, with servey's forms instead of pydantic's own forms.

    Args:
        value: The output of the Python mode. Where a serializer or a setting of the user has written, `found` differs.
        found: The output of the JSON mode.
        naive: Whether datetimes without an offset are written without one.
    """
    values, wires = value, found  # their types are unknown
    if isinstance(value, _CONTAINERS) and isinstance(found, (dict, list)) and len(values) == len(wires):
        if isinstance(found, list):
            items = [_merged(item, wire, naive) for item, wire in zip(values, wires, strict=True)]
            return sorted(items, key=msgspec.json.encode) if isinstance(value, (set, frozenset)) else items
        if isinstance(value, dict):
            return {
                _merged(key, name, naive): _merged(values[key], wires[name], naive)
                for key, name in zip(values, wires, strict=True)
            }
    if isinstance(value, float) and not math.isfinite(value) and not isinstance(found, str):
        raise ValueError(f"{value} has no JSON form")
    if not isinstance(value, _WRITTEN_BY_SERVEY) or found != pydantic_core.to_jsonable_python(
        value, bytes_mode="base64", inf_nan_mode="constants"
    ):
        return wires
    if naive and isinstance(value, datetime.datetime) and value.tzinfo is None:
        return value.isoformat()
    return to_jsonable(value)


def scalar_of(schema: dict[str, Any], formats: dict[str, Any]) -> Any:
    """Return the type that has the JSON form of a schema: of a scalar, or a union of scalars; None for any other.

    There are no formats of strings where a function writes them, which may mask a secret.
    """
    kinds: list[Any] = []
    waiting: list[dict[str, Any]] = [schema]
    for part in waiting:  # which grows
        values = part.get("enum", [part["const"]] if "const" in part else [])
        if "$ref" in part and len(waiting) < _MOST_PARTS:
            waiting.append(schema["$defs"][part["$ref"].rpartition("/")[2]])
        elif choices := part.get("anyOf") or part.get("oneOf"):
            waiting += choices
        elif values:
            kinds += [type(value) for value in values]
        elif part.get("type") in _SCALARS:
            kinds.append(formats.get(part.get("format", "")) or _SCALARS[part["type"]])
        else:
            return None
    if str in kinds and float in kinds:  # the text of a Decimal keeps its digits
        kinds = [kind for kind in kinds if kind is not float]
    return typing.Union[tuple(kinds)]  # noqa: UP007
