"""The calls in a process of a Celery worker: an event loop in a thread, and the meaning of each outcome."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any

import msgspec

from servey.action.operation import Operation
from servey.action.portal import Portal
from servey.background_call.call import Again, Done, Failed
from servey.background_call.message import Message
from servey.background_call.runner import POSTPONE_SECONDS, Runner
from servey.errors import CallError, MalformedError
from servey.servey_celery.celery_call_queue import CeleryCallQueue
from servey.servey_celery.failed_message import FailedMessage
from servey.servey_celery.known_ids import is_first
from servey.servey_celery.received import Received
from servey.service import Service

_exceptions: Any = import_module("celery.exceptions")

_log = logging.getLogger("servey.background")


_LAST_CALL_SECONDS = 0.5
"""The delay of a call that goes back at once, so that the worker does not take it again before it stops."""


class CallFailedError(Exception):
    """A call has failed for good, and is among the failed calls. Its text is the problem's detail."""


class NotOpenError(Exception):
    """The service could not be opened in this process, so the call waits for a while."""


class WorkerProcess:
    """Runs the calls of a service in this process. The first call opens the service, so nothing is open before a fork.

    Args:
        service: The service.
        queue: Its queue.
        keeps_results: Whether results are stored.
    """

    def __init__(self, service: Service, queue: CeleryCallQueue, *, keeps_results: bool) -> None:
        self._service, self._queue, self._keeps_results = service, queue, keeps_results
        self._runner = Runner(service)
        self._lock = threading.Lock()
        self._portal: Portal | None = None
        self._running: set[asyncio.Task[Any]] = set()
        self._gives_back = False
        self.before_open: Callable[[], object] = lambda: None
        """Is called before the first call, in its thread."""

    def run(self, operation: Operation, received: Received) -> Any:
        """Run the call of a message, and return its result as JSON values; None if results are not stored.

        Raises:
            CallFailedError: The call is among the failed ones now. The worker acknowledges the message.
            NotOpenError: The service could not be opened.
            celery.exceptions.Ignore: A further attempt is in the broker, or the call was put twice. The same.
            celery.exceptions.Reject: The broker has not taken the outcome; it delivers the message again.
        """
        try:
            portal = self._opened()
        except Exception as error:  # noqa: BLE001 - of a resource or a plugin
            _log.error(
                "%s (%s) waits: the service cannot be opened: %s",
                received.action,
                received.id,
                error,
                extra=received.log_fields,
            )
            raise NotOpenError(type(error).__name__) from None
        return portal.call(self._run, operation, received)

    def give_back(self, *_: object) -> None:
        """Put the running calls into the broker again, because the worker stops."""
        self._gives_back = True
        if self._portal is not None:
            self._portal.submit(self._cancel_all)

    def close(self) -> None:
        """Close the service, if it is open."""
        with self._lock:
            portal, self._portal = self._portal, None
            self._gives_back = False
        if portal is not None:
            portal.__exit__(None, None, None)

    def _opened(self) -> Portal:
        with self._lock:
            if self._portal is None:
                self.before_open()
                portal = Portal(self._service.running)
                portal.__enter__()
                self._portal = portal
            return self._portal

    async def _cancel_all(self) -> None:
        self._service.stop_within(0.0)  # a `def` that goes on is not waited for
        for task in self._running:
            task.cancel()

    async def _run(self, operation: Operation, received: Received) -> Any:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            return await self._outcome(operation, received)
        except CallError as error:  # of the broker
            _log.error(
                "%s (%s) goes back to the queue: %s", received.action, received.id, error, extra=received.log_fields
            )
            raise _exceptions.Reject(str(error), requeue=True) from None
        except asyncio.CancelledError:
            raise _exceptions.Reject("the worker stops", requeue=True) from None
        finally:
            self._running.discard(task)

    async def _outcome(self, operation: Operation, received: Received) -> Any:
        try:
            message = received.message(operation, self._queue.signer)
        except MalformedError as error:
            _log.error(
                "%s (%s) is not run: %s; see `servey calls`",
                received.action,
                received.id,
                error,
                extra=received.log_fields,
            )
            await self._queue.put_failed(FailedMessage.by(received, error))
            raise CallFailedError(str(error)) from None
        call = message.call
        if not await self._has_to_run(message):
            raise _exceptions.Ignore
        try:
            if self._gives_back:  # the worker has taken one more call before its stop
                await asyncio.sleep(_LAST_CALL_SECONDS)
                raise asyncio.CancelledError
            outcome = await self._runner.run(call)
        except asyncio.CancelledError:
            if not self._gives_back:  # the process ends, and the worker sees it
                raise
            # a new message, because RabbitMQ counts how often it has delivered the old one
            await self._queue.put_messages([message])
            _log.warning(
                "%s (%s) goes back to the queue: the worker stops", call.action, call.id, extra=call.log_fields
            )
            raise _exceptions.Ignore from None
        if isinstance(outcome, Done):
            return msgspec.json.decode(outcome.result) if self._keeps_results else None
        if isinstance(outcome, Again):
            await self._queue.put_messages([Message(outcome.call, message.put, message.lost)])
            raise _exceptions.Ignore
        await self._queue.put_failed(FailedMessage.of(received, outcome))
        raise CallFailedError(_detail(outcome))

    async def _has_to_run(self, message: Message) -> bool:
        """Return whether the call has to run now. If the store does not answer, put it again for later."""
        call = message.call
        try:
            first = await is_first(self._service.stores.entries, message)
        except CallError as error:
            _log.warning("%s (%s) is postponed: %s", call.action, call.id, error, extra=call.log_fields)
            await self._queue.put_messages([message.later(POSTPONE_SECONDS)])
            return False
        if not first:
            _log.debug("%s (%s) was put twice", call.action, call.id)
        return first


def _detail(outcome: Failed) -> str:
    problem = msgspec.json.decode(outcome.problem)
    return str(problem.get("detail") or problem.get("title", ""))
