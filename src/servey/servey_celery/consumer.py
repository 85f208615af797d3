"""What a worker does with messages that it cannot run: they are put among the failed calls, and not deleted."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import Any

import msgspec

from servey.action.context import new_request_id
from servey.background_call.runner import MOST_POSTPONED, POSTPONE_SECONDS
from servey.errors import CallError, MalformedError, NotFoundError
from servey.servey_celery.configuration import is_amqp
from servey.servey_celery.failed_message import FailedMessage
from servey.servey_celery.received import Received, acknowledge_after, received

_Consumer: Any = import_module("celery.worker.consumer").Consumer
_state: Any = import_module("celery.worker.state")

_log = logging.getLogger("servey.background")


class _NotAMessageError(ConnectionError):
    """Nothing that a worker can read: another program has written to its list."""


class KeepingConsumer(_Consumer):
    """A consumer of Celery that deletes no message. It blocks while the broker takes one, which is rare."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _Consumer.__init__(self, *args, **kwargs)
        if not is_amqp(self.app.conf.broker_url):
            self._loop, self.loop = self.loop, self._redis_loop

    def create_task_handler(self) -> Callable[[Any], None]:
        """Return the function for each message; it keeps a message that Celery fails to read."""
        handle = _Consumer.create_task_handler(self)

        def on_message(message: Any) -> None:
            try:
                handle(message)
            except Exception as error:
                if isinstance(error, OSError) or message.acknowledged or _is_running(message):
                    raise
                self.on_invalid_task(None, message, error)

        return on_message

    def _redis_loop(self, *args: Any) -> None:
        """Run the loop of Celery, which an element of the list that is not a message would end, and the worker."""
        try:
            self._loop(*args)
        except (ValueError, TypeError, AttributeError) as error:
            raise _NotAMessageError(f"an element of the list is not a message: {error}") from error

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Keep an element that is not a message, as far as it is known, and connect again."""
        if isinstance(exc, _NotAMessageError):
            found, text = Received("", new_request_id()), getattr(exc.__cause__, "doc", None)
            failed = FailedMessage.unread(found, MalformedError(str(exc)), text)
            with suppress(CallError):
                self.app.servey.queue.put_failed_now(failed)
        with warnings.catch_warnings():  # of a setting that this configuration does not use
            warnings.simplefilter("ignore", PendingDeprecationWarning)
            _Consumer.on_connection_error_after_connected(self, exc)

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Postpone a call of an unknown action, so that a worker with newer code may take it."""
        found = self._received(message)
        queue = self.app.servey.queue
        try:
            read = found.message(None, queue.signer)
        except MalformedError as error:
            self._keep(message, found, error)
            return
        postponed = read.call.postponed + 1
        wait = read.call.due - time.time()
        if wait > 0:  # Redis has delivered it at once, and another worker may have newer code only then
            self.qos.increment_eventually()
            self.timer.call_after(wait, self._on_due, (body, message, exc))
        elif postponed > MOST_POSTPONED:
            self._keep(message, found, NotFoundError(f"there is no action {found.action!r}"))
        else:
            if postponed == 1:
                why = "it waits for a worker that has its action"
                _log.warning("%s (%s) is postponed: %s", found.action, found.id, why, extra=read.call.log_fields)
            later = read.later(POSTPONE_SECONDS, postponed=postponed)
            self._acknowledge_after(message, found, lambda: queue.put_messages_now([later]))

    def _on_due(self, *parts: Any) -> None:
        self.qos.decrement_eventually()
        self.on_unknown_task(*parts)

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Keep a message that breaks the protocol of Celery."""
        self._keep(message, self._received(message), MalformedError(f"the message is not a task: {exc}"))

    def on_unknown_message(self, body: Any, message: Any) -> None:
        """Keep a message that is not a task."""
        self._keep(message, self._received(message), MalformedError("the message is not a task of Celery"))

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Keep a message whose body is not JSON."""
        self._keep(message, self._received(message), MalformedError(f"the message is not JSON: {exc}"))

    def _received(self, message: Any) -> Received:
        found = received(message.headers or {}, _body(message))
        return found if found.id else msgspec.structs.replace(found, id=new_request_id())

    def _keep(self, message: Any, found: Received, error: CallError) -> None:
        _log.error(
            "a message (%s, %s) is not run: %s; see `servey calls`",
            found.action,
            found.id,
            error,
            extra=found.log_fields,
        )
        failed = FailedMessage.unread(found, error, None if _body(message) is not None else message.body)
        queue = self.app.servey.queue
        self._acknowledge_after(message, found, lambda: queue.put_failed_now(failed))

    def _acknowledge_after(self, message: Any, found: Received, put: Callable[[], None]) -> None:
        ends = message.ack_log_error, message.reject_log_error
        acknowledge_after(put, found, *(partial(end, _log, self.connection_errors) for end in ends))


def _is_running(message: Any) -> bool:
    """Return whether the pool has got the call of a message; otherwise, forget it."""
    headers: Any = message.headers or {}
    request = _state.requests.get(headers.get("id"))
    if request is None or request.message is not message:
        return False
    if request._apply_result is None:
        _state.task_ready(request)
        return False
    return True


def _body(message: Any) -> Any:
    """Return the parsed body of a message; None if it cannot be parsed."""
    try:
        return message.payload
    except Exception:  # noqa: BLE001 - it is not JSON
        return None
