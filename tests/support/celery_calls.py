"""Calls through a broker, which the process of the test runs as a worker of Celery does."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from typing import Any

import msgspec

from servey.background_call.call import Call, Done, Failed
from servey.servey_celery.app import create_celery
from servey.service import Service

_state: Any = import_module("celery._state")
_trace: Any = import_module("celery.app.trace")
_WorkController: Any = import_module("celery.worker").WorkController

_BOUND = 60.0
"""Seconds after which a broker or a call that does not answer fails the test."""


class CeleryCalls:
    """A worker without a process and a loop: it takes one message from the broker for each call that a test puts.

    The messages, the consumer, the pool of threads and the store of results are those of a real worker.

    Args:
        service: Its settings name the broker and where results are.
    """

    def __init__(self, service: Service) -> None:
        self._app = create_celery(service)
        self._queue = self._app.servey.queue
        self._pool: Any = None
        self._connection: Any = None
        self._taking = threading.Lock()
        self._runs: dict[str, Future[None]] = {}

    @asynccontextmanager
    async def consumed(self) -> AsyncGenerator[CeleryCalls]:
        """Consume from the broker in this context."""
        try:
            with self._consumed():
                yield self
        finally:
            await self._queue.close()
            self._app.backend.client.close()

    @contextmanager
    def _consumed(self) -> Generator[None]:
        before = _state.default_app
        _trace.setup_worker_optimizations(self._app)  # which makes it the app of all threads
        worker = _WorkController(self._app, pool_cls="threads", use_eventloop=False)
        consumer, self._pool = worker.consumer, worker.pool
        consumer.on_task_request = self._begin
        consumer.update_strategies()
        self._pool.start()
        try:
            with self._app.connection_for_read() as self._connection:
                tasks = self._app.amqp.TaskConsumer(self._connection, on_decode_error=consumer.on_decode_error)
                tasks.on_message = consumer.create_task_handler()
                with tasks:
                    yield
        finally:
            self._pool.stop()
            self._app.servey.process.close()
            _trace.reset_worker_optimizations(self._app)
            _state.set_default_app(before)

    async def outcome_of(self, call: Call) -> Done | Failed:
        """Put a call into the broker, let the worker run it, and return what is stored of it."""
        run: Future[None] = Future()
        self._runs[call.id] = run
        await self._queue.put([call])
        await asyncio.to_thread(self._take)
        await asyncio.wrap_future(run)
        stored = self._app.AsyncResult(call.id)
        if stored.status == "SUCCESS":
            return Done(msgspec.json.encode(stored.result))
        assert stored.status == "FAILURE", stored.status
        failed = {found.call.id: found for found in await self._queue.failed(len(self._runs))}[call.id]
        problem = json.loads(failed.problem)
        assert str(stored.result) == (problem.get("detail") or problem["title"]), "other programs learn the same"
        return Failed(failed.problem, failed.traceback)

    def _take(self) -> None:
        with self._taking:
            self._connection.drain_events(timeout=_BOUND)

    def _begin(self, request: Any) -> None:
        def ended(_: Future[Any]) -> None:
            self._runs[request.id].set_result(None)

        request.execute_using_pool(self._pool).f.add_done_callback(ended)
