"""A call that is made while a request is answered is that request's: its origin, its caller, its request id."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, Router, WebSocketRoute
from starlette.websockets import WebSocket

from servey import WEB_GET, Authorization, CallContext, CallError, Origin, ScopeAccessControl
from servey.action.action import action
from servey.errors import UnauthorizedError
from servey.plugin import Plugin
from servey.servey_direct import direct
from servey.servey_starlette.app import create_app
from servey.servey_test.client import client_of
from servey.service import Service


@action(access_control=ScopeAccessControl("write"))
def store() -> str:
    return "stored"


@action
def seen(context: CallContext) -> dict[str, Any]:
    caller = context.authorization
    return {
        "origin": context.origin.value,
        "caller": None if caller is None else caller.subject,
        "client": context.client,
        "request_id": context.request_id,
    }


@action(triggers=(WEB_GET,))
async def by_action(context: CallContext) -> dict[str, Any]:
    """Call two actions, in tasks of its own."""
    assert context.service is not None
    return await told(context.service)


@action(triggers=(WEB_GET,))
def by_def(context: CallContext) -> dict[str, Any]:
    return asyncio.run(told(context.service))


async def told(service: Service, **options: Any) -> dict[str, Any]:
    """Return what became of a guarded call, and what a call knows."""
    try:
        stored: Any = await direct.call(service, "store", {}, **options)
    except CallError as error:
        stored = error.code
    return {"stored": stored, **await direct.call(service, "seen", {}, **options)}


class Routes(Plugin):
    """Routes beside the actions, and tokens that are names with scopes."""

    def authorizers(self) -> Any:
        return (self,)

    async def authorize(self, token: str, /) -> Authorization | None:
        if token == "bad":
            raise UnauthorizedError(error="invalid_token")
        return Authorization(token, frozenset({"write"} if token == "root" else ()))

    def starlette_routes(self, service: Service) -> Any:
        async def asked(request: Request) -> Response:
            return JSONResponse(await told(service))

        async def as_system(request: Request) -> Response:
            return JSONResponse(await told(service, as_system=True))

        async def in_a_task(request: Request) -> Response:
            return JSONResponse(await asyncio.create_task(told(service)))

        def in_a_thread(request: Request) -> Response:
            return JSONResponse(asyncio.run(told(service)))

        async def over_a_socket(socket: WebSocket) -> None:
            await socket.accept()
            await socket.send_json(await told(service))
            await socket.close()

        return (
            Route("/asked", asked),
            Route("/as-system", as_system),
            Route("/in-a-task", in_a_task),
            Route("/in-a-thread", in_a_thread),
            Mount("/mounted", Router([Route("/asked", asked)])),
            WebSocketRoute("/socket", over_a_socket),
        )


def served() -> Service:
    return Service([store, seen, by_action, by_def], plugins=[Routes()])


async def _passed(request: Request, call_next: Any) -> Response:
    return await call_next(request)


def asked_for(path: str, headers: Mapping[str, str], **options: Any) -> tuple[int, Any]:
    async def main() -> tuple[int, Any]:
        async with client_of(create_app(served(), **options)) as client:
            answer = await client.request("GET", path, headers={**headers, "x-request-id": "mine"})
            return answer.status, answer.json()

    return asyncio.run(main())


PLACES = (
    "/asked",
    "/in-a-task",
    "/in-a-thread",
    "/mounted/asked",
    "/actions/by-action",
    "/actions/by-def",
)
CALLERS: Mapping[str, tuple[Mapping[str, str], str | None, str]] = {
    "nobody": ({}, None, "unauthorized"),
    "somebody": ({"authorization": "Bearer ann"}, "ann", "forbidden"),
    "root": ({"authorization": "Bearer root"}, "root", "stored"),
}
MIDDLEWARE = (Middleware(BaseHTTPMiddleware, dispatch=_passed),)


@pytest.mark.parametrize("middleware", [(), MIDDLEWARE], ids=["plain", "middleware"])
@pytest.mark.parametrize("who", CALLERS)
@pytest.mark.parametrize("path", PLACES)
def test_a_call_within_a_request_has_its_caller(path: str, who: str, middleware: Any) -> None:
    headers, caller, stored = CALLERS[who]
    client = "127.0.0.1" if not path.startswith("/actions") else ""
    expected = {"stored": stored, "origin": "network", "caller": caller, "client": client, "request_id": "mine"}
    assert asked_for(path, headers, middleware=middleware) == (200, expected)


@pytest.mark.parametrize("who", CALLERS)
def test_a_websocket_is_a_request_too(who: str) -> None:
    headers, caller, stored = CALLERS[who]
    answer = asyncio.run(_first_message(create_app(served()), "/socket", headers))
    assert (answer["stored"], answer["origin"], answer["caller"]) == (stored, "network", caller)


async def _first_message(app: Any, path: str, headers: Mapping[str, str]) -> Any:
    """Return the first message of a websocket, as JSON."""
    sent: list[Any] = []
    scope = {
        "type": "websocket",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "subprotocols": [],
    }

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return json.loads(next(message["text"] for message in sent if message["type"] == "websocket.send"))


def test_middleware_calls_as_the_caller_too() -> None:
    services: list[Service] = []

    async def call(request: Request, call_next: Any) -> Response:
        return JSONResponse(await told(services[0]))

    async def main() -> Any:
        services.append(served())
        app = create_app(services[0], middleware=[Middleware(BaseHTTPMiddleware, dispatch=call)])
        async with client_of(app) as client:
            return (await client.request("GET", "/livez")).json()

    answer = asyncio.run(main())
    assert (answer["stored"], answer["origin"], answer["caller"]) == ("unauthorized", "network", None)


def test_a_token_that_is_not_good_is_refused_where_a_call_is_made() -> None:
    status, problem = asked_for("/asked", {"authorization": "Bearer bad"})
    assert (status, problem["code"], problem["request_id"]) == (401, "unauthorized", "mine")


def test_to_act_as_the_system_is_said() -> None:
    status, answer = asked_for("/as-system", {})
    assert (status, answer["stored"], answer["origin"], answer["caller"]) == (200, "stored", "system", None)


def test_outside_of_requests_the_system_calls() -> None:
    async def main() -> Any:
        service = served()
        async with client_of(create_app(service)) as client:
            await client.request("GET", "/asked")
            return await told(service)

    answer = asyncio.run(main())
    assert (answer["stored"], answer["origin"], answer["caller"]) == ("stored", "system", None)


def test_an_action_of_the_system_calls_as_the_system() -> None:
    answer = asyncio.run(direct.call(served(), "by_action", {}))
    assert (answer["stored"], answer["origin"]) == ("stored", "system")


def test_an_authorizer_and_an_access_control_call_as_nobody_knows_whom_yet() -> None:
    found: list[Any] = []

    class Control:
        async def check(self, authorization: Authorization | None) -> None:
            found.append((await told(services[0]))["caller"])

    class Asking(Plugin):
        def authorizers(self) -> Any:
            return (self,)

        async def authorize(self, token: str, /) -> Authorization | None:
            found.append((await told(services[0]))["stored"])
            return Authorization(token)

        def starlette_routes(self, service: Service) -> Any:
            async def asked(request: Request) -> Response:
                return JSONResponse(await told(service))

            return (Route("/asked", asked),)

    @action(triggers=(WEB_GET,), access_control=Control())
    def guarded() -> int:
        return 1

    services = [Service([store, seen, guarded], plugins=[Asking()])]

    async def main() -> list[int]:
        async with client_of(create_app(services[0])) as client:
            headers = {"authorization": "Bearer ann"}
            return [
                (await client.request("GET", path, headers=headers)).status for path in ("/actions/guarded", "/asked")
            ]

    assert asyncio.run(main()) == [200, 200]
    assert found == ["unauthorized", "ann", "unauthorized", "unauthorized"]


def test_a_context_and_the_system_are_not_both_given() -> None:
    context = CallContext(Origin.NETWORK, "direct", "1")
    with pytest.raises(ValueError, match="context"):
        asyncio.run(direct.call(served(), "seen", {}, context=context, as_system=True))
