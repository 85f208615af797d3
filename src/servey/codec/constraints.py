"""Translate the constraints in `Annotated`, of any library, to `Constraints`.

Servey never ignores a constraint. If it does not know one, an engine (pydantic) checks it, or it is a definition error.
Servey ignores metadata that constrains nothing, such as documentation and the user's markers.
"""

from __future__ import annotations

import contextlib
import datetime
import numbers
import operator
import re
import typing
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from servey.codec.jsonable import to_document
from servey.codec.node import Constraints
from servey.codec.numbers import is_multiple
from servey.docstring.documentation import markdown_of

_NAMES: tuple[str, ...] = Constraints.__struct_fields__
_TIGHTER = {"gt": max, "ge": max, "lt": min, "le": min, "min_length": max, "max_length": min}
_LENGTHS = frozenset({"min_length", "max_length"})
_BOUNDS = frozenset({"gt", "ge", "lt", "le"})
_FITTING: dict[str, frozenset[str]] = {
    "str": _LENGTHS | {"pattern"},
    **dict.fromkeys(("bytes", "bytearray"), _LENGTHS),
    **dict.fromkeys(("int", "float", "Decimal"), _BOUNDS | {"multiple_of"}),
    **dict.fromkeys(("date", "timedelta", "Fraction"), _BOUNDS),
    **dict.fromkeys(("datetime", "time"), _BOUNDS | {"tz"}),
}
"""The constraints of scalars, by the names of their classes."""


class UnknownConstraintError(Exception):
    """A constraint that only the library that made it understands."""


class MisplacedError(Exception):
    """Metadata that would be ignored where it stands."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.fix = fix


def translate(metadata: tuple[Any, ...]) -> tuple[Constraints, str]:
    """Return the constraints in an `Annotated`'s metadata, and its description.

    Raises:
        UnknownConstraintError: Servey does not understand a constraint.
        MisplacedError: A constraint would have no effect here.
    """
    found: dict[str, Any] = {}
    description = ""
    for item in metadata:
        description = _description(item) or description
        for name, value in _constraints(item):
            _merge(found, name, value)
    return Constraints(**found), description


def joined(outer: Constraints, inner: Constraints) -> Constraints:
    """Return the constraints of nested annotations together; the tighter bound wins."""
    found = dict(inner.items())
    for name, value in outer.items():
        _merge(found, name, value)
    return Constraints(**found)


def misfit(constraints: Constraints, cls: Any, kind: str) -> str:
    """Return the name of a constraint that does not fit the type; empty if all fit."""
    allowed = _LENGTHS if kind in ("list", "dict") else frozenset[str]()
    if kind == "leaf":
        allowed = _FITTING.get(getattr(cls, "__name__", ""), allowed)
    return next((key for key, value in constraints.items() if key not in allowed or not _compares(cls, value)), "")


def is_naive(bound: Any) -> bool:
    """Return whether a bound is a datetime without an offset, which cannot be compared with encoded datetimes."""
    return isinstance(bound, datetime.datetime) and bound.tzinfo is None


def _compares(cls: Any, limit: Any) -> bool:
    """Return whether values of a scalar class compare with a limit; a length, a pattern or a flag fits every class."""
    if cls in (int, float, Decimal):
        return _is_number(limit)
    if cls in (datetime.datetime, datetime.time, datetime.timedelta):
        return isinstance(limit, (cls, bool)) and not is_naive(limit)
    return cls is not datetime.date or (isinstance(limit, datetime.date) and not isinstance(limit, datetime.datetime))


def exact(constraints: Constraints) -> Constraints:
    """Return a Decimal's constraints with floats as decimal numbers: ``0.1`` is exactly a tenth."""
    floats = {name: value for name, value in constraints.items() if isinstance(value, float)}
    return msgspec.structs.replace(constraints, **{name: Decimal(repr(float(f))) for name, f in floats.items()})


def _is_number(bound: Any) -> bool:
    """Return whether a value is a comparable number, so not NaN."""
    if isinstance(bound, bool):
        return False
    return isinstance(bound, (numbers.Real, Decimal)) and "nan" not in str(bound).lower()


_Check = Callable[[Any, Any], bool]
_CHECKS: dict[str, tuple[_Check, str]] = {
    "gt": (operator.gt, "a value > {}"),
    "ge": (operator.ge, "a value >= {}"),
    "lt": (operator.lt, "a value < {}"),
    "le": (operator.le, "a value <= {}"),
    "multiple_of": (is_multiple, "a multiple of {}"),
    "pattern": (lambda value, pattern: re.search(pattern, value) is not None, "text matching {!r}"),
    "min_length": (lambda value, least: len(value) >= least, "a length >= {}"),
    "max_length": (lambda value, most: len(value) <= most, "a length <= {}"),
}
"""How each constraint is checked, and what it expects."""


def violated(constraints: Constraints, value: Any) -> str:
    """Return in words the constraint that `value` violates; empty if it violates none."""
    for name, limit in constraints.items():
        if name == "tz":
            if (value.tzinfo is not None) is not limit:
                return "expected an offset" if limit else "expected no offset"
            continue
        check, expected = _CHECKS[name]
        if not check(value, limit):
            return f"expected {expected.format(limit)}"
    return ""


