"""The two ways of one node: from JSON values to the user's objects, and back.

A `Compiler` belongs to one codec. It makes a `Plan` for the root, and for every member of a union that has to be
tried, when first needed.
"""

from __future__ import annotations

import decimal
import functools
import threading
import typing
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from servey.codec.engine import ForeignType
from servey.codec.failure import IslandError
from servey.codec.node import Node
from servey.codec.shadow import Shadows, hook, is_built, is_plain, keep, reachable, whole_minutes
from servey.codec.wire import to_wire

Build = Callable[[Any], Any]


class Plan:
    """How values of one node are read and written.

    Args:
        compiler: The codec's compiler.
        node: What is read and written.
    """

    def __init__(self, compiler: Compiler, node: Node) -> None:
        self.compiler = compiler
        self.node = node
        self.built = is_built(node)
        self.plain = is_plain(node) and self.built and _convertible(node.type)
        self._shadows = compiler.plain_shadows if self.plain else compiler.shadows

    @functools.cached_property
    def shadow(self) -> Any:
        """The type that is decoded."""
        return self._shadows.of(self.node)

    @functools.cached_property
    def build(self) -> Build:
        """Makes the user's objects from a decoded shadow; raises `ValidationError` or `IslandError`."""
        if not self.built:
            return _same
        if not self.plain:
            return self._build_in_python
        target = self.node.type
        convert = msgspec.convert
        if self.node.kind == "object":

            def build(value: Any) -> Any:
                try:
                    return convert(value, target, from_attributes=True, dec_hook=keep)
                except msgspec.DecodeError:
                    # either a check of the user's own, or a default that is not of its field's type: Python decides
                    return self._build_in_python(value)

            return build
        box = box_of(target)

        def build_boxed(value: Any) -> Any:
            try:
                return convert((value,), box, from_attributes=True, dec_hook=keep).v
            except msgspec.DecodeError:
                return self._build_in_python(value)

        return build_boxed

    @functools.cached_property
    def _build_in_python(self) -> Build:
        from servey.codec.builder import Builder  # for values that msgspec cannot build or refuses to

        return Builder(self._shadows).of(self.node) or _same

    @functools.cached_property
    def _shadow_box(self) -> Any:
        return box_of(self.shadow)

    def attempt(self, builtins: Any) -> Any:
        """Return the value of parsed JSON; raises `ValidationError` or `IslandError` for the first problem found."""
        shadow = msgspec.convert((builtins,), self._shadow_box, str_keys=True, dec_hook=hook).v
        return self.build(shadow) if self.built else shadow

    @functools.cached_property
    def mirror(self) -> Any:
        """The type, boxed in a Struct with the member `v`, that projects and validates what leaves."""
        return box_of(self.compiler.mirrors.of(self.node), whole_minutes([("v", self.node)]))

    def reflect(self, value: Any) -> Any:
        """Return the mirror of `value`; raises `ValidationError` when it is not of the declared type."""
        return msgspec.convert((value,), self.mirror, from_attributes=True, dec_hook=hook).v

    def to_builtins(self, value: Any) -> Any:
        """Return the JSON values of `value`; raises `ValidationError` when it is not of the declared type."""
        builtins = msgspec.to_builtins(self.reflect(value), str_keys=True)
        return _listed(builtins) if self._tuples else builtins

    @functools.cached_property
    def _tuples(self) -> bool:
        return any(node.kind == "tuple" for node in reachable(self.node))


class Chosen(dict[str, Any]):
    """A JSON object that says which member of a union it is meant for, where a transport lets its callers say that."""

    member: Node

    @classmethod
    def of(cls, member: Node, members: Any) -> Chosen:
        """Return `members`, the members of an object, as meant for `member`."""
        chosen = cls(members)
        chosen.member = member
        return chosen


