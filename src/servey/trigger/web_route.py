"""The routes of a service: every web trigger with its method, path and operation."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from servey.codec import MISSING
from servey.errors import DefinitionError
from servey.trigger.web_trigger import WebTrigger

if TYPE_CHECKING:
    from servey.action.operation import Operation


class WebRoute(msgspec.Struct, frozen=True):
    """One method and path of a service.

    Args:
        trigger: The trigger that asks for it.
        path: The path template, given or by default.
        operation: What it calls.
    """

    trigger: WebTrigger
    path: str
    operation: Operation

    @property
    def method(self) -> str:
        """The HTTP method."""
        return self.trigger.method.value


def web_routes(operations: Iterable[Operation]) -> tuple[WebRoute, ...]:
    """Return the routes of `operations`.

    Raises:
        DefinitionError: Two share a method and a path, or a path names what is no parameter of its action.
    """
    routes: dict[tuple[str, str], WebRoute] = {}
    problems: list[DefinitionError] = []
    for operation in operations:
        for trigger in operation.action.triggers:
            if not isinstance(trigger, WebTrigger):
                continue
            route = WebRoute(trigger, trigger.path or f"/actions/{operation.name.replace('_', '-')}", operation)
            problems.extend(_path_problems(route))
            shape = (route.method, _shape(route.path))
            if (other := routes.get(shape)) is not None and other.operation is operation:
                problems.append(
                    DefinitionError(
                        f"{operation.name} has two triggers for {route.method} {route.path}",
                        where=operation.action.where,
                        fix="take one of them away",
                    )
                )
            elif other is not None:
                problems.append(
                    DefinitionError(
                        f"{other.operation.name} and {operation.name} both serve {route.method} {route.path}",
                        where=[other.operation.action.where, operation.action.where],
                        fix="give one of them another path: WebTrigger(WebTriggerMethod.GET, '/another')",
                    )
                )
            routes[shape] = route
    if problems:
        raise DefinitionError.join(problems)
    return tuple(routes.values())


def current_route(route: WebRoute, routes: Iterable[WebRoute]) -> WebRoute | None:
    """Return the route that says what there is now of what `route` changes, for the conditions of its requests.

    It is itself where its action's cache control has a method `current_etag`; otherwise the action with a cache control
    that serves GET at the same path, unless that needs more than the path says. None where nobody knows.
    """
    if route.method == "GET":
        return None
    if hasattr(route.operation.action.cache_control, "current_etag"):
        return route
    shape = _shape(route.path)
    for other in routes:
        is_kept = other.method == "GET" and other.operation.action.cache_control is not None
        if is_kept and _shape(other.path) == shape and _needed(other.operation) <= set(other.trigger.path_parameters):
            return other
    return None


def read_route(route: WebRoute, routes: Iterable[WebRoute]) -> WebRoute | None:
    """Return the route that serves GET at the path of `route`, which is another; None where there is none."""
    if route.method == "GET":
        return None
    shape = _shape(route.path)
    return next((other for other in routes if other.method == "GET" and _shape(other.path) == shape), None)


def _needed(operation: Operation) -> set[str]:
    """Return the parameters that have to be given."""
    return {name for name, (parameter, _) in operation.arguments.parameters.items() if parameter.default is MISSING}


def _shape(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path)


def _path_problems(route: WebRoute) -> Iterable[DefinitionError]:
    operation = route.operation
    for name in route.trigger.path_parameters:
        if name not in operation.arguments.parameters:
            yield DefinitionError(
                f"the path {route.path} has {{{name}}}, which is no parameter of {operation.name}",
                where=operation.action.where,
                fix=f"name one of: {', '.join(operation.arguments.parameters) or '(it has none)'}",
            )
        elif operation.arguments.text_kind(name) == "list":
            yield DefinitionError(
                f"the path {route.path} has {{{name}}}, which is a list; a path holds one value",
                where=operation.action.where,
                fix="take it from the query string or the body",
            )
