"""The life of a service in one event loop: opened, serving, stopping, closed.

Every host stops in the order of `Lifecycle.leave_serving` and then `Lifecycle.leave`:

1. The stop begins (`begin_stop`): the service is not ready, and sources begin no more calls. A *source* begins calls by
   itself, such as a schedule or the consumer of a queue.
2. The host accepts no more connections, and ends the open ones. `until_stopping` ends the wait of those that hold them.
3. Sources wait for the calls that they began.
4. All other running calls end.
5. Resources and lifespans of plugins close.

`begin_stop` sets the time limit of the whole stop. A source that takes longer is cancelled. Calls that take longer lose
their resources.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from servey.action.tasks import contain_tasks

_log = logging.getLogger("servey.runtime")

Open = Callable[[], AbstractAsyncContextManager[None]]


class _Stop:
    """One stop, from `begin_stop` until everything is closed."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.ends_at = 0.0
        """When the stop must end, in the event loop's time (seconds)."""


class Lifecycle:
    """Opens and closes a service in one event loop; any number of users may enter it.

    Args:
        loop: The event loop.
        opened: A context manager that opens the resources and the lifespans of plugins.
        sources: A context manager that starts the sources.
        drain: Waits until no call runs, for at most the given seconds.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, opened: Open, sources: Open, drain: Callable[[float], Awaitable[None]]
    ) -> None:
        self._loop, self._opened, self._sources, self._drain = loop, opened, sources, drain
        self._users = 0
        self._servers = 0
        self._is_open = False
        self._is_closing = False
        self._stop = _Stop()
        self._stack = AsyncExitStack()
        self._source_stack = AsyncExitStack()
        self._changing = asyncio.Lock()
        self._changing_sources = asyncio.Lock()
        self._release_tasks: Callable[[], None] = lambda: None

    @property
    def is_ready(self) -> bool:
        """Whether the service is open, and no stop has begun."""
        return self._is_open and not self.is_stopping

    @property
    def is_stopping(self) -> bool:
        """Whether a stop has begun."""
        return self._stop.begun.is_set()

    async def until_stopping(self) -> None:
        """Wait until a stop begins."""
        await self._stop.begun.wait()

    def begin_stop(self, seconds: float) -> None:
        """Begin the stop, or change its time limit.

        Args:
            seconds: The time limit of the whole stop, from now.
        """
        self._stop.ends_at = self._loop.time() + seconds
        self._stop.begun.set()

    async def open(self) -> None:
        """Open the service unless it is open. If it is closing, wait, and open it again."""
        if self._is_open and not self._is_closing:
            return
        async with self._changing:
            if self._is_open:
                return
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(self._opened())
                self._stack = stack.pop_all()
            self._is_open = True
            self._release_tasks = contain_tasks(self._loop)

    async def open_for_a_call(self) -> None:
        """Open for a call without `enter`, and log a warning, because nothing will close it."""
        if not self._users:
            _log.warning(
                "a call started the service, so nothing will close its resources; enter service.running() in the "
                "lifespan of the application that the service is mounted in"
            )
        await self.open()

    async def enter(self) -> None:
        """Open the service, and keep it open until `leave` was called as often as `enter`."""
        self._users += 1
        try:
            await self.open()
        except BaseException:
            self._users -= 1
            raise

    async def leave(self, grace: float) -> None:
        """After the last `leave`, wait for running calls, and close everything.

        Args:
            grace: The time limit of the stop in seconds, if it begins now.
        """
        self._users -= 1
        if self._users:
            return
        self._begin_stop_now(grace)
        self._is_closing = True
        async with self._changing:  # an `enter` from now on waits, and opens everything again
            try:
                await self._drain(max(0.0, self._stop.ends_at - self._loop.time()))
            finally:
                try:
                    await self._stack.aclose()
                finally:
                    self._release_tasks()
                    self._is_open = self._is_closing = False
                    self._stop = _Stop()

    async def enter_serving(self) -> None:
        """Enter, and start the sources unless they run."""
        await self.enter()
        try:
            async with self._changing_sources:
                if not self._servers:
                    await self._start_sources()
                self._servers += 1
        except BaseException:
            await self.leave(0.0)  # closes what was opened for the sources
            raise

    async def leave_serving(self, grace: float) -> None:
        """After the last `leave_serving`, end the sources; then leave.

        Args:
            grace: As for `leave`.
        """
        try:
            async with self._changing_sources:
                self._servers -= 1
                if not self._servers:
                    self._begin_stop_now(grace)
                    await self._end_sources()
        finally:
            await self.leave(grace)

    def _begin_stop_now(self, grace: float) -> None:
        if not self.is_stopping:
            self.begin_stop(grace)

    async def _start_sources(self) -> None:
        if self.is_stopping and not self._is_closing:  # the sources have ended, but the service is still open
            self._stop = _Stop()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._sources())
            self._source_stack = stack.pop_all()

    async def _end_sources(self) -> None:
        limit = asyncio.timeout_at(self._stop.ends_at)
        try:
            async with limit:
                await self._source_stack.aclose()
        except TimeoutError:
            if not limit.expired():  # an error of the source itself
                raise
            _log.warning(
                "calls of triggers or of the queue did not end within the time limit of the stop, and are cancelled"
            )
