"""Unions whose members must be tried, because msgspec refuses them or would read them in another order."""

from __future__ import annotations

import decimal
import functools
import itertools
import threading
import typing
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from servey.codec.engine import CustomType
from servey.codec.node import Node
from servey.codec.problems import CustomTypeError
from servey.codec.scalars import json_kinds, wire_values

if TYPE_CHECKING:
    from servey.codec.type_adapter import Compiler, TypeAdapter


class Chosen(dict[str, Any]):
    """A JSON object for a known member of a union, in a transport whose callers name the member."""

    member: Node

    @classmethod
    def of(cls, member: Node, members: Any) -> Chosen:
        """Return `members`, the members of an object, as an object of `member`."""
        chosen = cls(members)
        chosen.member = member
        return chosen


class Union:
    """Reads and writes a union whose members must be tried.

    It reads a value as the first member that accepts it, in declared order, with str last, because str accepts every
    date. It writes a value as the member of its class.
    """

    def __init__(self, compiler: Compiler, node: Node) -> None:
        self.compiler = compiler
        self.node = node
        self.custom_type = CustomType(self.decode, self.encode, lambda _mode: {}, takes_decimals=True)
        self._members = ordered(node)
        self._flat = flat(node)
        self._untagged = [member for member in self._members if member.tag is None]
        self._names = {id(member): member_names(member) for member in self._members if member.kind == "object"}

    @functools.cached_property
    def _scalars(self) -> dict[Any, list[TypeAdapter | None]]:
        """The adapters for each JSON scalar, made at their first use."""
        return {cls: self._ways(cls) for cls in _SCALARS}

    def members(self, builtins: Any) -> Sequence[Node]:
        """Return the candidates for a value: the member with its tag, or all."""
        if type(builtins) is Chosen:
            return [m for m in self._members if m.identity == builtins.member.identity]
        if isinstance(builtins, dict):
            row = typing.cast("dict[Any, Any]", builtins)
            return [m for m in self._members if m.is_tagged_in(row)] or self._untagged
        return self._members

    def outgoing(self, value: Any) -> list[Node]:
        """Return the members in the order in which they may write `value`.

        Its own class is first; for a dict, the classes that have just its keys.
        """
        kind: Any = value.__class__
        is_dict = isinstance(value, dict)

        def rank(member: Node) -> int:
            cls = member.cls
            if kind is cls:
                return 0
            if is_dict and self._fits(member, value):
                return 1
            if not isinstance(cls, type) or cls is object:
                return 3
            try:
                return 2 if isinstance(value, cls) else 4
            except TypeError:  # a TypedDict
                return 2 if is_dict else 4

        return sorted(self._flat, key=rank)

    def _fits(self, member: Node, row: Any) -> bool:
        """Whether a dict has the keys of a class, and its tag if the class has one."""
        if member.kind != "object" or not self._has_names_of(member, row):
            return False
        return member.tag is None or member.is_tagged_in(row)

    def _has_names_of(self, member: Node, row: Any) -> bool:
        known, required = self._names[id(member)]
        return required <= row.keys() <= known

    def decode(self, builtins: Any) -> Any:
        """Return the value that the first fitting member makes of parsed JSON; raise a `ValueError` if none fits."""
        ways = self._scalars.get(type(builtins))
        if ways is not None:
            found = _first(ways, builtins)
        else:
            with _TRIALS as tried:
                # each part is tried once per union: otherwise a deep value takes 2 ** depth trials
                key = (id(builtins), id(self))
                if key not in tried:
                    tried[key] = (builtins, self._trial(builtins))
                found = tried[key][1]
        if found is _REFUSED:
            raise ValueError("no member of the union accepts this")
        return found

    def _trial(self, builtins: Any) -> Any:
        members = self.members(builtins)
        if isinstance(builtins, dict):  # the names of an object's members decide most trials
            members = [member for member in members if member.kind != "object" or self._has_names_of(member, builtins)]
        return _first(map(self.compiler.adapter, members), builtins)

    def _ways(self, cls: type) -> list[TypeAdapter | None]:
        """Return the adapters that may read a scalar of a JSON type, in order; None means: take the value unchanged."""
        found: list[TypeAdapter | None] = []
        for member in self._members:
            if member.kind not in ("list", "tuple", "dict", "object") and cls in _taken(member):
                if member.cls is cls and not member.constraints and cls is not float and cls is not decimal.Decimal:
                    return [*found, None]
                found.append(self.compiler.adapter(member))
        return found

    def encode(self, value: Any) -> Any:
        """Return the parsed JSON that the value's own member writes; raise a `ValueError` if there is none."""
        return self._written(self.outgoing(value), value)[1]

    def member_of(self, value: Any) -> Node:
        """Return the member that a value is written by: its own class, or else, for a row, the first that can do it."""
        members = self.outgoing(value)
        first = members[0]
        if first.cls is type(value) or first.kind not in ("object", "custom"):
            return first
        if first.flavor != "typeddict" and isinstance(value, first.cls):
            return first
        try:
            return self._written(members, value)[0]
        except ValueError:
            return first

    def _written(self, members: list[Node], value: Any) -> tuple[Node, Any]:
        """Return the first member that writes a value, and its JSON."""
        for member in members:
            try:
                return member, self.compiler.adapter(member).to_builtins(value)
            except (msgspec.ValidationError, CustomTypeError, TypeError):
                continue
        raise ValueError("no member of the union accepts this")


