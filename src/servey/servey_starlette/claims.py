"""Check that the server's routes, the actions and the user's routes have different paths."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from inspect import isfunction, unwrap

import msgspec
from starlette.routing import BaseRoute, Host, Mount, Route, Router

from servey.errors import DefinitionError, located
from servey.service import Service


class Claim(msgspec.Struct, frozen=True):
    """The paths that a route serves.

    Args:
        path: The path; a final ``*`` includes all paths with this prefix.
        methods: The methods; None for all.
        label: The route as text, for messages.
        where: The ``file:line`` of its endpoint; empty if unknown.
    """

    path: str
    methods: frozenset[str] | None
    label: str
    where: str = ""

    def meets(self, other: Claim) -> bool:
        """Return whether both serve the same path and method."""
        if self.methods is not None and other.methods is not None and not self.methods & other.methods:
            return False
        return self.path == other.path or _is_below(self.path, other.path) or _is_below(other.path, self.path)


def _is_below(path: str, other: str) -> bool:
    return other.endswith("*") and path.startswith(other[:-1])


def claims_of(routes: Iterable[BaseRoute], prefix: str = "") -> tuple[Claim, ...]:
    """Return the paths that routes claim.

    A route without a fixed prefix (``Mount("/", app)``, ``Route("/{path:path}")``) claims nothing: it gets the requests
    that no other route serves. A websocket route claims nothing, because it serves no HTTP requests. The routes inside
    such a mount, or inside a `Host`, claim their paths as usual.

    Args:
        routes: The routes.
        prefix: The path at which they are mounted.
    """
    return tuple(claim for route in routes for claim in _claims_of(route, prefix))


def _claims_of(route: BaseRoute, prefix: str) -> Iterable[Claim]:
    if not isinstance(route, (Route, Mount, Host)):
        return ()
    path = prefix + ("" if isinstance(route, Host) else route.path)
    fixed, brace, _ = (path if isinstance(route, Route) else f"{path}/{{path}}").partition("{")
    if brace and fixed == "/":
        inner = None if isinstance(route, Route) else route.app
        return claims_of(inner.routes, path) if isinstance(inner, Router) else ()
    methods = route.methods if isinstance(route, Route) else None
    return (
        Claim(
            f"{fixed}*" if brace else path,
            None if methods is None else frozenset(methods),
            f"{type(route).__name__}({path!r})",
            _where(route),
        ),
    )


def _where(route: BaseRoute) -> str:
    endpoint = unwrap(route.endpoint) if isinstance(route, Route) else None
    return located(endpoint.__code__.co_filename, endpoint.__code__.co_firstlineno) if isfunction(endpoint) else ""


def check_claims(service: Service, own: Sequence[Claim], further: Sequence[Claim]) -> None:
    """Check that no path is claimed twice. Path templates of actions are allowed to match: the claimed path wins.

    Args:
        service: The service, with its actions.
        own: The claims of the server's routes.
        further: The claims of the routes of plugins and of `create_app`.

    Raises:
        DefinitionError: Paths are claimed twice; the error lists all of them.
    """
    problems = [
        DefinitionError(
            f"{claim.label} has the path {taken.path}, which the server uses",
            where=claim.where,
            fix="give it another path",
        )
        for claim in further
        if (taken := next((item for item in own if item.meets(claim)), None)) is not None
    ]
    for route in {route.path: route for route in service.web_routes}.values():
        name, where = route.operation.name, route.operation.action.where
        if _taken(route.path, own) is not None:
            problems.append(
                DefinitionError(
                    f"{name} has the path {route.path}, which the server uses",
                    where=where,
                    fix="give it another path",
                )
            )
        elif (taken := _taken(route.path, further)) is not None:
            problems.append(
                DefinitionError(
                    f"{name} and {taken.label} have the same path {route.path}",
                    where=[where, taken.where],
                    fix="give one of them another path",
                )
            )
    if problems:
        raise DefinitionError.join(problems)


def _taken(path: str, claims: Iterable[Claim]) -> Claim | None:
    return next((claim for claim in claims if path == claim.path or _is_below(path, claim.path)), None)
