"""Every transport behind one interface, so that a rule is stated once and holds everywhere.

A test asks for `transport` (all of them), `json_transport`, `text_transport`, `network_transport`,
`system_transport` or `concurrent_transport`, defines its actions inside itself, and looks at the `Outcome`.
Actions that are called over REST carry ``triggers=(WEB_GET, WEB_POST)``.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar, Protocol

import httpx
import msgspec
import pytest
from click.testing import CliRunner

from behaviour import graphql_call
from servey import Authorization, CallContext, CallError, Origin
from servey.action.context import new_request_id
from servey.background_call import call as background_call
from servey.cli.main import run as run_program
from servey.cli.project import Project
from servey.errors import ErrorMapping, phrase
from servey.ports import CallQueue
from servey.schema.graphql.model import OutputField
from servey.schema.graphql.model_builder import build_model
from servey.servey_direct import direct
from servey.servey_starlette.app import create_app
from servey.servey_test.client import client_of
from servey.service import Service
from support.brokers import emptied
from support.celery_calls import CeleryCalls
from support.http_clients import ApiGatewayClient, identified
from support.queues import ObservedQueue
from support.served import served_by_uvicorn

BOUND = 60.0
"""Seconds after which a test that hangs fails."""

Target = Service | Sequence[Callable[..., Any]]


@dataclass(frozen=True)
class Outcome:
    """What a caller learns of one call."""

    result: Any = None
    code: str | None = None
    errors: tuple[tuple[str, str], ...] = ()
    status: int | None = None
    exit_code: int | None = None
    detail: str = ""
    request_id: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    seen: str = ""
    """Everything that reached the caller, as text."""

    @property
    def ok(self) -> bool:
        return self.code is None

    @property
    def paths(self) -> set[str]:
        return {path for path, _ in self.errors}

    def is_error(self, row: type[CallError] | ErrorMapping) -> bool:
        """Whether this is the error of that row of the one table: code, and status or exit code, or both."""
        told = {"code": self.code, "status": self.status, "exit_code": self.exit_code}
        expected = {
            "code": row.code,
            "status": None if self.status is None else row.status,
            "exit_code": None if self.exit_code is None else row.exit_code,
        }
        return told == expected and (self.status, self.exit_code) != (None, None)


@dataclass(frozen=True)
class Call:
    """One call among several."""

    name: str
    params: Mapping[str, Any] | bytes = field(default_factory=dict[str, Any])
    authorization: Authorization | None = None
    request_id: str = ""


class Transport:
    """One way to call an action."""

    name: ClassVar[str]
    text: ClassVar[bool] = False
    """Whether arguments travel as text."""
    network: ClassVar[bool] = True
    concurrent: ClassVar[bool] = True
    http: ClassVar[bool] = False
    """Whether a call is an HTTP request of its own, with the status and the headers of the call."""
    graphql: ClassVar[bool] = False
    """Whether arguments and results have GraphQL's types, which are fewer."""
    queued: ClassVar[bool] = False
    """Whether the call waits in a queue, so that no caller waits for its end."""
    marks: ClassVar[Collection[pytest.MarkDecorator]] = ()
    """The marks of the tests with this transport."""
    Call: ClassVar[type[Call]] = Call

    @classmethod
    def of(cls, request: pytest.FixtureRequest) -> Transport:
        """Return the transport of a test."""
        return cls()

    def call(
        self,
        target: Target,
        name: str,
        params: Mapping[str, Any] | bytes | None = None,
        authorization: Authorization | None = None,
        request_id: str = "",
    ) -> Outcome:
        """Call one action; the service runs for this call only."""
        return self.call_all(target, [[Call(name, params or {}, authorization, request_id)]])[0][0]

    def call_all(self, target: Target, lanes: Sequence[Sequence[Call]]) -> list[list[Outcome]]:
        """Run lanes of calls side by side, the calls of a lane one after another."""
        service = target if isinstance(target, Service) else Service(target)

        async def main() -> list[list[Outcome]]:
            async with asyncio.timeout(BOUND):
                return await self._lanes(service, lanes)

        return asyncio.run(main())

    async def _lanes(self, service: Service, lanes: Sequence[Sequence[Call]]) -> list[list[Outcome]]:
        async def lane(calls: Sequence[Call]) -> list[Outcome]:
            return [await self._one(service, call) for call in calls]

        async with service.running():
            return await asyncio.gather(*map(lane, lanes))

    async def _one(self, service: Service, call: Call) -> Outcome:
        raise NotImplementedError