def _first(adapters: Iterable[TypeAdapter | None], builtins: Any) -> Any:
    for adapter in adapters:
        if adapter is None:
            return builtins
        try:
            return adapter.attempt(builtins)
        except (msgspec.ValidationError, CustomTypeError):
            continue
    return _REFUSED


class _Trials(threading.local):
    """The trials of one decoding, by (value, union)."""

    def __init__(self) -> None:
        self.depth = 0
        self.tried: dict[tuple[int, int], tuple[Any, Any]] = {}

    def __enter__(self) -> dict[tuple[int, int], tuple[Any, Any]]:
        self.depth += 1
        return self.tried

    def __exit__(self, *_: object) -> None:
        self.depth -= 1
        if not self.depth:
            self.tried = {}


_TRIALS = _Trials()
_REFUSED = object()
_NUMBERS: frozenset[Any] = frozenset({int, float, decimal.Decimal})
_SCALARS: frozenset[Any] = _NUMBERS | {str, bool, type(None)}
_TAKEN: dict[Any, frozenset[Any]] = {
    int: frozenset({int}),
    float: _NUMBERS,
    decimal.Decimal: _NUMBERS | {str},
    bool: frozenset({bool}),
    type(None): frozenset({type(None)}),
}


def _taken(member: Node) -> frozenset[Any]:
    """Return the types of parsed JSON that a scalar member may be read from."""
    if member.kind != "leaf":
        return _SCALARS
    values = wire_values(member)
    return frozenset(map(type, values)) if values else _TAKEN.get(member.cls, frozenset({str}))


def member_names(node: Node) -> tuple[set[str], set[str]]:
    """Return the names that an object of a class may have in JSON, and those of its required members."""
    tag = [] if node.tag is None else [node.tag[0]]
    return {*tag, *(field.wire for field in node.fields)}, {field.wire for field in node.fields if field.required}


def ordered(node: Node) -> list[Node]:
    """Return a union's members in the order in which they are tried: as declared, str last."""
    return sorted(flat(node), key=lambda member: member.cls is str)


def flat(node: Node) -> list[Node]:
    """Return the members of a union, those of unions inside of it in their places."""
    return [leaf for item in node.items for leaf in (flat(item) if item.kind == "union" else [item])]


def is_ambiguous(root: Node) -> bool:
    """Return whether servey may read another value from the JSON of a value: a ``Dog`` as a ``Cat`` with its members.

    It compares types only, with caution: of two classes, the names of members and the tags.

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
    kinds = json_kinds(first), json_kinds(second)
    return not all(kinds) or bool(kinds[0] & kinds[1])


def _classes_look_alike(first: Node, second: Node) -> bool:
    if first.tag is not None and second.tag is not None and first.tag[0] == second.tag[0]:
        return first.tag[1] == second.tag[1]
    (known, required), (others, other_required) = member_names(first), member_names(second)
    if any(node.tag is not None and node.tag[0] not in known & others for node in (first, second)):
        return False
    return required <= others and other_required <= known  # JSON may omit members with defaults
