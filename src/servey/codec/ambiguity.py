"""Whether the JSON of a value says of which members of its unions it was made.

A union is written by the class of its value, and read by trying its members. Where two of them can look alike, what
is read is not always what was written: a ``Dog`` comes back as a ``Cat`` that has the same members.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import itertools
import typing
import uuid
from typing import Any, cast

from servey.codec.node import Node
from servey.codec.scalars import is_enum, wire_values
from servey.codec.union import ordered

_TEXTS = frozenset(
    {
        str,
        bytes,
        bytearray,
        datetime.datetime,
        datetime.date,
        datetime.time,
        datetime.timedelta,
        uuid.UUID,
        decimal.Decimal,
    }
)


def is_ambiguous(root: Node) -> bool:
    """Return whether a value may be written so that another one is read.

    It is said of the types, and with caution: two classes are told apart by their names and tags alone.

    Example:
        >>> from servey.codec import Codec
        >>> [is_ambiguous(Codec(tp).root) for tp in (int | str, int | None, list[str] | set[str])]
        [False, False, True]
    """
    seen: set[object] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node.kind == "object":
            if node.identity in seen:
                continue
            seen.add(node.identity)
        if node.kind == "union" and any(itertools.starmap(_look_alike, itertools.combinations(ordered(node), 2))):
            return True
        waiting += [*node.items, *(field.node for field in node.fields)]
    return False


def _look_alike(first: Node, second: Node) -> bool:
    """Return whether two members of a union may be written alike."""
    if first.kind == second.kind == "object":
        return _classes_look_alike(first, second)
    shapes = _shapes(first), _shapes(second)
    return "any" in shapes[0] | shapes[1] or bool(shapes[0] & shapes[1])


def _shapes(node: Node) -> set[str]:
    """Return as what kinds of JSON values a node may be written."""
    if node.kind == "any":
        return {"any"}
    if node.kind in ("list", "tuple"):
        return {"array"}
    if node.kind in ("object", "dict"):
        return {"object"}
    if node.cls is typing.Literal or (is_enum(node.cls) and not issubclass(node.cls, enum.Flag)):
        return {_shape(cast("type[Any]", type(value))) for value in wire_values(node)}
    if node.kind == "leaf":
        return {_shape(node.cls)}
    return {"any"}  # only its engine knows


def _shape(cls: type[Any]) -> str:
    return "text" if cls in _TEXTS else cls.__name__


def _classes_look_alike(first: Node, second: Node) -> bool:
    if first.tag is not None and second.tag is not None and first.tag[0] == second.tag[0]:
        return first.tag[1] == second.tag[1]
    names = [_names(node, needed=False) for node in (first, second)]
    needed = [_names(node, needed=True) for node in (first, second)]
    # what has a default may be left out by who writes
    return needed[0] <= names[1] and needed[1] <= names[0]


def _names(node: Node, *, needed: bool) -> set[str]:
    tag = [] if node.tag is None else [node.tag[0]]
    return {*tag, *(field.wire for field in node.fields if field.required or not needed)}
