"""The queue of background calls in an SQLite file. Any number of processes on the machine share it.

Each call is one row with a state, so a call is never between two places. A process *claims* calls: it becomes their
*owner*, and counts up its beat while it runs them. If another process sees the same beat three times, it makes the
owner's calls ready again. So no claim depends on the clock, which may jump.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

from servey.background_call.call import Call, FailedCall, OpenCall, Outcome
from servey.errors import count_of
from servey.servey_thread import call_rows
from servey.servey_thread.sqlite_consumer import SqliteConsumer
from servey.servey_thread.sqlite_file import SqliteFile

_log = logging.getLogger("servey.background")


class SqliteCallQueue:
    """Stores background calls in an SQLite file (`servey.ports.CallQueue`, `servey.ports.OpenCallsQueue`).

    Args:
        file: The file.
        calls_at_once: How many calls a consumer runs at the same time.
        lease: If a process dies, other processes get its calls after this time, in seconds.
        poll: The time between two checks for calls that other processes have put, in seconds.
    """

    carries_callers = True

    def __init__(self, file: SqliteFile, *, calls_at_once: int, lease: float = 30.0, poll: float = 0.5) -> None:
        self.is_durable = file.path is not None
        self._file = file
        self._calls_at_once, self._lease, self._poll = calls_at_once, lease, poll
        self._consumers: list[SqliteConsumer] = []
        file.purge_by(call_rows.purge)
        if not self.is_durable:
            file.at_close.append(_warn_of_lost)

    async def put(self, calls: Sequence[Call], /) -> None:
        """Return when all calls are in the file. A call whose id is known is ignored.

        Raises:
            OverloadedError: The file is locked or full, or it has failed.
            SettingsError: The file cannot be opened.
        """
        if calls:
            done = self._file.run(partial(call_rows.put, tuple(calls)))
            self._wake()  # a consumer claims the calls in the same transaction, or in the next one
            await done

    def put_now(self, calls: Sequence[Call], /) -> None:
        """Do the same as `put` in a thread without an event loop."""
        if calls:
            self._file.post(partial(call_rows.put, tuple(calls))).result()
            self._wake()

    @asynccontextmanager
    async def consuming(self, run: Callable[[Call], Awaitable[Outcome]], /) -> AsyncGenerator[None]:
        """Claim calls and run them in this context; see `servey.ports.CallQueue`."""
        consumer = SqliteConsumer(
            self._file, run, calls_at_once=self._calls_at_once, lease=self._lease, poll=self._poll
        )
        self._consumers.append(consumer)
        try:
            async with consumer.running():
                yield
        finally:
            self._consumers.remove(consumer)

    async def failed(self, limit: int, /) -> Sequence[FailedCall]:
        """Return the calls that have failed for good, the latest first."""
        if not self._file.exists:
            return []
        return await self._file.run(partial(call_rows.list_failed, limit), writes=False)

    async def open_calls(self, limit: int, /) -> Sequence[OpenCall]:
        """Return the running calls and then the waiting ones, in the order of their times."""
        if not self._file.exists:
            return []
        return await self._file.run(partial(call_rows.list_open, limit), writes=False)

    async def retry(self, id: str, /) -> bool:
        """Make a failed call again from its first attempt, and return whether there is such a call."""
        is_found = self._file.exists and await self._file.run(partial(call_rows.retry, id))
        self._wake()
        return is_found

    async def forget(self, id: str, /) -> bool:
        """Forget a failed or a waiting call, and return whether there is such a call."""
        return self._file.exists and await self._file.run(partial(call_rows.forget, id))

    def _wake(self) -> None:
        for consumer in self._consumers:
            consumer.wake()


def _warn_of_lost(connection: sqlite3.Connection) -> None:
    number = call_rows.count_open(connection)
    if number:
        calls = count_of(number, "background call")
        _log.warning("%s lost: SERVEY_STORE=memory does not outlive the process", calls)
