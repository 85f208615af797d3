"""What a worker does with messages that it cannot run: they are put among the failed calls, and not deleted."""

from __future__ import annotations

import logging
import time
from importlib import import_module
from typing import Any

import msgspec

from servey.background_call.message import Message
from servey.background_call.runner import MOST_POSTPONED, POSTPONE_SECONDS
from servey.errors import CallError, MalformedError, NotFoundError
from servey.servey_celery.received import Received, received

_Consumer: Any = import_module("celery.worker.consumer").Consumer

_log = logging.getLogger("servey.background")

_SHOWN = 2000
"""How much of a body that is not JSON is stored, in characters."""


class KeepingConsumer(_Consumer):
    """A consumer of Celery that deletes no message. It blocks while the broker takes one, which is rare."""

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Postpone a call of an unknown action, so that a worker with newer code may take it."""
        found = self._received(message)
        queue = self.app.servey.queue
        try:
            postponed = self._postponed(found)
        except MalformedError as error:
            self._keep(message, found, error)
            return
        if postponed is None:
            self._keep(message, found, NotFoundError(f"there is no action {found.action!r}"))
        else:
            self._acknowledge_after(message, found, lambda: queue.put_messages_now([postponed]))

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Keep a message that breaks the protocol of Celery."""
        self._keep(message, self._received(message), MalformedError(f"the message is not a task: {exc}"))

    def on_unknown_message(self, body: Any, message: Any) -> None:
        """Keep a message that is not a task."""
        self._keep(message, self._received(message), MalformedError("the message is not a task of Celery"))

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Keep a message whose body is not JSON."""
        self._keep(message, self._received(message), MalformedError(f"the message is not JSON: {exc}"))

    def _postponed(self, found: Received) -> Message | None:
        """Return the message of a call for later; None if it was postponed too often."""
        if found.header is None:
            return None
        signer = self.app.servey.queue.signer
        read = signer.read(found.header, id=found.id, action=found.action, arguments=found.kwargs)
        call = read.call
        if call.postponed >= MOST_POSTPONED:
            return None
        due = time.time() + POSTPONE_SECONDS
        return Message(msgspec.structs.replace(call, postponed=call.postponed + 1, due=due), read.put, read.lost)

    def _received(self, message: Any) -> Received:
        try:
            body = message.payload
        except Exception:  # noqa: BLE001 - then it is kept as it is
            body = None
        return received(message.headers or {}, body)

    def _keep(self, message: Any, found: Received, error: CallError) -> None:
        _log.error("a message (%s, %s) is not run: %s; see `servey calls`", found.action, found.id, error)
        body = message.body if isinstance(message.body, str) else bytes(message.body or b"").decode(errors="replace")
        failed = found.failed(error, "" if found.kwargs else body[:_SHOWN])
        queue = self.app.servey.queue
        self._acknowledge_after(message, found, lambda: queue.put_failed_now(failed))

    def _acknowledge_after(self, message: Any, found: Received, put: Any) -> None:
        try:
            put()
        except CallError as error:
            _log.error("a message (%s, %s) goes back to the queue: %s", found.action, found.id, error)
            message.reject_log_error(_log, self.connection_errors, requeue=True)
        else:
            message.ack_log_error(_log, self.connection_errors)
