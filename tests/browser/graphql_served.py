"""GraphiQL before a schema, for `uvicorn graphql_served:app`, and inside another application, for `:mounted`."""

import json
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import strawberry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from strawberry.asgi import GraphQL
from strawberry.scalars import JSON

from servey import WEB_GET
from servey.action.action import action
from servey.servey_starlette.app import create_app
from servey.servey_strawberry.graphiql import graphiql_routes
from servey.service import Service
from servey.settings import Settings


@action(triggers=(WEB_GET,))
def ping() -> str:
    """Answer."""
    return "pong"


@strawberry.type
class Query:
    @strawberry.field(description="Greets **somebody**. <img src=https://elsewhere.example/x.png>")
    def greet(self, name: str = "you") -> str:
        return f"Hello {name}"

    @strawberry.field(description="Adds two numbers.")
    def add(self, left: int, right: int) -> int:
        return left + right

    @strawberry.field(description="A number with more digits than JavaScript has.")
    def big(self) -> JSON:
        return JSON(9007199254740993)

    @strawberry.field(description="Returns what a header of the request says.")
    def header(self, info: strawberry.Info[Any, Any], name: str) -> str | None:
        return info.context["request"].headers.get(name)

    @strawberry.field(description="Tells a secret to who is logged in.")
    async def secret(self, info: strawberry.Info[Any, Any]) -> str:
        scheme, _, token = info.context["request"].headers.get("authorization", "").partition(" ")
        if scheme != "Bearer":
            raise PermissionError("log in first")
        for authorizer in service.authentication.authorizers:
            found = await authorizer.authorize(token)
            if found is not None:
                return f"for {found.subject}"
        raise PermissionError("who are you?")


EXAMPLES = [
    SimpleNamespace(title="Greet Ada", query='query Greet {\n  greet(name: "Ada")\n}', variables=""),
    SimpleNamespace(
        title='Add <b>& "more"</b>',
        query="query Add($left: Int!, $right: Int!) {\n  add(left: $left, right: $right)\n}",
        variables=json.dumps({"left": 20, "right": 22}, indent=2),
    ),
    SimpleNamespace(title="Secret", query="query Secret {\n  secret\n}", variables=""),
]

service = Service([ping], settings=Settings.from_environment())


class View(GraphQL[Any, Any]):
    """Refuses a token that says so, as an authorizer does, by its status."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if Request(scope).headers.get("x-refuse"):
            await JSONResponse({"code": "unauthorized"}, 401)(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


app = create_app(
    service,
    routes=[
        *graphiql_routes(service, lambda _: EXAMPLES),
        Route("/graphql", View(strawberry.Schema(Query), graphql_ide=None)),
    ],
)


@asynccontextmanager
async def lifespan(_):
    async with service.running():
        yield


mounted = Starlette(routes=[Mount("/api", app)], lifespan=lifespan)
