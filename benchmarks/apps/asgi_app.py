"""The service by hand: one ASGI function, orjson, and no framework. What the others are measured against."""

import asyncio
from typing import Any

from benchmarks.apps import by_hand
from benchmarks.apps.models import USERS, Parcel, User

JSON = (b"content-type", b"application/json")


async def hello(name: str) -> str:
    return f"Hello {name}!"


def hello_sync(name: str) -> str:
    return f"Hello {name}!"


async def parcel(id: int) -> Parcel:
    return Parcel(id, "Ada", 1.5)


async def echo(user: User) -> User:
    return user


async def users(n: int) -> list[User]:
    return USERS[:n]


async def body_of(receive: Any) -> bytes:
    message = await receive()
    body = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    return body


async def answer(scope: Any, receive: Any) -> Any:
    route = scope["method"], scope["path"]
    if route == ("GET", "/hello"):
        return await hello(by_hand.text(by_hand.query(scope["query_string"]), "name"))
    if route == ("GET", "/authorized"):
        header = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        by_hand.authorize(header.decode("latin-1"))
        return await hello(by_hand.text(by_hand.query(scope["query_string"]), "name"))
    if route == ("GET", "/hello_sync"):
        name = by_hand.text(by_hand.query(scope["query_string"]), "name")
        return await asyncio.get_running_loop().run_in_executor(None, hello_sync, name)
    if route == ("POST", "/echo"):
        return await echo(by_hand.user(await body_of(receive)))
    if route == ("GET", "/users"):
        return await users(by_hand.integer(by_hand.query(scope["query_string"]).get("n", "100"), "n"))
    if route[0] == "GET" and route[1].startswith("/parcels/"):
        return await parcel(by_hand.integer(route[1].removeprefix("/parcels/"), "id"))
    raise LookupError


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    status = 200
    try:
        body = by_hand.encode(await answer(scope, receive))
    except by_hand.Refused as refused:
        status, body = 422, by_hand.encode({"problems": refused.problems})
    except by_hand.NotAllowed as refused:
        status, body = refused.status, b"{}"
    except LookupError:
        status, body = 404, b"{}"
    headers = [JSON, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
