"""The service in Litestar.

A body is one parameter there, so the envelope is a dataclass of its own. A str goes out as it is, whatever the media
type, so the two greetings are made JSON by hand.
"""

from dataclasses import dataclass
from typing import Any

import orjson
from litestar import Litestar, MediaType, get, post
from litestar.connection import ASGIConnection
from litestar.exceptions import PermissionDeniedException
from litestar.handlers import BaseRouteHandler
from litestar.middleware.rate_limit import RateLimitConfig
from litestar.security.jwt import JWTAuth, Token

from benchmarks.apps.models import SCOPE, SECRET, USERS, Parcel, User


@dataclass
class EchoArguments:
    user: User


@get("/hello", media_type=MediaType.JSON)
async def hello(name: str) -> str:
    return orjson.dumps(f"Hello {name}!").decode()


async def caller(token: Token, connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    return token.sub


def may_greet(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    if SCOPE not in connection.auth.extras.get("scope", "").split():
        raise PermissionDeniedException


AUTHENTICATION = JWTAuth[str](retrieve_user_handler=caller, token_secret=SECRET)
LIMIT = RateLimitConfig(rate_limit=("second", 1000))


@get("/authorized", media_type=MediaType.JSON, middleware=[AUTHENTICATION.middleware], guards=[may_greet])
async def authorized(name: str) -> str:
    return orjson.dumps(f"Hello {name}!").decode()


@get("/cached", media_type=MediaType.JSON, cache=3600)
async def cached(name: str) -> str:
    return orjson.dumps(f"Hello {name}!").decode()


@get("/limited", media_type=MediaType.JSON, middleware=[LIMIT.middleware])
async def limited(name: str) -> str:
    return orjson.dumps(f"Hello {name}!").decode()


@get("/hello_sync", media_type=MediaType.JSON, sync_to_thread=True)
def hello_sync(name: str) -> str:
    return orjson.dumps(f"Hello {name}!").decode()


@get("/parcels/{id:int}")
async def parcel(id: int) -> Parcel:
    return Parcel(id, "Ada", 1.5)


@post("/echo", status_code=200)
async def echo(data: EchoArguments) -> User:
    return data.user


@get("/users")
async def users(n: int = 100) -> list[User]:
    return USERS[:n]


app = Litestar([hello, authorized, cached, limited, hello_sync, parcel, echo, users], logging_config=None)
