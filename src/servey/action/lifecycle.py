"""The life of a service in one event loop: opened, serving, stopping, closed.

`Lifecycle.leave_serving` followed by `Lifecycle.leave` is the order of every stop, whatever the host:

1. The stop begins (`begin_stop`): the service is not ready, and sources begin no more calls. A *source* begins calls by
   itself, such as a schedule or the consumer of a queue.
2. The host stops accepting, and ends its connections. `until_stopping` tells those who hold connections open.
3. Sources wait for the calls that they began.
4. All other calls under way end.
5. Resources and lifespans of plugins close.

The whole may take as long as `begin_stop` says. A source that takes longer is cancelled. Calls that take longer lose
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
    """One stop, from its beginning until everything is closed."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.ends_at = 0.0
        """When it has to end, in the event loop's time (seconds)."""


class Lifecycle:
    """Opens and closes a service in one event loop, however many enter it.

    Args:
        loop: The event loop.
        opened: Opens what calls need for as long as it is entered: resources and plugins' lifespans.
        sources: Starts the sources for as long as it is entered.
        drain: Waits until no call is under way, for at most so many seconds.
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
        """Return when a stop begins."""
        await self._stop.begun.wait()

    def begin_stop(self, seconds: float) -> None:
        """Begin the stop, or change when it has to end.

        Args:
            seconds: How long all of it may take from now.
        """
        self._stop.ends_at = self._loop.time() + seconds
        self._stop.begun.set()

    async def open(self) -> None:
        """Open what calls need, unless it is open. If it is being closed, wait, and open it again."""
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
        """Open because a call needs it, although nobody has entered. Nobody will close it, and the log says so."""
        if not self._users:
            _log.warning(
                "the service was started by a call and nothing will close its resources; enter service.running() in "
                "the lifespan of the application that it is mounted in"
            )
        await self.open()

    async def enter(self) -> None:
        """Open what calls need, and keep it open until as many `leave` as `enter` were called."""
        self._users += 1
        try:
            await self.open()
        except BaseException:
            self._users -= 1
            raise

    async def leave(self, grace: float) -> None:
        """If nobody else has entered, let calls under way end, and close everything.

        Args:
            grace: How long the stop may take, in seconds, if it begins now.
        """
        self._users -= 1
        if self._users:
            return
        self._begin_stop_now(grace)
        self._is_closing = True
        async with self._changing:  # whoever enters now waits, and opens everything again
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
        """Enter, and start the sources, unless they are started."""
        await self.enter()
        try:
            async with self._changing_sources:
                if not self._servers:
                    await self._start_sources()
                self._servers += 1
        except BaseException:
            await self.leave(0.0)  # what was opened for the sources is closed again
            raise

    async def leave_serving(self, grace: float) -> None:
        """If nobody else serves, end the sources; then leave.

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
        if self.is_stopping and not self._is_closing:  # the sources were ended, and the service stayed open
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
            if not limit.expired():  # it is an error of the source itself
                raise
            _log.warning("the calls of a trigger did not end within the time of the stop, and were cancelled")
