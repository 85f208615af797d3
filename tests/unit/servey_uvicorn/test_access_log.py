"""The access log: what is in a record, what is not, and what becomes of requests that end otherwise."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from servey import WEB_GET, WEB_POST, Authorization, NotFoundError, ScopeAccessControl
from servey import log as logs
from servey.action.action import action
from servey.http.bearer import AUTHORIZATION_KEY
from servey.log import JsonFormatter
from servey.servey_starlette.app import create_app
from servey.servey_test.client import client_of
from servey.servey_uvicorn.access_log import AccessLog, access_logged, query_names
from servey.service import Service
from servey.settings import Settings

JSON = {"content-type": "application/json"}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@action(triggers=(WEB_GET, WEB_POST))
async def greet(name: str = "you") -> str:
    return f"Hello {name}!"


@action(triggers=(WEB_GET,), access_control=ScopeAccessControl("root"))
async def secret(caller: Authorization) -> str:
    return str(caller.subject)


@pytest.fixture
def written() -> Iterator[list[dict[str, Any]]]:
    """The records, as JSON has them; all of them are heard."""
    found: list[dict[str, Any]] = []

    class Found(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(json.loads(JsonFormatter().format(record)))

    logger = logging.getLogger("servey.access")
    logger.addHandler(handler := Found())
    logger.setLevel(logging.DEBUG)
    yield found
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


class Cycle:
    """What uvicorn has of a request: `receive` is its method, and it knows when the client has left."""

    disconnected = False

    async def receive(self) -> dict[str, Any]:
        return {"type": "http.disconnect"} if self.disconnected else {"type": "http.request", "body": b"{}"}


async def ask(app: Any, path: str, query: bytes = b"", cycle: Cycle | None = None, **extra: Any) -> list[Any]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "headers": [(b"authorization", b"Bearer swordfish")] if AUTHORIZATION_KEY in extra else [],
        "http_version": "1.1",
        "client": ("203.0.113.7", 5),
        **extra,
    }
    await AccessLog(app)(scope, (cycle or Cycle()).receive, send)
    return sent


async def test_a_record_has_what_happened(written: list[dict[str, Any]]) -> None:
    headers = [(b"x-request-id", b"r-1"), (b"traceparent", f"00-{TRACE}-00f067aa0ba902b7-01".encode())]
    await ask(create_app(Service([greet])), "/actions/greet", b"name=swordfish", headers=headers)
    record = written[0]
    assert record.pop("ts")
    assert 0 < record.pop("duration_ms") < 10_000
    assert record.pop("msg").startswith("GET /actions/greet?name=… 200 ")
    assert record == {
        "level": "INFO",
        "logger": "servey.access",
        "method": "GET",
        "path": "/actions/greet",
        "query": "?name=…",
        "status": 200,
        "action": "greet",
        "request_id": "r-1",
        "client": "203.0.113.7",
        "http_version": "1.1",
        "bytes": 18,
        "trace_id": TRACE,
    }
    assert "swordfish" not in str(record)


async def test_the_subject_is_told_and_the_token_is_not(written: list[dict[str, Any]]) -> None:
    caller = Authorization("ann", frozenset({"root"}))
    await ask(create_app(Service([secret])), "/actions/secret", **{AUTHORIZATION_KEY: caller})
    assert (written[0]["subject"], written[0]["status"]) == ("ann", 200)
    await ask(create_app(Service([secret])), "/actions/secret")
    assert written[1]["status"] == 401
    assert "subject" not in written[1]
    assert "swordfish" not in json.dumps(written)


async def test_what_is_no_action_has_its_request_id_too(written: list[dict[str, Any]]) -> None:
    sent = await ask(create_app(Service([greet])), "/nowhere")
    assert written[0]["status"] == 404
    assert written[0]["request_id"] == dict(sent[0]["headers"])[b"x-request-id"].decode()


async def test_health_checks_are_for_debugging(written: list[dict[str, Any]]) -> None:
    app = create_app(Service([greet]))
    await ask(app, "/livez")
    await ask(app, "/readyz")
    assert [(record["level"], record["status"]) for record in written] == [("DEBUG", 200), ("DEBUG", 503)]
    logging.getLogger("servey.access").setLevel(logging.INFO)
    await ask(app, "/livez")
    assert len(written) == 2


@pytest.mark.parametrize(
    "trace",
    [
        f"ff-{TRACE}-00f067aa0ba902b7-01",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-00f067aa0ba902b7-01",
        f"00-{TRACE}",
        "",
    ],
)
async def test_a_trace_that_is_none_is_left_out(written: list[dict[str, Any]], trace: str) -> None:
    await ask(create_app(Service([greet])), "/actions/greet", headers=[(b"traceparent", trace.encode())])
    assert "trace_id" not in written[0]


def answering(*messages: dict[str, Any], raising: type[BaseException] | None = None, leaves: int = -1) -> Any:
    """An application that sends messages, and whose client leaves before that one."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for number, message in enumerate(messages):
            if number == leaves:
                receive.__self__.disconnected = True
            await send(message)
        if leaves == len(messages):
            receive.__self__.disconnected = True
        if raising is not None:
            raise raising

    return app


START = {"type": "http.response.start", "status": 200, "headers": []}
PART = {"type": "http.response.body", "body": b"12345", "more_body": True}
END = {"type": "http.response.body", "body": b"678"}


