"""REST through a real server: what only sockets can show."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
from dataclasses import dataclass
from typing import Any

import pytest

from servey import WEB_GET, WEB_POST, CallContext, WebTrigger, WebTriggerMethod
from servey.action.action import action
from servey.servey_starlette.app import create_app
from servey.service import Service
from servey.settings import Settings

BOUND = 60.0


@action(triggers=(WEB_GET, WEB_POST))
async def greet(name: str = "you") -> str:
    if name == "bug":
        raise RuntimeError("swordfish")
    return f"Hello {name}!"


@action(triggers=(WebTrigger(WebTriggerMethod.GET, "/files/{name}"),))
def file(name: str, context: CallContext) -> list[str]:
    return [name, context.transport]


class Peer:
    """A client that writes bytes as they are."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), BOUND)
        self.reader = self.socket.makefile("rb")

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *raised: object) -> None:
        self.reader.close()
        self.socket.close()

    def send(self, *lines: bytes, body: bytes = b"") -> None:
        self.socket.sendall(b"\r\n".join([*lines, b"Host: x", b"", b""]) + body)

    def answer(self, *, head: bool = False) -> tuple[int, dict[str, str], bytes]:
        status_line = self.reader.readline()
        assert status_line, "the server closed the connection"
        headers: dict[str, str] = {}
        while (line := self.reader.readline().strip()) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        length = 0 if head else int(headers.get("content-length", 0))
        return int(status_line.split()[1]), headers, self.reader.read(length)

    def request(self, *lines: bytes, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        self.send(*lines, body=body)
        return self.answer(head=lines[0].startswith(b"HEAD"))


def app(**settings: Any) -> Any:
    return create_app(Service([greet, file], settings=Settings(**settings)))


def test_one_connection_serves_on_after_every_error(serving: Any) -> None:
    with serving(app()) as port, Peer(port) as peer:
        get = b"GET %s HTTP/1.1"
        assert peer.request(get % b"/actions/greet?name=a")[2] == b'"Hello a!"'
        for target, status in (
            (b"/nope", 404),
            (b"/actions/greet?nome=x", 422),
            (b"/actions/greet?name=%zz", 400),
            (b"/files/%zz", 400),
            (b"/files/%FF", 400),
            (b"/actions/greet?name=bug", 500),
        ):
            answered, headers, body = peer.request(get % target)
            assert (answered, headers["content-type"]) == (status, "application/problem+json")
            assert json.loads(body)["request_id"] == headers["x-request-id"]
            assert b"swordfish" not in body
        assert peer.request(b"DELETE /actions/greet HTTP/1.1")[0] == 405
        assert peer.request(b"OPTIONS /actions/greet HTTP/1.1")[0] == 204
        status, headers, body = peer.request(b"HEAD /actions/greet HTTP/1.1")
        assert (status, headers["content-length"], body) == (200, "12", b"")
        assert peer.request(b"HEAD /nope HTTP/1.1")[0] == 404
        json_post = (b"POST /actions/greet HTTP/1.1", b"Content-Type: application/json")
        assert peer.request(*json_post, b"Content-Length: 12", body=b'{"name":"b"}')[2] == b'"Hello b!"'
        assert peer.request(*json_post, b"Content-Length: 1", body=b"{")[0] == 400
        assert peer.request(get % b"/files/a%2Fb")[2] == b'["a/b","rest"]'


TARGETS = [
    b"/actions/greet?name=\xff",
    b"/actions/greet?\xfe\xff",
    b"/files/\xff",
    b"/files/\xc3\xa4",
    b"/%",
    b"/files/%00",
    b"/\x01",
]


@pytest.mark.parametrize("target", TARGETS)
def test_a_malformed_target_is_no_defect(serving: Any, target: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with serving(app()) as port:
        with Peer(port) as peer:
            status = peer.request(b"GET " + target + b" HTTP/1.1")[0]
        assert status in (200, 400, 404)
        with Peer(port) as peer:
            assert peer.request(b"GET /actions/greet HTTP/1.1")[0] == 200
    assert [item for item in caplog.records if item.levelno >= logging.ERROR] == []


def test_a_huge_header_is_refused_and_the_server_goes_on(serving: Any, caplog: pytest.LogCaptureFixture) -> None:
    with serving(app()) as port:
        with Peer(port) as peer:
            try:
                status = peer.request(b"GET /actions/greet HTTP/1.1", b"X-Big: " + b"x" * 2_000_000)[0]
            except (AssertionError, OSError):
                status = None  # closed
            assert status in (None, 200, 400, 431)
        with Peer(port) as peer:
            assert peer.request(b"GET /actions/greet HTTP/1.1")[0] == 200
    assert [item for item in caplog.records if item.levelno >= logging.ERROR] == []


def test_a_body_declared_over_the_limit_is_refused_before_it_is_sent(serving: Any) -> None:
    with serving(app(max_body_size=1000)) as port, Peer(port) as peer:
        peer.send(
            b"POST /actions/greet HTTP/1.1",
            b"Content-Type: application/json",
            b"Content-Length: 10000000",
            b"Expect: 100-continue",
        )
        status, _, body = peer.answer()  # and not 100, which would ask for it
        assert (status, json.loads(body)["code"]) == (413, "too_large")


def test_a_chunked_body_over_the_limit_is_refused_while_the_client_still_sends(serving: Any) -> None:
    with serving(app(max_body_size=100_000)) as port, Peer(port) as peer:
        peer.send(b"POST /actions/greet HTTP/1.1", b"Content-Type: application/json", b"Transfer-Encoding: chunked")
        chunk = b"%x\r\n%s\r\n" % (50_000, b" " * 50_000)
        for _ in range(3):
            peer.socket.sendall(chunk)
        status, _, body = peer.answer()
        assert (status, json.loads(body)["code"]) == (413, "too_large")


def test_a_chunked_body_is_read(serving: Any) -> None:
    with serving(app()) as port, Peer(port) as peer:
        peer.send(b"POST /actions/greet HTTP/1.1", b"Content-Type: application/json", b"Transfer-Encoding: chunked")
        for part in (b'{"na', b'me":"', b'x"}'):
            peer.socket.sendall(b"%x\r\n%s\r\n" % (len(part), part))
        peer.socket.sendall(b"0\r\n\r\n")
        assert peer.answer()[2] == b'"Hello x!"'


def test_a_client_that_leaves_while_it_sends_is_no_defect(serving: Any, caplog: pytest.LogCaptureFixture) -> None:
    with serving(app()) as port:
        with Peer(port) as peer:
            peer.send(
                b"POST /actions/greet HTTP/1.1", b"Content-Type: application/json", b"Content-Length: 100", body=b'{"na'
            )
        with Peer(port) as peer:
            assert peer.request(b"GET /actions/greet HTTP/1.1")[0] == 200
    assert [item for item in caplog.records if item.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("asynchronous", [False, True], ids=["def", "async"])
def test_a_client_that_leaves_during_a_call_is_no_defect(
    serving: Any, asynchronous: bool, caplog: pytest.LogCaptureFixture
) -> None:
    entered, released, ended = threading.Event(), threading.Event(), threading.Event()

    if asynchronous:

        @action(triggers=(WEB_GET,))
        async def slow() -> str:
            entered.set()
            await asyncio.to_thread(released.wait, BOUND)
            ended.set()
            return "late"

    else:

        @action(triggers=(WEB_GET,))
        def slow() -> str:
            entered.set()
            released.wait(BOUND)
            ended.set()
            return "late"

    with serving(create_app(Service([slow, greet]))) as port:
        with Peer(port) as peer:
            peer.send(b"GET /actions/slow HTTP/1.1")
            assert entered.wait(BOUND)
        released.set()
        assert ended.wait(BOUND)
        with Peer(port) as peer:
            assert peer.request(b"GET /actions/greet HTTP/1.1")[0] == 200
    assert [item for item in caplog.records if item.levelno >= logging.WARNING] == []


def test_many_requests_at_once_on_one_connection_are_answered_in_order(serving: Any) -> None:
    with serving(app()) as port, Peer(port) as peer:
        for number in range(20):
            peer.send(b"GET /actions/greet?name=%d HTTP/1.1" % number)
        assert [peer.answer()[2] for _ in range(20)] == [b'"Hello %d!"' % number for number in range(20)]


@pytest.mark.parametrize("root_path", ["/api", "/api/"])
def test_the_servers_root_path_is_respected(serving: Any, root_path: str) -> None:
    with serving(app(), root_path=root_path) as port, Peer(port) as peer:
        assert peer.request(b"GET /actions/greet?name=a HTTP/1.1")[2] == b'"Hello a!"'
        assert peer.request(b"GET /files/a%2Fb HTTP/1.1")[2] == b'["a/b","rest"]'
        assert peer.request(b"GET /livez HTTP/1.1")[0] == 200


def test_the_service_is_ready_from_the_first_request_on(serving: Any) -> None:
    with serving(app()) as port, Peer(port) as peer:
        assert peer.request(b"GET /readyz HTTP/1.1")[0] == 200


def test_two_authorization_headers_on_the_wire_are_401(serving: Any) -> None:
    with serving(app()) as port, Peer(port) as peer:
        status, headers, _ = peer.request(
            b"GET /actions/greet HTTP/1.1", b"Authorization: Bearer a", b"Authorization: Bearer b"
        )
        assert (status, 'error="invalid_request"' in headers["www-authenticate"]) == (401, True)


def test_results_of_nested_actions_are_included_by_a_real_server_too(serving: Any) -> None:
    @dataclass
    class File:
        name: str

        @action
        def length(self) -> int:
            return len(self.name)

        @action
        async def upper(self) -> str:
            return self.name.upper()

    @action(triggers=(WEB_GET,))
    async def files() -> list[File]:
        return [File("a"), File("bcd")]

    with serving(create_app(Service([files]))) as port, Peer(port) as peer:
        get = b"GET /actions/files%s HTTP/1.1"
        assert peer.request(get % b"")[2] == b'[{"name":"a"},{"name":"bcd"}]'
        status, headers, body = peer.request(get % b"?include=length,upper")
        assert json.loads(body) == [
            {"name": "a", "length": 1, "upper": "A"},
            {"name": "bcd", "length": 3, "upper": "BCD"},
        ]
        assert (status, headers["content-length"]) == (200, str(len(body)))
        assert peer.request(get % b"?include=size")[0] == 422
