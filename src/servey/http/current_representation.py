"""The current representation of the resource that a write changes, for conditional requests (RFC 9110 §13.1)."""

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
"""Takes the arguments, the call context and the ASGI scope of a write; returns None if the resource does not exist."""


def current_of(representation: Representation) -> Current:
    """Return the validators of a representation."""
    return Current(representation.entity_tag, representation.last_modified)


def find_current(route: WebRoute, cached: Mapping[str, CachedOperation]) -> FindCurrent | None:
    """Return the function that finds the current representation for writes of `route`.

    The method `current_etag` of the action's cache control is used first. Otherwise, the action with a cache control
    that serves GET at the same path (`WebRoute.current`) is called for the same caller, past the result cache. If the
    service has neither, the function is None and conditions are ignored (RFC 9110 §13.2.1).
    """
    operation, source = route.operation, route.current
    if source is None:
        return None
    if source is not route:
        return _by_reading(source, cached[source.operation.name], operation)
    current_etag = cached[operation.name].current_etag

    async def find(arguments: Any, context: CallContext, scope: Scope) -> Current | None:
        etag = await current_etag(arguments, context)
        return None if etag is None else Current(f'"{etag}"')

    return find


def arguments_at(route: WebRoute, parameters: Sequence[str]) -> Any | None:
    """Return the path parameters as arguments of `route`; None if they are not valid, so nothing can exist there."""
    names = route.trigger.path_parameters
    try:
        return route.operation.decode_text((), dict(zip(names, parameters, strict=True)) if names else {})
    except (InvalidError, MalformedError):
        return None


def parameters_of(scope: Scope) -> Sequence[str]:
    """Return the values of the path parameters of a request, in order."""
    return tuple(scope.get("path_params", {}).values())


def _by_reading(route: WebRoute, cached: CachedOperation, write: Operation) -> FindCurrent:
    operation = route.operation

    async def find(arguments: Any, context: CallContext, scope: Scope) -> Current | None:
        # the read shares the deadline of the write
        until = write.deadline(context, write.runtime)
        reading = context.further(context.transport, until)
        await operation.check_access(reading)
        if (given := arguments_at(route, parameters_of(scope))) is None:
            return None
        try:
            fetched = await cached.fetch(given, reading, max_age=0)  # stores the result: a GET after a 412 is quick
        except CallError as error:
            if error.status in (404, 410):
                return None
            raise
        found = fetched.representation
        return current_of(found) if 200 <= (found.status or 200) <= 299 else None

    return find
