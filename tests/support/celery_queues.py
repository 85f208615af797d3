"""Celery's queue with a real worker in a thread of the test, which runs the calls by the function of the test."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any
from uuid import uuid4

from servey.action.action import action
from servey.background_call.call import Call, Outcome
from servey.servey_celery.app import CeleryEngine
from servey.servey_celery.celery_call_queue import CeleryCallQueue
from servey.service import Service
from servey.settings import Settings

_state: Any = import_module("celery.worker.state")
_signals: Any = import_module("celery.signals")


@action
def act(value: int) -> None:
    """The action of the calls in tests of queues."""


class WorkedQueue(CeleryCallQueue):
    """The queue of an app whose worker runs in this process.

    Args:
        broker: The URL of the broker.
        calls_at_once: How many calls a worker runs at the same time.
        store: The store of entries.
    """

    def __init__(self, broker: str, *, calls_at_once: int, store: str) -> None:
        settings = Settings(broker=broker, background_calls=calls_at_once, store=store, message_key="k" * 32)
        self._engine = CeleryEngine(Service([act], settings=settings))
        self._calls_at_once = calls_at_once
        queue = self._engine.queue
        super().__init__(queue.app, queue.signer, 60.0)
        self._engine.queue = self

    @asynccontextmanager
    async def consuming(self, run: Callable[[Call], Awaitable[Outcome]], /) -> AsyncGenerator[None]:
        """Run a worker in this context."""
        process = self._engine.process
        process._runner = _Elsewhere(run, asyncio.get_running_loop())  # type: ignore[assignment]
        worker = self._worker()
        is_ready = threading.Event()

        def ready(sender: Any, **_: Any) -> None:
            if sender.controller is worker:
                is_ready.set()

        _signals.worker_ready.connect(ready)
        thread = threading.Thread(target=worker.start)
        thread.start()
        try:
            await asyncio.to_thread(is_ready.wait, 60)
            yield
        finally:
            _state.should_stop = 0
            ending = asyncio.ensure_future(asyncio.to_thread(thread.join))
            try:
                await asyncio.shield(ending)
            except asyncio.CancelledError:
                process.give_back()
                await ending
                raise
            finally:
                _state.should_stop = None
                process.close()

    def _worker(self) -> Any:
        return self.app.Worker(
            hostname=f"{uuid4().hex}@localhost",
            pool_cls=import_module("celery.concurrency").get_implementation("threads"),
            concurrency=self._calls_at_once,
            quiet=True,
            loglevel="WARNING",
            without_mingle=True,
            without_gossip=True,
            without_heartbeat=True,
        )


class _Elsewhere:
    """Runs calls in the event loop of the test."""

    def __init__(self, run: Callable[[Call], Awaitable[Outcome]], loop: asyncio.AbstractEventLoop) -> None:
        self._run, self._loop = run, loop

    async def run(self, call: Call) -> Outcome:
        async def there() -> Outcome:
            return await self._run(call)

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(there(), self._loop))
