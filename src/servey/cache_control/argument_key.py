"""The cache key of a call's arguments: equal arguments share a key, different ones never do.

A result under the key of other arguments would be a wrong answer. msgspec encodes most arguments in 0.1 µs, but its
encoding is ambiguous for some types: a UUID looks like its text, so ``str | UUID`` would mix up two calls; a datetime
loses its offset; attributes that are not fields are missing. If msgspec encodes all types of an action without
ambiguity, the key is that encoding; the first call decides this. Otherwise the key contains the type of each object,
and what Python would pickle of it, which is slower.
"""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import struct
import sys
import types
import typing
import uuid
from collections.abc import Callable, Iterable
from typing import Any, cast

import msgspec

from servey.codec import MISSING, ArgumentsCodec, Field, Node
from servey.codec.scalars import is_enum

_FAMILIES: dict[Any, str] = {
    type(None): "nil",
    bool: "bool",
    int: "int",
    float: "float",
    bytes: "bin",
    str: "str",
    uuid.UUID: "str",
    decimal.Decimal: "str",
    datetime.date: "str",
    datetime.timedelta: "str",
}
"""The MessagePack kind of each scalar for which msgspec encodes two values of one type differently."""

_EMPTY = frozenset({list, dict, set, frozenset, tuple})
_SHORT = 128
_DIGEST, _FAITHFUL = b"\xc1d", b"\xc1f"
"""The first bytes of keys that are not MessagePack: MessagePack never uses the byte ``c1``."""


class UnkeyableError(Exception):
    """An argument has no comparable content, like a function or an open file."""


def argument_key(codec: ArgumentsCodec, *, decoded: bool = True) -> Callable[[Any], bytes]:
    """Return the function that makes the key of decoded arguments.

    Left-out defaults and the order of members make no difference to the key. Arguments that a function can tell apart
    have different keys; examples are ``0.0`` and ``-0.0``, or one instant in two time zones.

    Args:
        codec: The codec of the action's arguments.
        decoded: Whether all arguments were decoded. The ``self`` of a nested action may be any object, with attributes
            that its class does not declare.

    Returns:
        A function that raises `UnkeyableError` for arguments without a key.

    Example:
        >>> from servey.codec import Parameter
        >>> codec = ArgumentsCodec([Parameter("name", str), Parameter("times", int, 1)])
        >>> key = argument_key(codec)
        >>> key(codec.decode({"name": "you"})) == key(codec.decode({"times": 1, "name": "you"}))
        True
    """
    names = tuple(codec.parameters)

    def faithful_key(arguments: Any) -> bytes:
        return faithful([getattr(arguments, name) for name in names])

    if not decoded or not is_simple(codec):
        return faithful_key
    encode = msgspec.msgpack.Encoder(order="deterministic").encode

    def simple_key(arguments: Any) -> bytes:
        try:
            encoded = encode(arguments)
        except Exception:  # noqa: BLE001 - an integer over 64 bits, keys that cannot be sorted, …
            return faithful_key(arguments)
        return encoded if len(encoded) <= _SHORT else _DIGEST + _sha256(encoded)

    return simple_key


def is_simple(codec: ArgumentsCodec) -> bool:
    """Return whether msgspec encodes different arguments always differently."""
    seen: set[object] = set()
    return all(
        _family(node, seen) and (parameter.default is MISSING or _conforms(node, parameter.default))
        for parameter, node in codec.parameters.values()
    )


def faithful(value: Any) -> bytes:
    """Return the key of any object, with the name of every type in it.

    Raises:
        UnkeyableError: The object is, or contains, something like a function or an open file.
    """
    parts: list[bytes] = []
    try:
        _write(value, parts)
    except UnkeyableError:
        raise
    except Exception as error:  # a cycle, or any error of the object's own __reduce_ex__
        raise UnkeyableError(f"{type(error).__name__}: {error}") from error
    return _FAITHFUL + _sha256(b"".join(parts))


# --- whether msgspec's encoding is unambiguous ------------------------------------------------------------------------


