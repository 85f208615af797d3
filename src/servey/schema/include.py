"""The parameter ``include`` in a document, and the members that it adds to results."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import Any

from servey.action.operation import Operation
from servey.codec.node import Field, Node
from servey.include.paths import IncludePaths
from servey.include.targets import INCLUDE, IncludeTargets
from servey.service import Service
from servey.trigger.web_route import WebRoute

_MOST_LISTED = 50
"""The largest number of listed paths; nested actions that return their own class have endless paths."""


class IncludeWriter:
    """Writes the includable nested actions of some routes.

    Args:
        service: The service.
        routes: The routes of the document.
        visible: The names of the actions to show.
    """

    def __init__(self, service: Service, routes: Iterable[WebRoute], visible: Container[str]) -> None:
        shown = (
            operation
            for operation in service.operations.values()
            if operation.action.include_in_schema and operation.name in visible
        )
        self._targets = IncludeTargets(shown)
        self._paths = IncludePaths(self._targets, service.settings.http)
        self._of: dict[str, list[Operation]] = {}
        classes: dict[Any, list[Field]] = {}
        for route in routes:
            if route.method != "GET" or not self._targets.are_taken_by(route.operation):
                continue
            found = self._of[route.operation.name] = []
            for node in self._targets.reachable(route.operation):
                nested = self._targets.of_class(node)
                found.extend(nested.values())
                classes[node.cls] = [_member(name, operation) for name, operation in nested.items()]
        self._classes = classes

    @property
    def operations(self) -> list[Operation]:
        """The includable nested actions, once for each route."""
        return [operation for found in self._of.values() for operation in found]

    def of(self, route: WebRoute) -> Sequence[Operation]:
        """Return the nested actions that callers of a route may include."""
        return self._of.get(route.operation.name, ()) if route.method == "GET" else ()

    def members(self, node: Node) -> Sequence[Field]:
        """Return the members that ``include`` may add to objects of a class."""
        return self._classes.get(node.cls, ())

    def parameters(self, route: WebRoute) -> list[dict[str, Any]]:
        """Return the parameter object (OpenAPI 3.1 §4.8.12) of a route with includable actions."""
        if not self.of(route):
            return []
        root = route.operation.result.root
        names = ", ".join(f"`{name}`" for name in sorted(self._targets.of(root)))
        paths = self._paths.all_of(route.operation, _MOST_LISTED)
        description = f"The results of nested actions to include, as paths that begin with one of {names}."
        items = {"type": "string"} if paths is None else {"type": "string", "enum": paths}
        schema = {"type": "array", "items": items}
        return [{"name": INCLUDE, "in": "query", "required": False, "description": description, "schema": schema}]


def _member(name: str, operation: Operation) -> Field:
    lead = operation.signature.documentation.lead
    description = f"{lead} Only if `{INCLUDE}` requests it.".lstrip()
    return Field(name, name, operation.result.root, required=False, description=description)
