"""The generated types for msgspec: an *input struct* to read, an *output struct* to write.

An input struct has the members of the user's class and the constraints, and refuses unknown members. msgspec builds the
user's object from it. Conversion of a result to its output struct keeps the declared members and validates them.

A type that msgspec does not know becomes a *marker*: a class whose hook decodes or encodes. Every object is an instance
of it, so that the hook can return the real value without a wrapper.
"""

from __future__ import annotations

import datetime
import decimal
import functools
import math
import re
import threading
import typing
from collections import deque, namedtuple
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from servey.codec.constraints import violated
from servey.codec.hash_flooding import SLOW_KEYS, is_collected
from servey.codec.node import MISSING, Constraints, Field, Node, NodeVisitor
from servey.codec.problems import CustomTypeError, first_line, reworded, shown
from servey.codec.scalars import json_kinds, literal_values, wire_values
from servey.errors import InvalidError

_MOST = 1.7976931348623157e308
_INT64 = 2**63
_LAST_MOMENT = re.compile(r"^(23:59:59\.999999)[0-9]+")
"""msgspec rounds it up to 00:00:00, almost a day earlier."""
_BUILDING = threading.RLock()


class _AnyInstance(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return True


def guarded_run(run: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return `run` with every refusal as a `CustomTypeError`."""

    def guarded(value: Any) -> Any:
        try:
            return run(value)
        except InvalidError as error:
            raise CustomTypeError(error.errors) from None
        except (ValueError, TypeError, RecursionError) as error:
            if isinstance(error, (CustomTypeError, RecursionError)):
                raise
            raise CustomTypeError(first_line(error)) from None

    return guarded


def marker(run: Callable[[Any], Any], name: str) -> type:
    """Return a class that represents a custom type; `hook` applies `run` to each of its values."""
    return _AnyInstance(name, (), {"run": staticmethod(guarded_run(run))})


def hook(tp: Any, value: Any) -> Any:
    """The `dec_hook` of input structs and output structs: it calls the marker."""
    return tp.run(value)


def same(value: Any) -> Any:
    """Return the value, where an input struct needs no building."""
    return value


def keep(_tp: Any, value: Any) -> Any:
    """The `dec_hook` when real objects are built from an input struct: custom parts are real already."""
    return value


def reachable(node: Node) -> Iterator[Node]:
    """Yield every node of the tree once."""
    seen: set[Node] = set()
    todo = [node]
    while todo:
        current = todo.pop()
        if current not in seen:
            seen.add(current)
            yield current
            todo += [*current.items, *(field.node for field in current.fields)]


def is_built(node: Node) -> bool:
    """Whether the value has to be built from its input struct, because the two differ."""
    return any(n.kind == "object" or n.flavor == "namedtuple" or is_collected(n) for n in reachable(node))


def is_plain(node: Node) -> bool:
    """Whether msgspec itself can build the declared type from its input struct."""
    return all(
        part.plain and not needs_trials(part) and not needs_check(part) and not is_collected(part)
        for part in reachable(node)
    )


def needs_check(node: Node) -> bool:
    """Whether the node's constraints are beyond msgspec's `Meta`."""
    if node.kind not in ("leaf", "list", "dict") or not node.constraints:
        return False
    bounds = [(key, value) for key, value in node.constraints.items() if key in _BOUNDS]
    if node.cls not in (int, float):
        return bool(bounds)
    return not all(_is_known_to_meta(node.cls, key, value) for key, value in bounds)


_BOUNDS = frozenset({"gt", "ge", "lt", "le", "multiple_of"})


def _is_known_to_meta(cls: type, key: str, value: Any) -> bool:
    """Whether `Meta` has a bound of ints, or of floats."""
    if key == "multiple_of" and (cls is float or value <= 0):
        return False
    is_int64 = isinstance(value, int) and -_INT64 <= value < _INT64
    return is_int64 or (cls is float and isinstance(value, float))


def is_decimal(node: Node) -> bool:
    """Whether the node is a `Decimal`, for which msgspec accepts NaN and infinities."""
    return node.kind == "leaf" and node.cls is decimal.Decimal


def needs_trials(node: Node) -> bool:
    """Whether the node is a union that msgspec refuses, or would not read in declared order."""
    if node.kind != "union":
        return False
    members = node.not_null
    if len(members) == 1 and members[0].kind != "union":
        return False
    shapes: list[str] = []
    for member in members:
        found = _shapes(member)
        if not found or not found.isdisjoint(shapes):
            return True
        shapes += found
    return False


def _shapes(node: Node) -> frozenset[str]:
    """Return the kinds of JSON values that msgspec takes for a node; empty if only a trial shows whether it fits."""
    if needs_check(node) or node.cls in (datetime.time, deque) or node.kind in ("custom", "any", "union"):
        return frozenset()
    if is_decimal(node):
        return frozenset({"string", "int", "number"})
    kinds = json_kinds(node)
    # msgspec would ask a constrained int, or the values of an Enum, alone for a number without a fraction
    takes_numbers = "int" in kinds and (bool(node.constraints) or bool(wire_values(node)))
    return kinds | {"number"} if takes_numbers else kinds


def _narrowed(constraints: Constraints, least: Any, most: Any) -> dict[str, Any]:
    """Return constraints with the range of a type of numbers as bounds."""
    limits = dict(constraints.items())
    if "gt" not in limits:
        limits["ge"] = max(limits.get("ge", least), least)
    if "lt" not in limits:
        limits["le"] = min(limits.get("le", most), most)
    return limits


class Structs(NodeVisitor[Any]):
    """Makes the input structs or the output structs of one codec. A visit returns a node's type without constraints.

    Args:
        side: ``"in"`` makes input structs, ``"out"`` output structs.
        run: Returns the function of a marker, for a node that msgspec does not know.
        skips_checks: Whether `Decimal` and, on the way in, `Any` are msgspec's own: it accepts NaN and Infinity,
            a `Decimal` for a float, and any depth. The caller has checked that there is none.
        allows_naive: Whether an output struct takes datetimes without an offset.
    """

    def __init__(
        self,
        side: str,
        run: Callable[[Node], Callable[[Any], Any]],
        allows_naive: bool = False,
        *,
        skips_checks: bool,
    ) -> None:
        self.side = side
        self.run = run
        self.skips_checks = skips_checks
        self.allows_naive = allows_naive
        self.structs: dict[object, Any] = {}
        self._markers: dict[Node, type] = {}

    def of(self, node: Node) -> Any:
        """Return the type that msgspec decodes, or converts, instead of the node's."""
        with _BUILDING:  # another thread must not see a half-made class that contains itself
            return self._of(node)

    def _of(self, node: Node) -> Any:
        if node.kind == "any" and self.side == "in" and self.skips_checks:
            return Any
        if node.kind in ("custom", "any") or needs_trials(node):
            return self._marker(node, self.run)
        is_time = node.cls is datetime.time and self.side == "in"
        if is_time or needs_check(node) or (is_decimal(node) and not self.skips_checks):
            return self._marker(node, functools.partial(checking, self))
        return self._limited(node, node.constraints)

    def bare(self, node: Node) -> Any:
        """Return the type of a node without its constraints, which are checked in Python."""
        with _BUILDING:
            return self._limited(node, Constraints())

    def key(self, keys: Node) -> Any:
        """Return the type that a dict's keys are read as; see `servey.codec.hash_flooding`."""
        if self.side == "in" and keys.cls in SLOW_KEYS:
            return str
        if self.side == "out" or keys.cls is not int or needs_check(keys):
            return self.of(keys)
        return Annotated[int, Meta(**_narrowed(keys.constraints, -_INT64, _INT64 - 1))]

    def _marker(self, node: Node, run: Callable[[Node], Callable[[Any], Any]]) -> Any:
        if node not in self._markers:
            self._markers[node] = marker(run(node), getattr(node.cls, "__name__", "custom"))
        return self._markers[node]

    def _limited(self, node: Node, constraints: Constraints) -> Any:
        limits = dict(constraints.items())
        if node.cls is float:
            limits = _narrowed(constraints, -_MOST, _MOST)
        elif node.cls is datetime.datetime and self.side == "out" and not self.allows_naive:
            limits.setdefault("tz", True)
        elif self.side == "in" and is_collected(node):
            limits = {}  # they are constraints of the collection, which does not exist yet
        tp = self.visit(node)
        return Annotated[tp, Meta(**limits)] if limits else tp

    def visit_leaf(self, node: Node) -> Any:
        """Return the scalar itself."""
        return typing.Literal[literal_values(node)] if node.cls is typing.Literal else node.cls

    def visit_dict(self, node: Node) -> Any:
        """Return a dict of what its keys and values are read as."""
        return dict[self.key(node.items[0]), self.of(node.items[1])]

    def visit_union(self, node: Node) -> Any:
        """Return a union that msgspec reads as servey does."""
        return typing.Union[tuple(self.of(item) for item in node.items)]  # noqa: UP007 - of a computed tuple

    def visit_list(self, node: Node) -> Any:
        """Return the type of the collection; a list type if the user's collection is made from a list later."""
        item = self.of(node.items[0])
        if node.cls is tuple and self.side == "in":
            return tuple[item, ...]
        is_set = node.cls in (set, frozenset) and not is_built(node if self.side == "in" else node.items[0])
        cls: Any = node.cls if is_set else list
        return cls[item]

    def visit_tuple(self, node: Node) -> Any:
        """Return a tuple of what stands in its places."""
        return self._namedtuple(node) if node.flavor else tuple[tuple(self.of(item) for item in node.items)]

    def visit_object(self, node: Node) -> Any:
        """Return the Struct of a class."""
        if node.identity in self.structs:
            return self.structs[node.identity]
        names: list[Any] = []
        for field in node.fields:
            names.append((field.name, Any) if field.required else (field.name, Any, self._default(field)))
        struct = msgspec.defstruct(
            node.cls.__name__,
            names,
            rename={field.name: field.wire for field in node.fields},
            tag=node.tag[1] if node.tag else None,
            tag_field=node.tag[0] if node.tag else None,
            # otherwise an optional member that a row has under its attribute's name would be ignored
            forbid_unknown_fields=self.side == "in" or any(f.name != f.wire and not f.required for f in node.fields),
            kw_only=True,
            gc=False,
        )
        self.structs[node.identity] = struct
        # msgspec reads the annotations at first use, so that a class may contain itself
        for field in node.fields:
            tp = self.of(field.node)
            is_left_out = not field.required and self._default(field) is UNSET
            struct.__annotations__[field.name] = tp | UnsetType if is_left_out else tp
        return struct

    def _default(self, field: Field) -> Any:
        """Return the default in the struct; `UNSET` where only the class can fill it in."""
        if self.side == "out" or field.default is UNSET:
            return UNSET
        if field.default_factory is not None:
            return msgspec.field(default_factory=field.default_factory)
        return UNSET if field.default is MISSING else field.default

    def _namedtuple(self, node: Node) -> Any:
        if node.identity in self.structs:
            return self.structs[node.identity]
        defaults = [field.default for field in node.fields if field.default is not MISSING]
        names = [field.name for field in node.fields]
        struct: Any = namedtuple(  # pyright: ignore[reportUntypedNamedTuple]
            node.cls.__name__, names, defaults=defaults if self.side == "in" else ()
        )
        self.structs[node.identity] = struct
        struct.__annotations__ = {field.name: self.of(field.node) for field in node.fields}
        return struct


def checking(structs: Structs, node: Node) -> Callable[[Any], Any]:
    """Return the function that reads a value of a type and checks its constraints in Python."""
    inner = structs.bare(node)

    def run(value: Any) -> Any:
        if node.cls is datetime.time and type(value) is str:
            value = _LAST_MOMENT.sub(r"\1", value)
        try:
            found: Any = msgspec.convert(value, inner, str_keys=True)
        except msgspec.ValidationError as error:
            raise ValueError(refusal(node, str(error), value)) from None
        if isinstance(found, decimal.Decimal) and not found.is_finite():
            raise ValueError(f"expected a finite decimal, got {shown(value)}")
        try:
            wrong = violated(node.constraints, found)
        except TypeError:  # an aware datetime or time compared with a naive one
            wrong = "expected an offset" if getattr(found, "tzinfo", None) is None else "expected no offset"
        if wrong:
            raise ValueError(f"{wrong}, got {shown(value)}")
        return found

    return run


def refusal(node: Node, message: str, value: Any) -> str:
    """Return the reason for refusing a scalar."""
    values = wire_values(node)
    if node.cls is float and isinstance(value, (float, decimal.Decimal)) and not math.isfinite(float(value)):
        return f"expected a finite number, got {shown(value)}"
    if not values:
        return reworded(message, value)
    listed = ", ".join(shown(item) for item in values[:20]) + (", ..." if len(values) > 20 else "")
    return (
        f"expected one of {listed}, got {shown(value)}" if len(values) > 1 else f"expected {listed}, got {shown(value)}"
    )