def _merge(found: dict[str, Any], name: str, value: Any) -> None:
    if name in found and found[name] != value:
        if name not in _TIGHTER:
            raise UnknownConstraintError(f"{name} is given twice")
        try:
            value = _TIGHTER[name](found[name], value)
        except TypeError:  # bounds that do not compare with each other
            raise UnknownConstraintError(f"{name} is given twice") from None
    found[name] = value


def _library(item: Any) -> str:
    return type(item).__module__.partition(".")[0]


def _description(item: Any) -> str:
    if _library(item) in ("msgspec", "pydantic"):
        return markdown_of(getattr(item, "description", None))
    if _library(item) in ("typing_extensions", "annotated_doc") and type(item).__name__ == "Doc":
        return markdown_of(item.documentation)
    return ""


def extra(metadata: tuple[Any, ...]) -> dict[str, Any]:
    """Return the members that an `Annotated` adds to the schema besides constraints and description. JSON only."""
    found: dict[str, Any] = {}
    for item in metadata:
        if _library(item) not in ("msgspec", "pydantic"):
            continue
        given: dict[str, Any] = {name: getattr(item, name, None) for name in ("title", "examples")}
        more = getattr(item, "extra_json_schema", None) or getattr(item, "json_schema_extra", None)
        given |= more if isinstance(more, dict) else {}
        for name, value in given.items():
            with contextlib.suppress(ValueError):
                wire = to_document(value)
                found |= {} if wire is None else {name: wire}
    return found


def is_mark(value: Any) -> bool:
    """Return whether a default is a mark: pydantic's ``Field(…)``, or FastAPI's ``Query(…)`` or ``Depends(…)``."""
    return _is_fastapis(value) or any(
        cls.__name__ in ("FieldInfo", "PydanticUndefinedType") and cls.__module__.startswith("pydantic")
        for cls in type(value).__mro__
    )


def _is_fastapis(item: Any) -> bool:
    return type(item).__module__ == "fastapi.params"


def _constraints(item: Any) -> list[tuple[str, Any]]:
    if isinstance(item, msgspec.Meta):
        return _plain(item, _NAMES)
    if _is_fastapis(item):
        raise MisplacedError(
            f"{type(item).__name__} of FastAPI means nothing here",
            "write constraints as pydantic.Field or msgspec.Meta; what Depends gives is a @resource, found by its type",
        )
    library, name = _library(item), type(item).__name__
    if library == "pydantic" and name == "FieldInfo":
        return _field_info(item)
    if name in ("Interval", "Len", "StringConstraints") and library in ("pydantic", "annotated_types"):
        return [found for part in item for found in _constraints(part)]
    if library == "annotated_types":
        return _annotated_types(item)
    if library in ("pydantic", "pydantic_core") or hasattr(item, "__get_pydantic_core_schema__"):
        return _general_metadata(item)
    return []


_LIMITS = {
    **{name: name.lower() for name in ("Gt", "Ge", "Lt", "Le")},
    **{"MultipleOf": "multiple_of", "MinLen": "min_length", "MaxLen": "max_length"},
}
"""The limits in the classes of annotated_types."""


def _annotated_types(item: Any) -> list[tuple[str, Any]]:
    name = type(item).__name__
    if name in _LIMITS:
        return _plain(item, (_LIMITS[name],))
    if name == "Timezone" and item.tz in (None, ...):
        return [("tz", item.tz is ...)]
    if name in ("Unit", "DocInfo"):
        return []
    raise UnknownConstraintError(repr(item))


def _field_info(item: Any) -> list[tuple[str, Any]]:
    if not item.is_required() or any((item.alias, item.validation_alias, item.serialization_alias)):
        raise MisplacedError(
            "pydantic.Field(default=... or alias=...) means something in a pydantic model only",
            "give the default to the parameter or the field itself",
        )
    if item.exclude or item.frozen or item.discriminator:
        raise UnknownConstraintError(repr(item))
    found: list[tuple[str, Any]] = []
    for part in item.metadata:
        if type(part).__name__ == "AllowInfNan" and not part.allow_inf_nan:
            continue  # servey never does
        found += _constraints(part)
    return found


def _general_metadata(item: Any) -> list[tuple[str, Any]]:
    """Return the limits in pydantic's own small holder of constraints (``Field(pattern=…)``)."""
    if type(item).__name__ == "Strict" and item.strict:
        return []
    given: dict[str, Any] = getattr(item, "__dict__", {})
    values = {name: value for name, value in given.items() if value is not None and value is not False}
    if not type(item).__name__.endswith("GeneralMetadata") or not set(values) <= {*_NAMES, "strict"}:
        raise UnknownConstraintError(repr(item))
    return _plain(item, tuple(name for name in values if name != "strict"))


def _plain(item: Any, names: tuple[str, ...]) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name in names:
        value: Any = getattr(item, name)
        if type(value) is re.Pattern:
            compiled = typing.cast("re.Pattern[str]", value)
            if compiled.flags & ~re.UNICODE:
                raise UnknownConstraintError(repr(item))
            value = compiled.pattern
        if value is not None:
            found.append((name, value))
    return found
