"""Make calls of one request together: the nested actions of one level of a GraphQL query.

Each call has its own access check, deadline and error. Only the call of the function is shared. The loader does not
know when all calls of a level have joined. So it waits for a turn of the event loop without a new call: then no task
can run without waiting for something outside.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Any

from servey.action.batch import Batch, BatchedCall
from servey.action.context import CallContext
from servey.action.runtime import Runtime
from servey.action.thread_batch import ThreadBatch
from servey.action.workers import Job


class BatchLoader:
    """The calls of one request, in one event loop.

    A transport makes one for a request with many calls, and puts it into the `CallContext` of each.
    """

    def __init__(self) -> None:
        self._joined = self._seen = 0
        self._looking = False
        self._batched: dict[tuple[Batch, int, int], list[BatchedCall]] = {}
        self._chunks: dict[BatchedCall, _Chunk] = {}
        self._threaded: list[tuple[Job[Any], float | None]] = []
        self._thread_batches: dict[Job[Any], ThreadBatch] = {}
        self._context = Context()  # empty, so that the timer does not inherit the first caller's context variables

    async def call_batched(
        self, batch: Batch, item: Any, context: CallContext, runtime: Runtime, finish: Callable[[Any], Any]
    ) -> Any:
        """Make a call by a batch function, and return its result after `finish`.

        Args:
            batch: The action's batch function.
            item: The item of the call.
            context: The call context.
            runtime: The runtime of the event loop.
            finish: See `Operation.run`.

        Raises:
            Exception: The error of the call, or of its whole batch.
        """
        call = BatchedCall(item, context, finish, runtime.loop)
        # all items of a call of the function have the same caller and the same request scope
        key = batch, id(context.authorization), id(context.request_scope)
        self._batched.setdefault(key, []).append(call)
        self._join(runtime)
        try:
            await call.future
        except asyncio.CancelledError:
            if (chunk := self._chunks.get(call)) is not None:
                await chunk.leave()
            raise
        finally:
            self._chunks.pop(call, None)
        error = call.error
        if error is None:
            return call.value
        call.error = None
        try:
            raise error
        finally:
            del error  # avoids a reference cycle: its traceback has this frame

    async def call_in_thread(self, call: Callable[[], Any], context: CallContext, runtime: Runtime, label: str) -> Any:
        """Run `call` in a worker thread and return its result, by the rules of `WorkerThreads.run`.

        Args:
            call: The function, without arguments.
            context: The call context.
            runtime: The runtime of the event loop.
            label: The name of the call in the log: the action's name.
        """
        job: Job[Any] = Job(call, runtime.loop.create_future(), label, context.request_id)
        self._threaded.append((job, context.deadline))
        self._join(runtime)
        try:
            failure = await job.future
        except BaseException:
            if (thread_batch := self._thread_batches.get(job)) is not None:
                thread_batch.leave(job)
            raise
        finally:
            self._thread_batches.pop(job, None)
            runtime.deadlines.discard(job)
        return job.outcome(failure)

    def _join(self, runtime: Runtime) -> None:
        self._joined += 1
        if not self._looking:
            self._looking = True
            runtime.loop.call_soon(self._look, runtime, context=self._context)

    def _look(self, runtime: Runtime) -> None:
        """Make the calls if no call has joined since the last turn of the loop."""
        if self._joined != self._seen:
            self._seen = self._joined
            runtime.loop.call_soon(self._look, runtime, context=self._context)
            return
        self._looking = False
        threaded, self._threaded = self._threaded, []
        batched, self._batched = self._batched, {}
        threaded = [(job, deadline) for job, deadline in threaded if not job.future.done()]
        if threaded:
            thread_batch = ThreadBatch(threaded, runtime)
            self._thread_batches.update((job, thread_batch) for job, _ in threaded)
        for (batch, *_), calls in batched.items():
            waiting = [call for call in calls if not call.future.done()]
            size = batch.max_size or len(waiting)
            for start in range(0, len(waiting), size or 1):
                chunk = _Chunk(batch, waiting[start : start + size], runtime)
                self._chunks.update((call, chunk) for call in chunk.calls)


class _Chunk:
    """The calls that are made by one call of a batch function."""

    def __init__(self, batch: Batch, calls: Sequence[BatchedCall], runtime: Runtime) -> None:
        self.calls = calls
        self._left = 0
        self._task = runtime.loop.create_task(batch.run(calls, runtime), context=calls[0].variables.copy())
        self._task.add_done_callback(self._deliver)

    async def leave(self) -> None:
        """Continue without a call whose caller has left; the last caller to leave waits for the clean-up."""
        self._left += 1
        if not self._task.done() and self._left == len(self.calls):
            self._task.cancel()
            await asyncio.wait((self._task,))

    def _deliver(self, task: asyncio.Task[None]) -> None:
        for call in self.calls:
            if call.future.done():
                continue
            if task.cancelled():  # not cancelled by a caller: the event loop ends
                call.future.cancel()
            else:
                call.future.set_result(None)
