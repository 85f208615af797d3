"""Turn unexpected exceptions of a call into a call error, so that no exception ends the process.

asyncio passes a `SystemExit` or `KeyboardInterrupt` of a task out of the event loop, which ends the server. Therefore
each task of servey, and each adapter around a call, catches `BaseException` and calls `defect`. Only a stop from
outside passes: a cancellation, the closing of a coroutine, a signal.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from functools import partial
from types import CodeType
from typing import Any

from servey.errors import CallError, InternalError


def defect(
    error: BaseException | None, message: str, *, log: logging.Logger, request_id: str, action: str = ""
) -> InternalError:
    """Log a defect with its traceback, and return the error for the caller, without details.

    Args:
        error: The exception; None for a defect without one.
        message: What failed.
        log: The logger.
        request_id: The id of the request.
        action: The action's name; empty outside of actions.

    Raises:
        BaseException: `error` itself, if it stops the code from outside (`is_stop`).
    """
    if error is not None and is_stop(error):
        raise error
    text = f"{action}: {message}" if action else message
    extra = {"action": action, "request_id": request_id} if action else {"request_id": request_id}
    log.error("%s (request %s)", text, request_id, exc_info=error, extra=extra)
    return InternalError()


def is_stop(error: BaseException) -> bool:
    """Return whether `error` stops the code from outside: a cancellation, a closed coroutine, a signal."""
    if isinstance(error, Exception):
        return False
    if isinstance(error, asyncio.CancelledError):
        task = _current_task()
        return task is None or task.cancelling() > 0
    if isinstance(error, GeneratorExit):
        return _current_task() is None  # no task runs the coroutine: Python closes it
    return _is_of_signal(error)


class ErrorBoundary:
    """A context manager for the code of a call: every exception becomes a `CallError`, except a stop; see `is_stop`.

    Args:
        message: What failed, for the log.
        log: The logger.
        request_id: The id of the request.
        action: The action's name.

    Example:
        >>> with ErrorBoundary("the call failed", log=logging.getLogger("example"), request_id="1", action="sum"):
        ...     total = 1 + 1
    """

    __slots__ = ("_action", "_log", "_message", "_request_id")

    def __init__(self, message: str, *, log: logging.Logger, request_id: str, action: str) -> None:
        self._message, self._log = message, log
        self._request_id, self._action = request_id, action

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, CallError):
            return
        raise defect(error, self._message, log=self._log, request_id=self._request_id, action=self._action) from error


def as_exception(error: BaseException, label: str) -> Exception:
    """Return `error` if it is an `Exception`, or else a `RuntimeError` with `error` as its ``__cause__``.

    Args:
        error: The exception.
        label: The name of the code that raised it, for the message.
    """
    if isinstance(error, Exception):
        return error
    found = RuntimeError(f"{label} raised {type(error).__name__}")
    found.__cause__ = error
    return found


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no event loop runs here
        return None


def _is_of_signal(error: BaseException) -> bool:
    """Return whether a signal handler raised `error`: its traceback has a frame of a handler."""
    if threading.current_thread() is not threading.main_thread():
        return False  # Python runs the handlers in the main thread
    if isinstance(error, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        return True  # Python's own handler, which has no frame
    handlers = {_code_of(signal.getsignal(number)) for number in signal.valid_signals()} - {None}
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code in handlers:
            return True
        trace = trace.tb_next
    return False


def _code_of(handler: Any) -> CodeType | None:
    while isinstance(handler, partial):
        handler = handler.func
    return getattr(handler, "__code__", None)  # a bound method has the code of its function