def _family(node: Node, seen: set[object]) -> str:
    """Return the MessagePack kind of a node's values; empty if two different values could have one encoding."""
    if node.kind == "leaf":
        if node.cls is typing.Literal:
            return "literal"
        if is_enum(node.cls):
            return "" if issubclass(node.cls, enum.Flag) else "enum"
        return _FAMILIES.get(node.cls, "")
    if node.kind == "any":
        return "any"
    if node.kind == "union":
        return _family_of_union(node, seen)
    if node.kind == "list":
        known = node.cls in (list, tuple)
        if node.cls in (set, frozenset):  # sorted by `<`, which does not order sets, nor tuples that contain sets
            known = node.items[0].kind == "leaf"
        return "array" if known and _family(node.items[0], seen) else ""
    if node.kind == "tuple":
        return "array" if node.flavor != "namedtuple" and all(_family(item, seen) for item in node.items) else ""
    if node.kind == "dict":
        key, value = node.items
        return "map" if key.kind == "leaf" and key.cls in (str, int) and _family(value, seen) else ""
    if node.kind == "object" and not node.checked and _holds_its_fields_only(node):
        if node.identity in seen:  # a recursive type; its first occurrence decides
            return "map"
        seen.add(node.identity)
        return "map" if all(_default_is_simple(field) and _family(field.node, seen) for field in node.fields) else ""
    return ""


def _family_of_union(node: Node, seen: set[object]) -> str:
    families = [_family(item, seen) for item in node.members]
    apart = len(set(families)) == len(families) and set(families) <= {*_FAMILIES.values(), "array", "map"}
    return "union" if apart else ""


def _holds_its_fields_only(node: Node) -> bool:
    if node.flavor == "typeddict":
        return True
    bases = [base for base in node.cls.__mro__ if base not in (object, typing.Generic, typing.Protocol)]
    if node.flavor == "dataclass":
        return all("__dataclass_fields__" in vars(base) for base in bases)
    return node.flavor == "struct"


def _default_is_simple(field: Field) -> bool:
    if field.default is not MISSING:
        return _conforms(field.node, field.default)
    return field.default_factory is None or field.default_factory in _EMPTY


def _conforms(node: Node, value: Any) -> bool:
    """Return whether a caller could send the default `value`, which may be any object."""
    if value is None:
        return True
    kind = cast(Any, type(value))
    if node.kind == "union":
        return any(_conforms(item, value) for item in node.members)
    if node.kind == "leaf" and node.cls is not typing.Literal:
        return kind is node.cls
    if node.kind in ("list", "tuple", "dict") and not value:
        return kind is node.cls
    return kind in (bool, int, float, str)  # for any, and for a Literal


# --- the key with the name of every type ------------------------------------------------------------------------------


def _write(value: Any, parts: list[bytes]) -> None:
    kind = cast(Any, type(value))
    if value is None:
        parts.append(b"n")
    elif kind is bool:
        parts.append(b"t" if value else b"f")
    elif kind is int:
        _sized(b"i", value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True), parts)
    elif kind is float:
        parts.append(b"d" + struct.pack(">d", value) if value == value else b"N")
    elif kind is str:
        _sized(b"s", value.encode("utf-8", "surrogatepass"), parts)
    elif kind is bytes:
        _sized(b"b", value, parts)
    elif kind is list or kind is tuple:
        _series(b"l" if kind is list else b"u", value, parts)
    elif kind is dict:
        _mapping(value, parts)
    elif kind is set or kind is frozenset:
        _sorted_series(b"S" if kind is set else b"F", value, parts)
    elif isinstance(value, enum.Enum):
        _named(kind, parts)
        _write((value._name_, value._value_), parts)
    elif isinstance(value, datetime.datetime):
        # with its offset: the pickle of a ZoneInfo does not have it
        _named(kind, parts)
        zone = value.tzinfo
        _write((value.isoformat(), value.fold, repr(zone) if type(zone) is datetime.timezone else zone), parts)
    elif kind is uuid.UUID or kind is decimal.Decimal:
        _named(kind, parts)
        _write(str(value), parts)
    elif isinstance(value, type):
        _named(value, parts)
    elif kind.__module__.partition(".")[0] == "pathlib":  # pickles a//b and a/b differently
        _named(kind, parts)
        _write(str(value), parts)
    else:
        _object(value, kind, parts)


