"""Coroutine tests run in an event loop of their own, with a bound."""

from __future__ import annotations

import asyncio
import inspect
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import uvicorn

BOUND = 60.0
"""Seconds after which a test that hangs fails."""


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    function = pyfuncitem.obj
    if not inspect.iscoroutinefunction(function):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(function).parameters}

    async def bounded() -> None:
        async with asyncio.timeout(BOUND):
            await function(**arguments)

    asyncio.run(bounded())
    return True


@pytest.fixture(params=["h11", "httptools"])
def serving(request: pytest.FixtureRequest) -> Callable[..., AbstractContextManager[int]]:
    """Serve an application with uvicorn in a thread; yields the port."""

    @contextmanager
    def serve(app: Any, **options: Any) -> Iterator[int]:
        with _uvicorn(app, http=request.param, **options) as port:
            yield port

    return serve


@contextmanager
def _uvicorn(app: Any, **options: Any) -> Iterator[int]:
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
