"""The state of a service in one event loop: deadlines, worker threads and open resources."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from typing import Any

from servey.action.context import CURRENT_CALL
from servey.action.deadlines import Deadlines
from servey.action.lifecycle import Lifecycle
from servey.action.workers import WorkerThreads

_log = logging.getLogger("servey.runtime")

OpenIn = Callable[["Runtime"], AbstractAsyncContextManager[None]]


class Runtime:
    """One service in one event loop.

    Args:
        loop: The loop.
        threads: The largest number of worker threads.
        opened: A context manager that opens the resources and the lifespans of plugins.
        sources: A context manager that starts the triggers.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, threads: int, opened: OpenIn, sources: OpenIn) -> None:
        self.loop = loop
        self.deadlines = Deadlines(loop)
        self.workers = WorkerThreads(loop, threads, self.deadlines)
        self.login_workers = WorkerThreads(loop, _cores(), self.deadlines)
        """The threads for logins, so that calls do not wait for the hashing of passwords."""
        self._keeper = WorkerThreads(loop, 1, self.deadlines)
        self.values: dict[type, Any] = {}
        self.usable = False
        """Whether the service's resources are open, so that calls may run."""
        self.calls = 0
        """The number of running calls, of `def` and `async def`."""
        self.idle: asyncio.Event | None = None
        """Set when no call runs; None unless a stop waits for it."""
        self.keepers: set[asyncio.Task[Any]] = set()
        """The tasks that hold resources of requests open; each ends when it has closed them."""
        self.lifecycle = Lifecycle(loop, lambda: self._forgetting(opened), lambda: sources(self), self._drain)

    @asynccontextmanager
    async def _forgetting(self, opened: OpenIn) -> AsyncGenerator[None]:
        """Open the service; forget its resources when they are closed."""
        try:
            async with opened(self):
                yield
        finally:
            self.usable = False
            self.values.clear()

    async def _drain(self, seconds: float) -> None:
        """Wait until no call runs, for at most `seconds`."""
        until = self.loop.time() + seconds
        await asyncio.gather(self.workers.drain(seconds), self.login_workers.drain(seconds), self._drain_calls(seconds))
        if self.keepers:
            await asyncio.wait(self.keepers, timeout=max(0.0, until - self.loop.time()))

    async def _drain_calls(self, seconds: float) -> None:
        if not self.calls or CURRENT_CALL.get(None) is not None:  # a call cannot wait for its own end
            return
        self.idle = asyncio.Event()
        try:
            async with asyncio.timeout(seconds):
                await self.idle.wait()
        except TimeoutError:
            _log.warning("%d calls did not end within the time limit of the stop", self.calls)
        finally:
            self.idle = None

    def on_loop(
        self, manager: AbstractContextManager[Any] | AbstractAsyncContextManager[Any], label: str, request_id: str
    ) -> AbstractAsyncContextManager[Any]:
        """Return an asynchronous context manager; a synchronous `manager` is entered and left in worker threads."""
        if isinstance(manager, AbstractAsyncContextManager):
            return manager
        return _InWorkers(manager, self.workers, label, request_id)

    def kept(
        self, manager: AbstractContextManager[Any] | AbstractAsyncContextManager[Any], label: str
    ) -> AbstractAsyncContextManager[Any]:
        """Return an asynchronous context manager for the whole life of the service.

        A synchronous `manager` is entered and left in a separate thread. So the service can close it even if all worker
        threads hang.
        """
        if isinstance(manager, AbstractAsyncContextManager):
            return manager
        return _InWorkers(manager, self._keeper, label, "")

    def close(self) -> None:
        """End the threads, after the loop is closed."""
        self.workers.close()
        self.login_workers.close()
        self._keeper.close()


def _cores() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _InWorkers(AbstractAsyncContextManager[Any]):
    """A synchronous context manager, entered and left in worker threads.

    It is always closed: if the call is cancelled during the opening, the thread closes it; a cancellation does not stop
    the closing.
    """

    def __init__(
        self, manager: AbstractContextManager[Any], workers: WorkerThreads, label: str, request_id: str
    ) -> None:
        self._manager, self._workers, self._label, self._request_id = manager, workers, label, request_id
        self._lock = threading.Lock()
        self._entered = self._abandoned = False

    async def __aenter__(self) -> Any:
        try:
            return await self._work(self._enter)
        except BaseException:
            with self._lock:
                self._abandoned = True
                entered = self._entered
            if entered:
                await self.__aexit__(None, None, None)
            raise

    async def __aexit__(self, *raised: Any) -> bool | None:
        return await asyncio.shield(asyncio.ensure_future(self._work(lambda: self._manager.__exit__(*raised))))

    def _enter(self) -> Any:
        value = self._manager.__enter__()
        with self._lock:
            self._entered = not self._abandoned
        if not self._entered:
            self._manager.__exit__(None, None, None)
        return value

    async def _work(self, call: Callable[[], Any]) -> Any:
        return await self._workers.run(call, deadline=None, label=self._label, request_id=self._request_id)


class Runtimes:
    """The runtimes of a service, one for each event loop.

    A server has one loop; tests and the command line may have many, one after another.

    Args:
        threads: The largest number of worker threads of each runtime.
        opened: As for `Runtime`.
        sources: As for `Runtime`.
    """

    def __init__(self, threads: int, opened: OpenIn, sources: OpenIn) -> None:
        self._threads = threads
        self._opened, self._sources = opened, sources
        self._last: Runtime | None = None
        self._lock = threading.Lock()
        self._by_loop: dict[asyncio.AbstractEventLoop, Runtime] = {}

    def current(self) -> Runtime:
        """Return the runtime of the running event loop."""
        loop = asyncio.get_running_loop()
        last = self._last
        if last is not None and last.loop is loop:
            return last
        with self._lock:  # other threads have other loops
            runtime = self._by_loop.get(loop)
            if runtime is None:
                for closed in [other for other in self._by_loop if other.is_closed()]:
                    self._by_loop.pop(closed).close()
                runtime = self._by_loop[loop] = Runtime(loop, self._threads, self._opened, self._sources)
        self._last = runtime
        return runtime
