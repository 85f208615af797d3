"""The threads that run plain `def` actions, so that they never hold the event loop.

`loop.run_in_executor` would do, but for what it cannot tell: whether a job still waits for a thread when its deadline
passes (the service is overloaded, and the job can be withdrawn) or runs already (the action is slow, and goes on).
Its threads also keep a process from exiting while a job hangs; these are daemons.
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
    """One call, from the event loop to a thread and back; it runs in a copy of the context that it is made in."""

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
        # Done with why there is no result, or None. No exception: a thread that hangs holds on to it, and would
        # keep alive the traceback, and with it the frames of the call that was answered long ago.
        self.future = future
        self.label = label
        self.request_id = request_id
        self.error: BaseException | None = None
        # these two with the lock of WorkerThreads held: whoever sets one first leaves the other alone
        self.ended = False
        self.given_up: GivenUp | None = None
        self.started_at = 0.0

    def run(self) -> None:
        """Call the function, in a worker thread; no exception leaves."""
        self.started_at = time.monotonic()
        try:
            self.value = self.context.run(self.call)
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's task, as an Exception
            # a function in a thread must not stop the caller's task: SystemExit would end the event loop, and
            # CancelledError would look like a cancellation of the caller
            self.error = as_exception(error, f"{self.label}, in a worker thread,")

    def outcome(self, failure: _Failure | None) -> T:
        """Return what the function returned, or raise what it raised, in the caller's task.

        Args:
            failure: What `future` was done with.
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
            del error  # its traceback has this frame: no cycle, please

    def tell(self, given_up: GivenUp) -> None:
        """Tell the log that a call has ended which nobody waits for any more; in its worker thread."""
        level, what = given_up.value
        with suppress(Exception):  # a broken log filter must not cost the service a thread
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
    """One thread; sleeps until it is handed a job."""

    def __init__(self, workers: WorkerThreads, number: int, job: Job[Any]) -> None:
        super().__init__(name=f"servey-worker-{number}", daemon=True)
        self.workers = workers
        self.job: Job[Any] | None = job
        self.handed = threading.Lock()
        self.handed.acquire()

    def hand(self, job: Job[Any] | None) -> None:
        """Wake this idle worker to run `job`, or to end for None."""
        self.job = job
        self.handed.release()

    def run(self) -> None:
        """Run jobs until told to end."""
        workers = self.workers
        while (job := self.job) is not None:
            self.job = None
            job.run()
            parked = workers._finish(self, job)  # pyright: ignore[reportPrivateUsage]
            del job  # an idle thread keeps nobody's arguments alive
            if parked:
                self.handed.acquire()


