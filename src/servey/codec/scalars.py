"""Scalars that are custom types: msgspec does not know them, or treats them differently from servey."""

from __future__ import annotations

import enum
import typing
from collections.abc import Callable, Iterable
from typing import Any

from servey.codec.engine import CustomType, SchemaMode
from servey.codec.node import Node
from servey.codec.problems import shown

# by name, for importing the modules takes longer than all of this package
_PATHS = frozenset({"PurePath", "PurePosixPath", "Path"})
_ADDRESSES = {
    "IPv4Address": "ipv4",
    "IPv6Address": "ipv6",
    "IPv4Network": "",
    "IPv6Network": "",
    "IPv4Interface": "",
    "IPv6Interface": "",
}


def custom_scalar(cls: type) -> CustomType | None:
    """Return the custom type of a scalar class with a string form; None for other classes."""
    package, name = cls.__module__.partition(".")[0], cls.__qualname__
    if package == "pathlib" and name in _PATHS:
        return _string(cls, "path", "")
    if package == "ipaddress" and name in _ADDRESSES:
        return _string(cls, name, _ADDRESSES[name])
    return None


def is_enum(cls: Any) -> bool:
    """Whether a node's class is an Enum."""
    return isinstance(cls, type) and issubclass(cls, enum.Enum)


def is_flag(cls: Any) -> bool:
    """Whether a node's class is a Flag, whose values may be added."""
    return isinstance(cls, type) and issubclass(cls, enum.Flag)


def literal_values(node: Node) -> tuple[Any, ...]:
    """Return the values of a `Literal` node, whatever aliases and annotations are around it."""
    tp = node.type
    while typing.get_origin(tp) is not typing.Literal:
        args = typing.get_args(tp)
        tp = args[0] if args else getattr(tp, "__value__", None) or tp.__supertype__
    return typing.get_args(tp)


def wire_values(node: Node) -> list[Any]:
    """Return the JSON values that an Enum or a `Literal` has; none for any other type."""
    values: Any = literal_values(node) if node.cls is typing.Literal else node.cls if is_enum(node.cls) else ()
    return wires_of(values)


def wires_of(values: Iterable[Any]) -> list[Any]:
    """Return the JSON values of the members of an Enum, or of the arguments of a `Literal`."""
    return [value.value if isinstance(value, enum.Enum) else value for value in values]


def json_kinds(node: Node) -> frozenset[str]:
    """Return the kinds of JSON values of a node; none if only its engine knows them.

    They are those of JSON Schema, with `int` apart from `number`.
    """
    if node.kind in ("list", "tuple"):
        return frozenset({"array"})
    if node.kind in ("object", "dict"):
        return frozenset({"object"})
    values = [] if is_flag(node.cls) else wire_values(node)
    if not values and node.kind != "leaf":
        return frozenset()
    classes: set[Any] = {type(value) for value in values} or {node.cls}
    return frozenset(_KINDS.get(cls, "string") for cls in classes)


_KINDS: dict[Any, str] = {int: "int", float: "number", bool: "boolean", type(None): "null"}
"""The kinds of scalars; those of all others are strings."""


def choice(tp: Any, values: tuple[Any, ...]) -> CustomType:
    """Return the custom type of an enum of mixed values, or of a Literal with a bool or an Enum member."""
    wires = wires_of(values)
    # 1 == True in Python, and not in JSON
    table: dict[tuple[type, Any], Any] = {(type(wire), wire): value for wire, value in zip(wires, values, strict=True)}
    flags = tp if is_flag(tp) else None
    bits = sum({wire for wire in wires if wire.bit_count() == 1}) if flags is not None else 0
    expected = "expected one of " + ", ".join(shown(wire) for wire in wires[:20])

    def decode(wire: Any) -> Any:
        if type(wire) is float and wire.is_integer() and (float, wire) not in table:
            wire = int(wire)  # see `servey.codec.numbers`
        if flags is not None and type(wire) is int:
            if wire & ~bits or wire < 0:
                raise ValueError(f"expected flags of {bits}, got {shown(wire)}")
            return flags(wire)
        try:
            return table[type(wire), wire]
        except (KeyError, TypeError):
            if type(wire) is int and (float, wire) in table:
                return table[float, float(wire)]
            raise ValueError(f"{expected}, got {shown(wire)}") from None

    def encode(value: Any) -> Any:
        if flags is not None and isinstance(value, flags):
            return value.value
        for known, wire in zip(values, wires, strict=True):
            if value is known or (type(value) is type(known) and value == known):
                return wire
        raise ValueError(f"{expected}, got {shown(value)}")

    def schema(_mode: SchemaMode) -> dict[str, Any]:
        return {"type": "integer", "minimum": 0, "maximum": bits} if flags is not None else {"enum": wires}

    return CustomType(decode, encode, schema, text=True)


def _string(cls: Callable[[str], Any], name: str, text_format: str) -> CustomType:
    kind: Any = cls

    def decode(wire: Any) -> Any:
        if type(wire) is not str or "\0" in wire:
            raise ValueError(f"expected {name}, got {shown(wire)}")
        try:
            return cls(wire)
        except ValueError:
            raise ValueError(f"expected {name}, got {shown(wire)}") from None

    def encode(value: Any) -> Any:
        if not isinstance(value, kind):
            raise ValueError(f"expected {name}, got {shown(value)}")
        return str(value)

    def schema(_mode: SchemaMode) -> dict[str, Any]:
        return {"type": "string", "format": text_format} if text_format else {"type": "string"}

    return CustomType(decode, encode, schema, text=True)
