"""Protect sets and keys in input against hash flooding.

Python's hash of a number is predictable: an `int` modulo 2**61 - 1, and likewise for `Decimal` and `UUID`. Building a
set of 100,000 numbers with one hash takes minutes. The hashes of text and bytes contain a secret.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

from servey.codec.node import Node
from servey.codec.problems import CustomTypeError
from servey.errors import Problem

_SHARED = 32
"""The maximum number of members with one hash; at most nine numbers below 2**63 share one."""

_TIMES = (datetime.datetime, datetime.date, datetime.time, datetime.timedelta)
_SAFE: frozenset[Any] = frozenset({str, bytes, bool, float, type(None), *_TIMES, Literal})

SLOW_KEYS: frozenset[Any] = frozenset({decimal.Decimal, uuid.UUID, bool, datetime.time})
"""The types of keys that `servey.codec.builder` reads: those open to hash flooding, and those that msgspec misreads."""


def is_guarded_set(node: Node) -> bool:
    """Whether the members of a set have to be checked before it is made."""
    if node.kind != "list" or node.cls not in (set, frozenset):
        return False
    item = node.items[0]
    return not (item.kind == "leaf" and (item.cls in _SAFE or issubclass(item.cls, enum.Enum)))


def is_guarded_dict(node: Node) -> bool:
    """Whether the keys of a dict are read by `servey.codec.builder`; ints are limited instead."""
    return node.kind == "dict" and node.items[0].cls in SLOW_KEYS


def check_hashes(values: Sequence[Any]) -> None:
    """Return when a set, or the keys of a dict, can be made of `values` in linear time.

    Raises:
        CustomTypeError: Some cannot be hashed, or too many share a hash.
    """
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
