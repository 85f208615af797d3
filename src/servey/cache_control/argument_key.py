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
"""The MessagePack kind of each scalar type for which msgspec always encodes two different values differently."""

_encode = msgspec.msgpack.Encoder(order="deterministic").encode
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

    def simple_key(arguments: Any) -> bytes:
        try:
            encoded = _encode(arguments)
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
    try:
        return _FAITHFUL + _sha256(_encode(_plain(value)))
    except UnkeyableError:
        raise
    except Exception as error:  # a cycle, or any error of the object's own __reduce_ex__
        raise UnkeyableError(f"{type(error).__name__}: {error}") from error


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


def _plain(value: Any) -> Any:
    """Return data for MessagePack: a list with the type and the parts of a value; simple values stay as they are."""
    kind = cast(Any, type(value))
    if value is None or kind in (bool, float, bytes):
        return value
    if kind is int:
        return value if -(2**63) <= value < 2**63 else ["int", hex(value)]
    if kind is str:
        return value if value.isascii() else ["str", value.encode("utf-8", "surrogatepass")]
    if kind in (list, tuple):
        return [kind.__name__, *map(_plain, value)]
    if kind in (set, frozenset, dict):
        items = value.items() if kind is dict else value
        return [kind.__name__, *sorted(_encode(_plain(item)) for item in items)]
    if isinstance(value, type):
        return ["type", _name(value)]
    return [_name(kind), *map(_plain, _parts(value, kind))]


def _parts(value: Any, kind: type[Any]) -> tuple[Any, ...]:
    """Return the content of an object.

    It is the content of a pickle (the protocol of `object.__reduce_ex__`), and the declared fields: methods of a class
    may leave some of them out of a pickle.

    Raises:
        UnkeyableError: The object is something like a function; or its class defines the pickle, and declares no
            fields.
    """
    if isinstance(value, enum.Enum):
        return value._name_, value._value_
    if isinstance(value, datetime.datetime):  # with its offset, which is not in the pickle of a ZoneInfo
        zone = value.tzinfo
        return value.isoformat(), value.fold, repr(zone) if type(zone) is datetime.timezone else zone
    if kind in (uuid.UUID, decimal.Decimal) or kind.__module__.partition(".")[0] == "pathlib":
        return (str(value),)
    if isinstance(value, (types.FunctionType, types.MethodType, types.BuiltinFunctionType, types.ModuleType)):
        raise UnkeyableError(f"a {kind.__name__}")
    if hasattr(value, "__pydantic_fields_set__"):  # but not that set: an invalidation may set other fields
        return vars(value), value.__pydantic_extra__, value.__pydantic_private__  # pyright: ignore[reportUnknownVariableType]
    fields = _fields(kind)
    if not fields and not _is_pickled_whole(kind):
        raise UnkeyableError(f"a {kind.__name__}, which defines its own pickle")
    reduced = value.__reduce_ex__(4)
    if not isinstance(reduced, tuple):
        raise UnkeyableError(f"a {kind.__name__}, which is pickled by its name")
    padded: tuple[Any, ...] = (*reduced, *(None,) * 4)  # pyright: ignore[reportUnknownVariableType]
    made_by, arguments, state, members, items = padded[:5]
    if items is not None:
        items = list(items) if issubclass(kind, collections.OrderedDict) else dict(items)
    declared = {name: getattr(value, name, MISSING) for name in fields}
    return declared, _name(made_by), arguments, state, list(members or ()), items


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


def _name(item: Any) -> str:
    return f"{getattr(item, '__module__', '')}.{getattr(item, '__qualname__', '')}"


def _sha256(data: bytes) -> bytes:
    from hashlib import sha256  # two milliseconds of a start that most programs need not wait

    return sha256(data).digest()
