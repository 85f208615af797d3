"""Starlette's router, with the actions before its routes."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, MutableMapping
from typing import Any

from starlette.routing import BaseRoute, Match, Router
from starlette.types import ASGIApp

from servey.action.defect import as_exception, is_stop
from servey.errors import ServeyError
from servey.http.request import Receive, Scope, Send
from servey.http.routing_table import ActionPath, ActionTable


class ActionRoute(BaseRoute):
    """One path of actions as a Starlette route, for instrumentations that read the routes of an application.

    The routing itself uses only the `ActionTable`.

    Args:
        action_path: The path.
        table: Finds the endpoint of a request.

    Attributes:
        path: The path or path template.
        path_format: The same, under the name that FastAPI uses.
        methods: The methods of the actions with this path.
    """

    def __init__(self, action_path: ActionPath, table: ActionTable) -> None:
        self.path = self.path_format = action_path.path
        self.methods = action_path.methods
        self._action_path, self._table = action_path, table

    def matches(self, scope: MutableMapping[str, Any]) -> tuple[Match, MutableMapping[str, Any]]:
        """Return whether a request is for this path, and for one of its methods."""
        if scope["type"] != "http":
            return Match.NONE, {}
        looked = dict(scope)
        endpoint = self._table.find(looked)
        if endpoint is None or looked.get("route") is not self._action_path:
            return Match.NONE, {}
        found = {"endpoint": endpoint, "path_params": looked.get("path_params", {})}
        return Match.FULL if scope["method"] in self.methods else Match.PARTIAL, found

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request that `matches` has matched."""
        await scope["endpoint"](scope, receive, send)


class Contained:
    """ASGI middleware that turns a `SystemExit` of an application into an `Exception`, which does not end the server.

    Args:
        app: The application, a route or a middleware.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve; a `SystemExit` or `KeyboardInterrupt` becomes a `RuntimeError`, and the client gets a 500."""
        try:
            await self._app(scope, receive, send)
        except BaseException as error:
            if isinstance(error, Exception) or is_stop(error):
                raise
            raise as_exception(error, "the application") from error


class ActionRouter(Router):
    """Starlette's router, with the actions before its routes.

    Args:
        table: The actions.
        **arguments: As for `Router`.
    """

    def __init__(self, table: ActionTable, **arguments: Any) -> None:
        super().__init__(redirect_slashes=False, **arguments)
        self._app = table.before(Contained(super().__call__))

    async def lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the lifespan; report errors of servey without a traceback of the framework."""

        async def send_brief(message: MutableMapping[str, Any]) -> None:
            error = sys.exc_info()[1]  # Starlette sends while it handles the exception
            if message["type"] == "lifespan.startup.failed" and isinstance(error, ServeyError):
                message = {**message, "message": str(error)}
            await send(message)

        await super().lifespan(scope, receive, send_brief)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:  # type: ignore[override]
        """Serve an action or a route."""
        return self._app(scope, receive, send)
