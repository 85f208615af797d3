"""The slow way out: for a value that the output struct refused.

It puts right what is the declared type and yet not what msgspec takes (a naive datetime, a subclass of `str`, a
bool where an int is declared, a generator where an iterable is), and tells every other problem with its path.
"""

from __future__ import annotations

import datetime
import typing
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any

import msgspec
from msgspec import UNSET

from servey.codec import rows
from servey.codec.constraints import violated
from servey.codec.explain import told
from servey.codec.jsonable import exact_offset, localized
from servey.codec.node import Node, NodeVisitor
from servey.codec.pointer import below, step
from servey.codec.problems import PROBLEM_LIMIT, CustomTypeError, shown
from servey.codec.rows import ABSENT, has_names, is_row
from servey.codec.scalars import is_enum
from servey.codec.structs import checking, guarded_run, is_decimal, needs_check
from servey.codec.type_adapter import Compiler
from servey.errors import Problem

_BAD: Any = object()


class Projector(NodeVisitor[Any]):
    """Projects one value on its declared type. A visit returns its JSON values, and keeps the problems.

    Args:
        compiler: The codec's compiler.
        lazy: Whether iterators are left as they are: their items are neither read nor projected.
    """

    def __init__(self, compiler: Compiler, lazy: bool = False) -> None:
        self.compiler = compiler
        self.lazy = lazy
        self.problems: list[Problem] = []

    def visit(self, node: Node, *given: Any) -> Any:
        """Return the JSON values of a value, or the mark of a bad one."""
        return _BAD if len(self.problems) >= PROBLEM_LIMIT else super().visit(node, *given)

    def visit_other(self, node: Node, value: Any, at: str) -> Any:
        """Write what its engine knows, or anything."""
        return self._written(self._run(self.compiler.encode(node), value, at), at)

    def add(self, at: str, message: str) -> Any:
        """Keep a problem, and return the mark of a bad value."""
        self.problems.append(Problem(at, message))
        return _BAD

    def _run(self, run: Any, value: Any, at: str) -> Any:
        try:
            return guarded_run(run)(value)
        except CustomTypeError as error:
            self.problems += below(at, error.errors)
            return _BAD

    def _written(self, wire: Any, at: str) -> Any:
        """Return the JSON values that no type of servey's has checked, if JSON can write them."""
        try:
            if wire is not _BAD:
                msgspec.json.encode(wire)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:  # as for a lone surrogate
            return self.add(at, f"cannot be written: {error}")
        return wire

    def visit_leaf(self, node: Node, value: Any, at: str) -> Any:
        """Write a scalar."""
        value = _base_value(node.cls, value)
        if node.cls is datetime.datetime and isinstance(value, datetime.datetime) and value.tzinfo is None:
            if node.constraints.tz is True:
                return self.add(at, f"expected an offset, got {shown(value)}")
            value = value if self.compiler.writes_input else localized(value)
        try:
            value = exact_offset(value)
        except ValueError as error:
            return self.add(at, f"cannot be written: {error}")
        if needs_check(node) or is_decimal(node):
            value = self._run(checking(self.compiler.output_structs().bare(node), node.constraints), value, at)
            return value if value is _BAD else msgspec.to_builtins(value)
        try:
            wire = self.compiler.adapter(node).to_builtins(value)
            if isinstance(wire, str):
                wire.encode()
        except msgspec.ValidationError as error:
            return self.add(at, told(node, str(error), value))
        except (TypeError, ValueError, OverflowError) as error:
            return self.add(at, f"cannot be written: {error}")
        if type(wire) is int and abs(wire) >= 10**4300:
            return self.add(at, "an int of more than 4300 digits")
        return wire

    def visit_list(self, node: Node, value: Any, at: str) -> Any:
        """Write an array of members of one type."""
        if not isinstance(value, Iterable) or isinstance(value, (str, bytes, bytearray, Mapping)):
            return self.add(at, f"expected array, got {_named(value)}")
        if self.lazy and isinstance(value, Iterator):
            return []
        values = typing.cast("Iterable[Any]", value)
        items = [self.visit(node.items[0], item, f"{at}/{index}") for index, item in enumerate(values)]
        if wrong := violated(node.constraints, items):
            return self.add(at, f"{wrong}, got {len(items)}")
        if isinstance(value, Set) and not self.problems:
            items.sort(key=msgspec.json.encode)  # the same in every process
        return items

    def visit_dict(self, node: Node, value: Any, at: str) -> Any:
        """Write an object with names of its own."""
        if not isinstance(value, Mapping):
            return self.add(at, f"expected object, got {_named(value)}")
        keys, values = node.items
        members: dict[str, Any] = {}
        for name, item in typing.cast("Mapping[Any, Any]", value).items():
            place = step(at, name)
            key = self.visit(keys, name, place)
            member = self.visit(values, item, place)
            members[key if isinstance(key, str) else "" if key is _BAD else msgspec.json.encode(key).decode()] = member
        if wrong := violated(node.constraints, members):
            return self.add(at, f"{wrong}, got {len(members)}")
        return members

    def visit_tuple(self, node: Node, value: Any, at: str) -> Any:
        """Write an array with a type for each place."""
        if not isinstance(value, (tuple, list)):
            return self.add(at, f"expected array, got {_named(value)}")
        values = typing.cast("list[Any]", value)
        if len(values) != len(node.items):
            return self.add(at, f"expected array of length {len(node.items)}, got {len(values)}")
        return [self.visit(node.items[index], item, f"{at}/{index}") for index, item in enumerate(values)]

    def visit_object(self, node: Node, value: Any, at: str) -> Any:
        """Write an object of a class, or a row that stands for one."""
        if not is_row(value):
            return self.add(at, f"expected {node.cls.__name__}, got {_named(value)}")
        members: dict[str, Any] = {}
        if node.tag is not None:
            members[node.tag[0]] = node.tag[1]
        for field in node.fields:
            found = rows.member(value, field.name, field.wire)
            if found is UNSET or (found is ABSENT and not field.required):
                continue
            if found is ABSENT:
                if not has_names(value.__class__):
                    return self.add(at, f"expected {node.cls.__name__}, got {_named(value)}")
                self.add(step(at, field.wire), "required")
                continue
            members[field.wire] = self.visit(field.node, found, step(at, field.wire))
        return members

    def visit_union(self, node: Node, value: Any, at: str) -> Any:
        """Write a value as the first member of the union that it is of."""
        best: list[Problem] = []
        for part in self.compiler.union(node).outgoing(value):
            nested = Projector(self.compiler, self.lazy)
            wire = nested.visit(part, value, "")
            if not nested.problems:
                return wire
            best = nested.problems if not best or len(nested.problems) < len(best) else best
            if isinstance(part.cls, type) and type(value) is part.cls:
                best = nested.problems
                break
        self.problems += below(at, best)
        return _BAD


def _base_value(cls: Any, value: Any) -> Any:
    """Return a subclass's value as the declared scalar: a StrEnum as str, a bool or an IntEnum as int."""
    if is_enum(cls):
        # msgspec converts a member of an Enum of ints from nothing but its value
        return value.value if type(value) is cls else value
    if type(value) is cls:
        return value
    if cls is str and isinstance(value, str):
        return str.__str__(value)
    if cls is int and isinstance(value, int):
        return int(value)
    if cls is float and isinstance(value, float):
        return float.__float__(value)
    if cls is bytes and isinstance(value, bytes):
        return bytes(value)
    if cls is datetime.date and isinstance(value, datetime.datetime):
        return value.date()
    return value


def _named(value: Any) -> str:
    return "null" if value is None else f"a {type(value).__name__}"
