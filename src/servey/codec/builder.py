"""Build the user's objects from input structs in Python, if msgspec cannot."""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable
from typing import Any

from msgspec import UNSET

from servey.codec.hash_flooding import collection, is_collected
from servey.codec.node import Field, Node, NodeVisitor
from servey.codec.problems import CustomTypeError, below, first_line, step
from servey.codec.structs import Structs, checking, guarded_run, same
from servey.errors import Problem

Build = Callable[[Any], Any]


class Builder(NodeVisitor[Build | None]):
    """Builds the user's objects from input structs in Python, if msgspec cannot.

    A visit returns a function that makes a node's value from its input struct, or None if the value is the struct.
    The function returns any other object, such as a default of the class, unchanged.
    """

    def __init__(self, structs: Structs) -> None:
        self.structs = structs
        self._memo: dict[object, Build] = {}

    def visit_other(self, node: Node) -> None:
        """Build nothing: the input struct is the value."""

    def visit_union(self, node: Node) -> Build | None:
        """Build the value by the member of its input struct."""
        parts = [part for item in node.items if (part := self.visit(item))]
        if not parts:
            return None

        def build(value: Any) -> Any:
            for part in parts:
                if (made := part(value)) is not value:
                    return made
            return value

        return build

    def visit_object(self, node: Node) -> Build:
        """Call the class."""
        return self._memo.get(node.identity) or self._object(node)

    def _object(self, node: Node) -> Build:
        struct = self.structs.bare(node)
        cls = node.cls
        steps: list[tuple[Field, str, str, Build | None]] = []

        def build(value: Any) -> Any:
            if type(value) is not struct:
                return value
            arguments: dict[str, Any] = {}
            for field, argument, wire, part in steps:
                member = getattr(value, field.name)
                if member is UNSET:
                    continue
                if member is field.default:  # of a NamedTuple or an immutable one
                    arguments[argument] = field.default_factory() if field.default_factory else member
                else:
                    arguments[argument] = member if part is None else _at(part, wire, member)
            try:
                return cls(**arguments)
            except (ValueError, TypeError) as error:
                raise CustomTypeError(first_line(error)) from error

        self._memo[node.identity] = build
        for index, field in enumerate(node.fields):
            wire = str(index) if node.flavor == "namedtuple" else field.wire
            steps.append((field, field.argument, wire, self.visit(field.node)))
        return build

    def visit_list(self, node: Node) -> Build | None:
        """Build the members, and make the collection."""
        part = self.visit(node.items[0])
        if part is None and not is_collected(node):
            return None
        make = functools.partial(collection, node) if is_collected(node) else node.cls
        expected = tuple if node.cls is tuple else list

        def build(value: Any) -> Any:
            if type(value) is not expected:
                return value
            items = typing.cast("list[Any]", value)
            return make(items if part is None else [_at(part, index, item) for index, item in enumerate(items)])

        return build

    def visit_dict(self, node: Node) -> Build | None:
        """Build the keys and the values."""
        part = self.visit(node.items[1])
        key = read_key(self.structs, node.items[0]) if is_collected(node) else None
        if part is None and key is None:
            return None

        def build(value: Any) -> Any:
            if type(value) is not dict:
                return value
            members = typing.cast("dict[Any, Any]", value)
            built = [_at(part or same, name, item) for name, item in members.items()]
            if key is None:
                return dict(zip(members, built, strict=True))
            return collection(node, [_at(key, name, name) for name in members], built)

        return build

    def visit_tuple(self, node: Node) -> Build | None:
        """Build each place."""
        if node.flavor == "namedtuple":
            return self.visit_object(node)
        found = [self.visit(item) for item in node.items]
        if not any(found):
            return None
        parts = [part or same for part in found]

        def build(value: Any) -> Any:
            if type(value) is not tuple:
                return value
            items = typing.cast("tuple[Any, ...]", value)
            return tuple(_at(part, index, item) for index, (part, item) in enumerate(zip(parts, items, strict=True)))

        return build


def read_key(structs: Structs, keys: Node) -> Build:
    """Return the function that reads the key of a dict from its text."""
    check = guarded_run(checking(structs, keys))

    def read(name: Any) -> Any:
        if keys.cls is bool:
            name = {"true": True, "false": False}.get(name, name)
        try:
            return check(name)
        except CustomTypeError as error:
            raise CustomTypeError([Problem("", f"key: {error.errors[0].message}")]) from None

    return read


def _at(part: Build, key: object, value: Any) -> Any:
    try:
        return part(value)
    except CustomTypeError as error:
        raise CustomTypeError(below(step("", key), error.errors)) from None
