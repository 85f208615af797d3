"""The service in Starlette, with orjson and the checks written by hand (Starlette has none)."""

from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.apps import by_hand
from benchmarks.apps.models import USERS, Parcel


class OrjsonResponse(Response):
    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return by_hand.encode(content)


async def hello(request: Request) -> Response:
    return OrjsonResponse(f"Hello {by_hand.text(request.query_params, 'name')}!")


async def authorized(request: Request) -> Response:
    by_hand.authorize(request.headers.get("authorization", ""))
    return OrjsonResponse(f"Hello {by_hand.text(request.query_params, 'name')}!")


def hello_sync(request: Request) -> Response:
    return OrjsonResponse(f"Hello {by_hand.text(request.query_params, 'name')}!")


async def parcel(request: Request) -> Response:
    return OrjsonResponse(Parcel(request.path_params["id"], "Ada", 1.5))


async def echo(request: Request) -> Response:
    return OrjsonResponse(by_hand.user(await request.body()))


async def users(request: Request) -> Response:
    return OrjsonResponse(USERS[: by_hand.integer(request.query_params.get("n", "100"), "n")])


async def refused(request: Request, error: by_hand.Refused) -> Response:
    return OrjsonResponse({"problems": error.problems}, 422)


async def not_allowed(request: Request, error: by_hand.NotAllowed) -> Response:
    return OrjsonResponse({}, error.status)


app = Starlette(
    routes=[
        Route("/hello", hello),
        Route("/hello_sync", hello_sync),
        Route("/authorized", authorized),
        Route("/parcels/{id:int}", parcel),
        Route("/echo", echo, methods=["POST"]),
        Route("/users", users),
    ],
    exception_handlers={by_hand.Refused: refused, by_hand.NotAllowed: not_allowed},
)
