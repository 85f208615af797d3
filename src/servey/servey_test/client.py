"""An in-process client: sends requests to an ASGI application without a server or a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping, MutableMapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, get_args
from urllib.parse import quote, unquote, urlencode

import msgspec

from servey.background_call.call import Call
from servey.codec import MISSING
from servey.http.bearer import AUTHORIZATION_KEY
from servey.http.mounted import mounted_services
from servey.security.authorization import Authorization
from servey.servey_test.submitted_calls import SubmittedCalls, collecting
from servey.trigger.web_route import WebRoute


@dataclass(frozen=True)
class Response:
    """The response to a request.

    Args:
        status: The HTTP status.
        headers: The headers by name in lower case; the last one of repeated headers.
        content: The body.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:
        """Return the body as JSON values."""
        return msgspec.json.decode(self.content)


class Client:
    """Sends requests to an ASGI application in the same process and event loop.

    Args:
        app: The application.
        root_path: The path that the application is mounted at.
        submitted: Collects the background calls of each of its services.

    Example:
        >>> from servey.service import Service
        >>> from servey.servey_starlette.app import create_app
        >>> async def main() -> int:
        ...     async with client_of(create_app(Service())) as client:
        ...         return (await client.request("GET", "/livez")).status
        >>> asyncio.run(main())
        200
    """

    def __init__(self, app: Any, root_path: str = "", submitted: Sequence[SubmittedCalls] = ()) -> None:
        self._app = app
        self._root_path = root_path
        self._submitted = submitted

    async def run_submitted(self) -> Sequence[Call]:
        """Run the background calls that requests have submitted, in their order, and the calls that they submit.

        Delays are ignored; a retry follows at once.

        Returns:
            Each attempt that has run.

        Raises:
            AssertionError: A call has failed for good.
        """
        return [call for submitted in self._submitted for call in await submitted.run_all()]

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: str | Iterable[tuple[str, str]] = "",
        json: Any = None,
        content: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        authorization: Authorization | None = None,
    ) -> Response:
        """Send a request and return the whole response.

        Args:
            method: The HTTP method.
            path: The path, percent-encoded if necessary; it may end with a query string.
            query: The query string, or its names and values.
            json: The body as Python values; sets the content type.
            content: The body in bytes; several pieces are sent as several ASGI messages.
            headers: Further headers.
            authorization: The caller, as if a middleware had verified it.
        """
        pieces = [content] if isinstance(content, bytes) else list(content or [b""])
        pairs: list[tuple[str, str]] = [*(headers.items() if isinstance(headers, Mapping) else headers)]
        if json is not None:
            pieces = [msgspec.json.encode(json)]
            pairs.append(("content-type", "application/json"))
        path, _, given = path.partition("?")
        query = "&".join(filter(None, (given, query if isinstance(query, str) else urlencode(list(query)))))
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(self._root_path + path),
            "raw_path": (self._root_path + path).encode("latin-1"),
            "root_path": self._root_path,
            "query_string": query.encode("utf-8", "surrogateescape"),
            "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in pairs],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        if authorization is not None:
            scope[AUTHORIZATION_KEY] = authorization
        return await self._exchange(scope, pieces)

    async def call(
        self, route: WebRoute, params: Mapping[str, Any], authorization: Authorization | None = None
    ) -> Response:
        """Call a route with `params`, the JSON values of the parameters."""
        path, rest = route.path, dict(params)
        for name in route.trigger.path_parameters:
            path = path.replace(f"{{{name}}}", quote(_text(rest.pop(name, None)), safe=""))
        if not route.trigger.takes_query:
            return await self.request(route.method, path, json=rest, authorization=authorization)
        query = list(_query(route, rest))
        return await self.request(route.method, path, query=query, authorization=authorization)

    async def _exchange(self, scope: dict[str, Any], pieces: list[bytes]) -> Response:
        sent = iter(pieces)
        left = len(pieces)
        status, headers, chunks = 0, dict[str, str](), list[bytes]()
        answered = asyncio.Event()

        async def receive() -> MutableMapping[str, Any]:
            nonlocal left
            left -= 1
            if left < 0:
                await answered.wait()  # an earlier disconnect would mean that the client does not wait for the answer
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": next(sent), "more_body": left > 0}

        async def send(message: MutableMapping[str, Any]) -> None:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in message["headers"]}
            else:
                chunks.append(message.get("body", b""))
                if not message.get("more_body"):
                    answered.set()

        await self._app(scope, receive, send)
        return Response(status, headers, b"".join(chunks))


@asynccontextmanager
async def client_of(app: Any, root_path: str = "") -> AsyncGenerator[Client]:
    """Start an application (its ASGI lifespan), yield a client of it, and stop it.

    Background calls are collected; `Client.run_submitted` runs them. Schedules do not run, unless the application
    serves (`create_app(service, serves=True)`).

    Raises:
        RuntimeError: The application did not start; the message has the reason.
    """
    with ExitStack() as stack:
        services = [item.service for item in mounted_services(app)]
        submitted = [stack.enter_context(collecting(service)) for service in services]
        for service in services[:1]:  # a test may submit calls itself
            stack.enter_context(service.as_current())
        async with _lifespan(app):
            yield Client(app, root_path, submitted)


@asynccontextmanager
async def _lifespan(app: Any) -> AsyncGenerator[None]:
    inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    outbox: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
    inbox.put_nowait({"type": "lifespan.startup"})
    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
    running = asyncio.ensure_future(app(scope, inbox.get, outbox.put))
    first = await _first(running, outbox)
    if first["type"] != "lifespan.startup.complete":
        await asyncio.gather(running, return_exceptions=True)
        raise RuntimeError(first.get("message", "the application did not start"))
    try:
        yield
    finally:
        inbox.put_nowait({"type": "lifespan.shutdown"})
        await running


async def _first(running: asyncio.Future[Any], outbox: asyncio.Queue[MutableMapping[str, Any]]) -> Any:
    message = asyncio.ensure_future(outbox.get())
    await asyncio.wait([running, message], return_when=asyncio.FIRST_COMPLETED)
    if not message.done():
        message.cancel()
        running.result()
        raise RuntimeError("the application ended at once")
    return message.result()


def can_say(route: WebRoute, params: Mapping[str, Any]) -> bool:
    """Return whether a request to `route` can express `params`: a path has no null, a query string no empty list."""
    if any(params.get(name) in (None, "") for name in route.trigger.path_parameters):
        return False
    if not route.trigger.takes_query:
        return True
    for name, value in params.items():
        if name in route.operation.arguments.parameters:
            parameter, _ = route.operation.arguments.parameters[name]
            if value is None and parameter.default is not None and str in get_args(parameter.type):
                return False
            if value == [] and (parameter.default is MISSING or parameter.default not in ([], (), set())):
                return False
    return True


def _query(route: WebRoute, params: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    arguments = route.operation.arguments
    for name, value in params.items():
        kind = arguments.text_kind(name) if name in arguments.parameters else "scalar"
        if value is None and name in arguments.parameters and arguments.parameters[name][0].default is None:
            continue  # for a str, "null" is a text
        if kind == "json":
            yield name, msgspec.json.encode(value).decode()
        elif kind == "list" and isinstance(value, list):
            for item in value:  # pyright: ignore[reportUnknownVariableType]
                yield name, _text(item)
        else:
            yield name, _text(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
