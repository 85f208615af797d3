"""Types that only pydantic understands: its models and dataclasses, and annotations with its validators.

pydantic is imported when a user's type needs it; such a type has imported it already.
"""

from __future__ import annotations

import copy
import functools
import typing
from typing import Any

import msgspec

from servey.codec.documentation import Documentation, markdown_of
from servey.codec.engine import ForeignMember, ForeignType, SchemaMode
from servey.codec.failure import PROBLEM_LIMIT, shown, step
from servey.codec.patterns import portable
from servey.codec.references import NAMED, VALUES
from servey.codec.whole import EXACT
from servey.codec.wire import to_wire
from servey.errors import DefinitionError, InvalidError, Problem

_MOST_ERRORS = 10_000
"""Above this many errors of pydantic's their number is told, and nothing else."""


def pydantic_type(tp: Any) -> ForeignType | None:
    """Return how a type travels through pydantic's TypeAdapter; None when pydantic does not know it either."""
    import pydantic

    try:
        adapter: Any = pydantic.TypeAdapter(tp)
        adapter.core_schema  # noqa: B018 - built here, or an error
    except pydantic.PydanticUserError:
        return None
    _refuse_plain_bytes(adapter.core_schema, tp, {})
    cls: Any = typing.get_origin(tp) or tp
    is_class = typing.get_origin(tp) is not typing.Annotated and isinstance(cls, type)

    def validated(builtins: Any) -> Any:
        return adapter.validate_json(msgspec.json.encode(builtins), strict=True, extra="forbid")

    def decode(builtins: Any) -> Any:
        try:
            return validated(builtins)
        except pydantic.ValidationError as error:
            refused = told(error)
            whole = with_whole_numbers(builtins, refused)
        except UnicodeEncodeError as error:
            raise ValueError(str(error)) from None
        if whole is not None:
            try:
                return validated(whole)
            except pydantic.ValidationError as error:
                refused = told(error)
        raise InvalidError(errors=problems(refused))

    def encode(value: Any) -> Any:
        if is_class and not isinstance(value, cls):
            raise ValueError(f"expected {cls.__name__}, got {shown(value)}")
        try:
            return to_wire(adapter.dump_python(value, mode="python", by_alias=True, warnings="error"))
        except pydantic.ValidationError as error:
            raise InvalidError(errors=problems(told(error))) from None
        except pydantic_core_error() as error:
            raise ValueError(str(error).partition("\n")[0]) from None

    def schema(mode: SchemaMode) -> dict[str, Any]:
        side = "validation" if mode == "input" else "serialization"
        return closed(adapter.json_schema(by_alias=True, mode=side, schema_generator=schema_generator()), mode)

    members = (lambda: members_of(cls)) if is_class and has_members(cls) else None
    return ForeignType(decode, encode, schema, classes_of(tp), text=False, members=members)


def _refuse_plain_bytes(schema: Any, tp: Any, config: dict[str, Any]) -> None:
    """Refuse bytes that pydantic reads as UTF-8: servey writes base64, and what is written must be readable."""
    if isinstance(schema, list):
        for item in typing.cast("list[Any]", schema):
            _refuse_plain_bytes(item, tp, config)
    if not isinstance(schema, dict):
        return
    members = typing.cast("dict[str, Any]", schema)
    config = members.get("config") or config
    if members.get("type") == "bytes" and config.get("val_json_bytes") != "base64":
        raise DefinitionError(
            f"{getattr(tp, '__name__', tp)}: pydantic would read bytes as UTF-8, and servey's bytes are base64",
            fix="model_config = ConfigDict(val_json_bytes='base64', ser_json_bytes='base64')",
        )
    for key, value in members.items():
        if key not in ("metadata", "config", "default", "cls", "expected") and isinstance(value, (dict, list)):
            _refuse_plain_bytes(value, tp, config)


def pydantic_core_error() -> type[Exception]:
    """Return the exception of pydantic's serializer."""
    import pydantic_core

    return pydantic_core.PydanticSerializationError


def told(error: Any) -> list[Any]:
    """Return what pydantic has to say of a value.

    Raises:
        InvalidError: That is too much: pydantic can tell all of it or nothing, and millions of errors take gigabytes.
    """
    if (count := error.error_count()) > _MOST_ERRORS:
        raise InvalidError(errors=[Problem("", f"{count} problems, too many to tell")])
    return error.errors(include_url=False, include_context=False)


def problems(errors: list[Any]) -> list[Problem]:
    """Return pydantic's errors as problems with JSON pointers."""
    found: list[Problem] = []
    for item in errors[:PROBLEM_LIMIT]:
        path = ""
        for part in item["loc"]:
            path = step(path, part)
        kind = item["type"]
        if kind == "missing":
            message = "required"
        elif kind == "extra_forbidden":
            message = "unknown"
        elif kind == "value_error":
            message = item["msg"].removeprefix("Value error, ")
        else:
            message = f"{item['msg'][:1].lower()}{item['msg'][1:]}, got {shown(item['input'])}"
        found.append(Problem(path, message))
    return found


