"""Whose a path is: the server's own, an action's, or a further route's. No two of them share one silently."""

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
        path: The path; a last ``*`` stands for all below.
        methods: The methods; None for all.
        told: The route in words.
        where: The ``file:line`` of its endpoint, where that is known.
    """

    path: str
    methods: frozenset[str] | None
    told: str
    where: str = ""

    def meets(self, other: Claim) -> bool:
        """Return whether both serve one path by one method."""
        if self.methods is not None and other.methods is not None and not self.methods & other.methods:
            return False
        return self.path == other.path or _is_below(self.path, other.path) or _is_below(other.path, self.path)


def _is_below(path: str, other: str) -> bool:
    return other.endswith("*") and path.startswith(other[:-1])


def claims_of(routes: Iterable[BaseRoute], prefix: str = "") -> tuple[Claim, ...]:
    """Return what routes claim.

    A route without a fixed beginning (``Mount("/", app)``, ``Route("/{path:path}")``) serves what is left, and claims
    nothing; nor does a websocket, which is no HTTP request. Routes that stand in such a mount or in a `Host` claim what
    they claim elsewhere.

    Args:
        routes: The routes.
        prefix: The path that they are mounted at.
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
    """Return when no path is claimed twice. A path template of an action may match a claimed path, and gives way.

    Args:
        service: The service, with its actions.
        own: What the server's own routes claim.
        further: What the routes of plugins and of the application claim.

    Raises:
        DefinitionError: One is; tells all of them.
    """
    problems = [
        DefinitionError(
            f"{claim.told} would take the path {taken.path}, which the server needs itself",
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
                    f"{name} takes the path {route.path}, which the server needs",
                    where=where,
                    fix="give it another path",
                )
            )
        elif (taken := _taken(route.path, further)) is not None:
            problems.append(
                DefinitionError(
                    f"{name} takes the path {route.path}, and so does {taken.told}",
                    where=[where, taken.where],
                    fix="give one of them another path",
                )
            )
    if problems:
        raise DefinitionError.join(problems)


def _taken(path: str, claims: Iterable[Claim]) -> Claim | None:
    return next((claim for claim in claims if path == claim.path or _is_below(path, claim.path)), None)
