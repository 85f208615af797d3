"""Calls for tests of queues, and consumers that note the calls that they get."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import msgspec

from servey.background_call.call import Call, Done, Outcome
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


async def until(is_true: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a state that sends no event; the time limit is that of the test."""
    while not await is_true():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
