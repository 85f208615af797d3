"""One SQLite file, and the thread that reads and writes it.

Any thread and any event loop can add jobs. The thread commits the writes of all waiting jobs in one transaction, so
many small writes cost little.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from time import monotonic, sleep
from typing import Any, TypeVar
from weakref import WeakSet

from servey.servey_thread.sqlite_connection import SqliteConnection, is_of_file
from servey.servey_thread.sqlite_place import is_locked

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
"""The code of a job. It may run again if its transaction fails."""

_JOBS_AT_ONCE = 1000
_PURGE_SECONDS = 60.0


@dataclass(slots=True, eq=False)
class _Job:
    """Work for the thread, and the future of its result."""

    work: Work[Any]
    writes: bool
    future: asyncio.Future[Any] | Future[Any]
    loop: asyncio.AbstractEventLoop | None
    until: float
    result: Any = None
    error: Exception | None = None

    def settle(self) -> None:
        """Give the result to the future, in the thread of its event loop."""
        future = self.future
        if future.done():  # cancelled
            return
        if self.error is None:
            future.set_result(self.result)
        else:
            future.set_exception(self.error)


@dataclass(slots=True, eq=False)
class _PeriodicJob:
    """Work that the thread repeats while the file is open."""

    seconds: float
    work: Work[object]
    next: float


class SqliteFile:
    """One SQLite file, which the first job creates.

    Args:
        path: The path of the file; None for a database in memory, which ends with `close`.
        timeout: How long a job may wait until the file is free, in seconds.
    """

    def __init__(self, path: str | None, timeout: float) -> None:
        self.path = None if path is None else _absolute(path)
        self._timeout = timeout
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()  # None wakes the thread
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._periodic: list[_PeriodicJob] = []
        self._waiting: list[_Job] = []
        self._connection = SqliteConnection(self.path)
        self.at_close: list[Work[object]] = []
        """Work to do before the file is closed."""
        _FILES.add(self)

    @property
    def exists(self) -> bool:
        """Whether the file exists or is open; if not, there is nothing to read."""
        return self._connection.is_in_use or (self.path is not None and os.path.exists(self.path))

    def run(self, work: Work[T], *, writes: bool = True) -> asyncio.Future[T]:
        """Begin a job, and return the future of its result.

        Args:
            work: The job. It reads all rows of its statements.
            writes: Whether it needs a transaction. When the future has the result, the transaction is committed.

        Raises:
            OverloadedError: (From the future.) The job was not done, or not within the time limit.
            SettingsError: (From the future.) The file cannot be opened.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._add(_Job(work, writes, future, loop, monotonic() + self._timeout))
        return future

    def post(self, work: Work[T], *, writes: bool = True) -> Future[T]:
        """Do the same as `run` in a thread without an event loop."""
        future: Future[T] = Future()
        self._add(_Job(work, writes, future, None, monotonic() + self._timeout))
        return future

    async def open(self) -> None:
        """Open the file now, and not at the first job.

        Raises:
            SettingsError: It cannot be opened.
            OverloadedError: Another program has locked it.
        """
        await self.run(lambda connection: None)

    async def close(self) -> None:
        """Do the waiting jobs, and close the file. The next job opens it again."""
        if self._thread is None:
            return
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._add(_Job(_end, False, future, loop, 0.0))
        await future

    def every(self, seconds: float, work: Work[object]) -> Callable[[], None]:
        """Repeat a job while the file is open, outside of transactions; the job may `post` others.

        Args:
            seconds: The time between two runs.
            work: The job.

        Returns:
            A function that ends the repetition.
        """
        job = _PeriodicJob(seconds, work, monotonic() + seconds)
        self._periodic.append(job)
        self._jobs.put(None)
        return lambda: self._periodic.remove(job)

    def purge_by(self, work: Work[bool]) -> None:
        """Delete old rows once a minute; `work` deletes some of them, and returns whether there may be more."""

        def purge(connection: sqlite3.Connection) -> None:
            if work(connection):
                self.post(purge)  # other jobs come between

        seconds = _PURGE_SECONDS * random.uniform(0.8, 1.2)  # processes purge at different times
        self.every(seconds, lambda connection: self.post(purge))

    def _add(self, job: _Job) -> None:
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._serve, name="servey store", daemon=True)
                thread.start()  # fails if the system has no more threads, and then nothing has begun
                self._thread = thread
            self._jobs.put(job)

    def after_fork(self) -> None:
        """Begin again in a forked process, which has no threads, consumers and locks of its parent."""
        connection = self._connection
        self.__init__(self.path, self._timeout)
        self._connection = connection.after_fork()

    # the methods below run in the thread

    def _serve(self) -> None:
        has_ended = False
        while not has_ended:
            ends = self._turn()
            if ends:
                with self._lock:
                    has_ended = self._jobs.empty()
                    if has_ended:
                        self._thread = None
                _deliver(ends)

    def _turn(self) -> list[_Job]:
        """Do the waiting jobs, and return the `close` jobs among them, which wait for the end of the thread."""
        jobs = self._next_jobs()
        ends = [job for job in jobs if job.work is _end]
        reads = [job for job in jobs if job.work is not _end and not job.writes]
        self._waiting += [job for job in jobs if job.writes]
        if reads:
            self._read(reads)
        if self._waiting:
            self._write()
        if ends:
            while self._waiting:
                self._write()
            self._close()
        else:
            self._run_periodic()
        return ends

    def _next_jobs(self) -> list[_Job]:
        found: list[_Job] = []
        with suppress(Empty):
            job = self._jobs.get(timeout=0 if self._waiting else self._seconds_to_periodic())
            if job is not None:
                found.append(job)
            while len(found) < _JOBS_AT_ONCE:
                job = self._jobs.get_nowait()
                if job is not None:
                    found.append(job)
        return found

    def _read(self, jobs: list[_Job]) -> None:
        try:
            connection = self._connection.opened()
        except Exception as error:  # noqa: BLE001 - every job gets an answer
            if is_locked(error):
                self._waiting += jobs
            else:
                self._fail(jobs, error)
            return
        for job in jobs:
            try:
                job.result = job.work(connection)
            except Exception as error:  # noqa: BLE001 - every job gets an answer
                job.error = self._connection.failed(error) if is_of_file(error) else error
        _deliver(jobs)

    def _write(self) -> None:
        """Do the waiting writes in one transaction; if the file is locked, they wait until their time is over."""
        try:
            connection = self._connection.opened()
            connection.execute("BEGIN IMMEDIATE")
        except Exception as error:  # noqa: BLE001 - every job gets an answer
            if is_locked(error):
                self._fail(_late(self._waiting), error)  # the others wait until the file is not locked any more
                sleep(0.005)  # in some states, SQLite does not wait by itself
            else:
                self._fail(self._waiting, error)
            return
        for job in self._waiting:
            try:
                job.result = job.work(connection)
            except Exception as error:  # noqa: BLE001 - every job gets an answer
                self._connection.rollback()
                if is_of_file(error):
                    self._fail(self._waiting, error)
                else:  # the next transaction has the other jobs
                    job.error = error
                    self._waiting.remove(job)
                    _deliver([job])
                return
        self._commit(connection)

    def _commit(self, connection: sqlite3.Connection) -> None:
        try:
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._connection.rollback()
            self._fail(self._waiting, error)
            return
        jobs, self._waiting = self._waiting, []
        _deliver(jobs)

    def _fail(self, jobs: list[_Job], error: Exception) -> None:
        for job in jobs:
            job.error = self._connection.failed(error)
        self._waiting = [job for job in self._waiting if job.error is None]
        _deliver(jobs)

    def _close(self) -> None:
        if self._connection.is_in_use:
            for work in self.at_close:
                with suppress(sqlite3.Error):
                    work(self._connection.opened())
            self._connection.close()

    def _seconds_to_periodic(self) -> float | None:
        moments = [job.next for job in self._periodic]
        if not moments or not self._connection.is_in_use:
            return None
        return max(0.0, min(moments) - monotonic())

    def _run_periodic(self) -> None:
        if not self._connection.is_in_use:
            return
        now = monotonic()
        for job in [job for job in self._periodic if job.next <= now]:
            job.next = now + job.seconds
            try:
                job.work(self._connection.opened())
            except Exception as error:  # noqa: BLE001 - the job runs again
                self._connection.failed(error)


_FILES: WeakSet[SqliteFile] = WeakSet()


def _after_fork() -> None:
    for file in list(_FILES):
        file.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _late(jobs: list[_Job]) -> list[_Job]:
    """Return the jobs whose time is over."""
    now = monotonic()
    return [job for job in jobs if job.until <= now]


def _absolute(path: str) -> str:
    """Return a path that stays the same when the process changes its directory, and means only a file to SQLite."""
    with suppress(OSError):  # the current directory was removed
        return os.path.abspath(path)
    return path


def _deliver(jobs: list[_Job]) -> None:
    """Settle jobs, with one message for each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
    for job in jobs:
        if job.loop is None:
            job.settle()
        else:
            by_loop.setdefault(job.loop, []).append(job)
    for loop, of_loop in by_loop.items():
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(_settle, of_loop)


def _settle(jobs: list[_Job]) -> None:
    for job in jobs:
        job.settle()


def _end(connection: sqlite3.Connection) -> None:
    """Mark the jobs of `close`; the thread does not call this."""