class DirectJson(Transport):
    """In this process, JSON text in and out, as the network would be let in."""

    name = "direct-json"

    async def _one(self, service: Service, call: Call) -> Outcome:
        context = CallContext(
            Origin.NETWORK, "direct", call.request_id or new_request_id(), authorization=call.authorization
        )
        try:
            body = await direct.call(service, call.name, _event(call.params), context=context)
        except CallError as error:
            return _of_error(error, context.request_id)
        return Outcome(json.loads(body), request_id=context.request_id, seen=body.decode())


class DirectValues(Transport):
    """In this process, parsed JSON in and out."""

    name = "direct-values"

    async def _one(self, service: Service, call: Call) -> Outcome:
        assert isinstance(call.params, Mapping), "there is no text here"
        context = CallContext(
            Origin.NETWORK, "direct", call.request_id or new_request_id(), authorization=call.authorization
        )
        try:
            value = await direct.call(service, call.name, dict(call.params), context=context)
        except CallError as error:
            return _of_error(error, context.request_id)
        return Outcome(value, request_id=context.request_id, seen=repr(value))


class RestPost(Transport):
    """An HTTP request with a JSON body, without a socket."""

    name, http = "rest-post", True

    def __init__(self) -> None:
        self._app = cache(create_app)  # the calls of a test that name one service share its application

    async def _lanes(self, service: Service, lanes: Sequence[Sequence[Call]]) -> list[list[Outcome]]:
        async def lane(calls: Sequence[Call]) -> list[Outcome]:
            return [await self._request(client, service, call) for call in calls]

        async with client_of(self._app(service)) as client:
            return await asyncio.gather(*map(lane, lanes))

    async def _request(self, client: Any, service: Service, call: Call) -> Outcome:
        method, path, query, body = _http(service, call, text=self.text)
        headers = {"x-request-id": call.request_id} if call.request_id else {}
        if body:
            headers["content-type"] = "application/json"
        response = await client.request(
            method, path, query=query, content=body, headers=headers, authorization=call.authorization
        )
        return _of_response(response.status, response.headers, response.content)


class RestGet(RestPost):
    """An HTTP request with a query string, without a socket."""

    name, text = "rest-get", True


class UvicornPost(RestPost):
    """The same through uvicorn and a socket."""

    name = "uvicorn-post"

    def call_all(self, target: Target, lanes: Sequence[Sequence[Call]]) -> list[list[Outcome]]:
        service = target if isinstance(target, Service) else Service(target)

        async def main(base: str) -> list[list[Outcome]]:
            async with asyncio.timeout(BOUND), httpx.AsyncClient(base_url=base, timeout=BOUND) as client:

                async def lane(calls: Sequence[Call]) -> list[Outcome]:
                    return [await self._request(client, service, call) for call in calls]

                return await asyncio.gather(*map(lane, lanes))

        with served_by_uvicorn(identified(self._app(service))) as port:
            base = f"http://127.0.0.1:{port}"
            return asyncio.run(main(base))

    async def _request(self, client: httpx.AsyncClient, service: Service, call: Call) -> Outcome:
        method, path, query, body = _http(service, call, text=self.text)
        headers = {"x-request-id": call.request_id} if call.request_id else {}
        if body:
            headers["content-type"] = "application/json"
        if call.authorization is not None:
            subject, scopes = call.authorization.subject or "", " ".join(call.authorization.scopes)
            headers["x-test-caller"] = json.dumps([subject, scopes])
        response = await client.request(method, httpx.URL(path, params=query or None), content=body, headers=headers)
        return _of_response(response.status_code, response.headers, response.content)


class UvicornGet(UvicornPost):
    """A query string through uvicorn and a socket."""

    name, text = "uvicorn-get", True


