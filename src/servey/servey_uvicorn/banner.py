"""The lines that the server logs when it starts and when it has reloaded."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Collection, Mapping
from typing import Any, cast

from servey.background_call.broker_warnings import log_broker_warnings
from servey.errors import count_of, located
from servey.generated_secrets import login_hints
from servey.http.mounted import mounted_services
from servey.ports import Authorizer
from servey.schedule.upcoming import schedule_lines
from servey.security.authorizer.jwt_authorizer import JwtAuthorizer
from servey.security.urls import shown_url
from servey.servey_uvicorn.listening import host_in_url
from servey.service import Service
from servey.settings import Settings

_log = logging.getLogger("servey.server")

PAGES = {
    "/docs": "try the actions in a browser",
    "/openapi.json": "the OpenAPI document",
    "/graphiql/": "try GraphQL in a browser",
    "/graphql": "GraphQL",
}
"""The pages and documents that get a line, if the application serves them."""


def log_banner(settings: Settings, app: Any, listening: socket.socket) -> None:
    """Log the banner of each service in an application."""
    mounted = mounted_services(app)
    for item in mounted:
        for line in banner(item.service, listening.getsockname()[1], item.paths, item.prefix):
            _log.info("%s", line)
        log_broker_warnings(item.service.settings)
    if not mounted:
        _log.info("%s: an application without a service", settings.mode)


def log_reload(
    seconds: float, before: Mapping[str, str], after: Mapping[str, str], app: Any, listening: socket.socket
) -> None:
    """Log the line for a reload, and the lines of the banner about actions that are new or have changed."""
    _log.info("%s", reloaded(seconds, before, after))
    different = [name for name, seen in after.items() if before.get(name) != seen]
    for item in mounted_services(app):
        for line in _routes(item.service, listening.getsockname()[1], item.prefix, different):
            _log.info("%s", line)
        for line in _answered_without(item.service, different):
            _log.info("%s", line)


def banner(service: Service, port: int, paths: Collection[str] = (), prefix: str = "") -> list[str]:
    """Return the lines for the start: the mode, the routes, the login, and missing settings."""
    settings = service.settings
    at = _address(service, port, prefix)
    count = len(service.operations)
    workers = f", {settings.process.workers} workers" if settings.process.workers > 1 else ""
    lines = [f"{settings.mode}: {count_of(count, 'action')}{workers}"]
    lines += _routes(service, port, prefix, service.operations)
    if "/login" in paths:
        lines += [
            f"  {'POST':6} {at}/login  {hint}" for hint in login_hints(settings, service.authentication.authenticator)
        ]
    lines += [f"  {'':6} {at}{path}  {what}" for path, what in PAGES.items() if path in paths]
    lines += token_lines(service)
    lines += _schedules(service)
    if not count:
        places = _places(settings.process.action_path)
        lines.append(f"no action was found in {places}: put @action above a function there")
    elif not service.web_routes and not service.schedules:
        lines.append("nothing to serve: give an action a web trigger, @action(triggers=(WEB_GET,))")
    lines += _answered_without(service, service.operations)
    if settings.process.workers > 1:
        lines += [f"each of the {settings.process.workers} workers {what}" for what in _apart(service)]
    return lines


def _address(service: Service, port: int, prefix: str) -> str:
    return f"http://{host_in_url(service.settings.process.server_host)}:{port}{prefix}"


def _routes(service: Service, port: int, prefix: str, names: Collection[str]) -> list[str]:
    return [
        f"  {route.method:6} {_address(service, port, prefix)}{route.path}  ({route.operation.access_summary.text})"
        for route in service.web_routes
        if route.operation.name in names
    ]


def _schedules(service: Service) -> list[str]:
    background = service.settings.background
    if background.broker:
        place = shown_url(background.broker)
        return [f"background calls go to {place}: `servey worker` makes them, and `servey beat` runs the schedules"]
    if not background.background:
        return ["schedules and background calls are left to `servey worker` (SERVEY_BACKGROUND=off)"]
    return schedule_lines(service.schedules)


def _answered_without(service: Service, names: Collection[str]) -> list[str]:
    """Return a line for each of the named actions that may answer a request other than GET from the result cache."""
    caching = _caching(service)
    return [
        f"{route.method} {route.path} may be answered without a call, from the result cache: "
        f"{route.operation.name} has a cache_control"
        for route in service.web_routes
        if route.operation.name in names and route.operation.name in caching and route.method != "GET"
    ]


def _apart(service: Service) -> list[str]:
    """Return the lines about state that each of several workers has for itself."""
    limited = [name for name, operation in service.operations.items() if operation.limiter is not None]
    caching = _caching(service)
    found: list[str] = []
    if limited and service.settings.stores.rate_limits == "memory":
        found.append(
            f"counts the calls of {', '.join(limited)} by itself; to count them together, set "
            "SERVEY_RATE_LIMITS=redis://…"
        )
    if caching and service.settings.stores.result_cache == "memory":
        found.append(
            f"caches results of {', '.join(caching)} by itself, and an invalidation reaches only one worker; to share "
            "a cache, set SERVEY_RESULT_CACHE=redis://…"
        )
    scheduled = dict.fromkeys(schedule.action for schedule in service.schedules)
    background = service.settings.background
    if scheduled and background.store == "memory" and not background.broker:
        found.append(
            f"runs the schedules of {', '.join(scheduled)} by itself; to run them once, set SERVEY_STORE to a path"
        )
    return found


def _caching(service: Service) -> list[str]:
    """Return the names of the actions whose results the server caches."""
    return [name for name, cached in service.cached.items() if cached.results is not None]


def token_lines(service: Service) -> list[str]:
    """Return a line for each authorizer that verifies tokens, and say which one signs them."""
    lines: list[str] = []
    issuer = cast("Authorizer | None", service.authentication.token_issuer)
    for authorizer in service.authentication.authorizers:
        what = authorizer.origin if isinstance(authorizer, JwtAuthorizer) else f"a plugin's {type(authorizer).__name__}"
        signs = "; new ones are signed with it" if authorizer is issuer else ""
        lines.append(f"tokens: {what}{signs}")
    return lines


def reloaded(seconds: float, before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """Return the line for a reload, from the outlines before and after it: which actions are new, changed or gone."""
    parts = [count_of(len(after), "action")]
    for what, names in (
        ("new", [name for name in after if name not in before]),
        ("changed", [name for name in after if after[name] != before.get(name, after[name])]),
        ("gone", [name for name in before if name not in after]),
    ):
        if names:
            parts.append(f"{what}: {', '.join(names)}")
    return f"reloaded in {seconds:.1f} s: {'; '.join(parts)}"


def outline(service: Service) -> dict[str, str]:
    """Return for each action what its callers can notice: its routes, parameters and result, and who may call it."""
    routes: dict[str, list[str]] = {name: [] for name in service.operations}
    for route in service.web_routes:
        routes[route.operation.name].append(f"{route.method} {route.path}")
    seen: dict[str, str] = {}
    for name, operation in service.operations.items():
        signature = operation.signature
        takes = [(item.name, item.type) for item in signature.parameters]
        seen[name] = f"{routes[name]} {takes} {signature.result} {operation.access_summary.text}"
    return seen


def _places(action_path: str) -> str:
    """Return the modules in which servey has looked for actions, with their files."""
    places: list[str] = []
    for name in filter(None, (part.strip() for part in action_path.split(","))):
        file = getattr(sys.modules.get(name), "__file__", None)
        places.append(f"{name} ({located(file, 1).rpartition(':')[0]})" if file else name)
    return ", ".join(places)
