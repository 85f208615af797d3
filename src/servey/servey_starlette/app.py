"""A service as a Starlette application."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol, runtime_checkable

from servey.action.current import CURRENT_REQUEST
from servey.action.defect import defect
from servey.errors import CALL_ERRORS, CallError, ForbiddenError, InternalError, MissingExtraError
from servey.http.request import LIVENESS_PATH, READINESS_PATH, request_id_of
from servey.log import replace_last_resort
from servey.service import Service

try:
    from starlette.applications import Starlette
except ModuleNotFoundError as error:
    if error.name != "starlette":
        raise
    raise MissingExtraError("starlette", "server") from error

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from servey.http.current_request import CurrentRequestMiddleware
from servey.http.problem import Problems
from servey.http.routing_table import ActionTable
from servey.servey_starlette.claims import check_claims, claims_of
from servey.servey_starlette.docs import DOCS_PATH, docs_routes
from servey.servey_starlette.document import document_routes
from servey.servey_starlette.plugin_middleware import plugin_middleware
from servey.servey_starlette.route_factory.authenticator_route_factory import login_routes
from servey.servey_starlette.router import ActionRoute, ActionRouter, Contained

_log = logging.getLogger("servey.rest")

Lifespan = Callable[[Any], AbstractAsyncContextManager[Any]]

_CORS_TAKEN = (
    *("Authorization", "Cache-Control", "Content-Type", "If-Match", "If-Modified-Since", "If-None-Match"),
    *("GraphQL-Preflight", "Idempotency-Key", "If-Unmodified-Since", "X-Request-ID"),
)
_CORS_SHOWN = (
    *("Age", "Cache-Status", "ETag", "Idempotent-Replayed", "Location", "RateLimit", "RateLimit-Policy"),
    *("Retry-After", "WWW-Authenticate", "X-Request-ID"),
)
"""The headers that pages of other origins may send and read, besides those that they always may."""


@runtime_checkable
class StarletteExtension(Protocol):
    """A plugin that adds routes to the application."""

    def starlette_routes(self, service: Service) -> Sequence[BaseRoute]:
        """Return the routes of the plugin."""
        ...


class _Cors(CORSMiddleware):
    """Starlette's CORS middleware, which answers a refused preflight with problem details."""

    def __init__(self, app: ASGIApp, *, problems: Problems, **arguments: Any) -> None:
        super().__init__(app, **arguments)
        self._problems = problems

    def preflight_response(self, request_headers: Headers) -> Response:
        """Return the answer to a preflight request."""
        response = super().preflight_response(request_headers)
        return response if response.status_code < 400 else _RefusedPreflight(response, self._problems)


class _RefusedPreflight(Response):
    """The answer to a refused preflight request, as problem details.

    Args:
        refusal: Starlette's answer.
        problems: Writes the problem details.
    """

    def __init__(self, refusal: Response, problems: Problems) -> None:
        super().__init__()
        headers = {name: value for name, value in refusal.headers.items() if not name.startswith("content-")}
        self._error = ForbiddenError(bytes(refusal.body).decode(), headers=headers)
        self._problems = problems

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        await self._problems.send(self._error, request_id_of(dict(scope["headers"])), scope, send)


class ServiceApplication(Starlette):
    """A `Starlette` application. Requests for actions do not reach its routes; CORS is the outermost middleware."""

    def __init__(self, service: Service, table: ActionTable, problems: Problems, **arguments: Any) -> None:
        lifespan = arguments.pop("lifespan")
        routes = arguments.pop("routes")
        super().__init__(**arguments)
        self.router = ActionRouter(table, routes=routes, lifespan=lifespan)
        self.service = service
        self._table, self._problems = table, problems

    @property
    def routes(self) -> list[BaseRoute]:
        """The paths of the actions, then the other routes. It is a copy: add routes to `router.routes`."""
        return [*(ActionRoute(path, self._table) for path in self._table.paths), *self.router.routes]

    def build_middleware_stack(self) -> ASGIApp:
        """Return the stack: CORS, then the actions (if there is no user middleware), then the stack of Starlette."""
        own = self.user_middleware
        self.user_middleware = [item for each in own for item in (Middleware(Contained), each)]
        try:
            stack = super().build_middleware_stack()
        finally:
            self.user_middleware = own
        stack = CurrentRequestMiddleware(stack, self.service)
        if not self.user_middleware:
            stack = self._table.before(stack)  # without Starlette's error middleware: an endpoint answers every error
        settings = self.service.settings
        if settings.http.cors_origins:
            # outermost, so that errors have the headers, too, and a page can read them
            stack = _Cors(
                stack,
                problems=self._problems,
                allow_origins=settings.http.cors_origins,
                allow_credentials=settings.http.cors_credentials,
                allow_methods=("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"),
                allow_headers=_CORS_TAKEN,
                expose_headers=_CORS_SHOWN,
            )
        return stack