class ApiGatewayPost(RestPost):
    """An event of an Amazon API Gateway with a JSON body; no Starlette."""

    name = "api-gateway-post"

    async def _lanes(self, service: Service, lanes: Sequence[Sequence[Call]]) -> list[list[Outcome]]:
        async def lane(calls: Sequence[Call]) -> list[Outcome]:
            return [await self._request(client, service, call) for call in calls]

        async with service.running():
            client = ApiGatewayClient(service)
            return await asyncio.gather(*map(lane, lanes))


class ApiGatewayGet(ApiGatewayPost):
    """An event of an Amazon API Gateway with a query string."""

    name, text = "api-gateway-get", True


class GraphQL(RestPost):
    """A GraphQL request without a socket: as variables, and with everything asked for."""

    name, http, graphql = "graphql", False, True

    def __init__(self) -> None:
        super().__init__()
        self._model = cache(build_model)

    async def _request(self, client: Any, service: Service, call: Call) -> Outcome:
        kind, field = graphql_call.field_of(self._model(service), service.operation(call.name).name)
        params = json.loads(call.params) if isinstance(call.params, bytes) else call.params
        query, variables = graphql_call.document_of(kind, field, params)
        headers = {"content-type": "application/json", "accept": "application/graphql-response+json"}
        if call.request_id:
            headers["x-request-id"] = call.request_id
        response = await client.request(
            "POST",
            "/graphql",
            content=graphql_call.json_of({"query": query, "variables": variables}).encode(),
            headers=headers,
            authorization=call.authorization,
        )
        return _of_graphql(response, field)


class _Queue(Protocol):
    async def outcome_of(self, call: background_call.Call) -> background_call.Outcome:
        """Put a call into the queue, and wait for its outcome."""
        ...


class Queued(Transport):
    """A call in a queue, made on behalf of the caller."""

    network, queued = False, True

    def __init__(self, **settings: Any) -> None:
        self._settings = settings

    def _queue(self, service: Service, submitted: CallQueue | None) -> AbstractAsyncContextManager[_Queue]:
        """Run the calls of a queue in this context.

        Args:
            service: The service.
            submitted: The queue of a test, for the calls that actions submit.
        """
        raise NotImplementedError

    async def _lanes(self, service: Service, lanes: Sequence[Sequence[Call]]) -> list[list[Outcome]]:
        async def lane(calls: Sequence[Call]) -> list[Outcome]:
            return [await self._made(service, queue, call) for call in calls]

        settings, submitted = service.settings, vars(service.stores).get("calls")
        service.settings = settings.replace(store="memory", background_calls=100, **self._settings)
        try:
            async with self._queue(service, submitted) as queue:
                return await asyncio.gather(*map(lane, lanes))
        finally:  # the next transport may call the same service
            service.settings = settings
            vars(service.stores).pop("calls", None)
            if submitted is not None:
                service.stores.calls = submitted

    async def _made(self, service: Service, queue: _Queue, call: Call) -> Outcome:
        made = background_call.Call(
            id=new_request_id(),
            action=service.operation(call.name).name,
            arguments=msgspec.Raw(_event(call.params)),
            due=time.time(),
            request_id=call.request_id or new_request_id(),
            caller=call.authorization,
        )
        outcome = await queue.outcome_of(made)
        if isinstance(outcome, background_call.Done):
            result, seen = json.loads(outcome.result), outcome.result.decode()
            return Outcome(result, request_id=made.request_id, seen=seen)
        assert isinstance(outcome, background_call.Failed)
        problem = json.loads(outcome.problem)
        assert problem["request_id"] == made.request_id
        return Outcome(
            code=problem["code"],
            errors=tuple((item["path"], item["message"]) for item in problem.get("errors", ())),
            status=problem["status"],
            detail=problem.get("detail", ""),
            request_id=made.request_id,
            seen=outcome.problem.decode(),
        )


class Background(Queued):
    """A call in the queue of a serving service, which its runner makes."""

    name = "background"

    @asynccontextmanager
    async def _queue(self, service: Service, submitted: CallQueue | None) -> AsyncGenerator[ObservedQueue]:
        vars(service.stores).pop("calls", None)
        queue = service.stores.calls = ObservedQueue(service.stores.calls, submitted)
        async with service.serving():
            yield queue


