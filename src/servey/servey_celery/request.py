"""What a worker does with the message of a call whose process has died, or that could not run.

The call is put again, or among the failed ones, and then the message is acknowledged. So the call is always in the
broker; at worst it is there twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib import import_module
from typing import Any

import msgspec

from servey.background_call.runner import POSTPONE_SECONDS
from servey.errors import CallError, DeadlineError, InternalError
from servey.servey_celery.configuration import MOST_LOST
from servey.servey_celery.failed_message import FailedMessage
from servey.servey_celery.received import Received, acknowledge_after, received
from servey.servey_celery.worker_process import CallFailedError, NotOpenError

_exceptions: Any = import_module("celery.exceptions")
_state: Any = import_module("celery.worker.state")
_Request: Any = import_module("celery.worker.request").Request

LOST_SECONDS = 1.0
"""The delay before a call whose process has died runs again."""

_LOST = (_exceptions.WorkerLostError, SystemExit, KeyboardInterrupt)
_HANDLED = (CallFailedError, _exceptions.Ignore, _exceptions.Reject, _exceptions.Terminated, MemoryError)
_TimedOut: Any = _exceptions.TimeLimitExceeded

_log = logging.getLogger("servey.background")


class KeepingRequest(_Request):
    """A request of Celery that loses no call."""

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:
        """Handle an exception of the task, or the death of its process."""
        error: Any = exc_info.exception
        error = getattr(error, "exc", error)
        if isinstance(error, _TimedOut):
            return None  # `on_timeout` handles it
        is_lost = isinstance(error, _LOST)
        is_stopping = _state.should_terminate or self._already_cancelled or self._already_revoked
        if isinstance(error, _HANDLED) or (is_lost and is_stopping):
            return _Request.on_failure(self, exc_info, send_failed_event, return_ok)
        if is_lost:
            return self._lost(str(error))
        if isinstance(error, NotOpenError):
            return self._put_again(POSTPONE_SECONDS)
        return self._fail(InternalError(f"the call could not run: {type(error).__name__}"), str(exc_info.traceback))

    def on_timeout(self, soft: bool, timeout: float) -> Any:
        """Put a call that went on after its deadline, and whose process was killed, among the failed ones."""
        if soft or _state.should_terminate:
            return _Request.on_timeout(self, soft, timeout)
        return self._fail(DeadlineError("the call went on after its deadline, and its process was killed"))

    def _lost(self, why: str) -> None:
        is_stop = _state.should_stop is not None  # also the processes have got the signal
        self._put_again(LOST_SECONDS, "" if is_stop else why)

    def _put_again(self, seconds: float, why_lost: str = "") -> None:
        """Put the call again for later.

        Args:
            seconds: The delay.
            why_lost: How its process has died; empty if it is not to blame.
        """
        engine, found = self.app.servey, self._received()
        try:
            message = found.message(engine.service.operations[found.action], engine.queue.signer)
        except CallError as error:
            return self._fail(error)
        lost = message.lost + bool(why_lost)
        if lost > MOST_LOST:
            return self._fail(InternalError(f"the processes of the call have died {lost} times: {why_lost}"))
        if why_lost:
            _log.warning(
                "%s (%s) has lost its process: %s", self.name, self.id, why_lost, extra=message.call.log_fields
            )
        later = msgspec.structs.replace(message.later(seconds), lost=lost)
        self._acknowledge_after(lambda: engine.queue.put_messages_now([later]))
        return None

    def _fail(self, error: CallError, traceback: str = "") -> None:
        found = self._received()
        failed = FailedMessage.by(found, error, traceback)
        _log.error(
            "%s (%s) has failed for good: %s; see `servey calls`", self.name, self.id, error, extra=found.log_fields
        )
        if self._acknowledge_after(lambda: self.app.servey.queue.put_failed_now(failed)) and self.store_errors:
            self.task.backend.mark_as_failure(
                self.id, CallFailedError(str(error)), request=self._context, store_result=True
            )

    def _received(self) -> Received:
        try:
            body = self.message.payload
        except Exception:  # noqa: BLE001 - it is not JSON, which is why the call fails
            body = None
        return received(self._request_dict, body)

    def _acknowledge_after(self, put: Callable[[], None]) -> bool:
        """Put something, and acknowledge the message; if the broker does not take it, give the message back."""
        _state.task_ready(self)
        return acknowledge_after(put, self._received(), self.acknowledge, self.reject)
