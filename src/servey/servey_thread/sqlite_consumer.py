"""A consumer of the queue in an SQLite file: it claims calls, runs them, and records their outcomes."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from contextvars import copy_context
from functools import partial

import msgspec

from servey.background_call.call import Call, Failed, Outcome
from servey.errors import InternalError, MalformedError, OverloadedError, SettingsError
from servey.servey_thread.call_rows import Claims, Ended, beat_and_recover, next_due, record_and_claim, remove_owner
from servey.servey_thread.sqlite_file import SqliteFile

_log = logging.getLogger("servey.background")

_PAUSE_SECONDS = 1.0
"""The pause after a failure of the file, in seconds."""
_RETURN_SECONDS = 2.0
"""How long a cancelled stop waits until the queue has its calls again, in seconds."""

Run = Callable[[Call], Awaitable[Outcome]]


class SqliteConsumer:
    """Runs calls of an SQLite file in one event loop.

    In each transaction, one task records the outcomes of the calls that have ended, and claims calls for the free
    slots. So calls that end together cost one transaction.

    Args:
        file: The file.
        run: Makes a call.
        calls_at_once: The number of slots.
        lease: If this process dies, other processes get its calls after this time, in seconds.
        poll: The time between two checks for calls that other processes have put, in seconds.
    """

    def __init__(self, file: SqliteFile, run: Run, *, calls_at_once: int, lease: float, poll: float) -> None:
        self._file, self._run = file, run
        self._calls_at_once, self._lease, self._poll = calls_at_once, lease, poll
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()
        self._woken = asyncio.Event()
        self._woken.set()  # calls may wait already
        self._expects_calls = False
        self._tasks: set[asyncio.Task[Outcome]] = set()
        self._ended: list[Ended] = []
        self._owner = ""
        self._beats_at = 0.0
        """When a claim must count up the beat again, in monotonic seconds."""
        self._next_at: float | None = None
        self._is_stopping = self._is_cancelled = False
        self._seen: dict[str, tuple[int, int]] = {}
        self._beating: Future[dict[str, tuple[int, int]]] | None = None

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Run calls until the context exits; then wait for them. If the wait is cancelled, cancel the calls."""
        stop_beating = self._file.every(self._lease / 3, self._keep_alive)
        task = self._loop.create_task(self._serve())
        try:
            yield
        finally:
            self._is_stopping = True
            self._woken.set()
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError:
                self._is_cancelled = True
                for call in self._tasks:
                    call.cancel()
                await asyncio.wait([task], timeout=_RETURN_SECONDS)
                raise
            finally:
                task.cancel()
                stop_beating()

    def wake(self) -> None:
        """Check for calls now; from any thread."""
        self._expects_calls = True
        if asyncio._get_running_loop() is self._loop:
            self._woken.set()
        else:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._woken.set)

    async def _serve(self) -> None:
        while not (self._is_stopping and not self._tasks and not self._ended):
            try:
                await self._until_woken()
                await self._turn()
            except (OverloadedError, SettingsError):  # `SqliteFile` logs why
                self._woken.set()
                await asyncio.sleep(_PAUSE_SECONDS)
            except Exception:  # noqa: BLE001 - a defect here must lose no call
                _log.exception("background calls wait, because of a defect in servey")
                await asyncio.sleep(_PAUSE_SECONDS)
        if self._owner:
            with suppress(OverloadedError, SettingsError):
                await self._file.run(partial(remove_owner, self._owner))

    @property
    def _free(self) -> int:
        return 0 if self._is_stopping else self._calls_at_once - len(self._tasks)

    async def _until_woken(self) -> None:
        timer = None
        if self._free > 0:
            seconds = self._poll if self._next_at is None else self._next_at - time.time()
            timer = self._loop.call_later(max(0.0, min(seconds, self._poll)), self._woken.set)
        await self._woken.wait()
        self._woken.clear()
        if timer is not None:
            timer.cancel()

    async def _turn(self) -> None:
        """Record the calls that have ended, and claim others for the free slots."""
        free = self._free
        ended, self._ended = self._ended, []
        try:
            if ended or (free > 0 and await self._has_due_calls()):
                self._expects_calls = False
                now = time.monotonic()
                beats = now > self._beats_at
                claims = await self._file.run(partial(record_and_claim, ended, self._owner, free, beats))
                ended = []
                if beats and claims.claimed:
                    self._beats_at = now + self._lease / 10
                self._begin(claims)
        finally:
            self._ended = ended + self._ended  # not recorded yet

    async def _has_due_calls(self) -> bool:
        if self._expects_calls:
            return True
        if not self._file.exists:
            self._next_at = None
            return False
        is_ready, self._next_at = await self._file.run(next_due, writes=False)
        return is_ready or (self._next_at is not None and self._next_at <= time.time())

    def _begin(self, claims: Claims) -> None:
        self._owner, self._next_at = claims.owner, claims.next_at
        for claimed in claims.claimed:
            if self._is_stopping:
                self._end(Ended(claimed.id, self._owner, None))
                continue
            try:
                call = Call.decode(claimed.data)
            except MalformedError as error:
                problem = msgspec.json.encode(InternalError(str(error)).problem())
                self._end(Ended(claimed.id, self._owner, Failed(problem)))
                continue
            task = self._loop.create_task(self._made(call), context=self._context.copy())
            self._tasks.add(task)
            task.add_done_callback(partial(self._finished, call, self._owner))

    async def _made(self, call: Call) -> Outcome:
        return await self._run(call)

    def _finished(self, call: Call, owner: str, task: asyncio.Task[Outcome]) -> None:
        self._tasks.discard(task)
        outcome: Outcome | BaseException | None
        if task.cancelled():
            outcome = None if self._is_cancelled else asyncio.CancelledError()
        else:
            outcome = task.exception() or task.result()
        if isinstance(outcome, BaseException):
            _log.error("the call %s has no outcome, because of a defect in servey", call.id, exc_info=outcome)
        self._end(Ended(call.id, owner, outcome, call.expires))

    def _end(self, claim: Ended) -> None:
        self._ended.append(claim)
        self._woken.set()

    def _keep_alive(self, connection: sqlite3.Connection) -> None:
        """Count up the beat in the thread of the file, because a call may block the event loop."""
        last = self._beating
        if last is not None:
            if not last.done():
                return
            if last.exception() is None:
                self._seen = last.result()
        self._beating = self._file.post(partial(beat_and_recover, self._owner, bool(self._tasks), self._seen))