class Compiler:
    """Makes the plans of one codec, sharing the generated classes."""

    def __init__(self) -> None:
        self.shadows = Shadows("in", False, lambda node: self.foreign(node).decode)
        self.plain_shadows = Shadows("in", True, lambda node: self.foreign(node).decode)
        self.mirrors = Shadows("out", False, lambda node: self.foreign(node).encode)
        self._plans: dict[int, Plan] = {}
        self._unions: dict[int, ForeignType] = {}
        self._key_boxes: dict[int, Any] = {}

    def plan(self, node: Node) -> Plan:
        """Return the plan of a node."""
        if id(node) not in self._plans:
            self._plans[id(node)] = Plan(self, node)
        return self._plans[id(node)]

    def foreign(self, node: Node) -> ForeignType:
        """Return how a node that msgspec does not know travels."""
        if node.foreign is not None:
            return node.foreign
        if node.kind == "any":
            return ANYTHING
        if id(node) not in self._unions:
            self._unions[id(node)] = self._union(node)
        return self._unions[id(node)]

    def _union(self, node: Node) -> ForeignType:
        """Return how a union travels whose members have to be tried.

        In, the first that accepts wins, in declared order (unknown fields are refused, so that it is sharp), str
        last: it would take every date. Out, the member whose class the value is an instance of.
        """

        def decode(builtins: Any) -> Any:
            with _TRIALS as tried:
                # a part is tried once per union, however many ways lead to it: else a deep value takes 2 ** depth
                key = (id(builtins), id(node))
                if key not in tried:
                    tried[key] = (builtins, self._trial(node, builtins))
                found = tried[key][1]
            if found is _REFUSED:
                raise ValueError("no member of the union accepts this")
            return found

        def encode(value: Any) -> Any:
            for member in outgoing(node, value):
                try:
                    return self.plan(member).to_builtins(value)
                except (msgspec.ValidationError, IslandError, TypeError):
                    continue
            raise ValueError("no member of the union accepts this")

        return ForeignType(decode, encode, lambda _mode: {})

    def _trial(self, node: Node, builtins: Any) -> Any:
        for member in self.candidates(node, builtins):
            try:
                found = self.plan(member).attempt(builtins)
                if _has_decimals(member):
                    from servey.codec.refusal import check_decimals  # which knows plans

                    check_decimals(self, member, builtins)
            except (msgspec.ValidationError, IslandError):
                continue
            return found
        return _REFUSED

    def members(self, node: Node, builtins: Any) -> Sequence[Node]:
        """Return the members of a union that a value may be meant for: the one with its tag, or all."""
        members = ordered(node)
        if type(builtins) is Chosen:
            return [m for m in members if m.identity == builtins.member.identity]
        if isinstance(builtins, dict):
            value = typing.cast("dict[Any, Any]", builtins)
            tagged = [m for m in members if m.tag is not None and value.get(m.tag[0]) == m.tag[1]]
            return tagged or [m for m in members if m.tag is None]
        return members

    def candidates(self, node: Node, builtins: Any) -> Sequence[Node]:
        """Return the members of a union that may read the value, in the order in which they are tried."""
        members = self.members(node, builtins)
        if isinstance(builtins, dict):
            # by its names alone most of an object's trials are decided
            return [m for m in members if m.kind != "object" or _names_fit(m, builtins)]
        return members

    def key_box(self, keys: Node) -> Any:
        """Return the box of a dict with such keys, for judging one key."""
        if id(keys) not in self._key_boxes:
            self._key_boxes[id(keys)] = box_of(dict[self.shadows.key(keys), Any])
        return self._key_boxes[id(keys)]


class _Trials(threading.local):
    """What has been tried during one decoding, by (value, union)."""

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


def _has_decimals(member: Node) -> bool:
    """Whether a union's member is a Decimal or holds some: what msgspec takes for one may be meant for the next."""
    if member.kind in ("list", "tuple", "dict") and not member.flavor:
        return any(map(_has_decimals, member.items))
    return member.kind == "leaf" and member.cls is decimal.Decimal


def _names_fit(member: Node, builtins: Any) -> bool:
    wires = {field.wire for field in member.fields}
    if member.tag is not None:
        wires.add(member.tag[0])
    return builtins.keys() <= wires and all(field.wire in builtins for field in member.fields if field.required)


ANYTHING = ForeignType(lambda value: value, to_wire, lambda _mode: {})


def ordered(node: Node) -> list[Node]:
    """Return a union's members in the order in which they are tried: as declared, str last."""
    return sorted(flat(node), key=lambda member: member.cls is str)


def outgoing(node: Node, value: Any) -> list[Node]:
    """Return a union's members in the order in which they may write `value`: its own class first."""

    def rank(member: Node) -> int:
        cls = member.cls
        if not isinstance(cls, type) or cls is object:
            return 2
        if type(value) is cls:
            return 0
        try:
            return 1 if isinstance(value, cls) else 3
        except TypeError:  # a TypedDict
            return 1 if isinstance(value, dict) else 3

    return sorted(flat(node), key=rank)


class Members:
    """Finds of which member of a union a value is written.

    Args:
        node: The union.
    """

    def __init__(self, node: Node) -> None:
        self._node = node

    def of(self, value: Any) -> Node:
        """Return the member: that of the value's class, or else, for a row or a dict, the first that it fits."""
        members = outgoing(self._node, value)
        first = members[0]
        if first.cls is type(value) or not (first.kind == "object" and first.flavor != "typeddict"):
            return first
        if isinstance(value, first.cls):
            return first
        for member in members:
            try:
                self._compiler.plan(member).to_builtins(value)
            except (msgspec.ValidationError, IslandError, TypeError):
                continue
            return member
        return first

    @functools.cached_property
    def _compiler(self) -> Compiler:
        return Compiler()


def flat(node: Node) -> list[Node]:
    """Return the members of a union, those of unions inside of it in their places."""
    return [leaf for item in node.items for leaf in (flat(item) if item.kind == "union" else [item])]


def _listed(builtins: Any) -> Any:
    """Return JSON values with lists for the tuples that msgspec leaves."""
    if isinstance(builtins, dict):
        return {key: _listed(value) for key, value in typing.cast("dict[str, Any]", builtins).items()}
    if isinstance(builtins, (list, tuple)):
        return [_listed(item) for item in typing.cast("list[Any]", builtins)]
    return builtins


def _same(value: Any) -> Any:
    return value


def box_of(tp: Any, namespace: dict[str, Any] | None = None) -> Any:
    """Return a Struct around `tp`: msgspec remembers what it made of a Struct, and of nothing else."""
    return msgspec.defstruct("Box", [("v", tp)], array_like=True, gc=False, namespace=namespace)


def _convertible(tp: Any) -> bool:
    """Whether msgspec understands the declared type, whatever its parts."""
    try:
        msgspec.json.Decoder(tp)
    except (TypeError, NameError, AttributeError, NotImplementedError, ValueError, RecursionError):
        return False
    return True
