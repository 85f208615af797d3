"""The user's objects from shadows, built in Python: where msgspec cannot, or where it says no and Python decides."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any

from msgspec import UNSET

from servey.codec.failure import IslandError, below, first_line, step
from servey.codec.node import Node
from servey.codec.shadow import Shadows, is_built

Build = Callable[[Any], Any]


class Builder:
    """Builds the user's objects from shadows in Python, where msgspec cannot.

    Args:
        shadows: What made the shadows.
    """

    def __init__(self, shadows: Shadows) -> None:
        self.shadows = shadows
        self._memo: dict[object, Build] = {}

    def of(self, node: Node) -> Build | None:
        """Return what builds a node's value from its shadow, None where they are the same.

        What is no shadow (a class's own default value) is let through as it is.
        """
        if node.kind == "object" or node.flavor == "namedtuple":
            return self._memo.get(node.identity) or self._object(node)
        if not is_built(node):
            return None
        if node.kind == "list":
            return self._list(node)
        if node.kind == "dict":
            return self._dict(node)
        if node.kind == "tuple":
            return self._tuple(node)
        parts = [part for item in node.items if (part := self.of(item))]

        def build(value: Any) -> Any:
            for part in parts:
                if (made := part(value)) is not value:
                    return made
            return value

        return build

    def _object(self, node: Node) -> Build:
        shadow = self.shadows.bare(node)
        cls = node.cls
        steps: list[tuple[str, str, str, Build | None]] = []

        def build(value: Any) -> Any:
            if type(value) is not shadow:
                return value
            arguments: dict[str, Any] = {}
            for attribute, argument, wire, part in steps:
                member = getattr(value, attribute)
                if member is UNSET:
                    continue
                if part is not None:
                    try:
                        member = part(member)
                    except IslandError as error:
                        raise IslandError(below(step("", wire), error.errors)) from None
                arguments[argument] = member
            try:
                return cls(**arguments)
            except (ValueError, TypeError) as error:
                raise IslandError(first_line(error)) from error

        self._memo[node.identity] = build
        for index, field in enumerate(node.fields):
            wire = str(index) if node.flavor == "namedtuple" else field.wire
            steps.append((field.name, argument_of(node, field.name), wire, self.of(field.node)))
        return build

    def _list(self, node: Node) -> Build:
        part = self.of(node.items[0]) or _same
        made: Any = node.cls
        expected = tuple if node.cls is tuple else list

        def build(value: Any) -> Any:
            if type(value) is not expected:
                return value
            items = typing.cast("list[Any]", value)
            return made([_at(part, index, item) for index, item in enumerate(items)])

        return build

    def _dict(self, node: Node) -> Build:
        part = self.of(node.items[1]) or _same

        def build(value: Any) -> Any:
            if type(value) is not dict:
                return value
            return {key: _at(part, key, item) for key, item in typing.cast("dict[Any, Any]", value).items()}

        return build

    def _tuple(self, node: Node) -> Build:
        parts = [self.of(item) or _same for item in node.items]

        def build(value: Any) -> Any:
            if type(value) is not tuple:
                return value
            items = typing.cast("tuple[Any, ...]", value)
            return tuple(_at(part, index, item) for index, (part, item) in enumerate(zip(parts, items, strict=True)))

        return build


def argument_of(node: Node, name: str) -> str:
    """Return the name of the member in the class's constructor: attrs strips underscores."""
    if node.flavor != "attrs":
        return name
    return next(field.alias for field in node.cls.__attrs_attrs__ if field.name == name)


def _at(part: Build, key: object, value: Any) -> Any:
    try:
        return part(value)
    except IslandError as error:
        raise IslandError(below(step("", key), error.errors)) from None


def _same(value: Any) -> Any:
    return value
