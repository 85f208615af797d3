"""Asking a service by GraphQL, in process."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from servey import Authorization
from servey.servey_starlette.app import create_app
from servey.servey_test.client import Response, client_of
from servey.service import Service

Target = Service | Sequence[Callable[..., Any]]
HEADERS = {"content-type": "application/json", "accept": "application/graphql-response+json"}


async def post(
    target: Target,
    query: str,
    variables: Mapping[str, Any] | None = None,
    *,
    authorization: Authorization | None = None,
    **members: Any,
) -> Response:
    """Send one request, to an application of its own."""
    service = target if isinstance(target, Service) else Service(target)
    body = json.dumps({"query": query, "variables": variables, **members}).encode()
    async with client_of(create_app(service)) as client:
        return await client.request("POST", "/graphql", content=body, headers=HEADERS, authorization=authorization)


async def ask(target: Target, query: str, variables: Mapping[str, Any] | None = None, **more: Any) -> Any:
    """Return the data of an answer without errors."""
    told = (await post(target, query, variables, **more)).json()
    assert "errors" not in told, told
    return told["data"]


async def codes(target: Target, query: str, variables: Mapping[str, Any] | None = None, **more: Any) -> list[str]:
    """Return the codes of the errors of an answer."""
    told = (await post(target, query, variables, **more)).json()
    return [error["extensions"]["code"] for error in told.get("errors", ())]
