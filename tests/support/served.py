"""An application on a real socket: uvicorn in a thread."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

BOUND = 60.0
"""Seconds after which a server that does not start or stop fails the test."""


@contextmanager
def served_by_uvicorn(app: Any, **options: Any) -> Iterator[int]:
    """Serve `app` from a thread on a free port; yields the port."""

    class Server(uvicorn.Server):
        up = threading.Event()

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            self.up.set()

        async def main_loop(self) -> None:
            # uvicorn's own looks every 0.1 s whether it shall end
            self.loop, self.leave = asyncio.get_running_loop(), asyncio.Event()
            if not await self.on_tick(0):
                await self.leave.wait()

    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    config = uvicorn.Config(
        app, log_config=None, access_log=False, ws="none", lifespan="on", timeout_graceful_shutdown=10, **options
    )
    server = Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        assert server.up.wait(BOUND), "uvicorn did not start"
        yield port
    finally:
        server.should_exit = True
        if hasattr(server, "leave"):
            server.loop.call_soon_threadsafe(server.leave.set)
        thread.join(BOUND)
        listener.close()
        assert not thread.is_alive(), "uvicorn did not stop"
