"""The template of an action's path, where instrumentations look for it."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Match, Mount

from servey.action.action import action
from servey.servey_starlette.app import create_app
from servey.servey_test.client import Client
from servey.service import Service
from servey.trigger.web_trigger import WEB_GET, WebTrigger, WebTriggerMethod

GET, PUT = WebTriggerMethod.GET, WebTriggerMethod.PUT


@action(triggers=(WEB_GET,))
def plain() -> str:
    return ""


@action(triggers=(WebTrigger(GET, "/parcels/{id}"),))
def parcel(id: int) -> str:
    return ""


@action(triggers=(WebTrigger(PUT, "/parcels/{code}"),))
def put_parcel(code: str) -> str:
    return ""


class Through:
    """A middleware, so that actions are found inside Starlette's stack."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)


class Outer:
    """What stands around the application, and reads the scope when the request is done."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.scope: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        await self._app(scope, receive, send)


REQUESTS = [
    ("GET", "/actions/plain", "/actions/plain", Match.FULL),
    ("HEAD", "/actions/plain", "/actions/plain", Match.FULL),
    ("POST", "/actions/plain", "/actions/plain", Match.PARTIAL),
    ("OPTIONS", "/actions/plain", "/actions/plain", Match.FULL),
    ("GET", "/parcels/5", "/parcels/{id}", Match.FULL),
    ("GET", "/parcels/a%2Fb", "/parcels/{id}", Match.FULL),
    ("PUT", "/parcels/x", "/parcels/{code}", Match.FULL),
    ("GET", "/livez", "/livez", Match.FULL),
]


@pytest.fixture(params=[(), (Middleware(Through),)], ids=["in front", "inside"])
def app(request: pytest.FixtureRequest) -> Starlette:
    return create_app(Service([plain, parcel, put_parcel]), middleware=request.param)


@pytest.mark.parametrize("root_path", ["", "/api"])
@pytest.mark.parametrize(("method", "path", "template", "match"), REQUESTS)
async def test_the_route_in_the_scope_has_the_template(
    app: Starlette, method: str, path: str, template: str, match: Match, root_path: str
) -> None:
    outer = Outer(app)
    await Client(outer, root_path).request(method, path, content=b"{}" if method == "PUT" else b"")
    assert (outer.scope["route"].path, outer.scope["route"].path_format) == (template, template)


@pytest.mark.parametrize("root_path", ["", "/api"])
@pytest.mark.parametrize(("method", "path", "template", "match"), REQUESTS)
async def test_the_routes_of_the_application_match_as_requests_are_served(
    app: Starlette, method: str, path: str, template: str, match: Match, root_path: str
) -> None:
    outer = Outer(app)
    await Client(outer, root_path).request(method, path)
    found = [(route.path, route.matches(outer.scope)[0]) for route in app.routes]  # type: ignore[attr-defined]
    assert [item for item in found if item[1] is match] == [(template, match)]


async def test_a_mounted_application_says_the_path_below_its_prefix() -> None:
    outer = Outer(Starlette(routes=[Mount("/api", create_app(Service([parcel])))]))
    await Client(outer).request("GET", "/api/parcels/5")
    assert (outer.scope["root_path"], outer.scope["route"].path_format) == ("/api", "/parcels/{id}")


async def test_what_nobody_serves_has_no_route() -> None:
    outer = Outer(create_app(Service([plain])))
    await Client(outer).request("GET", "/nowhere")
    assert "route" not in outer.scope
