"""The nested actions that a request may include in the results of actions; found when the service is built."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import msgspec

from servey.action.operation import Operation
from servey.codec import MISSING
from servey.codec.node import Node
from servey.codec.type_adapter import Compiler
from servey.finder import nested_actions

INCLUDE = "include"
"""The name of the parameter."""


class IncludeTarget(msgspec.Struct):
    """The members and nested actions of one name in a path.

    Args:
        nodes: The types of the members, and of the nested actions' results.
        is_nested: Whether there is a nested action, so that a path may end here.
        is_shown: Whether messages may contain the name: not if the action is hidden in documents.
    """

    nodes: list[Node] = msgspec.field(default_factory=list[Node])
    is_nested: bool = False
    is_shown: bool = False


class IncludeTargets:
    """The members and nested actions that a path can name.

    Args:
        operations: The service's operations.
    """

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._by_action = {id(operation.action): operation for operation in operations}
        self._of_classes: dict[type, Mapping[str, Operation]] = {}
        # by the nodes' ids: they live as long as their operations
        self._targets: dict[int, Mapping[str, IncludeTarget]] = {}
        self._leading: dict[int, bool] = {}
        self._compiler = Compiler()

    def member_of(self, union: Node, value: Any) -> Node:
        """Return the member of a union for the encoding of a value."""
        return self._compiler.union(union).member_of(value)

    def of_class(self, node: Node) -> Mapping[str, Operation]:
        """Return the includable nested actions of a node's class, by name.

        Actions with required arguments are not includable, nor are actions with the name of a member.
        """
        if node.kind not in ("object", "custom") or not isinstance(node.cls, type):
            return {}
        cls = cast("type[Any]", node.cls)
        if cls not in self._of_classes:
            taken = [field.wire for field in node.fields] + ([node.tag[0]] if node.tag else [])
            found: dict[str, Operation] = {}
            for _, action in nested_actions([cls]):
                operation, name = self._by_action.get(id(action)), action.function_name
                if operation is not None and name not in taken and not _takes_arguments(operation):
                    found[name] = operation
            self._of_classes[cls] = found
        return self._of_classes[cls]

    def are_taken_by(self, operation: Operation) -> bool:
        """Return whether an action has nested actions to include, and no own parameter ``include``."""
        return INCLUDE not in operation.arguments.parameters and bool(self.of(operation.result.root))

    def of(self, node: Node) -> Mapping[str, IncludeTarget]:
        """Return the names that may follow in a path after a node."""
        if id(node) not in self._targets:
            found: dict[str, IncludeTarget] = {}
            for item, _ in objects_in(node):
                for field in item.fields if item.kind == "object" else ():
                    if self._leads_on(field.node):
                        target = found.setdefault(field.wire, IncludeTarget())
                        target.nodes.append(field.node)
                        target.is_shown = True
                for name, nested in self.of_class(item).items():
                    target = found.setdefault(name, IncludeTarget())
                    target.nodes.append(nested.result.root)
                    target.is_nested = True
                    target.is_shown = target.is_shown or nested.action.include_in_schema
            self._targets[id(node)] = found
        return self._targets[id(node)]

    def reachable(self, operation: Operation) -> list[Node]:
        """Return the classes in an action's results that have includable actions, as nodes."""
        found: dict[object, Node] = {}
        waiting = [operation.result.root]
        while waiting:
            for node, _ in objects_in(waiting.pop()):
                if node.identity not in found:
                    found[node.identity] = node
                    waiting += [field.node for field in node.fields]
                    waiting += [nested.result.root for nested in self.of_class(node).values()]
        return [node for node in found.values() if self.of_class(node)]

    def _leads_on(self, root: Node) -> bool:
        """Whether a node, or a node inside of it, has includable actions."""
        if id(root) not in self._leading:
            seen: set[object] = set()
            waiting, found = [root], False
            while waiting and not found:
                for node, _ in objects_in(waiting.pop()):
                    found = found or bool(self.of_class(node))
                    if node.identity not in seen:
                        seen.add(node.identity)
                        waiting += [field.node for field in node.fields]
            self._leading[id(root)] = found
        return self._leading[id(root)]


def objects_in(node: Node, many: bool = False) -> Iterator[tuple[Node, bool]]:
    """Yield the classes in a node, and whether there are many objects of each."""
    if node.kind in ("object", "custom"):
        yield node, many
    elif node.kind == "list":
        yield from objects_in(node.items[0], True)
    elif node.kind == "dict":
        yield from objects_in(node.items[1], True)
    elif node.kind in ("tuple", "union"):
        for item in node.items:
            yield from objects_in(item, many)


def _takes_arguments(operation: Operation) -> bool:
    return any(parameter.default is MISSING for parameter in operation.signature.parameters[1:])
