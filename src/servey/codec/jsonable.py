"""Convert any Python value to JSON values by its runtime type.

It is for values without a declared type: an example's arguments, an `Any`, the parts of a pydantic model.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import importlib
import math
import sys
from collections import deque
from collections.abc import Mapping, Set
from typing import Any, cast

import msgspec

_SAME = (str, int, bool, type(None))
_STRINGS = (("pathlib", "PurePath"), ("ipaddress", "_BaseAddress"), ("ipaddress", "_BaseNetwork"))
"""Classes that are written as their `str`. Code with an instance has imported the module."""


def to_jsonable(value: Any) -> Any:
    """Return the JSON values of any Python value: a scalar, an enum, a dataclass, a model, a container of such.

    Raises:
        ValueError: NaN, an infinity, an object without a JSON form, or two keys with the same JSON.
    """
    kind: Any = value.__class__
    if kind in _SAME:
        return value
    if kind is float:
        if not math.isfinite(value):
            raise ValueError(f"{value} has no JSON form")
        return value
    if kind is list or kind is tuple:
        return list(map(to_jsonable, value))
    if kind is dict:
        return _object(value)
    return _scalar(value) if isinstance(value, _SCALARS) or _is_string(value) else _compound(value)


_BYTES = (bytes, bytearray, memoryview)
_SCALARS: tuple[Any, ...] = (enum.Enum, str, int, float, *_BYTES, datetime.date, datetime.time, datetime.timedelta)


def to_document(value: Any) -> Any:
    """Return the JSON values of any Python value, for a document.

    Raises:
        ValueError: As for `to_jsonable`; also for a lone surrogate, thousands of digits, or too many levels.
    """
    try:
        wire = to_jsonable(value)
        msgspec.json.encode(wire)
    except (TypeError, RecursionError, OverflowError) as error:
        raise ValueError(f"a {type(value).__name__} has no JSON form: {error}") from None
    return wire


def _scalar(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return to_jsonable(value.value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return to_jsonable(float.__float__(value))
    if _is_string(value):
        return str(value)
    if isinstance(value, datetime.datetime) and value.tzinfo is None:
        value = localized(value)
    return msgspec.to_builtins(exact_offset(value))


def _compound(value: Any) -> Any:
    kind: Any = value.__class__
    if hasattr(kind, "__pydantic_serializer__") and hasattr(value, "model_dump"):
        return to_jsonable(value.model_dump(by_alias=True))
    if hasattr(kind, "__marshaller_factory__"):
        return to_jsonable(importlib.import_module("marshy").dump(value))
    names = _names(kind)
    if names is not None:
        return _members(value, names)
    if isinstance(value, Mapping):
        return _object(cast("Mapping[Any, Any]", value))
    if isinstance(value, Set):  # sorted, so that documents and answers are the same in every process
        return sorted(map(to_jsonable, cast("Set[Any]", value)), key=msgspec.json.encode)
    if isinstance(value, (list, tuple, deque)):
        return list(map(to_jsonable, cast("list[Any]", value)))
    try:
        builtins = msgspec.to_builtins(value, str_keys=True)
    except TypeError:
        raise ValueError(f"a {type(value).__name__} has no JSON form") from None
    if builtins in ("NaN", "Infinity", "-Infinity", "sNaN", "-NaN", "-sNaN"):
        raise ValueError(f"{builtins} has no JSON form")
    return builtins


def _object(members: Mapping[Any, Any]) -> dict[str, Any]:
    found = {_key(key): to_jsonable(item) for key, item in members.items()}
    if len(found) != len(members):  # 1 and "1"
        raise ValueError("two keys are one in JSON")
    return found


def _names(kind: Any) -> Mapping[str, str] | None:
    """Return the names in JSON of a data class's members, by their own names; None for any other class."""
    if issubclass(kind, msgspec.Struct):
        return dict(zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True))
    fields = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else getattr(kind, "__attrs_attrs__", None)
    return None if fields is None else {field.name: field.name for field in fields}


def _members(value: Any, names: Mapping[str, str]) -> dict[str, Any]:
    """Return the members of an object that are set, and the tag of a Struct."""
    config = getattr(value, "__struct_config__", None)
    found: dict[str, Any] = {config.tag_field: config.tag} if config is not None and config.tag else {}
    for name, wire in names.items():
        member = getattr(value, name)
        if member is not msgspec.UNSET:
            found[wire] = to_jsonable(member)
    return found


def _is_string(value: Any) -> bool:
    return any(name in sys.modules and isinstance(value, getattr(sys.modules[name], cls)) for name, cls in _STRINGS)


def _key(key: Any) -> str:
    if type(key) is str:
        return key
    wire = to_jsonable(key)
    if isinstance(wire, (dict, list)) or wire is None:
        raise ValueError(f"{type(key).__name__} cannot be the key of a JSON object")
    return wire if isinstance(wire, str) else msgspec.json.encode(wire).decode()


def seconds_of_offset(moment: datetime.datetime | datetime.time) -> datetime.timedelta:
    """Return the seconds of an offset beyond whole minutes; zero if there is no offset."""
    offset = moment.utcoffset()
    return datetime.timedelta(0) if offset is None else offset % datetime.timedelta(minutes=1)


def exact_offset(value: Any) -> Any:
    """Return a datetime or a time with an offset of whole minutes, which RFC 3339 has (§5.6); other values as they are.

    A datetime with another offset is the same instant in UTC. A time moves with its offset, by less than a minute.

    Raises:
        ValueError: It would be in the year 0 or 10000 of UTC.
    """
    if not isinstance(value, (datetime.datetime, datetime.time)) or not (seconds := seconds_of_offset(value)):
        return value
    if isinstance(value, datetime.datetime):
        try:
            return value.astimezone(datetime.UTC)
        except OverflowError:
            raise ValueError(f"{value} is in no year that UTC has here") from None
    day = datetime.datetime.combine(datetime.date(2000, 1, 1), value, None)
    if (day - seconds).date() != day.date():
        seconds -= datetime.timedelta(minutes=1)
    offset = value.utcoffset() or datetime.timedelta(0)
    return (day - seconds).timetz().replace(tzinfo=datetime.timezone(offset - seconds))


_warned = False


def localized(value: datetime.datetime) -> datetime.datetime:
    """Return a naive datetime as local time with its offset, Python's own convention; warns once per process."""
    global _warned
    if not _warned:
        import logging

        _warned = True
        logging.getLogger("servey").warning(
            "a datetime without a time zone was returned; it is written as local time (use datetime.now(UTC))"
        )
    try:
        return value.astimezone()
    except (OverflowError, OSError, ValueError):  # the first or the last day: the offset is that of a year nearby
        near = value.replace(year=min(max(value.year, 2), 9998)).astimezone()
        return value.replace(tzinfo=near.tzinfo)
