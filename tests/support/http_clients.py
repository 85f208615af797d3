"""The adapters that serve HTTP, each behind one client, so that a rule is stated once for all of them."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import httpx

from servey.action.context import new_request_id
from servey.http.bearer import AUTHORIZATION_KEY
from servey.security.authorization import Authorization
from servey.servey_starlette.app import create_app
from servey.servey_test.client import Response, client_of
from servey.service import Service
from support.api_gateway import ApiGateway
from support.served import served_by_uvicorn


def with_query(path: str, query: str | Iterable[tuple[str, str]]) -> str:
    """Return a path, which may have a query string already, with further names and values."""
    text = query if isinstance(query, str) else urlencode(list(query))
    return f"{path}{'&' if '?' in path else '?'}{text}" if text else path


class ApiGatewayClient:
    """Sends requests as events of an Amazon API Gateway HTTP API."""

    def __init__(self, service: Service) -> None:
        self._answer = ApiGateway(service)

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: str | Iterable[tuple[str, str]] = "",
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
        authorization: Authorization | None = None,
    ) -> Response:
        context: dict[str, Any] = {
            "apiId": "r3pmxmplak",
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1"},
            "requestId": new_request_id(),
            "stage": "$default",
        }
        if authorization is not None:
            claims = {"sub": authorization.subject, "scope": " ".join(authorization.scopes)}
            context["authorizer"] = {"lambda": {name: value for name, value in claims.items() if value is not None}}
        path, _, text = with_query(path, query).partition("?")
        try:
            body, is_base64 = content.decode(), False
        except UnicodeDecodeError:
            body, is_base64 = b64encode(content).decode(), True
        event = {
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": path,
            "rawQueryString": text,
            "headers": {name.lower(): value for name, value in (headers or {}).items()},
            "requestContext": context,
            "body": body,
            "isBase64Encoded": is_base64,
        }
        response = await self._answer(json.loads(json.dumps(event)))
        return Response(response["statusCode"], response["headers"], response["body"].encode())


class UvicornClient:
    """Sends requests to uvicorn through a socket."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: str | Iterable[tuple[str, str]] = "",
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
        authorization: Authorization | None = None,
    ) -> Response:
        sent = dict(headers or {})
        if authorization is not None:
            sent["x-test-caller"] = json.dumps([authorization.subject or "", " ".join(authorization.scopes)])
        response = await self._client.request(method, with_query(path, query), content=content, headers=sent)
        return Response(response.status_code, response.headers, response.content)


def identified(app: Any) -> Any:
    """Let a test say who calls, as an authenticating middleware in front would."""

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        for name, value in scope.get("headers", ()):
            if name == b"x-test-caller":
                subject, scopes = json.loads(value)
                scope[AUTHORIZATION_KEY] = Authorization(subject, frozenset(scopes.split()))
        await app(scope, receive, send)

    return wrapped


@asynccontextmanager
async def in_starlette(service: Service) -> AsyncIterator[Any]:
    """The application of Starlette, without a socket."""
    async with client_of(create_app(service)) as client:
        yield client


@asynccontextmanager
async def in_uvicorn(service: Service) -> AsyncIterator[UvicornClient]:
    """The same application, served by uvicorn."""
    with served_by_uvicorn(identified(create_app(service))) as port:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            yield UvicornClient(client)


@asynccontextmanager
async def in_api_gateway(service: Service) -> AsyncIterator[ApiGatewayClient]:
    """A Lambda function behind an API Gateway."""
    async with service.running():
        yield ApiGatewayClient(service)


HTTP_ADAPTERS: dict[str, Callable[[Service], AbstractAsyncContextManager[Any]]] = {
    "starlette": in_starlette,
    "uvicorn": in_uvicorn,
    "api-gateway": in_api_gateway,
}
