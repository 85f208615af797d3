"""Classes with factories of marshy or schemey, which read, write and describe them."""

from __future__ import annotations

import importlib
from typing import Any

from servey.codec.engine import CustomType, SchemaMode
from servey.codec.jsonable import to_jsonable
from servey.codec.problems import shown, step
from servey.errors import DefinitionError, InvalidError, MissingExtraError, Problem


def marshy_type(tp: Any, cls: type) -> CustomType:
    """Return the custom type that marshy reads and writes, checked by its schemey schema."""
    try:
        marshy: Any = importlib.import_module("marshy")
        schemey: Any = importlib.import_module("schemey")
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "marshy", "marshy") from error
    marshall_error: type[Exception] = importlib.import_module("marshy.errors").MarshallError
    try:
        found: Any = schemey.schema_from_type(tp)
        marshy.get_default_marshy_context().get_marshaller(tp)
    except (ValueError, TypeError, AttributeError, marshall_error) as error:
        raise DefinitionError(
            f"{cls.__name__}: marshy or schemey does not know a part of it: {error}",
            fix="write Optional[int] for int | None; or remove the factory, and servey reads the class itself",
        ) from error

    def decode(builtins: Any) -> Any:
        if errors := sorted(found.iter_errors(builtins), key=lambda error: [str(part) for part in error.absolute_path]):
            raise InvalidError(errors=[problem for error in errors for problem in problems(error)])
        try:
            return marshy.load(tp, builtins)
        except (ValueError, TypeError, KeyError, AttributeError, marshall_error) as error:
            raise ValueError(str(error)) from error

    def encode(value: Any) -> Any:
        if not isinstance(value, cls):
            raise ValueError(f"expected {cls.__name__}, got {shown(value)}")
        try:
            builtins = to_jsonable(marshy.dump(value, tp))
        except (TypeError, AttributeError) as error:
            raise ValueError(str(error)) from error
        if errors := list(found.iter_errors(builtins)):
            raise InvalidError(errors=[problem for error in errors for problem in problems(error)])
        return builtins

    def schema(_mode: SchemaMode) -> dict[str, Any]:
        return dict(found.schema)

    return CustomType(decode, encode, schema, (cls,))


def problems(error: Any) -> list[Problem]:
    """Return an error of jsonschema as problems with JSON pointers."""
    path = ""
    for part in error.absolute_path:
        path = step(path, part)
    if error.validator == "required":
        return [Problem(step(path, name), "required") for name in error.validator_value if name not in error.instance]
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        return [Problem(step(path, name), "unknown") for name in error.instance if name not in known]
    message: str = error.message
    return [Problem(path, message if len(message) < 200 else f"does not satisfy {error.validator}")]
