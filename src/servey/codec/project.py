"""Write a value that the output struct refused.

It converts values that msgspec does not accept for the declared type (a naive datetime, a subclass of `str`, a bool for
an int, a generator for an iterable), and collects all other problems with their paths.
"""

from __future__ import annotations

import datetime
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from typing import Any

import msgspec
from msgspec import UNSET

from servey.codec import rows
from servey.codec.jsonable import exact_offset, localized
from servey.codec.node import Node
from servey.codec.problem_visitor import BAD, ProblemVisitor
from servey.codec.problems import below, shown, step
from servey.codec.rows import ABSENT, has_names, is_row
from servey.codec.scalars import is_enum
from servey.codec.structs import checking, is_decimal, needs_check, refusal
from servey.errors import Problem


class Projector(ProblemVisitor):
    """Projects one value on its declared type. A visit returns its JSON values, or `BAD`."""

    lazy = False
    """Whether iterators stay unchanged, without reading their items."""

    def visit_other(self, node: Node, value: Any, at: str) -> Any:
        """Write a custom type, or an `Any`."""
        return self._written(self.run(self.compiler.encode(node), value, at), at)

    def _written(self, wire: Any, at: str) -> Any:
        """Return JSON values, if a text can have them: no lone surrogate, no int of more than 4,300 digits."""
        try:
            if wire is not BAD:
                msgspec.json.encode(wire)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            return self.add(Problem(at, f"cannot be written: {error}"))
        return wire

    def visit_leaf(self, node: Node, value: Any, at: str) -> Any:
        """Write a scalar."""
        value = _base_value(node.cls, value)
        if node.cls is datetime.datetime and isinstance(value, datetime.datetime) and value.tzinfo is None:
            if node.constraints.tz is True:
                return self.add(Problem(at, f"expected an offset, got {shown(value)}"))
            value = value if self.compiler.writes_input else localized(value)
        try:
            value = exact_offset(value)
            if needs_check(node) or is_decimal(node):
                value = self.run(checking(self.compiler.output_structs(skips_checks=False), node), value, at)
                return value if value is BAD else msgspec.to_builtins(value)
            return self._written(self.compiler.adapter(node).to_builtins(value), at)
        except msgspec.ValidationError as error:
            return self.add(Problem(at, refusal(node, str(error), value)))
        except (TypeError, ValueError, OverflowError) as error:
            return self.add(Problem(at, f"cannot be written: {error}"))

    def visit_list(self, node: Node, value: Any, at: str) -> Any:
        """Write an array of members of one type."""
        if not isinstance(value, Iterable) or isinstance(value, (str, bytes, bytearray, Mapping)):
            return self.add(Problem(at, f"expected array, got {_named(value)}"))
        if self.lazy and isinstance(value, Iterator):
            return []
        values = typing.cast("Iterable[Any]", value)
        items = [self.visit(node.items[0], item, f"{at}/{index}") for index, item in enumerate(values)]
        if isinstance(value, Set) and BAD not in items:
            items.sort(key=msgspec.json.encode)  # the same in every process
        return self.checked_length(node, items, at)

    def visit_dict(self, node: Node, value: Any, at: str) -> Any:
        """Write an object with any names."""
        if not isinstance(value, Mapping):
            return self.add(Problem(at, f"expected object, got {_named(value)}"))
        keys, values = node.items
        members: dict[str, Any] = {}
        for name, item in typing.cast("Mapping[Any, Any]", value).items():
            place = step(at, name)
            key = self.visit(keys, name, place)
            member = self.visit(values, item, place)
            members[key if isinstance(key, str) else "" if key is BAD else msgspec.json.encode(key).decode()] = member
        return self.checked_length(node, members, at)

    def visit_tuple(self, node: Node, value: Any, at: str) -> Any:
        """Write an array with a type for each place."""
        if not isinstance(value, (tuple, list)):
            return self.add(Problem(at, f"expected array, got {_named(value)}"))
        values = typing.cast("list[Any]", value)
        if len(values) != len(node.items):
            return self.add(Problem(at, f"expected array of length {len(node.items)}, got {len(values)}"))
        return [self.visit(node.items[index], item, f"{at}/{index}") for index, item in enumerate(values)]

    def visit_object(self, node: Node, value: Any, at: str) -> Any:
        """Write an object of a class, or a row for it."""
        if not is_row(value):
            return self.add(Problem(at, f"expected {node.cls.__name__}, got {_named(value)}"))
        members: dict[str, Any] = {}
        if node.tag is not None:
            members[node.tag[0]] = node.tag[1]
        for field in node.fields:
            found = rows.member(value, field.name, field.wire)
            if found is UNSET or (found is ABSENT and not field.required):
                continue
            if found is ABSENT:
                if not has_names(value.__class__):
                    return self.add(Problem(at, f"expected {node.cls.__name__}, got {_named(value)}"))
                self.add(Problem(step(at, field.wire), "required"))
                continue
            members[field.wire] = self.visit(field.node, found, step(at, field.wire))
        return members

    def visit_union(self, node: Node, value: Any, at: str) -> Any:
        """Write a value as the first member of the union that accepts it."""
        parts = self.compiler.union(node).outgoing(value)
        own = next((index for index, part in enumerate(parts) if type(value) is part.cls), None)
        made, _, refused = self.trials(parts if own is None else parts[: own + 1], value)
        if not refused:
            return made
        return self.add(*below(at, min(refused, key=len) if own is None else refused[own]))


def _base_value(cls: Any, value: Any) -> Any:
    """Return a subclass's value as the declared scalar: a StrEnum as str, a bool or an IntEnum as int."""
    if is_enum(cls):
        # msgspec converts a member of an Enum of ints from nothing but its value
        return value.value if type(value) is cls else value
    if type(value) is cls:
        return value
    if cls is datetime.date and isinstance(value, datetime.datetime):
        return value.date()
    return _BASES[cls](value) if cls in _BASES and isinstance(value, cls) else value


_BASES: dict[Any, Callable[[Any], Any]] = {str: str.__str__, int: int, float: float.__float__, bytes: bytes}
"""Conversions of an instance of a subclass."""


def _named(value: Any) -> str:
    return "null" if value is None else f"a {type(value).__name__}"
