"""Find the services in an application: it may be the application of a service, or mount some."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from servey.service import Service


class Mounted(NamedTuple):
    """A service in an application, the path that it is mounted at (empty at the root), and the paths of its routes."""

    service: Service
    prefix: str
    paths: frozenset[str]


def mounted_services(app: Any) -> list[Mounted]:
    """Return the services whose applications `app` is, wraps (middleware has an ``app``) or mounts (in ``routes``)."""
    return list(_walk(app, "", set()))


def _walk(app: Any, prefix: str, seen: set[int]) -> Iterator[Mounted]:
    if app is None or id(app) in seen:
        return
    seen.add(id(app))
    routes: Any = getattr(app, "routes", None) or ()
    service = getattr(app, "service", None)
    if isinstance(service, Service):
        yield Mounted(service, prefix, frozenset(getattr(route, "path", "") for route in routes))
        return
    yield from _walk(getattr(app, "app", None), prefix, seen)
    for route in routes:
        yield from _walk(getattr(route, "app", None), prefix + getattr(route, "path", ""), seen)
