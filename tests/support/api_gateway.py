"""An adapter for Lambda functions behind an Amazon API Gateway HTTP API, payload format 2.0.

It is the proof that an adapter needs `servey.http` and no framework. The event and the response are those of
https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping, MutableMapping
from typing import Any
from urllib.parse import unquote

from servey.errors import NotFoundError
from servey.http.bearer import AUTHORIZATION_KEY
from servey.http.problem import Problems
from servey.http.routing_table import ActionTable
from servey.security.authorization import Authorization
from servey.service import Service


class ApiGateway:
    """Answers events with the actions of a service, which has to be `running`."""

    def __init__(self, service: Service) -> None:
        problems = Problems(service.settings)
        self._find = ActionTable(service, problems).find
        self._not_found = problems.endpoint(NotFoundError("nothing is served at this path"))

    async def __call__(self, event: Mapping[str, Any]) -> dict[str, Any]:
        scope = scope_of(event)
        text = event.get("body") or ""
        body = b64decode(text) if event.get("isBase64Encoded") else text.encode()
        messages: list[MutableMapping[str, Any]] = []

        async def receive() -> MutableMapping[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            messages.append(message)

        await (self._find(scope) or self._not_found)(scope, receive, send)
        return response_of(messages)


def scope_of(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ASGI scope of an event."""
    http: Mapping[str, str] = event["requestContext"]["http"]
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in event["headers"].items()]
    if event.get("cookies"):
        headers.append((b"cookie", "; ".join(event["cookies"]).encode("latin-1")))
    scope: dict[str, Any] = {
        "type": "http",
        "method": http["method"],
        "path": unquote(event["rawPath"]),
        "raw_path": event["rawPath"].encode(),
        "query_string": event["rawQueryString"].encode(),
        "headers": headers,
        "client": (http["sourceIp"], 0),
    }
    claims = event["requestContext"].get("authorizer", {}).get("lambda")
    if claims is not None:  # a Lambda authorizer has verified the token
        scope[AUTHORIZATION_KEY] = Authorization.of_claims(claims)
    return scope


def response_of(messages: list[MutableMapping[str, Any]]) -> dict[str, Any]:
    """Return the response for API Gateway; equal headers are joined, as RFC 9110 §5.3 allows."""
    start, *rest = messages
    headers: dict[str, str] = {}
    for name, value in start["headers"]:
        key = name.decode()
        headers[key] = f"{headers[key]}, {value.decode('latin-1')}" if key in headers else value.decode("latin-1")
    body = b"".join(message.get("body", b"") for message in rest)
    return {"statusCode": start["status"], "headers": headers, "body": body.decode(), "isBase64Encoded": False}
