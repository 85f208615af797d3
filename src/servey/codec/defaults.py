"""Copy mutable defaults for each call, so that no call sees the changes of another."""

from __future__ import annotations

import copy
import datetime
import enum
import types
import typing
from collections.abc import Callable
from typing import Any

from servey.codec.scalars import custom_scalar
from servey.codec.type_facts import LEAVES

_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType)
_UNCHANGEABLE: frozenset[Any] = LEAVES - {bytearray} | {complex, datetime.timezone, *_FUNCTIONS}


def fresh(default: Any) -> Callable[[], Any] | None:
    """Return a function that copies a default, or None for an immutable one.

    The default is also copied once here, because other code may change the original.

    Raises:
        ValueError: It is mutable and cannot be copied.
    """
    if is_unchangeable(default):
        return None
    try:
        kept = copy.deepcopy(default)
    except Exception as error:  # a class's __deepcopy__ or __reduce__ may raise anything
        raise ValueError(f"the default {type(default).__name__} cannot be copied for each call: {error}") from error
    if kept is default:  # by its own __deepcopy__
        return lambda: default
    kind: Any = kept.__class__
    parts = [*kept, *kept.values()] if kind is dict else kept
    if kind in (list, set, dict) and all(map(is_unchangeable, parts)):
        return kept.copy
    return lambda: copy.deepcopy(kept)


def is_unchangeable(value: Any) -> bool:
    """Return whether an object and all its parts are immutable."""
    cls: Any = value.__class__
    if cls in _UNCHANGEABLE or isinstance(value, (type, enum.Enum)) or custom_scalar(cls) is not None:
        return True
    if cls in (tuple, frozenset):
        return all(map(is_unchangeable, typing.cast("tuple[Any, ...]", value)))
    if getattr(getattr(cls, "__dataclass_params__", None), "frozen", False):
        return all(is_unchangeable(getattr(value, name, None)) for name in cls.__dataclass_fields__)
    if (cls.__reduce_ex__, cls.__reduce__) != (object.__reduce_ex__, object.__reduce__):
        return False
    try:
        made: Any = value.__reduce_ex__(4)
    except TypeError:
        return False
    # an object without state is a mark: code compares its identity
    return made[1:] == ((cls,), None, None, None)
