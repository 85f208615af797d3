"""The service in Litestar.

A body is one parameter there, so the envelope is a dataclass of its own. A str goes out as it is, whatever the media
type, so the two greetings are made JSON by hand.
"""

from dataclasses import dataclass

import orjson
from litestar import Litestar, MediaType, get, post

from benchmarks.apps.models import USERS, Parcel, User


@dataclass
class EchoArguments:
    user: User


@get("/hello", media_type=MediaType.JSON)
async def hello(name: str) -> str:
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


app = Litestar([hello, hello_sync, parcel, echo, users], logging_config=None)
