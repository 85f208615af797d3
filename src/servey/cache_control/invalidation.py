"""Invalidate cached results after a write to their path (RFC 9111 §4.4), over any transport."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from servey.cache_control.cached_operation import CachedOperation
from servey.cache_control.result_cache import ResultCache
from servey.codec import Node
from servey.trigger.web_route import WebRoute

Invalidate = Callable[[Any], Awaitable[None]]
"""Takes the decoded arguments of a successful write; returns when the cached results are invalidated."""


def invalidations(routes: Iterable[WebRoute], cached: Mapping[str, CachedOperation]) -> Mapping[str, Invalidate]:
    """Return the invalidation of each write, by the name of the write's operation.

    A write invalidates the results of the action that serves GET at its path. If the path has all arguments of that
    action, it invalidates only the results for these arguments. A write with cached results changes nothing, so it
    invalidates nothing.

    Args:
        routes: The routes of the service.
        cached: `Service.cached`.
    """
    found: dict[str, list[Invalidate]] = {}
    for route in routes:
        read = route.read
        if read is None or _results(route, cached) is not None:
            continue
        results = _results(read, cached)
        if results is not None:
            found.setdefault(route.operation.name, []).append(_invalidate(route, read, results))
    return {name: _each(parts) for name, parts in found.items()}


def _results(route: WebRoute, cached: Mapping[str, CachedOperation]) -> ResultCache | None:
    operation = cached.get(route.operation.name)
    return None if operation is None else operation.results


def _invalidate(write: WebRoute, read: WebRoute, results: ResultCache) -> Invalidate:
    # the two actions may have different names for the path parameters
    names = dict(zip(read.trigger.path_parameters, write.trigger.path_parameters, strict=True))
    given, taken = write.operation.arguments.parameters, read.operation.arguments.parameters
    is_one = bool(names) and set(taken) == set(names)
    is_one = is_one and all(_is_same_scalar(taken[name][1], given[other][1]) for name, other in names.items())
    arguments_of_read = read.operation.arguments.struct

    async def invalidate(arguments: Any) -> None:
        if is_one:
            values = {name: getattr(arguments, other) for name, other in names.items()}
            await results.ainvalidate(arguments_of_read(**values))
        else:
            await results.ainvalidate()

    return invalidate


def _is_same_scalar(node: Node, other: Node) -> bool:
    return node.kind == other.kind == "leaf" and node.cls is other.cls


def _each(parts: list[Invalidate]) -> Invalidate:
    if len(parts) == 1:
        return parts[0]

    async def invalidate(arguments: Any) -> None:
        for part in parts:
            await part(arguments)

    return invalidate
