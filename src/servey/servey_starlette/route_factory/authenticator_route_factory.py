"""The token endpoint ``/login``: returns a token for a name and a password (OAuth 2.0, RFC 6749 §4.3 and §5)."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from servey.action.callables import is_async
from servey.action.defect import defect
from servey.action.workers import WorkerThreads
from servey.errors import CallError, OverloadedError, TooManyRequestsError
from servey.generated_secrets import warn_of_generated
from servey.http.request import client_of, request_id_of
from servey.ports import Authenticator, TokenIssuer
from servey.security.authenticator import DebugAuthenticator
from servey.security.authorization import Authorization
from servey.security.urls import is_loopback
from servey.servey_starlette.route_factory.token_request import TokenError, TokenRequest, read_token_request
from servey.service import Service

if TYPE_CHECKING:
    from servey.servey_starlette.route_factory.login_attempts import LoginAttempts

_log = logging.getLogger("servey.login")

LOGIN_PATH = "/login"


def login_routes(service: Service) -> Sequence[BaseRoute]:
    """Return the route of ``/login``; none if the service has no login."""
    authenticator, issuer = service.authentication.authenticator, service.authentication.token_issuer
    if authenticator is None or issuer is None:
        return ()
    return (Route(LOGIN_PATH, Login(service, authenticator, issuer)),)


class Login:
    """The token endpoint, as an ASGI application."""

    def __init__(self, service: Service, authenticator: Authenticator, issuer: TokenIssuer) -> None:
        self._service = service
        self._authenticator = authenticator
        self._issuer = issuer
        # another ASGI server may use another address than that of the settings, so only SERVEY_ENV counts
        is_development = service.settings.process.environment == "development"
        # an application that mounts the service has no banner, so the first login prints the password
        self._must_print_password = service.has_generated_secrets
        self._is_local = isinstance(authenticator, DebugAuthenticator) and not is_development

    @cached_property
    def _attempts(self) -> LoginAttempts:
        # the import takes 0.1 s, which every reload would wait for
        from servey.servey_starlette.route_factory.login_attempts import LoginAttempts

        return LoginAttempts()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (RFC 6749 §5.1, §5.2), without caching."""
        request_id = request_id_of(dict(scope["headers"]))
        if self._is_local and not is_loopback(client_of(scope)):
            _log.warning(
                "another machine (%s) requested the login for development and got a 404: without "
                "SERVEY_ENV=development, only this machine can use it (request %s)",
                client_of(scope) or "address unknown",
                request_id,
            )
            raise HTTPException(404)
        headers = {"Cache-Control": "no-store", "Pragma": "no-cache", "X-Request-ID": request_id}
        status = 200
        if self._must_print_password:
            self._must_print_password = False
            warn_of_generated(self._service.settings, self._service.authentication.authenticator)
        try:
            answer = await self._answer(Request(scope, receive), request_id)
        except TokenError as error:
            answer = {"error": error.error, "error_description": error.description}
            headers |= error.headers
            status = error.status
        except ClientDisconnect:
            return
        body = b"" if scope["method"] == "HEAD" else msgspec.json.encode(answer)
        await Response(body, status, headers, "application/json")(scope, receive, send)

    async def _answer(self, request: Request, request_id: str) -> dict[str, Any]:
        wanted = await read_token_request(request, self._service.settings.http.cors_origins)
        client = client_of(request.scope)
        at = self._service.runtime.loop.time() + self._service.settings.calls.timeout
        try:
            async with self._attempts.attempt(client, wanted.username, at) as fail:
                try:
                    authorization = await self._authenticated(wanted, request_id, at)
                except TokenError as error:
                    if error.error == "invalid_grant":
                        fail()
                        _log.info("a login from %s failed (request %s)", client, request_id)
                    raise
        except TooManyRequestsError as error:
            _log.warning("too many logins from %s have failed (request %s)", client, request_id)
            raise TokenError("temporarily_unavailable", error.detail, status=429, headers=error.headers) from error
        except OverloadedError as error:
            raise TokenError("temporarily_unavailable", error.detail, status=503, headers=error.headers) from error
        granted = _granted(authorization, wanted)
        now = datetime.now(UTC).replace(microsecond=0)
        if granted.expires_at is None:
            lifetime = timedelta(seconds=self._service.settings.tokens.jwt_lifetime)
            granted = msgspec.structs.replace(granted, expires_at=now + lifetime)
        assert granted.expires_at is not None
        expires_in = int((granted.expires_at - now).total_seconds())
        if expires_in <= 0:
            raise TokenError("invalid_grant", "the account has expired")
        try:
            workers = self._service.runtime.workers
            token = await self._called(lambda: self._issuer.issue(granted), "the token issuer", request_id, at, workers)
        except CallError as error:
            raise self._defect(error, "the token issuer failed", request_id) from error
        answer = {"access_token": token, "token_type": "Bearer", "expires_in": expires_in}
        if granted.scopes:  # RFC 6749 §3.3 has no empty list
            answer["scope"] = " ".join(sorted(granted.scopes))
        return answer

    async def _authenticated(self, wanted: TokenRequest, request_id: str, at: float) -> Authorization:
        def authenticate() -> Any:
            return self._authenticator.authenticate(wanted.username, wanted.password)

        # hashing a password is slow, so it has its own threads
        workers = None if is_async(self._authenticator.authenticate) else self._service.runtime.login_workers
        try:
            found = await self._called(authenticate, "the authenticator", request_id, at, workers)
        except CallError as error:  # an authenticator may refuse by an error, too
            raise TokenError("invalid_grant", error.detail or "the login is refused") from error
        if found is None:
            raise TokenError("invalid_grant", "the user name or the password is wrong")
        if not isinstance(found, Authorization):
            raise self._defect(None, f"the authenticator returned a {type(found).__name__}", request_id)
        return found

    async def _called(self, call: Any, label: str, request_id: str, at: float, workers: WorkerThreads | None) -> Any:
        """Call a plugin's code until the deadline `at`: in a thread of `workers`, or else on the event loop."""
        runtime = self._service.runtime
        try:
            if workers is None:
                return await runtime.deadlines.run(call(), at)
            result = await workers.run(call, deadline=at, label=label, request_id=request_id)
            return await runtime.deadlines.run(result, at) if inspect.isawaitable(result) else result
        except CallError as error:
            if error.status < 500:
                raise
            if error.status == 500:
                raise self._defect(error, f"{label} failed", request_id) from error
            headers = {"Retry-After": error.headers.get("Retry-After", "1")}
            raise TokenError("temporarily_unavailable", "try again later", status=503, headers=headers) from error
        except BaseException as error:
            raise self._defect(error, f"{label} failed", request_id) from error

    def _defect(self, error: BaseException | None, message: str, request_id: str) -> TokenError:
        defect(error, message, log=_log, request_id=request_id)
        return TokenError("server_error", "the service has a defect; its log has the details", status=500)


def _granted(authorization: Authorization, wanted: TokenRequest) -> Authorization:
    """Return the authorization with the requested scopes (RFC 6749 §3.3)."""
    if wanted.scopes is None:
        return authorization
    if not wanted.scopes <= authorization.scopes:
        raise TokenError("invalid_scope", "the user does not have all of these scopes")
    return msgspec.structs.replace(authorization, scopes=wanted.scopes)
