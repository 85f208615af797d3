"""The threads that run plain `def` actions, so that they never block the event loop.

`loop.run_in_executor` does not show whether a job still waits for a thread when its deadline passes (the service is
overloaded, and the job can be withdrawn) or runs already (the action is slow, and continues). Also, its threads prevent
the exit of the process while a job hangs; these threads are daemons.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from asyncio import AbstractEventLoop, Future
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from enum import Enum
from functools import partial
from typing import Any, Generic, TypeVar

from servey.action.deadlines import Deadlines
from servey.action.defect import as_exception
from servey.errors import CallError, DeadlineError, OverloadedError

T = TypeVar("T")

_Failure = tuple[type[CallError], str]
NO_THREAD: _Failure = OverloadedError, "every worker thread was busy until the call's deadline"
TOO_LONG: _Failure = DeadlineError, "the call took longer than it may"

_LOG = logging.getLogger("servey.workers")


class GivenUp(Enum):
    """Why the caller does not wait for a job any more."""

    DEADLINE = logging.WARNING, "its deadline had passed"
    CANCELLED = logging.INFO, "its caller had left"


class Job(Generic[T]):
    """One call, from the event loop to a thread and back; it runs in a copy of the current context."""

    __slots__ = (
        "call",
        "context",
        "ended",
        "error",
        "future",
        "given_up",
        "label",
        "request_id",
        "started_at",
        "value",
    )

    value: T

    def __init__(self, call: Callable[[], T], future: Future[_Failure | None], label: str, request_id: str) -> None:
        self.call = call
        self.context: Context = copy_context()
        # Its result is the reason for a missing result, or None. It is not an exception: a hanging thread would keep
        # the traceback alive, and with it the frames of a call that was answered long ago.
        self.future = future
        self.label = label
        self.request_id = request_id
        self.error: BaseException | None = None
        # only with the lock of the queue; after one of these two is set, the other one does not change
        self.ended = False
        self.given_up: GivenUp | None = None
        self.started_at = 0.0

    def run(self) -> None:
        """Call the function in a worker thread; raises nothing."""
        self.started_at = time.monotonic()
        try:
            self.value = self.context.run(self.call)
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's task, as an Exception
            # a function in a thread must not stop the caller's task: SystemExit would end the event loop, and
            # CancelledError would look like a cancellation of the caller
            self.error = as_exception(error, f"{self.label}, in a worker thread,")

    def outcome(self, failure: _Failure | None) -> T:
        """Return the result of the function, or raise its error, in the caller's task.

        Args:
            failure: The result of `future`.
        """
        if failure is not None:
            kind, detail = failure
            raise kind(detail)
        error = self.error
        if error is None:
            return self.value
        self.error = None
        try:
            raise error
        finally:
            del error  # avoids a reference cycle: its traceback has this frame

    def log_end(self, given_up: GivenUp) -> None:
        """Log the end of a call whose caller has given up; runs in the worker thread."""
        level, what = given_up.value
        with suppress(Exception):  # a broken log filter must not end the thread
            _LOG.log(
                level,
                "%s (request %s) %s in a worker thread after %.3f s, when %s",
                self.label,
                self.request_id,
                "returned" if self.error is None else "failed",
                time.monotonic() - self.started_at,
                what,
                exc_info=self.error,
            )
        self.error = None


class _Worker(threading.Thread):
    """One thread; it sleeps until it gets a job."""

    def __init__(self, workers: WorkerThreads, number: int, job: Job[Any]) -> None:
        super().__init__(name=f"servey-worker-{number}", daemon=True)
        self.workers = workers
        self.job: Job[Any] | None = job
        self.handed = threading.Lock()
        self.handed.acquire()

    def hand(self, job: Job[Any] | None) -> None:
        """Wake this idle worker to run `job`; None ends it."""
        self.job = job
        self.handed.release()

    def run(self) -> None:
        """Run jobs until there is none."""
        workers = self.workers
        while (job := self.job) is not None:
            self.job = None
            job.run()
            parked = workers._finish(self, job)  # pyright: ignore[reportPrivateUsage]
            del job  # an idle thread must not keep arguments alive
            if parked:
                self.handed.acquire()


class JobQueue:
    """Jobs that wait for a thread, in the order of their arrival, and the lock for all state of jobs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: OrderedDict[Job[Any], None] = OrderedDict()  # a job in the middle can be withdrawn

    @property
    def waiting(self) -> int:
        """The number of jobs that wait for a thread."""
        return len(self._waiting)

    def _give_up(self, job: Job[Any], why: GivenUp) -> bool:
        """Withdraw a job that has no thread yet, and return True; mark a running job, so that its end is logged."""
        with self._lock:
            if job in self._waiting:
                del self._waiting[job]
                return True
            if not job.ended and job.given_up is None:
                job.given_up = why
            return False


