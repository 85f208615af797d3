"""Which service is running, for objects that belong to none: `servey.cache` is one."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from servey.action.context import CURRENT_CALL
from servey.errors import NoServiceError

RUNNING: ContextVar[Any] = ContextVar("servey_running_service", default=None)
"""The service that was entered around this code, outside any call."""

_of_process: Any = None


def current_service() -> Any:
    """Return the `servey.service.Service` whose action runs here; outside actions, the one that is open around this.

    Threads, tasks and plain functions that an action starts or calls are part of it. Code that is part of nothing gets
    the service of the process, when it is a server or a command line.

    Raises:
        NoServiceError: There is none.
    """
    call = CURRENT_CALL.get(None)
    service = None if call is None else call.service
    if service is None:
        service = RUNNING.get()
    if service is None:
        service = _of_process
    if service is None:
        raise NoServiceError
    return service


def set_service_of_process(service: Any) -> None:
    """Say which service this process is for; what starts a server or a command line does."""
    global _of_process
    _of_process = service
