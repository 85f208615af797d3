"""Run many small calls in one worker thread.

Passing a job to a thread and waking the event loop cost more than most calls; a GraphQL answer with a hundred fields
would pay this a hundred times. So calls that come together run one after another in one job. If some are slow, more
threads help after `PATIENCE_SECONDS`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import Any

from servey.action.runtime import Runtime
from servey.action.workers import NO_THREAD, TOO_LONG, GivenUp, Job, JobQueue
from servey.errors import CallError, OverloadedError

PATIENCE_SECONDS = 0.01
"""How long the first thread works alone."""

MOST_THREADS = 8
"""The largest number of threads for one batch: the others are for other requests."""


class ThreadBatch(JobQueue):
    """Calls that share worker threads; used in the thread of its event loop.

    Args:
        calls: The calls, each with its deadline in the event loop's time, or None.
        runtime: The runtime, with the worker threads.
    """

    def __init__(self, calls: Iterable[tuple[Job[Any], float | None]], runtime: Runtime) -> None:
        super().__init__()
        self._runtime = runtime
        # written by the threads
        self._begun = False
        # the loop's thread only
        self._open: dict[Job[Any], None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        for job, deadline in calls:
            self._open[job] = None
            self._waiting[job] = None
            if deadline is not None:
                runtime.deadlines.add(job, deadline, partial(self._expire, job))
        self._label = ", ".join(sorted({job.label for job in self._open}))
        self._request_id = next(iter(self._open)).request_id
        self._timer = runtime.loop.call_later(PATIENCE_SECONDS, self._look)
        self._add_thread()

    def leave(self, job: Job[Any]) -> None:
        """Give up a call whose caller has left; it never begins if it has not begun yet."""
        self._give_up(job, GivenUp.CANCELLED)
        self._forget(job)

    def _add_thread(self) -> None:
        task = self._runtime.loop.create_task(self._work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self) -> None:
        """Make calls in one worker thread until none waits."""
        failure: tuple[type[CallError], str] | None = None
        try:
            # without a deadline: each call has its own deadline, and its own name in the log
            await self._runtime.workers.run(
                self._make_calls, deadline=None, label=self._label, request_id=self._request_id
            )
        except OverloadedError as error:
            failure = OverloadedError, str(error)
        self._deliver()
        if failure is not None and len(self._tasks) == 1:  # no other thread will make the waiting calls
            for job in list(self._open):
                if self._give_up(job, GivenUp.CANCELLED):
                    job.future.set_result(failure)
                    self._forget(job)

    def _make_calls(self) -> None:
        """Make one call after another, in a worker thread, until none waits."""
        self._begun = True
        while True:
            with self._lock:
                if not self._waiting:
                    return
                job, _ = self._waiting.popitem(last=False)
            job.run()
            with self._lock:
                job.ended = True
            if job.given_up is not None:
                job.log_end(job.given_up)
            del job  # it must not stay alive while the next one runs

    def _look(self) -> None:
        """Deliver results, and add threads if calls still wait."""
        waiting = len(self._waiting)
        if waiting:
            if self._begun:
                for _ in range(min(MOST_THREADS - len(self._tasks), waiting)):
                    self._add_thread()
            self._timer = self._runtime.loop.call_later(PATIENCE_SECONDS, self._look)
        self._deliver()

    def _deliver(self) -> None:
        """Wake the tasks whose calls are done."""
        for job in list(self._open):
            if job.ended or job.future.done():
                if not job.future.done():
                    job.future.set_result(None)
                self._forget(job)

    def _forget(self, job: Job[Any]) -> None:
        """Forget a call; after the last one, cancel the wait for threads.

        It must take constant time, because all calls may be given up at the same moment.
        """
        self._open.pop(job, None)
        if not self._open:
            self._timer.cancel()
            if not self._begun:
                for task in self._tasks:
                    task.cancel()

    def _expire(self, job: Job[Any]) -> None:
        """Give up a call after its deadline."""
        if job.future.done():
            return
        if self._give_up(job, GivenUp.DEADLINE) and not self._begun:
            job.future.set_result(NO_THREAD)
        elif job.ended:
            job.future.set_result(None)
        else:
            job.future.set_result(TOO_LONG)
        self._forget(job)
