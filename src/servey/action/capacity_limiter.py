"""Limit the calls of an action that run at a time, `@action(max_running=4)`, and the open instances of a resource,
`@resource(limit=4)`, in this process: a semaphore for calls of several event loops, with their deadlines.

A call that waits for a slot waits on its event loop, without a worker thread.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

from servey.action.callables import AwaitableReturned
from servey.action.context import CallContext
from servey.action.deadlines import in_time
from servey.action.runtime import Runtime
from servey.errors import OverloadedError


class CapacityLimiter:
    """The slots of one action or resource. Calls get them in the order of their arrival.

    Args:
        count: The number of slots.
        reason: The error message for a call that got no slot before the deadline.
    """

    def __init__(self, count: int, reason: str = "too many calls of the action were running") -> None:
        self._reason = reason
        self._lock = threading.Lock()  # for event loops and worker threads
        self._free = count
        self._waiting: OrderedDict[_Waiting, None] = OrderedDict()

    async def acquire(self, deadline: float | None, runtime: Runtime) -> Slot:
        """Wait for a free slot, and take it.

        Args:
            deadline: The deadline of the call, in the event loop's time (seconds); None for no limit.
            runtime: The runtime of the event loop.

        Raises:
            OverloadedError: The deadline passed first.
        """
        with self._lock:
            if self._free:
                self._free -= 1
                return Slot(self)
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
            raise OverloadedError(f"{self._reason} until the call's deadline")
        return Slot(self)

    def limited(self, execute: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """Return a function that takes a slot around `execute`."""

        async def limited(
            arguments: Any, context: CallContext, runtime: Runtime, finish: Callable[[Any], Any], *hold: Any
        ) -> Any:
            slot = await self.acquire(context.deadline, runtime)
            token = CURRENT_SLOT.set(slot)
            try:
                return await execute(arguments, context, runtime, finish, *hold)
            except AwaitableReturned as returned:
                return finish(await in_time(returned.awaitable, context.deadline, runtime.deadlines))
            finally:
                CURRENT_SLOT.reset(token)
                slot.leave()

        return limited

    @staticmethod
    def holding(call: Callable[..., Any]) -> Callable[..., Any]:
        """Return `call` for a thread that holds the slot, too: a call whose caller has left keeps the slot."""

        def held(*arguments: Any) -> Any:
            slot = CURRENT_SLOT.get()
            if not slot.hold():
                raise OverloadedError("the caller left before the call began")
            try:
                return call(*arguments)
            finally:
                slot.leave()

        return held

    def free(self) -> None:
        """Give a free slot to the call that has waited longest, if any."""
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
            if waiting not in self._waiting:  # it has a slot
                return
            del self._waiting[waiting]
        if not waiting.future.done():
            waiting.future.set_result(False)


class _Waiting:
    """A call that waits for a slot."""

    __slots__ = ("future", "is_given", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.future: asyncio.Future[bool] = loop.create_future()
        self.is_given = False


class Slot:
    """One taken slot, with a count of its holders: the call, and the thread in which it runs.

    Args:
        limiter: The limiter that it belongs to.
    """

    __slots__ = ("_holders", "_limiter", "_lock")

    def __init__(self, limiter: CapacityLimiter) -> None:
        self._limiter = limiter
        self._lock = threading.Lock()
        self._holders = 1

    def hold(self) -> bool:
        """Add a holder; return False if the slot is free already."""
        with self._lock:
            if not self._holders:
                return False
            self._holders += 1
            return True

    def leave(self) -> None:
        """Remove a holder; the last one frees the slot."""
        with self._lock:
            self._holders -= 1
            is_left = not self._holders
        if is_left:
            self._limiter.free()


CURRENT_SLOT: ContextVar[Slot] = ContextVar("servey_slot")
"""The slot of the current call, if its action has a `max_running`."""
