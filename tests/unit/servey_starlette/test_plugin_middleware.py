"""Middleware of plugins: around actions, GraphQL and routes alike, the outermost first."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from starlette.middleware import Middleware

from servey import WEB_GET
from servey.action.action import action
from servey.errors import DefinitionError
from servey.plugin import Plugin
from servey.servey_starlette.app import create_app
from servey.servey_test.client import client_of
from servey.service import Service


@action(triggers=(WEB_GET,))
async def greet() -> str:
    return "hello"


class Named:
    """Adds its name to a header of each answer; what is outside adds later."""

    def __init__(self, app: Any, name: str) -> None:
        self._app, self._name = app, name

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def named(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = dict(message["headers"])
                through = b" ".join(filter(None, [headers.get(b"x-through"), self._name.encode()]))
                message["headers"] = [*(headers | {b"x-through": through}).items()]
            await send(message)

        await self._app(scope, receive, named)


class Wrapping(Plugin):
    def __init__(self, *items: Any) -> None:
        self._items = items

    def middleware(self) -> Any:
        return self._items


@pytest.mark.parametrize("path", ["/actions/greet", "/graphql", "/livez", "/nowhere"])
async def test_every_request_passes_the_middleware_of_plugins(path: str) -> None:
    service = Service(
        [greet],
        plugins=[
            Wrapping(partial(Named, name="outer"), partial(Named, name="inner")),
            Wrapping(lambda app: Named(app, "next")),
        ],
    )
    app = create_app(service, middleware=[Middleware(Named, "mine")])
    async with client_of(app) as client:
        answer = await client.request("GET", path, query="query={_servey{name}}" if path == "/graphql" else "")
    assert answer.headers["x-through"] == "next inner outer mine"


@pytest.mark.parametrize("item", [Middleware(Named, "x"), "module:Named"], ids=["starlette's", "name"])
def test_middleware_that_cannot_wrap_is_refused(item: Any) -> None:
    with pytest.raises(DefinitionError) as caught:
        create_app(Service([greet], plugins=[Wrapping(item)]))
    assert "partial" in (caught.value.fix or "")
