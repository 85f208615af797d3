"""Facts about types and nodes that the type reader asks for."""

from __future__ import annotations

import datetime
import decimal
import math
import typing
import uuid
from collections import abc, deque
from typing import Any

import msgspec

from servey.codec.node import Node

LEAVES: frozenset[Any] = frozenset(
    {
        str,
        int,
        float,
        bool,
        bytes,
        bytearray,
        type(None),
        datetime.datetime,
        datetime.date,
        datetime.time,
        datetime.timedelta,
        uuid.UUID,
        decimal.Decimal,
    }
)

LISTS: dict[Any, type] = {
    list: list,
    set: set,
    frozenset: frozenset,
    deque: deque,
    abc.Sequence: list,
    abc.MutableSequence: list,
    abc.Collection: list,
    abc.Iterable: list,
    abc.Reversible: list,
    abc.Set: set,
    abc.MutableSet: set,
}

DICTS: frozenset[Any] = frozenset({dict, abc.Mapping, abc.MutableMapping})


def is_json_scalar(value: Any) -> bool:
    """Whether JSON has the value of an Enum or a Literal."""
    return value is None or type(value) in (str, int, bool) or (type(value) is float and math.isfinite(value))


def is_int64(value: Any) -> bool:
    """Whether a value is an int that msgspec takes as one of an Enum or a Literal."""
    return type(value) is int and -(2**63) <= value < 2**63


def size_of(tp: Any) -> int:
    """Return the number of types in a type, including itself."""
    return 1 + sum(map(size_of, typing.get_args(tp)))


def shown_type(tp: Any) -> str:
    """Return the source text of a type."""
    return tp.__name__ if isinstance(tp, type) and not typing.get_args(tp) else str(tp).replace("typing.", "")


def is_custom_to_msgspec(cls: type) -> bool:
    """Whether msgspec does not know the class, and so calls the hook."""
    try:
        return isinstance(msgspec.inspect.type_info(cls), msgspec.inspect.CustomType) and cls is not object
    except (TypeError, NameError):
        return False


def is_hashable(node: Node) -> bool:
    """Whether a set can hold the values of a node."""
    if node.kind in ("any", "leaf"):
        return node.cls is not bytearray
    if node.kind in ("union", "tuple"):
        return all(is_hashable(item) for item in node.items)
    if node.kind == "list":
        return node.cls in (tuple, frozenset) and is_hashable(node.items[0])
    if node.kind == "custom":
        return getattr(node.cls, "__hash__", None) is not None
    return node.kind == "object" and node.flavor != "typeddict" and node.cls.__hash__ is not None
