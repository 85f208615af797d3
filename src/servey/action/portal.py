"""Calls from code without an event loop: a worker process, a thread, a script."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Portal:
    """Run a service in an event loop in a thread, for calls from other threads; like anyio's `BlockingPortal`.

    Create it after a fork: threads and event loops do not survive a fork.

    Args:
        entered: Returns the context manager that is entered while the portal is open: ``service.running``.

    Example:
        >>> from servey.action.action import action
        >>> from servey.servey_direct.direct import call
        >>> from servey.service import Service
        >>> @action
        ... async def double(value: int) -> int:
        ...     return value * 2
        >>> service = Service([double])
        >>> with Portal(service.running) as portal:
        ...     portal.call(call, service, "double", {"value": 4})
        8
    """

    def __init__(self, entered: Callable[[], AbstractAsyncContextManager[Any]]) -> None:
        self._entered = entered
        self._opened: Future[asyncio.AbstractEventLoop] = Future()
        self._closed: Future[None] = Future()
        self._closing = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="servey-portal", daemon=True)

    def __enter__(self) -> Portal:
        """Start the event loop, and enter the context manager; raise its errors."""
        self._thread.start()
        self._opened.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the context manager, which waits for running calls, and end the event loop; raise its errors."""
        self._opened.result().call_soon_threadsafe(self._closing.set)
        self._thread.join()
        self._closed.result()

    def call(self, function: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run an `async def` in the event loop, with the current context variables, and wait for its result.

        Raises:
            RuntimeError: The portal is not open.
        """
        return self.submit(function, *args, **kwargs).result()

    def submit(self, function: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Start an `async def` in the event loop, and return without waiting.

        Raises:
            RuntimeError: The portal is not open.
        """
        if not self._opened.done() or self._closed.done():
            raise RuntimeError("the portal is not open: use it inside `with Portal(…) as portal:`")
        return asyncio.run_coroutine_threadsafe(function(*args, **kwargs), self._opened.result())

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread that waits
            (self._closed if self._opened.done() else self._opened).set_exception(error)
        else:
            self._closed.set_result(None)

    async def _serve(self) -> None:
        async with self._entered():
            self._opened.set_result(asyncio.get_running_loop())
            await self._closing.wait()