class WorkerThreads(JobQueue):
    """Run functions in at most `threads` daemon threads, for one event loop.

    A thread starts when a job comes and no thread is idle; its name is ``servey-worker-1`` and so on. Without a free
    thread, jobs wait in the order of their arrival. Results are delivered in batches: if many jobs end while the loop
    is busy, it is woken once.

    Args:
        loop: The event loop whose tasks call `run`.
        threads: The largest number of threads.
        deadlines: The loop's deadlines; None for new ones.
    """

    def __init__(self, loop: AbstractEventLoop, threads: int, deadlines: Deadlines | None = None) -> None:
        if threads < 1:
            raise ValueError(f"at least one thread is needed, not {threads}")
        self._loop = loop
        self._limit = threads
        self._deadlines = Deadlines(loop) if deadlines is None else deadlines
        super().__init__()
        # read and written only while holding the lock
        self._idle: list[_Worker] = []
        self._done: list[Job[Any]] = []
        self._threads = 0
        self._running = 0
        self._closed = False
        # the loop's thread only
        self._drained = asyncio.Event()

    @property
    def running(self) -> int:
        """The number of running jobs, including those whose callers have given up."""
        return self._running

    async def run(self, call: Callable[[], T], *, deadline: float | None, label: str, request_id: str) -> T:
        """Call `call` in a worker thread, in a copy of the current context, and wait for its result.

        A thread cannot be stopped: if the caller gives up, a running job continues and occupies its thread. The logger
        ``servey.workers`` reports its end: as a warning after a deadline, as an info after a cancellation. If the
        result arrives before the deadline is noticed, it counts.

        Args:
            call: The function, without arguments.
            deadline: The deadline, in the event loop's time (seconds), including the wait for a thread; None for no
                deadline.
            label: The name of the job in the log: the action's name.
            request_id: The id of the request in the log.

        Returns:
            The result of `call`.

        Raises:
            OverloadedError: The deadline passed before a thread was free, and `call` will never run; or the workers
                are closed; or the operating system cannot start a thread.
            DeadlineError: The deadline passed while `call` ran.
            CancelledError: The task was cancelled. A job without a thread yet is withdrawn.
            RuntimeError: `call` raised `StopIteration`, as in a coroutine (PEP 479), or a `BaseException` that is not
                an `Exception`: `sys.exit()` in a worker thread fails the call, and does not end the service or the
                thread. The original is the ``__cause__``.
            Exception: Any other error of `call`.

        Example:
            >>> async def main() -> int:
            ...     workers = WorkerThreads(asyncio.get_running_loop(), 4)
            ...     try:
            ...         return await workers.run(lambda: 6 * 7, deadline=None, label="multiply", request_id="1")
            ...     finally:
            ...         workers.close()
            >>> asyncio.run(main())
            42
        """
        job = Job(call, self._loop.create_future(), label, request_id)
        self._submit(job)
        try:
            if deadline is None:
                failure = await job.future
            else:
                self._deadlines.add(job, deadline, partial(self._expire, job))
                try:
                    failure = await job.future
                finally:
                    self._deadlines.discard(job)
        except BaseException:
            self._give_up(job, GivenUp.CANCELLED)
            raise
        return job.outcome(failure)

    async def drain(self, timeout: float) -> int:  # noqa: ASYNC109 - cancels nothing
        """Wait until all jobs are done, including those that wait for a thread or are submitted meanwhile.

        Args:
            timeout: The time limit, in seconds.

        Returns:
            The number of jobs that are not done.
        """
        self._drained.clear()
        if self._unfinished():
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._drained.wait()
        return self._unfinished()

    def close(self) -> None:
        """Refuse further jobs, and end each thread when it becomes idle, without waiting.

        Submitted jobs still run. It may be called from any thread, more than once, and after the loop was closed.
        """
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.hand(None)

    def _unfinished(self) -> int:
        with self._lock:
            return len(self._waiting) + self._running

    def _submit(self, job: Job[Any]) -> None:
        with self._lock:
            if self._closed:
                raise OverloadedError("the service is shutting down")
            if self._hand_or_queue(job, self._limit):
                return
            self._threads += 1
            self._running += 1
            number = self._threads
        # without the lock: start() waits for the thread, which may need the lock
        try:
            _Worker(self, number, job).start()
        except RuntimeError as error:  # no more threads from the operating system, or the interpreter ends
            with self._lock:
                self._threads -= 1
                self._running -= 1
                if self._threads and self._hand_or_queue(job, self._threads):
                    return
            raise OverloadedError("the service has no thread to run this") from error

    def _hand_or_queue(self, job: Job[Any], limit: int) -> bool:
        """While holding the lock, pass `job` to an idle thread or queue it; return False below `limit` threads."""
        if self._idle:
            self._running += 1
            self._idle.pop().hand(job)  # the thread that became idle last: its stack and caches are warm
            return True
        if self._threads < limit:
            return False
        self._waiting[job] = None
        return True

    def _finish(self, worker: _Worker, job: Job[Any]) -> bool:
        """Deliver a job's result, in its worker thread, and give the worker the next job.

        Returns:
            Whether the worker is idle now.
        """
        with self._lock:
            job.ended = True
        if job.given_up:  # logged before the job counts as done: after a drain, the process may end
            job.log_end(job.given_up)
        with self._lock:
            # Append and check under one lock, as `_deliver` takes all results under the lock. Otherwise a result could
            # be left behind without waking a task.
            self._done.append(job)
            wake = len(self._done) == 1
            if self._waiting:
                worker.job, _ = self._waiting.popitem(last=False)
                parked = False
            else:
                self._running -= 1
                parked = not self._closed
                if parked:
                    self._idle.append(worker)
        if wake:
            try:
                self._loop.call_soon_threadsafe(self._deliver)
            except RuntimeError:  # the loop is closed: no task waits
                with self._lock:
                    self._done.clear()
        return parked

    def _deliver(self) -> None:
        """Wake the tasks whose jobs are done, in the event loop."""
        with self._lock:
            done, self._done = self._done, []
            quiet = not self._running  # then no job waits either
        for job in done:
            if not job.future.done():
                job.future.set_result(None)
        if quiet:
            self._drained.set()

    def _expire(self, job: Job[Any]) -> None:
        """Give up a job after its deadline."""
        if job.future.done():
            return
        if self._give_up(job, GivenUp.DEADLINE):
            job.future.set_result(NO_THREAD)
        elif job.given_up is GivenUp.DEADLINE:  # otherwise, it has ended, and its result is on the way
            job.future.set_result(TOO_LONG)