def with_whole_numbers(builtins: Any, errors: list[Any]) -> Any:
    """Return refused JSON values with an int for each ``5.0`` where pydantic wants one; None where it wants none.

    See `servey.codec.whole`, which does the same outside of pydantic's types.
    """
    places = [
        item["loc"]
        for item in errors
        if item["type"] == "int_type" and type(item["input"]) is float and item["input"].is_integer()
    ]
    if places == [()]:
        return int(builtins) if abs(builtins) <= EXACT else None
    found = copy.deepcopy(builtins) if places else None
    changed = False
    for place in places:
        at: Any = found
        try:
            for part in place[:-1]:
                at = at[part]
            value: Any = at[place[-1]]
            if type(value) is float and abs(value) <= EXACT:
                at[place[-1]] = int(value)
                changed = True
        except (IndexError, KeyError, TypeError):  # the place is in a union, whose members pydantic names in it
            continue
    return found if changed else None


def closed(schema: Any, mode: SchemaMode) -> Any:
    """Return a schema of pydantic's with its objects closed: `extra="forbid"` reads them, and nothing else is kept."""
    if isinstance(schema, list):
        return [closed(item, mode) for item in typing.cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    found: dict[str, Any] = {}
    for key, value in typing.cast("dict[str, Any]", schema).items():
        if key in NAMED and isinstance(value, dict):
            parts = typing.cast("dict[str, Any]", value)
            found[key] = {name: closed(part, mode) for name, part in parts.items()}
        elif key != "pattern" or not isinstance(value, str) or portable(value):
            found[key] = value if key in VALUES else closed(value, mode)
    if isinstance(description := found.get("description"), str):
        _describe(found, description)
    if found.get("type") == "array" and mode == "input":
        found.pop("uniqueItems", None)  # a set reads what is given twice once
    if found.get("type") == "object" and "properties" in found:
        if mode == "input":  # extra="allow" is not followed
            found["additionalProperties"] = False
        found.setdefault("additionalProperties", False)
    return found


def _describe(schema: dict[str, Any], text: str) -> None:
    """Describe a schema, and the members of a class, by what pydantic has taken from a docstring or a field."""
    documentation = Documentation.of(text)
    schema["description"] = documentation.prose
    for name, told in documentation.parameters.items():
        member = schema.get("properties", {}).get(name)
        if told and isinstance(member, dict):
            typing.cast("dict[str, Any]", member).setdefault("description", told)


@functools.cache
def schema_generator() -> Any:
    """Return pydantic's writer of schemas with its defaults written as servey writes them: sets are sorted."""
    from pydantic.json_schema import GenerateJsonSchema

    class Generator(GenerateJsonSchema):
        ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 - as pydantic's own

        def encode_default(self, dft: Any) -> Any:
            try:
                default = to_wire(dft)
            except (ValueError, TypeError, RecursionError) as error:
                raise pydantic_core_error()(str(error)) from None
            if "$ref" in str(default):  # pydantic would take it for a reference of its own
                raise pydantic_core_error()("a default with a reference")
            return default

    return Generator


def classes_of(tp: Any) -> tuple[type, ...]:
    """Return the data classes in a type of pydantic's: its own, and those of its fields."""
    found: list[type] = []

    def visit(part: Any) -> None:
        for argument in typing.get_args(part):
            visit(argument)
        cls: Any = typing.get_origin(part) or part
        if not isinstance(cls, type) or cls in found or cls.__module__ in ("builtins", "typing", "types"):
            return
        fields: dict[str, Any] = getattr(cls, "__pydantic_fields__", {})
        if fields or hasattr(cls, "__dataclass_fields__") or hasattr(cls, "__pydantic_core_schema__"):
            found.append(cls)
            try:
                hints = typing.get_type_hints(cls, include_extras=True)
            except (NameError, TypeError):
                hints = {name: field.annotation for name, field in fields.items()}
            for name, hint in hints.items():
                if typing.get_origin(hint) is not typing.ClassVar and not name.startswith("__"):
                    visit(hint)

    visit(tp)
    return tuple(found)


def has_members(cls: Any) -> bool:
    """Whether a class is read and written as an object of its fields, with no function of its own in between."""
    decorators = getattr(cls, "__pydantic_decorators__", None)
    return bool(
        getattr(cls, "__pydantic_fields__", None)
        and decorators is not None
        and not getattr(cls, "__pydantic_root_model__", False)
        and not decorators.field_serializers
        and not decorators.model_serializers
    )


def members_of(cls: Any) -> tuple[ForeignMember, ...]:
    """Return the members of a model or a dataclass of pydantic's, computed ones included."""
    import pydantic_core

    found: list[ForeignMember] = []
    for name, field in cls.__pydantic_fields__.items():
        got = None if field.exclude else field.serialization_alias or field.alias or name
        alias = field.validation_alias or field.alias
        no_default = field.default is pydantic_core.PydanticUndefined or field.default_factory is not None
        found.append(
            ForeignMember(
                name,
                field.annotation,
                alias if isinstance(alias, str) else name,
                got,
                required=field.is_required(),
                default=msgspec.UNSET if no_default else field.default,
                description=markdown_of(field.description or ""),
            )
        )
    for name, computed in cls.__pydantic_decorators__.computed_fields.items():
        info = computed.info
        found.append(
            ForeignMember(
                name, info.return_type, None, info.alias or name, description=markdown_of(info.description or "")
            )
        )
    return tuple(found)
