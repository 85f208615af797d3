"""Whole numbers that are written with a fraction of zero: ``5.0`` is an integer (JSON Schema 2020-12 §6.1.1).

The decoder takes them for floats. Only when it has refused an input are they looked for, where the type says ``int``;
an input without any is not slowed down.
"""

from __future__ import annotations

import operator
import typing
from typing import Any

import msgspec

from servey.codec.leaves import wire_values
from servey.codec.node import Node
from servey.codec.refusal import EXPLAIN_LIMIT, REFUSALS

EXACT = 2**53 - 1
"""Up to here every whole number has a float of its own, that no other number is read as."""

_FRACTIONAL = ("float", "Decimal")


def whole_text(node: Node, data: bytes) -> Any:
    """Return a refused JSON text as values with its whole numbers as ints; None when it has none, or is too long."""
    if len(data) > EXPLAIN_LIMIT or not (b"." in data or b"e" in data or b"E" in data):
        return None
    try:
        return whole_value(node, msgspec.json.decode(data))
    except REFUSALS:
        return None


def whole_value(node: Node, builtins: Any) -> Any:
    """Return refused JSON values with their whole numbers as ints; None when there are none."""
    try:
        found = _whole(node, builtins)
    except RecursionError:
        return None
    return None if found is builtins else found


def _whole(node: Node, value: Any) -> Any:
    """Return the value itself where nothing in it changes."""
    if isinstance(value, float):
        return int(value) if _takes_int(node) and value.is_integer() and abs(value) <= EXACT else value
    if node.kind == "union":
        member = _meant(node, value)
        return value if member is None else _whole(member, value)
    if isinstance(value, dict):
        return _members(node, typing.cast("dict[Any, Any]", value))
    if isinstance(value, (list, tuple)) and node.kind in ("list", "tuple"):
        return _items(node, typing.cast("list[Any]", value))
    return typing.cast("Any", value)


def _meant(node: Node, value: Any) -> Node | None:
    """Return the member of a union that an object or an array is meant for; None when there are more."""
    kinds = ("object", "dict") if isinstance(value, dict) else ("list", "tuple")
    found = [item for item in node.items if item.kind in kinds]
    if len(found) > 1 and isinstance(value, dict):
        told = typing.cast("dict[Any, Any]", value)
        found = [item for item in found if item.tag is not None and told.get(item.tag[0]) == item.tag[1]]
    return found[0] if len(found) == 1 else None


def _items(node: Node, value: list[Any]) -> Any:
    nodes = node.items * len(value) if node.kind == "list" else node.items
    found = [_whole(part, item) for part, item in zip(nodes, value, strict=False)]
    return value if all(map(operator.is_, found, value)) else [*found, *value[len(found) :]]


def _members(node: Node, value: dict[Any, Any]) -> Any:
    if node.kind == "dict":
        nodes = dict.fromkeys(value, node.items[1])
    elif node.kind == "object":
        nodes = {field.wire: field.node for field in node.fields}
    else:
        return value
    found = {name: _whole(nodes[name], item) if name in nodes else item for name, item in value.items()}
    return value if all(found[name] is item for name, item in value.items()) else found


def _takes_int(node: Node) -> bool:
    """Return whether an int fits, and no number with a fraction does."""
    parts = node.items if node.kind == "union" else [node]
    if any(part.kind in ("any", "foreign") or getattr(part.cls, "__name__", "") in _FRACTIONAL for part in parts):
        return False
    return any(part.kind == "leaf" and (part.cls is int or int in map(type, wire_values(part))) for part in parts)