class Celery(Queued):
    """A call in a real broker, which a worker of Celery makes; its result and its error are what the broker has."""

    name = "celery"
    marks = (pytest.mark.filterwarnings("ignore:Call to deprecated setex"),)  # which Celery calls

    @classmethod
    def of(cls, request: pytest.FixtureRequest) -> Celery:
        broker = emptied("valkey", request)
        return cls(broker=broker, result_backend=broker, message_key="k" * 32)

    @asynccontextmanager
    async def _queue(self, service: Service, submitted: CallQueue | None) -> AsyncGenerator[CeleryCalls]:
        async with CeleryCalls(service).consumed() as calls:
            yield calls


class CliEvent(Transport):
    """``servey call NAME --event JSON``."""

    name, network, concurrent = "cli-event", False, False

    def call_all(self, target: Target, lanes: Sequence[Sequence[Call]]) -> list[list[Outcome]]:
        service = target if isinstance(target, Service) else Service(target)
        return [[self._invoke(service, call) for call in calls] for calls in lanes]

    def _invoke(self, service: Service, call: Call) -> Outcome:
        assert call.authorization is None, "the operating system is the caller"
        path = list(sys.path)
        try:
            with CliRunner().isolation() as (out, err, _):
                exit_code = run_program(["call", call.name, *self._words(call)], project=Project(service=service))
                stdout, stderr = out.getvalue().decode(), err.getvalue().decode()
        finally:
            sys.path[:] = path
        if exit_code == 0:
            return Outcome(json.loads(stdout), exit_code=0, seen=stdout + stderr)
        assert stdout == ""
        code = re.search(r"^Error: ([a-z_]+)(?:: (.*))?$", stderr, re.MULTILINE)
        problems = [re.match(r"  (\S+)(?: at (/\S+))?: (.*)", line) for line in stderr.splitlines()]
        errors = tuple((_pointer(found[1]) + (found[2] or ""), found[3]) for found in problems if found)
        return Outcome(
            code=code[1] if code else "usage",
            errors=errors,
            exit_code=exit_code,
            detail=(code[2] or "") if code else stderr,
            seen=stdout + stderr,
        )

    def _words(self, call: Call) -> list[str]:
        return ["--event", _event(call.params).decode("utf-8", "surrogateescape")]


class CliFlags(CliEvent):
    """``servey call NAME --flag text``."""

    name, text = "cli-flags", True

    def _words(self, call: Call) -> list[str]:
        return [f"--{name.replace('_', '-')}={text}" for name, text in _texts(call.params)]


TRANSPORTS = (
    DirectJson,
    DirectValues,
    RestPost,
    RestGet,
    UvicornPost,
    ApiGatewayPost,
    GraphQL,
    Background,
    Celery,
    CliEvent,
    CliFlags,
)
ALL = (*TRANSPORTS, UvicornGet, ApiGatewayGet)


def _fixture(*kinds: type[Transport]) -> Any:
    marked = [pytest.param(kind, id=kind.name, marks=kind.marks) for kind in kinds]

    @pytest.fixture(params=marked)
    def transport(request: pytest.FixtureRequest) -> Transport:
        return request.param.of(request)

    return transport


transport = _fixture(*TRANSPORTS)
json_transport = _fixture(*(kind for kind in ALL if not kind.text))
"""Arguments keep their JSON types."""
raw_transport = _fixture(
    *(kind for kind in ALL if not (kind.text or kind.queued) and kind not in (DirectValues, GraphQL))
)
"""Takes a JSON text as it is, even one that is not JSON."""
text_transport = _fixture(*(kind for kind in ALL if kind.text))
network_transport = _fixture(*(kind for kind in TRANSPORTS if kind.network))
system_transport = _fixture(*(kind for kind in TRANSPORTS if not kind.network))
machine_transport = _fixture(CliEvent, CliFlags)
"""The caller is the operating system."""
self_transport = _fixture(*(kind for kind in TRANSPORTS if not kind.graphql))
"""Takes the ``self`` of a nested action as an argument like any other; GraphQL has it as a field of its class."""
concurrent_transport = _fixture(*(kind for kind in TRANSPORTS if kind.concurrent and kind is not RestGet))
http_transport = _fixture(*(kind for kind in ALL if kind.http))
encoding_transport = _fixture(*(kind for kind in TRANSPORTS if kind not in (DirectValues, GraphQL)))
"""Answers with the JSON text of the result alone."""


