"""Parse the paths of ``?include=``, check them against the limits, and list them for documents."""

from __future__ import annotations

from collections.abc import Sequence

from servey.action.cost import CALL_COST, LIST_FACTOR
from servey.action.operation import Operation
from servey.codec.node import Node
from servey.codec.problems import PROBLEM_LIMIT, shown, unknown
from servey.errors import InvalidError, Problem
from servey.http.settings import HttpSettings
from servey.include.targets import INCLUDE, IncludeTargets, objects_in

Tree = dict[str, "Tree"]
"""The names of members and nested actions, each with the tree below it."""


class IncludePaths:
    """Parses the paths of ``?include=``.

    Args:
        targets: The members and nested actions that a path can name.
        limits: The limits of a request.
    """

    def __init__(self, targets: IncludeTargets, limits: HttpSettings) -> None:
        self.targets, self._limits = targets, limits

    def all_of(self, operation: Operation, most: int) -> list[str] | None:
        """Return all paths of an action's results; None if there are more than `most`."""
        found: dict[str, None] = {}
        waiting: list[tuple[str, Node]] = [("", operation.result.root)]
        while waiting:
            prefix, root = waiting.pop(0)
            for name, target in sorted(self.targets.of(root).items()):
                path = f"{prefix}{name}"
                if target.is_nested:
                    found[path] = None
                if path.count(".") + 1 < self._limits.max_depth:
                    waiting += [(f"{path}.", node) for node in target.nodes]
            if max(len(found), len(waiting)) > most:
                return None
        return sorted(found)

    def parse(self, operation: Operation, given: Sequence[str]) -> Tree:
        """Return the tree of nested actions to include in the result of an action.

        Args:
            operation: The action.
            given: Paths, separated by commas; each is the name of a nested action after the names of the members above.

        Raises:
            InvalidError: A name is unknown, or the request exceeds a limit.
        """
        tree: Tree = {}
        problems: list[Problem] = []
        for path in dict.fromkeys(path for text in given for path in text.split(",")):
            if len(problems) >= PROBLEM_LIMIT:
                break
            if wrong := self._add(operation.result.root, path, tree):
                problems.append(Problem(f"/{INCLUDE}", wrong))
        if not problems:
            fields, cost = self._measured(operation.result.root, tree, 1)
            if fields > self._limits.max_fields:
                problems.append(Problem(f"/{INCLUDE}", f"{fields} names; the limit is {self._limits.max_fields}"))
            if cost > self._limits.max_cost:
                problems.append(Problem(f"/{INCLUDE}", f"costs {cost}; the limit is {self._limits.max_cost}"))
        if problems:
            raise InvalidError(errors=problems)
        return tree

    def _add(self, root: Node, path: str, tree: Tree) -> str:
        """Add a path to the tree, and return its problem; empty for none."""
        steps = path.split(".")
        if len(steps) > self._limits.max_depth:
            return f"a path of {len(steps)} names; the limit is {self._limits.max_depth}"
        nodes, is_nested = [root], False
        for step in steps:
            offers = [offered for node in nodes if (offered := self.targets.of(node))]
            found = [offered[step] for offered in offers if step in offered]
            if not found:
                names = sorted({name for offered in offers for name, target in offered.items() if target.is_shown})
                return f"{shown(path)}: {unknown(step, names)}; you can include: {', '.join(names) or 'nothing'}"
            nodes = [node for target in found for node in target.nodes]
            is_nested = any(target.is_nested for target in found)
            tree = tree.setdefault(step, {})
        return "" if is_nested else f"{shown(path)}: is always in the answer; name a nested action below it"

    def _measured(self, root: Node, tree: Tree, factor: int) -> tuple[int, int]:
        """Return the number of names in a tree, and their cost."""
        fields = cost = 0
        for name, below in tree.items():
            most = costliest = 0
            for item, many in objects_in(root):
                times = factor * LIST_FACTOR if many else factor
                nested = self.targets.of_class(item).get(name)
                nodes = [nested.result.root] if nested else [f.node for f in item.fields if f.wire == name]
                for node in nodes:
                    more, costs = self._measured(node, below, times)
                    most, costliest = max(most, more), max(costliest, costs + (CALL_COST if nested else 1) * times)
            fields, cost = fields + 1 + most, cost + costliest
        return fields, cost
