"""The requests that are measured, the apps that answer them, and the proof that all answer alike."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from itertools import cycle
from typing import Any
from uuid import UUID

from benchmarks.apps.models import BAD_TOKEN, LOWLY_TOKEN, TOKEN

Asgi = Callable[[dict[str, Any], Any, Any], Any]

USER = {
    "id": "00000000-0000-0000-0000-000000000007",
    "name": "Grace",
    "age": 37,
    "created": "2026-01-01T00:00:00Z",
    "tags": ["a", "b", "c"],
    "address": {"street": "1 st", "city": "x", "zip": "z"},
}
WRONG_USER = {**USER, "age": "old", "tags": "a", "address": {"street": 5, "city": "x", "zip": "z"}}


@dataclass(frozen=True)
class Request:
    """One request, and what a right answer is.

    Args:
        apps: The apps that answer it; none for all.
        clients: From how many addresses it comes, in turns.
        tokens: The tokens it has, without end.
    """

    label: str
    method: str
    target: str
    body: bytes = b""
    expected: Any = None
    statuses: tuple[int, ...] = (200,)
    more_headers: Mapping[str, str] = field(default_factory=dict[str, str])
    apps: tuple[str, ...] = ()
    clients: int = 1
    tokens: Iterator[str] | None = None

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        headers = [(b"host", b"127.0.0.1"), (b"accept", b"application/json"), (b"user-agent", b"benchmark")]
        if self.body:
            headers += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(self.body))]
        return headers + [(name.encode(), value.encode()) for name, value in self.more_headers.items()]

    def of(self, apps: Mapping[str, Asgi]) -> dict[str, Asgi]:
        """Return those of the apps that answer it."""
        return {name: app for name, app in apps.items() if not self.apps or name in self.apps}

    @property
    def raw(self) -> bytes:
        """The request as it goes over the wire (HTTP/1.1)."""
        lines = [f"{self.method} {self.target} HTTP/1.1".encode(), *(b": ".join(header) for header in self.headers)]
        return b"\r\n".join(lines) + b"\r\n\r\n" + self.body


def _users(n: int) -> list[Any]:
    common = {"created": USER["created"], "tags": USER["tags"], "address": USER["address"]}
    return [{"id": str(UUID(int=i)), "name": f"user{i}", "age": i % 90, **common} for i in range(n)]


def _body(user: Any) -> bytes:
    return json.dumps({"user": user}, separators=(",", ":")).encode()


REQUESTS = {
    "hello": Request("GET, one query parameter", "GET", "/hello?name=World", expected="Hello World!"),
    "hello_sync": Request("GET, the same by a sync function", "GET", "/hello_sync?name=World", expected="Hello World!"),
    "parcel": Request("GET, path parameter", "GET", "/parcels/42", expected={"id": 42, "sender": "Ada", "weight": 1.5}),
    "echo": Request("POST of a nested dataclass, echoed", "POST", "/echo", _body(USER), expected=USER),
    "users_1": Request("list of 1 nested dataclass", "GET", "/users?n=1", expected=_users(1)),
    "users_100": Request("list of 100 nested dataclasses", "GET", "/users?n=100", expected=_users(100)),
    "error": Request("POST with 3 invalid fields", "POST", "/echo", _body(WRONG_USER), statuses=(400, 422)),
    "authorized": Request(
        "GET with a token (HS256), its scope checked",
        "GET",
        "/authorized?name=World",
        expected="Hello World!",
        more_headers={"authorization": f"Bearer {TOKEN}"},
        apps=("by hand", "Starlette", "Litestar", "FastAPI", "servey"),
    ),
    "cached": Request(
        "GET, answered from a cache",
        "GET",
        "/cached?name=World",
        expected="Hello World!",
        apps=("Litestar", "servey"),
    ),
    "limited": Request(
        "GET with a rate limit, from 1,000 callers",
        "GET",
        "/limited?name=World",
        expected="Hello World!",
        apps=("Litestar", "servey"),
        clients=1000,
    ),
}

REFUSALS = {
    "no token": replace(REQUESTS["authorized"], more_headers={}, expected=None, statuses=(401,)),
    "a bad token": replace(
        REQUESTS["authorized"], more_headers={"authorization": f"Bearer {BAD_TOKEN}"}, expected=None, statuses=(401,)
    ),
    "a token without the scope": replace(
        REQUESTS["authorized"], more_headers={"authorization": f"Bearer {LOWLY_TOKEN}"}, expected=None, statuses=(403,)
    ),
}
"""What every app has to refuse; it is not measured."""

APPS = {
    "by hand": "benchmarks.apps.asgi_app:app",
    "Starlette": "benchmarks.apps.starlette_app:app",
    "Litestar": "benchmarks.apps.litestar_app:app",
    "FastAPI": "benchmarks.apps.fastapi_app:app",
    "FastAPI, models": "benchmarks.apps.fastapi_models_app:app",
    "servey": "benchmarks.apps.servey_app:app",
}


def load(targets: dict[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Import the apps; return them, and for each that cannot be imported the reason."""
    apps: dict[str, Any] = {}
    missing: dict[str, str] = {}
    for name, target in targets.items():
        module, _, attribute = target.partition(":")
        try:
            apps[name] = getattr(import_module(module), attribute)
        except ModuleNotFoundError as error:
            missing[name] = str(error)
    return apps, missing


