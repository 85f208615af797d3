"""Give code outside of actions the current request, so that its calls have the caller of the request."""

from __future__ import annotations

from servey.action.context import CallContext, Origin
from servey.action.current import CURRENT_REQUEST
from servey.http.bearer import authenticated
from servey.http.request import Endpoint, Receive, Scope, Send, client_of, request_id_of, traceparent_of
from servey.security.authorization import Authorization
from servey.service import Service


class ScopedRequest:
    """The request of an ASGI scope; see `servey.action.current.CurrentRequest`.

    Args:
        scope: The scope.
        service: The service, whose authorizers verify the token.
    """

    def __init__(self, scope: Scope, service: Service) -> None:
        self._scope, self._service = scope, service
        self._request_id = ""

    @property
    def request_id(self) -> str:
        """The request id, as in the answer and in the log."""
        if not self._request_id:
            self._request_id = request_id_of(dict(self._scope["headers"]))
        return self._request_id

    @property
    def traceparent(self) -> str:
        """The trace of the request (W3C Trace Context §3.2); empty if unknown."""
        return traceparent_of(dict(self._scope["headers"]))

    @property
    def client(self) -> str:
        """The address of the client."""
        return client_of(self._scope)

    async def caller(self) -> Authorization | None:
        """Return the caller: from a middleware, or else from the bearer token."""
        context = CallContext(Origin.NETWORK, "rest", self.request_id, client=self.client)
        deadline = self._service.runtime.loop.time() + self._service.settings.calls.timeout
        return await authenticated(self._scope, self._service, context, deadline)


class CurrentRequestMiddleware:
    """ASGI middleware that sets the current request around an application.

    Args:
        app: The application.
        service: Its service.
    """

    def __init__(self, app: Endpoint, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request; a lifespan passes unchanged."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        token = CURRENT_REQUEST.set(ScopedRequest(scope, self._service))
        try:
            await self._app(scope, receive, send)
        finally:
            CURRENT_REQUEST.reset(token)
