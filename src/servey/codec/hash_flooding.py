"""Make the collections that msgspec does not know or misreads, and protect sets and keys against hash flooding.

Python's hash of a number is predictable: an `int` modulo 2**61 - 1, and likewise for `Decimal` and `UUID`. Building a
set of 100,000 numbers with one hash takes minutes. The hashes of text and bytes contain a secret.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any, Literal

from servey.codec.constraints import violated
from servey.codec.node import Node
from servey.codec.problems import CustomTypeError
from servey.errors import Problem

_SHARED = 32
"""The maximum number of members with one hash; at most nine numbers below 2**63 share one."""

_TIMES = (datetime.datetime, datetime.date, datetime.time, datetime.timedelta)
_SAFE: frozenset[Any] = frozenset({str, bytes, bool, float, type(None), *_TIMES, Literal})

SLOW_KEYS: frozenset[Any] = frozenset({decimal.Decimal, uuid.UUID, bool, datetime.time})
"""The types of keys that servey reads: those open to hash flooding, and those that msgspec misreads."""


def is_collected(node: Node) -> bool:
    """Whether `collection` makes the values of a node, because msgspec cannot or must not."""
    return node.cls is deque or _is_guarded(node)


def _is_guarded(node: Node) -> bool:
    """Whether members have to be checked before the set or the dict is made; int keys of a dict are limited instead."""
    item = node.items[0] if node.items else node
    if node.kind == "list" and node.cls in (set, frozenset):
        return not (item.kind == "leaf" and (item.cls in _SAFE or issubclass(item.cls, enum.Enum)))
    return node.kind == "dict" and item.cls in SLOW_KEYS


def collection(node: Node, members: Sequence[Any], values: Sequence[Any] | None = None) -> Any:
    """Return the list or the set of `members`, or the dict of such keys and `values`.

    Raises:
        CustomTypeError: A constraint is violated, a member cannot be hashed, or too many share a hash.
    """
    if _is_guarded(node):
        _check_hashes(members)
    made: Any = node.cls(members) if values is None else dict(zip(members, values, strict=True))
    wrong = violated(node.constraints, made)
    if wrong:
        raise CustomTypeError([Problem("", f"{wrong}, got {len(made)}")])
    return made


def _check_hashes(values: Sequence[Any]) -> None:
    try:
        hashes = list(map(hash, values))
    except TypeError:
        raise CustomTypeError([Problem("", "has a member that no set can hold")]) from None
    if len(hashes) <= _SHARED:
        return
    crowded: dict[int, list[Any]] = {shared: [] for shared, count in Counter(hashes).items() if count > _SHARED}
    if not crowded:
        return
    for value, shared in zip(values, hashes, strict=True):
        if value not in crowded.get(shared, (value,)):
            crowded[shared].append(value)
            if len(crowded[shared]) > _SHARED:
                raise CustomTypeError([Problem("", f"has more than {_SHARED} members with the same hash")])
