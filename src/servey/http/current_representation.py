"""What there is now of what a request is about to change, for the conditions of the request (RFC 9110 §13.1)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from servey.action.context import CallContext
from servey.action.operation import Operation
from servey.cache_control.cached_operation import CachedOperation
from servey.cache_control.preconditions import Current
from servey.cache_control.representation import Representation
from servey.errors import CallError, InvalidError, MalformedError
from servey.http.request import Scope
from servey.trigger.web_route import WebRoute

FindCurrent = Callable[[Any, CallContext, Scope], Awaitable[Current | None]]
"""Takes the arguments, the call's surroundings and the scope of a request; returns None when there is nothing."""


def current_of(representation: Representation) -> Current:
    """Return the validators of a representation."""
    return Current(representation.entity_tag, representation.last_modified)


def find_current(route: WebRoute, cached: Mapping[str, CachedOperation]) -> FindCurrent | None:
    """Return how the present state is found of what a route changes, for the conditions of its requests.

    It is what the action's own cache control says of it, in a method `current_etag`; otherwise the answer of the
    action with a cache control that serves GET at the same path (`WebRoute.current`). It is asked as its caller, and
    always anew. Where there is neither, nobody knows, and conditions are ignored (RFC 9110 §13.2.1).
    """
    operation, source = route.operation, route.current
    if source is None:
        return None
    if source is not route:
        return _asking(source, cached[source.operation.name], operation)
    current_etag = cached[operation.name].current_etag

    async def ask(arguments: Any, context: CallContext, scope: Scope) -> Current | None:
        told = await current_etag(arguments, context)
        return None if told is None else Current(f'"{told}"')

    return ask


def arguments_at(route: WebRoute, parameters: Sequence[str]) -> Any | None:
    """Return the arguments that a path has for the route that serves GET there.

    None where they are not what that takes, so that there can be nothing at the path.
    """
    names = route.trigger.path_parameters
    try:
        return route.operation.decode_text((), dict(zip(names, parameters, strict=True)) if names else {})
    except (InvalidError, MalformedError):
        return None


def parameters_of(scope: Scope) -> Sequence[str]:
    """Return the parameters in the path of a request, in their order."""
    return tuple(scope.get("path_params", {}).values())


def _asking(route: WebRoute, cached: CachedOperation, write: Operation) -> FindCurrent:
    operation = route.operation

    async def ask(arguments: Any, context: CallContext, scope: Scope) -> Current | None:
        # a further call with the deadline of the write, so that both together take no longer
        until = write.deadline(context, write.runtime)
        asked = context.further(context.transport, until)
        await operation.check_access(asked)
        if (given := arguments_at(route, parameters_of(scope))) is None:
            return None
        try:
            fetched = await cached.fetch(given, asked, max_age=0)  # cached, so that the next GET after a 412 is quick
        except CallError as error:
            if error.status in (404, 410):
                return None
            raise
        found = fetched.representation
        return current_of(found) if 200 <= (found.status or 200) <= 299 else None

    return ask
