"""The embedded engine: the queue and the store in the SQLite file of ``SERVEY_STORE``, or in memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

from servey.plugin import Plugin, TriggerSupport
from servey.ports import Timetable
from servey.service_life import needs_queue

if TYPE_CHECKING:
    from servey.action.operation import Operation
    from servey.ports import CallQueue, KeyValueStore
    from servey.servey_thread.sqlite_file import SqliteFile
    from servey.service import Service


class ThreadPlugin(Plugin):
    """Store background calls and shared entries in an SQLite file.

    Args:
        lease: If a process dies, other processes get its calls after this time, in seconds.
    """

    def __init__(self, *, lease: float = 30.0) -> None:
        self._lease = lease
        self._file: SqliteFile | None = None
        self._queue: CallQueue | None = None
        self._users: set[object] = set()

    def call_queue(self, service: Service) -> CallQueue | None:
        """Return the queue in the file; None if ``SERVEY_STORE`` is a URL."""
        file = self._opened(service)
        if file is None:
            return None
        from servey.servey_thread.sqlite_call_queue import SqliteCallQueue

        calls_at_once = service.settings.background.background_calls
        self._queue = SqliteCallQueue(file, calls_at_once=calls_at_once, lease=self._lease)
        return self._queue

    def key_value_store(self, service: Service) -> KeyValueStore | None:
        """Return the store in the file; None if ``SERVEY_STORE`` is a URL."""
        file = self._opened(service)
        if file is None:
            return None
        from servey.servey_thread.sqlite_key_value_store import SqliteKeyValueStore

        return SqliteKeyValueStore(file)

    def triggers(self) -> Sequence[TriggerSupport]:
        """Return the support for schedules."""
        return (TriggerSupport(Timetable, self._start, _check),)

    def lifespans(self) -> Sequence[Callable[[Service], AbstractAsyncContextManager[None]]]:
        """Return the lifespan that closes the file."""
        return (self._closing,)

    def _opened(self, service: Service) -> SqliteFile | None:
        """Return the file. The first job of the queue or the store creates it."""
        settings = service.settings.background
        if "://" in settings.store:
            return None
        if self._file is None:
            from servey.servey_thread.sqlite_file import SqliteFile

            self._file = SqliteFile(None if settings.store == "memory" else settings.store, settings.queue_timeout)
        return self._file

    @asynccontextmanager
    async def _start(self, service: Service, _: Sequence[tuple[Operation, Any]]) -> AsyncGenerator[None]:
        """Run the schedules, unless another queue has the calls. If the service needs the file, open it now."""
        # without a queue of this plugin, another one has the calls and their schedules
        is_mine = service.settings.background.background and self._queue is not None and needs_queue(service)
        if self._file is not None and (is_mine or service.idempotent):
            await self._file.open()
        if not is_mine:
            yield
            return
        from servey.servey_thread.schedules import run_schedules

        async with run_schedules(service):
            yield

    @asynccontextmanager
    async def _closing(self, service: Service) -> AsyncGenerator[None]:
        user = object()
        self._users.add(user)
        try:
            yield
        finally:
            self._users.discard(user)
            if self._file is not None and not self._users:  # the service may run in several event loops
                await self._file.close()


def _check(operation: Operation, trigger: Timetable) -> None:
    from servey.schedule.schedule import check_schedule  # not needed without a schedule

    check_schedule(operation, trigger)
