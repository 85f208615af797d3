"""The deadlines of all calls of one event loop, on one timer.

A timer for each call costs as much as a small action: `asyncio.timeout` adds about 4 µs, because it schedules
and cancels a handle of the loop each time. Nearly no call reaches its deadline, so here a call only enters itself
into a table and leaves it again (about 0.4 µs), and one timer looks at the table every `TICK_SECONDS`.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, CancelledError, current_task
from collections.abc import Awaitable, Callable, Hashable
from typing import TypeVar

from servey.errors import DeadlineError

T = TypeVar("T")

TICK_SECONDS = 0.05
"""How late a deadline may be noticed, besides what blocks the event loop."""


class Deadlines:
    """Give up calls whose time is over; one instance for each event loop, used in its thread only.

    While there are calls, a timer fires every `TICK_SECONDS` and looks at each of them; with none, it fires once
    more at most and is not set again. Nothing has to be closed.

    Args:
        loop: The event loop whose clock (``loop.time()``) the deadlines are in.
    """

    __slots__ = ("_armed", "_calls", "_loop")

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: dict[Hashable, tuple[float, Callable[[], object]]] = {}
        self._armed = False

    def __len__(self) -> int:
        return len(self._calls)

    async def run(self, awaitable: Awaitable[T], at: float) -> T:
        """Await `awaitable` in the current task and give it up when `at` has passed.

        The rules are those of `asyncio.timeout`. The task is cancelled, once, at its next suspension; an awaitable
        that never suspends is never given up. When the cancellation comes out as `CancelledError` and nobody else
        asked for one, it becomes `DeadlineError`; when somebody did (an outer deadline, a task group, a client that
        left), the `CancelledError` goes on to them. An awaitable that swallows the cancellation has the last word:
        the value it returns or the error it raises is the outcome, however late.

        Args:
            awaitable: What to await, usually a coroutine.
            at: When to give up, in the event loop's time (seconds); may have passed already.

        Returns:
            What the awaitable returns.

        Raises:
            DeadlineError: `at` passed first.
            RuntimeError: There is no current task in the loop of these deadlines.

        Example:
            >>> import asyncio
            >>> async def main() -> str:
            ...     loop = asyncio.get_running_loop()
            ...     return await Deadlines(loop).run(asyncio.sleep(0, "in time"), loop.time() + 15)
            >>> asyncio.run(main())
            'in time'
        """
        task = current_task(self._loop)
        if task is None:
            raise RuntimeError("a call with a deadline must run inside a task of its event loop")
        cancelling = task.cancelling()
        calls = self._calls
        key = object()  # neither the task nor the awaitable will do: both may be here twice
        calls[key] = at, task.cancel
        if not self._armed:
            self._arm()
        # The tick takes a call out of the table as it cancels it, so a call that is missing was cancelled
        # by the tick and owes the task one uncancel().
        try:
            result = await awaitable
        except BaseException as error:
            if calls.pop(key, None) is None and task.uncancel() <= cancelling and isinstance(error, CancelledError):
                raise DeadlineError("the call took longer than it may") from error
            raise
        if calls.pop(key, None) is None:
            task.uncancel()
        return result

    def add(self, key: Hashable, at: float, expire: Callable[[], object]) -> None:
        """Call `expire` once when `at` has passed, unless `discard` comes first.

        For what has a better way to give up than to cancel a task.

        Args:
            key: What `discard` knows it by; not in use here.
            at: When, in the event loop's time (seconds).
            expire: Runs in the event loop; must not raise.
        """
        self._calls[key] = at, expire
        if not self._armed:
            self._arm()

    def discard(self, key: Hashable) -> bool:
        """Forget `key`; return False when it has expired already or was never here."""
        return self._calls.pop(key, None) is not None

    def _arm(self) -> None:
        self._loop.call_later(TICK_SECONDS, self._tick)
        self._armed = True

    def _tick(self) -> None:
        self._armed = False
        now = self._loop.time()
        calls = self._calls
        due = [key for key, (at, _) in calls.items() if at <= now]
        if len(calls) > len(due):
            self._arm()
        for key in due:
            # to cancel is to call what a task waits on, whose `cancel` may be anyone's code and take others out
            if call := calls.pop(key, None):
                call[1]()


async def in_time(awaitable: Awaitable[T], at: float | None, deadlines: Deadlines) -> T:
    """Return the result of `awaitable`, by a deadline if there is one.

    Args:
        awaitable: A coroutine or a future.
        at: The deadline in the event loop's time (seconds); None for none.
        deadlines: The deadlines of the event loop.

    Raises:
        DeadlineError: The deadline passed first.
    """
    return await (awaitable if at is None else deadlines.run(awaitable, at))
