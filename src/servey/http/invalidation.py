"""What a change makes of the results that are kept of the same path (RFC 9111 §4.4): they are forgotten."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from servey.cache_control.cached_operation import CachedOperation
from servey.cache_control.result_cache import ResultCache
from servey.http.current_representation import arguments_at
from servey.trigger.web_route import WebRoute

Forget = Callable[[Sequence[str]], Awaitable[None]]
"""Takes the parameters in the path of what has been changed; returns when what is not true any more is gone."""


def forgetting(route: WebRoute, cached: Mapping[str, CachedOperation]) -> Forget | None:
    """Return what forgets the kept results of the action that serves GET at the path of a change.

    Where the path says all of its arguments, those of that path; where there are others, of which a change says
    nothing, all of its results. None where there are no results, or where the route itself may be answered from some,
    so that it changes nothing.
    """
    read = route.read
    if read is None or _results(route, cached) is not None or (results := _results(read, cached)) is None:
        return None
    names = read.trigger.path_parameters
    is_all = bool(names) and set(read.operation.arguments.parameters) == set(names)

    async def forget(parameters: Sequence[str]) -> None:
        given = arguments_at(read, parameters) if is_all else None
        if given is not None or not is_all:  # nothing can be kept of a path that the read does not take
            await results.ainvalidate(given)

    return forget


def _results(route: WebRoute, cached: Mapping[str, CachedOperation]) -> ResultCache | None:
    found = cached.get(route.operation.name)
    return None if found is None else found.results
