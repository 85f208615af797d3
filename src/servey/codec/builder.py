"""Build the user's objects from input structs in Python, where msgspec cannot or refuses to."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any

from msgspec import UNSET

from servey.codec.constraints import violated
from servey.codec.hash_flooding import check_hashes, is_guarded_dict, is_guarded_set
from servey.codec.node import MISSING, Field, Node, NodeVisitor
from servey.codec.pointer import below, step
from servey.codec.problems import CustomTypeError, first_line
from servey.codec.structs import Structs, checking, guarded_run, is_built
from servey.errors import Problem

Build = Callable[[Any], Any]


class Builder(NodeVisitor[Build | None]):
    """Builds the user's objects from input structs in Python, where msgspec cannot.

    A visit returns a function that makes a node's value of its input struct, or None where they are the same. The
    function returns any other object, such as a default of the class, unchanged.

    Args:
        input structs: What made the input structs.
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
                if member is UNSET or member is field.default:
                    # the class fills it in, unless each object needs a copy
                    if field.default is not MISSING and field.default_factory is not None:
                        arguments[argument] = field.default_factory()
                    continue
                arguments[argument] = member if part is None else _at(part, wire, member)
            try:
                return cls(**arguments)
            except (ValueError, TypeError) as error:
                raise CustomTypeError(first_line(error)) from error

        self._memo[node.identity] = build
        for index, field in enumerate(node.fields):
            wire = str(index) if node.flavor == "namedtuple" else field.wire
            steps.append((field, argument_of(node, field.name), wire, self.visit(field.node)))
        return build

    def visit_list(self, node: Node) -> Build | None:
        """Build the members, and make the collection."""
        if not is_built(node):
            return None
        part = self.visit(node.items[0]) or _same
        made: Any = node.cls
        expected = tuple if node.cls is tuple else list

        def build(value: Any) -> Any:
            if type(value) is not expected:
                return value
            items = typing.cast("list[Any]", value)
            return made([_at(part, index, item) for index, item in enumerate(items)])

        def build_set(value: Any) -> Any:
            members: Any = build(value) if part is not _same else value
            if type(value) is not list:
                return value
            check_hashes(typing.cast("list[Any]", members))
            found = node.cls(members)
            if wrong := violated(node.constraints, found):
                raise CustomTypeError([Problem("", f"{wrong}, got {len(found)}")])
            return found

        if is_guarded_set(node):
            made = list
            return build_set
        return build

    def visit_dict(self, node: Node) -> Build | None:
        """Build the keys and the values."""
        if not is_built(node):
            return None
        part = self.visit(node.items[1]) or _same
        key = read_key(self.structs, node.items[0]) if is_guarded_dict(node) else None

        def build(value: Any) -> Any:
            if type(value) is not dict:
                return value
            if key is not None:
                members = typing.cast("dict[Any, Any]", value)
                keys = [_at(key, name, name) for name in members]
                check_hashes(keys)
                return dict(zip(keys, [_at(part, name, item) for name, item in members.items()], strict=True))
            return {key: _at(part, key, item) for key, item in typing.cast("dict[Any, Any]", value).items()}

        return build

    def visit_tuple(self, node: Node) -> Build | None:
        """Build each place."""
        if node.flavor == "namedtuple":
            return self.visit_object(node)
        if not is_built(node):
            return None
        parts = [self.visit(item) or _same for item in node.items]

        def build(value: Any) -> Any:
            if type(value) is not tuple:
                return value
            items = typing.cast("tuple[Any, ...]", value)
            return tuple(_at(part, index, item) for index, (part, item) in enumerate(zip(parts, items, strict=True)))

        return build


def read_key(structs: Structs, keys: Node) -> Build:
    """Return the function that reads the key of a dict from its text; see `servey.codec.hash_flooding`."""
    check = guarded_run(checking(structs.bare(keys), keys.constraints))

    def read(name: Any) -> Any:
        if keys.cls is bool:
            name = {"true": True, "false": False}.get(name, name)
        try:
            return check(name)
        except CustomTypeError as error:
            raise CustomTypeError([Problem("", f"key: {error.errors[0].message}")]) from None

    return read


def argument_of(node: Node, name: str) -> str:
    """Return the name of the member in the class's constructor: attrs strips underscores."""
    if node.flavor != "attrs":
        return name
    return next(field.alias for field in node.cls.__attrs_attrs__ if field.name == name)


def _at(part: Build, key: object, value: Any) -> Any:
    try:
        return part(value)
    except CustomTypeError as error:
        raise CustomTypeError(below(step("", key), error.errors)) from None


def _same(value: Any) -> Any:
    return value
