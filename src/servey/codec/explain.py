"""Read a value that msgspec refuses, and find every problem with its JSON pointer.

The fast decoder stops at the first problem. Then the explainer reads the same value again, part by part, and collects
all problems. It builds each part once, after its members, so that the checks of a class see valid members. Its time
is linear in the size of the value. Only the explainer reads an int that is written as ``5.0``.
"""

from __future__ import annotations

import typing
from typing import Any

import msgspec

from servey.codec.builder import read_key
from servey.codec.hash_flooding import SLOW_KEYS, collection
from servey.codec.node import MISSING, Node
from servey.codec.numbers import whole_number
from servey.codec.problem_visitor import BAD, ProblemVisitor
from servey.codec.problems import PROBLEM_LIMIT, CustomTypeError, below, shown, step, unknown
from servey.codec.scalars import wire_values
from servey.codec.structs import checking, is_decimal, needs_trials, refusal
from servey.codec.type_adapter import Compiler
from servey.errors import Problem

_SHAPES = {"object": "object", "dict": "object", "list": "array", "tuple": "array", "leaf": "scalar"}
_PRUNED = 2
_SIMPLE = (str, int, bool, type(None))


class Explainer(ProblemVisitor):
    """Reads one refused value again. A visit returns the value as the node's type, or `BAD`."""

    def __init__(self, compiler: Compiler) -> None:
        super().__init__(compiler)
        self._structs = compiler.input_structs(skips_checks=False)
        self._unions: dict[tuple[int, int], tuple[Any, bool, list[Problem], Any]] = {}
        self._suggested = [0]
        """How often the nearest name was searched, in all trials: their problems may be dropped."""

    def visit_other(self, node: Node, value: Any, at: str) -> Any:
        """Read a custom type, or an `Any`."""
        return self.run(self.compiler.decode(node), value, at)

    def visit_leaf(self, node: Node, value: Any, at: str) -> Any:
        """Read a scalar."""
        if type(value) is node.cls and node.cls in _SIMPLE and not node.constraints:
            return value
        number = whole_number(value)
        if number is not None and (node.cls is int or int in map(type, wire_values(node))):
            self.is_rounded = True
            value = number
        if node.constraints or is_decimal(node):
            return self.run(checking(self._structs, node), value, at)
        try:
            return self.compiler.adapter(node).attempt(value)
        except msgspec.ValidationError as error:
            return self.add(Problem(at, refusal(node, str(error), value)))

    def visit_list(self, node: Node, value: Any, at: str) -> Any:
        """Read an array of members of one type."""
        if not isinstance(value, (list, tuple)):
            return self.add(Problem(at, f"expected array, got {shown(value)}"))
        values = typing.cast("list[Any]", value)
        prune = self._prunable(node.items[0], at)
        items = [
            self.visit(node.items[0], item, f"{at}/{index}") if prune is None or (good := prune(item)) is BAD else good
            for index, item in enumerate(values)
        ]
        return BAD if _has_bad(items) else self.run(lambda items: collection(node, items), items, at)

    def _prunable(self, node: Node, at: str) -> Any:
        """Return a function that reads a valid member quickly, for lists in the outer two levels.

        Most members of a long list are valid. In inner lists, each level would read everything below it again.
        """
        if node.kind != "object" or at.count("/") > _PRUNED:
            return None
        attempt = self.compiler.adapter(node).attempt

        def prune(value: Any) -> Any:
            try:
                return attempt(value)
            except (msgspec.ValidationError, CustomTypeError):
                return BAD

        return prune

    def visit_dict(self, node: Node, value: Any, at: str) -> Any:
        """Read an object with any names."""
        if not isinstance(value, dict):
            return self.add(Problem(at, f"expected object, got {shown(value)}"))
        keys, values = node.items
        read_names: list[Any] = []
        members: list[Any] = []
        for name, item in typing.cast("dict[Any, Any]", value).items():
            place = step(at, name)
            key = name if keys.cls is str and not keys.constraints else self._key(keys, name, place)
            read_names.append(key)
            members.append(self.visit(values, item, place))
        if _has_bad(read_names) or _has_bad(members):
            return BAD
        return self.run(lambda names: collection(node, names, members), read_names, at)

    def _key(self, keys: Node, name: Any, at: str) -> Any:
        if keys.cls in SLOW_KEYS:
            return self.run(read_key(self._structs, keys), name, at)
        try:
            return next(iter(msgspec.convert({name: None}, dict[self._structs.key(keys), Any], str_keys=True)))
        except msgspec.ValidationError as error:
            return self.add(Problem(at, f"key: {refusal(keys, str(error), name)}"))

    def visit_tuple(self, node: Node, value: Any, at: str) -> Any:
        """Read an array with a type for each place."""
        if not isinstance(value, (list, tuple)):
            return self.add(Problem(at, f"expected array, got {shown(value)}"))
        values = typing.cast("list[Any]", value)
        most = len(node.items)
        least = sum(field.required for field in node.fields) if node.flavor == "namedtuple" else most
        if not least <= len(values) <= most:
            wanted = str(most) if least == most else f"{least} to {most}"
            return self.add(Problem(at, f"expected array of length {wanted}, got {len(values)}"))
        items = [self.visit(node.items[index], item, f"{at}/{index}") for index, item in enumerate(values)]
        if _has_bad(items):
            return BAD
        if node.flavor != "namedtuple":
            return tuple(items)
        left_out = node.fields[len(items) :]
        return node.cls(
            *items, *(field.default_factory() if field.default_factory else field.default for field in left_out)
        )

    def visit_object(self, node: Node, value: Any, at: str) -> Any:
        """Read an object of a class."""
        if not isinstance(value, dict):
            return self.add(Problem(at, f"expected object, got {shown(value)}"))
        members = typing.cast("dict[Any, Any]", value)
        arguments: dict[str, Any] = {}
        for field in node.fields:
            if field.wire in members:
                made = self.visit(field.node, members[field.wire], step(at, field.wire))
                arguments[field.argument] = made
            elif field.required:
                arguments[field.argument] = self.add(Problem(step(at, field.wire), "required"))
            elif field.default is not MISSING and field.default_factory is not None:
                arguments[field.argument] = field.default_factory()
        if _has_bad([self._checked_names(node, members, at), *arguments.values()]):
            return BAD
        return self.run(lambda given: node.cls(**given), arguments, at)

    def _checked_names(self, node: Node, members: dict[Any, Any], at: str) -> Any:
        """Return `BAD` if the tag of an object is wrong, or its class does not declare a member."""
        made = None
        known = {field.wire for field in node.fields}
        if node.tag is not None:
            name, tag = node.tag
            known.add(name)
            given = members.get(name, tag)
            if given != tag or isinstance(given, bool):
                made = self.add(Problem(step(at, name), f"expected {tag!r}, got {shown(given)}"))
        for name in members:
            if name not in known:
                made = self.add(Problem(step(at, name), self._unknown(name, known)))
        return made

    def _unknown(self, name: Any, known: set[str]) -> str:
        self._suggested[0] += 1
        return unknown(name, known) if self._suggested[0] <= PROBLEM_LIMIT else "unknown"

    def visit_union(self, node: Node, value: Any, at: str) -> Any:
        """Read a value of one of several types, each part of the input once."""
        key = (id(value), id(node))
        if key not in self._unions:
            self._unions[key] = (*self._member(node, value), value)  # which keeps its id
        made, is_rounded, problems, _ = self._unions[key]
        # a union that has to be tried has read it as it is written
        self.is_rounded = self.is_rounded or (is_rounded and not needs_trials(node))
        return self.add(*below(at, problems)) if problems else made

    def _member(self, node: Node, value: Any) -> tuple[Any, bool, list[Problem]]:
        """Return the value that the first fitting member reads and whether it is rounded; if no member fits, the
        problems of the nearest member.
        """
        if not needs_trials(node) and value is None and node.optional:
            return None, False, []
        if isinstance(value, dict) and not self.compiler.union(node).members(value):
            return BAD, False, [_untagged(node, value)]
        made, is_rounded, refused = self.trials(self._likely(node, value), value)
        if not refused:
            return made, is_rounded, []
        best = min(refused, key=len)
        if len(refused) > 1 and all(problem.path == "" for problem in best):
            first = (problems[0].message.partition(", got ")[0].removeprefix("expected ") for problems in refused)
            best = [Problem("", f"expected {' or '.join(dict.fromkeys(first))}, got {shown(value)}")]
        return BAD, False, best

    def _likely(self, node: Node, value: Any) -> list[Node]:
        """Return the members that are of the value's JSON shape; all of them when none is."""
        shape = "object" if isinstance(value, dict) else "array" if isinstance(value, list) else "scalar"
        members = self.compiler.union(node).members(value)
        return [member for member in members if _SHAPES.get(member.kind, shape) == shape] or list(members)


def _has_bad(values: list[Any]) -> bool:
    return any(value is BAD for value in values)


def _untagged(node: Node, value: Any) -> Problem:
    """Return the problem of an object without the tag of any member."""
    tags = [member.tag for member in node.items if member.tag is not None]
    name = tags[0][0]
    listed = ", ".join(shown(tag) for _, tag in tags)
    if name not in value:
        return Problem(step("", name), f"required: one of {listed}")
    return Problem(step("", name), f"expected one of {listed}, got {shown(value[name])}")
