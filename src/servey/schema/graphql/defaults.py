"""Convert defaults to GraphQL's values, for the schema and for examples.

GraphQL cannot write every default of Python code: the keys of an object must be names, and a value must have its
declared type. If it cannot write a default, the schema shows none, and the argument is optional.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

from servey.codec import Codec
from servey.codec.writer import is_text
from servey.errors import CallError
from servey.schema.graphql.model import CODED, JSON, NOTHING, EnumType, InputType, Ref, Scalar

INT_LIMIT = 2**31
"""An Int is at least ``-INT_LIMIT`` and less than ``INT_LIMIT``."""

_NAME = re.compile(r"[_A-Za-z][_0-9A-Za-z]*\Z")
_DEEPEST = 50
"""The maximum nesting of a default: readers of schemas have limits, too."""


def default_of(ref: Ref, wire: Any) -> Any:
    """Return a default in GraphQL's form, as JSON: enum values and members have their names in GraphQL.

    Args:
        ref: The type in GraphQL.
        wire: The default as JSON in the form of REST.

    Raises:
        ValueError: A GraphQL document cannot contain it, or it does not match the type.
    """
    return _Naming(in_document=True).of(ref, wire)


def variable_of(ref: Ref, wire: Any) -> Any:
    """Return the value of a variable, as `default_of` does; keys of objects need not be names.

    Raises:
        ValueError: It does not match the type.
    """
    return _Naming(in_document=False).of(ref, wire)


class _Naming:
    def __init__(self, *, in_document: bool) -> None:
        self._in_document = in_document

    def of(self, ref: Ref, wire: Any, depth: int = 0) -> Any:
        if depth > _DEEPEST:
            raise ValueError("nested too deeply")
        if wire is None:
            if not ref.nullable:
                raise ValueError("null is no value of the type")
            return None
        if isinstance(ref.to, Ref):
            if not isinstance(wire, list):
                raise ValueError("no list")
            return [self.of(ref.to, item, depth + 1) for item in cast("list[Any]", wire)]
        if isinstance(ref.to, EnumType):
            return _name_of(ref.to, wire)
        if isinstance(ref.to, InputType):
            return self._members(ref.to, wire, depth)
        assert isinstance(ref.to, Scalar)
        if ref.to == JSON:
            _check_json(wire, 0, names=self._in_document)
        else:
            _check_scalar(ref.to.name, wire)
        return wire

    def _members(self, named: InputType, wire: Any, depth: int) -> dict[str, Any]:
        if named.one_of or named.positions or not isinstance(wire, dict):
            raise ValueError("cannot be written")
        members = dict(cast("dict[str, Any]", wire))
        if named.tag is not None:
            members.pop(named.tag[0], None)
        found: dict[str, Any] = {}
        for field in named.fields:
            if field.wire in members:
                found[field.name] = self.of(field.ref, members.pop(field.wire), depth + 1)
            elif field.default is NOTHING and not field.ref.nullable:
                raise ValueError(f"{field.name} is missing")
        if members:
            raise ValueError("has members that the type does not have")
        return found


def _name_of(named: EnumType, wire: Any) -> str:
    for value in named.values:
        if value.wire == wire and type(value.wire) is type(wire):
            return value.name
    raise ValueError("no value of the enum")


def _check_scalar(name: str, wire: Any) -> None:
    check = _CHECKS.get(name)
    if check is not None:
        check(wire)
        return
    try:
        _codec(name).decode(wire)
    except CallError as error:
        raise ValueError(str(error)) from None


@functools.cache
def _codec(name: str) -> Codec[Any]:
    return Codec(CODED[name][0], label=name)


def _string(wire: Any) -> None:
    if type(wire) is not str or not is_text(wire):
        raise ValueError("no String")


def _boolean(wire: Any) -> None:
    if type(wire) is not bool:
        raise ValueError("no Boolean")


def _int(wire: Any) -> None:
    if type(wire) is not int or not -INT_LIMIT <= wire < INT_LIMIT:
        raise ValueError("no Int")


def _big_int(wire: Any) -> None:
    if type(wire) is not int:
        raise ValueError("no BigInt")
    str(wire)  # raises ValueError for more than 4,300 digits


def _float(wire: Any) -> None:
    if type(wire) not in (int, float) or not math.isfinite(wire):
        raise ValueError("no Float")


def _void(_wire: Any) -> None:
    raise ValueError("Void is null")


def _check_json(wire: Any, depth: int, *, names: bool) -> None:
    """Check that a JSON value can be written; with `names`, the keys of its objects must be GraphQL names."""
    if depth > _DEEPEST:
        raise ValueError("nested too deeply")
    if isinstance(wire, dict):
        for key, item in cast("dict[str, Any]", wire).items():
            if names and not _NAME.match(key):
                raise ValueError(f"{key!r} is no name")
            _string(key)
            _check_json(item, depth + 1, names=names)
    elif isinstance(wire, list):
        for item in cast("list[Any]", wire):
            _check_json(item, depth + 1, names=names)
    elif type(wire) is str:
        _string(wire)
    elif type(wire) is int:
        _big_int(wire)
    elif wire is not None and type(wire) is not bool:
        _float(wire)


_CHECKS: Mapping[str, Callable[[Any], None]] = {
    "String": _string,
    "Boolean": _boolean,
    "Int": _int,
    "BigInt": _big_int,
    "Float": _float,
    "Void": _void,
}
