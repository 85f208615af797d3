"""What the server says when it starts."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from typing import cast

from servey.errors import count_of, located
from servey.ports import Authorizer
from servey.security.authorizer.jwt_authorizer import JwtAuthorizer
from servey.security.generated_secrets import login_hints
from servey.service import Service

PAGES = {
    "/docs": "try the actions in a browser",
    "/openapi.json": "the OpenAPI document",
    "/graphiql/": "try GraphQL in a browser",
    "/graphql": "GraphQL",
}
"""What the application may serve for people and tools, and is worth a line."""


def banner(service: Service, port: int, paths: Collection[str] = ()) -> list[str]:
    """Return what a user wants to see at start: the mode, the routes, and what is missing.

    Args:
        service: The service.
        port: The port that was really bound.
        paths: The paths of the application's own routes.
    """
    settings = service.settings
    at = f"http://{named(settings.server_host)}:{port}"
    count = len(service.operations)
    mode = "production" if settings.production else "development"
    workers = f", {settings.workers} workers" if settings.workers > 1 else ""
    lines = [f"{mode}: {count_of(count, 'action')}{workers}", *_routes(service, at, service.operations)]
    lines += [
        f"  {'POST':6} {at}/login  {how}"
        for how in login_hints(settings, service.authentication.authenticator)
        if "/login" in paths
    ]
    lines += [f"  {'':6} {at}{path}  {what}" for path, what in PAGES.items() if path in paths]
    lines += token_lines(service)
    if not count:
        lines.append(f"no action was found in {_places(settings.action_path)}: put @action above a function there")
    elif not service.web_routes:
        lines.append("nothing to serve: give an action a web trigger, @action(triggers=(WEB_GET,))")
    lines += _answered_without(service, service.operations)
    return lines + _counted_apart(service) + _kept_apart(service)


def changed(service: Service, port: int, names: Collection[str]) -> list[str]:
    """Return what a user wants to see when actions have come or changed: what `banner` would say of them.

    Args:
        service: The service.
        port: As for `banner`.
        names: The actions.
    """
    at = f"http://{named(service.settings.server_host)}:{port}"
    return [*_routes(service, at, names), *_answered_without(service, names)]


def _routes(service: Service, at: str, names: Collection[str]) -> list[str]:
    lines: list[str] = []
    for route in service.web_routes:
        operation = route.operation
        if operation.name in names:
            lines.append(f"  {route.method:6} {at}{route.path}  ({operation.access_summary.text})")
    return lines


def _counted_apart(service: Service) -> list[str]:
    """Return a line on rate limits that every worker counts for itself."""
    settings = service.settings
    limited = [name for name, operation in service.operations.items() if operation.limiter is not None]
    if not limited or settings.workers == 1 or settings.rate_limits != "memory":
        return []
    return [
        f"each of the {settings.workers} workers counts for itself how often callers call {', '.join(limited)}; "
        "SERVEY_RATE_LIMITS=redis://… names a store in which they count together"
    ]


def _answered_without(service: Service, names: Collection[str]) -> list[str]:
    """Return a line for each of the named actions whose changes may be answered from results that are kept."""
    return [
        f"{route.method} {route.path} may be answered without a call, from results that are kept: "
        f"{route.operation.name} has a cache_control"
        for route in service.web_routes
        if route.operation.name in names and route.method != "GET"
        if (cached := service.cached.get(route.operation.name)) is not None and cached.results is not None
    ]


def _kept_apart(service: Service) -> list[str]:
    """Return a line on results that every worker keeps for itself."""
    settings = service.settings
    keeping = [name for name, cached in service.cached.items() if cached.results is not None]
    if not keeping or settings.workers == 1 or settings.result_cache != "memory":
        return []
    return [
        f"each of the {settings.workers} workers keeps results of its own of {', '.join(keeping)}, and forgets only "
        "those when they are invalidated; SERVEY_RESULT_CACHE=redis://… names a store that they share"
    ]


def token_lines(service: Service) -> list[str]:
    """Return what verifies tokens, and what signs them."""
    lines: list[str] = []
    issuer = cast("Authorizer | None", service.authentication.token_issuer)
    for authorizer in service.authentication.authorizers:
        what = authorizer.origin if isinstance(authorizer, JwtAuthorizer) else f"a plugin's {type(authorizer).__name__}"
        signs = "; new ones are signed with it" if authorizer is issuer else ""
        lines.append(f"tokens: {what}{signs}")
    return lines


def reloaded(seconds: float, before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """Return the line for a service that was loaded again: how long it took, and which actions came and went.

    Args:
        seconds: From the noticed change to the first answer that is possible.
        before: The actions that were served, with what callers see of each.
        after: Those that are served now.
    """
    parts = [count_of(len(after), "action")]
    for what, names in (
        ("new", [name for name in after if name not in before]),
        ("changed", [name for name in after if name in before and after[name] != before[name]]),
        ("gone", [name for name in before if name not in after]),
    ):
        if names:
            parts.append(f"{what}: {', '.join(names)}")
    return f"reloaded in {seconds:.1f} s: {'; '.join(parts)}"


def outline(service: Service) -> dict[str, str]:
    """Return what callers see of each action: its routes, its parameters and result, and who may call it."""
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
    """Return the modules that were looked into, with their files."""
    places: list[str] = []
    for name in filter(None, (part.strip() for part in action_path.split(","))):
        file = getattr(sys.modules.get(name), "__file__", None)
        places.append(f"{name} ({located(file, 1).rpartition(':')[0]})" if file else name)
    return ", ".join(places)


def named(host: str) -> str:
    """Return a host as a URL has it."""
    if host in ("127.0.0.1", "::1"):
        return "localhost"
    return f"[{host}]" if ":" in host else host
