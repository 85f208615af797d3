"""The deadlines of all calls of one event loop, on one timer.

A timer for each call costs as much as a small action: `asyncio.timeout` adds about 4 µs, because it schedules and
cancels a handle of the loop each time. Few calls reach their deadlines. So a call only adds and removes an entry of a
table (about 0.4 µs), and one timer checks the table every `TICK_SECONDS`.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, CancelledError, current_task
from collections.abc import Awaitable, Callable, Hashable
from typing import TypeVar

from servey.errors import DeadlineError

T = TypeVar("T")

TICK_SECONDS = 0.05
"""The largest delay of a deadline, if nothing blocks the event loop."""


class Deadlines:
    """Stop calls whose deadline has passed; one instance for each event loop, used only in the thread of the loop.

    While there are calls, a timer checks them every `TICK_SECONDS`. Without calls, it fires at most once more. There
    is nothing to close.

    Args:
        loop: The event loop; its clock (``loop.time()``) is the clock of the deadlines.
    """

    __slots__ = ("_armed", "_calls", "_loop")

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: dict[Hashable, tuple[float, Callable[[], object]]] = {}
        self._armed = False

    def __len__(self) -> int:
        return len(self._calls)

    async def run(self, awaitable: Awaitable[T], at: float) -> T:
        """Await `awaitable` in the current task until the deadline `at`.

        The rules are those of `asyncio.timeout`. The task is cancelled once, at its next suspension; an awaitable that
        never suspends is never stopped. A `CancelledError` from this cancellation becomes a `DeadlineError`. If other
        code cancels the task, too (an outer deadline, a task group, a client that left), the `CancelledError` is
        raised. If the awaitable suppresses the cancellation, its value or error is the outcome.

        Args:
            awaitable: The awaitable, usually a coroutine.
            at: The deadline, in the event loop's time (seconds); it may have passed already.

        Returns:
            The result of the awaitable.

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
        key = object()  # not the task or the awaitable, which may have several entries
        calls[key] = at, task.cancel
        if not self._armed:
            self._arm()
        # The tick removes a call from the table when it cancels the call. So a missing call was cancelled by the tick,
        # and the task needs one uncancel().
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
        """Call `expire` once when `at` has passed, unless `discard` is called first.

        Args:
            key: An unused key, for `discard`.
            at: The deadline, in the event loop's time (seconds).
            expire: Runs in the event loop; must not raise.
        """
        self._calls[key] = at, expire
        if not self._armed:
            self._arm()

    def discard(self, key: Hashable) -> bool:
        """Remove `key`; return False if it has expired already or is unknown."""
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
            # `cancel` may run any code, which may remove other calls from the table
            if call := calls.pop(key, None):
                call[1]()


async def in_time(awaitable: Awaitable[T], at: float | None, deadlines: Deadlines) -> T:
    """Return the result of `awaitable`, with a deadline if there is one.

    Args:
        awaitable: A coroutine or a future.
        at: The deadline in the event loop's time (seconds); None for no deadline.
        deadlines: The deadlines of the event loop.

    Raises:
        DeadlineError: The deadline passed first.
    """
    return await (awaitable if at is None else deadlines.run(awaitable, at))
