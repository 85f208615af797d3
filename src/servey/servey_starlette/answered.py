"""Requests that no action answers: what belongs to them knows of them, and what they call is called as their caller."""

from __future__ import annotations

from collections.abc import Awaitable

from starlette.types import ASGIApp

from servey.action.context import CallContext, Origin
from servey.action.current import ANSWERED, within
from servey.security.authorization import Authorization
from servey.servey_starlette.request import (
    AUTHORIZATION_KEY,
    Receive,
    Scope,
    Send,
    authorization_left_in,
    authorization_of,
    client_of,
    request_id_of,
)
from servey.service import Service


class ScopedRequest:
    """The request of an ASGI scope; see `servey.action.current.AnsweredRequest`.

    Args:
        scope: The scope.
        service: What verifies its token.
    """

    def __init__(self, scope: Scope, service: Service) -> None:
        self._scope, self._service = scope, service
        self._request_id = ""

    @property
    def request_id(self) -> str:
        """What its caller and the log know it by."""
        if not self._request_id:
            self._request_id = request_id_of(dict(self._scope["headers"]))
        return self._request_id

    @property
    def client(self) -> str:
        """The address that it comes from."""
        return client_of(self._scope)

    async def caller(self) -> Authorization | None:
        """Return whom a middleware in front has verified, or else whom the token speaks for."""
        if AUTHORIZATION_KEY in self._scope:
            return authorization_left_in(self._scope)
        return await authorization_of(self._scope, self._service.authorizers, self._in_time)

    async def _in_time(self, awaited: Awaitable[Authorization]) -> Authorization:
        runtime = self._service.runtime
        with within(CallContext(Origin.NETWORK, "rest", self.request_id, client=self.client)):
            return await runtime.deadlines.run(awaited, runtime.loop.time() + self._service.settings.timeout)


class Answering:
    """An application whose code knows which request it answers.

    Args:
        app: The application.
        service: The service that it belongs to.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        token = ANSWERED.set(ScopedRequest(scope, self._service))
        try:
            await self._app(scope, receive, send)
        finally:
            ANSWERED.reset(token)