def scopes(request: Request) -> Callable[[], dict[str, Any]]:
    """Return a maker of ASGI scopes as uvicorn makes them, a new one for every call."""
    path, _, query = request.target.partition("?")
    raw_path, query_string, method, headers = path.encode(), query.encode(), request.method, request.headers
    clients = cycle([(f"127.0.{number >> 8}.{number & 255}", 50000) for number in range(1, request.clients + 1)])

    given = request.tokens

    def make() -> dict[str, Any]:
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "server": ("127.0.0.1", 8000),
            "client": next(clients),
            "scheme": "http",
            "root_path": "",
            "headers": [*headers, (b"authorization", f"Bearer {next(given)}".encode())] if given else headers.copy(),
            "state": {},
            "method": method,
            "path": path,
            "raw_path": raw_path,
            "query_string": query_string,
        }

    return make


def receiver(body: bytes) -> Callable[[], Any]:
    """Return an ASGI `receive` that gives the body in one piece, every time it is asked."""
    message = {"type": "http.request", "body": body, "more_body": False}

    async def receive() -> dict[str, Any]:
        return message

    return receive


async def call(app: Asgi, request: Request) -> tuple[int, dict[bytes, bytes], bytes]:
    """Send one request to an app; return status, headers and body."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scopes(request)(), receiver(request.body), send)
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], dict(sent[0]["headers"]), body


def problem(request: Request, status: int, headers: Mapping[bytes, bytes], body: bytes) -> str:
    """Say what is wrong with an answer; empty when it is right."""
    content_type = headers.get(b"content-type", b"").decode()
    if status not in request.statuses:
        return f"status {status}, expected {request.statuses}: {body[:300]!r}"
    if status == 304:
        return f"a body: {body[:300]!r}" if body else ""
    if "json" not in content_type:
        return f"content type {content_type!r}"
    try:
        wrong = json.loads(body) != request.expected
    except ValueError:
        return f"answered no JSON: {body[:300]!r}"
    if wrong and request.expected is not None:
        return f"answered {body[:300]!r}, expected {json.dumps(request.expected)[:300]}"
    return ""


class DisagreementError(Exception):
    """The apps do not do the same work, so that nothing can be compared."""


async def agree(
    apps: dict[str, Asgi], requests: dict[str, Request], refusals: Mapping[str, Request] = REFUSALS
) -> None:
    """Raise `DisagreementError` unless every app gives the expected answer to every request."""
    found = [
        f"{name}: {request.method} {request.target}: {wrong}"
        for request in [*requests.values(), *refusals.values()]
        for name, app in request.of(apps).items()
        if (wrong := problem(request, *await call(app, request)))
    ]
    if found:
        raise DisagreementError("\n".join(["the apps' answers differ:", *found]))


@contextlib.asynccontextmanager
async def running(apps: dict[str, Asgi]) -> AsyncIterator[None]:
    """Run every app's lifespan around the block, as a server does."""
    async with contextlib.AsyncExitStack() as stack:
        for app in apps.values():
            await stack.enter_async_context(_lifespan(app))
        yield


@contextlib.asynccontextmanager
async def _lifespan(app: Asgi) -> AsyncIterator[None]:
    incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    outgoing: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    scope: dict[str, Any] = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
    task = asyncio.ensure_future(app(scope, incoming.get, outgoing.put))

    async def exchange(kind: str) -> None:
        await incoming.put({"type": f"lifespan.{kind}"})
        reply = asyncio.ensure_future(outgoing.get())
        await asyncio.wait({reply, task}, return_when=asyncio.FIRST_COMPLETED)
        if not reply.done():
            reply.cancel()
            await task  # an app may refuse the lifespan by raising
        elif reply.result()["type"] != f"lifespan.{kind}.complete":
            raise RuntimeError(reply.result())

    await exchange("startup")
    yield
    await exchange("shutdown")
    await task


def loop_factory() -> tuple[Callable[[], asyncio.AbstractEventLoop] | None, str]:
    """The event loop that uvicorn would take, and its name."""
    try:
        import uvloop
    except ImportError:
        return None, "asyncio"
    return uvloop.new_event_loop, f"uvloop {uvloop.__version__}"
