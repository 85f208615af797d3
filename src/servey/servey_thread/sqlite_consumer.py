"""A consumer of the queue in an SQLite file: takes calls, runs them, and records their outcomes."""

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
from servey.servey_thread.call_rows import Ended, Trade, leave, look, tend, trade
from servey.servey_thread.sqlite_file import SqliteFile

_log = logging.getLogger("servey.background")

_PAUSE_SECONDS = 1.0
"""The pause after the file has failed."""
_RETURN_SECONDS = 2.0
"""How long a cancelled stop waits until the calls are given back."""

Run = Callable[[Call], Awaitable[Outcome]]


class SqliteConsumer:
    """Runs calls of an SQLite file in one event loop.

    One task trades with the file: it gives the outcomes of calls that have ended, and gets as many calls as there are
    free slots. So calls that end together cost one transaction.

    Args:
        file: The file.
        run: Makes a call.
        calls_at_once: The number of slots.
        lease: The time in seconds after which other processes take the calls of this one if it has died.
        poll: The time between two looks for calls of other processes, in seconds.
    """

    def __init__(self, file: SqliteFile, run: Run, *, calls_at_once: int, lease: float, poll: float) -> None:
        self._file, self._run = file, run
        self._calls_at_once, self._lease, self._poll = calls_at_once, lease, poll
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()
        self._news = asyncio.Event()
        self._news.set()  # calls may wait already
        self._expects_calls = False
        self._tasks: set[asyncio.Task[Outcome]] = set()
        self._ended: list[Ended] = []
        self._owner = ""
        self._beats_at = 0.0
        """When the next claim has to count up the beat, in monotonic seconds."""
        self._next_at: float | None = None
        self._is_stopping = self._is_cancelled = False
        self._seen: dict[str, tuple[int, int]] = {}
        self._tending: Future[dict[str, tuple[int, int]]] | None = None

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Run calls until the context is left; then wait for them, or cancel them if the wait is cancelled."""
        end_tending = self._file.every(self._lease / 3, self._tend)
        task = self._loop.create_task(self._serve())
        try:
            yield
        finally:
            self._is_stopping = True
            self._news.set()
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
                end_tending()

    def wake(self) -> None:
        """Look for calls now; from any thread."""
        self._expects_calls = True
        if asyncio._get_running_loop() is self._loop:
            self._news.set()
        else:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._news.set)

    async def _serve(self) -> None:
        while not (self._is_stopping and not self._tasks and not self._ended):
            try:
                await self._until_news()
                await self._turn()
            except (OverloadedError, SettingsError):  # `SqliteFile` logs why
                self._news.set()
                await asyncio.sleep(_PAUSE_SECONDS)
            except Exception:  # noqa: BLE001 - no call is lost by a defect here
                _log.exception("background calls wait, because of a defect")
                await asyncio.sleep(_PAUSE_SECONDS)
        if self._owner:
            with suppress(OverloadedError, SettingsError):
                await self._file.run(partial(leave, self._owner))

    @property
    def _free(self) -> int:
        return 0 if self._is_stopping else self._calls_at_once - len(self._tasks)

    async def _until_news(self) -> None:
        timer = None
        if self._free > 0:
            seconds = self._poll if self._next_at is None else self._next_at - time.time()
            timer = self._loop.call_later(max(0.0, min(seconds, self._poll)), self._news.set)
        await self._news.wait()
        self._news.clear()
        if timer is not None:
            timer.cancel()

    async def _turn(self) -> None:
        """Record the calls that have ended, and take others for the free slots."""
        free = self._free
        ended, self._ended = self._ended, []
        try:
            if ended or (free > 0 and await self._has_due_calls()):
                self._expects_calls = False
                now = time.monotonic()
                beats = now > self._beats_at
                traded = await self._file.run(partial(trade, ended, self._owner, free, beats))
                ended = []
                if beats and traded.claimed:
                    self._beats_at = now + self._lease / 10
                self._begin(traded)
        finally:
            self._ended = ended + self._ended  # not recorded yet

    async def _has_due_calls(self) -> bool:
        if self._expects_calls:
            return True
        if not self._file.exists:
            self._next_at = None
            return False
        is_ready, self._next_at = await self._file.run(look, writes=False)
        return is_ready or (self._next_at is not None and self._next_at <= time.time())

    def _begin(self, traded: Trade) -> None:
        self._owner, self._next_at = traded.owner, traded.next_at
        for claimed in traded.claimed:
            if self._is_stopping:
                self._end(Ended(claimed.id, self._owner, None))
                continue
            try:
                call = claimed.call()
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
            _log.error("the call %s has no outcome, because of a defect", call.id, exc_info=outcome)
        self._end(Ended(call.id, owner, outcome, call.expires))

    def _end(self, claim: Ended) -> None:
        self._ended.append(claim)
        self._news.set()

    def _tend(self, connection: sqlite3.Connection) -> None:
        """Show that this process lives; in the thread of the file, because the event loop may be blocked."""
        last = self._tending
        if last is not None:
            if not last.done():
                return
            if last.exception() is None:
                self._seen = last.result()
        self._tending = self._file.post(partial(tend, self._owner, bool(self._tasks), self._seen))
