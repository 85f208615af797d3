"""Calls for tests of queues, and consumers that note the calls that they get."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import msgspec

from servey.background_call.call import Again, Call, Done, Outcome
from servey.ports import CallQueue


def a_call(id: str, *, after: float = 0.0, **fields: object) -> Call:
    """Return a call that is due so many seconds from now."""
    values = {"action": "act", "arguments": msgspec.Raw(b'{"value":1}'), "request_id": "r", **fields}
    return Call(id=id, due=time.time() + after, **values)  # type: ignore[arg-type]


class Runs:
    """Runs calls by a function, and notes them.

    Args:
        run: Returns the outcome of a call; default: done at once.
    """

    def __init__(self, run: Callable[[Call], Awaitable[Outcome]] | None = None) -> None:
        self._run = run
        self._changed = asyncio.Condition()
        self.calls: list[Call] = []
        self.running = self.most = 0

    @property
    def ids(self) -> list[str]:
        return [call.id for call in self.calls]

    def of(self, queue: CallQueue) -> AbstractAsyncContextManager[None]:
        """Return the consumer of a queue."""
        return queue.consuming(self)

    async def __call__(self, call: Call) -> Outcome:
        self.calls.append(call)
        self.running += 1
        self.most = max(self.most, self.running)
        await self._notify()
        try:
            return Done() if self._run is None else await self._run(call)
        finally:
            self.running -= 1

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def until(self, number: int) -> None:
        """Wait for so many calls."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.calls) >= number)


class ObservedQueue:
    """A queue whose consumer notes the outcomes of the calls.

    Args:
        queue: The queue that keeps the calls.
        submitted: Another queue for the calls that actions submit; default: the same.
    """

    def __init__(self, queue: CallQueue, submitted: CallQueue | None = None) -> None:
        self._queue = queue
        self._outcomes: dict[str, asyncio.Future[Outcome]] = {}
        submits = queue if submitted is None else submitted
        self.carries_callers = queue.carries_callers
        self.is_durable, self.put, self.put_now = queue.is_durable, submits.put, submits.put_now
        self.failed, self.retry, self.forget = queue.failed, queue.retry, queue.forget

    async def outcome_of(self, call: Call) -> Outcome:
        """Put a call into the queue, and wait for its outcome."""
        await self._queue.put([call])
        return await self.outcome(call.id)

    def outcome(self, id: str) -> asyncio.Future[Outcome]:
        """Return the last outcome of a call, which is no further attempt."""
        return self._outcomes.setdefault(id, asyncio.get_running_loop().create_future())

    def consuming(self, run: Callable[[Call], Awaitable[Outcome]], /) -> AbstractAsyncContextManager[None]:
        """Return the consumer of the queue."""

        async def noted(call: Call) -> Outcome:
            try:
                outcome = await run(call)
            except BaseException:
                self.outcome(call.id).cancel()
                raise
            if not isinstance(outcome, Again):
                self.outcome(call.id).set_result(outcome)
            return outcome

        return self._queue.consuming(noted)


async def until(is_true: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a state that sends no event; the time limit is that of the test."""
    while not await is_true():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
