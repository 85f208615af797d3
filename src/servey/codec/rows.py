"""Define rows: the objects and mappings that an action can return instead of an object of a class.

A row is an object with the class's attributes, or one that is read by keys: a mapping, a row of sqlite3, SQLAlchemy or
asyncpg. Its keys are the names in JSON or the names of the class's attributes.
"""

from __future__ import annotations

import functools
from typing import Any

_NO_ROWS = (str, bytes, bytearray, int, float, list, tuple, set, frozenset, type)
ABSENT: Any = object()
"""`member` returns it for a missing member."""


def is_row(value: Any) -> bool:
    """Whether a value may be a row for a class."""
    return value is not None and (has_names(value.__class__) or not isinstance(value, _NO_ROWS))


@functools.cache
def has_names(cls: Any) -> bool:
    """Whether values of a class are read by names: a NamedTuple is not."""
    return hasattr(cls, "keys") and hasattr(cls, "__getitem__")


def member(value: Any, name: str, wire: str) -> Any:
    """Return the member of a row; `ABSENT` if it has none. With keys, the name in JSON takes precedence."""
    if not has_names(value.__class__):
        return getattr(value, name, ABSENT)
    for key in (wire, name):
        try:
            return value[key]
        except (KeyError, IndexError):  # sqlite3 raises the latter
            continue
    return ABSENT


def with_names(value: Any) -> Any:
    """Return the members of a row that is read by names as a dict, and any other row itself."""
    # a row has no other iterator than that of its keys
    return {key: value[key] for key in value.keys()} if has_names(value.__class__) else value  # noqa: SIM118
