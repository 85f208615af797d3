"""The paths of ``?include=``: read, checked against the limits, and listed for documents."""

from __future__ import annotations

from collections.abc import Sequence

from servey.action.cost import CALL_COST, LIST_FACTOR
from servey.action.operation import Operation
from servey.codec.node import Node
from servey.codec.problems import PROBLEM_LIMIT, shown, unknown
from servey.errors import InvalidError, Problem
from servey.http.settings import SelectionSettings
from servey.include.targets import INCLUDE, IncludeTargets, objects_in

Tree = dict[str, "Tree"]
"""What is to be included: the names of members and nested actions, and below each what is to be included of it."""


class IncludePaths:
    """Reads paths.

    Args:
        targets: What a path can name.
        limits: The limits of a request.
    """

    def __init__(self, targets: IncludeTargets, limits: SelectionSettings) -> None:
        self.targets, self._limits = targets, limits

    def all_of(self, operation: Operation, most: int) -> list[str] | None:
        """Return every path that names something to include in an action's results; None for more than `most`."""
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
        """Return what is to be included in the result of an action.

        Args:
            operation: The action.
            given: Paths, or several separated by commas; each names a nested action, after the names that lead to it.

        Raises:
            InvalidError: A name is not known, or too much is asked for.
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
        """Put a path into the tree, and return what is wrong with it; empty where nothing is."""
        steps = path.split(".")
        if len(steps) > self._limits.max_depth:
            return f"a path of {len(steps)} names; the limit is {self._limits.max_depth}"
        nodes, is_nested = [root], False
        for step in steps:
            offers = [offered for node in nodes if (offered := self.targets.of(node))]
            found = [offered[step] for offered in offers if step in offered]
            if not found:
                names = sorted({name for offered in offers for name, target in offered.items() if target.is_told})
                return f"{shown(path)}: {unknown(step, names)}; you can include: {', '.join(names) or 'nothing'}"
            nodes = [node for target in found for node in target.nodes]
            is_nested = any(target.is_nested for target in found)
            tree = tree.setdefault(step, {})
        return "" if is_nested else f"{shown(path)}: is in the answer anyway; name a nested action below it"

    def _measured(self, root: Node, tree: Tree, factor: int) -> tuple[int, int]:
        """Return how many names a tree has, and what it costs to include them."""
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
