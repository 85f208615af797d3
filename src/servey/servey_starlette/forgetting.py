"""What a change over HTTP makes of the results that are kept of the same path (RFC 9111 §4.4): they are forgotten."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from servey.errors import InvalidError, MalformedError
from servey.servey_starlette.request import Scope
from servey.service import Service
from servey.trigger.web_route import WebRoute, read_route

Forget = Callable[[Scope], Awaitable[None]]
"""Takes the scope of a request that has changed something; returns when what it says is not true any more is gone."""


def forgetting(route: WebRoute, service: Service) -> Forget | None:
    """Return what forgets the kept results of the action that serves GET at the path of a change.

    Where the path says all of its arguments, those of that path; where there are others, of which a change says
    nothing, all of its results. None where there are no results, or where the route itself may be answered from some,
    so that it changes nothing.
    """
    read = read_route(route, service.web_routes)
    if read is None or route.operation.results is not None or (results := read.operation.results) is None:
        return None
    operation, names = read.operation, read.trigger.path_parameters
    is_all = bool(names) and set(operation.arguments.parameters) == set(names)

    async def forget(scope: Scope) -> None:
        given: Any = None
        if is_all:
            try:
                given = operation.decode_text((), dict(zip(names, scope["path_params"].values(), strict=True)))
            except (InvalidError, MalformedError):  # nothing can be kept of such a path
                return
        await results.ainvalidate(given)

    return forget
