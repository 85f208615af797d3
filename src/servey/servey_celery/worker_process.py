"""The calls in a process of a Celery worker: an event loop in a thread, and the meaning of each outcome."""

from __future__ import annotations

import logging
import threading
import time
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
from servey.servey_celery.claims import claim
from servey.servey_celery.extra import celery
from servey.servey_celery.received import Received
from servey.service import Service

_exceptions: Any = import_module("celery.exceptions")
_signals: Any = import_module("celery.signals")

_log = logging.getLogger("servey.background")


class CallFailedError(Exception):
    """A call has failed for good, and is among the failed calls. Its text is the problem's detail."""


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

    def run(self, operation: Operation, received: Received) -> Any:
        """Run the call of a message, and return its result as JSON values; None if results are not stored.

        Raises:
            CallFailedError: The call is among the failed ones now. The worker acknowledges the message.
            celery.exceptions.Ignore: A further attempt is in the broker, or the call was put twice. The same.
            celery.exceptions.Reject: The broker has not taken the outcome; it delivers the message again.
        """
        return self._opened().call(self._run, operation, received)

    def close(self) -> None:
        """Close the service, if it is open."""
        with self._lock:
            portal, self._portal = self._portal, None
        if portal is not None:
            portal.__exit__(None, None, None)

    def _opened(self) -> Portal:
        with self._lock:
            if self._portal is None:
                portal = Portal(self._service.running)
                portal.__enter__()
                self._portal = portal
            return self._portal

    async def _run(self, operation: Operation, received: Received) -> Any:
        try:
            return await self._outcome(operation, received)
        except CallError as error:  # of the broker
            _log.error("%s (%s) goes back to the queue: %s", received.action, received.id, error)
            raise _exceptions.Reject(str(error), requeue=True) from None

    async def _outcome(self, operation: Operation, received: Received) -> Any:
        try:
            message = received.message(operation, self._queue.signer)
        except MalformedError as error:
            _log.error("%s (%s) is not run: %s; see `servey calls`", received.action, received.id, error)
            await self._queue.put_failed(received.failed(error))
            raise CallFailedError(str(error)) from None
        if not await self._is_first(message):
            raise _exceptions.Ignore
        outcome = await self._runner.run(message.call)
        if isinstance(outcome, Done):
            return msgspec.json.decode(outcome.result) if self._keeps_results else None
        if isinstance(outcome, Again):
            await self._queue.put_messages([Message(outcome.call, message.put, message.lost)])
            raise _exceptions.Ignore
        await self._queue.put_failed(received.failed_by(outcome))
        raise CallFailedError(_detail(outcome))

    async def _is_first(self, message: Message) -> bool:
        """Return whether the call has to run here; if the store does not answer, it is put again for later."""
        call = message.call
        try:
            is_first = await claim(self._service.stores.entries, message)
        except CallError as error:
            _log.warning("%s (%s) is postponed: %s", call.action, call.id, error)
            later = msgspec.structs.replace(call, due=time.time() + POSTPONE_SECONDS)
            await self._queue.put_messages([Message(later, message.put, message.lost)])
            return False
        if not is_first:
            _log.debug("%s (%s) was put twice", call.action, call.id)
        return is_first


def _detail(outcome: Failed) -> str:
    problem = msgspec.json.decode(outcome.problem)
    return str(problem.get("detail") or problem.get("title", ""))


def _close(**_: Any) -> None:
    """Close the service when a worker, or one of its processes, ends."""
    engine = getattr(celery.current_app, "servey", None)
    if engine is not None:
        engine.process.close()


_signals.worker_process_shutdown.connect(_close)
_signals.worker_shutdown.connect(_close)