def _http(service: Service, call: Call, *, text: bool) -> tuple[str, str, list[tuple[str, str]], bytes]:
    method = "GET" if text else "POST"
    route = next(
        item for item in service.web_routes if item.method == method and item.operation is service.operation(call.name)
    )
    if text:
        return method, route.path, _texts(call.params), b""
    return method, route.path, [], _event(call.params)


def _event(params: Mapping[str, Any] | bytes) -> bytes:
    return params if isinstance(params, bytes) else graphql_call.json_of(params).encode()


def _texts(params: Mapping[str, Any] | bytes) -> list[tuple[str, str]]:
    """Write arguments as text: scalars plain, lists repeated, anything deeper one JSON value."""
    assert isinstance(params, Mapping), "there is no body here"
    pairs: list[tuple[str, str]] = []
    for name, value in params.items():
        items = value if isinstance(value, list) and not any(isinstance(i, dict | list) for i in value) else [value]
        pairs += [(name, item if isinstance(item, str) else graphql_call.json_of(item)) for item in items]
    return pairs


def _pointer(place: str) -> str:
    """Return the JSON pointer of what the command line calls ``--some-flag``, ``--event`` or ``/some/pointer``."""
    if place.startswith("--"):
        return "" if place == "--event" else "/" + place[2:].replace("-", "_")
    return place


def _of_error(error: CallError, request_id: str) -> Outcome:
    problem = error.problem(request_id)
    return Outcome(
        code=error.code,
        errors=tuple((path, message) for path, message in error.errors),
        status=error.status,
        exit_code=error.exit_code,
        detail=error.detail,
        request_id=request_id,
        headers={name.lower(): value for name, value in error.headers.items()},
        seen=json.dumps(problem, default=repr),
    )


def _of_graphql(response: Any, field: OutputField) -> Outcome:
    """Return the outcome of the only field that was asked for."""
    headers, told = response.headers, json.loads(response.content)
    seen = response.content.decode() + repr(dict(headers))
    request_id = headers["x-request-id"]
    if "errors" not in told:
        result = graphql_call.got(field.ref, told["data"][field.name])
        assert response.status == 200
        return Outcome(result, request_id=request_id, seen=seen)
    first = told["errors"][0]["extensions"]
    assert first["request_id"] == request_id
    problems: list[tuple[str, str]] = []
    for error in told["errors"]:
        listed = error["extensions"].get("errors")
        if listed is None and (named := re.match(r"(?:Unknown a|A)rgument '(?:[\w.]+\()?(\w+)", error["message"])):
            listed = [{"path": f"/{named[1]}", "message": error["message"]}]
        problems += [(graphql_call.pointer(field.arguments, item["path"]), item["message"]) for item in listed or ()]
    return Outcome(
        code=first["code"],
        errors=tuple(problems),
        status=first["status"],
        detail=told["errors"][0]["message"],
        request_id=request_id,
        headers={name.lower(): value for name, value in first.get("headers", {}).items()},
        seen=seen,
    )


def _of_response(status: int, headers: Mapping[str, str], content: bytes) -> Outcome:
    request_id = headers["x-request-id"]
    seen = content.decode() + repr(dict(headers))
    if status < 400:
        result = json.loads(content) if content else None
        return Outcome(result, status=status, headers=headers, request_id=request_id, seen=seen)
    assert headers["content-type"] == "application/problem+json"
    problem = json.loads(content)
    assert (problem["status"], problem["request_id"]) == (status, request_id)
    assert problem["title"] == (phrase(status) or "Error")
    assert problem["type"].partition("#")[2] in (problem["code"], "")
    return Outcome(
        code=problem["code"],
        errors=tuple((item["path"], item["message"]) for item in problem.get("errors", ())),
        status=status,
        detail=problem.get("detail", ""),
        request_id=request_id,
        headers=headers,
        seen=seen,
    )
