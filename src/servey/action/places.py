"""How many calls of one action run at a time in this process, `@action(max_running=4)`, and how many of a resource are
open, `@resource(limit=4)`.

A call without a place waits on its event loop and takes no worker thread meanwhile.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

from servey.action.callables import ToAwait
from servey.action.context import CallContext
from servey.action.deadlines import in_time
from servey.action.runtime import Runtime
from servey.errors import OverloadedError


class Places:
    """The places of one action or resource. Calls wait for one in the order in which they come.

    Args:
        count: How many there are.
        of: Why there was none, for the callers who waited in vain.
    """

    def __init__(self, count: int, of: str = "as many calls of the action as may run did so") -> None:
        self._of = of
        self._lock = threading.Lock()  # event loops and worker threads meet here
        self._free = count
        self._waiting: OrderedDict[_Waiting, None] = OrderedDict()

    async def take(self, deadline: float | None, runtime: Runtime) -> Place:
        """Return a place, once one is free.

        Args:
            deadline: Until when to wait, in the event loop's time; None for ever.
            runtime: The event loop's.

        Raises:
            OverloadedError: The deadline passed first.
        """
        with self._lock:
            if self._free:
                self._free -= 1
                return Place(self)
            waiting = _Waiting(runtime.loop)
            self._waiting[waiting] = None
        if deadline is not None:
            runtime.deadlines.add(waiting, deadline, partial(self._expire, waiting))
        try:
            is_free = await waiting.future
        except BaseException:
            with self._lock:
                self._waiting.pop(waiting, None)
            if waiting.is_given:
                self.free()
            raise
        finally:
            runtime.deadlines.discard(waiting)
        if not is_free:
            raise OverloadedError(f"{self._of} until the call's deadline")
        return Place(self)

    def limited(self, execute: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """Return how a call is executed that has a place meanwhile; `execute` is how it is executed without."""

        async def limited(
            arguments: Any, context: CallContext, runtime: Runtime, finish: Callable[[Any], Any], *hold: Any
        ) -> Any:
            place = await self.take(context.deadline, runtime)
            token = TAKEN.set(place)
            try:
                return await execute(arguments, context, runtime, finish, *hold)
            except ToAwait as returned:
                return finish(await in_time(returned.awaitable, context.deadline, runtime.deadlines))
            finally:
                TAKEN.reset(token)
                place.leave()

        return limited

    @staticmethod
    def holding(call: Callable[..., Any]) -> Callable[..., Any]:
        """Return `call` as a thread makes it: a call that was given up keeps its place until its thread is done."""

        def held(*arguments: Any) -> Any:
            place = TAKEN.get()
            if not place.hold():
                raise OverloadedError("nobody waits for this call any more")
            try:
                return call(*arguments)
            finally:
                place.leave()

        return held

    def free(self) -> None:
        """Give a place to whoever has waited for longest."""
        with self._lock:
            while self._waiting:
                waiting, _ = self._waiting.popitem(last=False)
                try:
                    waiting.loop.call_soon_threadsafe(self._give, waiting)
                except RuntimeError:  # its event loop is closed
                    continue
                return
            self._free += 1

    def _give(self, waiting: _Waiting) -> None:
        if waiting.future.done():  # its call was cancelled meanwhile
            self.free()
        else:
            waiting.is_given = True
            waiting.future.set_result(True)

    def _expire(self, waiting: _Waiting) -> None:
        with self._lock:
            if waiting not in self._waiting:  # it has a place
                return
            del self._waiting[waiting]
        if not waiting.future.done():
            waiting.future.set_result(False)


class _Waiting:
    """A call that waits for a place."""

    __slots__ = ("future", "is_given", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.future: asyncio.Future[bool] = loop.create_future()
        self.is_given = False


class Place:
    """One taken place. It is free again when all who hold it have left: the call, and the thread that works for it.

    Args:
        places: Where it is.
    """

    __slots__ = ("_holders", "_lock", "_places")

    def __init__(self, places: Places) -> None:
        self._places = places
        self._lock = threading.Lock()
        self._holders = 1

    def hold(self) -> bool:
        """Hold the place too; return False where everybody has left it."""
        with self._lock:
            if not self._holders:
                return False
            self._holders += 1
            return True

    def leave(self) -> None:
        """Hold the place no more."""
        with self._lock:
            self._holders -= 1
            is_left = not self._holders
        if is_left:
            self._places.free()


TAKEN: ContextVar[Place] = ContextVar("servey_place")
"""The place of the call that runs here, for an action that has places."""