@pytest.mark.parametrize(
    ("app", "told"),
    [
        (answering(START, PART, END), (200, 8, None)),
        (answering(START, PART, END, leaves=0), (499, 0, "disconnected")),
        (answering(leaves=0), (499, 0, "disconnected")),
        (answering(START, PART, END, leaves=2), (200, 5, "disconnected")),
        (answering(START, PART), (200, 5, "incomplete")),
        (answering(), (500, 0, "unanswered")),
        (answering(raising=ValueError), (500, 0, "failed")),
        (answering(START, PART, raising=ValueError), (200, 5, "failed")),
        (answering(raising=asyncio.CancelledError), (500, 0, "cancelled")),
        (answering(START, END, raising=asyncio.CancelledError), (200, 3, None)),
    ],
)
async def test_an_unusual_end_is_told_as_it_was(
    written: list[dict[str, Any]], app: Any, told: tuple[int, int, str | None]
) -> None:
    with suppress(ValueError, asyncio.CancelledError):
        await ask(app, "/x")
    assert [(record["status"], record["bytes"], record.get("outcome")) for record in written] == [told]


async def test_a_path_breaks_no_line_and_obeys_nobody() -> None:
    for terminal in (False, True):
        stream = io.StringIO()
        stream.isatty = lambda terminal=terminal: terminal  # type: ignore[method-assign]
        logger = logging.getLogger("servey.access")
        handler = logs.Handler(stream)
        handler.setFormatter(logs.HumanFormatter() if terminal else JsonFormatter())
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        try:
            await ask(create_app(Service([greet])), "/x\x1b[2J\n" + "y" * 5000, b"\x1b[2J=1&z\r=2", raw_path=None)
        finally:
            logger.removeHandler(handler)
            logger.setLevel(logging.NOTSET)
        assert stream.getvalue().count("\n") == 1
        assert "\x1b" not in stream.getvalue()
        assert "\r" not in stream.getvalue()
        assert len(stream.getvalue()) < 3500


async def test_an_address_that_a_proxy_made_up_is_escaped_and_cut(written: list[dict[str, Any]]) -> None:
    await ask(create_app(Service([greet])), "/x", client=("10.0.0.7\x1b[2J\n" + "y" * 5000, 0))
    assert written[0]["client"] == "10.0.0.7\\x1b[2J\\x0a" + "y" * 51


def test_only_names_are_left_of_a_query() -> None:
    assert query_names(b"a=1&b=2&a=3") == "?a=…&b=…&a=…"
    assert query_names(b"eyJhbGciOiJub25lIn0&=x") == "?…&…"
    assert query_names(b"n" * 100 + b"=1") == f"?{'n' * 64}=…"
    assert query_names(b"&".join([b"a=1"] * 500)).count("a=") == 20


def test_a_log_that_nobody_wants_costs_nothing() -> None:
    app = create_app(Service([greet]))
    logger = logging.getLogger("servey.access")
    logger.setLevel(logging.WARNING)
    try:
        assert access_logged(app) is app
    finally:
        logger.setLevel(logging.NOTSET)


@action(triggers=(WEB_GET,))
def broken() -> str | None:
    raise NotFoundError("it is gone")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"query": "query Greets { greet }"}, {"operation": "Greets", "errors": 0}),
        ({"query": "{ greet }"}, {"errors": 0}),
        (
            {"query": "query A { greet } query B { broken greet other: broken }", "operationName": "B"},
            {"operation": "B", "errors": 2},
        ),
        ({"query": "query Wrong { nothing }"}, {"errors": 1}),
        ({"query": "query A { greet }", "operationName": "A\n\u001b[2J"}, {"errors": 1}),
        ({"query": f"query {'N' * 1000} {{ greet }}"}, {"operation": "N" * 64, "errors": 0}),
        ({"query": 7}, {"errors": 1}),
        ([{"query": "query A { greet }"}, {"query": "query B { broken }"}], {"operation": "A,B", "errors": 1}),
    ],
)
async def test_a_request_by_graphql_has_the_names_of_its_operations_and_how_many_errors_it_has(
    written: list[dict[str, Any]], body: Any, expected: dict[str, Any]
) -> None:
    service = Service([greet, broken], settings=Settings(graphql_max_batch=5))
    async with client_of(access_logged(create_app(service))) as client:
        await client.request("POST", "/graphql", content=json.dumps(body).encode(), headers=JSON)
    (line,) = written
    assert {name: line[name] for name in ("operation", "errors") if name in line} == expected
    assert line["action"] == "graphql"
    shown = f" {expected['operation']}" if "operation" in expected else ""
    failed = {0: "", 1: " (1 error)", 2: " (2 errors)"}[expected["errors"]]
    assert line["msg"].startswith(f"POST /graphql{shown} {line['status']}{failed} ")


async def test_the_names_of_operations_are_bounded(written: list[dict[str, Any]]) -> None:
    body = [{"query": "query Q { greet }"}] * 25
    service = Service([greet], settings=Settings(graphql_max_batch=50))
    async with client_of(access_logged(create_app(service))) as client:
        await client.request("POST", "/graphql", content=json.dumps(body).encode(), headers=JSON)
    assert written[0]["operation"] == ",".join(["Q"] * 20 + ["…"])


async def test_a_request_by_rest_has_no_operation(written: list[dict[str, Any]]) -> None:
    async with client_of(access_logged(create_app(Service([greet])))) as client:
        await client.request("GET", "/actions/greet")
    assert not {"operation", "errors"} & set(written[0])