class JobQueue:
    """Jobs that wait for a thread, first come, first served, and the lock that guards who runs what."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: OrderedDict[Job[Any], None] = OrderedDict()  # a job in the middle can be withdrawn

    @property
    def waiting(self) -> int:
        """How many jobs wait for a thread."""
        return len(self._waiting)

    def _give_up(self, job: Job[Any], why: GivenUp) -> bool:
        """Withdraw a job if it has no thread yet, and return whether; have the end of one that runs logged."""
        with self._lock:
            if job in self._waiting:
                del self._waiting[job]
                return True
            if not job.ended and job.given_up is None:
                job.given_up = why
            return False


class WorkerThreads(JobQueue):
    """Run functions in at most `threads` daemon threads, for one event loop.

    Threads start one by one, as jobs come and none is idle, and are named ``servey-worker-1`` and so on. A job that
    finds none waits, first come, first served. One lock guards who runs what; results travel in batches: however
    many jobs end while the loop is busy, it is woken once.

    Args:
        loop: The event loop whose tasks call `run`.
        threads: How many threads there are at most.
        deadlines: The loop's deadlines; its own when None.
    """

    def __init__(self, loop: AbstractEventLoop, threads: int, deadlines: Deadlines | None = None) -> None:
        if threads < 1:
            raise ValueError(f"at least one thread is needed, not {threads}")
        self._loop = loop
        self._limit = threads
        self._deadlines = Deadlines(loop) if deadlines is None else deadlines
        super().__init__()
        # all of these are read and written with the lock held
        self._idle: list[_Worker] = []
        self._done: list[Job[Any]] = []
        self._threads = 0
        self._running = 0
        self._closed = False
        # the loop's thread only
        self._drained = asyncio.Event()

    @property
    def running(self) -> int:
        """How many jobs run, those that nobody waits for any more included."""
        return self._running

    async def run(self, call: Callable[[], T], *, deadline: float | None, label: str, request_id: str) -> T:
        """Call `call` in a worker thread, in a copy of the current context, and wait for it.

        A thread cannot be stopped: a job that runs when its caller gives up goes on and keeps its thread. When it
        ends, the logger ``servey.workers`` says so: a warning after a deadline, an info after a cancellation.
        A result that is there by the time the deadline is noticed counts.

        Args:
            call: The function, without arguments.
            deadline: When to give up, in the event loop's time (seconds); None for never. The wait for a thread
                counts.
            label: What the log calls the job: the action's name.
            request_id: By what the log knows the call.

        Returns:
            What `call` returns.

        Raises:
            OverloadedError: The deadline passed before a thread was free, and `call` will never run; or the workers
                are closed; or the operating system has no thread to give.
            DeadlineError: The deadline passed while `call` ran.
            CancelledError: The task was cancelled. A job without a thread yet is withdrawn.
            RuntimeError: `call` raised `StopIteration`, as in a coroutine (PEP 479), or a `BaseException` that is no
                `Exception`: `sys.exit()` in a worker thread fails the call and ends neither the service nor the
                thread. The original is the ``__cause__``.
            Exception: Whatever else `call` raises.

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
        """Wait until every job is done, those that wait for a thread included.

        Jobs may still be submitted meanwhile, and are waited for too.

        Args:
            timeout: For how long at most, in seconds.

        Returns:
            How many jobs are not done, 0 when all are.
        """
        self._drained.clear()
        if self._unfinished():
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._drained.wait()
        return self._unfinished()

    def close(self) -> None:
        """Refuse further jobs and let the threads end, each as it becomes idle; waits for none.

        Jobs that are here still run. May be called from any thread, more than once, and after the loop was closed.
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
        # without the lock: start() waits for the thread, and the thread may want the lock
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
        """With the lock held, give `job` to an idle thread or let it wait; return False for fewer than `limit`."""
        if self._idle:
            self._running += 1
            self._idle.pop().hand(job)  # the last one idle: its stack and caches are warm
            return True
        if self._threads < limit:
            return False
        self._waiting[job] = None
        return True

    def _finish(self, worker: _Worker, job: Job[Any]) -> bool:
        """Send a job's result, in its worker thread, and give the worker what comes next.

        Returns:
            Whether the worker is idle now and waits to be handed something.
        """
        with self._lock:
            job.ended = True
        if job.given_up:  # told before it counts as done: who waited for that may end the process
            job.tell(job.given_up)
        with self._lock:
            # Append and look with the lock held, as `_deliver` takes all with the lock held: were the lock let go
            # between, a result could be left behind that nobody is woken for.
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
            except RuntimeError:  # the loop is closed: nobody is left to care
                with self._lock:
                    self._done.clear()
        return parked

    def _deliver(self) -> None:
        """Wake the tasks whose jobs are done, in the event loop."""
        with self._lock:
            done, self._done = self._done, []
            quiet = not self._running  # then none waits either
        for job in done:
            if not job.future.done():
                job.future.set_result(None)
        if quiet:
            self._drained.set()

    def _expire(self, job: Job[Any]) -> None:
        """Give a job up because its deadline has passed."""
        if job.future.done():
            return
        if self._give_up(job, GivenUp.DEADLINE):
            job.future.set_result(NO_THREAD)
        elif job.given_up is GivenUp.DEADLINE:  # else it has ended, and its result is on the way
            job.future.set_result(TOO_LONG)