def create_app(
    service: Service,
    *,
    routes: Sequence[BaseRoute] = (),
    middleware: Sequence[Middleware] = (),
    lifespan: Lifespan | None = None,
    serves: bool = False,
    debug: bool = False,
) -> Starlette:
    """Return the application of a service: actions, their documents, health checks, and routes of plugins.

    You can mount it in another application: ``Mount("/api", create_app(service))``. Starlette does not run the lifespan
    of a mounted application, so enter ``service.serving()`` in the lifespan of the outer application.

    Args:
        service: The service.
        routes: Your routes. They come after actions with a fixed path and the server's routes; ``Mount("/", …)`` gets
            all other requests.
        middleware: Middleware around everything except CORS; the middleware of plugins is inside of it.
        lifespan: Your lifespan, entered when the service runs.
        serves: Whether the application's lifespan also starts triggers that begin calls themselves, such as schedules
            (`Service.serving`). A server passes True; an application for tests does not.
        debug: Starlette's `debug`, for your routes; actions never show a traceback.

    Raises:
        DefinitionError: An action or one of your routes has a path of the server, or both have the same path.
        SettingsError: A key that verifies tokens is too weak or missing.
        MissingExtraError: Starlette is not installed, or the package of the result store.
    """

    async def to_docs(request: Request) -> Response:
        # for a user who opens the address from the terminal; the last route, so that all others go first
        if "text/html" not in request.headers.get("accept", ""):
            raise HTTPException(404)
        return Response(status_code=307, headers={"Location": DOCS_PATH.removeprefix("/"), "Vary": "Accept"})

    async def live(request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def ready(request: Request) -> Response:
        if service.ready:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "not ready"}, status_code=503, headers={"Retry-After": "1"})

    service.authentication.check_keys()
    service.warn_of_resources()
    if any(cached.results is not None for cached in service.cached.values()):
        _ = service.stores.results  # reports a missing package now, not at the first call
    described = [*document_routes(service), *docs_routes(service)] if service.settings.api.docs else []
    login = login_routes(service)
    own: list[BaseRoute] = [Route(LIVENESS_PATH, live), Route(READINESS_PATH, ready), *login, *described]
    further: list[BaseRoute] = []
    for plugin in service.plugins:
        if isinstance(plugin, StarletteExtension):
            (own if plugin in service.own_plugins else further).extend(plugin.starlette_routes(service))
    further += routes
    own_claims, further_claims = claims_of(own), claims_of(further)
    check_claims(service, own_claims, further_claims)
    problems = Problems(service.settings)

    def handler(convert: Callable[[Any], CallError | Response]) -> Callable[[Request, Exception], Awaitable[Response]]:
        async def answer(request: Request, exception: Exception) -> Response:
            error = convert(exception)
            if isinstance(error, Response):
                return error
            current = CURRENT_REQUEST.get()
            request_id = request_id_of(dict(request.scope["headers"])) if current is None else current.request_id
            if isinstance(error, InternalError):  # Starlette raises it again, and the server logs the traceback
                defect(None, f"the request failed: {type(exception).__name__}", log=_log, request_id=request_id)
            return Response(
                problems.body(error, request_id, request.scope),
                status_code=error.status,
                headers={**problems.headers(error), "X-Request-ID": request_id},
                media_type="application/problem+json",
            )

        return answer

    @asynccontextmanager
    async def running(app: Any) -> AsyncGenerator[Any]:
        replace_last_resort()
        async with service.serving() if serves else service.running():
            if lifespan is None:
                yield
            else:
                async with lifespan(app) as state:
                    yield state

    return ServiceApplication(
        service,
        ActionTable(service, problems, [claim.path for claim in (*own_claims, *further_claims)]),
        problems,
        routes=[*own, *further, *([Route("/", to_docs)] if described and not service.settings.production else [])],
        middleware=[*middleware, *plugin_middleware(service)],
        lifespan=running,
        debug=debug,
        exception_handlers={
            HTTPException: handler(_of_status),
            CallError: handler(lambda error: error),
            # ServerErrorMiddleware raises it again, so that the server logs it
            Exception: handler(lambda _: InternalError()),
        },
    )


_CODES = {error.status: error.code for error in reversed(CALL_ERRORS)}


class _StatusError(CallError):
    """An `HTTPException` of Starlette as a problem."""

    def __init__(self, exception: HTTPException) -> None:
        super().__init__()
        self.headers.update(exception.headers or {})
        self.status = exception.status_code  # type: ignore[misc]
        self.code = _CODES.get(self.status) or re.sub(r"\W+", "_", self.title.lower().replace("'", ""))  # type: ignore[misc]
        if exception.detail != self.title:
            self.detail = exception.detail
        elif self.status == 404:
            self.detail = "nothing is served at this path"


def _of_status(exception: HTTPException) -> CallError | Response:
    if exception.status_code < 400:
        return Response(status_code=exception.status_code, headers=exception.headers)
    return _StatusError(exception)
