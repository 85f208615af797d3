"""What an operation needs of the event loop it runs in: deadlines, worker threads and the open resources."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack
from typing import Any

from servey.action.deadlines import Deadlines
from servey.action.tasks import contain_tasks
from servey.action.workers import Workers

_log = logging.getLogger("servey.runtime")


class Runtime:
    """One service in one event loop.

    Args:
        loop: The loop.
        threads: How many worker threads there are at most.
        opened: Returns what is open while the service runs (resources, plugins' lifespans, triggers).
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        threads: int,
        opened: Callable[[Runtime], AbstractAsyncContextManager[None]],
    ) -> None:
        self.loop = loop
        self.deadlines = Deadlines(loop)
        self.workers = Workers(loop, threads, self.deadlines)
        self.login_workers = Workers(loop, _cores(), self.deadlines)
        """The threads of logins, so that calls do not wait for the hashing of passwords."""
        self._keeper = Workers(loop, 1, self.deadlines)
        self.values: dict[type, Any] = {}
        self.usable = False
        """Whether the service's resources are open: calls may run, those of a trigger that starts included."""
        self.started = False
        self.stopping = False
        self.stop_at: float | None = None
        """When calls under way have had their time, in the loop's time; None when nobody is about to stop."""
        self.keepers: set[asyncio.Task[Any]] = set()
        """The tasks that keep resources of requests open; each ends when it has closed them."""
        self._opened = opened
        self._stack = AsyncExitStack()
        self._changing = asyncio.Lock()
        self._users = 0
        self._release_tasks: Callable[[], None] = lambda: None

    async def start(self) -> None:
        """Open what the service needs; at once when that is done already, and after it has closed when it stops."""
        if self.started and not self.stopping:
            return
        async with self._changing:
            if not self.started:
                try:
                    async with AsyncExitStack() as stack:
                        await stack.enter_async_context(self._opened(self))
                        self._stack = stack.pop_all()
                except BaseException:
                    self._forget()
                    raise
                self.started = True
                self._release_tasks = contain_tasks(self.loop)

    async def start_for_a_call(self) -> None:
        """Start because a call needs it, nobody having entered before; nobody will close it, and the log says so."""
        if not self._users:
            _log.warning(
                "the service was started by a call and nothing will close its resources; enter service.running() in "
                "the lifespan of the application that it is mounted in"
            )
        await self.start()

    async def enter(self) -> None:
        """Start, and stay started until as many `leave` as `enter` were called."""
        self._users += 1
        try:
            await self.start()
        except BaseException:
            self._users -= 1
            raise

    async def leave(self, grace: float) -> None:
        """Let calls under way end, for at most `grace` seconds, and close everything."""
        self._users -= 1
        if self._users:
            return
        self.stopping = True
        if self.stop_at is not None:
            grace = max(0.0, self.stop_at - self.loop.time())
        async with self._changing:  # who enters now waits, and opens everything anew
            try:
                until = self.loop.time() + grace
                await asyncio.gather(self.workers.drain(grace), self.login_workers.drain(grace))
                if self.keepers:
                    await asyncio.wait(self.keepers, timeout=max(0.0, until - self.loop.time()))
            finally:
                try:
                    await self._stack.aclose()
                finally:
                    self._forget()

    def _forget(self) -> None:
        self.usable = self.started = self.stopping = False
        self.stop_at = None
        self._release_tasks()
        self.values.clear()

    def on_loop(
        self, manager: AbstractContextManager[Any] | AbstractAsyncContextManager[Any], label: str, request_id: str
    ) -> AbstractAsyncContextManager[Any]:
        """Return `manager` as the loop may enter it: a synchronous one is entered and left in worker threads."""
        if isinstance(manager, AbstractAsyncContextManager):
            return manager
        return _InWorkers(manager, self.workers, label, request_id)

    def kept(
        self, manager: AbstractContextManager[Any] | AbstractAsyncContextManager[Any], label: str
    ) -> AbstractAsyncContextManager[Any]:
        """Return `manager` as the loop may enter it for as long as the service runs.

        A synchronous one is entered and left in one thread of its own kind: calls that hang in every worker cannot
        keep the service from closing what it opened.
        """
        if isinstance(manager, AbstractAsyncContextManager):
            return manager
        return _InWorkers(manager, self._keeper, label, "")

    def close(self) -> None:
        """Let the threads end; the loop is closed."""
        self.workers.close()
        self.login_workers.close()
        self._keeper.close()


def _cores() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _InWorkers(AbstractAsyncContextManager[Any]):
    """A synchronous context manager, entered and left in worker threads.

    What was opened is closed, whatever becomes of the call: entering that outlives a cancelled call is undone by
    the thread itself, and leaving is shielded.
    """

    def __init__(self, manager: AbstractContextManager[Any], workers: Workers, label: str, request_id: str) -> None:
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
    """The runtimes of a service, one for each event loop it is used in.

    A server has one loop; tests and the command line may have many, one after another.

    Args:
        threads: How many worker threads each has at most.
        opened: As for `Runtime`.
    """

    def __init__(self, threads: int, opened: Callable[[Runtime], AbstractAsyncContextManager[None]]) -> None:
        self._threads = threads
        self._opened = opened
        self._last: Runtime | None = None
        self._lock = threading.Lock()
        self._by_loop: dict[asyncio.AbstractEventLoop, Runtime] = {}

    def current(self) -> Runtime:
        """Return the runtime of the running event loop."""
        loop = asyncio.get_running_loop()
        last = self._last
        if last is not None and last.loop is loop:
            return last
        with self._lock:  # other threads have loops of their own
            runtime = self._by_loop.get(loop)
            if runtime is None:
                for closed in [other for other in self._by_loop if other.is_closed()]:
                    self._by_loop.pop(closed).close()
                runtime = self._by_loop[loop] = Runtime(loop, self._threads, self._opened)
        self._last = runtime
        return runtime