def _object(value: Any, kind: type[Any], parts: list[bytes]) -> None:
    """Write what Python would pickle of an object (the protocol of `object.__reduce_ex__`), and its known fields.

    A class may leave attributes out of its pickle by its own methods. Its declared fields are always written. If such a
    class declares no fields, its objects have no key.
    """
    if isinstance(value, (types.FunctionType, types.MethodType, types.BuiltinFunctionType, types.ModuleType)):
        raise UnkeyableError(f"a {kind.__name__}")
    if hasattr(value, "__pydantic_fields_set__"):
        # without the set of sent fields: an invalidation may name the same values and set other fields
        _named(kind, parts)
        _write((vars(value), value.__pydantic_extra__, value.__pydantic_private__), parts)
        return
    fields = _fields(kind)
    if fields:
        _named(kind, parts)
        _write({name: getattr(value, name, MISSING) for name in fields}, parts)
    elif not _is_pickled_whole(kind):
        raise UnkeyableError(f"a {kind.__name__}, which has its own pickle methods")
    reduced = value.__reduce_ex__(4)
    if not isinstance(reduced, tuple):
        raise UnkeyableError(f"a {kind.__name__}, which is pickled by its name")
    made: tuple[Any, ...] = (*reduced, *(None,) * 6)  # pyright: ignore[reportUnknownVariableType]
    by, arguments, state, members, items = made[:5]
    _named(kind, parts)
    _sized(b"c", f"{getattr(by, '__module__', '')}.{getattr(by, '__qualname__', '')}".encode(), parts)
    _write(arguments, parts)
    _write(state, parts)
    _series(b"m", members or (), parts)
    ordered = isinstance(value, collections.OrderedDict)
    (_series if ordered else _sorted_series)(b"k", items or (), parts)


def _fields(kind: type[Any]) -> list[str]:
    """Return the names of the fields that a dataclass, an attrs class or a `msgspec.Struct` declares."""
    attrs: Iterable[Any] = getattr(kind, "__attrs_attrs__", ())
    declared = [*getattr(kind, "__dataclass_fields__", ()), *getattr(kind, "__struct_fields__", ())]
    return [*declared, *(item.name for item in attrs)]


def _is_pickled_whole(kind: type[Any]) -> bool:
    """Return whether a class has no pickle methods except those of Python or the standard library."""
    if kind.__module__.partition(".")[0] in sys.stdlib_module_names:
        return True
    return all(
        next(base for base in kind.__mro__ if name in vars(base)) is object
        for name in ("__reduce__", "__reduce_ex__", "__getstate__")
    )


def _named(kind: type[Any], parts: list[bytes]) -> None:
    _sized(b"T", f"{kind.__module__}.{kind.__qualname__}".encode(), parts)


def _sized(tag: bytes, content: bytes, parts: list[bytes]) -> None:
    parts.append(b"%b%d:%b" % (tag, len(content), content))


def _series(tag: bytes, values: Iterable[Any], parts: list[bytes]) -> None:
    found = list(values)
    parts.append(b"%b%d:" % (tag, len(found)))
    for value in found:
        _write(value, parts)


def _sorted_series(tag: bytes, values: Iterable[Any], parts: list[bytes]) -> None:
    written: list[bytes] = []
    for value in values:
        inner: list[bytes] = []
        _write(value, inner)
        written.append(b"".join(inner))
    parts.append(b"%b%d:" % (tag, len(written)))
    parts.extend(sorted(written))


def _mapping(value: dict[Any, Any], parts: list[bytes]) -> None:
    _sorted_series(b"D", value.items(), parts)


def _sha256(data: bytes) -> bytes:
    from hashlib import sha256  # two milliseconds of a start that most programs need not wait

    return sha256(data).digest()
