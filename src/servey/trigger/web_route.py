"""The routes of a service: every web trigger with its method, path and operation."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from servey.codec import MISSING
from servey.errors import DefinitionError
from servey.ports import RevalidatingCacheControl
from servey.trigger.web_trigger import WebTrigger

if TYPE_CHECKING:
    from servey.action.operation import Operation


class WebRoute(msgspec.Struct, frozen=True):
    """One method and path of a service.

    Args:
        trigger: The web trigger.
        path: The path template, from the trigger or the default.
        operation: The operation of the action.
        read: The route that serves GET at the same path; None for a GET, or if there is none.
    """

    trigger: WebTrigger
    path: str
    operation: Operation
    read: WebRoute | None = None

    @property
    def method(self) -> str:
        """The HTTP method."""
        return self.trigger.method.value

    @property
    def current(self) -> WebRoute | None:
        """The route of the current representation, for the conditions of a write to this route.

        It is this route if its action's cache control has a method `current_etag`. Otherwise it is the GET route at the
        same path, if its action has a cache control and needs no other arguments. None if there is no such route.
        """
        if self.method != "GET" and isinstance(self.operation.action.cache_control, RevalidatingCacheControl):
            return self
        read = self.read
        if read is None or read.operation.action.cache_control is None:
            return None
        return read if _needed(read.operation) <= set(read.trigger.path_parameters) else None


def web_routes(operations: Iterable[Operation]) -> tuple[WebRoute, ...]:
    """Return the routes of `operations`.

    Raises:
        DefinitionError: Two routes have the same method and path, or a path names an unknown parameter.
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
            if shape in routes:
                problems.append(_clash(routes[shape].operation, route))
            routes[shape] = route
    if problems:
        raise DefinitionError.join(problems)
    return tuple(
        route if method == "GET" else msgspec.structs.replace(route, read=routes.get(("GET", shape)))
        for (method, shape), route in routes.items()
    )


def _needed(operation: Operation) -> set[str]:
    """Return the required parameters."""
    return {name for name, (parameter, _) in operation.arguments.parameters.items() if parameter.default is MISSING}


def _shape(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path)


def _clash(other: Operation, route: WebRoute) -> DefinitionError:
    operation, served = route.operation, f"{route.method} {route.path}"
    if other is operation:
        return DefinitionError(
            f"{operation.name} has two triggers for {served}",
            where=operation.action.where,
            fix="remove one of them",
        )
    return DefinitionError(
        f"{other.name} and {operation.name} both serve {served}",
        where=[other.action.where, operation.action.where],
        fix="give one of them another path: WebTrigger(WebTriggerMethod.GET, '/another')",
    )


def _path_problems(route: WebRoute) -> Iterable[DefinitionError]:
    operation = route.operation
    for name in route.trigger.path_parameters:
        if name not in operation.arguments.parameters:
            yield DefinitionError(
                f"the path {route.path} has {{{name}}}, which is not a parameter of {operation.name}",
                where=operation.action.where,
                fix=f"name one of: {', '.join(operation.arguments.parameters) or '(it has none)'}",
            )
        elif operation.arguments.text_kind(name) == "list":
            yield DefinitionError(
                f"the path {route.path} has {{{name}}}, which is a list; a path parameter is one value",
                where=operation.action.where,
                fix="take it from the query string or the body",
            )
