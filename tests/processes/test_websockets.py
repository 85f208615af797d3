"""The websocket adapter of docs/adapters.md, in a real server."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from pages.blocks import blocks_of
from pages.installation import ROOT
from processes.conftest import BOUND, ServerProcess, until

SECRET = "a secret of more than thirty-two bytes"
ACTIONS = """
import asyncio
from pathlib import Path
from servey import WEB_GET, WEB_POST
from servey.action.action import action

@action(triggers=(WEB_POST,))
async def slow(value: int) -> int:
    await asyncio.sleep(0.5)
    return value

@action(triggers=(WEB_GET,))
def parsed(value: object) -> None:
    pass

@action(triggers=(WEB_POST,))
async def endless() -> None:
    try:
        await asyncio.sleep(3600)
    finally:
        Path("ended").touch()

@action
def hidden() -> str:
    return "hidden"
"""


@pytest.fixture
def serve(start: Callable[..., ServerProcess], tmp_path: Path) -> Callable[..., ServerProcess]:
    page = (ROOT / "docs" / "adapters.md").read_text(encoding="utf-8")
    example = next(block.text for block in blocks_of(page) if block.file == "sockets.py")

    def serve(**variables: str) -> ServerProcess:
        (tmp_path / "sockets.py").write_text(example)
        variables |= {"JWT_SECRET_KEY": SECRET, "SERVEY_PLUGINS": "sockets:SocketPlugin"}
        return start(ACTIONS, "--no-reload", **variables)

    return serve


def connected(server: ServerProcess, token: str = "") -> ClientConnection:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return connect(f"ws://localhost:{server.port}/calls", additional_headers=headers)


def told(socket: ClientConnection, message: str | bytes) -> Any:
    socket.send(message)
    return json.loads(socket.recv(BOUND))


def code_of_close(socket: ClientConnection) -> int | None:
    try:
        while True:
            socket.recv(BOUND)
    except ConnectionClosed as error:
        return error.rcvd.code if error.rcvd else None


def test_calls_by_websocket_are_answered_before_the_service_stops(serve: Callable[..., ServerProcess]) -> None:
    server = serve(SERVEY_SHUTDOWN_TIMEOUT=str(2 * BOUND))
    with connected(server) as socket:
        for number in range(3):
            socket.send(json.dumps({"id": number, "action": "slow", "arguments": {"value": number}}))
        assert told(socket, '{"id": 3, "action": "unknown"}')["error"]["code"] == "not_found"  # the others have begun
        server.signal(signal.SIGTERM)
        answers = [json.loads(socket.recv(BOUND)) for _ in range(3)]
        assert sorted(answer["result"] for answer in answers) == [0, 1, 2]
        assert code_of_close(socket) == 1001
    server.wait()


def test_each_message_by_websocket_has_its_answer(serve: Callable[..., ServerProcess], tmp_path: Path) -> None:
    server = serve(SERVEY_MAX_BODY_SIZE="10000", SERVEY_TIMEOUT="1000")  # no deadline ends a call here
    with connected(server) as socket:
        deep = "[" * 2000 + "]" * 2000
        for message, number, code in (
            ('{"id": 1, "action": "slow", "arguments": {"value": "1"}}', 1, "invalid"),
            ('{"id": "a", "action": "hidden"}', "a", "not_found"),
            (f'{{"id": 2, "action": "parsed", "arguments": {{"value": {deep}}}}}', None, "malformed"),
            ('{"id": 3, "action": "slow", "args": {"value": 1}}', None, "malformed"),
            (b"\xff", None, "malformed"),
            ("", None, "malformed"),
        ):
            answer = told(socket, message)
            assert (answer["id"], answer["error"]["code"]) == (number, code), message[:60]
        assert told(socket, b'{"id": 5, "action": "slow", "arguments": {"value": 1}}') == {"id": 5, "result": 1}
        socket.send(json.dumps({"id": 6, "action": "parsed", "arguments": {"value": "\N{SNOWMAN}" * 4000}}))
        assert code_of_close(socket) == 1009
    with connected(server, "wrong") as socket:
        assert code_of_close(socket) == 4401
    with connected(server) as socket:
        socket.send('{"id": 7, "action": "endless"}')
        assert told(socket, '{"id": 8, "action": "unknown"}')["id"] == 8  # the other has begun
    until((tmp_path / "ended").exists, "the end of the call of a client that has left")


def test_a_websocket_is_closed_when_its_token_expires(serve: Callable[..., ServerProcess]) -> None:
    server = serve(SERVEY_JWT_LEEWAY="0")
    assert server.port
    began = time.time()
    with connected(server, jwt.encode({"sub": "ann", "exp": began + 2}, SECRET)) as socket:
        while time.time() < began + BOUND:  # a client that never pauses
            try:
                assert told(socket, '{"id": 1, "action": "unknown"}')["id"] == 1
            except ConnectionClosed:
                break
        assert code_of_close(socket) == 4401
