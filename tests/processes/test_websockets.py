"""The websocket adapter of docs/adapters.md, in a server that stops."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from pages.blocks import blocks_of
from pages.installation import ROOT
from processes.conftest import BOUND, ServerProcess

ACTIONS = """
import asyncio
from servey import WEB_POST
from servey.action.action import action

@action(triggers=(WEB_POST,))
async def slow(value: int) -> int:
    await asyncio.sleep(0.5)
    return value
"""


def serve_sockets(start: Callable[..., ServerProcess], tmp_path: Path) -> ServerProcess:
    page = (ROOT / "docs" / "adapters.md").read_text(encoding="utf-8")
    example = next(block.text for block in blocks_of(page) if block.file == "sockets.py")
    (tmp_path / "sockets.py").write_text(example)
    return start(ACTIONS, "--no-reload", SERVEY_PLUGINS="sockets:SocketPlugin", SERVEY_SHUTDOWN_TIMEOUT=str(2 * BOUND))


def code_of_close(socket: ClientConnection) -> int | None:
    try:
        return socket.recv(BOUND) and None  # a message instead
    except ConnectionClosed as error:
        return error.rcvd.code if error.rcvd else None


def test_calls_by_websocket_are_answered_before_the_service_stops(
    start: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    server = serve_sockets(start, tmp_path)
    with connect(f"ws://localhost:{server.port}/calls") as socket:
        for number in range(3):
            socket.send(json.dumps({"id": number, "action": "slow", "arguments": {"value": number}}))
        socket.send('{"id": 3, "action": "unknown"}')
        assert json.loads(socket.recv(BOUND))["error"]["code"] == "not_found"  # so the others have begun
        server.signal(signal.SIGTERM)
        answers = [json.loads(socket.recv(BOUND)) for _ in range(3)]
        assert sorted(answer["result"] for answer in answers) == [0, 1, 2]
        assert code_of_close(socket) == 1001
    server.wait()
