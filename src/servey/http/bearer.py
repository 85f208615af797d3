"""The caller of an HTTP request: its bearer token (RFC 6750 §2.1), or the caller that a middleware has verified."""

from __future__ import annotations

from collections.abc import Iterable

from servey.action.context import CallContext
from servey.errors import UnauthorizedError
from servey.http.request import Scope
from servey.security.authorization import Authorization, checked_authorization
from servey.service import Service

AUTHORIZATION_KEY = "servey.authorization"
"""The ASGI scope key where a middleware may put the `Authorization` that it has verified; None for no caller."""


def bearer_token(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the bearer token of a request that has an ``Authorization`` header.

    Raises:
        UnauthorizedError: There is not exactly one header with a bearer token.
    """
    given: bytes | None = None
    for name, value in headers:
        if name == b"authorization":
            if given is not None:
                raise UnauthorizedError("there is more than one Authorization header", error="invalid_request")
            given = value
    scheme, _, token = (given or b"").decode("latin-1").strip().partition(" ")
    if scheme.lower() != "bearer":
        raise UnauthorizedError("send a bearer token: Authorization: Bearer …")  # RFC 6750 §3: without an error code
    token = token.strip()
    if not token:
        raise UnauthorizedError("send a bearer token: Authorization: Bearer …", error="invalid_request")
    return token


def authorization_left_in(scope: Scope) -> Authorization | None:
    """Return the caller that a middleware has put under `AUTHORIZATION_KEY`.

    Raises:
        TypeError: The value is neither an `Authorization` nor None.
    """
    given = scope[AUTHORIZATION_KEY]
    return None if given is None else checked_authorization(given, f"the scope key {AUTHORIZATION_KEY}")


async def authenticated(
    scope: Scope, service: Service, context: CallContext, deadline: float | None
) -> Authorization | None:
    """Return the caller of a request: from a middleware, or else from the bearer token.

    Args:
        scope: The ASGI scope.
        service: The service.
        context: As for `Authentication.authenticate`.
        deadline: As for `Authentication.authenticate`.

    Raises:
        UnauthorizedError: The header is not exactly one bearer token, or no authorizer accepts the token.
        CallError: As for `Authentication.authenticate`.
    """
    if AUTHORIZATION_KEY in scope:
        return authorization_left_in(scope)
    headers = scope["headers"]
    if not any(name == b"authorization" for name, _ in headers):
        return None
    return await service.authenticate(bearer_token(headers), context, deadline)
