"""Whose a path is: actions and the server's own routes go first, and nothing is hidden silently."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Host, Mount, Route, Router, WebSocketRoute

from servey.action.action import action
from servey.errors import DefinitionError
from servey.plugin import Plugin
from servey.servey_starlette.app import create_app
from servey.servey_test.client import client_of
from servey.service import Service
from servey.settings import Settings
from servey.trigger.web_trigger import WEB_GET, WebTrigger, WebTriggerMethod

OWN = ["/livez", "/readyz", "/login", "/openapi.json", "/docs", "/docs/errors", "/graphql", "/graphiql/"]


async def mine(request: Request) -> Response:
    return PlainTextResponse("mine")


async def anything(scope: Any, receive: Any, send: Any) -> None:
    await PlainTextResponse("mine")(scope, receive, send)


@action(triggers=(WEB_GET,))
def greet() -> str:
    return "Hello!"


@action(triggers=(WebTrigger(WebTriggerMethod.GET, "/{shelf}/{book}"),))
def book(shelf: str, book: str) -> str:
    return f"{shelf} {book}"


def app(*routes: Any, by: str = "plugin", actions: Any = (greet,), **settings: Any) -> Any:
    class Mine(Plugin):
        def starlette_routes(self, service: Service) -> Any:
            return routes

    if by == "plugin":
        return create_app(Service(actions, plugins=[Mine()], settings=Settings(**settings)))
    return create_app(Service(actions, settings=Settings(**settings)), routes=routes)


BY = pytest.mark.parametrize("by", ["plugin", "routes"])
LEFT = {
    "mount": Mount("/", anything),
    "empty mount": Mount("", anything),
    "template": Route("/{path:path}", mine),
    "mount at a template": Mount("/{tenant}", anything),
    "host": Host("{name}", anything),
    "mounted routes": Mount("/", routes=[Route("/{path:path}", mine)]),
}


@BY
@pytest.mark.parametrize("route", LEFT.values(), ids=LEFT.keys())
async def test_a_route_without_a_fixed_beginning_serves_what_is_left(route: Any, by: str) -> None:
    async with client_of(app(route, by=by)) as client:
        headers = {"host": "name"}
        seen = {path: (await client.request("GET", path, headers=headers)).content for path in [*OWN, "/actions/greet"]}
        left = await client.request("GET", "/left/index.html", headers=headers)
    assert [path for path, content in seen.items() if content == b"mine"] == []
    assert left.content == b"mine"


async def test_a_site_at_the_root_goes_before_the_way_to_the_docs() -> None:
    async with client_of(app(Mount("/", anything))) as client:
        assert (await client.request("GET", "/", headers={"accept": "text/html"})).content == b"mine"


CLAIMED = [
    *((Route(path, mine), path) for path in ("/livez", "/readyz", "/openapi.json", "/docs", "/docs/errors")),
    (Route("/login", mine, methods=["POST"]), "/login"),
    (Route("/graphql", anything), "/graphql"),
    (Route("/docs/{page}", mine), "/docs/"),
    (Route("/docs/assets/mine.css", mine), "/docs/assets/*"),
    (Mount("/docs", anything), "/docs/"),
    (Mount("/graphiql", anything), "/graphiql/"),
    (Mount("/", routes=[Route("/graphql", mine, methods=["POST"])]), "/graphql"),
    (Host("api.example", Router(routes=[Route("/livez", mine)])), "/livez"),
    (Mount("/", routes=[Mount("/docs", anything)]), "/docs/"),
]


@BY
@pytest.mark.parametrize(("route", "path"), CLAIMED)
def test_a_route_that_claims_a_path_of_the_servers_own_is_a_definition_error(route: Any, path: str, by: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        app(route, by=by)
    assert path in caught.value.message
    assert type(route).__name__ in caught.value.message or "Route" in caught.value.message
    assert caught.value.fix


@BY
@pytest.mark.parametrize(
    "route",
    [
        Route("/actions/greet", mine),
        Route("/actions/greet", mine, methods=["POST"]),
        Route("/actions/{name}", mine),
        Mount("/actions", anything),
        Mount("/", routes=[Route("/actions/greet", mine)]),
    ],
)
def test_a_route_that_claims_the_path_of_an_action_is_a_definition_error(route: Any, by: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        app(route, by=by)
    assert "greet" in caught.value.message
    assert "/actions" in caught.value.message
    assert "test_claims.py" in caught.value.where[0]


@BY
async def test_what_hides_nothing_is_served(by: str) -> None:
    async def socket(websocket: Any) -> None:
        raise AssertionError("nobody asks it here")

    routes = [
        WebSocketRoute("/graphql", socket),
        Route("/livez", mine, methods=["POST"]),
        Mount("/static", anything),
        Route("/about/{page}", mine),
    ]
    async with client_of(app(*routes, by=by, actions=(greet, book))) as client:
        answers = [
            (await client.request(method, path)).content
            for method, path in (
                ("POST", "/livez"),
                ("GET", "/livez"),
                ("GET", "/static/app.js"),
                ("GET", "/about/us"),
                ("GET", "/novels/momo"),
            )
        ]
    assert answers == [b"mine", b'{"status":"alive"}', b"mine", b"mine", b'"novels momo"']


async def test_a_path_that_the_server_does_not_serve_is_free() -> None:
    async with client_of(app(Mount("/docs", anything), Route("/graphql", mine), docs=False, graphql=False)) as client:
        assert [(await client.request("GET", path)).content for path in ("/docs/x", "/graphql")] == [b"mine"] * 2


def test_all_claims_that_meet_are_told_at_once() -> None:
    with pytest.raises(DefinitionError) as caught:
        app(Route("/livez", mine), Route("/actions/greet", mine))
    assert len(caught.value.joined) == 2
